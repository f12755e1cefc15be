"""The paper's study: δ, voice and augmentation crossed, and a fixed pool of pairs against endless fresh ones.

Cherep and Singh, "Contrastive Learning from Synthetic Audio Doppelgängers", ICLR 2025, arXiv 2406.05923.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.eval.study.grid import Cell, Grid
from soundalike.eval.study.report import page, paragraph, picture, table
from soundalike.eval.study.scoring import Scorer
from soundalike.model.recipe import Recipe

if TYPE_CHECKING:
    from soundalike.data.datasets import Dataset

DELTAS = (0.01, 0.05, 0.1, 0.25, 0.5)
STUDIED_VOICES = ("voice", "voice-fm", "parametric")
BASE: dict[str, Any] = {"delta": 0.25, "voice": "voice", "augment": "none"}
"""Where the pool is compared with fresh pairs, as far as these levels are studied."""
POOL = 100_000
AUGMENT: dict[str, list[Any] | None] = {
    "none": None,
    "paper": [
        {"name": "high-pass", "cutoff": [20, 800], "p": 0.5},
        {"name": "low-pass", "cutoff": [1200, 8000], "p": 0.5},
        {"name": "pitch-shift", "semitones": [-2, 2], "p": 0.5},
        {"name": "time-shift", "fraction": 0.25, "p": 0.5},
        {"name": "impulse-response", "p": 0.5},
    ],
}
"""The augmentations that are studied, as a recipe's ``views.augment``."""
ACCURACY, CONTROL, REPORT = "accuracy.png", "control.png", "report.html"


def cells(
    deltas: Sequence[float] = DELTAS,
    voices: Sequence[str] = STUDIED_VOICES,
    augmentations: Sequence[str] = tuple(AUGMENT),
    seeds: int = 1,
    pool: int = POOL,
) -> list[Cell]:
    """The cells of the study, those of the first seed first.

    Args:
        deltas: sizes of the nudges, of all knobs alike.
        voices: names of voices.
        augmentations: names of `AUGMENT`.
        seeds: how many seeds each setting is trained with.
        pool: size of the control's pool in pairs; 0 leaves the control out.

    Raises:
        SoundalikeError: a level is unknown or given twice, or a number is out of its range.
    """
    from soundalike.synth import VOICES

    for factor, given, known in (("voice", voices, VOICES), ("augment", augmentations, AUGMENT)):
        for level in given:
            if level not in known:
                raise SoundalikeError(f"--{factor}: unknown level {level!r}: {nearest(level, known)}")
    for factor, several in (("delta", deltas), ("voice", voices), ("augment", augmentations)):
        if not several or len({*several}) < len(several):
            raise SoundalikeError(f"--{factor} is {' '.join(map(str, several))!r}: give each level once.")
    if seeds < 1:
        raise SoundalikeError(f"--seeds is {seeds}: give at least 1.")
    if pool != 0 and pool < 2:
        raise SoundalikeError(f"--pool is {pool}: give at least 2 pairs, or 0 for no control.")
    base = _base(deltas, voices, augmentations)
    found = []
    for seed in range(seeds):
        settings: list[tuple[float, str, str, str | int]] = [
            (d, v, a, "fresh") for a in augmentations for v in voices for d in deltas
        ]
        for delta, voice, augment, of in [*settings, *([(*base, pool)] if pool else [])]:
            overrides = {"voice": voice, "views.delta": delta, "views.augment": AUGMENT[augment], "seed": seed}
            overrides["views.pool"] = None if of == "fresh" else pool
            overrides["training.targets"] = 0.0  # the paper's question is about contrast
            found.append(
                Cell({"delta": delta, "voice": voice, "augment": augment, "pool": of, "seed": seed}, overrides)
            )
    return found


def _base(deltas: Sequence[float], voices: Sequence[str], augmentations: Sequence[str]) -> tuple[float, str, str]:
    delta, voice, augment = (
        BASE[key] if BASE[key] in given else given[0]
        for key, given in (("delta", deltas), ("voice", voices), ("augment", augmentations))
    )
    return float(delta), str(voice), str(augment)


