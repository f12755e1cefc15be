"""A file that is being downloaded: what of it is there, its checksums so far, and what the server said of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from soundalike.core.errors import SoundalikeError
from soundalike.core.files import write_whole

_BLOCK = 1 << 20


def digests(checksum: str | None) -> dict[str, Any]:
    """The hashes to compute: SHA-256, and what the published checksum is of."""
    kinds = {"sha256", *([checksum.partition(":")[0]] if checksum else [])}
    return {kind: hashlib.new(kind, usedforsecurity=False) for kind in sorted(kinds)}


def digest_file(
    path: Path, checksum: str | None, show: Callable[[int], None] = lambda done: None
) -> tuple[dict[str, Any], int]:
    """The hashes over a file, and its length.

    Args:
        path: the file.
        checksum: the published one, for its kind.
        show: told how many bytes are done.
    """
    hashes, length = digests(checksum), 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            for running in hashes.values():
                running.update(block)
            length += len(block)
            show(length)
    return hashes, length


def part_of(archive: Path) -> Path:
    """Where an archive lies until it is whole and has been verified."""
    return archive.with_name(f"{archive.name}.part")


def remove_part(archive: Path) -> None:
    """Deletes it, and what was noted of it."""
    part_of(archive).unlink(missing_ok=True)
    _notes_of(archive).unlink(missing_ok=True)


def _notes_of(archive: Path) -> Path:
    return archive.with_name(f"{archive.name}.part.json")


class Part:
    """``ARCHIVE.part``, and beside it ``ARCHIVE.part.json`` with the address, validators and length of the whole.

    Args:
        archive: the file that it is to become.
        address: where it comes from; a part from another address is not gone on with.
        checksum: the published one, or None.
    """

    def __init__(self, archive: Path, address: str, checksum: str | None) -> None:
        self.archive, self.address, self.checksum = archive, address, checksum
        self.path = part_of(archive)
        self._notes = _notes_of(archive)
        self.known = self._read_notes()
        self.hashes, self.length = digests(checksum), 0
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> Part:
        there = self.path.stat().st_size if self.path.is_file() else 0
        certain = self.validator or self.checksum or self.total == there
        if there and certain and self.known.get("address") == self.address:
            self.hashes, self.length = digest_file(self.path, self.checksum)
        self._stream = self.path.open("ab", buffering=0)
        if not self.length:
            self.restart()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._file.close()
        if not self.length:  # nothing to go on with
            remove_part(self.archive)

    @property
    def validator(self) -> str:
        """What tells that the file on the server is still the same: a strong entity tag, or its date. Or nothing."""
        tag = str(self.known.get("etag") or "")
        return tag if tag.startswith('"') else str(self.known.get("modified") or "")

    @property
    def total(self) -> int | None:
        """Length of the whole in bytes, if the server has said it."""
        total = self.known.get("total")
        return total if isinstance(total, int) else None

    def remember(self, etag: str | None, modified: str | None, total: int | None) -> None:
        """Notes what the server says of the file that comes now."""
        self.known = {"address": self.address, "etag": etag, "modified": modified, "total": total}
        write_whole(self._notes, json.dumps(self.known, indent=1) + "\n", "what is known of the download")

    def restart(self) -> None:
        """Drops what is there."""
        self._file.truncate(0)
        self.hashes, self.length, self.known = digests(self.checksum), 0, {}
        self._notes.unlink(missing_ok=True)

    def write(self, block: bytes) -> None:
        """Appends bytes."""
        try:
            view = memoryview(block)
            while view:  # an unbuffered file may take less than it is given
                view = view[self._file.write(view) :]
        except OSError as error:
            raise SoundalikeError(
                f"{self.path}: cannot be written ({error.strerror}); the same command goes on from what is there."
            ) from error
        finally:
            done = len(block) - len(view)
            for running in self.hashes.values():
                running.update(block[:done])
            self.length += done

    def finish(self) -> None:
        """Notes that it is whole, for a server that did not say how long that is."""
        os.fsync(self._file.fileno())  # before it may get the archive's name
        self.remember(self.known.get("etag"), self.known.get("modified"), self.length)

    @property
    def _file(self) -> IO[bytes]:
        if self._stream is None:
            raise ValueError("a part is used as a context manager")
        return self._stream

    def _read_notes(self) -> dict[str, Any]:
        try:
            notes = json.loads(self._notes.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}
