"""The rule `attribute`."""
