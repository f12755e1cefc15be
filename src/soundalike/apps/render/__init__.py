"""Sounds as files: patches and their pairs, and augmentations."""
