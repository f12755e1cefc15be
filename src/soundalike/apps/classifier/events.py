"""What is kept of a time line's events, and clips of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from soundalike.apps.classifier.recordings import Event
from soundalike.audio.cutting import cut
from soundalike.audio.segment import Sound, file_of
from soundalike.core.errors import SoundalikeError, nearest
from soundalike.core.files import make_folder, unused_name
from soundalike.data.tables import read_table

CONTEXT = 0.5
"""Seconds before and after an event that its clip has, unless others are asked for."""
_LONGEST_LABEL = 60  # characters of a file name


def read_least(given: str, classes: Sequence[str], usual: float = 0.0) -> dict[str, float]:
    """The least probability of an event of each class.

    Args:
        given: a number in [0, 1] for all classes, or the path of a table with the columns ``label`` and ``min``.
        classes: those of the classifier.
        usual: of a class that is not in the table.

    Raises:
        SoundalikeError: it is neither, a probability is not in [0, 1], or a label is none of the classes.
    """
    value = _probability(given)
    if value is not None:
        return dict.fromkeys(classes, value)
    source = Path(given)
    if not source.is_file():
        raise SoundalikeError(
            f"--min is {given!r}: give a probability from 0 to 1, or a table with the columns label and min."
        )
    table = read_table(source, ("label", "min"))
    least = dict.fromkeys(classes, usual)
    for number, cells in zip(table.numbers, table.rows(), strict=True):
        value = _probability(cells["min"])
        if cells["label"] not in least:
            known = nearest(cells["label"], classes)
            raise SoundalikeError(f"{source}: row {number}: no class is called {cells['label']!r}: {known}")
        if value is None:
            raise SoundalikeError(
                f"{source}: row {number}, column 'min': {cells['min']!r} is not a probability from 0 to 1."
            )
        least[cells["label"]] = value
    return least


def is_likely(event: Event, least: Mapping[str, float]) -> bool:
    """Whether an event is as probable as its class asks for; none of these always is."""
    return event.probability is None or event.probability >= least.get(event.label, 0.0)


class Cutter:
    """Writes each event as a WAV file at its source's rate and channels, named by recording, time and label.

    Args:
        folder: where the clips go; it is made.
        context: seconds before and after an event that its clip has.

    Raises:
        SoundalikeError: the folder cannot be made.
    """

    def __init__(self, folder: Path, context: float = CONTEXT) -> None:
        self.folder, self.context = make_folder(folder), context
        self._used: set[str] = set()

    def write(self, recording: Sound, event: Event) -> Path:
        """Cuts an event out.

        Args:
            recording: in which it was found.
            event: with times from the beginning of the file.

        Returns:
            The file that was written.

        Raises:
            AudioError: the recording cannot be read.
            SoundalikeError: the clip cannot be written.
        """
        file = file_of(recording)
        label = re.sub(r"[^\w.-]+", "_", event.label).strip("_.")[:_LONGEST_LABEL] or "event"
        base = f"{file.stem}_{event.start:.2f}-{event.end:.2f}s_{label}"
        out = self.folder / f"{unused_name(base, self._used, '{name}_{number}')}.wav"
        cut(file, max(0.0, event.start - self.context), event.end + self.context, out)
        return out


def _probability(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
