"""CLAR's second study: raw waveforms against spectrograms, without labels and with them.

Al-Tahan and Mohsenzadeh 2021 (arXiv 2010.09542), section 5.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from soundalike.eval.study import clar
from soundalike.eval.study.clar import SEEN, SUPERVISED, Summary, Task, in_words, mean_task
from soundalike.eval.study.grid import Cell, Grid
from soundalike.eval.study.report import paragraph, picture, table
from soundalike.eval.study.scoring import embed, linear_accuracy
from soundalike.model.recipe import Recipe
from soundalike.nn.frontend import FRONTENDS

FRONT_ENDS = {"spectrogram": "clar", "raw": "raw", "logmel": "logmel"}
"""What is studied, and what a recipe calls it; the last one where it is asked for."""
STUDIED = ("spectrogram", "raw")
OBJECTIVES = ("self-supervised", "supervised")
VARIED = ("frontend", "frames", "dimensions", "head", "objective")
FIGURE = "frontends.png"
_SHARED = ("sample_rate", "seconds", "frames", "level", "silence_is_zero")  # these stay as the recipe has them
_MEASURES = {"linear": "linear probe", "head": "own head"}


def front_end(level: str, recipe: Recipe) -> dict[str, Any]:
    """What makes a front end of a recipe's, for training clips of the same length.

    Args:
        level: ``spectrogram`` (CLAR's three channels), ``raw``, or ``logmel`` (VGGish's).
        recipe: whose front end it replaces.

    Returns:
        What `Recipe.override` takes.
    """
    name, dimensions = FRONT_ENDS[level], 1 if level == "raw" else 2
    before = recipe.sections["frontend"]
    if before["name"] == name:
        return {"encoder.dimensions": dimensions}
    built = recipe.build().frontend
    seconds = before.get("seconds") or built.clip_samples / built.sample_rate
    # its own windows and bands, and not those of the front end that it replaces
    keys = inspect.signature(FRONTENDS[name]).parameters
    settings = {f"frontend.{key}": value.default for key, value in keys.items() if key not in _SHARED}
    if level == "logmel":
        window, hop = settings["frontend.window"], settings["frontend.hop"]
        settings["frontend.frames"] = int((seconds - window) / hop + 1e-6) + 1  # those that lie within
    else:
        settings["frontend.seconds"] = seconds
    return {"frontend": name, **settings, "encoder.dimensions": dimensions}


def cells(
    tasks: Sequence[Task],
    recipe: Recipe,
    frontends: Sequence[str] = STUDIED,
    objectives: Sequence[str] = OBJECTIVES,
    seeds: int = 3,
) -> list[Cell]:
    """The cells of the study, those of the first seed first.

    Args:
        tasks: what is trained on and scored with.
        recipe: what all cells share.
        frontends: some of `FRONT_ENDS`.
        objectives: some of `OBJECTIVES`.
        seeds: how many seeds each is trained with.

    Raises:
        SoundalikeError: a level is unknown or given twice, or there is no seed.
    """
    clar.check_levels("--frontend", frontends, FRONT_ENDS)
    clar.check_levels("--objective", objectives, OBJECTIVES)
    clar.check_seeds(seeds)
    learning: dict[str, dict[str, Any]] = {"self-supervised": {}, "supervised": SUPERVISED}
    return [
        Cell(
            {"task": task.name, "frontend": level, "objective": objective, "seed": seed},
            {
                **task.settings,
                **front_end(level, recipe),
                **learning[objective],
                "recordings.labels": 1.0,
                "training.seed": seed,
                "recordings.label_seed": seed,
            },
        )
        for seed in range(seeds)
        for task in tasks
        for level in frontends
        for objective in objectives
    ]


def run(
    out: str | Path,
    budget: float | None,
    tasks: Sequence[Task],
    recipe: Recipe,
    settings: Sequence[Cell],
    device: str = "auto",
    quiet: bool = False,
) -> list[tuple[Cell, str]]:
    """Trains, scores, and writes ``study.json``, ``frontends.png`` and ``report.html``.

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
    from soundalike.train.finetune import held_out_accuracy

    datasets = {task.name: task.dataset for task in tasks}
    grid = Grid(out, "frontends", recipe, settings, budget, clar.definition(tasks))
    where = clar.scoring_device(device)

    def of_untrained() -> dict[str, dict[str, list[float]]]:
        baselines = {}
        for level in _levels(settings, "frontend"):
            untrained = SoundModel(recipe.override(front_end(level, recipe))).to(where)
            models = [untrained.untrained(seed) for seed in clar.seeds_of(settings)]
            baselines[level] = clar.linear_of(models, datasets)
        return baselines

    def score(path: Path, cell: Cell) -> dict[str, Any]:
        model = clar.load(path, device)
        head = {} if cell.levels["objective"] != "supervised" else {"head": held_out_accuracy(model)[0]}
        parameters = sum(parameter.numel() for parameter in model.encoder.parameters())
        return {
            "linear": linear_accuracy(*embed(model, datasets[str(cell.levels["task"])])),
            **head,
            "parameters": parameters,
        }

    log_mel = grid.extra(LOG_MEL_STATISTICS, lambda: clar.linear_of([LogMelStatistics()], datasets))
    untrained = grid.extra(UNTRAINED_ENCODER, of_untrained)
    failed = grid.run(score, device, quiet)
    if grid.finished:
        _write(grid, list(datasets), log_mel, untrained, failed)
    return failed


