"""The files that `pcim init` writes."""
