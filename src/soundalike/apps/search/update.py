"""Recordings of a folder or a table to an index, and an index to what is there now."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.apps.search.similarity import reference
from soundalike.apps.search.store import Broken, Entry, Maker, Settings, Store, sound_of, stored, write
from soundalike.audio import read, windows
from soundalike.audio.background import Failure, failure, file_progress, time_progress
from soundalike.audio.segment import Segment, Sound, file_of, span_of
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.core.files import check_file, missing
from soundalike.data import segments
from soundalike.model.embed_files import Embedder, embed_files

SAVE_EVERY = 20.0
"""Seconds of work that an interruption may cost at most, or ten times as long as saving takes."""
_LOT = 64  # files that are embedded before the index can be saved
_LARGE_LOT = 256 << 20  # bytes of files that end a lot early


WINDOW = 1.0
"""Seconds that are heard around each moment at least, unless others are asked for."""
Span = tuple[float | None, float | None]
"""Where a sound of an index lies in its file: start and end in seconds."""
_WHOLE: Span = (None, None)


@dataclass(frozen=True)
class Updated:
    """What an update did.

    Attributes:
        new: files that were not in the index.
        changed: files that were, with other contents or other segments.
        gone: files of the index that are no more.
        kept: files that were left as they are, unread or found to have the same contents.
        failures: files and segments that are not in the index, and why; also those found broken earlier.
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
    """A file as it is now."""

    name: str
    path: Path
    size: int
    modified: int
    spans: tuple[Span, ...] = (_WHOLE,)
    """The parts of it that are to be indexed, in seconds."""
    sounds: tuple[Sound, ...] = ()
    """The same, as a table lists them."""


@dataclass(frozen=True)
class Source:
    """What is to be indexed.

    Attributes:
        folder: that all files lie in.
        table: that lists them; None where they are all files of the folder.
        sounds: of the table, None of a folder.
    """

    folder: Path
    table: Path | None = None
    sounds: Sequence[Sound] | None = None


def check_source(source: str | Path | Source) -> Source:
    """A folder of recordings, or a table of recordings and segments of them, to index.

    Raises:
        SoundalikeError: it is none, or the table is wrong.
    """
    if isinstance(source, Source):
        return source
    place = Path(source)
    if not segments.is_listing(place) or place.is_dir():
        return Source(_check_folder(place))
    sounds = segments.read_sounds(place)
    try:
        folder = Path(os.path.commonpath([os.path.dirname(os.path.abspath(file_of(sound))) for sound in sounds]))
    except ValueError:  # no sound, or several drives
        raise SoundalikeError(f"{place}: its files have no folder in common; index each drive alone.") from None
    return Source(folder, place, sounds)


def _check_folder(folder: Path) -> Path:
    if not folder.exists():
        raise SoundalikeError(missing(folder, "no such folder."))
    if not folder.is_dir():
        raise SoundalikeError(
            f"{folder}: not a folder; give the one that holds the recordings, or a table that lists them."
        )
    return folder


def check_out(
    out: str | Path, source: str | Path | Source, every: float | None = None, window: float | None = None
) -> Store | None:
    """What an index holds that is to be brought up to date, to be asked before a model is loaded.

    Args:
        out: the file; its folder is made where it is missing.
        source: what will be indexed.
        every: as `update` takes it.
        window: as `update` takes it.

    Returns:
        The index; None where there is none yet.

    Raises:
        SoundalikeError: the place cannot be written to, holds another file, or the index of something else.
    """
    out, source = Path(out), check_source(source)
    check_file(out, make=True)
    if not os.path.lexists(out):
        _settings(source, every, window, None)
        return None
    try:
        store = Store(out)
    except SoundalikeError as error:
        raise SoundalikeError(
            f"{str(error).partition(';')[0].rstrip('.')}; give another --out, or remove it."
        ) from None
    before, wanted = store.settings.table, source.table
    if wanted is not None or before:
        same = wanted is not None and os.path.abspath(wanted) == before
    else:
        same = not store.folder.is_dir() or os.path.samefile(store.folder, source.folder)
    if not same:
        raise SoundalikeError(
            f"{out}: is the index of {before or store.folder}; give another --out for {wanted or source.folder}."
        )
    if _settings(source, every, window, store.settings) != store.settings:
        made = store.settings
        how = "of whole sounds" if made.every is None else f"of {made.window:g} s every {made.every:g} s"
        raise SoundalikeError(f"{out}: is an index {how}; give another --out, or leave out --every and --window.")
    return store


