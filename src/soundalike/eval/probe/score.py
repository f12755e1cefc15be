"""One representation on one task: every fold, every probe, and what was predicted for each test clip."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.data.datasets.table import ACCURACY, MEAN_AVERAGE_PRECISION
from soundalike.eval.probe.knn import votes_knn
from soundalike.eval.probe.linear import LinearProbe, fit_linear, single_threaded_and_quiet
from soundalike.eval.probe.mlp import MLPProbe, fit_mlp, one_thread
from soundalike.eval.probe.several import average_precision, fit_linear_several

if TYPE_CHECKING:
    from soundalike.data.datasets import Dataset, Split

PROBES = ("linear", "knn")
"""The probes that are run where none are named."""
ALL_PROBES = (*PROBES, "mlp")


@dataclass(frozen=True)
class FoldScore:
    """One probe on one fold.

    Attributes:
        name: of the fold.
        score: of the test clips, by the task's metric, in [0, 1]: the part with the right answer, or the mean average
            precision of the classes that occur among them.
        train: number of training clips.
        test: number of test clips.
        strength: L2 strength that was chosen; None where the probe has none.
        converged: whether the solver came to an end; None where the probe has none.
        epochs: how often the probe saw the training clips, as was chosen; None where it sees them once.
    """

    name: str
    score: float
    train: int
    test: int
    strength: float | None = None
    converged: bool | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Predictions:
    """What was predicted for each test clip; classes are numbered as in the task's list.

    Attributes:
        row: number of the clip in the data set's table.
        label: its true class; of several, the first.
        predicted: the class that the probe finds most likely.
    """

    row: list[int]
    label: list[int]
    predicted: list[int]


@dataclass(frozen=True)
class ProbeScore:
    """One probe on all folds of one task.

    Attributes:
        mean: of the folds' scores, in [0, 1].
        std: their standard deviation (divided by the number of folds); 0 with one fold.
        folds: one entry a fold.
        confusion: test clips of all folds, by true class (rows) and predicted class (columns); empty where clips have
            several labels.
        predictions: the same, clip by clip.
        average_precision: of each class, the mean over the folds that have it; None where none has, empty where the
            metric is accuracy.
    """

    mean: float
    std: float
    folds: list[FoldScore]
    confusion: list[list[int]]
    predictions: Predictions
    average_precision: list[float | None] = field(default_factory=list)


@dataclass(frozen=True)
class TaskScore:
    """One representation on one task.

    Attributes:
        task: name of the data set.
        classes: its labels, sorted.
        clips: number of clips that took part.
        chance: what an answer without hearing scores: that of always answering the class that is the most frequent
            among the test clips or, by mean average precision, the mean part of the test clips that have a class.
        dimensions: width of the embedding.
        probes: probe to score.
        seconds: what the scoring took.
        metric: what the scores are, of `METRICS`.
    """

    task: str
    classes: list[str]
    clips: int
    chance: float
    dimensions: int
    probes: dict[str, ProbeScore]
    seconds: float
    metric: str = ACCURACY

    def as_dict(self) -> dict[str, Any]:
        """The score as plain lists and dictionaries, for JSON."""
        return asdict(self)


def check_probes(probes: Sequence[str]) -> tuple[str, ...]:
    """The probes by name, each once, in the order given.

    Raises:
        SoundalikeError: none is given, or one is unknown.
    """
    if not probes:
        raise SoundalikeError(f"no probe is given: name at least one of {', '.join(ALL_PROBES)}.")
    for probe in probes:
        if probe not in ALL_PROBES:
            raise SoundalikeError(f"unknown probe {probe!r}: {nearest(probe, ALL_PROBES)}")
    return tuple(dict.fromkeys(probes))


def score(vectors: np.ndarray, dataset: Dataset, probes: Sequence[str] = PROBES, *, seed: int = 0) -> TaskScore:
    """Score frozen embeddings on a task, by its own splits.

    Args:
        vectors: embeddings, ``(n, D)``, one for each row of ``dataset.clips``.
        dataset: the task; ``Dataset.drop`` leaves out clips that have no embedding.
        probes: which to run, of ``ALL_PROBES``; the first is the one that tables lead with.
        seed: of the shuffle of the inner folds, and of the first weights of the MLP probe.

    Returns:
        Scores by the task's metric, confusion and predictions of each probe.

    Raises:
        SoundalikeError: unknown probe, or embeddings that do not fit the table or are not finite.
    """
    started = time.perf_counter()
    probes = check_probes(probes)
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(dataset.clips):
        raise SoundalikeError(
            f"{dataset.name}: embeddings of shape {vectors.shape} do not fit {len(dataset.clips)} clips; "
            f"give one row for each clip."
        )
    if not np.isfinite(vectors).all():
        raise SoundalikeError(f"{dataset.name}: some embeddings are not finite; drop their clips.")
    classes = np.array(dataset.classes)
    codes, targets = np.searchsorted(classes, dataset.labels), dataset.targets
    precision = dataset.metric == MEAN_AVERAGE_PRECISION
    splits = list(dataset.splits())
    fold = _Fold(vectors, targets if dataset.several else codes, targets, dataset.groups, precision, seed)
    jobs = [(probe, split) for probe in probes for split in splits]
    # the MLP and the linear probe of several labels train in PyTorch
    threads = one_thread() if "mlp" in probes or dataset.several else nullcontext()
    with single_threaded_and_quiet(), threads, ThreadPoolExecutor(min(len(splits), os.cpu_count() or 1)) as pool:
        done = list(pool.map(lambda job: fold.run(*job), jobs))
    tested = np.concatenate([split.test for split in splits])
    scores = {}
    for number, probe in enumerate(probes):
        folds, answers, precisions = zip(*done[number * len(splits) : (number + 1) * len(splits)], strict=True)
        values = np.array([one.score for one in folds])
        predicted = np.concatenate(answers)
        confusion = np.zeros((len(classes), len(classes)), dtype=int)
        np.add.at(confusion, (codes[tested], predicted), 1)
        scores[probe] = ProbeScore(
            mean=float(values.mean()),
            std=float(values.std()),
            folds=list(folds),
            confusion=[] if dataset.several else confusion.tolist(),
            predictions=Predictions(tested.tolist(), codes[tested].tolist(), predicted.tolist()),
            average_precision=_over_folds(precisions) if precision else [],
        )
    shares = targets[tested].mean(0)
    return TaskScore(
        task=dataset.name,
        classes=classes.tolist(),
        clips=len(vectors),
        chance=float(shares[shares > 0].mean() if precision else shares.max()),
        dimensions=vectors.shape[1],
        probes=scores,
        seconds=time.perf_counter() - started,
        metric=dataset.metric,
    )


def _over_folds(precisions: Sequence[np.ndarray]) -> list[float | None]:
    """Of each class the mean over the folds that have it."""
    stacked = np.stack(precisions)  # (folds, classes)
    counts = (~np.isnan(stacked)).sum(0)
    return [float(np.nanmean(column)) if count else None for column, count in zip(stacked.T, counts, strict=True)]


@dataclass(frozen=True)
class _Fold:
    """What every fold of a task needs.

    Attributes:
        vectors: embeddings, (n, D).
        labels: what probes are fitted to: class numbers (n,), or bool (n, classes) of several labels.
        targets: which classes clips have, bool (n, classes).
        groups: of clips, (n,).
        precision: whether to score by the mean average precision.
        seed: of inner folds and weights.
    """

    vectors: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    groups: np.ndarray
    precision: bool
    seed: int

    def run(self, probe: str, split: Split) -> tuple[FoldScore, np.ndarray, np.ndarray]:
        """One probe on one fold: its score, the class predicted for each test clip, and the precision of classes."""
        train, test = split.train, split.test
        chosen: dict[str, Any] = {}
        chooser = None
        if split.validation is not None:
            chooser = (self.vectors[split.validation], self.labels[split.validation])
        known: dict[str, Any] = {"groups": self.groups[train], "validation": chooser, "seed": self.seed}
        if probe == "knn":
            scores = votes_knn(self.vectors[train], self.targets[train], self.vectors[test])
        else:
            fitted: LinearProbe | MLPProbe
            if probe == "mlp":
                fitted = fit_mlp(self.vectors[train], self.labels[train], **known)
            else:
                fit = fit_linear_several if self.labels.ndim == 2 else fit_linear
                fitted = fit(self.vectors[train], self.labels[train], **known)
            logits = fitted.logits(self.vectors[test])
            if (
                self.labels.ndim == 1 and self.precision
            ):  # clips are ranked by probability, not by their own best class
                logits = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
            scores = np.full((len(test), self.targets.shape[1]), -np.inf)
            scores[:, fitted.classes] = logits
            if isinstance(fitted, LinearProbe):
                chosen = {"strength": fitted.strength, "converged": fitted.converged}
            else:
                chosen = {"epochs": fitted.epochs}
        predicted = scores.argmax(1)
        precisions = np.zeros(0)
        if self.precision:
            lowest = float(np.finfo(np.float32).min)  # of a class that training does not know
            precisions = average_precision(self.targets[test], np.maximum(scores, lowest))
            value = float(np.nanmean(precisions))
        else:
            value = float(self.targets[test, predicted].mean())
        return FoldScore(split.name, value, len(train), len(test), **chosen), predicted, precisions
