"""The command `pcim doctor`: whether a campaign will run on this machine and on its cluster."""
