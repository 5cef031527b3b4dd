"""The commands of ``pcim``, a module each; `pcim.cli` puts them together. Each computes elsewhere and prints here."""
