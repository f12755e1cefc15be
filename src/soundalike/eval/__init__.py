"""Scores of frozen embeddings, and studies."""
