"""What a cache holds: one row per file, in a few arrays."""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from soundalike.audio.cache.place import Place
from soundalike.core.files import replacing

_MAGIC = b"soundalike recordings 1\n"
_SAMPLES_MAGIC = b"soundalike samples 1\n"
HEADER = 64  # bytes in front of the samples
WIDTH = 2  # bytes of a sample

MISSING = (-1, -1, -1)
"""Fingerprint of a file that is not there."""
UNSETTLED = (-2, -2, -2)
"""No file's fingerprint: what is recorded with it is tried again next time."""

CLIP = np.dtype(
    [
        ("size", "<i8"),  # the file's, in bytes
        ("modified", "<i8"),  # in ns
        ("changed", "<i8"),  # in ns; two files swapped by renaming may agree in all the rest
        ("offset", "<i8"),  # in samples, from the beginning of the file of samples
        ("length", "<i8"),  # in samples; 0 where the file failed
        ("peak", "<f4"),  # the waveform's value at ±32767
        ("crc", "<u4"),  # of the samples
    ]
)


class Damaged(Exception):
    """A file of the cache that cannot be used, and why."""


class Entry(NamedTuple):
    """A row of the index while it is made."""

    path: str
    fingerprint: tuple[int, int, int]
    offset: int = 0
    length: int = 0
    peak: float = 0.0
    crc: int = 0
    reason: str = ""
    note: str = ""

    @property
    def stop(self) -> int:
        """Where its samples end, in bytes."""
        return (self.offset + self.length) * WIDTH

    def row(self) -> tuple[int | float, ...]:
        """It as a row of ``CLIP``."""
        return (*self.fingerprint, self.offset, self.length, self.peak, self.crc)


def fingerprint(path: str | Path) -> tuple[int, int, int]:
    """What tells whether a file has changed: size in bytes, times of modification and of status change in ns."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return MISSING
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Texts:
    """Many strings, held as two arrays: as a list, names of 100,000 files would take ten times the memory."""

    def __init__(self, blob: np.ndarray, ends: np.ndarray) -> None:
        """Texts out of what was saved.

        Args:
            blob: all texts in UTF-8, one after the other (bytes,), uint8.
            ends: where each text ends (n,).
        """
        self.blob, self.ends = blob, ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        """Packs texts."""
        # surrogatepass: a file name need not be valid Unicode
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> str:
        start = self.ends[row - 1] if row else 0
        return self.blob[start : self.ends[row]].tobytes().decode("utf-8", "surrogatepass")

    def filled(self) -> np.ndarray:
        """Which of the texts are not empty (n,), bool."""
        return np.diff(self.ends, prepend=0) > 0


@dataclass(frozen=True, eq=False)
class Index:
    """What a cache holds.

    Attributes:
        name: of the data set.
        folder: what ``paths`` are relative to.
        sample_rate: in Hz.
        build: names the file of samples.
        end: bytes of that file that this index knows; behind, another index may be being made.
        clips: one row per file (n,), dtype ``CLIP``.
        paths: of the files (n,).
        reasons: why a file failed (n,); empty where it did not.
        notes: what is wrong with a file that is used all the same (n,); mostly empty.
    """

    name: str
    folder: str
    sample_rate: int
    build: str
    end: int
    clips: np.ndarray
    paths: Texts
    reasons: Texts
    notes: Texts

    def __iter__(self) -> Iterator[Entry]:
        return (self.entry(row) for row in range(len(self.clips)))

    def entry(self, row: int) -> Entry:
        """A row of it."""
        *print_, offset, length, peak, crc = self.clips[row].item()
        stamp = (print_[0], print_[1], print_[2])
        return Entry(self.paths[row], stamp, offset, length, peak, crc, self.reasons[row], self.notes[row])

    def file(self, row: int) -> Path:
        """The file of a row."""
        return Path(os.path.join(self.folder, self.paths[row]))

    def save(self, path: Path) -> None:
        """Writes it, whole or not at all.

        Raises:
            OSError: the place cannot be written to.
        """
        meta = {"name": self.name, "folder": self.folder, "rate": self.sample_rate, "build": self.build}
        texts = {"paths": self.paths, "reasons": self.reasons, "notes": self.notes}
        arrays = {f"{name}_{part}": getattr(text, part) for name, text in texts.items() for part in ("blob", "ends")}
        stream = io.BytesIO()
        meta_bytes = np.frombuffer(json.dumps({**meta, "end": self.end}).encode(), np.uint8)
        np.savez(stream, meta=meta_bytes, clips=self.clips, **arrays)
        content = stream.getbuffer()
        with replacing(path, None) as partial, partial.open("wb") as file:
            file.write(_MAGIC + b"%08x\n" % zlib.crc32(content))
            file.write(content)

    @classmethod
    def load(cls, path: Path) -> Index:
        """Reads one that was saved.

        Raises:
            Damaged: it was not written by this version, or not like this.
            FileNotFoundError: there is none.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Damaged(f"its index cannot be read ({error.strerror or error})") from error
        head = len(_MAGIC) + 9
        if not content.startswith(_MAGIC):
            known = content.startswith(_MAGIC[: _MAGIC.rindex(b" ")])
            raise Damaged("it was made by another version" if known else "its index is damaged")
        body = memoryview(content)[head:]
        if content[len(_MAGIC) : head] != b"%08x\n" % zlib.crc32(body):
            raise Damaged("its index is damaged")
        try:
            with np.load(io.BytesIO(body), allow_pickle=False) as saved:
                meta = json.loads(saved["meta"].tobytes())
                paths, reasons, notes = (
                    Texts(saved[f"{name}_blob"], saved[f"{name}_ends"]) for name in ("paths", "reasons", "notes")
                )
                return cls(
                    str(meta["name"]),
                    str(meta["folder"]),
                    int(meta["rate"]),
                    str(meta["build"]),
                    int(meta["end"]),
                    saved["clips"].astype(CLIP, copy=False),
                    paths,
                    reasons,
                    notes,
                )
        except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise Damaged("its index is damaged") from error


