"""The InfluxDB sinks: one file per guarantee about what they send and what each response means."""
