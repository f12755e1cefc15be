"""A folder of recordings to an index, and an index to what the folder holds now."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.apps.search.similarity import reference
from soundalike.apps.search.store import Broken, Entry, Maker, Store, write
from soundalike.audio import read
from soundalike.audio.background import Failure, file_progress
from soundalike.audio.segment import Sound
from soundalike.core.errors import SoundalikeError
from soundalike.core.files import check_file, missing
from soundalike.model.embed_files import Embedder, embed_files

SAVE_EVERY = 20.0
"""Seconds of work that an interruption may cost at most, or ten times as long as saving takes."""
_LOT = 64  # files that are embedded before the index can be saved
_LARGE_LOT = 256 << 20  # bytes of files that end a lot early


@dataclass(frozen=True)
class Updated:
    """What an update did.

    Attributes:
        new: files that were not in the index.
        changed: files that were, with other contents.
        gone: sounds of the index whose files are no more.
        kept: files that were left as they are, unread or found to have the same contents.
        failures: files of the folder that are not in the index, and why; also those found broken earlier.
        notes: files of this update that are not whole but could be used.
    """

    new: int
    changed: int
    gone: int
    kept: int
    failures: list[Failure]
    notes: list[Failure]


@dataclass(frozen=True)
class _File:
    """A file of the folder as it is now."""

    name: str
    path: Path
    size: int
    modified: int


def check_folder(folder: str | Path) -> Path:
    """The folder to index as a path.

    Raises:
        SoundalikeError: it is none.
    """
    folder = Path(folder)
    if not folder.exists():
        raise SoundalikeError(missing(folder, "no such folder."))
    if not folder.is_dir():
        raise SoundalikeError(f"{folder}: not a folder; give the one that holds the recordings.")
    return folder


def check_out(out: str | Path, folder: str | Path) -> Store | None:
    """What an index holds that is to be brought up to date, to be asked before a model is loaded.

    Args:
        out: the file; its folder is made where it is missing.
        folder: what will be indexed.

    Returns:
        The index; None where there is none yet.

    Raises:
        SoundalikeError: the place cannot be written to, holds another file, or the index of another folder.
    """
    out = Path(out)
    check_file(out, make=True)
    if not os.path.lexists(out):
        return None
    try:
        store = Store(out)
    except SoundalikeError as error:
        raise SoundalikeError(
            f"{str(error).partition(';')[0].rstrip('.')}; give another --out, or remove it."
        ) from None
    if store.folder.is_dir() and not os.path.samefile(store.folder, folder):
        raise SoundalikeError(f"{out}: is the index of {store.folder}; give another --out for {folder}.")
    return store


def update(folder: str | Path, out: str | Path, embedder: Embedder, maker: Maker, progress: bool = False) -> Updated:
    """Makes an index of a folder, or brings it up to date. Only what is new or changed is embedded.

    A file with the size and the time of its last change as before is not read. The index is saved now and then, so
    that an update that was interrupted, however, goes on where it was when it is called again.

    Args:
        folder: searched for audio files, and so are the folders below it.
        out: the index's file.
        embedder: turns sounds into vectors.
        maker: which model that is.
        progress: whether to show progress, with rate and time left, on stderr.

    Raises:
        SoundalikeError: there is no such folder or no audio in it, ``out`` is no place for an index, holds one that
            another model made, or is being written by another run.
    """
    folder = check_folder(folder)
    check_out(out, folder)
    with _alone(Path(out)):
        store = check_out(out, folder)
        if store is not None and store.maker.fingerprint != maker.fingerprint:
            raise SoundalikeError(
                f"{out}: was made with another model ({store.maker.model}); give that one, or another --out."
            )
        return _Update(folder, Path(out), embedder, maker, store).run(progress)


class _Update:
    def __init__(self, folder: Path, out: Path, embedder: Embedder, maker: Maker, store: Store | None) -> None:
        self.folder, self.out, self.embedder, self.maker, self.store = folder, out, embedder, maker, store
        self.reference = reference(embedder) if store is None else store.reference
        self.entries: list[Entry | None] = [] if store is None else list(store.entries)  # None: shall go
        self.fresh: list[tuple[Entry, np.ndarray]] = []  # of this update, and not saved yet
        self.broken = {} if store is None else {each.name: each for each in store.broken}
        self.notes: list[Failure] = []
        self.saved, self.saving = time.monotonic(), 0.0
        self._number()

    def _number(self) -> None:
        """Where the saved sounds are, by name and by contents."""
        self.rows = {entry.name: row for row, entry in enumerate(self.entries) if entry is not None}
        self.contents = {entry.digest: row for row, entry in enumerate(self.entries) if entry is not None}

    def run(self, progress: bool) -> Updated:
        files, gone_files = self._files()
        names = {file.name for file in files} | gone_files.keys()
        before = {entry.name: entry.digest for entry in self.entries if entry is not None}
        gone = [name for name in before if name not in names]
        self.broken = {name: each for name, each in self.broken.items() if name in names}
        for name, reason in gone_files.items():
            self._fail(_File(name, self.folder / name, 0, -1), reason)
        todo = [file for file in files if not self._known(file)]
        try:
            with file_progress(len(todo), progress and bool(todo), "indexing") as advance:
                for lot in _lots(todo):
                    self._embed(lot)
                    advance(len(lot))
                    if time.monotonic() - self.saved > max(SAVE_EVERY, 10 * self.saving):
                        self._save()
        except BaseException:  # whatever it was, what is done is kept
            if self.fresh:
                self._save()
            raise
        for name in gone:  # not earlier: a file that was only moved has its vector from there
            self.entries[self.rows[name]] = None
        self._save()
        now = {entry.name: entry.digest for entry in self.entries if entry is not None}
        return Updated(
            new=sum(name not in before for name in now),
            changed=sum(before.get(name, digest) != digest for name, digest in now.items()),
            gone=len(gone),
            kept=sum(before.get(name) == digest for name, digest in now.items()),
            failures=[Failure(self.folder / name, self.broken[name].reason) for name in sorted(self.broken)],
            notes=self.notes,
        )

    def _files(self) -> tuple[list[_File], dict[str, str]]:
        """What the folder holds, and what cannot be looked at."""
        files, failed = [], {}
        for path in read.find(self.folder):
            name = path.relative_to(self.folder).as_posix()
            try:
                status = path.stat()
            except OSError as error:
                failed[name] = f"cannot be opened ({error.strerror})."
                continue
            if stat.S_ISREG(status.st_mode):
                files.append(_File(name, path, status.st_size, status.st_mtime_ns))
            else:  # opening a pipe would wait for ever
                failed[name] = "is not a regular file."
        return files, failed

    def _known(self, file: _File) -> bool:
        """Whether a file is as it was."""
        row = self.rows.get(file.name)
        known: Entry | Broken | None = self.broken.get(file.name) if row is None else self.entries[row]
        return known is not None and (known.size, known.modified) == (file.size, file.modified)

    def _embed(self, lot: Sequence[_File]) -> None:
        with ThreadPoolExecutor(2) as pool:
            digests = dict(zip((file.name for file in lot), pool.map(_digest, lot), strict=True))
        unread = []
        for file in lot:
            digest = digests[file.name]
            if isinstance(digest, OSError):
                self._fail(replace(file, modified=-1), f"cannot be opened ({digest.strerror}).")
            elif (row := self.contents.get(digest)) is not None:
                self._take(file, digest, row)
            else:
                unread.append(file)
        embedded = embed_files([file.path for file in unread], {"model": self.embedder})
        self.notes += embedded.notes
        by_path: dict[Sound, _File] = {file.path: file for file in unread}
        for path, vector in zip(embedded.paths, embedded.vectors["model"], strict=True):
            file = by_path[path]
            self._put(Entry(file.name, file.size, file.modified, str(digests[file.name])), vector)
        for failure in embedded.failures:
            self._fail(by_path[failure.path], failure.reason)

    def _take(self, file: _File, digest: str, row: int) -> None:
        """A file with contents that the index has."""
        entry = Entry(file.name, file.size, file.modified, digest)
        own = self.rows.get(file.name)
        known = None if own is None else self.entries[own]
        if own is not None and known is not None and known.digest == digest:  # only its time has changed
            self.entries[own] = entry
        elif self.store is not None:
            self._put(entry, self.store.vector(row))

    def _put(self, entry: Entry, vector: np.ndarray) -> None:
        self._drop(entry.name)
        self.fresh.append((entry, vector))

    def _fail(self, file: _File, reason: str) -> None:
        self._drop(file.name)
        self.broken[file.name] = Broken(file.name, file.size, file.modified, reason)

    def _drop(self, name: str) -> None:
        self.broken.pop(name, None)
        if (row := self.rows.pop(name, None)) is not None:
            self.entries[row] = None

    def _save(self) -> None:
        started = time.monotonic()
        stored = [entry for entry in self.entries if entry is not None]
        entries = [*stored, *(entry for entry, _ in self.fresh)]
        broken = [self.broken[name] for name in sorted(self.broken)]
        write(self.out, self.folder.resolve(), self.maker, broken, entries, self._pieces(), self.reference)
        self.store, self.entries, self.fresh = Store(self.out, checked=True), list(entries), []
        self._number()
        self.saved = time.monotonic()
        self.saving = self.saved - started

    def _pieces(self) -> Iterator[np.ndarray]:
        if self.store is not None:
            stay = np.array([entry is not None for entry in self.entries], bool)
            for start, piece in self.store.pieces():
                yield piece[stay[start : start + len(piece)]]
        for _, vector in self.fresh:
            yield vector[None]


def _lots(files: Sequence[_File]) -> Iterator[list[_File]]:
    lot: list[_File] = []
    for file in files:
        lot.append(file)
        if len(lot) == _LOT or sum(each.size for each in lot) > _LARGE_LOT:
            yield lot
            lot = []
    if lot:
        yield lot


def _digest(file: _File) -> str | OSError:
    try:
        return digest(file.path)
    except OSError as error:
        return error


def digest(path: Path) -> str:
    """What tells the contents of a file from those of any other."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, _blake2).hexdigest()


def _blake2() -> Any:
    return hashlib.blake2b(digest_size=16)


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keeps every other run from writing the index."""
    from filelock import FileLock, Timeout

    lock = FileLock(out.with_name(f".{out.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SoundalikeError(
            f"{out}: another run is writing this index; wait for it, or give another --out."
        ) from None
    try:
        yield
    finally:
        lock.release()
