"""The whole evaluation: embed every clip once with every representation, probe, compare, write it down."""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.audio.segment import Segment, Sound, file_of
from soundalike.core.errors import SoundalikeError
from soundalike.core.files import make_folder, write_whole
from soundalike.eval.probe.baseline import is_baseline
from soundalike.eval.probe.compare import Comparison, compare_to_baselines
from soundalike.eval.probe.projection import Projection, project
from soundalike.eval.probe.score import PROBES, TaskScore, check_probes, score

if TYPE_CHECKING:
    from soundalike.data.datasets import Dataset
    from soundalike.model.embed_files import Embedder

RESULTS = "results.json"
REPORT = "report.html"


@dataclass(frozen=True)
class TaskResult:
    """Everything about one task.

    Attributes:
        task: its name.
        protocol: a sentence on how it is split.
        folder: what all clips lie in.
        clips: the clips that took part, by path inside the folder; rows of predictions and map count in it.
        labels: their classes.
        failures: files that could not be embedded and were left out, as (path, reason).
        notes: files that are not whole but took part, as (path, what is wrong).
        missing: clips that the data set lists and that are not on disk.
        scores: representation to score, the model first.
        comparisons: of each model with the baselines, by the first probe.
        projection: a map of the model's embeddings.
        seconds: what embedding and scoring took, in seconds.
    """

    task: str
    protocol: str
    folder: str
    clips: list[str]
    labels: list[str]
    failures: list[tuple[str, str]]
    notes: list[tuple[str, str]]
    missing: int
    scores: dict[str, TaskScore]
    comparisons: dict[str, Comparison]
    projection: Projection
    seconds: dict[str, float]

    @property
    def comparison(self) -> Comparison:
        """Of the first model."""
        return next(iter(self.comparisons.values()))


