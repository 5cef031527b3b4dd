"""Attribution methods, which turn images and a classifier into maps."""
