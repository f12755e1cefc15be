"""Answers and events as rows of a table, as Audacity labels and as selections of Raven."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any

from soundalike.apps.classifier.classifier import Prediction
from soundalike.apps.classifier.recordings import Event
from soundalike.audio import read
from soundalike.audio.segment import Sound, file_of, span_of
from soundalike.core.errors import SoundalikeError
from soundalike.core.files import make_folder, naming, unused_name
from soundalike.data.label_files import RAVEN_COLUMNS


def prediction_columns(top: int, spans: bool = False) -> list[str]:
    """Columns of `prediction_rows`."""
    ranked = [f"{what}_{place}" for place in range(1, top + 1) for what in ("label", "probability")]
    return ["path", *["start", "end"] * spans, "label", "probability", "distance", *ranked]


def prediction_rows(sound: Sound, prediction: Prediction, top: int, spans: bool = False) -> list[list[Any]]:
    """The row of a file or a segment; one for each class that is heard where several may be at once.

    Args:
        sound: which.
        prediction: what it is.
        top: how many of its most likely classes there are in the row, whether it is one of them or not.
        spans: whether the row has start and end in seconds, None of a whole file.
    """
    ranked = [*prediction.probabilities.items(), *[(None, None)] * top][:top]
    place = [str(file_of(sound)), *(span_of(sound) if spans else ())]
    rest = [prediction.distance, *chain.from_iterable(ranked)]
    if not prediction.known:
        return [[*place, prediction.label, None, *rest]]
    return [[*place, label, prediction.probabilities[label], *rest] for label in prediction.labels]


EVENT_COLUMNS = ["path", "start", "end", "label", "probability"]


def event_row(sound: Sound, event: Event) -> list[Any]:
    """The row of an event."""
    return [str(file_of(sound)), event.start, event.end, event.label, event.probability]


def label_files(out: Path, recordings: Sequence[Sound], ending: str = ".txt") -> list[Path]:
    """Where the labels of each recording go: ``out`` itself, or a file of its name each in that folder.

    Args:
        out: file, or folder.
        recordings: what is labelled.
        ending: of the names of files in the folder.

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
    used: set[str] = set()
    found = []
    for recording in recordings:
        own = file_of(recording).stem
        found.append(out / f"{unused_name(own, used)}{ending}")
    return found


def write_label(stream: IO[str], event: Event) -> None:
    """Adds an event as Audacity imports labels: start, end and text with tabs between."""
    text = " ".join(event.label.split())
    with naming(stream.name):
        stream.write(f"{event.start:.6f}\t{event.end:.6f}\t{text}\n")
        stream.flush()


class RavenTable:
    """A selection table of Raven, a selection for each event.

    Args:
        stream: where it goes; its columns are written at once.
        recording: what the events are of.
        highest: of the frequencies that the classifier hears, in Hz.
    """

    def __init__(self, stream: IO[str], recording: Sound, highest: float) -> None:
        self.stream, self.file, self.highest = stream, file_of(recording), highest
        self._number = 0
        self._write([*RAVEN_COLUMNS, "Begin File", "Begin Path", "File Offset (s)", "Annotation", "Probability"])

    def write(self, event: Event) -> None:
        """Adds an event, with times from the beginning of the file."""
        self._number += 1
        start, end = f"{event.start:.6f}", f"{event.end:.6f}"
        probability = "" if event.probability is None else f"{event.probability:.4f}"
        band, place = ("0.0", f"{self.highest:.1f}"), (self.file.name, str(self.file.absolute()), start)
        label = (event.label, probability)
        self._write([str(self._number), "Spectrogram 1", "1", start, end, *band, *place, *label])

    def _write(self, cells: Sequence[str]) -> None:
        with naming(self.stream.name):
            self.stream.write("\t".join(" ".join(re.split(r"[\t\r\n]+", cell)) for cell in cells) + "\n")
            self.stream.flush()
