"""The report on the training of a classifier, and its confusion matrix as a page or a table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.core.errors import SoundalikeError
from soundalike.core.files import check_file, write_whole
from soundalike.core.html import STILL
from soundalike.data.table_writer import check_table, open_table

if TYPE_CHECKING:
    from soundalike.apps.classifier.classifier import SoundClassifier
    from soundalike.apps.classifier.cross_validation import Estimate
    from soundalike.apps.classifier.overlapping import Detection
    from soundalike.audio.background import Failure


@dataclass(frozen=True, eq=False)
class TrainingReport:
    """A trained classifier, and how its training went.

    Attributes:
        classifier: the classifier.
        estimate: its accuracy on clips that were held out; None where none could be.
        warnings: what is wrong with the clips, a sentence each.
        failures: the files that could not be read, and why.
        notes: files that could be used, and what is wrong with them.
        detection: how well each class is found, where several may be heard at once.
    """

    classifier: SoundClassifier
    estimate: Estimate | None
    warnings: list[str]
    failures: list[Failure]
    notes: list[Failure]
    detection: Detection | None = None


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


def write(report: TrainingReport, out: Path) -> None:
    """Writes the confusion matrix.

    Args:
        report: report of the training.
        out: ``.html`` for a page that needs nothing else; otherwise a table (true class, a column for each predicted
            class; or, where several classes may be heard at once, how well each is found).
    """
    if out.suffix.lower() == ".html":
        write_whole(out, _page(report), "the page")
        return
    if report.detection is not None:
        with open_table(out, DETECTION_COLUMNS, whole=True) as table:
            for row in detection_rows(report.detection):
                table.write(row)
        return
    classes = report.classifier.classes
    rows = report.estimate.confusion if report.estimate else [[0] * len(classes)] * len(classes)
    with open_table(out, ["true class", *classes], whole=True) as table:
        for label, counts in zip(classes, rows, strict=True):
            table.write([label, *counts])


DETECTION_COLUMNS = ["class", "clips", "recall", "precision", "average_precision"]


def detection_rows(found: Detection) -> list[list[Any]]:
    """A row for each class; None where nothing is known."""
    shares = zip(found.recall, found.precision, found.average_precision, strict=True)
    known = [[None if math.isnan(share) else share for share in row] for row in shares]
    return [[label, clips, *row] for label, clips, row in zip(found.classes, found.clips, known, strict=True)]


def _page(report: TrainingReport) -> str:
    from importlib.resources import files

    style = files("soundalike.eval.probe").joinpath("report.css").read_text(encoding="utf-8")
    warnings = "".join(f"<li>{escape(warning)}</li>" for warning in report.warnings)
    clips = report.classifier.about["clips"]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{STILL}
<title>Training report</title>
<style>
{style}
</style>
</head>
<body>
<main>
<h1>Training report</h1>
<p>{len(clips)} classes, {sum(clips.values())} clips.</p>
{_estimate(report)}
{f"<h3>Warnings</h3><ul>{warnings}</ul>" if warnings else ""}
</main>
</body>
</html>
"""


def _estimate(report: TrainingReport) -> str:
    from soundalike.eval.probe.figures import confusion_table
    from soundalike.eval.probe.score import Predictions, ProbeScore, TaskScore

    estimate = report.estimate
    if report.detection is not None:
        found = report.detection
        head = "".join(f'<th scope="col">{name.replace("_", " ")}</th>' for name in DETECTION_COLUMNS)
        rows = "".join(
            "<tr>"
            + "".join(
                f"<td>{escape(cell) if isinstance(cell, str) else '' if cell is None else f'{cell:.4g}'}</td>"
                for cell in row
            )
            + "</tr>"
            for row in detection_rows(found)
        )
        return (
            f"<p>Several classes may be heard at once. Mean average precision <b>{100 * found.mean:.1f} %</b> on "
            f"{found.tested} clips that were held out ({escape(found.how)}).</p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )
    if estimate is None:
        return "<p>No clip could be held out.</p>"
    probe = ProbeScore(estimate.accuracy, estimate.std, [], estimate.confusion, Predictions([], [], []))
    score = TaskScore(
        "training set",
        report.classifier.classes,
        estimate.tested,
        estimate.chance,
        report.classifier.model.size,
        {"linear": probe},
        0.0,
    )
    return (
        f"<p>Accuracy <b>{100 * estimate.accuracy:.1f} % ± {100 * estimate.std:.1f}</b> on {estimate.tested} clips "
        f"that were held out ({escape(estimate.how)}); balanced {100 * estimate.balanced:.1f} %; always "
        f"the largest class: {100 * estimate.chance:.1f} %.</p>"
        f"<p>True classes down, predicted classes across.</p>{confusion_table(score, 'linear')}"
    )
