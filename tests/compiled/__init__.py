"""Compiled code: one file per guarantee about recorders made of a class, and about the checks of a batch."""
