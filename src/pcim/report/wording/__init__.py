"""Sentences made from the numbers of the report."""
