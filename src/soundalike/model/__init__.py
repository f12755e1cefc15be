"""A model: its recipe, its file, and everything that it computes."""
