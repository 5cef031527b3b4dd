"""Experiments that swap regions between views. Arrays in, numbers out."""
