"""Where caches of decoded recordings lie, and what one consists of on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from soundalike.core.errors import SoundalikeError
from soundalike.core.files import CACHE_VARIABLE, PART, cache_folder


def recordings_folder() -> Path:
    """The folder of the caches of decoded recordings, a folder each."""
    return cache_folder() / "recordings"


@dataclass(frozen=True)
class Place:
    """The folder of one cache.

    Attributes:
        path: the folder. Its name is the cache's key.
    """

    path: Path

    @classmethod
    def of(cls, name: str, folder: str, sample_rate: int) -> Place:
        """The place of the cache of a data set.

        Args:
            name: of the data set.
            folder: absolute path of the folder that its files lie below.
            sample_rate: in Hz.
        """
        what = json.dumps([name, folder, sample_rate]).encode()  # ASCII, whatever a file name holds
        legible = re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")[:40] or "recordings"
        return cls(recordings_folder() / f"{legible}-{sample_rate}-{hashlib.sha256(what).hexdigest()[:12]}")

    @property
    def index(self) -> Path:
        """What the cache holds; it is there once the cache has been complete."""
        return self.path / "index"

    @property
    def journal(self) -> Path:
        """What has been decoded since the index was written."""
        return self.path / "journal"

    @property
    def marks(self) -> Path:
        """Clips of the index that were found damaged when they were read."""
        return self.path / "damaged"

    def samples(self, build: str) -> Path:
        """The samples that an index or a journal refers to by ``build``."""
        return self.path / f"samples-{build}.bin"

    def remains(self, build: str | None = None) -> list[Path]:
        """Files of samples other than that of ``build``, and an index that was not finished."""
        found = (*self.path.glob("samples-*.bin"), *self.path.glob(f".index*{PART}"))
        return [path for path in found if build is None or path != self.samples(build)]

    def cleared(self) -> bool:
        """Whether it is what a run that was killed while it removed the cache has left: no index and no journal."""
        try:
            files = set(self.path.iterdir())
        except OSError:
            return False
        return files <= {*self.remains(), self.marks}

    def size(self) -> int:
        """Bytes on disk."""
        return folder_size(self.path)

    @contextlib.contextmanager
    def locked(self, name: str, wait: bool = True) -> Iterator[None]:
        """Keeps every other process from changing the cache.

        Args:
            name: of the data set, for the line that says what is waited for.
            wait: whether to wait for another process that holds it.

        Raises:
            filelock.Timeout: another process holds it, and ``wait`` is False.
            OSError: the place cannot be written to.
        """
        from filelock import FileLock, Timeout

        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Beside the folder: a lock inside it would be removed with it, under the hands of the next one who waits.
        lock = FileLock(self.path.with_name(f"{self.path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise
            print(f"waiting for another run that is caching {name} …", file=sys.stderr, flush=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder; what cannot be looked at counts nothing."""
    total = 0
    for parent, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, file)).st_size
    return total


def amount(count: float) -> str:
    """Bytes as a person reads them: ``640 MB``, ``1.2 kB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def unwritable(error: OSError) -> SoundalikeError:
    """The sentence for a cache that cannot be written."""
    return SoundalikeError(
        f"{cache_folder()}: decoded recordings cannot be cached there ({error.strerror or error}); "
        f"make room there, or set {CACHE_VARIABLE} to another folder."
    )


def unremovable(place: Place, error: OSError) -> SoundalikeError:
    """The sentence for a cache that cannot be removed."""
    return SoundalikeError(
        f"{place.path}: the cache cannot be removed ({error.strerror or error}); "
        "see who may write to that folder, or remove it by hand."
    )
