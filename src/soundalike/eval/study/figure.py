"""Figures of studies, drawn without a display and without Matplotlib's global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundalike.eval.probe.figures import HUES as COLOURS

if TYPE_CHECKING:
    from soundalike.eval.study.clar import Summary
    from soundalike.eval.study.grid import Cell

__all__ = ["COLOURS", "accuracies", "draw_accuracy", "draw_control", "draw_curves", "draw_grid", "draw_groups"]
__all__ += ["levels", "panels"]
_STYLES = ("-", "--", ":", "-.")
_FLOOR_COLOURS = ("#555555", "#8f8f8f", "#b8b8b8")
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


def draw_accuracy(finished: Finished, tasks: Sequence[str], baselines: Mapping[str, Any], path: Path) -> None:
    """Accuracy against δ: a panel for each task and one for their mean, a line for each voice and augmentation.

    Args:
        finished: cells with fresh pairs and their records.
        tasks: names.
        baselines: name to scores, drawn as grey lines.
        path: PNG file to write.
    """
    figure, axes = panels(len(tasks) + (len(tasks) > 1))
    deltas = sorted(levels(finished, "delta"))
    for axis, task in zip(axes, [*tasks, None], strict=False):
        for number, (name, scores) in enumerate(baselines.items()):
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


def draw_grid(
    names: Sequence[str],
    of_panel: Mapping[str, tuple[np.ndarray, np.ndarray]],
    under: Mapping[str, str],
    path: Path,
) -> None:
    """A heat map of each alone and of all pairs, with the accuracies in its squares.

    Args:
        names: of rows and columns.
        of_panel: title to means and standard deviations in %, ``(n, n)`` each, NaN where there is none.
        under: title to a line below the panel.
        path: PNG file to write.
    """
    side = 1.6 + 0.62 * len(names)
    figure, axes = panels(len(of_panel), _columns(len(of_panel)), width=side + 0.4, height=side)
    for axis, (title, (mean, std)) in zip(axes, of_panel.items(), strict=True):
        known = mean[np.isfinite(mean)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        axis.imshow(mean, cmap="viridis", vmin=low, vmax=max(high, low + 1e-6))
        for i, j in np.argwhere(np.isfinite(mean)):
            dark = mean[i, j] < low + 0.6 * (high - low)
            more = f"\n±{std[i, j]:.1f}" if np.isfinite(std[i, j]) else ""
            axis.text(j, i, f"{mean[i, j]:.1f}{more}", ha="center", va="center", size=7.5, color="w" if dark else "k")
        axis.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor", size=8)
        axis.set_yticks(range(len(names)), names, size=8)
        axis.set_title(title, size=10, parse_math=False)
        axis.set_xlabel(under.get(title, "").replace(", ", "\n"), size=8, color="#555555")
    figure.savefig(path, dpi=120)


def draw_groups(
    groups: Sequence[str],
    bars: Mapping[str, Mapping[str, Sequence[Summary | None]]],
    baselines: Mapping[str, Mapping[str, Sequence[Summary | None]]],
    path: Path,
) -> None:
    """Groups of bars with error bars, a panel for each task, and baselines as grey lines across each group.

    Args:
        groups: names of the groups.
        bars: title of a panel to name of a bar to its accuracy in each group; a bar whose name differs from another's
            after a comma only shares its colour and is hatched.
        baselines: title to name to accuracy in each group.
        path: PNG file to write.
    """
    figure, axes = panels(len(bars), _columns(len(bars)), width=1.4 + 1.25 * len(groups))
    for axis, (title, of_bar) in zip(axes, bars.items(), strict=True):
        width = 0.8 / len(of_bar)
        kinds = list(dict.fromkeys(name.partition(",")[0] for name in of_bar))
        drawn: set[str] = set()
        for number, (name, found) in enumerate(of_bar.items()):
            kind = name.partition(",")[0]
            axis.bar(
                np.arange(len(groups)) + (number - (len(of_bar) - 1) / 2) * width,
                [np.nan if value is None else value.mean for value in found],
                0.92 * width,
                yerr=_errors(found),
                capsize=3,
                color=COLOURS[kinds.index(kind) % len(COLOURS)],
                alpha=0.55 if kind in drawn else 1.0,
                hatch="//" if kind in drawn else None,
                edgecolor="white",
                linewidth=0,
                label=name,
            )
            drawn.add(kind)
        for number, (name, found) in enumerate(baselines[title].items()):
            for group, value in enumerate(found):
                if value is not None:
                    axis.plot(
                        [group - 0.46, group + 0.46],
                        [value.mean] * 2,
                        color=_FLOOR_COLOURS[number % len(_FLOOR_COLOURS)],
                        linestyle=_STYLES[number % len(_STYLES)],
                        linewidth=1.6,
                        label=None if group else f"{name}, linear probe",
                    )
        axis.set_xticks(range(len(groups)), groups, size=9)
        axis.set_title(title, size=10, parse_math=False)
        axis.set_ylabel("accuracy, %")
        axis.set_ylim(bottom=0)
        axis.grid(axis="y", alpha=0.25)
        axis.set_axisbelow(True)
    _legend_below(figure, axes[0])
    figure.savefig(path, dpi=120)


def draw_curves(
    fractions: Sequence[float],
    rows: Mapping[str, Mapping[str, Mapping[str, Sequence[Summary | None]]]],
    baselines: Mapping[str, Mapping[str, Sequence[Summary | None]]],
    path: Path,
) -> None:
    """Accuracy against the part of the labels: a row for each way of reading it, a column for each task.

    Args:
        fractions: parts of the labels, in (0, 1].
        rows: what is read to title of the column to name of the line to accuracy at each fraction.
        baselines: title to name to accuracy at each fraction, drawn as grey lines.
        path: PNG file to write.
    """
    columns = len(baselines)
    figure, axes = panels(len(rows) * columns, columns, width=3.9, height=3.0)
    names = list(dict.fromkeys(name for of in rows.values() for lines in of.values() for name in lines))
    for number, (reader, of_title) in enumerate(rows.items()):
        for column, (title, lines) in enumerate(of_title.items()):
            axis = axes[number * columns + column]
            for place, (name, found) in enumerate(baselines[title].items()):
                style = {"color": _FLOOR_COLOURS[place % len(_FLOOR_COLOURS)], "linestyle": _STYLES[place % 4]}
                points = [np.nan if value is None else value.mean for value in found]
                axis.plot(fractions, points, label=f"{name}, linear probe", linewidth=1.4, zorder=1, **style)
            for name, found in lines.items():
                there = [(part, value) for part, value in zip(fractions, found, strict=True) if value is not None]
                if there:
                    values = [value for _, value in there]
                    axis.errorbar(
                        # side by side, so that no error bar hides another
                        [part * 1.035 ** (names.index(name) - (len(names) - 1) / 2) for part, _ in there],
                        [value.mean for value in values],
                        yerr=_errors(values),
                        color=COLOURS[names.index(name) % len(COLOURS)],
                        marker="o",
                        markersize=4,
                        capsize=3,
                        label=f"{name}, frozen" if name == "self-supervised" else name,
                    )
            axis.set_xscale("log")
            axis.set_xticks(fractions, [f"{100 * part:g} %" for part in fractions], size=8)
            axis.minorticks_off()
            axis.set_xlim(min(fractions) / 1.3, max(fractions) * 1.3)
            axis.grid(alpha=0.25)
            if number == 0:
                axis.set_title(title, size=10, parse_math=False)
            if number == len(rows) - 1:
                axis.set_xlabel("labels")
            if column == 0:
                axis.set_ylabel(f"{reader}: accuracy, %")
    for column in range(columns):
        for lower in axes[columns + column :: columns]:
            lower.sharey(axes[column])
            lower.autoscale(axis="y")
        axes[column].set_ylim(bottom=max(0.0, axes[column].get_ylim()[0]))
    _legend_below(figure, axes[0])
    figure.savefig(path, dpi=120)


def _columns(count: int) -> int:
    """So many columns that no panel is left alone in its row, as far as three at most allow."""
    return 2 if count == 4 else 3


def _errors(found: Sequence[Summary | None]) -> list[float] | None:
    """Standard deviations, or None where no seed has another beside it."""
    if not any(value is not None and value.runs > 1 for value in found):
        return None
    return [np.nan if value is None or value.runs < 2 else value.std for value in found]


def _legend_below(figure: Any, axis: Any) -> None:
    handles, labels = axis.get_legend_handles_labels()
    columns = max(1, min(len(labels), int(figure.get_figwidth() / 2.3)))  # a label takes about 2.3 inches
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False, handlelength=3.5
    )