def header(build: str) -> bytes:
    """The first ``HEADER`` bytes of a file of samples."""
    return (_SAMPLES_MAGIC + build.encode()).ljust(HEADER, b"\n")


def check_samples(path: Path, build: str) -> int:
    """Makes sure that a file of samples is the one of ``build``.

    Returns:
        Its size in bytes.

    Raises:
        Damaged: it is another, or not there.
    """
    try:
        with path.open("rb") as file:
            if file.read(HEADER) != header(build):
                raise Damaged("its samples are damaged")
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        raise Damaged(f"its samples cannot be read ({error.strerror or error})") from error


def load_index(place: Place) -> tuple[Index | None, int, str | None]:
    """The index of a cache, as far as it can be used.

    Args:
        place: of the cache.

    Returns:
        The index, None where there is none that could be used; how many bytes of samples it may refer to; what is
        wrong with the cache, None if nothing.
    """
    try:
        index = Index.load(place.index)
        size = check_samples(place.samples(index.build), index.build)
    except FileNotFoundError:
        return None, 0, None
    except Damaged as damage:
        return None, 0, str(damage)
    return index, min(size, index.end), "its samples are cut short" if size < index.end else None


def load_marks(place: Place) -> set[tuple[str, int]]:
    """The (path, offset) of the clips that were found damaged."""
    marks = set()
    with contextlib.suppress(OSError):
        for line in place.marks.read_bytes().splitlines():
            with contextlib.suppress(ValueError, TypeError):
                path, offset = json.loads(line)
                marks.add((str(path), int(offset)))
    return marks


def mark(place: Place, path: str, offset: int) -> bool:
    """Notes that a clip is damaged, so that it is decoded anew the next time the cache is opened.

    Returns:
        Whether it could be noted.
    """
    try:
        with place.marks.open("ab") as file:
            file.write(json.dumps([path, offset]).encode() + b"\n")
    except OSError:
        return False
    return True
