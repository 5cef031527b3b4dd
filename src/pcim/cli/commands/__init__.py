"""The commands of ``pcim``, a module each; `pcim.cli.main` puts them together. Each computes elsewhere and prints here."""
