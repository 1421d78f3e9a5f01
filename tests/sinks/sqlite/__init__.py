"""SQLiteSink: one file per guarantee. Threads, files and processes: the real clock.

Every count of rows comes from a connection of its own or another process, never from the sink.
"""
