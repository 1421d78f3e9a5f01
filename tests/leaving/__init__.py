"""Leaving the block, in any state and for any reason: one file per guarantee."""
