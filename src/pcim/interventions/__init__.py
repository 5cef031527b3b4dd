"""Experiments that swap regions between views."""
