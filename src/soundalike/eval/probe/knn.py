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
    votes = votes_knn(
        train,
        codes[:, None] == np.arange(len(classes)),
        test,
        neighbours=neighbours,
        temperature=temperature,
        standardise=standardise,
    )
    return classes[votes.argmax(1)]


def votes_knn(
    train: np.ndarray,
    targets: np.ndarray,
    test: np.ndarray,
    *,
    neighbours: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
    standardise: bool = True,
) -> np.ndarray:
    """The part of the vote of the nearest training embeddings that each class gets.

    Args:
        train: training embeddings, ``(n, D)``.
        targets: which classes each of them has, bool ``(n, classes)``: one, or several.
        test: embeddings to label, ``(m, D)``.
        neighbours: as in `predict_knn`, which tells how they vote.
        temperature: as there.
        standardise: as there.

    Returns:
        In [0, 1], ``(m, classes)``; a neighbour with several classes votes for each of them.
    """
    train = np.asarray(train, dtype=np.float32)
    test = np.asarray(test, dtype=np.float32)
    if standardise:
        mean, scale = standardisation(train)
        train, test = (train - mean) * scale, (test - mean) * scale
    train, test = _unit(train), _unit(test)
    count = min(neighbours, len(train))
    votes = np.zeros((len(test), targets.shape[1]))
    for start in range(0, len(test), _BLOCK):
        cosine = test[start : start + _BLOCK] @ train.T  # (block, n)
        nearest = np.argpartition(-cosine, count - 1, axis=1)[:, :count]
        weight = np.exp(np.take_along_axis(cosine, nearest, axis=1).astype(np.float64) / temperature)
        for place in range(count):
            votes[start : start + _BLOCK] += weight[:, place, None] * targets[nearest[:, place]]
        votes[start : start + _BLOCK] /= weight.sum(1, keepdims=True)
    return votes


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
