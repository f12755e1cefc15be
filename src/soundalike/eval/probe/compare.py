"""Does the model beat the baselines? Said plainly, in points, and with whether chance would do as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from soundalike.eval.probe.baseline import BASELINES
from soundalike.eval.probe.score import ProbeScore, TaskScore

_CHANCE = 0.05


@dataclass(frozen=True)
class Margin:
    """The model's distance to one baseline on one task.

    Attributes:
        baseline: its name.
        points: mean score of the model minus that of the baseline, in percentage points, as printed.
        folds_won: folds in which the model has the higher score.
        folds: number of folds.
        p: how often chance alone would tell the two apart at least as much, see ``mcnemar`` and ``signed_rank``.
    """

    baseline: str
    points: float
    folds_won: int
    folds: int
    p: float

    @property
    def clear(self) -> bool:
        """Whether chance alone would do as much less than once in 20 times."""
        return self.p < _CHANCE


@dataclass(frozen=True)
class Comparison:
    """The model against every baseline on one task.

    Attributes:
        beats: whether it is above all of them; None where no baseline was evaluated.
        clear: whether it is above all of them by more than chance would bring.
        sentence: the same in words, with the differences, without the names of model and task.
        margins: one entry a baseline.
    """

    beats: bool | None
    clear: bool
    sentence: str
    margins: list[Margin]


def compare_to_baselines(
    scores: Mapping[str, TaskScore], *, baselines: Sequence[str] = BASELINES, probe: str = "linear"
) -> Comparison:
    """Compare the first of several representations with the baselines among the others.

    Differences are taken as they are printed, in tenths of a point: a smaller one counts as none.

    Args:
        scores: representation to its score on one task, the model first.
        baselines: names of the baselines.
        probe: the probe that decides.

    Returns:
        The margins and a sentence.
    """
    model, *others = scores
    margins = []
    for baseline in (name for name in others if name in baselines):
        mine, its = scores[model].probes[probe], scores[baseline].probes[probe]
        won = sum(a.score > b.score for a, b in zip(mine.folds, its.folds, strict=True))
        points = round(100 * (mine.mean - its.mean), 1)
        margins.append(Margin(baseline, points, won, len(mine.folds), chance(mine, its)))
    if not margins:
        return Comparison(None, False, "No baseline was evaluated.", margins)
    beats = all(margin.points > 0 for margin in margins)
    clear = beats and all(margin.clear for margin in margins)
    name = {1: "the baseline", 2: "both baselines"}.get(len(margins), "all baselines")
    verdict = f"Beats {name}" if clear else f"Beats {name}, but not clearly" if beats else f"Does not beat {name}"
    return Comparison(beats, clear, f"{verdict}: {', '.join(map(_in_words, margins))}.", margins)


def chance(one: ProbeScore, other: ProbeScore) -> float:
    """How often chance alone would tell two scores on the same clips apart at least as much."""
    return signed_rank(one, other) if one.average_precision else mcnemar(one, other)


def signed_rank(one: ProbeScore, other: ProbeScore) -> float:
    """Wilcoxon's signed-rank test (1945), two-sided, of the average precisions of the classes.

    Args:
        one: scores by mean average precision.
        other: scores on the same clips.

    Returns:
        The probability of ranks at least as uneven where neither is better; 1 where no class differs.
    """
    from scipy.stats import wilcoxon  # type: ignore[import-untyped]

    pairs = zip(one.average_precision, other.average_precision, strict=True)
    differences = [a - b for a, b in pairs if a is not None and b is not None]
    return float(wilcoxon(differences).pvalue) if any(differences) else 1.0


def mcnemar(one: ProbeScore, other: ProbeScore) -> float:
    """McNemar's exact test (1947), two-sided: only clips that one got right and the other did not count.

    It takes clips as independent; where many come from one speaker or recording, the true value is higher.

    Args:
        one: scores on some test clips.
        other: scores on the same clips in the same order.

    Returns:
        The probability that a fair coin divides those clips at least as unevenly.
    """
    from scipy.stats import binomtest

    truth = one.predictions.label
    first = [answer == label for answer, label in zip(one.predictions.predicted, truth, strict=True)]
    second = [answer == label for answer, label in zip(other.predictions.predicted, truth, strict=True)]
    wins = sum(a and not b for a, b in zip(first, second, strict=True))
    losses = sum(b and not a for a, b in zip(first, second, strict=True))
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def _in_words(margin: Margin) -> str:
    if margin.points == 0:
        distance = f"level with {margin.baseline}"
    else:
        side = "above" if margin.points > 0 else "below"
        distance = f"{abs(margin.points):.1f} points {side} {margin.baseline}"
    remarks = [f"ahead in {margin.folds_won} of {margin.folds} folds"] if margin.folds > 1 else []
    if margin.points and not margin.clear:
        remarks.append("could be chance")
    return f"{distance} ({'; '.join(remarks)})" if remarks else distance
