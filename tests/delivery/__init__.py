"""Event sinks: one file per guarantee about the delivery of their events."""
