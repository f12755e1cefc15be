"""What every cell of a study is scored with: the probes of ``evaluate`` on the same tasks, nothing written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from soundalike.core.errors import SoundalikeError

if TYPE_CHECKING:
    from soundalike.data.datasets import Dataset
    from soundalike.model.embed_files import Embedder


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

    embedded = embed_files(dataset.paths, {"model": embedder})
    if not embedded.paths:
        first = embedded.failures[0]
        raise SoundalikeError(
            f"{dataset.name}: none of its clips could be embedded; the first one, {first.path}: {first.reason}"
        )
    return embedded.vectors["model"], dataset.select(embedded.rows)


def linear_accuracy(vectors: np.ndarray, dataset: Dataset) -> float:
    """Accuracy of the linear probe alone, in [0, 1], a mean over folds.

    Args:
        vectors: embeddings ``(n, D)``.
        dataset: the task, n rows.
    """
    from soundalike.eval.probe.score import score

    return score(vectors, dataset, ("linear",)).probes["linear"].mean


class Scorer:
    """Scores embedders on tasks.

    Args:
        datasets: the tasks, at least one.

    Raises:
        SoundalikeError: there is no task.
    """

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        if not datasets:
            raise SoundalikeError("a study needs a task to score with; give --task and --data.")
        self.datasets: list[Dataset] = []
        for dataset in datasets:
            self.datasets.append(replace(dataset, name=distinct(dataset.name, self.names)))

    @property
    def names(self) -> list[str]:
        """The tasks, told apart by a number where two have one name."""
        return [dataset.name for dataset in self.datasets]

    def __call__(self, embedder: Embedder) -> dict[str, Any]:
        """Probe frozen embeddings.

        Args:
            embedder: from waveforms to vectors.

        Returns:
            Plain data: ``tasks`` (task to probe to ``mean`` and ``std`` over folds, in [0, 1], and ``clips``) and
            ``mean`` (probe to the mean over tasks).

        Raises:
            SoundalikeError: none of a task's clips can be embedded.
        """
        from soundalike.eval.probe.score import PROBES, score

        tasks: dict[str, Any] = {}
        for dataset in self.datasets:
            found = score(*embed(embedder, dataset))
            probes = {probe: {"mean": result.mean, "std": result.std} for probe, result in found.probes.items()}
            tasks[dataset.name] = {"clips": found.clips, **probes}
        return {
            "tasks": tasks,
            "mean": {probe: float(np.mean([task[probe]["mean"] for task in tasks.values()])) for probe in PROBES},
        }
