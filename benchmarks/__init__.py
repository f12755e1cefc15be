"""Measurements of speed and memory, side by side with what others offer. ``python -m benchmarks`` runs them."""
