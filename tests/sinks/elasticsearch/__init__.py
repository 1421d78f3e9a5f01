"""ElasticsearchSink: one file per guarantee, with a small server in memory."""
