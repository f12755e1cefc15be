"""One command that checks, measures and trains on a GPU within a few minutes: ``python -m benchmarks.gpu``."""
