"""Images made of a view and of something else: baselines, blurs, region swaps. Arrays in, arrays out."""
