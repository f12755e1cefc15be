"""Figures of studies, drawn without a display and without Matplotlib's global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundalike.core.figures import save_figure
from soundalike.eval.probe.figures import HUES as COLOURS

if TYPE_CHECKING:
    from soundalike.eval.study.results import Summary

    Lines = Mapping[str, Mapping[str, Sequence[Summary | None]]]
    """Title of a panel to name of a line or bar to its accuracy at each place; None where there is none."""

__all__ = ["COLOURS", "draw_curves", "draw_grid", "draw_groups", "panels"]
_STYLES = ("-", "--", ":", "-.")
_GREYS = ("#555555", "#8f8f8f", "#b8b8b8")


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


def draw_grid(
    names: Sequence[str], of_panel: Mapping[str, tuple[np.ndarray, np.ndarray]], under: Mapping[str, str], path: Path
) -> None:
    """A heat map of each alone and of all pairs, with the accuracies in its squares.

    Args:
        names: names of rows and columns.
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
    save_figure(figure, path)


def draw_groups(groups: Sequence[str], bars: Lines, baselines: Lines, path: Path) -> None:
    """Groups of bars with error bars, a panel for each title, and baselines as grey lines across each group.

    Args:
        groups: names of the groups.
        bars: title to name of a bar to its accuracy in each group; a bar whose name differs from another's after a
            comma only shares its colour and is hatched.
        baselines: title to name to accuracy in each group.
        path: PNG file to write.
    """
    figure, axes = panels(len(bars), _columns(len(bars)), width=1.4 + 1.25 * len(groups))
    for axis, (title, of_bar) in zip(axes, bars.items(), strict=True):
        width, looks = 0.8 / len(of_bar), _looks(of_bar)
        for number, (name, found) in enumerate(of_bar.items()):
            colour, variant = looks[name]
            axis.bar(
                np.arange(len(groups)) + (number - (len(of_bar) - 1) / 2) * width,
                [np.nan if value is None else value.mean for value in found],
                0.92 * width,
                yerr=_errors(found),
                capsize=3,
                color=colour,
                alpha=0.55 if variant else 1.0,
                hatch="//" if variant else None,
                edgecolor="white",
                linewidth=0,
                label=name,
            )
        for number, (name, found) in enumerate(baselines[title].items()):
            for group, value in enumerate(found):
                if value is not None:
                    style = {**_grey(number, name), "label": None if group else _grey(number, name)["label"]}
                    axis.plot([group - 0.46, group + 0.46], [value.mean] * 2, **style)
        axis.set_xticks(range(len(groups)), groups, size=9)
        axis.set_title(title, size=10, parse_math=False)
        axis.set_ylabel("accuracy, %")
        axis.set_ylim(bottom=0)
        axis.grid(axis="y", alpha=0.25)
        axis.set_axisbelow(True)
    _legend_below(figure, axes[0])
    save_figure(figure, path)


def draw_curves(
    factor: str,
    levels: Sequence[Any],
    rows: Mapping[str, Lines],
    baselines: Lines,
    path: Path,
    ticks: Sequence[str] | None = None,
) -> None:
    """Accuracy against a factor: a row of panels for each reader, a column for each title.

    Args:
        factor: what varies from left to right.
        levels: its levels, on a logarithmic axis where all are numbers above 0, and side by side where not.
        rows: reader to title to name of the line to accuracy at each level. A line whose name differs from another's
            after a comma only shares its colour.
        baselines: title to name to accuracy at each level, drawn as grey lines.
        path: PNG file to write.
        ticks: text of each level; the level where not given.
    """
    places = _places(levels)
    span = float(np.ptp(places)) or 1.0
    columns = len(baselines) if len(rows) > 1 else _columns(len(baselines))
    figure, axes = panels(len(rows) * len(baselines), columns, width=3.9, height=3.0)
    names = list(dict.fromkeys(name for of in rows.values() for lines in of.values() for name in lines))
    looks = _looks(names)
    for number, (reader, of_title) in enumerate(rows.items()):
        for column, (title, lines) in enumerate(of_title.items()):
            axis = axes[number * len(baselines) + column]
            for place, (name, found) in enumerate(baselines[title].items()):
                points = [np.nan if value is None else value.mean for value in found]
                axis.plot(places, points, zorder=1, **_grey(place, name))
            for name, found in lines.items():
                there = [(at, value) for at, value in zip(places, found, strict=True) if value is not None]
                if there:
                    colour, variant = looks[name]
                    # side by side, so that no error bar hides another
                    aside = 0.0075 * span * (names.index(name) - (len(names) - 1) / 2)
                    axis.errorbar(
                        [at + aside for at, _ in there],
                        [value.mean for _, value in there],
                        yerr=_errors([value for _, value in there]),
                        color=colour,
                        linestyle=_STYLES[variant % len(_STYLES)],
                        marker="o",
                        markersize=4,
                        capsize=3,
                        label=name,
                    )
            axis.set_xticks(places, [_text(level) for level in levels] if ticks is None else ticks, size=8)
            axis.set_xlim(places.min() - 0.06 * span, places.max() + 0.06 * span)
            axis.grid(alpha=0.25)
            if number == 0:
                axis.set_title(title, size=10, parse_math=False)
            if number == len(rows) - 1:
                axis.set_xlabel(factor)
            if column == 0 or len(rows) == 1:
                axis.set_ylabel(f"{reader}: accuracy, %" if reader else "accuracy, %")
    if len(rows) > 1:
        for column, upper in enumerate(axes[:columns]):
            for lower in axes[columns + column :: columns]:
                lower.sharey(upper)
                lower.autoscale(axis="y")
            upper.set_ylim(bottom=max(0.0, upper.get_ylim()[0]))
    _legend_below(figure, axes[0])
    save_figure(figure, path)


def _places(levels: Sequence[Any]) -> np.ndarray:
    numbers = [level for level in levels if isinstance(level, (int, float)) and not isinstance(level, bool)]
    logarithmic = len(numbers) == len(levels) and min(numbers) > 0
    return np.log10(numbers) if logarithmic else np.arange(len(levels), dtype=float)


def _text(level: Any) -> str:
    return f"{level:g}" if isinstance(level, float) else str(level)


def _looks(names: Sequence[str] | Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    """Colour of each name, by what is before the comma, and which one it is of that colour."""
    kinds: dict[str, int] = {}
    found = {}
    for name in names:
        kind = name.partition(",")[0]
        variant = kinds[kind] = kinds.get(kind, -1) + 1
        found[name] = COLOURS[list(kinds).index(kind) % len(COLOURS)], variant
    return found


def _grey(number: int, name: str) -> dict[str, Any]:
    """How the line of a baseline looks."""
    style, colour = _STYLES[number % len(_STYLES)], _GREYS[number % len(_GREYS)]
    return {"color": colour, "linestyle": style, "linewidth": 1.5, "label": f"{name}, linear probe"}


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
    inches = 0.75 + 0.068 * max(map(len, labels), default=0)  # that a label of font size 8 takes, with its line
    columns = max(1, min(len(labels), int(figure.get_figwidth() / inches)))
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False, handlelength=3.5
    )
