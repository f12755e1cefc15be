"""The scores as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soundalike.core.terminal import shown
from soundalike.data.datasets.table import MEAN_AVERAGE_PRECISION

if TYPE_CHECKING:
    from rich.console import Console

    from soundalike.eval.probe.evaluate import Evaluation
    from soundalike.eval.probe.score import ProbeScore, TaskScore

PROBE_TITLES = {"linear": "linear probe", "knn": "kNN", "mlp": "MLP probe"}


def percent(score: ProbeScore) -> str:
    """Mean and standard deviation over folds, such as ``82.5 ± 4.8``; the mean alone where there is one fold."""
    spread = f" ± {100 * score.std:.1f}" if len(score.folds) > 1 else ""
    return f"{100 * score.mean:.1f}{spread}"


def best(evaluation: Evaluation) -> set[tuple[str, str, str]]:
    """Which (task, representation, probe) have the highest score of their task and probe, as printed."""
    found = set()
    for task in evaluation.tasks:
        for probe in evaluation.probes:
            means = {name: round(100 * score.probes[probe].mean, 1) for name, score in task.scores.items()}
            top = max(means.values())
            found |= {(task.task, name, probe) for name, mean in means.items() if mean == top}
    return found


def metrics(evaluation: Evaluation) -> str:
    """What the numbers of a table are: ``Accuracy``, ``Mean average precision``, or which tasks have which."""
    found = {task.task: next(iter(task.scores.values())).metric for task in evaluation.tasks}
    kinds = sorted(set(found.values()))
    if len(kinds) == 1:
        return kinds[0].capitalize()
    precise = ", ".join(name for name, metric in found.items() if metric == MEAN_AVERAGE_PRECISION)
    return f"Accuracy ({precise}: mean average precision)"


def _without(score: TaskScore) -> str:
    return "chance" if score.metric == MEAN_AVERAGE_PRECISION else "majority"


def print_table(evaluation: Evaluation, console: Console | None = None) -> None:
    """Print scores in percent, and for each task how it is split and whether the model beats the baselines.

    Args:
        evaluation: what ``evaluate`` returned.
        console: where to; standard output by default.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = console or Console()
    table = Table(title=f"{metrics(evaluation)} in %, mean ± standard deviation over folds", title_justify="left")
    for heading in ("task", "representation"):
        table.add_column(heading, overflow="fold")
    for probe in evaluation.probes:
        table.add_column(PROBE_TITLES.get(probe, probe), justify="right", no_wrap=True)
    tops = best(evaluation)
    for task in evaluation.tasks:
        first = next(iter(task.scores.values()))
        sizes = [
            f"{first.clips} clips",
            f"{len(first.classes)} classes",
            f"{_without(first)} {100 * first.chance:.1f}",
        ]
        lead = [task.task, *sizes]
        lead += [""] * (len(task.scores) - len(lead))
        names = [*task.scores, *[None] * (len(lead) - len(task.scores))]
        for text, name in zip(lead, names, strict=True):
            cells = [escape(shown(text)) if text == task.task else f"[dim]{escape(text)}[/dim]"]
            if name is None:
                cells += [""] * (1 + len(evaluation.probes))
            else:
                mark = " [dim](baseline)[/dim]" if name in evaluation.baselines else ""
                cells.append(escape(name) + mark)
                for probe in evaluation.probes:
                    number = percent(task.scores[name].probes[probe])
                    cells.append(f"[bold]{number}[/bold]" if (task.task, name, probe) in tops else number)
            table.add_row(*cells)
        table.add_section()
    console.print(table)
    for task in evaluation.tasks:
        for name, comparison in task.comparisons.items():
            colour = "green" if comparison.clear else "dim" if comparison.beats is None else "yellow"
            whose = f", {name}" if len(task.comparisons) > 1 else ""
            console.print(
                f"[{colour}]{escape(shown(task.task))}[/{colour}]{escape(shown(f'{whose}: {comparison.sentence}'))}",
                highlight=False,
            )
        console.print(f"  [dim]Protocol: {escape(shown(task.protocol))}.[/dim]", highlight=False)
        if task.failures:
            count = f"{len(task.failures)} file{'s' if len(task.failures) > 1 else ''}"
            console.print(f"  {count} could not be read and took no part; the report names them.", highlight=False)
