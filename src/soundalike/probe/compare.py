"""Does the model beat the floors? Said plainly, in points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from soundalike.probe.floor import FLOORS
from soundalike.probe.score import TaskScore


@dataclass(frozen=True)
class Margin:
    """The model's distance to one floor on one task.

    Attributes:
        floor: its name.
        points: mean accuracy of the model minus that of the floor, in percentage points.
        folds_won: folds in which the model has the higher accuracy.
        folds: number of folds.
    """

    floor: str
    points: float
    folds_won: int
    folds: int


@dataclass(frozen=True)
class Comparison:
    """The model against every floor on one task.

    Attributes:
        beats: whether it is above all of them; None where no floor was evaluated.
        sentence: the same in words, with the differences, without the names of model and task.
        margins: one entry a floor.
    """

    beats: bool | None
    sentence: str
    margins: list[Margin]


def compare_to_floors(
    scores: Mapping[str, TaskScore], *, floors: Sequence[str] = FLOORS, probe: str = "linear"
) -> Comparison:
    """Compare the first of several representations with the floors among the others.

    Differences are taken as they are printed, in tenths of a point: a smaller one counts as none.

    Args:
        scores: representation to its score on one task, the model first.
        floors: names of the floors.
        probe: the probe that decides.

    Returns:
        The margins and a sentence.
    """
    model, *others = scores
    margins = []
    for floor in (name for name in others if name in floors):
        mine, its = scores[model].probes[probe], scores[floor].probes[probe]
        won = sum(a.accuracy > b.accuracy for a, b in zip(mine.folds, its.folds, strict=True))
        margins.append(Margin(floor, round(100 * (mine.mean - its.mean), 1), won, len(mine.folds)))
    if not margins:
        return Comparison(None, "No floor was evaluated.", margins)
    beats = all(margin.points > 0 for margin in margins)
    name = {1: "the floor", 2: "both floors"}.get(len(margins), "all floors")
    details = ", ".join(_in_words(margin) for margin in margins)
    return Comparison(beats, f"{'Beats' if beats else 'Does not beat'} {name}: {details}.", margins)


def _in_words(margin: Margin) -> str:
    if margin.points == 0:
        distance = f"level with {margin.floor}"
    else:
        side = "above" if margin.points > 0 else "below"
        distance = f"{abs(margin.points):.1f} points {side} {margin.floor}"
    folds = f" (ahead in {margin.folds_won} of {margin.folds} folds)" if margin.folds > 1 else ""
    return distance + folds
