"""What type checkers must make of the public names; never run."""
