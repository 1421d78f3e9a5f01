"""The sinks: one contract that each of them must pass, and what is special about each."""