def _levels(settings: Sequence[Cell], factor: str) -> list[str]:
    return list(dict.fromkeys(str(cell.levels[factor]) for cell in settings))


def _accuracy(
    grid: Grid, tasks: Sequence[str], task: str | None, level: str, objective: str, measure: str
) -> Summary | None:
    return clar.summarise(
        grid.finished, tasks, task, lambda scores: scores.get(measure), frontend=level, objective=objective
    )


def _bars(objectives: Sequence[str]) -> list[tuple[str, str]]:
    """Objective and measure of every number: what learned without labels has no head of its own."""
    return [(o, m) for o in objectives for m in _MEASURES if m == "linear" or o == "supervised"]


def _write(
    grid: Grid,
    tasks: Sequence[str],
    log_mel: Mapping[str, list[float]],
    untrained: Mapping[str, Mapping[str, list[float]]],
    failed: Sequence[tuple[Cell, str]],
) -> None:
    from soundalike.eval.probe.baseline import LOG_MEL_STATISTICS, UNTRAINED_ENCODER
    from soundalike.eval.study.figure import draw_groups

    levels, objectives = _levels(grid.cells, "frontend"), _levels(grid.cells, "objective")
    panels: dict[str, dict[str, list[Summary | None]]] = {}
    lines: dict[str, dict[str, list[Summary | None]]] = {}
    for task in mean_task(tasks):
        panels[clar.title(task)] = {
            f"{objective}, {_MEASURES[measure]}": [
                _accuracy(grid, tasks, task, level, objective, measure) for level in levels
            ]
            for objective, measure in _bars(objectives)
        }
        lines[clar.title(task)] = {
            LOG_MEL_STATISTICS: [clar.summarise_floor(log_mel, tasks, task)] * len(levels),
            UNTRAINED_ENCODER: [clar.summarise_floor(untrained[level], tasks, task) for level in levels],
        }
    draw_groups(levels, panels, lines, grid.out / FIGURE)
    about = (
        f"Accuracy on the clips that were held out, in %: of the linear probe on frozen embeddings and, where labels "
        f"were learned from, of the run's own head. {clar.how_long(grid)} In equal time the front ends see unequal "
        f"numbers of pairs, which the table tells; a round shows every clip once. Means over seeds; ± is the standard "
        f"deviation over seeds."
    )
    sections = [
        paragraph(about, soft=True),
        picture(
            grid.out / FIGURE,
            "Error bars are standard deviations over seeds. Grey: linear probes without any training; each front end "
            "has an untrained encoder of its own.",
        ),
        "<h2>All cells</h2>",
        table(*_rows(grid, tasks, log_mel, untrained), lead=3),
    ]
    clar.write_report(grid, "CLAR: raw waveforms against spectrograms", sections, failed)


def _rows(
    grid: Grid,
    tasks: Sequence[str],
    log_mel: Mapping[str, list[float]],
    untrained: Mapping[str, Mapping[str, list[float]]],
) -> tuple[list[str], list[list[str]]]:
    from soundalike.eval.probe.baseline import LOG_MEL_STATISTICS, UNTRAINED_ENCODER

    columns = mean_task(tasks)
    levels, objectives = _levels(grid.cells, "frontend"), _levels(grid.cells, "objective")
    head = ["front end", "training", "read by", *SEEN, "parameters"]
    head += ["mean" if task is None else task for task in columns]
    no_run = ["linear probe", "", "", "", ""]
    baselines = [(LOG_MEL_STATISTICS, "none", log_mel)]
    baselines += [(level, UNTRAINED_ENCODER, untrained[level]) for level in levels]
    rows = [
        [name, training, *no_run, *(in_words(clar.summarise_floor(baseline, tasks, task)) for task in columns)]
        for name, training, baseline in baselines
    ]
    for level in levels:
        sizes = {
            f"{record['scores']['parameters']:,}" for cell, record in grid.finished if cell.levels["frontend"] == level
        }
        for objective, measure in _bars(objectives):
            seen = clar.pairs_seen(grid.finished, frontend=level, objective=objective)
            numbers = [_accuracy(grid, tasks, task, level, objective, measure) for task in columns]
            parameters = " ".join(sorted(sizes)) or "–"
            rows.append([level, objective, _MEASURES[measure], *seen, parameters, *map(in_words, numbers)])
    return head, rows