def _settings(source: Source, every: float | None, window: float | None, before: Settings | None) -> Settings:
    """What an index shall be of; as before where nothing else is asked for."""
    if every is None and window is None and before is not None:
        return before
    for name, value in (("every", every), ("window", window)):
        if value is not None and not 0.01 <= value <= 3600:
            raise SoundalikeError(f"{name} is {value:g} s: give 0.01 to 3600.")
    every = before.every if before is not None and every is None else every
    if window is not None and every is None:
        raise SoundalikeError("window is about moments: give every with it, such as 1.0 s.")
    if every is not None and source.sounds is not None and any(isinstance(each, Segment) for each in source.sounds):
        raise SoundalikeError(f"{source.table}: lists segments; leave out every, which is for whole recordings.")
    if every is not None and window is None:
        window = max(every, WINDOW) if before is None or before.window is None else before.window
    table = "" if source.table is None else os.path.abspath(source.table)
    return Settings(table, every, window, 1.0 if before is None else before.speed)


def update(
    source: str | Path | Source,
    out: str | Path,
    embedder: Embedder,
    maker: Maker,
    progress: bool = False,
    every: float | None = None,
    window: float | None = None,
) -> Updated:
    """Makes an index of a folder or a table, or brings it up to date. Only what is new or changed is embedded.

    A file with the size and the time of its last change as before is not read. The index is saved now and then, so
    that an update that was interrupted, however, goes on where it was when it is called again.

    Args:
        source: a folder, searched for audio files, and so are the folders below it; or a table that lists files, or
            segments of them, as `data.segments` reads it.
        out: the index's file.
        embedder: turns sounds into vectors.
        maker: which model that is.
        progress: whether to show progress, with rate and time left, on stderr.
        every: seconds from one moment of a recording to the next, each of which is a sound of the index; whole files
            and segments where not given, or what the index was made with.
        window: seconds that are heard around each moment; ``every``, and 1 s at least, where not given.

    Raises:
        SoundalikeError: there is no such folder or no audio in it, ``out`` is no place for an index, holds one that
            another model made or that is of something else, or is being written by another run.
    """
    source = check_source(source)
    check_out(out, source, every, window)
    with _alone(Path(out)):
        store = check_out(out, source, every, window)
        if store is not None and store.maker.fingerprint != maker.fingerprint:
            raise SoundalikeError(
                f"{out}: was made with another model ({store.maker.model}); give that one, or another --out."
            )
        settings = _settings(source, every, window, None if store is None else store.settings)
        settings = replace(settings, speed=getattr(embedder, "speed", 1.0))
        return _Update(source, Path(out), embedder, maker, store, settings).run(progress)


