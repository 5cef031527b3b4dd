"""The rule `aggregate`."""
