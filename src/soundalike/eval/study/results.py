"""Results of a study: accuracy of every setting, over tasks and seeds, as numbers and as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from soundalike.eval.study.runs import Run
from soundalike.eval.study.scoring import HEAD, LINEAR

Level = str | int | float


class Summary(NamedTuple):
    """Accuracy over seeds, in %."""

    mean: float
    std: float
    runs: int

    def __str__(self) -> str:
        return f"{self.mean:.1f}" + (f" ± {self.std:.1f}" if self.runs > 1 else "")


@dataclass
class Row:
    """Accuracy of one setting as one reader measures it.

    Attributes:
        levels: factor to level, without task and seed.
        reader: what reads the embedding.
        baseline: name of the baseline; None of trained runs.
        by_seed: seed to task to accuracy in [0, 1].
        trained: slug of each run to the record of its training.
        parameters: numbers of parameters of the encoders.
    """

    levels: dict[str, Level]
    reader: str
    baseline: str | None
    by_seed: dict[int, dict[str, float]] = field(default_factory=dict)
    trained: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    parameters: set[int] = field(default_factory=set)

    def over(self, tasks: Iterable[str]) -> Summary | None:
        """Mean over these tasks and then over the seeds that have all of them; None where there is no such seed."""
        wanted = list(tasks)
        complete = [of for of in self.by_seed.values() if all(task in of for task in wanted)]
        means = [100 * np.mean([of[task] for task in wanted]) for of in complete]
        return Summary(float(np.mean(means)), float(np.std(means)), len(means)) if means else None


class Results:
    """The rows of a study: baselines, then the settings of the finished runs.

    Args:
        tasks: names of all tasks.
        finished: runs and their records.
        baselines: name to measurements, each with ``task``, ``seed``, ``reader``, ``accuracy`` and perhaps
            ``levels``.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        finished: Sequence[tuple[Run, Mapping[str, Any]]],
        baselines: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> None:
        self.tasks, self.finished, self.baselines = list(tasks), finished, list(baselines)
        self.columns: list[str | None] = [*tasks, None] if len(tasks) > 1 else list(tasks)
        self.rows: list[Row] = []
        for name, measurements in baselines.items():
            for measured in measurements:
                self._add(measured.get("levels", {}), measured, name, measured["seed"])
        for run, record in finished:
            levels = {factor: level for factor, level in run.levels.items() if factor not in ("task", "seed")}
            for measured in record["scores"]["measured"]:
                row = self._add({**levels, **measured.get("levels", {})}, measured, None, run.levels["seed"])
                row.trained[run.slug] = record["trained"]
                row.parameters.add(record["scores"]["parameters"])

    def _add(self, levels: Mapping[str, Level], measured: Mapping[str, Any], baseline: str | None, seed: Any) -> Row:
        wanted = Row({**levels}, measured["reader"], baseline)
        row = next((r for r in self.rows if _key(r) == _key(wanted)), wanted)
        if row is wanted:
            self.rows.append(row)
        row.by_seed.setdefault(seed, {})[measured["task"]] = measured["accuracy"]
        return row

    def accuracy(
        self, task: str | None, *, reader: str = LINEAR, baseline: str | None = None, **levels: Any
    ) -> Summary | None:
        """Accuracy of one setting.

        Args:
            task: name of a task; None is the mean of all.
            reader: what reads the embedding.
            baseline: name of a baseline; it counts at every level of the factors that it does not depend on.
            levels: factor to level.

        Returns:
            The summary over seeds, or None where no seed has a value.
        """
        for row in self.rows:
            same = [row.levels.get(f, level if baseline else None) == level for f, level in levels.items()]
            if (row.reader, row.baseline) == (reader, baseline) and all(same):
                return row.over(self.tasks if task is None else [task])
        return None

    def levels(self, factor: str) -> list[Any]:
        """Levels of a factor, in order of appearance."""
        return list(dict.fromkeys(row.levels[factor] for row in self.rows if factor in row.levels))

    def by_title(self, value: Callable[[str | None], Any]) -> dict[str, Any]:
        """Title of each task's panel, and of that of their mean, to a value."""
        return {"mean of the tasks" if task is None else task: value(task) for task in self.columns}

    def lines(
        self, factor: str, levels: Sequence[Any], named: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, dict[str, list[Summary | None]]]:
        """Lines or bars of a figure.

        Args:
            factor: what varies along a line.
            levels: its levels.
            named: name of each line to what else `accuracy` takes.

        Returns:
            Title of each panel to name of the line to its accuracy at every level.
        """
        return self.by_title(
            lambda task: {
                name: [self.accuracy(task, **{factor: level, **of}) for level in levels] for name, of in named.items()
            }
        )

    def baseline_lines(self, factor: str, levels: Sequence[Any]) -> dict[str, dict[str, list[Summary | None]]]:
        """`lines` of the baselines; several where one depends on other factors."""
        named: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            if row.baseline and row.reader == LINEAR:
                others = {key: level for key, level in row.levels.items() if key != factor}
                named[in_words(others, row.baseline)] = {"baseline": row.baseline, **others}
        return self.lines(factor, levels, named)

    def table(
        self,
        factors: Mapping[str, str],
        word: Callable[[str, Level], str],
        order: Callable[[Row], Any],
        readers: Sequence[str] = (LINEAR, HEAD),
    ) -> tuple[list[str], list[list[str]], int]:
        """Every row as text.

        Args:
            factors: factor to the heading of its column.
            word: from a factor and its level to text.
            order: what rows are sorted by; rows of equal order stay as they are.
            readers: the readers whose rows are shown.

        Returns:
            Headings, rows, and how many columns say what a row is.
        """
        rows = sorted((row for row in self.rows if row.reader in readers), key=order)
        head = [*factors.values(), "read by", "seeds", "pairs a run", "epochs", "parameters"]
        head += ["mean" if task is None else task for task in self.columns]
        several = len({row.reader for row in rows}) > 1
        sizes = {frozenset(row.parameters) for row in rows if row.parameters}
        heard = any(of.get("recordings") for row in rows for of in row.trained.values())
        hidden = {"read by": not several, "epochs": not heard, "parameters": len(sizes) < 2}
        kept = [i for i, name in enumerate(head) if not hidden.get(name, False)]
        text = [[self._text(row, factors, word)[i] for i in kept] for row in rows]
        return [head[i] for i in kept], text, len(factors) + several

    def _text(self, row: Row, factors: Mapping[str, str], word: Callable[[str, Level], str]) -> list[str]:
        said = [word(factor, row.levels[factor]) if factor in row.levels else "" for factor in factors]
        if row.baseline:  # in the place of what it does not depend on
            place = said.index("") if "" in said else -1
            said[place] = f"{said[place]}, {row.baseline}".removeprefix(", ")
        numbers = [row.over(self.tasks if task is None else [task]) for task in self.columns]
        sizes = " ".join(f"{size:,}" for size in sorted(row.parameters))
        return [*said, row.reader, *_seen(row), sizes, *("–" if n is None else str(n) for n in numbers)]


def in_words(levels: Mapping[str, Level], lead: str = "") -> str:
    """Levels in one line, behind a name where one is given; of a recipe's keys without their sections."""
    said = [f"{factor.rpartition('.')[2]} {level}" for factor, level in levels.items()]
    return ", ".join([lead, *said] if lead else said)


def _key(row: Row) -> tuple[Any, ...]:
    return row.baseline, row.reader, row.levels


def _seen(row: Row) -> list[str]:
    """Seeds of a setting, pairs of a run, and how often a run was shown each recording; means over runs."""
    if not row.trained:
        return ["", "", ""]
    pairs = [of["pairs"] for of in row.trained.values()]
    epochs = [of["pairs"] / of["recordings"] for of in row.trained.values() if of.get("recordings")]
    return [str(len(row.by_seed)), f"{round(float(np.mean(pairs))):,}", f"{np.mean(epochs):.3g}" if epochs else "–"]
