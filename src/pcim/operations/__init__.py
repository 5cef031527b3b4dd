"""What people ask of a campaign beside running it."""
