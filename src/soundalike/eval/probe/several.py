"""Clips with several labels each: their score, inner folds of them, and a linear probe of all classes at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soundalike.eval.probe.linear import ITERATIONS, STRENGTHS, LinearProbe, standardisation


def average_precision(targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The average precision of each class: the mean, over its clips, of the precision down to their ranks.

    Args:
        targets: which classes clips have, bool ``(n, classes)``.
        scores: how likely a model finds them, in any unit, ``(n, classes)``.

    Returns:
        In [0, 1], ``(classes,)``; NaN of a class that no clip has.
    """
    from sklearn.metrics import average_precision_score

    found = np.full(targets.shape[1], np.nan)
    for column in np.flatnonzero(targets.any(0)):
        found[column] = average_precision_score(targets[:, column], scores[:, column])
    return found


def mean_average_precision(targets: np.ndarray, scores: np.ndarray) -> float:
    """The mean of `average_precision` over the classes that occur; 0 where none does."""
    found = average_precision(targets, scores)
    return float(np.nanmean(found)) if targets.any() else 0.0


def inner_splits_several(
    targets: np.ndarray, groups: np.ndarray | None, folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds of training rows, groups whole, each of about the same number of groups.

    Args:
        targets: which classes each row has, ``(n, classes)``.
        groups: group of each row, or None.
        folds: how many; fewer where there are fewer groups.
        seed: of the shuffle.

    Returns:
        Pairs of row numbers, train and test; no pair where nothing can be held out.
    """
    names, number = np.unique(np.arange(len(targets)) if groups is None else groups, return_inverse=True)
    folds = min(folds, len(names))
    if folds < 2:
        return []
    fold = (np.random.default_rng(seed).permutation(len(names)) % folds)[number]
    return [(np.flatnonzero(fold != one), np.flatnonzero(fold == one)) for one in range(folds)]


def fit_linear_several(
    features: np.ndarray,
    targets: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    strengths: Sequence[float] = STRENGTHS,
    inner_folds: int = 3,
    seed: int = 0,
) -> LinearProbe:
    """Fit a logistic regression for each class, all with one L2 strength, as `fit_linear` does for single labels.

    The strength is the one with the highest mean average precision on held-out rows.

    Args:
        features: training embeddings, ``(n, D)``.
        targets: which classes each row has, bool ``(n, classes)``.
        groups: what must not be split between inner folds, ``(n,)``.
        validation: embeddings and targets that choose the strength instead of inner folds.
        strengths: L2 strengths to choose from.
        inner_folds: number of inner folds.
        seed: of the shuffle behind the inner folds.

    Returns:
        The fitted probe; its classes are column numbers, and its logits are of each class by itself.
    """
    features = np.asarray(features, dtype=np.float32)
    mean, scale = standardisation(features)
    width = max(1, int(np.count_nonzero(scale)))
    scale = scale / np.float32(np.sqrt(width))
    rows: np.ndarray = (features - mean) * scale
    ordered = sorted(strengths, reverse=True)
    if validation is not None and len(validation[1]):
        held_out = (np.asarray(validation[0], dtype=np.float32) - mean) * scale
        parts = [(rows, targets, held_out, validation[1])]
    else:
        splits = inner_splits_several(targets, groups, inner_folds, seed)
        parts = [(rows[train], targets[train], rows[test], targets[test]) for train, test in splits]
    totals = np.zeros(len(ordered))
    for train, its_targets, test, truth in parts:
        weights: np.ndarray | None = None
        for place, strength in enumerate(ordered):  # from strong to weak, each from the one before
            weights, _ = _solve(train, its_targets, strength, weights)
            totals[place] += mean_average_precision(truth, test @ weights[:-1] + weights[-1])
    chosen = ordered[int(totals.argmax())] if parts else ordered[len(ordered) // 2]
    found, converged = _solve(rows, targets, chosen, None)
    return LinearProbe(np.arange(targets.shape[1]), mean, scale, found[:-1], found[-1], chosen, converged)


def _solve(
    rows: np.ndarray, targets: np.ndarray, strength: float, start: np.ndarray | None
) -> tuple[np.ndarray, bool]:
    """Weights and, in the last row, biases ``(D + 1, classes)``, and whether the solver came to an end."""
    import torch
    from torch.nn import functional

    x, y = torch.from_numpy(rows), torch.from_numpy(targets.astype(np.float32))
    if start is None:
        start = np.zeros((rows.shape[1] + 1, targets.shape[1]), np.float32)
        shares = targets.mean(0).clip(1 / (2 * len(targets)), 1 - 1 / (2 * len(targets)))
        start[-1] = np.log(shares / (1 - shares))
    weights = torch.from_numpy(start.copy()).requires_grad_()
    # the loss is a mean, so that the tolerances do not depend on the number of clips
    solver = torch.optim.LBFGS(
        [weights], max_iter=ITERATIONS, tolerance_grad=1e-5, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        solver.zero_grad()
        logits = x @ weights[:-1] + weights[-1]
        loss = functional.binary_cross_entropy_with_logits(logits, y, reduction="sum")
        loss = (loss + 0.5 * strength * weights[:-1].square().sum()) / len(x)
        loss.backward()
        return loss

    with torch.enable_grad():
        solver.step(closure)
    iterations = solver.state[weights]["n_iter"]
    return weights.detach().numpy(), iterations < ITERATIONS
