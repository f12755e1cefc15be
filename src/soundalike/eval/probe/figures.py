"""The report's figures as HTML and SVG: a confusion matrix and a map of embeddings."""

from __future__ import annotations

from collections import defaultdict
from html import escape

import numpy as np

from soundalike.eval.probe.evaluate import TaskResult
from soundalike.eval.probe.score import TaskScore

# Mid-lightness hues, told apart on white and on near-black; with the shapes, 50 classes have marks of their own.
HUES = (
    "#3b7dd8",
    "#e8833a",
    "#2fa36b",
    "#d9465f",
    "#9166cf",
    "#a5713d",
    "#d95fb5",
    "#1aa6b7",
    "#b39a00",
    "#7d8794",
)
SHAPES = (
    "M0-4.6A4.6 4.6 0 1 1 0 4.6A4.6 4.6 0 1 1 0-4.6Z",
    "M-4.1-4.1H4.1V4.1H-4.1Z",
    "M0-5.4L5 3.9H-5Z",
    "M0-5.7L5.7 0L0 5.7L-5.7 0Z",
    "M-5.3-1.7H-1.7V-5.3H1.7V-1.7H5.3V1.7H1.7V5.3H-1.7V1.7H-5.3Z",
)
_WIDTH, _MARGIN = 640, 26
_MOST_NUMBERED = 20  # classes up to which cells of a confusion matrix hold their number
_MOST_NAMED = 12  # classes up to which a map names them in place


def symbols() -> str:
    """The marks that all maps of a page use."""
    shapes = "".join(f'<path id="shape{number}" d="{path}"/>' for number, path in enumerate(SHAPES))
    return f'<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>{shapes}</defs></svg>'


def map_rules(classes: int) -> str:
    """Style sheet of the maps: a colour for each hue, and pointing at a class in the legend fades the others."""
    colours = [f".hue{number}{{fill:{colour}}}" for number, colour in enumerate(HUES)]
    fading = [
        f".map:has(.legend .class{number}:hover) .points :not(.class{number}){{opacity:.07}}"
        for number in range(classes)
    ]
    return "\n".join(colours + fading)


def confusion_table(score: TaskScore, probe: str) -> str:
    """A confusion matrix as a table: true classes down, predicted ones across, darker where there are more.

    Args:
        score: of one representation.
        probe: whose answers to show.
    """
    rows: list[str] = []
    many = len(score.classes) > _MOST_NUMBERED
    for label, counts in zip(score.classes, score.probes[probe].confusion, strict=True):
        total = sum(counts)
        cells = "".join(
            _cell(count, total, f"{label} → {predicted}: {count} of {total}")
            for predicted, count in zip(score.classes, counts, strict=True)
        )
        right = counts[len(rows)]
        recall = f"{100 * right / total:.0f} %" if total else "–"
        rows.append(
            f'<tr><th scope="row" title="{escape(label)}">{escape(label)}</th>{cells}'
            f'<td class="recall">{recall}</td></tr>'
        )
    head = "".join(
        f'<th scope="col" title="{escape(label)}"><span>{escape(label)}</span></th>' for label in score.classes
    )
    return (
        f'<div class="scroll"><table class="confusion{" many" if many else ""}">'
        f"<thead><tr><td></td>{head}<th></th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def confused_pairs(score: TaskScore, probe: str, most: int = 3) -> list[tuple[str, str, int]]:
    """The (true class, predicted class, clips) that are most often confused, the most frequent first."""
    confusion = score.probes[probe].confusion
    pairs = [
        (true, predicted, confusion[i][j])
        for i, true in enumerate(score.classes)
        for j, predicted in enumerate(score.classes)
        if i != j and confusion[i][j]
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:most]


def embedding_map(task: TaskResult, score: TaskScore, probe: str) -> str:
    """A scatter plot of the model's embeddings, coloured by class, with file and answer under the pointer.

    Args:
        task: whose clips and map.
        score: of the model.
        probe: whose answers to show.
    """
    predictions = score.probes[probe].predictions
    answers = dict(zip(predictions.row, predictions.predicted, strict=True))
    number = {label: index for index, label in enumerate(score.classes)}
    points, places = [], defaultdict(list)
    projection = task.projection
    inner = _WIDTH - 2 * _MARGIN
    top = max(projection.y)
    height = round(2 * _MARGIN + (top - min(projection.y)) * inner)
    for row, x, y in zip(projection.row, projection.x, projection.y, strict=True):
        label = number[task.labels[row]]
        across, down = round(_MARGIN + x * inner, 1), round(_MARGIN + (top - y) * inner, 1)
        places[label].append((across, down))
        about = f"{score.classes[label]}: {task.clips[row]}"
        if answers.get(row, label) != label:
            about += f" (taken for {score.classes[answers[row]]})"
        points.append(_mark(label, f' x="{across}" y="{down}"', f"<title>{escape(about)}</title>"))
    names = ""
    if len(score.classes) <= _MOST_NAMED:
        names = "".join(
            '<text x="{:.0f}" y="{:.0f}">'.format(*_densest(spots)) + f"{escape(score.classes[label])}</text>"
            for label, spots in sorted(places.items())
        )
    legend = "".join(
        f'<li class="class{label}" title="{escape(name)}">'
        f'<svg viewBox="-7 -7 14 14" aria-hidden="true">{_mark(label)}</svg><span>{escape(name)}</span></li>'
        for label, name in enumerate(score.classes)
    )
    return (
        f'<div class="map"><svg viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="Map of the embeddings of {escape(task.task)}">'
        f'<g class="points">{"".join(points)}</g>{names}</svg><ul class="legend">{legend}</ul></div>'
    )


def _densest(spots: list[tuple[float, float]]) -> tuple[float, float]:
    """The point with the most of the others close by: where a class that lies in several places is named."""
    points = np.array(spots)
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    near = np.sort(distances, axis=1)[:, len(points) // 4]
    return spots[int(near.argmin())]


def _cell(count: int, total: int, about: str) -> str:
    if not count:
        return '<td class="empty"></td>'
    share = count / total
    strong = ' class="strong"' if share > 0.55 else ""
    return f'<td{strong} style="--p:{0.08 + 0.92 * share:.2f}" title="{escape(about)}">{count}</td>'


def _mark(label: int, place: str = "", inside: str = "") -> str:
    hue = label % len(HUES)
    # Shifting the shape with each round through the hues keeps pairs of hue and shape distinct.
    shape = (label + label // len(HUES)) % len(SHAPES)
    return f'<use href="#shape{shape}" class="class{label} hue{hue}"{place}>{inside}</use>'
