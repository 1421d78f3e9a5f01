"""ElasticsearchSink: one file per guarantee, on a small server in memory."""
