"""The commands of ``pcim``, one module per command. `pcim.cli.main` collects them."""
