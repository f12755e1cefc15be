"""Answers and events as CSV, JSON lines and Audacity labels, written as they come."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import IO, Any

from soundalike.apps.classifier.classifier import Prediction
from soundalike.apps.classifier.recordings import Event
from soundalike.audio import read
from soundalike.core.errors import SoundalikeError
from soundalike.core.files import check_file, make_folder

SUFFIXES = (".csv", ".jsonl", ".ndjson")


class Table:
    """Rows that are on disk as soon as they are known.

    Args:
        stream: what is written to.
        columns: of a row.
        lines: whether as JSON lines; as CSV otherwise.
    """

    def __init__(self, stream: IO[str], columns: list[str], lines: bool) -> None:
        self.stream, self.columns, self.lines = stream, columns, lines
        self.csv = csv.writer(stream, lineterminator="\n")
        if not lines:
            self.csv.writerow(columns)

    def write(self, row: Mapping[str, Any]) -> None:
        """Adds one row: a value for each column, None where there is none."""
        values = {column: _rounded(row.get(column)) for column in self.columns}
        if self.lines:
            # what is no Unicode in a name the stream writes as \\udcxx, which is JSON for it
            self.stream.write(json.dumps(values, ensure_ascii=False) + "\n")
        else:
            self.csv.writerow(["" if value is None else value for value in values.values()])
        self.stream.flush()


def check_table(out: Path | None) -> None:
    """Whether rows can be written there, to be asked before any work is done.

    Raises:
        SoundalikeError: the suffix is none of ``SUFFIXES``, or the place is not writable.
    """
    if out is None:
        return
    if out.suffix.lower() not in SUFFIXES:
        raise SoundalikeError(f"{out}: results are written as .csv or .jsonl, not as {out.suffix or 'no suffix'!r}.")
    check_file(out)


@contextmanager
def open_table(out: Path | None, columns: list[str]) -> Iterator[Table]:
    """A table in a file, JSON lines if its name says so; CSV on stdout where there is none."""
    if out is None:
        yield Table(sys.stdout, columns, False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        yield Table(stream, columns, out.suffix.lower() != ".csv")


def prediction_columns(top: int) -> list[str]:
    """Columns of `prediction_row`."""
    ranked = [f"{what}_{place}" for place in range(1, top + 1) for what in ("label", "probability")]
    return ["path", "label", "probability", "distance", *ranked]


def prediction_row(path: Path, prediction: Prediction, top: int) -> dict[str, Any]:
    """The row of a file; with its ``top`` most likely classes, whether it is one of them or not."""
    row: dict[str, Any] = {
        "path": str(path),
        "label": prediction.label,
        "probability": prediction.probability,
        "distance": prediction.distance,
    }
    for place, (label, probability) in enumerate(list(prediction.probabilities.items())[:top], start=1):
        row |= {f"label_{place}": label, f"probability_{place}": probability}
    return row


EVENT_COLUMNS = ["path", "start", "end", "label", "probability"]


def event_row(path: Path, event: Event) -> dict[str, Any]:
    """The row of an event."""
    return {
        "path": str(path),
        "start": event.start,
        "end": event.end,
        "label": event.label,
        "probability": event.probability,
    }


def label_files(out: Path, recordings: list[Path]) -> list[Path]:
    """Where the Audacity labels of each recording go: ``out`` itself, or a file of its name each in that folder.

    Raises:
        SoundalikeError: several recordings are to go into one file, or the place is not writable, or has the name of
            a recording.
    """
    if out.suffix.lower() in read.SUFFIXES:
        raise SoundalikeError(f"{out}: has the name of a recording, which labels would overwrite; call it .txt.")
    if len(recordings) == 1 and not out.is_dir():
        make_folder(out.absolute().parent)
        return [out]
    if out.is_file() or (out.suffix.lower() == ".txt" and not out.is_dir()):
        raise SoundalikeError(
            f"{out}: one label file cannot hold {len(recordings)} recordings; give a folder, and each gets its own."
        )
    make_folder(out)
    used: set[str] = set()  # in one case, since some file systems tell no difference
    found = []
    for recording in recordings:
        numbered = (f"{recording.stem} ({number})" for number in count(2))
        stem = next(name for name in chain([recording.stem], numbered) if name.casefold() not in used)
        used.add(stem.casefold())
        found.append(out / f"{stem}.txt")
    return found


def write_label(stream: IO[str], event: Event) -> None:
    """Adds an event as Audacity imports labels: start, end and text with tabs between."""
    text = " ".join(event.label.split())
    stream.write(f"{event.start:.6f}\t{event.end:.6f}\t{text}\n")
    stream.flush()


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
