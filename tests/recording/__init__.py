"""The recorders: one file per guarantee about plain calls, which never wait nor raise at run time, and `arecord`."""
