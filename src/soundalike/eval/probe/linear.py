"""The linear probe: logistic regression on frozen embeddings, its L2 strength chosen inside the training set."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

# From strong to weak: each fit starts from the one before it, and the weights only ever have to grow.
STRENGTHS = (10.0, 1.0, 0.1, 0.01, 0.001)
TOLERANCE = 1e-4
ITERATIONS = 500


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe.

    Attributes:
        classes: labels that it can answer, (classes,).
        mean: of the training embeddings, (D,).
        scale: what an embedding is multiplied by once the mean is off, (D,); 0 where training has one value only.
        weights: (D, classes).
        bias: (classes,).
        strength: of the L2 penalty.
        converged: whether the solver came to an end within its iterations.
    """

    classes: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    strength: float
    converged: bool

    def standardise(self, features: np.ndarray) -> np.ndarray:
        """Embeddings ``(n, D)`` with the training set's mean and standard deviation taken out, ``(n, D)``."""
        return (features - self.mean) * self.scale

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Unnormalised log probabilities ``(n, classes)`` of embeddings ``(n, D)``."""
        return self.standardise(features) @ self.weights + self.bias

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The most likely label ``(n,)`` of each embedding ``(n, D)``."""
        return self.classes[self.logits(features).argmax(1)]


def fit_linear(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    strengths: Sequence[float] = STRENGTHS,
    inner_folds: int = 3,
    seed: int = 0,
) -> LinearProbe:
    """Fit a linear probe; nothing but training rows (and a validation set, where there is one) is looked at.

    The loss is the sum of the clips' cross-entropies plus ``strength * D / 2`` times the squared weights on
    standardised features. The factor D (of the features that vary) lets one grid serve embeddings of any width.
    The strength is the one with the most right answers on held-out rows: those of the validation set, or of
    ``inner_folds`` folds of the training rows. Equal counts are decided by cross-entropy. The probe is fitted
    on the training rows in either case: a validation set chooses, but does not train.

    Args:
        features: training embeddings, ``(n, D)``.
        labels: their labels, ``(n,)``.
        groups: what must not be split between inner folds, ``(n,)``; without it, or where no two rows share a
            group, the folds are stratified by class only.
        validation: embeddings and labels that choose the strength instead of inner folds.
        strengths: L2 strengths to choose from.
        inner_folds: number of inner folds; fewer where a class or the groups do not allow so many.
        seed: of the shuffle behind the inner folds.

    Returns:
        The fitted probe. With nothing to choose by, it has the middle one of the strengths.
    """
    features = np.asarray(features, dtype=np.float32)
    classes, codes = np.unique(labels, return_inverse=True)
    mean, scale = standardisation(features)
    ordered = sorted(strengths, reverse=True)
    if len(classes) == 1 or not scale.any():
        bias = np.log(np.bincount(codes) / len(codes)).astype(np.float32)  # the most frequent class for all
        flat = np.zeros((features.shape[1], len(classes)), dtype=np.float32)
        return LinearProbe(classes, mean, scale, flat, bias, ordered[0], True)
    scale = scale / np.float32(np.sqrt(np.count_nonzero(scale)))
    rows, basis = _row_space((features - mean) * scale)
    with single_threaded_and_quiet():
        if validation is not None and len(validation[1]):
            held_out = (np.asarray(validation[0], dtype=np.float32) - mean) * scale
            held_out = held_out if basis is None else held_out @ basis
            truth = class_indices(np.asarray(validation[1]), classes)
            chosen = _best(_path(rows, codes, held_out, truth, ordered), ordered)
        else:
            # Inner folds share the standardisation of the whole training set: it knows no labels.
            splits = inner_splits(codes, groups, inner_folds, seed)
            points = [
                point
                for train, test in splits
                for point in _path(rows[train], codes[train], rows[test], codes[test], ordered)
            ]
            chosen = _best(points, ordered)
        solver = _solver()
        solver.C = 1 / chosen
        solver.fit(rows, codes)
    weights, bias = solver.coef_.T, solver.intercept_  # (rank, classes), or (rank, 1) of two classes
    if weights.shape[1] == 1:
        weights = np.concatenate([np.zeros_like(weights), weights], axis=1)
        bias = np.concatenate([np.zeros_like(bias), bias])
    if basis is not None:
        weights = basis @ weights  # (D, classes)
    converged = bool(solver.n_iter_.max() < ITERATIONS)
    return LinearProbe(classes, mean, scale, weights, bias, chosen, converged)


