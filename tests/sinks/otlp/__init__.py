"""OTLPSink: what it sends, read by OpenTelemetry's own messages, and what it makes of each response."""
