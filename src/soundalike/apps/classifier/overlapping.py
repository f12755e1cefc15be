"""Classes of which several may be heard at once: which are in each clip, and how well each is found."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from soundalike.data.datasets.manifest import ListedClip
from soundalike.eval.probe import LinearProbe

_SHARED = 0.5  # of the shorter of two segments: as much of it lies in the other where both classes are heard in both
LEAST = 0.5
"""Probability from which a class is heard, unless another is asked for."""


@dataclass(frozen=True)
class Detection:
    """How well each of several classes is found in clips that were held out of the fit.

    Attributes:
        classes: their names.
        clips: that each is heard in, of those that were tested.
        recall: share of them in which it was found, NaN without any.
        precision: share of the clips in which it was found that it is in, NaN where it was found in none.
        average_precision: over all probabilities that could be asked for, NaN without a clip.
        tested: clips that were tested on.
        how: how the folds were made.
    """

    classes: list[str]
    clips: list[int]
    recall: list[float]
    precision: list[float]
    average_precision: list[float]
    tested: int
    how: str

    @property
    def mean(self) -> float:
        """Mean of the classes' average precisions."""
        return float(np.nanmean(self.average_precision))


def merged(clips: Sequence[ListedClip]) -> tuple[list[ListedClip], list[frozenset[str]]]:
    """Each sound once, with all classes that are heard in it.

    A class is heard in a clip where the clip has its label, or shares at least half of the shorter one with a segment
    of the same file that has.

    Args:
        clips: rows of a table, a sound once for each of its labels.

    Returns:
        The clips (n,), each with the rarest of its labels, and all labels of each (n,).
    """
    counts = Counter(clip.label for clip in clips)
    by_file: dict[object, list[ListedClip]] = defaultdict(list)
    labels: dict[object, set[str]] = defaultdict(set)
    for clip in clips:
        by_file[clip.path].append(clip)
        labels[clip.sound].add(clip.label)
    for own in by_file.values():
        own.sort(key=lambda clip: _span(clip)[0])
        for place, one in enumerate(own):
            for other in own[place + 1 :]:
                if _span(other)[0] >= _span(one)[1]:
                    break
                if _shared(one, other) >= _SHARED:
                    labels[one.sound].add(other.label)
                    labels[other.sound].add(one.label)
    first: dict[object, ListedClip] = {}
    for clip in clips:
        before = first.setdefault(clip.sound, clip)
        if (counts[clip.label], clip.label) < (counts[before.label], before.label):
            first[clip.sound] = replace(before, label=clip.label)
    return list(first.values()), [frozenset(labels[sound]) for sound in first]


def _span(clip: ListedClip) -> tuple[float, float]:
    return (0.0, math.inf) if clip.segment is None else (clip.segment.start, clip.segment.end)


def _shared(one: ListedClip, other: ListedClip) -> float:
    """The part of the shorter of two clips of a file that lies in the other."""
    spans = (_span(one), _span(other))
    shorter = min(end - start for start, end in spans)
    if math.isinf(shorter):
        return 1.0
    return (min(end for _, end in spans) - max(start for start, _ in spans)) / shorter


def targets_of(sets: Sequence[frozenset[str]], classes: Sequence[str]) -> np.ndarray:
    """Which classes are heard in each clip, bool (n, classes)."""
    return np.array([[name in labels for name in classes] for labels in sets], bool).reshape(len(sets), len(classes))


def named(labels: frozenset[str]) -> str:
    """A name for clips in which the same classes are heard."""
    return " + ".join(sorted(labels))


def calibrated(probe: LinearProbe, logits: np.ndarray, truth: np.ndarray) -> tuple[LinearProbe, np.ndarray]:
    """A probe of one class against the rest each, whose logits give right probabilities for clips that were held out.

    Args:
        probe: fitted on all clips.
        logits: of held-out clips by probes that were fitted without them, (n, classes).
        truth: which classes are heard in them, bool (n, classes).

    Returns:
        The probe, and the logits as it would have them.

    Source: Platt 1999, "Probabilistic outputs for support vector machines": a slope and an offset for each class,
    fitted to targets that one clip more of each kind would give, so that few clips give no certainty.
    """
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    slopes, offsets = np.ones(truth.shape[1]), np.zeros(truth.shape[1])
    for column in range(truth.shape[1]):
        positive = int(truth[:, column].sum())
        negative = len(truth) - positive
        if not positive or not negative:
            continue
        aim = np.where(truth[:, column], (positive + 1) / (positive + 2), 1 / (negative + 2))
        own = logits[:, column]

        def loss(values: np.ndarray, own: np.ndarray = own, aim: np.ndarray = aim) -> float:
            scaled = values[0] * own + values[1]
            return float(np.sum(np.logaddexp(0, scaled) - aim * scaled))

        slopes[column], offsets[column] = minimize(loss, [1.0, 0.0], bounds=[(0.05, 20), (-20, 20)]).x
    weights, bias = probe.weights * slopes, probe.bias * slopes + offsets
    return replace(probe, weights=weights.astype(np.float32), bias=bias.astype(np.float32)), logits * slopes + offsets


def detection(classes: Sequence[str], logits: np.ndarray, truth: np.ndarray, how: str) -> Detection:
    """How well classes are found.

    Args:
        classes: their names.
        logits: of held-out clips, (n, classes), 0 where a class is as likely as not.
        truth: which classes are heard in them, bool (n, classes).
        how: how they were held out.
    """
    from sklearn.metrics import average_precision_score

    found = logits >= math.log(LEAST / (1 - LEAST))
    right, there, given = (found & truth).sum(0), truth.sum(0), found.sum(0)
    return Detection(
        list(classes),
        there.tolist(),
        [float(r / n) if n else math.nan for r, n in zip(right, there, strict=True)],
        [float(r / n) if n else math.nan for r, n in zip(right, given, strict=True)],
        [
            float(average_precision_score(own, score)) if own.any() else math.nan
            for own, score in zip(truth.T, logits.T, strict=True)
        ],
        len(truth),
        how,
    )