def fit_one_against_rest(
    features: np.ndarray,
    targets: np.ndarray,
    classes: Sequence[str],
    *,
    groups: np.ndarray | None = None,
    strengths: Sequence[float] = STRENGTHS,
    inner_folds: int = 3,
    seed: int = 0,
) -> LinearProbe:
    """Fit a probe for each of several classes that may be there at once.

    As `fit_linear`, with a logistic regression of each class against the rest. All have one strength, the one with
    the least cross-entropy on the inner folds.

    Args:
        features: training embeddings, ``(n, D)``.
        targets: which classes are in each row, bool ``(n, classes)``.
        classes: their names.
        groups: what must not be split between inner folds, ``(n,)``.
        strengths: L2 strengths to choose from.
        inner_folds: number of inner folds.
        seed: of the shuffle behind the inner folds.

    Returns:
        The probe; the sigmoid of a logit is the probability of its class.
    """
    features = np.asarray(features, dtype=np.float32)
    mean, scale = standardisation(features)
    scale = scale / np.float32(np.sqrt(max(1, int(np.count_nonzero(scale)))))
    rows, basis = _row_space((features - mean) * scale)
    ordered = sorted(strengths, reverse=True)
    rarest = np.argsort(targets.sum(0), kind="stable")
    codes = rarest[targets[:, rarest].argmax(1)]  # folds are made by the rarest class of each row
    columns = range(targets.shape[1])
    losses = dict.fromkeys(ordered, 0.0)
    with single_threaded_and_quiet():
        if len(ordered) > 1:
            for train, test in inner_splits(np.unique(codes, return_inverse=True)[1], groups, inner_folds, seed):
                for column in columns:
                    solver = _solver()
                    for strength in ordered:
                        one, offset = _against_rest(solver, rows[train], targets[train, column], strength)
                        wrong = np.where(targets[test, column], -1, 1) * (rows[test] @ one + offset)
                        losses[strength] += float(np.logaddexp(0, wrong).sum())
        chosen = min(ordered, key=lambda strength: losses[strength]) if any(losses.values()) else _middle(ordered)
        fitted = [_against_rest(_solver(), rows, targets[:, column], chosen) for column in columns]
    weights = np.stack([own for own, _ in fitted], axis=1)
    weights = weights if basis is None else basis @ weights  # (D, classes)
    bias = np.array([own for _, own in fitted], np.float32)
    return LinearProbe(np.array(classes), mean, scale, weights.astype(np.float32), bias, chosen, True)


