"""The k-nearest-neighbours probe: no training, no parameter to choose."""

from __future__ import annotations

import numpy as np

from soundalike.eval.probe.linear import standardisation

NEIGHBOURS = 5
TEMPERATURE = 0.07
_BLOCK = 1024  # test rows at a time: the similarities to 100,000 training rows stay under half a gigabyte


def predict_knn(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    *,
    neighbours: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
    standardise: bool = True,
) -> np.ndarray:
    """Labels by a vote of the nearest training embeddings, nearest by cosine.

    Each neighbour votes with weight exp(cosine / temperature), as in Wu et al. 2018, "Unsupervised feature
    learning via non-parametric instance discrimination" (arXiv 1805.01978). Features are standardised on the
    training set first: raw embeddings share a large mean and mix units (means, deviations), and their cosine
    sees little else.

    Args:
        train: training embeddings, ``(n, D)``.
        labels: their labels, ``(n,)``.
        test: embeddings to label, ``(m, D)``.
        neighbours: how many vote; all of them where there are fewer.
        temperature: of the weights; small ones let the nearest decide.
        standardise: whether to standardise; without it the plain cosine is taken.

    Returns:
        ``(m,)``. Of classes with equal votes, the first in sorted order.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    train = np.asarray(train, dtype=np.float32)
    test = np.asarray(test, dtype=np.float32)
    if standardise:
        mean, scale = standardisation(train)
        train, test = (train - mean) * scale, (test - mean) * scale
    train, test = _unit(train), _unit(test)
    count = min(neighbours, len(train))
    predicted = np.empty(len(test), dtype=np.intp)
    for start in range(0, len(test), _BLOCK):
        cosine = test[start : start + _BLOCK] @ train.T  # (block, n)
        nearest = np.argpartition(-cosine, count - 1, axis=1)[:, :count]
        weight = np.exp(np.take_along_axis(cosine, nearest, axis=1).astype(np.float64) / temperature)
        votes = np.zeros((len(cosine), len(classes)))
        np.add.at(votes, (np.arange(len(cosine))[:, None], codes[nearest]), weight)
        predicted[start : start + _BLOCK] = votes.argmax(1)
    return classes[predicted]


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
