"""Answers and events as rows of a table, and as Audacity labels."""

from __future__ import annotations

from itertools import chain, count
from pathlib import Path
from typing import IO, Any

from soundalike.apps.classifier.classifier import Prediction
from soundalike.apps.classifier.recordings import Event
from soundalike.audio import read
from soundalike.core.errors import SoundalikeError
from soundalike.core.files import make_folder, naming


def prediction_columns(top: int) -> list[str]:
    """Columns of `prediction_row`."""
    ranked = [f"{what}_{place}" for place in range(1, top + 1) for what in ("label", "probability")]
    return ["path", "label", "probability", "distance", *ranked]


def prediction_row(path: Path, prediction: Prediction, top: int) -> list[Any]:
    """The row of a file; with its ``top`` most likely classes, whether it is one of them or not."""
    ranked = [*prediction.probabilities.items(), *[(None, None)] * top][:top]
    return [str(path), prediction.label, prediction.probability, prediction.distance, *chain.from_iterable(ranked)]


EVENT_COLUMNS = ["path", "start", "end", "label", "probability"]


def event_row(path: Path, event: Event) -> list[Any]:
    """The row of an event."""
    return [str(path), event.start, event.end, event.label, event.probability]


def label_files(out: Path, recordings: list[Path]) -> list[Path]:
    """Where the Audacity labels of each recording go: ``out`` itself, or a file of its name each in that folder.

    Raises:
        SoundalikeError: several recordings are to go into one file, or the place is not writable, or has the name of
            a recording.
    """
    if out.suffix.lower() in read.suffixes():
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
    with naming(stream.name):
        stream.write(f"{event.start:.6f}\t{event.end:.6f}\t{text}\n")
        stream.flush()
