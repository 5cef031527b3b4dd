"""The attribution methods: images and a classifier in, maps out."""
