"""Attribute: which pixels the classifier needs, by PCIM and by its peers."""
