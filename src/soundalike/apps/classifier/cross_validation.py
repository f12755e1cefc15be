"""Cross-validation of a classifier: accuracy, temperature and distances of held-out clips."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from soundalike.apps.classifier.distance import Distance
from soundalike.data.datasets.table import Split
from soundalike.eval.probe import (
    LinearProbe,
    class_indices,
    fit_linear,
    fit_one_against_rest,
    single_threaded_and_quiet,
)

_MOST_FOLDS, _TRIES = 5, 20
_TEMPERATURES = np.geomspace(0.1, 10, 81)
_NEVER = -1e4  # logit of a class that is missing from a fold's training part


@dataclass(frozen=True, eq=False)
class Examples:
    """The training examples: embeddings of whole clips and, of clips much longer than a window, of one window of each.

    Attributes:
        whole: of the clips, (n, D), float32.
        windows: of the windows, (m, D).
        rows: the clip of each window, (m,).
        labels: of the clips, (n,), strings; where several classes may be heard at once, a name for those in it.
        groups: of the clips, (n,), whole numbers.
        classes: their names, sorted.
        targets: where several classes may be heard at once, which are in each clip, bool (n, classes).
    """

    whole: np.ndarray
    windows: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    classes: list[str]
    targets: np.ndarray | None = None

    def fit(self, train: np.ndarray, validation: np.ndarray | None = None) -> tuple[LinearProbe, Distance]:
        """Fits the linear probe on some clips, and the distance from their classes.

        The strength of the penalty is chosen on whole clips; then the probe is fitted on their windows too, since
        the same sound has other statistics in a shorter window.

        Args:
            train: rows of the clips to learn from.
            validation: rows to choose the strength on, where they are set apart.
        """
        if self.targets is not None:
            return self._fit_overlapping(train, self.targets)
        chooser = None if validation is None else (self.whole[validation], self.labels[validation])
        probe = fit_linear(self.whole[train], self.labels[train], groups=self.groups[train], validation=chooser)
        own = np.isin(self.rows, train)
        vectors = np.concatenate([self.whole[train], self.windows[own]])
        labels = np.concatenate([self.labels[train], self.labels[self.rows[own]]])
        if own.any():
            probe = fit_linear(vectors, labels, strengths=[probe.strength], inner_folds=1)  # nothing to choose
        return probe, Distance.fit(vectors, labels, probe)

    def _fit_overlapping(self, train: np.ndarray, targets: np.ndarray) -> tuple[LinearProbe, Distance]:
        probe = fit_one_against_rest(self.whole[train], targets[train], self.classes, groups=self.groups[train])
        own = np.isin(self.rows, train)
        rows = np.concatenate([train, self.rows[own]])
        vectors = np.concatenate([self.whole[train], self.windows[own]])
        if own.any():
            probe = fit_one_against_rest(vectors, targets[rows], self.classes, strengths=[probe.strength])
        return probe, Distance.fit(vectors, self.labels[rows], probe, between=True)


@dataclass(frozen=True, eq=False)
class Estimate:
    """The accuracy of a classifier by cross-validation.

    Attributes:
        folds: accuracy on each, in [0, 1].
        tested: clips that were tested on.
        chance: accuracy of always predicting the class that is most frequent among them.
        confusion: clips by true class (rows) and predicted class (columns).
        how: how the folds were made.
    """

    folds: list[float]
    tested: int
    chance: float
    confusion: list[list[int]]
    how: str

    @property
    def accuracy(self) -> float:
        """Mean over the folds."""
        return float(np.mean(self.folds))

    @property
    def std(self) -> float:
        """Standard deviation over the folds (divided by their number)."""
        return float(np.std(self.folds))

    @property
    def balanced(self) -> float:
        """Mean of the classes' recalls."""
        confusion = np.array(self.confusion)
        totals = confusion.sum(1)
        return float((np.diag(confusion)[totals > 0] / totals[totals > 0]).mean())


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Accuracy, temperature and distances of clips that were held out of the fit.

    Attributes:
        estimate: the accuracy; None where several classes may be heard at once.
        temperature: what logits are divided by, so that probabilities are right.
        distances: of the clips from a fit without them, (n,); NaN of a clip that was not tested, or whose class had
            fewer than two clips in the training part, which leaves its spread unknown.
        window_distances: of the windows, in the same way, (m,).
        logits: of the clips that were tested, (k, classes).
        tested: their rows, (k,).
    """

    estimate: Estimate | None
    temperature: float
    distances: np.ndarray
    window_distances: np.ndarray
    logits: np.ndarray
    tested: np.ndarray


def cross_validate(examples: Examples, splits: Sequence[Split], how: str) -> CrossValidation | None:
    """Fits a classifier on each training part and predicts its test part.

    Args:
        examples: all of the clips.
        splits: their divisions; a test part may lack classes, and a training part too.
        how: how the splits were made, in words.

    Returns:
        What was found, or None where nothing can be held out.
    """
    splits = [split for split in splits if len(set(examples.labels[split.train])) > 1]
    if not splits:
        return None
    classes = np.array(examples.classes)
    distances = np.full(len(examples.whole), np.nan)
    window_distances = np.full(len(examples.windows), np.nan)

    def predict(split: Split) -> np.ndarray:
        probe, distance = examples.fit(split.train, split.validation)
        logits = np.full((len(split.test), len(classes)), _NEVER)
        logits[:, class_indices(probe.classes, classes)] = probe.logits(examples.whole[split.test])
        trained = examples.labels[split.train]
        common = [label for label in np.unique(trained) if np.count_nonzero(trained == label) >= 2]
        usable = split.test[np.isin(examples.labels[split.test], common)]
        windows = np.flatnonzero(np.isin(examples.rows, usable))
        distances[usable] = distance(examples.whole[usable])
        window_distances[windows] = distance(examples.windows[windows])
        return logits

    with single_threaded_and_quiet(), ThreadPoolExecutor(min(len(splits), os.cpu_count() or 1)) as pool:
        # of small classes; filters are one for all threads, so that those of a single fit may be undone by another's
        warnings.simplefilter("ignore", UserWarning)
        logits = np.concatenate(list(pool.map(predict, splits)))
    tested = np.concatenate([split.test for split in splits])
    if examples.targets is not None:
        return CrossValidation(None, 1.0, distances, window_distances, logits, tested)
    truth = class_indices(examples.labels[tested], classes)
    right = logits.argmax(1) == truth
    ends = np.cumsum([len(split.test) for split in splits])[:-1]
    confusion = np.zeros((len(classes), len(classes)), int)
    np.add.at(confusion, (truth, logits.argmax(1)), 1)
    estimate = Estimate(
        [float(part.mean()) for part in np.split(right, ends)],
        len(truth),
        float(np.bincount(truth).max() / len(truth)),
        confusion.tolist(),
        how,
    )
    return CrossValidation(
        estimate,
        temperature(logits, truth),
        distances,
        window_distances,
        logits,
        tested,
    )


def temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """What to divide logits by so that the probabilities of held-out clips have the least cross-entropy.

    One right and one wrong prediction are added to those that were made (Laplace's rule), so that a few clips that
    are all predicted right give no certainty.

    Args:
        logits: of held-out clips, (n, classes).
        truth: the number of their class, (n,).

    Source: Guo et al. 2017, "On calibration of modern neural networks" (arXiv 1706.04599), section 4.2.
    """
    losses = []
    for value in _TEMPERATURES:
        scaled = logits / value
        top = scaled.max(1)
        total = np.log(np.exp(scaled - top[:, None]).sum(1)) + top
        loss = (total - scaled[np.arange(len(truth)), truth]).clip(max=-np.log(1e-6)).sum()
        best = (
            np.exp(top - total).mean().clip(1e-6, 1 - 1e-6)
        )  # mean probability of the predicted class at this temperature
        losses.append(loss - np.log(best) - np.log(1 - best))
    return float(_TEMPERATURES[int(np.argmin(losses))])


def make_splits(
    labels: np.ndarray, groupings: Sequence[tuple[str, Sequence[str]]]
) -> tuple[list[Split], np.ndarray, str]:
    """Folds for clips that come without: by the first grouping that leaves every class two groups.

    Args:
        labels: of the clips, (n,).
        groupings: as (what it goes by, group of each clip), the best first. The last one is taken where none leaves
            every class two groups; the clips of a class with one group are then trained on and never tested.

    Returns:
        The splits, the group of each clip (n,) as whole numbers, and how it was done. No split where nothing can be
        tested.
    """
    codes = np.unique(labels, return_inverse=True)[1]
    for number, (how, names) in enumerate(groupings):
        groups = np.unique(names, return_inverse=True)[1]
        counts = np.array([len(np.unique(groups[codes == code])) for code in range(codes.max() + 1)])
        last = number == len(groupings) - 1
        if counts.min() < 2 and not last:
            continue
        lone = np.isin(groups, groups[counts[codes] < 2])  # never tested
        folds = np.zeros(len(codes), int)
        made = _folds(codes[~lone], groups[~lone]) if (~lone).any() else None
        if made is None and not last:
            continue
        if made is None:
            return [], groups, "nothing can be held out"
        folds[~lone] = made
        alone = len(np.unique(groups)) == len(groups)
        found = [
            Split(f"fold {fold}", np.flatnonzero(folds != fold), None, np.flatnonzero(folds == fold))
            for fold in range(1, folds.max() + 1)
        ]
        return found, groups, f"{len(found)} folds" + ("" if alone else f", grouped by {how}")
    return [], np.arange(len(codes)), "nothing can be held out"


def _folds(codes: np.ndarray, groups: np.ndarray) -> np.ndarray | None:
    """A fold from 1 for each row, whole groups together, every class in every training part; None if there is none.

    Unlike the folds of a data set there may be more of them than a class has groups: a class with two clips among
    large ones does not halve what all others are trained on.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    sizes = [len(np.unique(groups[codes == code])) for code in np.unique(codes)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer clips than folds
        for count in range(min(_MOST_FOLDS, max(np.bincount(codes)), max(sizes)), 1, -1):
            for seed in range(_TRIES):
                folds = np.zeros(len(codes), int)
                splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
                for fold, (_, test) in enumerate(splitter.split(codes, codes, groups), start=1):
                    folds[test] = fold
                trained = all(len(np.unique(folds[codes == code])) > 1 for code in np.unique(codes))
                if trained and len(np.unique(folds)) == count:
                    return folds
    return None
