"""Images made of a view and of something else, as baselines, blurs and region swaps.

They know arrays alone.
"""
