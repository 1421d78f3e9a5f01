"""Bound instruments: one file per guarantee about their declaration, updates and collection."""
