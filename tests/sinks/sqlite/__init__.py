"""SQLiteSink: one file per guarantee. The tests use threads, files and processes, so they need the real clock.

Every count of rows comes from a separate connection or another process, never from the sink.
"""
