"""What type checkers must infer for the public names; this code never runs."""
