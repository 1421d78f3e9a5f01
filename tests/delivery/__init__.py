"""Event sinks: one file per guarantee about how their events are delivered."""