@dataclass(frozen=True)
class Evaluation:
    """What ``results.json`` holds.

    Attributes:
        model: name of the first representation, whose confusion and map the report shows.
        recipe: a summary of how it was made.
        representations: names of all, the models first.
        baselines: names of those that are baselines.
        probes: names of the probes.
        tasks: one entry a task.
        versions: of what the numbers depend on.
        seconds: from start to end.
    """

    model: str
    recipe: dict[str, Any]
    representations: list[str]
    baselines: list[str]
    probes: list[str]
    tasks: list[TaskResult]
    versions: dict[str, str]
    seconds: float

    def as_json(self) -> str:
        """The evaluation as JSON, lists of numbers on one line each."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False, default=str)
        # A JSON string holds no line break, so only lists can match.
        return re.sub(r"\[\n[-+.\deE,\s]+\]", lambda found: re.sub(r"\s+", " ", found[0]), text) + "\n"


def evaluate(
    representations: Mapping[str, Embedder],
    datasets: Sequence[Dataset],
    out: str | Path,
    *,
    recipe: Mapping[str, Any] | None = None,
    probes: Sequence[str] = PROBES,
    baselines: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
    overwrite: bool = False,
) -> Evaluation:
    """Evaluate representations on tasks and write ``results.json`` and ``report.html``.

    Every clip is decoded once. A clip that any representation cannot embed is left out for all of them, and named.

    Args:
        representations: name to embedder: one or several models, and their baselines (``with_baselines``).
        datasets: the tasks.
        out: folder for the two files; it is made where it does not exist.
        recipe: a summary of how the model was made, for the record; may be nested.
        probes: which to run, of ``ALL_PROBES``; the first decides the comparison with the baselines.
        baselines: which of the representations are baselines; None for those that are called so.
        seed: of inner folds and maps.
        progress: whether to show progress on the terminal.
        overwrite: whether results that already lie in ``out`` may be replaced.

    Returns:
        All that was written.

    Raises:
        SoundalikeError: nothing to evaluate, results in the way, or a task with too few clips that can be read.
    """
    from soundalike.eval.probe.report import report_html

    started = time.perf_counter()
    if not representations or not datasets:
        raise SoundalikeError("evaluate needs at least one representation and one data set.")
    if not 0 <= seed < 1 << 32:
        raise SoundalikeError(f"seed is {seed}: give a whole number from 0 to {(1 << 32) - 1}.")
    probes = check_probes(probes)
    baselines = [name for name in representations if (is_baseline(name) if baselines is None else name in baselines)]
    out = _folder(Path(out), overwrite)
    tasks = [_task(representations, dataset, probes, baselines, seed, progress) for dataset in _distinct(datasets)]
    evaluation = Evaluation(
        model=next(iter(representations)),
        recipe=dict(recipe or {}),
        representations=list(representations),
        baselines=baselines,
        probes=list(probes),
        tasks=tasks,
        versions=_versions(),
        seconds=time.perf_counter() - started,
    )
    for name, text in ((RESULTS, evaluation.as_json()), (REPORT, report_html(evaluation))):
        write_whole(out / name, text, "the evaluation")
    return evaluation


def _task(
    representations: Mapping[str, Embedder],
    dataset: Dataset,
    probes: Sequence[str],
    baselines: Sequence[str],
    seed: int,
    progress: bool,
) -> TaskResult:
    from rich.console import Console

    from soundalike.model.embed_files import embed_files

    started = time.perf_counter()
    embedded = embed_files(dataset.sounds, representations, progress=progress)
    if not embedded.paths:
        first = embedded.failures[0]
        raise SoundalikeError(
            f"{dataset.name}: none of the {len(dataset.paths)} clips could be embedded; the first one, {first.path}: "
            f"{first.reason}"
        )
    dataset = dataset.select(embedded.rows)
    embedding_seconds = time.perf_counter() - started
    scores = {}
    console = Console(stderr=True)
    for name, vectors in embedded.vectors.items():
        with console.status(f"{dataset.name}: scoring {name}") if progress else nullcontext():
            scores[name] = score(vectors, dataset, probes, seed=seed)
    projection = project(embedded.vectors[next(iter(representations))], seed=seed)
    folder = _common_folder(dataset.paths)
    return TaskResult(
        task=dataset.name,
        protocol=dataset.protocol,
        folder=str(folder),
        clips=[_name(sound, folder) for sound in dataset.sounds],
        labels=dataset.labels.tolist(),
        failures=[(str(failure.path), failure.reason) for failure in embedded.failures],
        notes=[(str(note.path), note.reason) for note in embedded.notes],
        missing=dataset.missing,
        scores=scores,
        comparisons={
            name: compare_to_baselines(
                {name: scores[name], **{other: scores[other] for other in baselines}},
                baselines=baselines,
                probe=probes[0],
            )
            for name in scores
            if name not in baselines or len(scores) == 1
        },
        projection=projection,
        seconds={
            "embedding": embedding_seconds,
            "scoring": time.perf_counter() - started - embedding_seconds,
        },
    )


def _distinct(datasets: Sequence[Dataset]) -> list[Dataset]:
    """The data sets, told apart by their folders where two have one name, and by a number where that is not enough."""
    counts = Counter(dataset.name for dataset in datasets)
    names: list[str] = []
    for dataset in datasets:
        name = dataset.name
        if counts[name] > 1:
            name = f"{name} ({_common_folder(dataset.paths).name})"
        if name in names:
            name = next(f"{name} {number}" for number in count(2) if f"{name} {number}" not in names)
        names.append(name)
    return [replace(dataset, name=name) for dataset, name in zip(datasets, names, strict=True)]


def _name(sound: Sound, folder: Path) -> str:
    """A clip below a folder, with start and end where it is a segment."""
    name = file_of(sound).relative_to(folder).as_posix()
    return str(replace(sound, path=Path(name))) if isinstance(sound, Segment) else name


def _common_folder(paths: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([path.parent for path in paths]))


def _folder(out: Path, overwrite: bool) -> Path:
    for name in (RESULTS, REPORT):
        if (out / name).exists() and not overwrite:
            raise SoundalikeError(f"{out}: already holds {name}; name another folder.")
    return make_folder(out)


def _versions() -> dict[str, str]:
    packages = ("soundalike", "torch", "numpy", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
