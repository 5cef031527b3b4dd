"""A classifier, its contract, and its forward pass."""
