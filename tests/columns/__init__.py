"""Columns: read once for all sinks, and equal, event by event, to what the events themselves have."""
