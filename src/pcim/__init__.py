"""PCIM: tells a screening facility what its image classifier looks at."""

__version__ = "0.1.0"
