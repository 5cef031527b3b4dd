"""OME-Zarr plates: reading, writing, quality of fields, pictures of pixels."""
