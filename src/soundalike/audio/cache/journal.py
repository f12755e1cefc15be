"""What has been decoded so far, so that an interrupted run goes on where it was."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from soundalike.audio.cache.index import Entry

_VERSION = 1
_FLUSH_EVERY = 1.0  # seconds of work that a killed process may lose


class Journal:
    """A file of lines, each with its CRC; the first says whose samples the others are about."""

    def __init__(self, path: Path, build: str, name: str, folder: str, sample_rate: int) -> None:
        """Opens a journal that goes on, or begins it where it is missing or about something else.

        Args:
            path: the file.
            build: names the file of samples.
            name: of the data set.
            folder: what the paths of the entries are relative to.
            sample_rate: in Hz.

        Raises:
            OSError: the place cannot be written to.
        """
        head = {"version": _VERSION, "build": build, "name": name, "folder": folder, "rate": sample_rate}
        self.waiting: list[bytes] = []
        self.flushed = time.monotonic()
        end = max((end for _, end in _values(path)), default=0) if read_head(path) == head else 0
        self.file: IO[bytes] = path.open("r+b" if end else "wb", buffering=0)
        if end:
            self.file.truncate(end)  # a torn last line
            self.file.seek(end)
        else:
            self.waiting.append(_line(head))
            self.flush()

    def add(self, entry: Entry) -> None:
        """Notes an entry, whose samples are in their file already."""
        self.waiting.append(_line(entry))
        if time.monotonic() - self.flushed > _FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Writes what was noted."""
        left = memoryview(b"".join(self.waiting))
        self.waiting.clear()
        while left:
            left = left[self.file.write(left) :]
        self.flushed = time.monotonic()

    def close(self) -> None:
        """Writes what was noted, and closes the file."""
        try:
            self.flush()
        finally:
            self.file.close()


def read_head(path: Path) -> dict[str, Any] | None:
    """What a journal says it is about; None where there is no such journal."""
    head = next(_values(path), (None, 0))[0]
    return head if isinstance(head, dict) and head.get("version") == _VERSION else None


def read_entries(path: Path) -> Iterator[Entry]:
    """The entries of a journal up to the first torn or damaged line."""
    for number, (value, _) in enumerate(_values(path)):
        if number:
            path_, stamp, *rest = value
            yield Entry(path_, (stamp[0], stamp[1], stamp[2]), *rest)


def _line(value: Any) -> bytes:
    text = json.dumps(value).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _values(path: Path) -> Iterator[tuple[Any, int]]:
    """The value of each line, and where in the file it ends."""
    end = 0
    try:
        with path.open("rb") as file:
            for line in file:
                crc, _, text = line.partition(b" ")
                if not line.endswith(b"\n") or crc != b"%08x" % zlib.crc32(text[:-1]):
                    return
                end += len(line)
                yield json.loads(text), end
    except OSError:
        return
