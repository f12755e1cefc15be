"""What the three studies of CLAR share: tasks with one fold held out, cells of several seeds, and their numbers.

Al-Tahan and Mohsenzadeh, "CLAR: Contrastive Learning of Auditory Representations", AISTATS 2021, arXiv 2010.09542.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.eval.study.grid import Cell, Grid
from soundalike.eval.study.report import page, table
from soundalike.eval.study.scoring import distinct, embed, linear_accuracy
from soundalike.model.recipe import LENGTHS, Recipe

if TYPE_CHECKING:
    from soundalike.data.datasets import Dataset
    from soundalike.model.embed_files import Embedder
    from soundalike.model.model import SoundModel

REPORT = "report.html"
SUPERVISED: dict[str, Any] = {"head": "classifier", "objective": "supervised", "recordings.unlabelled": "drop"}
"""What makes a recipe one of supervised training."""
_ALWAYS_SET = ("task", "data", "fold", "labels", "label_seed", "unlabelled", "seed", "minutes", "start")
Finished = Sequence[tuple[Cell, Mapping[str, Any]]]


@dataclass(frozen=True, eq=False)
class Task:
    """Recordings that cells are trained on, but for one fold that they are scored on.

    Attributes:
        name: told apart from the study's other tasks.
        kind: one of `datasets.TASKS`.
        data: the folder.
        fold: the one that is held out, from 1.
        dataset: the task with that fold as its only test part.
    """

    name: str
    kind: str
    data: Path
    fold: int
    dataset: Dataset

    @property
    def settings(self) -> dict[str, Any]:
        """What a cell of this task overrides."""
        return {
            "recordings.task": self.kind,
            "recordings.data": str(self.data.absolute()),  # so that the study goes on from any folder
            "recordings.fold": self.fold,
        }


def hold_out(named: Iterable[tuple[str, Path, Dataset]], fold: int = 1) -> list[Task]:
    """Tasks with one fold held out.

    Args:
        named: kind, folder and data set of each.
        fold: its number, from 1; of a task with official lists, 1.

    Raises:
        SoundalikeError: there is no task, or one has no such fold.
    """
    tasks: list[Task] = []
    for kind, data, dataset in named:
        name = distinct(dataset.name, [task.name for task in tasks])
        tasks.append(Task(name, kind, data, fold, dataset.hold_out(fold)))
    if not tasks:
        raise SoundalikeError("a study needs a task to train on and to score with; give --task and --data.")
    return tasks


def base(
    recipe: Recipe, settings: Mapping[str, Any], study: str, varied: Sequence[str]
) -> tuple[Recipe, dict[str, Any]]:
    """The recipe that a study's cells change.

    Args:
        recipe: one that hears recordings and learns without labels.
        settings: of all cells alike, as `Recipe.override` takes them.
        study: its name.
        varied: sections and keys that the study itself sets.

    Returns:
        The recipe, and those of the settings that end every run beside the budget's minutes.

    Raises:
        SoundalikeError: the recipe or a setting does not fit the study.
    """
    for key in settings:
        name = key.removesuffix(".name").rpartition(".")[2].replace("-", "_")
        if name in (*_ALWAYS_SET, *varied):
            raise SoundalikeError(f"--set {key}: the study {study} sets this itself, for each of its cells.")
    limits = {key: value for key, value in settings.items() if key.rpartition(".")[2] in LENGTHS}
    recipe = recipe.override(settings)
    if recipe.recordings is None:
        raise SoundalikeError(f"study {study}: the recipe {recipe.name} hears no recordings; give one such as clar.")
    if recipe.sections["objective"]["name"] in ("supervised", "joint"):
        raise SoundalikeError(
            f"study {study}: the recipe {recipe.name} learns from labels, and the cells change one that does not; "
            f"give one such as clar."
        )
    return recipe, limits


def limited(cells: Iterable[Cell], limits: Mapping[str, Any]) -> list[Cell]:
    """The cells with the limits that `base` has found."""
    return [replace(cell, overrides={**limits, **cell.overrides}) for cell in cells]


def check_levels(option: str, given: Sequence[Any], known: Iterable[str] | None = None) -> None:
    """Whether levels are known and each is given once.

    Raises:
        SoundalikeError: they are not.
    """
    for level in given:
        if known is not None and level not in known:
            raise SoundalikeError(f"{option}: unknown level {level!r}: {nearest(level, known)}")
    if not given or len({*given}) < len(given):
        raise SoundalikeError(f"{option} is {' '.join(map(str, given))!r}: give each level once.")


def check_seeds(seeds: int) -> None:
    """Whether there is a seed.

    Raises:
        SoundalikeError: there is none.
    """
    if seeds < 1:
        raise SoundalikeError(f"--seeds is {seeds}: give at least 1.")


def definition(tasks: Sequence[Task]) -> dict[str, Any]:
    """What makes two studies comparable beside recipe, cells and budget, as plain data."""
    return {
        "tasks": {
            task.name: {"task": task.kind, "clips": len(task.dataset.paths), "held_out": task.dataset.protocol}
            for task in tasks
        }
    }


def seeds_of(cells: Iterable[Cell]) -> list[int]:
    """The seeds that occur."""
    return sorted({int(cell.levels["seed"]) for cell in cells})


def load(path: Path, device: str) -> SoundModel:
    """A cell's model, where it was trained.

    Args:
        path: of its file.
        device: as `pretrain` takes it.
    """
    from soundalike.model.model import SoundModel

    return SoundModel.load(path, scoring_device(device))


def scoring_device(device: str) -> str:
    """Where models are scored that are trained on ``device``."""
    import torch

    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def linear_of(embedders: Sequence[Embedder], datasets: Mapping[str, Dataset]) -> dict[str, list[float]]:
    """Accuracy of a linear probe on every task, in [0, 1]: task to a number for each embedder."""
    return {
        name: [linear_accuracy(*embed(embedder, dataset)) for embedder in embedders]
        for name, dataset in datasets.items()
    }


class Summary(NamedTuple):
    """Accuracy over seeds, in %."""

    mean: float
    std: float
    runs: int

    def __str__(self) -> str:
        return f"{self.mean:.1f}" + (f" ± {self.std:.1f}" if self.runs > 1 else "")


def in_words(summary: Summary | None) -> str:
    """A summary as tables show it."""
    return "–" if summary is None else str(summary)


def mean_task(tasks: Sequence[str]) -> list[str | None]:
    """The tasks and, where there are several, None for their mean."""
    return [*tasks, None] if len(tasks) > 1 else list(tasks)


def title(task: str | None) -> str:
    """A task, or the mean of all, in a figure."""
    return "mean of the tasks" if task is None else task


def summarise(
    finished: Finished,
    tasks: Sequence[str],
    task: str | None,
    value: Callable[[Mapping[str, Any]], float | None],
    **levels: Any,
) -> Summary | None:
    """Mean and standard deviation over seeds.

    Args:
        finished: cells and their records.
        tasks: names of all tasks.
        task: one of them; None is their mean, of the seeds of which every task has a value.
        value: accuracy in [0, 1] out of a record's scores, or None where there is none.
        levels: factor to level of the cells that count.

    Returns:
        The summary, or None where no seed has a value.
    """
    by_seed: dict[Any, dict[str, float]] = {}
    for cell, record in finished:
        if all(cell.levels.get(factor) == level for factor, level in levels.items()):
            number = value(record["scores"])
            if number is not None:
                by_seed.setdefault(cell.levels["seed"], {})[str(cell.levels["task"])] = number
    return _over(by_seed.values(), tasks, task)


def summarise_floor(baseline: Mapping[str, Sequence[float]], tasks: Sequence[str], task: str | None) -> Summary | None:
    """The same of a baseline.

    Args:
        baseline: task to accuracies in [0, 1], one for each seed.
        tasks: names of all tasks.
        task: one of them; None is their mean.
    """
    seeds = max((len(values) for values in baseline.values()), default=0)
    by_seed = [{name: values[i] for name, values in baseline.items() if i < len(values)} for i in range(seeds)]
    return _over(by_seed, tasks, task)


def _over(by_seed: Iterable[Mapping[str, float]], tasks: Sequence[str], task: str | None) -> Summary | None:
    wanted = tasks if task is None else [task]
    means = [100 * np.mean([of[name] for name in wanted]) for of in by_seed if all(name in of for name in wanted)]
    return Summary(float(np.mean(means)), float(np.std(means)), len(means)) if means else None


def pairs_seen(finished: Finished, **levels: Any) -> list[str]:
    """Runs of a setting, and what each of them saw: seeds, mean of the pairs, and how often each clip was shown."""
    runs = [
        (cell.levels["seed"], record["trained"])
        for cell, record in finished
        if all(cell.levels.get(factor) == level for factor, level in levels.items())
    ]
    if not runs:
        return ["0", "–", "–"]
    pairs = float(np.mean([trained["pairs"] for _, trained in runs]))
    rounds = np.mean([trained["pairs"] / trained["recordings"] for _, trained in runs])
    return [str(len({seed for seed, _ in runs})), f"{round(pairs):,}", f"{rounds:.3g}"]


SEEN = ("seeds", "pairs a run", "rounds")
"""The columns that `pairs_seen` fills."""


def how_long(grid: Grid) -> str:
    """How long the cells of a study train, in words."""
    each, name = grid.state["definition"]["minutes_per_cell"], grid.state["definition"]["recipe"]["name"]
    if each is None:
        return f"Every cell was trained as long as the recipe {name} says."
    return f"Every cell was trained for {duration(each)} with the recipe {name}."


def duration(minutes: float) -> str:
    """Minutes or, of less than one, seconds."""
    return f"{minutes:.3g} minutes" if minutes >= 1 else f"{60 * minutes:.3g} seconds"


def write_report(grid: Grid, heading: str, sections: Sequence[str], failed: Sequence[tuple[Cell, str]]) -> None:
    """Writes ``report.html``.

    Args:
        grid: the study.
        heading: its title.
        sections: HTML.
        failed: cells that failed, each with a sentence.
    """
    protocols = [(name, about["held_out"], str(about["clips"])) for name, about in _tasks(grid).items()]
    ends = ["<h2>What was held out</h2>", table(("task", "scored on", "clips in all"), protocols, lead=2)]
    if failed:
        ends += ["<h2>Cells that failed</h2>", table(("cell", "why"), [(c.title, why) for c, why in failed], 2)]
    html = page(heading, [*sections, *ends])
    (grid.out / REPORT).write_text(html, encoding="utf-8", errors="backslashreplace")


def _tasks(grid: Grid) -> dict[str, dict[str, Any]]:
    return dict(grid.state["definition"]["tasks"])
