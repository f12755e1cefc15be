"""Making a cache, and bringing it up to date: only what is new or has changed is decoded."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.audio.background import LookAhead, failure, file_progress
from soundalike.audio.cache.index import (
    CLIP,
    HEADER,
    MISSING,
    UNSETTLED,
    WIDTH,
    Damaged,
    Entry,
    Index,
    Texts,
    check_samples,
    fingerprint,
    load_index,
    load_marks,
)
from soundalike.audio.cache.journal import Journal, read_entries, read_head
from soundalike.audio.cache.place import Place, amount
from soundalike.audio.cache.samples import Writer
from soundalike.audio.read import Decoded, decode
from soundalike.core.errors import AudioError

_WORKERS = 2  # threads that decode ahead
_AHEAD = 64  # files that they may be ahead


@dataclass(frozen=True, eq=False)
class State:
    """A cache beside what is asked of it.

    Attributes:
        index: what it holds; None where it is not there or damaged.
        rows: of the files asked for in it (n,), -1 where it lacks one.
        complete: whether all of them are in it as they are now.
        tidy: whether its samples are all there, and it holds no file that is gone.
        remains: whether there are files that the index does not refer to: of a run that was killed, or of one that
            is writing now.
    """

    index: Index | None
    rows: np.ndarray
    complete: bool
    tidy: bool
    remains: bool = False


class Asked:
    """The files that somebody wants to read, and how they are now.

    Attributes:
        files: as they were given (n,). As text: 100,000 paths take seconds to make, and ten times the memory.
        keys: their names in the index (n,).
        first: the first place of each name among ``keys``.
        prints: their fingerprints (n, 3), int64.
        folder: absolute; the names of files below it are relative to it.
    """

    def __init__(self, paths: Sequence[str | Path], folder: str | Path | None) -> None:
        """Looks at every file.

        Args:
            paths: the files, in any order.
            folder: what they lie in; None is the innermost folder that holds them all.
        """
        self.files = [os.fspath(path) for path in paths]
        absolute = [os.path.abspath(file) for file in self.files]
        self.folder = _common(absolute) if folder is None else os.path.abspath(folder)
        inside = os.path.join(self.folder, "")
        self.keys = [path.removeprefix(inside) for path in absolute]
        self.first: dict[str, int] = {}
        for number, key in enumerate(self.keys):
            self.first.setdefault(key, number)
        self.look()

    def look(self) -> None:
        """Looks at every file again."""
        prints = (value for file in self.files for value in fingerprint(file))
        self.prints = np.fromiter(prints, np.int64, 3 * len(self.files)).reshape(-1, 3)

    def print_of(self, key: str) -> tuple[int, int, int] | None:
        """The fingerprint of a file by its name in the index; None where it is not asked for."""
        number = self.first.get(key)
        if number is None:
            return None
        size, modified, changed = self.prints[number].tolist()
        return size, modified, changed

    def rows(self, index: Index) -> np.ndarray:
        """The row of each file in an index (n,), -1 where it has none."""
        rows = np.full(len(self.keys), -1)
        for row in range(len(index.paths)):
            number = self.first.get(index.paths[row])
            if number is not None:
                rows[number] = row
        return rows[np.fromiter((self.first[key] for key in self.keys), np.int64, len(self.keys))]

    def state(self, place: Place) -> State:
        """How much of what is asked for is in a cache as it is now."""
        index, readable, trouble = load_index(place)
        if index is None:
            return State(None, np.full(len(self.keys), -1), complete=False, tidy=False)
        rows = self.rows(index)
        clips = index.clips[rows] if len(index.clips) else np.zeros(len(rows), CLIP)
        good = rows >= 0
        for column, name in enumerate(("size", "modified", "changed")):
            good &= clips[name] == self.prints[:, column]
        good &= (clips["offset"] + clips["length"]) * WIDTH <= readable
        marks = load_marks(place)
        if marks:
            spots = zip(self.keys, clips["offset"].tolist(), strict=True)
            good &= np.fromiter((spot not in marks for spot in spots), bool, len(rows))
        others = np.setdiff1d(np.arange(len(index.clips)), rows)
        gone = any(not os.path.lexists(index.file(int(row))) for row in others)
        remains = place.journal.exists() or bool(place.remains(index.build))
        return State(index, rows, bool(good.all()), trouble is None and not gone, remains)


def _common(paths: Sequence[str]) -> str:
    """The innermost folder of all files."""
    try:
        return os.path.commonpath({os.path.dirname(path) for path in paths})
    except ValueError:  # no files, or on several drives
        return ""


class _Table:
    """The rows of the index that is being made."""

    def __init__(self) -> None:
        self.place: dict[str, int] = {}
        self.clips = np.zeros(1024, CLIP)
        self.reasons: dict[int, str] = {}
        self.notes: dict[int, str] = {}

    def put(self, entry: Entry) -> None:
        row = self.place.setdefault(entry.path, len(self.place))
        if row == len(self.clips):
            self.clips = np.concatenate([self.clips, np.zeros_like(self.clips)])
        self.clips[row] = entry.row()
        for texts, text in ((self.reasons, entry.reason), (self.notes, entry.note)):
            texts.pop(row, None)
            if text:
                texts[row] = text

    def index(self, name: str, folder: str, sample_rate: int, build: str, end: int) -> Index:
        count = len(self.place)
        texts = (
            Texts.of(self.place),
            *(Texts.of(texts.get(row, "") for row in range(count)) for texts in (self.reasons, self.notes)),
        )
        return Index(name, folder, sample_rate, build, end, self.clips[:count].copy(), *texts)


def update(place: Place, asked: Asked, name: str, sample_rate: int, progress: bool) -> Index:
    """Brings a cache up to date with the files asked for. To be called with the cache locked.

    Files that are not asked for stay in it as long as they are there and have not changed: the training and the
    test part of a data set share one cache. New samples are appended. Once less than half of the samples are in use,
    those in use are copied to a new file.

    Args:
        place: of the cache.
        asked: the files that it is to hold.
        name: of the data set.
        sample_rate: in Hz.
        progress: whether to show progress on stderr, and at the end how much disk the cache takes.

    Returns:
        What it holds now.

    Raises:
        OSError: the place cannot be written to.
    """
    old, readable, trouble = load_index(place)
    if trouble:
        warnings.warn(f"the cache of {name!r}: {trouble}; what is lost is decoded again ({place.path}).", stacklevel=1)
    place.path.mkdir(parents=True, exist_ok=True)
    marks = load_marks(place)

    def current(entry: Entry) -> bool:
        now = asked.print_of(entry.path)
        if now is None:  # a file that is not asked for, and stays as long as it is there
            now = fingerprint(os.path.join(asked.folder, entry.path))
            if now == MISSING:
                return False
        return now == entry.fingerprint and (entry.path, entry.offset) not in marks

    table, kept = _Table(), np.zeros(0, np.int64)  # kept: rows of the old index that are still right
    if old is not None:
        good = (entry.stop <= readable and current(entry) for entry in old)
        kept = np.flatnonzero(np.fromiter(good, bool, len(old.clips)))
    in_use = 0 if old is None else int(old.clips["length"][kept].sum()) * WIDTH
    head = read_head(place.journal)
    if old is not None and in_use >= (old.end - HEADER) // 2:
        build = old.build
    elif head and not trouble:  # a file of samples that an earlier run has begun
        build = str(head["build"])
    else:
        build = uuid.uuid4().hex
    samples, end = place.samples(build), HEADER
    appending = old is not None and build == old.build
    if old is not None and appending:
        end = old.end
        for row in kept.tolist():
            table.put(old.entry(row))
    if head and head["build"] == build:
        end = _resumed(place, build, end, current, table)
    count = 0  # recordings decoded
    with contextlib.ExitStack() as stack:
        writer = Writer(samples, build, end)
        stack.callback(writer.close)
        journal = Journal(place.journal, build, name, asked.folder, sample_rate)
        stack.callback(journal.close)

        def add(entry: Entry) -> None:
            journal.add(entry)
            table.put(entry)

        if old is not None and not appending:
            for entry in _copied(old, kept, place, table, writer):
                add(entry)
        todo = [number for key, number in asked.first.items() if key not in table.place]
        decoded = stack.enter_context(contextlib.closing(_decoded(asked, todo, sample_rate, progress)))
        for number, outcome, stamp in decoded:
            key = asked.keys[number]
            if isinstance(outcome, Decoded):
                waveform = outcome.waveforms[sample_rate]
                offset, peak, crc = writer.waveform(waveform)
                add(Entry(key, stamp, offset, len(waveform), peak, crc, note=outcome.note or ""))
                count += 1
            else:
                if isinstance(outcome.__cause__, (OSError, MemoryError)) and stamp != MISSING:
                    stamp = UNSETTLED  # the machine failed, not the file
                add(Entry(key, stamp, reason=failure(Path(asked.files[number]), outcome).reason))
    index = table.index(name, asked.folder, sample_rate, build, writer.end)
    index.save(place.index)
    # The journal last: as long as it is there, the cache is not called complete.
    for rest in [*place.remains(build), place.marks, place.journal]:
        with contextlib.suppress(OSError):  # elsewhere than on POSIX, samples that somebody reads
            rest.unlink()
    if progress and count:
        clips = "1 clip" if count == 1 else f"{count:,} clips"
        print(
            f"decoded {clips}; the cache takes {amount(place.size())} ({place.path}); "
            f"soundalike cache --clear {shlex.quote(name)} removes it",
            file=sys.stderr,
        )
    return index


def _resumed(place: Place, build: str, end: int, current: Callable[[Entry], bool], table: _Table) -> int:
    """Puts what an interrupted run has decoded into the table. Returns where its samples end, ``end`` at least."""
    try:
        size = check_samples(place.samples(build), build)
    except Damaged:
        size = 0
        place.samples(build).unlink(missing_ok=True)
    for entry in read_entries(place.journal):
        if entry.stop <= size:
            end = max(end, entry.stop)
            if current(entry):
                table.put(entry)
    return end


def _copied(old: Index, rows: np.ndarray, place: Place, table: _Table, writer: Writer) -> Iterator[Entry]:
    """Copies the samples of those rows that are not in the table yet."""
    with place.samples(old.build).open("rb") as source:
        for row in rows.tolist():
            entry = old.entry(row)
            if entry.path not in table.place:
                offset = writer.copy(source, entry.offset, entry.length, entry.crc) if entry.length else 0
                if offset is not None:
                    yield entry._replace(offset=offset)


class _Paths(Sequence[Path]):
    """Paths that are made when they are asked for."""

    def __init__(self, files: Sequence[str], numbers: Sequence[int]) -> None:
        self.files, self.numbers = files, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: Any) -> Any:
        return Path(self.files[self.numbers[place]])


def _decoded(
    asked: Asked, numbers: Sequence[int], sample_rate: int, progress: bool
) -> Generator[tuple[int, Decoded | AudioError, tuple[int, int, int]], None, None]:
    """Decodes files: the number of each among those asked for, what became of it, and the fingerprint that it has."""
    paths = _Paths(asked.files, numbers)
    with (
        file_progress(len(paths), progress and bool(numbers), "decoding") as advance,
        LookAhead(paths, [sample_rate], _WORKERS, _AHEAD) as ahead,
    ):
        for place, clip in ahead:
            before = tuple(asked.prints[numbers[place]].tolist())
            yield numbers[place], *_settled(paths[place], clip, before, sample_rate)
            advance(1)


def _settled(
    path: Path, clip: Decoded | AudioError, before: tuple[int, ...], sample_rate: int
) -> tuple[Decoded | AudioError, tuple[int, int, int]]:
    """What was decoded of a file if it is still as it was before, and otherwise what a second try gives."""
    after = fingerprint(path)
    if after == before:
        return clip, after
    if after == MISSING:
        return AudioError("it disappeared before it could be read."), MISSING
    try:
        clip = decode(path, [sample_rate])
    except AudioError as error:
        clip = error
    if fingerprint(path) != after:
        return AudioError("it changed while it was read; run this again once nothing writes to it."), UNSETTLED
    return clip, after
