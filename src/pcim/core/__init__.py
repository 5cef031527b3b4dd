"""Identities and small readers that import nothing else of the package."""
