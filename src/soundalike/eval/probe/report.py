"""The report: one HTML file that needs nothing else, the same for the same scores."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

from soundalike.core.html import STILL
from soundalike.eval.probe.evaluate import Evaluation, TaskResult
from soundalike.eval.probe.figures import confused_pairs, confusion_table, embedding_map, map_rules, symbols
from soundalike.eval.probe.knn import NEIGHBOURS
from soundalike.eval.probe.mlp import HIDDEN
from soundalike.eval.probe.score import ProbeScore, TaskScore
from soundalike.eval.probe.table import PROBE_TITLES, best, metrics

_SHORT = {"linear": "linear", "knn": "kNN", "mlp": "MLP"}
_PROBES = {
    "linear": "<b>Linear probe</b>: logistic regression on the frozen embeddings, standardised on the training clips; "
    "its L2 strength is chosen inside the training clips (or on the validation clips, where the data set has some).",
    "knn": f"<b>kNN</b>: the {NEIGHBOURS} nearest training clips vote, by cosine of the standardised embeddings.",
    "mlp": f"<b>MLP probe</b>: one hidden layer of {HIDDEN} on the frozen embeddings, standardised on the training "
    "clips; how long it is trained is chosen as the linear probe's strength is: inside the training clips, or on the "
    "validation clips.",
}
_BASELINES = {
    "log-mel statistics": "mean and deviation of each mel band over time: no learning at all",
    "untrained encoder": "the same encoder and read-out with random weights",
}


def report_html(evaluation: Evaluation) -> str:
    """The report as one HTML page without scripts, dates or outside resources.

    Args:
        evaluation: what to report.

    Returns:
        The page; every name, label and path in it is escaped.
    """
    classes = max(len(score.classes) for task in evaluation.tasks for score in task.scores.values())
    style = files("soundalike.eval.probe").joinpath("report.css").read_text(encoding="utf-8")
    models = [name for name in evaluation.representations if name not in evaluation.baselines]
    title = f"Evaluation of {escape(', '.join(models) or evaluation.model)}"
    versions = " · ".join(f"{escape(name)} {escape(number)}" for name, number in evaluation.versions.items())
    sections = "".join(_task(evaluation, task) for task in evaluation.tasks)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{STILL}
<title>{title}</title>
<style>
{style}{map_rules(classes)}
</style>
</head>
<body>
{symbols()}
<main>
<h1>{title}</h1>
<p class="soft">Frozen embeddings of real recordings, probed. Test clips take no part in any choice.</p>
{_verdicts(evaluation)}
{_scores(evaluation)}
{_legend(evaluation)}
{_recipe(evaluation.recipe)}
{sections}
<footer>{versions}</footer>
</main>
</body>
</html>
"""


def _verdicts(evaluation: Evaluation) -> str:
    items = []
    for task in evaluation.tasks:
        for name, comparison in task.comparisons.items():
            kind, mark = {True: ("", "≈"), False: ("no", "✗"), None: ("", "–")}[comparison.beats]
            if comparison.clear:
                kind, mark = "yes", "✓"
            whose = f", {escape(name)}" if len(task.comparisons) > 1 else ""
            items.append(
                f'<li><span class="mark {kind}" aria-hidden="true">{mark}</span>'
                f"<span><b>{escape(task.task)}</b>{whose}: {escape(comparison.sentence)}</span></li>"
            )
    return f'<ul class="verdicts">{"".join(items)}</ul>'


def _scores(evaluation: Evaluation) -> str:
    tops = best(evaluation)
    span = len(evaluation.probes)
    top_row = "".join(
        f'<th scope="colgroup" class="task first" colspan="{span}">{escape(task.task)}</th>'
        for task in evaluation.tasks
    )
    probe_row = "".join(
        f'<th scope="col"{_first(number)}>{escape(_SHORT.get(probe, probe))}</th>'
        for _ in evaluation.tasks
        for number, probe in enumerate(evaluation.probes)
    )
    rows = []
    for name in evaluation.representations:
        cells = "".join(
            f"<td{_first(number)}>{_number(task.scores[name].probes[probe], (task.task, name, probe) in tops)}</td>"
            for task in evaluation.tasks
            for number, probe in enumerate(evaluation.probes)
        )
        baseline = ' <span class="tag">baseline</span>' if name in evaluation.baselines else ""
        lead = ' class="lead"' if name == evaluation.model else ""
        width = evaluation.tasks[0].scores[name].dimensions
        rows.append(f'<tr{lead}><th scope="row">{escape(name)}{baseline}</th><td>{width}</td>{cells}</tr>')
    majority = "".join(
        f'<td class="first soft" colspan="{span}" style="text-align:center">'
        f"{100 * task.scores[evaluation.model].chance:.1f}</td>"
        for task in evaluation.tasks
    )
    rows.append(
        f'<tr><th scope="row" class="soft">always the most frequent class; chance</th><td></td>{majority}</tr>'
    )
    return (
        '<div class="scroll"><table class="scores"><thead>'
        f"<tr><th></th><th></th>{top_row}</tr>"
        f'<tr><th scope="col">representation</th><th scope="col">size</th>{probe_row}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _legend(evaluation: Evaluation) -> str:
    probes = " ".join(_PROBES[probe] for probe in evaluation.probes if probe in _PROBES)
    baselines = "; ".join(
        f"<b>{escape(name)}</b>: {_BASELINES[name]}" for name in evaluation.baselines if name in _BASELINES
    )
    baselines = f" Baselines: {baselines}." if baselines else ""
    return (
        f'<p class="small soft">{escape(metrics(evaluation))} in %, mean ± standard deviation over folds; the best of '
        "each column in bold. "
        f"{probes}{baselines} <b>Could be chance</b>: McNemar's test on the test clips, or "
        "Wilcoxon's signed-rank test on the classes' average precisions, p ≥ 0.05.</p>"
    )


def _recipe(recipe: Mapping[str, Any]) -> str:
    if not recipe:
        return ""
    lines = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in summary(recipe))
    return f"<h3>What was evaluated</h3><dl>{lines}</dl>"


