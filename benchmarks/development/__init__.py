"""Readings of models on the development set, four sets of recordings: what settings are chosen by.

    python -m benchmarks.development MODEL [MODEL ...] [--data DIR] [--out FILE.csv]

In a script, `read` scores a model that is in memory.
"""

from benchmarks.development.reading import MEAN, Row, read
from benchmarks.development.sets import DevelopmentSet, open_sets
from benchmarks.development.vectors import EMBEDDINGS, VectorCache

__all__ = ["EMBEDDINGS", "MEAN", "DevelopmentSet", "Row", "VectorCache", "open_sets", "read"]
