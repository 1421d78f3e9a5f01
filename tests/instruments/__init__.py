"""Bound instruments: one file per guarantee about how they are declared, updated and collected."""
