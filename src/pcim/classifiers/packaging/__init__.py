"""Make a model folder from weights in other forms."""
