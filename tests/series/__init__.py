"""Series sinks: one file per guarantee about how events are merged, pushed and counted."""
