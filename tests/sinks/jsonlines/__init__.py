"""JSONLinesSink: one file per guarantee. The tests use threads, files and processes, so they need the real clock.

Every line is read back with a JSON parser, never through the sink.
"""
