"""Figures of studies, drawn without a display and without Matplotlib's global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from soundalike.study.grid import Cell

COLOURS = ("#3b7dd8", "#e8833a", "#2fa36b", "#d9465f", "#9166cf", "#a5713d", "#1aa6b7", "#7d8794")
_STYLES = ("-", "--", ":", "-.")
_GREYS = ("#6b6b6b", "#a8a8a8", "#c8c8c8")
Finished = Sequence[tuple["Cell", Mapping[str, Any]]]


def panels(count: int, columns: int = 3, width: float = 4.2, height: float = 3.3) -> tuple[Any, list[Any]]:
    """A figure and ``count`` axes in it, in rows of at most ``columns``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, axes[:count]


def accuracies(finished: Finished, task: str | None, probe: str = "linear", **levels: Any) -> np.ndarray:
    """Accuracies in % of the cells that have these levels, one for each seed (k,).

    Args:
        finished: cells and their records.
        task: its name; None is the mean over tasks.
        probe: which probe.
        levels: factor to level.
    """
    found = []
    for cell, record in finished:
        if all(cell.levels.get(factor) == level for factor, level in levels.items()):
            scores = record["scores"]
            found.append(100.0 * (scores["mean"][probe] if task is None else scores["tasks"][task][probe]["mean"]))
    return np.array(found)


def levels(finished: Finished, factor: str) -> list[Any]:
    """The levels of a factor, in order of appearance."""
    return list(dict.fromkeys(cell.levels[factor] for cell, _ in finished))


def draw_accuracy(finished: Finished, tasks: Sequence[str], floors: Mapping[str, Any], path: Path) -> None:
    """Accuracy against δ: a panel for each task and one for their mean, a line for each voice and augmentation.

    Args:
        finished: cells with fresh pairs and their records.
        tasks: names.
        floors: name to scores, drawn as grey lines.
        path: PNG file to write.
    """
    figure, axes = panels(len(tasks) + (len(tasks) > 1))
    deltas = sorted(levels(finished, "delta"))
    for axis, task in zip(axes, [*tasks, None], strict=False):
        for number, (name, scores) in enumerate(floors.items()):
            level = 100.0 * (scores["mean"]["linear"] if task is None else scores["tasks"][task]["linear"]["mean"])
            axis.axhline(level, color=_GREYS[number % len(_GREYS)], linewidth=1.2, label=name, zorder=1)
        for colour, voice in zip(COLOURS * 4, levels(finished, "voice"), strict=False):
            for style, augment in zip(_STYLES * 4, levels(finished, "augment"), strict=False):
                runs = {d: accuracies(finished, task, delta=d, voice=voice, augment=augment) for d in deltas}
                runs = {delta: values for delta, values in runs.items() if len(values)}
                if runs:
                    axis.errorbar(
                        list(runs),
                        [values.mean() for values in runs.values()],
                        yerr=[values.std() for values in runs.values()] if max(map(len, runs.values())) > 1 else None,
                        color=colour,
                        linestyle=style,
                        marker="o",
                        markersize=4,
                        capsize=3,
                        label=f"{voice}, augmentation {augment}",
                    )
        axis.set_title("mean of the tasks" if task is None else task, size=10)
        axis.set_xscale("log")
        axis.set_xticks(deltas, [f"{delta:g}" for delta in deltas])
        axis.minorticks_off()
        axis.set_xlabel("δ")
        axis.set_ylabel("accuracy, %")
        axis.grid(alpha=0.25)
    _legend_below(figure, axes[0])
    figure.savefig(path, dpi=120)


def draw_control(finished: Finished, tasks: Sequence[str], path: Path, title: str) -> None:
    """Accuracy with a fixed pool of pairs beside fresh ones, a group of bars for each task and one for their mean.

    Args:
        finished: the cells to compare and their records, told apart by the factor ``pool``.
        tasks: names.
        path: PNG file to write.
        title: what the figure shows.
    """
    names: list[str | None] = [*tasks, None] if len(tasks) > 1 else list(tasks)
    figure, (axis,) = panels(1, width=2.4 + 1.1 * len(names))
    pools = levels(finished, "pool")
    for number, pool in enumerate(pools):
        values = [accuracies(finished, task, pool=pool) for task in names]
        axis.bar(
            np.arange(len(names)) + (number - (len(pools) - 1) / 2) * 0.38,
            [v.mean() for v in values],
            0.36,
            yerr=[v.std() for v in values] if len(values[0]) > 1 else None,
            capsize=3,
            color=COLOURS[number % len(COLOURS)],
            label="fresh pairs" if pool == "fresh" else f"{pool:,} pairs, over and over",
        )
    axis.set_xticks(range(len(names)), ["mean" if name is None else name for name in names], size=8)
    axis.set_ylabel("accuracy, %")
    axis.set_title(title, size=9)
    _legend_below(figure, axis)
    figure.savefig(path, dpi=120)


def _legend_below(figure: Any, axis: Any) -> None:
    handles, labels = axis.get_legend_handles_labels()
    columns = max(1, min(len(labels), int(figure.get_figwidth() / 2.3)))  # a label takes about 2.3 inches
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False, handlelength=3.5
    )
