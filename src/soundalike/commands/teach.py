"""``soundalike teach``."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from typing import TYPE_CHECKING

from soundalike.commands.arguments import (
    TABLES,
    TASKS,
    add_inference_device,
    add_speed,
    at_speed,
    check_apart,
    name_broken,
    number,
    path,
)
from soundalike.core.terminal import shown

if TYPE_CHECKING:
    from soundalike.apps.classifier import TrainingReport
    from soundalike.apps.classifier.overlapping import Detection

HELP = "teach a classifier from a folder per class"
_MOST_SHOWN = 20  # classes up to which the confusion matrix is printed
_WIDEST = 14  # letters of a class in it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "data",
        metavar="FOLDER",
        type=path,
        help="folder with a sub-folder of sounds for each class; a table with the columns path and label, and perhaps "
        "start and end in seconds; a selection table of Raven or a label track of Audacity, or a folder of them",
    )
    parser.add_argument("--out", type=path, required=True, help="file to write: encoder and classifier, .safetensors")
    parser.add_argument("--model", type=path, help="encoder: a model file or the folder of its run (default: shipped)")
    parser.add_argument("--task", help=f"how FOLDER is read (default: recognised from it): {TASKS}")
    parser.add_argument(
        "--window",
        type=number,
        help="length of a window of a long recording in seconds (default: as long as the clips, 0.5 to 1)",
    )
    parser.add_argument(
        "--overlap",
        action="store_true",
        help="several classes may be heard at once (default: where segments of several classes share their time)",
    )
    parser.add_argument("--report", type=path, help=f"confusion matrix as a file: .html, or a table ({TABLES})")
    add_inference_device(parser)
    add_speed(parser)


def run(options: argparse.Namespace) -> int:
    """Trains a classifier, prints its accuracy, and names the files that were left out."""
    from soundalike import load
    from soundalike.apps.classifier import report, teach_with_report
    from soundalike.core.memory import keep_freed_memory

    keep_freed_memory()
    report.check_places(options.out, options.report)
    if options.report is not None:
        check_apart(options.report, [options.data])
    model = at_speed(load(options.model, options.device), options)
    training = teach_with_report(options.data, model, options.task, options.window, True, options.overlap)
    training.classifier.save(options.out)
    _print(training)
    for warning in training.warnings:
        print(f"warning: {shown(warning)}", file=sys.stderr)
    for note in training.notes:
        print(f"note: {shown(note.path)}: {shown(note.reason)}", file=sys.stderr)
    if options.report is not None:
        report.write(training, options.report)
        print(options.report)
    command = f"soundalike classify FILES --with {shlex.quote(str(options.out))}"
    print(f"{options.out}: {len(training.classifier.classes)} classes; {command}")
    return name_broken((failure.path, failure.reason) for failure in training.failures)


def _print(training: TrainingReport) -> None:
    """Classes, accuracy, what is confused, and the matrix."""
    if training.detection is not None:
        _print_detection(training.detection)
        return
    clips = {shown(label): count for label, count in training.classifier.about["clips"].items()}
    estimate = training.estimate
    width = max(map(len, clips))
    confusion = estimate.confusion if estimate else [[0] * len(clips)] * len(clips)
    for place, (label, count) in enumerate(clips.items()):
        tested = sum(confusion[place])
        right = f"{confusion[place][place]} of {tested} correct" if tested else "not tested"
        print(f"{label:<{width}}  {count:>5} clip{'s' if count != 1 else ' '}  {right}")
    if estimate is None:
        return
    print(
        f"accuracy {100 * estimate.accuracy:.1f} % ± {100 * estimate.std:.1f} on {estimate.tested} clips that were "
        f"held out ({estimate.how}); always the largest class: {100 * estimate.chance:.1f} %"
    )
    if abs(estimate.balanced - estimate.accuracy) >= 0.01 or max(clips.values()) > 2 * min(clips.values()):
        print(f"balanced accuracy {100 * estimate.balanced:.1f} %: the mean of the classes' recalls")
    labels = list(clips)
    pairs = sorted(
        ((confusion[i][j], labels[i], labels[j]) for i in range(len(labels)) for j in range(len(labels)) if i != j),
        reverse=True,
    )
    often = [f"{true} for {predicted} ({count})" for count, true, predicted in pairs[:3] if count]
    if often:
        print(f"most often confused: {', '.join(often)}")
    if 2 <= len(labels) <= _MOST_SHOWN:
        _print_matrix(labels, confusion)


def _print_detection(found: Detection) -> None:
    """How well each class is found."""
    names = [shown(label) for label in found.classes]
    for name, clips, recall, precision in zip(names, found.clips, found.recall, found.precision, strict=True):
        found_in, right = ("-" if math.isnan(share) else f"{100 * share:.0f} %" for share in (recall, precision))
        print(f"{name:<{max(map(len, names))}}  {clips:>5} clips  found {found_in}, right {right}")
    print(
        f"several classes may be heard at once: mean average precision {100 * found.mean:.1f} % on {found.tested} "
        f"clips that were held out ({found.how})"
    )


def _print_matrix(labels: list[str], confusion: list[list[int]]) -> None:
    names = [label if len(label) <= _WIDEST else f"{label[: _WIDEST - 1]}…" for label in labels]
    width = max(map(len, names))
    cell = max(3, len(str(max(map(max, confusion)))), len(str(len(names))) + 1)
    print(f"\n{'true class':<{max(width + 4, 10)}} prediction")
    print(" " * (width + 4) + "".join(f"{place:>{cell}}" for place in range(1, len(names) + 1)))
    for place, (name, counts) in enumerate(zip(names, confusion, strict=True), start=1):
        print(f"{place:>2} {name:<{width}} " + "".join(f"{count or '.':>{cell}}" for count in counts))
    print()