def summary(recipe: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested mapping as lines of (dotted name, text), the innermost mappings in one line each."""
    lines: list[tuple[str, str]] = []
    for key, value in recipe.items():
        if not isinstance(value, Mapping):
            lines.append((f"{prefix}{key}", str(value)))
        elif any(isinstance(inner, Mapping) for inner in value.values()):
            lines += summary(value, f"{prefix}{key}.")
        else:
            lines.append((f"{prefix}{key}", ", ".join(f"{name}: {inner}" for name, inner in value.items())))
    return lines


def _task(evaluation: Evaluation, task: TaskResult) -> str:
    score = task.scores[evaluation.model]
    probe = evaluation.probes[0]
    drawn = len(task.projection.row)
    share = f"{drawn} of {score.clips} clips" if drawn < score.clips else f"{drawn} clips"
    missing = f" {task.missing} listed clips are not on disk." if task.missing else ""
    return f"""<section>
<h2>{escape(task.task)}</h2>
<p>{escape(task.comparison.sentence)}</p>
<p class="soft">{score.clips} clips, {len(score.classes)} classes. Protocol: {escape(task.protocol)}.{missing}</p>
<div class="{"pair" if len(score.classes) <= 12 else "stack"}">
<figure><h3>Map of the model's embeddings</h3>{embedding_map(task, score, probe)}
<figcaption>{share}; {escape(task.projection.method)}. Close points sound alike to the model; distances between
clusters mean little. Point at a class to single it out.</figcaption></figure>
{_by_class(score, probe)}
</div>
{_folds(evaluation, task)}
{_files("could not be embedded and were left out", task.failures)}
{_files("used as far as it could be read: cut short or damaged", task.notes)}
</section>
"""


def _by_class(score: TaskScore, probe: str) -> str:
    """The confusion matrix or, where clips have several labels, the average precision of each class."""
    title = escape(PROBE_TITLES.get(probe, probe))
    if score.probes[probe].confusion:
        pairs = [f"{escape(a)} for {escape(b)} ({count})" for a, b, count in confused_pairs(score, probe)]
        confused = f" Most often taken wrongly: {', '.join(pairs)}." if pairs else ""
        return (
            f"<figure><h3>Confusion matrix of the {title}</h3>{confusion_table(score, probe)}\n<figcaption>True class "
            "down, answer across, clips of all test folds; at the right the share of right\n"
            f"answers.{confused}</figcaption></figure>"
        )
    found = zip(score.classes, score.probes[probe].average_precision, strict=True)
    ranked = sorted(((value, name) for name, value in found if value is not None), reverse=True)
    rows = "".join(
        f'<tr><td class="words">{escape(name)}</td><td>{100 * value:.1f}</td></tr>' for value, name in ranked
    )
    return (
        f'<figure><h3>Average precision of each class, {title}</h3><div class="scroll"><table class="plain"><tbody>'
        f"{rows}</tbody></table></div><figcaption>Clips have several labels; the map shows the first of each."
        "</figcaption></figure>"
    )


def _folds(evaluation: Evaluation, task: TaskResult) -> str:
    columns = [(name, probe) for name in evaluation.representations for probe in evaluation.probes]
    head = "".join(
        f'<th scope="col">{escape(name)}<br><span class="soft">{escape(PROBE_TITLES.get(probe, probe))}</span></th>'
        for name, probe in columns
    )
    rows = []
    for number, fold in enumerate(task.scores[evaluation.model].probes[evaluation.probes[0]].folds):
        cells = "".join(
            f"<td>{100 * task.scores[name].probes[probe].folds[number].score:.1f}</td>" for name, probe in columns
        )
        rows.append(
            f'<tr><th scope="row">{escape(fold.name)}</th><td>{fold.train}</td><td>{fold.test}</td>{cells}</tr>'
        )
    return (
        '<details><summary>Every fold</summary><div class="scroll"><table class="plain"><thead><tr><th></th>'
        f'<th scope="col">train</th><th scope="col">test</th>{head}</tr></thead><tbody>{"".join(rows)}'
        "</tbody></table></div></details>"
    )


def _files(what: str, entries: list[tuple[str, str]]) -> str:
    if not entries:
        return ""
    count = f"{len(entries)} file{'s' if len(entries) > 1 else ''} {what}"
    rows = "".join(
        f'<tr><td class="words">{escape(path)}</td><td class="words">{escape(reason)}</td></tr>'
        for path, reason in entries
    )
    return (
        f"<details{' open' if len(entries) <= 10 else ''}><summary>{count}</summary>"
        f'<div class="scroll"><table class="plain"><tbody>{rows}</tbody></table></div></details>'
    )


def _first(number: int) -> str:
    return ' class="first"' if number == 0 else ""


def _number(score: ProbeScore, top: bool) -> str:
    mean = f"{100 * score.mean:.1f}"
    spread = f' <span class="std">± {100 * score.std:.1f}</span>' if len(score.folds) > 1 else ""
    return (f"<b>{mean}</b>" if top else mean) + spread
