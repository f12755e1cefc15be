"""What every run of a study is scored with: probes of frozen embeddings on the study's tasks, nothing written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.table import ACCURACY

if TYPE_CHECKING:
    from soundalike.data.datasets import Dataset
    from soundalike.model.embed_files import Embedder

LINEAR, HEAD = "linear probe", "own head"
"""What reads an embedding. The second is the head of a run that was trained with labels."""


@dataclass(frozen=True, eq=False)
class Task:
    """Recordings that runs are scored on, and trained on where their recipe hears recordings.

    Attributes:
        name: told apart from the study's other tasks.
        kind: one of `datasets.TASKS`.
        data: the folder.
        fold: the one that is held out of training, from 1; None where no run is trained on the task.
        dataset: the task, with that fold as its only test part where one is held out.
    """

    name: str
    kind: str
    data: Path
    fold: int | None
    dataset: Dataset

    @property
    def settings(self) -> dict[str, Any]:
        """What a run that is trained on this task overrides."""
        return {
            "recordings.task": self.kind,
            "recordings.data": str(self.data.absolute()),  # so that the study goes on from any folder
            "recordings.fold": self.fold,
        }


def some_files(folder: str | Path, count: int, seed: int) -> list[Path]:
    """At most ``count`` of the recordings of a folder, drawn at random, in their order.

    Raises:
        SoundalikeError: there is no such folder, or no recording in it.
    """
    from soundalike.audio import read

    files = read.find(folder)
    return [files[row] for row in np.sort(np.random.default_rng(seed).permutation(len(files))[:count])]


def make_tasks(named: Iterable[tuple[str, Path, Dataset]], fold: int | None = 1) -> list[Task]:
    """The tasks of a study.

    Args:
        named: kind, folder and data set of each.
        fold: number of the fold that is held out, from 1; of a task with official lists, 1. None holds out none.

    Raises:
        SoundalikeError: there is no task, or one has no such fold.
    """
    tasks: list[Task] = []
    for kind, data, dataset in named:
        scored = dataset.name if dataset.metric == ACCURACY else f"{dataset.name} ({dataset.metric})"
        name = distinct(scored, [task.name for task in tasks])
        tasks.append(Task(name, kind, data, fold, dataset if fold is None else dataset.hold_out(fold)))
    if not tasks:
        raise SoundalikeError("a study needs a task to score with; give --task and --data.")
    return tasks


def distinct(name: str, taken: Collection[str]) -> str:
    """The name, with a number where it is taken."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name} {number}"
    return found


def embed(embedder: Embedder, dataset: Dataset) -> tuple[np.ndarray, Dataset]:
    """Frozen embeddings of a task's clips.

    Args:
        embedder: from waveforms to vectors.
        dataset: the task.

    Returns:
        Embeddings ``(n, D)``, and the task without the clips that have none, n rows.

    Raises:
        SoundalikeError: none of the clips can be embedded, or too few for a train and a test part.
    """
    from soundalike.model.embed_files import embed_files

    embedded = embed_files(dataset.sounds, {"model": embedder})
    if not embedded.paths:
        first = embedded.failures[0]
        raise SoundalikeError(
            f"{dataset.name}: none of its clips could be embedded; the first one, {first.path}: {first.reason}"
        )
    return embedded.vectors["model"], dataset.select(embedded.rows)


def probed(vectors: np.ndarray, dataset: Dataset, probes: Sequence[str] = ("linear",)) -> list[dict[str, Any]]:
    """Scores of probes on a task, by its metric, a mean over folds.

    Args:
        vectors: embeddings ``(n, D)``.
        dataset: the task, n rows.
        probes: names of probes, as `score` takes them.

    Returns:
        For each probe its ``reader``, ``accuracy`` and standard deviation over folds, in [0, 1], and ``clips``.
    """
    from soundalike.eval.probe.score import score

    found = score(vectors, dataset, probes)
    return [
        {"reader": f"{probe} probe", "accuracy": of.mean, "folds_std": of.std, "clips": found.clips}
        for probe, of in found.probes.items()
    ]


def scoring_device(device: str) -> str:
    """Where models are scored that are trained on ``device``."""
    import torch

    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