class _Update:
    def __init__(
        self, source: Source, out: Path, embedder: Embedder, maker: Maker, store: Store | None, settings: Settings
    ) -> None:
        self.source, self.folder, self.settings = source, source.folder, settings
        self.out, self.embedder, self.maker, self.store = out, embedder, maker, store
        self.reference = reference(embedder) if store is None else store.reference
        self.entries: list[Entry | None] = [] if store is None else list(store.entries)  # None: shall go
        self.fresh: list[tuple[Entry, np.ndarray]] = []  # of this update, and not saved yet
        self.broken: dict[str, dict[Span, Broken]] = {}
        for each in [] if store is None else store.broken:
            self._fail(each)
        self.notes: list[Failure] = []
        self.saved, self.saving = time.monotonic(), 0.0
        self._number()

    def _number(self) -> None:
        """Where the saved sounds are, by file and by contents."""
        self.rows: dict[str, dict[Span, int]] = {}
        self.contents: dict[str, dict[Span, int]] = {}
        for row, entry in enumerate(self.entries):
            if entry is not None:
                self.rows.setdefault(entry.name, {})[entry.start, entry.end] = row
                self.contents.setdefault(entry.digest, {})[entry.start, entry.end] = row

    def run(self, progress: bool) -> Updated:
        files, gone_files = self._files()
        names = {file.name for file in files} | gone_files.keys()
        before = self._held()
        gone = [name for name in before if name not in names]
        wanted = {file.name: file.spans for file in files}
        self.broken = {
            name: {span: each for span, each in spans.items() if span in wanted[name]}
            for name, spans in self.broken.items()
            if name in wanted
        }
        for name, reason in gone_files.items():
            self._drop(name)
            self._fail(Broken(name, 0, -1, reason))
        todo = [file for file in files if not self._known(file)]
        try:
            with self._progress(todo, progress) as advance:
                for lot in _lots(todo):
                    self._embed(lot, advance)
                    if time.monotonic() - self.saved > max(SAVE_EVERY, 10 * self.saving):
                        self._save()
        except BaseException:  # whatever it was, what is done is kept
            if self.fresh:
                self._save()
            raise
        for name in gone:  # not earlier: a file that was only moved has its vector from there
            self._drop(name)
        self._save()
        now = self._held()
        return Updated(
            new=sum(name not in before for name in now),
            changed=sum(before.get(name, held) != held for name, held in now.items()),
            gone=len(gone),
            kept=sum(before.get(name) == held for name, held in now.items()),
            failures=[Failure(sound_of(self.folder, each), each.reason) for each in self._all_broken()],
            notes=self.notes,
        )

    def _all_broken(self) -> list[Broken]:
        """In order of file and time."""
        found = [each for spans in self.broken.values() for each in spans.values()]
        return sorted(found, key=lambda each: (each.name, each.start or 0.0, each.end or 0.0))

    def _held(self) -> dict[str, set[tuple[object, ...]]]:
        """The sounds of each file that the index holds."""
        held: dict[str, set[tuple[object, ...]]] = {}
        for entry in self.entries:
            if entry is not None:
                held.setdefault(entry.name, set()).add((entry.digest, entry.start, entry.end))
        return held

    def _progress(self, todo: Sequence[_File], shown: bool) -> AbstractContextManager[Callable[[float], None]]:
        if self.settings.every is None:
            return file_progress(sum(len(file.spans) for file in todo), shown and bool(todo), "indexing", "sounds")
        return time_progress([file.path for file in todo], shown and bool(todo), "indexing")

    def _files(self) -> tuple[list[_File], dict[str, str]]:
        """What is to be indexed, and what cannot be looked at."""
        files, failed = [], {}
        wanted: dict[Path, dict[Span, Sound]] = {}
        sounds = self.source.sounds
        for sound in read.find(self.folder) if sounds is None else sounds:
            path = file_of(sound) if sounds is None else Path(os.path.abspath(file_of(sound)))
            there = replace(sound, path=path) if isinstance(sound, Segment) else path
            wanted.setdefault(path, {}).setdefault(span_of(sound), there)
        for path, spans in wanted.items():
            name = path.relative_to(self.folder).as_posix()
            try:
                status = path.stat()
            except OSError as error:
                failed[name] = f"cannot be opened ({error.strerror})."
                continue
            if stat.S_ISREG(status.st_mode):
                files.append(
                    _File(name, path, status.st_size, status.st_mtime_ns, tuple(spans), tuple(spans.values()))
                )
            else:  # opening a pipe would wait for ever
                failed[name] = "is not a regular file."
        return files, failed

    def _known(self, file: _File) -> bool:
        """Whether a file is as it was, and nothing else of it is wanted."""
        rows = self.rows.get(file.name, {})
        broken = self.broken.get(file.name, {})
        known: list[Entry | Broken | None] = [*(self.entries[row] for row in rows.values()), *broken.values()]
        same = all(each and (each.size, each.modified) == (file.size, file.modified) for each in known)
        if self.settings.every is not None:
            return same and bool(rows or broken)
        return same and rows.keys() | broken.keys() == set(file.spans)

    def _embed(self, lot: Sequence[_File], advance: Callable[[float], None]) -> None:
        with ThreadPoolExecutor(2) as pool:
            digests = dict(zip((file.name for file in lot), pool.map(_digest, lot), strict=True))
        unread: list[tuple[_File, str]] = []
        for file in lot:
            digest = digests[file.name]
            if isinstance(digest, OSError):
                self._drop(file.name)
                for span in file.spans:
                    reason = f"cannot be opened ({digest.strerror})."
                    self._fail(Broken(file.name, file.size, -1, reason, *span))
                advance(self._size(file))
            elif self._copied(file, digest):
                advance(self._size(file))
            else:
                unread.append((file, digest))
        if self.settings.every is None:
            self._embed_sounds(unread, advance)
        else:
            for file, digest in unread:
                self._embed_moments(file, digest, advance)

    def _size(self, file: _File) -> float:
        """What progress counts."""
        return float(len(file.spans)) if self.settings.every is None else read.duration(file.path) or 0.0

    def _copied(self, file: _File, digest: str) -> bool:
        """Whether a file has contents that the index has, all that is wanted of them, which are taken from there."""
        rows = self.contents.get(digest, {})
        spans = tuple(rows) if self.settings.every is not None else file.spans
        if not rows or not rows.keys() >= set(spans):
            return False
        self._put(file, digest, dict.fromkeys(spans))
        return True

    def _embed_sounds(self, files: Sequence[tuple[_File, str]], advance: Callable[[float], None]) -> None:
        """Embeds whole files and segments, those together that are not in the index yet."""
        sounds, owners = [], []
        for file, digest in files:
            for span, sound in zip(file.spans, file.sounds, strict=True):
                if span not in self.contents.get(digest, {}):
                    sounds.append(sound)
                    owners.append((file.name, span))
        embedded = embed_files(sounds, {"model": self.embedder})
        self.notes += embedded.notes
        vectors = {owners[row]: vector for row, vector in zip(embedded.rows, embedded.vectors["model"], strict=True)}
        reasons = {failure.path: failure.reason for failure in embedded.failures}
        failed = {owner: reasons[sound] for owner, sound in zip(owners, sounds, strict=True) if owner not in vectors}
        for file, digest in files:
            spans = [span for span in file.spans if (file.name, span) not in failed]
            self._put(file, digest, {span: vectors.get((file.name, span)) for span in spans})
            for span in file.spans:
                if (file.name, span) in failed:
                    self._fail(Broken(file.name, file.size, file.modified, failed[file.name, span], *span))
            advance(self._size(file))

    def _embed_moments(self, file: _File, digest: str, advance: Callable[[float], None]) -> None:
        """Embeds what is heard around each moment of a file."""
        every, window = self.settings.every or 0.0, self.settings.window or 0.0
        rate = self.embedder.sample_rate
        blocks = read.Blocks(file.path, rate)
        starts: list[float] = []
        rows: list[np.ndarray] = []
        try:
            for moments, vectors in windows.embed(self.embedder, blocks, every, window):
                if not np.isfinite(vectors).all():
                    raise AudioError("its embedding is not finite.")
                starts += (moments - window / 2).tolist()
                rows += list(stored(vectors))
                advance(len(moments) * every)
        except AudioError as error:
            self._drop(file.name)
            self._fail(Broken(file.name, file.size, file.modified, failure(file.path, error).reason))
            return
        if blocks.note:
            self.notes.append(Failure(file.path, blocks.note))
        ends = blocks.total / rate
        last = max(0.0, ends - window)  # a window that would reach beyond an end is moved inwards
        starts = [round(min(max(start, 0.0), last), 6) for start in starts]
        spans = [(start, round(min(start + window, ends), 6)) for start in starts]
        self._put(file, digest, dict(zip(spans, rows, strict=True)))

    def _put(
        self,
        file: _File,
        digest: str,
        vectors: Mapping[Span, np.ndarray | None],
    ) -> None:
        """Makes the parts of a file, with these vectors, what the index has of it.

        Args:
            file: the file.
            digest: of its contents.
            vectors: by part, None of one that the index has for these contents.
        """
        own = dict(self.rows.get(file.name, {}))
        self.broken.pop(file.name, None)
        for span, vector in vectors.items():
            entry = Entry(file.name, file.size, file.modified, digest, *span)
            row = own.get(span)
            before = None if row is None else self.entries[row]
            if row is not None and before is not None and before.digest == digest:  # as it was, but for its time
                self.entries[row] = entry
                del own[span]
                continue
            if vector is None and self.store is not None:
                vector = self.store.vector(self.contents[digest][span])
            assert vector is not None
            self.fresh.append((entry, vector))
        for row in own.values():
            self.entries[row] = None
        self.rows.pop(file.name, None)

    def _fail(self, broken: Broken) -> None:
        self.broken.setdefault(broken.name, {})[broken.start, broken.end] = broken

    def _drop(self, name: str) -> None:
        """Takes all that the index has of a file out of it."""
        self.broken.pop(name, None)
        for row in self.rows.pop(name, {}).values():
            self.entries[row] = None

    def _save(self) -> None:
        started = time.monotonic()
        held = [entry for entry in self.entries if entry is not None]
        entries = [*held, *(entry for entry, _ in self.fresh)]
        write(
            self.out,
            self.folder.resolve(),
            self.maker,
            self._all_broken(),
            entries,
            self._pieces(),
            self.reference,
            self.settings,
        )
        self.store, self.entries, self.fresh = Store(self.out, checked=True), list(entries), []
        self._number()
        self.saved = time.monotonic()
        self.saving = self.saved - started

    def _pieces(self) -> Iterator[np.ndarray]:
        if self.store is not None:
            stay = np.array([entry is not None for entry in self.entries], bool)
            for start, piece in self.store.pieces():
                yield piece[stay[start : start + len(piece)]]
        for start in range(0, len(self.fresh), _LOT):
            yield np.stack([vector for _, vector in self.fresh[start : start + _LOT]])


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