def run(
    out: str | Path,
    budget: float,
    datasets: Sequence[Dataset],
    recipe: Recipe,
    settings: Sequence[Cell],
    device: str = "auto",
    quiet: bool = False,
) -> list[tuple[Cell, str]]:
    """Trains, scores, and writes ``study.json``, ``accuracy.png``, ``control.png`` and ``report.html``.

    Args:
        out: folder of the study; the same again goes on with it.
        budget: minutes of training over all cells; scoring comes on top.
        datasets: the tasks that cells are scored with.
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

    scorer = Scorer(datasets)
    definition = {"tasks": {dataset.name: len(dataset.paths) for dataset in scorer.datasets}}
    grid = Grid(out, "doppelgangers", recipe, settings, budget, definition)
    baselines = {
        LOG_MEL_STATISTICS: grid.extra(LOG_MEL_STATISTICS, lambda: scorer(LogMelStatistics())),
        UNTRAINED_ENCODER: grid.extra(UNTRAINED_ENCODER, lambda: scorer(SoundModel(recipe).untrained(0))),
    }

    def score(path: Path, cell: Cell) -> dict[str, Any]:
        model = SoundModel.load(path)
        pool, pairs = cell.levels["pool"], int(model.training["pairs"])
        seen = 1.0 if pool == "fresh" else float(f"{pairs / int(pool):.4g}")
        return {**scorer(model), "pairs": pairs, "times_each_pair_was_seen": seen}

    failed = grid.run(score, device, quiet)
    if grid.finished:
        _write(grid, scorer.names, baselines, failed)
    return failed


def _write(grid: Grid, tasks: Sequence[str], baselines: dict[str, Any], failed: Sequence[tuple[Cell, str]]) -> None:
    from soundalike.eval.study.figure import draw_accuracy, draw_control

    definition, out = grid.state["definition"], grid.out
    fresh = [entry for entry in grid.finished if entry[0].levels["pool"] == "fresh"]
    sections = [
        paragraph(
            f"Accuracy of the linear probe on frozen embeddings, in %. Every cell was trained for "
            f"{definition['minutes_per_cell']:.3g} minutes with the recipe {definition['recipe']['name']}, but for "
            f"what the table says. Means over seeds; ± is the standard deviation over seeds.",
            soft=True,
        )
    ]
    if fresh:
        draw_accuracy(fresh, tasks, baselines, out / ACCURACY)
        sections.append(picture(out / ACCURACY, "Accuracy against δ; error bars are standard deviations over seeds."))
    sections += _control(grid, tasks, out / CONTROL, draw_control)
    sections += ["<h2>All cells</h2>", table(*_rows(grid, tasks, baselines), lead=4)]
    if failed:
        sections += ["<h2>Cells that failed</h2>", table(("cell", "why"), [(c.title, why) for c, why in failed], 2)]
    html = page("Doppelgängers: δ, voice and augmentation", sections)
    (out / REPORT).write_text(html, encoding="utf-8", errors="backslashreplace")


def _control(grid: Grid, tasks: Sequence[str], path: Path, draw: Any) -> list[str]:
    """The control's figure, where both of its sides are finished."""
    pooled = [entry for entry in grid.finished if entry[0].levels["pool"] != "fresh"]
    same = [] if not pooled else [pooled[0][0].levels[key] for key in BASE]
    beside = [
        entry
        for entry in grid.finished
        if entry[0].levels["pool"] == "fresh" and [entry[0].levels[key] for key in BASE] == same
    ]
    if not pooled or not beside:
        return []
    pool = int(pooled[0][0].levels["pool"])
    pairs = [record["scores"]["pairs"] for _, record in pooled]
    times = sum(pairs) / len(pairs) / pool
    title = f"δ {same[0]:g}, {same[1]}, augmentation {same[2]}"
    draw([*beside, *pooled], tasks, path, title)
    said = (
        f"A run met {round(sum(pairs) / len(pairs)):,} pairs: each of the pool's {pool:,} was seen {times:.2g} times."
    )
    if times <= 1:
        said += " So no pair came twice, and this run says nothing about a fixed pool: take a smaller one."
    return ["<h2>A fixed pool against fresh pairs</h2>", picture(path, said)]


def _rows(grid: Grid, tasks: Sequence[str], baselines: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    from soundalike.eval.study.figure import accuracies

    columns: list[str | None] = [*tasks, None]
    head = ["δ", "voice", "augmentation", "pairs are", "seeds", "pairs a run", *tasks, "mean"]
    rows = []
    for name, scores in baselines.items():
        values = [scores["tasks"][task]["linear"]["mean"] for task in tasks] + [scores["mean"]["linear"]]
        rows.append([name, "", "", "", "", "", *(f"{100 * value:.1f}" for value in values)])
    settings: dict[tuple[Any, ...], list[int]] = {}
    for cell, record in grid.finished:
        setting: tuple[Any, ...] = tuple(cell.levels[key] for key in (*BASE, "pool"))
        settings.setdefault(setting, []).append(record["scores"]["pairs"])
    for setting, pairs in settings.items():
        chosen: dict[str, Any] = dict(zip((*BASE, "pool"), setting, strict=True))
        cells_of = [accuracies(grid.finished, task, **chosen) for task in columns]
        spread = [f" ± {values.std():.1f}" if len(values) > 1 else "" for values in cells_of]
        numbers = [f"{values.mean():.1f}{more}" for values, more in zip(cells_of, spread, strict=True)]
        of = "fresh" if setting[3] == "fresh" else f"from {setting[3]:,}"
        row: list[str] = [
            f"{setting[0]:g}",
            setting[1],
            setting[2],
            of,
            str(len(pairs)),
            f"{round(sum(pairs) / len(pairs)):,}",
        ]
        rows.append([*row, *numbers])
    return head, rows
