"""The sounds of a folder that are put before a person: files, and pieces of long recordings."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from soundalike.apps.review.labels import identified
from soundalike.audio import read
from soundalike.audio.background import Failure
from soundalike.audio.segment import Segment, Sound, span_of
from soundalike.core.errors import SoundalikeError

_WHOLE = 1.5  # times a piece, up to which a recording is not cut
_LEAST = 0.5  # of a piece, that the last one has at least


@dataclass(frozen=True)
class Item:
    """A sound of the queue.

    Attributes:
        key: what it is asked for by: the same whenever the folder is opened, and no path.
        sound: file, or piece of a recording, as `identified` gives it.
        name: of the file within the folder, readable.
    """

    key: str
    sound: Sound
    name: str


def items_of(
    folder: Path, every: float | None = None, length: float | None = None
) -> tuple[list[Item], list[Failure]]:
    """The sounds of a folder, and the files that are left out because they lead out of it.

    Args:
        folder: an existing one.
        every: seconds from the beginning of a piece of a longer recording to that of the next; not cut where not
            given.
        length: of a piece, in seconds; ``every`` where not given.

    Raises:
        SoundalikeError: there are none, or a number is not above 0.
    """
    for name, value in (("--every", every), ("--length", length)):
        if value is not None and not 0 < value < float("inf"):
            raise SoundalikeError(f"{name} is {value:g}: give a number of seconds above 0.")
    if length is not None and every is None:
        raise SoundalikeError("--length is that of the pieces into which --every cuts recordings; give both.")
    top = Path(os.path.abspath(folder))
    found, left_out = [], []
    for file in read.find(top):
        if not is_inside(file, top):
            left_out.append(
                Failure(file, f"leads out of {folder}, and is not shown; give the folder that it lies in.")
            )
            continue
        name = os.fsencode(file.relative_to(top).as_posix()).decode("utf-8", "replace")
        for sound in map(identified, _pieces(file, every, length or every)):
            told = f"{os.fsencode(file.relative_to(top))!r} {span_of(sound)}"
            found.append(Item(hashlib.blake2b(told.encode(), digest_size=10).hexdigest(), sound, name))
    if not found:
        raise SoundalikeError(f"{folder}: all of its {len(left_out)} sounds lead out of it; give another folder.")
    return found, left_out


def is_inside(file: Path, folder: Path) -> bool:
    """Whether a file lies in a folder, links followed, and is there."""
    real, top = os.path.realpath(file), os.path.realpath(folder)
    return os.path.isfile(real) and os.path.commonpath([real, top]) == top


def _pieces(file: Path, every: float | None, length: float | None) -> Sequence[Sound]:
    total = read.duration(file) if every is not None else None
    if every is None or length is None or total is None or total <= _WHOLE * length:
        return [file]
    found: list[Sound] = []
    while (start := len(found) * every) + _LEAST * length <= total or not found:
        found.append(Segment(file, start, min(start + length, total)))
    return found


def named(item: Item) -> dict[str, object]:
    """Key, name and times of a sound, for a page."""
    start, end = span_of(item.sound)
    return {"key": item.key, "name": item.name, "start": start, "end": end}
