"""Every setting of a campaign, and YAML read with the lines of its keys."""
