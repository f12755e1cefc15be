"""``soundalike classify``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from soundalike.audio.segment import Segment
from soundalike.commands.arguments import (
    TABLES,
    add_inference_device,
    add_sounds,
    check_apart,
    name_broken,
    number,
    path,
    read_sounds,
    whole,
)
from soundalike.core.errors import AudioError, SoundalikeError

if TYPE_CHECKING:
    from soundalike.apps.classifier import SoundClassifier
    from soundalike.audio.segment import Sound

HELP = "name sounds with a trained classifier"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_sounds(parser)
    parser.add_argument(
        "--with", dest="classifier", required=True, type=path, metavar="FILE", help="file that soundalike teach wrote"
    )
    parser.add_argument("--out", type=path, help=f"table to write: {TABLES} (default: CSV on stdout)")
    parser.add_argument("--every", type=number, help="seconds: a time line of events, and not a label for each file")
    parser.add_argument(
        "--window", type=number, help="with --every: length of a window in seconds (default: the classifier's own)"
    )
    parser.add_argument(
        "--labels", type=path, help="with --every: Audacity label file; of several recordings, a folder for them"
    )
    parser.add_argument(
        "--raven",
        type=path,
        help="with --every: selection table of Raven (.txt); of several recordings, a folder for them",
    )
    parser.add_argument(
        "--clips", type=path, metavar="DIR", help="with --every: folder for a WAV file of each event, cut out"
    )
    parser.add_argument(
        "--context",
        type=number,
        metavar="SECONDS",
        help="with --clips: of sound before and after each event (default: 0.5)",
    )
    parser.add_argument(
        "--min",
        metavar="PROBABILITY",
        help="with --every: least probability of an event, or a table with one for each class (label, min)",
    )
    parser.add_argument("--all", action="store_true", help="with --every: also the stretches that are none of these")
    parser.add_argument("--top", type=whole, default=0, help="also the most likely classes of each file, so many")
    parser.add_argument(
        "--none-of-these",
        type=number,
        metavar="SHARE",
        help="share of sounds of the classes that may be called none of these (default: 0.05; 0: never)",
    )
    add_inference_device(parser)


def run(options: argparse.Namespace) -> int:
    """Names the sounds, row by row, and then the files that were left out."""
    _check(options)
    from soundalike.apps.classifier import SHARE, SoundClassifier, writing
    from soundalike.core.memory import keep_freed_memory
    from soundalike.data.table_writer import check_table

    keep_freed_memory()
    if options.out is not None:
        check_table(options.out)
        check_apart(options.out, options.files)
    files = read_sounds(options)
    labels = None if options.labels is None else writing.label_files(options.labels, files)
    raven = None if options.raven is None else writing.label_files(options.raven, files, ".selections.txt")
    classifier = SoundClassifier.load(options.classifier, options.device)
    share = SHARE if options.none_of_these is None else options.none_of_these
    if options.every is None:
        broken = _name(classifier, files, options, share)
    else:
        broken = _follow(classifier, files, options, share, labels, raven)
    if options.out is not None:
        print(f"{options.out}: {len(files) - len(broken)} of {len(files)} sounds")
    return name_broken(broken)


def _check(options: argparse.Namespace) -> None:
    if options.every is None:
        for name in ("window", "labels", "raven", "clips", "context", "min", "all"):
            if getattr(options, name) not in (None, False):
                raise SoundalikeError(f"--{name} is about time lines: give --every SECONDS with it, such as 0.5.")
    elif options.top:
        raise SoundalikeError("--top is about whole files: leave it out with --every.")
    for name in ("every", "window"):
        value = getattr(options, name)
        if value is not None and not 0.01 <= value <= 3600:
            raise SoundalikeError(f"--{name} is {value:g} s: give 0.01 to 3600.")
    if options.context is not None and options.clips is None:
        raise SoundalikeError("--context is about clips: give --clips DIR with it.")
    if options.context is not None and not 0 <= options.context <= 3600:
        raise SoundalikeError(f"--context is {options.context:g} s: give 0 to 3600.")
    if options.none_of_these is not None and not 0 <= options.none_of_these < 1:
        raise SoundalikeError(f"--none-of-these is {options.none_of_these:g}: give a part from 0 to below 1.")
    if options.top < 0:
        raise SoundalikeError(f"--top is {options.top}: give 0 or more.")


def _name(
    classifier: SoundClassifier, files: list[Sound], options: argparse.Namespace, share: float
) -> list[tuple[Sound, str]]:
    """A row for each file; gives the broken ones."""
    from soundalike.apps.classifier import writing
    from soundalike.apps.classifier.recordings import classify_files
    from soundalike.apps.classifier.scores import journal_beside
    from soundalike.audio.background import Failure
    from soundalike.data.table_writer import open_table

    broken = []
    spans = any(isinstance(file, Segment) for file in files)
    top = min(options.top, len(classifier.classes))
    journal = None if options.out is None else journal_beside(options.out, options.classifier)
    with open_table(options.out, writing.prediction_columns(top, spans), whole=True) as table:
        for file, prediction in classify_files(classifier, files, share, journal, progress=True):
            if isinstance(prediction, Failure):
                broken.append((file, prediction.reason))
            else:
                for row in writing.prediction_rows(file, prediction, top, spans):
                    table.write(row)
    if journal is not None:
        journal.remove()
    return broken


def _follow(
    classifier: SoundClassifier,
    files: list[Sound],
    options: argparse.Namespace,
    share: float,
    labels: list[Path] | None,
    raven: list[Path] | None,
) -> list[tuple[Sound, str]]:
    """The events of each recording; gives the broken ones."""
    from soundalike.apps.classifier import time_line, writing
    from soundalike.apps.classifier.events import CONTEXT, Cutter, is_likely, read_least
    from soundalike.apps.classifier.overlapping import LEAST
    from soundalike.apps.classifier.scores import KeptScores, journal_beside
    from soundalike.audio.background import failure, time_progress
    from soundalike.data.table_writer import open_table

    broken = []
    usual = LEAST if classifier.overlap else 0.0
    least = read_least(str(usual) if options.min is None else options.min, classifier.classes, usual)
    context = CONTEXT if options.context is None else options.context
    cutter = None if options.clips is None else Cutter(options.clips, context)
    kept = None
    beside = next((place for place in (options.out, options.raven, options.labels, options.clips) if place), None)
    if beside is not None:
        kept = KeptScores(journal_beside(beside, options.classifier, f"{options.every} {options.window}"))
        if kept.before:
            print("some of it was classified before; going on.", file=sys.stderr)
    with ExitStack() as stack:
        if kept is not None:
            stack.callback(kept.flush)  # also of what an interruption ends
        table = stack.enter_context(open_table(options.out, writing.EVENT_COLUMNS, whole=True))
        advance = stack.enter_context(time_progress(files, True, "classifying"))
        for place, file in enumerate(files):
            with ExitStack() as open_files:
                stream = None if labels is None else open_files.enter_context(_opened(labels[place]))
                selections = None
                if raven is not None:
                    selections = writing.RavenTable(
                        open_files.enter_context(_opened(raven[place])), file, classifier.model.sample_rate / 2
                    )
                try:
                    for event in time_line(
                        classifier, file, options.every, options.window, share, options.all, advance, kept, least
                    ):
                        if not is_likely(event, least):
                            continue
                        table.write(writing.event_row(file, event))
                        if stream is not None:
                            writing.write_label(stream, event)
                        if selections is not None:
                            selections.write(event)
                        if cutter is not None:
                            cutter.write(file, event)
                except AudioError as error:
                    broken.append((file, failure(file, error).reason))
    if kept is not None:
        kept.journal.remove()
    return broken


@contextmanager
def _opened(place: Path) -> Iterator[IO[str]]:
    """A text file to write labels to."""
    from soundalike.core.files import naming

    with naming(place), place.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        yield stream
