"""One representation on one task: every fold, every probe, and what was predicted for each test clip."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.eval.probe.knn import predict_knn
from soundalike.eval.probe.linear import fit_linear, single_threaded_and_quiet
from soundalike.eval.probe.mlp import fit_mlp, one_thread

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
        accuracy: share of test clips with the right answer, in [0, 1].
        train: number of training clips.
        test: number of test clips.
        strength: L2 strength that was chosen; None where the probe has none.
        converged: whether the solver came to an end; None where the probe has none.
        epochs: how often the probe saw the training clips, as was chosen; None where it sees them once.
    """

    name: str
    accuracy: float
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
        label: its true class.
        predicted: the class that the probe gave it.
    """

    row: list[int]
    label: list[int]
    predicted: list[int]


@dataclass(frozen=True)
class ProbeScore:
    """One probe on all folds of one task.

    Attributes:
        mean: of the folds' accuracies, in [0, 1].
        std: their standard deviation (divided by the number of folds); 0 with one fold.
        folds: one entry a fold.
        confusion: test clips of all folds, by true class (rows) and predicted class (columns).
        predictions: the same, clip by clip.
    """

    mean: float
    std: float
    folds: list[FoldScore]
    confusion: list[list[int]]
    predictions: Predictions


@dataclass(frozen=True)
class TaskScore:
    """One representation on one task.

    Attributes:
        task: name of the data set.
        classes: its labels, sorted.
        clips: number of clips that took part.
        majority: accuracy of always answering the class that is the most frequent among the test clips.
        dimensions: width of the embedding.
        probes: probe to score.
        seconds: what the scoring took.
    """

    task: str
    classes: list[str]
    clips: int
    majority: float
    dimensions: int
    probes: dict[str, ProbeScore]
    seconds: float

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
        Accuracies, confusion and predictions of each probe.

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
    classes, codes = np.unique(dataset.labels, return_inverse=True)
    splits = list(dataset.splits())
    jobs = [(probe, split) for probe in probes for split in splits]
    threads = one_thread() if "mlp" in probes else nullcontext()
    with single_threaded_and_quiet(), threads, ThreadPoolExecutor(min(len(splits), os.cpu_count() or 1)) as pool:
        done = list(pool.map(lambda job: _run(job[0], job[1], vectors, codes, dataset.groups, seed), jobs))
    tested = np.concatenate([split.test for split in splits])
    scores = {}
    for number, probe in enumerate(probes):
        folds, answers = zip(*done[number * len(splits) : (number + 1) * len(splits)], strict=True)
        accuracies = np.array([fold.accuracy for fold in folds])
        predicted = np.concatenate(answers)
        confusion = np.zeros((len(classes), len(classes)), dtype=int)
        np.add.at(confusion, (codes[tested], predicted), 1)
        scores[probe] = ProbeScore(
            mean=float(accuracies.mean()),
            std=float(accuracies.std()),
            folds=list(folds),
            confusion=confusion.tolist(),
            predictions=Predictions(tested.tolist(), codes[tested].tolist(), predicted.tolist()),
        )
    return TaskScore(
        task=dataset.name,
        classes=classes.tolist(),
        clips=len(vectors),
        majority=float(np.bincount(codes[tested]).max() / len(tested)),
        dimensions=vectors.shape[1],
        probes=scores,
        seconds=time.perf_counter() - started,
    )


def _run(
    probe: str, split: Split, vectors: np.ndarray, codes: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[FoldScore, np.ndarray]:
    """One probe on one fold: its score, and the class predicted for each test clip."""
    train, test = split.train, split.test
    chooser = None if split.validation is None else (vectors[split.validation], codes[split.validation])
    chosen: dict[str, Any] = {}
    if probe == "linear":
        linear = fit_linear(vectors[train], codes[train], groups=groups[train], validation=chooser, seed=seed)
        predicted = linear.predict(vectors[test])
        chosen = {"strength": linear.strength, "converged": linear.converged}
    elif probe == "mlp":
        mlp = fit_mlp(vectors[train], codes[train], groups=groups[train], validation=chooser, seed=seed)
        predicted = mlp.predict(vectors[test])
        chosen = {"epochs": mlp.epochs}
    else:
        predicted = predict_knn(vectors[train], codes[train], vectors[test])
    accuracy = float((predicted == codes[test]).mean())
    return FoldScore(split.name, accuracy, len(train), len(test), **chosen), predicted
