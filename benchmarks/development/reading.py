"""A model's reading: accuracies of probes on its embeddings of every set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.development.sets import FOLDS, open_sets
from benchmarks.development.vectors import EMBEDDINGS, Embeddings, Model, VectorCache, check_embeddings
from soundalike.eval.probe import PROBES, score
from soundalike.model.fit_compact import SOUNDS

MEAN = "mean"
"""What stands in the place of a set's name in the rows of means over the sets."""


@dataclass(frozen=True)
class Row:
    """One probe on one embedding of one set.

    Attributes:
        model: name of the model.
        set: name of the set, or ``MEAN``.
        embedding: of ``EMBEDDINGS``.
        probe: ``linear`` or ``knn``.
        accuracy: mean over the folds, in %.
        deviation: standard deviation over the folds, in %; None for a mean over sets.
        numbers: width of the embedding.
        clips: number of clips in the set; of all sets for a mean.
    """

    model: str
    set: str
    embedding: str
    probe: str
    accuracy: float
    deviation: float | None
    numbers: int
    clips: int


def read(
    model: Model,
    data: Path | None = None,
    *,
    name: str = "model",
    folds: int = FOLDS,
    embeddings: Sequence[str] = EMBEDDINGS,
    sounds: int = SOUNDS,
    cache: VectorCache | None = None,
    progress: bool = False,
) -> list[Row]:
    """Scores a model on the development set.

    The probes are those of ``soundalike evaluate``, with their choice of strength inside the training folds.

    Args:
        model: the model, on any device, or the log-mel baseline.
        data: folder of the sets; None for ``dev`` in the folder that ``SOUNDALIKE_DATA`` names.
        name: name of the model in the rows.
        folds: number of folds, at least 2.
        embeddings: which embeddings to score, of ``EMBEDDINGS``; one that a model cannot have is left out: the
            baseline has the full one alone, and a compact one needs a fitted one in the model's file or a voice in its
            recipe to fit it to.
        sounds: number of synthetic sounds that a compact embedding is fitted to, where the model has none.
        cache: folder that keeps the model's embeddings; None to compute them anew.
        progress: whether to show progress on stderr.

    Returns:
        Rows by embedding, then probe, then set, the mean over the sets after the sets.

    Raises:
        SoundalikeError: a set cannot be opened, or an argument is out of its range.
    """
    check_embeddings(embeddings)
    vectors = Embeddings(model, embeddings, sounds, cache, progress)
    rows = []
    for part in open_sets(data, model.sample_rate, folds, progress=progress):
        for embedding, values in vectors(part).items():
            scored = score(values, part.dataset)
            rows += [
                Row(
                    model=name,
                    set=part.name,
                    embedding=embedding,
                    probe=probe,
                    accuracy=100 * found.mean,
                    deviation=100 * found.std,
                    numbers=scored.dimensions,
                    clips=scored.clips,
                )
                for probe, found in scored.probes.items()
            ]
    return [row for embedding in vectors.names for probe in PROBES for row in _with_mean(rows, embedding, probe)]


def _with_mean(rows: Iterable[Row], embedding: str, probe: str) -> list[Row]:
    """The rows of one embedding and probe, and their mean."""
    own = [row for row in rows if (row.embedding, row.probe) == (embedding, probe)]
    mean = Row(
        model=own[0].model,
        set=MEAN,
        embedding=embedding,
        probe=probe,
        accuracy=float(np.mean([row.accuracy for row in own])),
        deviation=None,
        numbers=own[0].numbers,
        clips=sum(row.clips for row in own),
    )
    return [*own, mean]