def _middle(strengths: Sequence[float]) -> float:
    return strengths[len(strengths) // 2]


def _against_rest(
    solver: LogisticRegression, rows: np.ndarray, present: np.ndarray, strength: float
) -> tuple[np.ndarray, float]:
    """Weights (D,) and bias of one class; those of its frequency alone where it is in all rows or in none."""
    count = int(present.sum())
    if count in (0, len(present)):
        return np.zeros(rows.shape[1], np.float32), float(np.log((count + 1) / (len(present) - count + 1)))
    solver.C = 1 / strength
    solver.fit(rows, present)
    return solver.coef_[0], float(solver.intercept_[0])


def standardisation(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and reciprocal standard deviation of each feature, float32; the latter is 0 for a constant one.

    Args:
        features: ``(n, D)``.

    Returns:
        ``(D,)`` and ``(D,)``.
    """
    mean = features.mean(0, dtype=np.float64)
    deviation = np.sqrt(np.square(features - mean.astype(np.float32)).mean(0, dtype=np.float64))
    # Rounding alone gives a constant float32 feature a deviation of about 1e-7 of its size.
    varies = deviation > 1e-6 * np.abs(mean) + 1e-15
    reciprocal = np.divide(1, deviation, out=np.zeros_like(deviation), where=varies)
    return mean.astype(np.float32), reciprocal.astype(np.float32)


def inner_splits(
    codes: np.ndarray, groups: np.ndarray | None, folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds of training rows, stratified by class; groups stay whole where rows share them and they are two.

    Args:
        codes: class numbers, ``(n,)``.
        groups: group of each row, or None.
        folds: how many; fewer where no class or not enough groups could fill them.
        seed: of the shuffle.

    Returns:
        Pairs of row numbers, train and test, neither of them empty; no pair where nothing can be held out.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    folds = min(folds, int(np.bincount(codes).max()))
    count = 0 if groups is None else len(np.unique(groups))
    if folds < 2:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer clips than folds
        if 2 <= count < len(codes):
            grouped = StratifiedGroupKFold(min(folds, count), shuffle=True, random_state=seed)
            splits = list(grouped.split(codes, codes, groups))
        else:
            splits = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(codes, codes))
    return [(train, test) for train, test in splits if len(train) and len(test)]


@contextmanager
def single_threaded_and_quiet() -> Iterator[None]:
    """One thread of BLAS and OpenMP each, and no convergence warnings within.

    NumPy, SciPy and scikit-learn bring thread pools of their own. The solvers alternate between them, and the
    threads then wait for one another: two took 3 to 10 times as long as one. Folds run side by side instead.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _row_space(features: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Coordinates in the space that the rows span, and its basis, where it is much narrower than the features.

    The L2 penalty keeps the weights in that space and is blind to rotations of it: the solution is the same.
    """
    count, width = features.shape
    if 2 * count > width:
        return features, None
    left, sizes, right = np.linalg.svd(features, full_matrices=False)
    keep = sizes > sizes[0] * 1e-6
    return left[:, keep] * sizes[keep], np.ascontiguousarray(right[keep].T)  # (n, rank), (D, rank)


def _solver() -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(solver="lbfgs", tol=TOLERANCE, max_iter=ITERATIONS, warm_start=True)


def _path(
    train: np.ndarray, codes: np.ndarray, test: np.ndarray, truth: np.ndarray, strengths: Sequence[float]
) -> list[tuple[float, int, float]]:
    """(strength, right answers, summed cross-entropy) on held-out rows at each strength."""
    present = np.unique(codes)
    if len(present) == 1:
        return []
    solver = _solver()
    points = []
    for strength in strengths:
        solver.C = 1 / strength
        solver.fit(train, codes)
        probabilities = solver.predict_proba(test)
        column = np.searchsorted(present, truth).clip(max=len(present) - 1)
        true = np.where(present[column] == truth, probabilities[np.arange(len(truth)), column], 0)
        right = int((present[probabilities.argmax(1)] == truth).sum())
        points.append((strength, right, float(-np.log(np.maximum(true, 1e-12)).sum())))
    return points


def _best(points: Sequence[tuple[float, int, float]], strengths: Sequence[float]) -> float:
    """The strength with the most right answers over all folds; the least cross-entropy decides a tie."""
    if not points:
        return _middle(strengths)
    total = {
        strength: (
            sum(right for s, right, _ in points if s == strength),
            -sum(loss for s, _, loss in points if s == strength),
        )
        for strength in strengths
    }
    return max(strengths, key=lambda strength: total[strength])


def class_indices(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The index of each label ``(n,)`` among sorted classes, ``(n,)``; -1 where it is not one of them."""
    index = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    return np.where(classes[index] == labels, index, -1)
