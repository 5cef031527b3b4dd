"""The public functions of `import pcim`."""
