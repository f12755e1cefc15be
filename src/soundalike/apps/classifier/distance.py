"""The distance of a sound from the classes of a training set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soundalike.eval.probe import LinearProbe

_AXES = 128  # directions in which the training clips vary the most
_MOST = 2000  # sounds up to which the directions are exact; of more, the matrix of products would fill the memory
FEWEST = 8
"""Held-out distances without which rejection is not calibrated."""
_ALIKE = 1e-3  # held-out distance below which clips of a class are alike; that of different clips is near 1
_MOST_PAIRED = 60  # classes of which each two may be heard at once
_LEAST = 1e-3  # of the mean variance: what a direction has at least within the classes


@dataclass(frozen=True, eq=False)
class Distance:
    """Distance from the nearest class, in the directions that training clips vary in, in units of a class's spread.

    It has two factors: the squared Mahalanobis distance from the nearest class's mean with one covariance for all
    classes, shrunk as Ledoit and Wolf have it, which tells what lies beyond the training clips; and one minus the
    cosine with a class's mean as seen from the middle of all sounds, which tells what lies between the classes.

    Attributes:
        probe: the linear probe whose standardisation embeddings go through first.
        axes: onto the directions, whitened, (D, k).
        centres: of the classes there, or of what may be heard at once, (centres, k).

    Source: Lee et al. 2018, "A simple unified framework for detecting out-of-distribution samples and adversarial
    attacks" (arXiv 1807.03888), for the first factor; Ledoit & Wolf 2004 for its covariance.
    """

    probe: LinearProbe
    axes: np.ndarray
    centres: np.ndarray

    @classmethod
    def fit(cls, vectors: np.ndarray, labels: np.ndarray, probe: LinearProbe, between: bool = False) -> Distance:
        """The distance from some sounds.

        Args:
            vectors: their embeddings, (n, D).
            labels: their classes, (n,).
            probe: the classifier, for its standardisation.
            between: whether what lies half way between two classes is near: where both may be heard at once.
        """
        from sklearn.covariance import ledoit_wolf

        classes, codes = np.unique(labels, return_inverse=True)
        rows = probe.standardise(vectors).astype(np.float64)
        axes = _directions(rows)
        if axes is None:  # sounds that are all alike
            return cls(probe, np.zeros((rows.shape[1], 1)), np.zeros((len(classes), 1)))
        inside = rows @ axes
        centres = np.stack([inside[codes == code].mean(0) for code in range(len(classes))])
        covariance = ledoit_wolf(inside - centres[codes], assume_centered=True)[0]
        variances, turned = np.linalg.eigh(covariance)
        whitened = turned / np.sqrt(np.maximum(variances, _LEAST * np.square(inside).mean()))
        if between and len(centres) <= _MOST_PAIRED:
            one, other = np.triu_indices(len(centres), 1)
            centres = np.concatenate([centres, (centres[one] + centres[other]) / 2])
        return cls(probe, (axes @ whitened).astype(np.float32), (centres @ whitened).astype(np.float32))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Distances (n,) of embeddings (n, D)."""
        points = self.probe.standardise(vectors) @ self.axes
        beyond = np.square(points[:, None] - self.centres).mean(2).min(1)
        lengths = np.linalg.norm(points, axis=1)[:, None] * np.linalg.norm(self.centres, axis=1)
        cosines = (points @ self.centres.T) / np.maximum(lengths, 1e-9)
        return beyond * (1 - cosines.max(1))


def calibrate(held_out: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """The distances that a new sound's distance is judged by.

    A clip counts with the larger of its distances from a fit that left it out and from the fit that is used: with
    few clips a class the two are not on one scale, and the second alone is too small.

    Args:
        held_out: distances of the training clips from fits that left them out, (n,); NaN where there is none.
        fitted: their distances from the fit of all clips, (n,).

    Returns:
        Sorted distances, (m,); none where they are too few, or where the clips of each class are alike, so that
        nothing is known of how far apart sounds of one class may be.
    """
    known = ~np.isnan(held_out)
    if np.count_nonzero(known) < FEWEST or np.quantile(held_out[known], 0.95) < _ALIKE:
        return np.zeros(0, np.float32)
    return np.sort(np.maximum(held_out, fitted)[known]).astype(np.float32)  # as in the file


def threshold(distances: np.ndarray, share: float) -> float:
    """The distance that a new sound of the classes exceeds with at most this probability.

    That holds where 1 / (n + 1) is at most the share; with fewer clips it is the
    interpolated quantile, since the largest of a few distances may be that of one odd clip.

    Args:
        distances: what `calibrate` returned, (n,), at least one.
        share: of new sounds, above 0 and below 1.

    Source: split conformal prediction, Papadopoulos et al. 2002; the rank is ceil((n + 1) (1 - share)).
    """
    rank = int(np.ceil((len(distances) + 1) * (1 - share) - 1e-9))
    if rank > len(distances):
        return float(np.quantile(distances, 1 - share))
    return float(distances[max(rank, 1) - 1])


def _directions(rows: np.ndarray) -> np.ndarray | None:
    """The orthogonal directions in which rows (n, D) vary the most, (D, k); None where they do not."""
    if len(rows) > _MOST:
        from sklearn.utils.extmath import randomized_svd

        _, sizes, right = randomized_svd(rows, min(_AXES, rows.shape[1]), random_state=0)
        kept = sizes**2 > 1e-9 * sizes.max() ** 2
        return right[kept].T if kept.any() else None
    # the eigenvectors of the small matrix of inner products; a decomposition of the rows would take ten times this
    squares, left = np.linalg.eigh(rows @ rows.T)
    order = np.argsort(squares)[::-1][:_AXES]
    kept = order[squares[order] > 1e-9 * squares.max()]
    return rows.T @ (left[:, kept] / np.sqrt(squares[kept])) if len(kept) else None
