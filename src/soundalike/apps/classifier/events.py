"""What is kept of a time line's events, and clips of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
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
        given: a number in [0, 1] for all classes; or the path of a table with the columns ``label`` and ``min``, or of
            a YAML file with a number for each class.
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
    least = dict.fromkeys(classes, usual)
    for where, label, text in _of_yaml(source) if source.suffix.lower() in (".yaml", ".yml") else _of_table(source):
        value = _probability(text)
        if label not in least:
            raise SoundalikeError(f"{where}: no class is called {label!r}: {nearest(label, classes)}")
        if value is None:
            raise SoundalikeError(f"{where}: the least of {label!r}, {text!r}, is not a probability from 0 to 1.")
        least[label] = value
    return least


def _of_table(source: Path) -> Iterator[tuple[str, str, str]]:
    table = read_table(source, ("label", "min"))
    for number, cells in zip(table.numbers, table.rows(), strict=True):
        yield f"{source}: row {number}", cells["label"], cells["min"]


def _of_yaml(source: Path) -> Iterator[tuple[str, str, str]]:
    from soundalike.core import yaml_text

    try:
        contents = yaml_text.parse(source.read_text(encoding="utf-8"))
    except (yaml_text.NotYAMLError, OSError, UnicodeDecodeError) as error:
        reason = (str(error).splitlines() or ["not text"])[0].rstrip(".")
        raise SoundalikeError(f"{source}: cannot be read as YAML ({reason}).") from None
    if not isinstance(contents, dict):
        raise SoundalikeError(f"{source}: give a least probability for each class, a line each, such as owl: 0.8.")
    for label, value in contents.items():
        yield str(source), str(label), str(value)


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
