"""Numbers turned into sentences."""
