"""The formats of weights that can be loaded."""
