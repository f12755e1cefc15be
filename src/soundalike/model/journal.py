"""What was computed of files beside the file that it shall be in, as it comes, so that an interrupted run goes on."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundalike.audio.segment import Segment, Sound, file_of
from soundalike.core.errors import SoundalikeError
from soundalike.core.files import replacing

_SUFFIX = ".npz"


@dataclass(frozen=True, eq=False)
class Entry:
    """What was computed of a file.

    Attributes:
        vector: its embedding, or other numbers, (D,).
        note: what was wrong with it though it could be used, otherwise None.
    """

    vector: np.ndarray
    note: str | None


class Journal:
    """A folder of lots of entries, each of them a file that is there whole or not at all.

    An entry is found again for the same path, size and time of change, computed by the same model. Files that failed
    are not kept: the next run tries them again.

    Args:
        out: the file that the results shall be in.
        model: says which model computes, and all else that the numbers depend on.
    """

    def __init__(self, out: Path, model: str) -> None:
        self.folder = out.with_name(f".{out.name}.partial")
        self.model = model
        self._numbers = itertools.count()

    def found(self, files: Sequence[Sound]) -> dict[int, Entry]:
        """Row -> entry, of those files that were embedded before and have not changed since."""
        kept = self.kept()
        if not kept:
            return {}
        keys = [key_of(file) for file in files]
        return {row: kept[key] for row, key in enumerate(keys) if key in kept}

    def kept(self) -> dict[tuple[str, str], Entry]:
        """All entries, by what `key_of` gives of their files."""
        return {(path, stamp): entry for path, stamp, entry in self._entries()}

    def add(self, entries: Mapping[Sound, Entry], stamps: Mapping[Sound, str]) -> None:
        """Keeps what was computed of files.

        Args:
            entries: by file.
            stamps: what `stamps` said of them before they were read.

        Raises:
            SoundalikeError: the place cannot be written to.
        """
        if not entries:
            return
        lot = self._next()
        while lot.exists():  # of an earlier process with that number
            lot = self._next()
        try:
            # not synchronised: what a power cut has emptied is found damaged, and embedded again
            with replacing(lot, None, sync=False) as partial, partial.open("wb") as stream:
                np.savez(
                    stream,
                    model=np.array(self.model),
                    path=np.array([_name(path) for path in entries], dtype=str),
                    stamp=np.array([stamps[path] for path in entries], dtype=str),
                    note=np.array([entry.note or "" for entry in entries.values()], dtype=str),
                    length=np.array([len(entry.vector) for entry in entries.values()]),
                    vector=np.concatenate([entry.vector for entry in entries.values()]),
                )
        except OSError as error:
            with contextlib.suppress(OSError):
                self.folder.rmdir()  # where there is nothing in it
            raise SoundalikeError(
                f"{self.folder}: what was done so far cannot be kept there ({error.strerror}); make room, or give "
                f"another place."
            ) from None

    def _next(self) -> Path:
        return self.folder / f"{os.getpid()}-{next(self._numbers)}{_SUFFIX}"

    def remove(self) -> None:
        """Forgets everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _entries(self) -> Iterator[tuple[str, str, Entry]]:
        for lot in sorted(self.folder.glob(f"*{_SUFFIX}")):
            try:
                with np.load(lot, allow_pickle=False) as stored:
                    if str(stored["model"]) != self.model:
                        continue
                    columns = [stored[name] for name in ("path", "stamp", "note")]
                    vectors = np.split(stored["vector"], np.cumsum(stored["length"])[:-1])
                    rows = list(zip(*columns, vectors, strict=True))
            except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile):  # damaged: to be done again
                continue
            for path, stamp, note, vector in rows:
                yield str(path), str(stamp), Entry(vector, str(note) or None)


def stamps(files: Sequence[Sound]) -> dict[Sound, str]:
    """What tells a file from the same file changed: its size and time of change; empty where it cannot be found."""
    return {file: _stamp(file) for file in files}


def key_of(sound: Sound) -> tuple[str, str]:
    """What an entry is found by: the file or the segment, and what tells it from the same file changed."""
    return _name(sound), _stamp(sound)


def _name(sound: Sound) -> str:
    """What tells a file or a segment from another one."""
    name = os.path.abspath(file_of(sound))
    if not isinstance(sound, Segment):
        return name
    return f"{name}#t={sound.start!r},{sound.end!r}" + (f",{sound.channel}" if sound.channel is not None else "")


def _stamp(sound: Sound) -> str:
    try:
        status = file_of(sound).stat()
    except (OSError, ValueError):
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"
