"""JSONLinesSink: one file per guarantee. Threads, files and processes: the real clock.

Every line is read back with a JSON parser, never through the sink.
"""
