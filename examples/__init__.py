"""Programs to read, run and copy: each folder is one."""
