"""The confusion matrix of what was taught, as a page or a table."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.core.errors import SoundalikeError
from soundalike.core.files import check_file, replacing
from soundalike.data.table_writer import check_table, open_table

if TYPE_CHECKING:
    from soundalike.apps.classifier.lesson import Lesson


def check_places(out: Path, report: Path | None) -> None:
    """Whether classifier and report can be written there, to be asked before any work is done.

    Raises:
        SoundalikeError: a place is a folder or not writable, or a suffix is another.
    """
    check_file(out)
    if out.suffix.lower() != ".safetensors":
        raise SoundalikeError(f"{out}: its name has to end in .safetensors.")
    if report is not None and report.suffix.lower() == ".html":
        check_file(report)
    elif report is not None:
        check_table(report, (".html",))


def write(lesson: Lesson, out: Path) -> None:
    """Writes the confusion matrix.

    Args:
        lesson: what came of teaching.
        out: ``.html`` for a page that needs nothing else; otherwise a table (true class, a column for each answer).
    """
    if out.suffix.lower() == ".html":
        with replacing(out, "the page") as partial:
            partial.write_text(_page(lesson), encoding="utf-8", errors="backslashreplace")
        return
    classes = lesson.taught.classes
    rows = lesson.estimate.confusion if lesson.estimate else [[0] * len(classes)] * len(classes)
    with open_table(out, ["true class", *classes], whole=True) as table:
        for label, counts in zip(classes, rows, strict=True):
            table.write([label, *counts])


def _page(lesson: Lesson) -> str:
    from importlib.resources import files

    style = files("soundalike.eval.probe").joinpath("report.css").read_text(encoding="utf-8")
    warnings = "".join(f"<li>{escape(warning)}</li>" for warning in lesson.warnings)
    clips = lesson.taught.about["clips"]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>What was taught</title>
<style>
{style}
</style>
</head>
<body>
<main>
<h1>What was taught</h1>
<p>{len(clips)} classes, {sum(clips.values())} clips.</p>
{_estimate(lesson)}
{f"<h3>Warnings</h3><ul>{warnings}</ul>" if warnings else ""}
</main>
</body>
</html>
"""


def _estimate(lesson: Lesson) -> str:
    from soundalike.eval.probe.figures import confusion_table
    from soundalike.eval.probe.score import Predictions, ProbeScore, TaskScore

    estimate = lesson.estimate
    if estimate is None:
        return "<p>No clip could be held out.</p>"
    probe = ProbeScore(estimate.accuracy, estimate.std, [], estimate.confusion, Predictions([], [], []))
    score = TaskScore(
        "taught",
        lesson.taught.classes,
        estimate.tested,
        estimate.chance,
        lesson.taught.model.size,
        {"linear": probe},
        0.0,
    )
    return (
        f"<p>Accuracy <b>{100 * estimate.accuracy:.1f} % ± {100 * estimate.std:.1f}</b> on {estimate.tested} clips "
        f"that were held out ({escape(estimate.how)}); balanced {100 * estimate.balanced:.1f} %; always "
        f"the largest class: {100 * estimate.chance:.1f} %.</p>"
        f"<p>True classes down, answers across.</p>{confusion_table(score, 'linear')}"
    )
