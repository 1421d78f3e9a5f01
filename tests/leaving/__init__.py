"""Leaving the block, in any state, for any reason: one file per guarantee."""
