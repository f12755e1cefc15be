"""CLAR's first study: which augmentations, alone and in pairs, make two views of a recording worth learning from.

Al-Tahan and Mohsenzadeh 2021 (arXiv 2010.09542), section 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.eval.study import clar
from soundalike.eval.study.clar import SEEN, Summary, Task, in_words, mean_task
from soundalike.eval.study.grid import Cell, Grid
from soundalike.eval.study.report import paragraph, picture, table
from soundalike.eval.study.scoring import embed, linear_accuracy
from soundalike.model.recipe import Recipe

AUGMENTED = ("pitch-shift", "fade", "noise", "time-mask", "time-shift", "time-stretch")
VARIED = ("augment", "augment_features")
FIGURE = "augmentations.png"
CHANCE = 0.5
"""How often a view is augmented by each of a cell's augmentations."""
_TOGETHER = " + "


def cells(tasks: Sequence[Task], augmentations: Sequence[str] = AUGMENTED, seeds: int = 1) -> list[Cell]:
    """The cells of the study: every augmentation alone and every pair of them; those of the first seed first.

    Args:
        tasks: what is trained on and scored with.
        augmentations: some of `AUGMENTED`.
        seeds: how many seeds each is trained with.

    Raises:
        SoundalikeError: a name is unknown or given twice, or there is no seed.
    """
    clar.check_levels("--augment", augmentations, AUGMENTED)
    clar.check_seeds(seeds)
    return [
        Cell(
            {"task": task.name, "augment": _TOGETHER.join(names), "seed": seed},
            {
                **task.settings,
                "views.augment": [{"name": name, "p": CHANCE} for name in names],
                "views.augment_features": None,
                "training.seed": seed,
            },
        )
        for seed in range(seeds)
        for task in tasks
        for names in _combinations(augmentations)
    ]


def _combinations(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Each alone, then each with every later one."""
    return [(name,) for name in names] + [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]


def run(
    out: str | Path,
    budget: float | None,
    tasks: Sequence[Task],
    recipe: Recipe,
    settings: Sequence[Cell],
    device: str = "auto",
    quiet: bool = False,
) -> list[tuple[Cell, str]]:
    """Trains, scores, and writes ``study.json``, ``augmentations.png`` and ``report.html``.

    Args:
        out: folder of the study; the same again goes on with it.
        budget: minutes of training over all cells; scoring comes on top. None leaves each the recipe's length.
        tasks: what is trained on and scored with.
        recipe: what all cells share.
        settings: what `cells` returns.
        device: ``auto``, ``cpu`` or ``cuda``.
        quiet: no progress lines.

    Returns:
        The cells that failed, each with a sentence.

    Raises:
        SoundalikeError: the folder holds another study, or something does not fit.
    """
    from soundalike.eval.probe.baseline import LOG_MEL_STATISTICS, UNTRAINED_ENCODER, LogMelStatistics
    from soundalike.model.model import SoundModel

    datasets = {task.name: task.dataset for task in tasks}
    grid = Grid(out, "augmentations", recipe, settings, budget, clar.definition(tasks))
    where = clar.scoring_device(device)

    def of_untrained() -> dict[str, list[float]]:
        models = [SoundModel(recipe).to(where).untrained(seed) for seed in clar.seeds_of(settings)]
        return clar.linear_of(models, datasets)

    def score(path: Path, cell: Cell) -> dict[str, Any]:
        return {"linear": linear_accuracy(*embed(clar.load(path, device), datasets[str(cell.levels["task"])]))}

    baselines = {
        LOG_MEL_STATISTICS: grid.extra(LOG_MEL_STATISTICS, lambda: clar.linear_of([LogMelStatistics()], datasets)),
        UNTRAINED_ENCODER: grid.extra(UNTRAINED_ENCODER, of_untrained),
    }
    failed = grid.run(score, device, quiet)
    if grid.finished:
        _write(grid, list(datasets), baselines, failed)
    return failed


def _write(
    grid: Grid,
    tasks: Sequence[str],
    baselines: Mapping[str, Mapping[str, list[float]]],
    failed: list[tuple[Cell, str]],
) -> None:
    from soundalike.eval.study.figure import draw_grid

    names = list(dict.fromkeys(str(c.levels["augment"]) for c in grid.cells))
    alone = [name for name in names if _TOGETHER not in name]
    panels: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    under: dict[str, str] = {}
    for task in mean_task(tasks):
        mean, std = np.full((2, len(alone), len(alone)), np.nan)
        for name in names:
            found = _accuracy(grid, tasks, task, name)
            places = [alone.index(one) for one in name.split(_TOGETHER)]
            for i, j in {(places[0], places[-1]), (places[-1], places[0])}:
                if found is not None:
                    mean[i, j] = found.mean
                    std[i, j] = found.std if found.runs > 1 else np.nan
        panels[clar.title(task)] = mean, std
        said = {name: clar.summarise_floor(baseline, tasks, task) for name, baseline in baselines.items()}
        under[clar.title(task)] = ", ".join(f"{name} {in_words(value)}" for name, value in said.items())
    draw_grid(alone, panels, under, grid.out / FIGURE)
    about = (
        f"Accuracy of the linear probe on frozen embeddings of the clips that were held out, in %. "
        f"{clar.how_long(grid)} An augmentation changes a view with probability {CHANCE:g}; of two, the one that is "
        f"named first comes first. Means over seeds; ± is the standard deviation over seeds. A round shows every clip "
        f"once."
    )
    caption = (
        "On the diagonal an augmentation alone, beside it two. Below each: what is reached without any training. "
        "Every task has a scale of colours of its own."
    )
    sections = [
        paragraph(about, soft=True),
        picture(grid.out / FIGURE, caption),
        "<h2>All cells</h2>",
        table(*_rows(grid, tasks, names, baselines), lead=1),
    ]
    clar.write_report(grid, "CLAR: augmentations alone and in pairs", sections, failed)


def _accuracy(grid: Grid, tasks: Sequence[str], task: str | None, name: str) -> Summary | None:
    return clar.summarise(grid.finished, tasks, task, lambda scores: scores["linear"], augment=name)


def _rows(
    grid: Grid, tasks: Sequence[str], names: Sequence[str], baselines: Mapping[str, Mapping[str, list[float]]]
) -> tuple[list[str], list[list[str]]]:
    """The table: baselines first, then the best in the last column."""
    columns = mean_task(tasks)
    head = ["augmentation", *SEEN, *("mean" if task is None else task for task in columns)]
    rows = [
        [name, "", "", "", *(in_words(clar.summarise_floor(baseline, tasks, task)) for task in columns)]
        for name, baseline in baselines.items()
    ]
    found = {name: [_accuracy(grid, tasks, task, name) for task in columns] for name in names}

    def order(name: str) -> float:
        last = found[name][-1]
        return 1.0 if last is None else -last.mean

    for name in sorted(names, key=order):
        rows.append([name, *clar.pairs_seen(grid.finished, augment=name), *map(in_words, found[name])])
    return head, rows
