"""The sinks: a contract that each of them must pass, and the guarantees of each one."""
