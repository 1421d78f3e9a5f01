"""Compiled code: one file per guarantee about the recorders made from a class, and about the checks of a batch."""
