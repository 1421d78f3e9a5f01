"""Threads other than Trio's: one file per guarantee. Every synchronous call works there; async calls raise."""
