"""A map of embeddings in two dimensions: PCA, then t-SNE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soundalike.eval.probe.linear import single_threaded_and_quiet, standardisation

_COMPONENTS = 50  # of the PCA before t-SNE: enough for neighbourhoods, few enough to be quick


@dataclass(frozen=True)
class Projection:
    """Points on a map.

    Attributes:
        row: number of the clip in the data set's table.
        x: in [0, 1].
        y: in [0, 1].
        method: how the map was made, such as ``t-SNE (perplexity 30)``.
    """

    row: list[int]
    x: list[float]
    y: list[float]
    method: str


def project(vectors: np.ndarray, *, most: int = 1000, perplexity: float = 30, seed: int = 0) -> Projection:
    """Project embeddings to the plane, neighbours next to each other.

    Standardised, then PCA to 50 dimensions, then t-SNE (van der Maaten & Hinton 2008) started from the PCA; the
    first two principal components where there are fewer than 10 points.

    Args:
        vectors: embeddings, ``(n, D)``, finite.
        most: points on the map; of more, a random choice.
        perplexity: of t-SNE; lower where points are few.
        seed: of the choice and of t-SNE.

    Returns:
        The map, scaled to the unit square with its proportions kept.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rows = np.arange(len(vectors))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    points = np.asarray(vectors, dtype=np.float32)[rows]
    mean, scale = standardisation(points) if len(points) else (0, np.zeros(0, dtype=np.float32))
    points = ((points - mean) * scale)[:, scale > 0]
    method = "first two principal components"
    with single_threaded_and_quiet():
        if points.shape[1] and len(points) > 1:
            points = PCA(min(_COMPONENTS, *points.shape), random_state=seed).fit_transform(points)
        if len(points) >= 10 and points.shape[1] > 1:
            perplexity = min(perplexity, (len(points) - 1) / 3)
            method = f"t-SNE (perplexity {perplexity:.0f})"
            points = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)
    plane = np.zeros((len(rows), 2))
    plane[:, : points.shape[1]] = points[:, :2]
    if len(rows):
        low, high = plane.min(0), plane.max(0)
        plane = 0.5 + (plane - (low + high) / 2) / ((high - low).max() or 1)
    x, y = plane.round(4).T.tolist()
    return Projection(rows.tolist(), x, y, method)
