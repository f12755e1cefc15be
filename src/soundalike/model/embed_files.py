"""Many audio files to embeddings: decoded once, in the background, with broken files named and left out."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from soundalike.audio.background import MOST_WAITING, Failure, LookAhead, decoded_samples, failure, file_progress
from soundalike.audio.read import Decoded, check_rate
from soundalike.audio.segment import Segment, Sound, as_sound, file_of, span_of
from soundalike.audio.stream import LongSound, open_sound
from soundalike.core.errors import AudioError, SoundalikeError, nearest
from soundalike.core.extras import require
from soundalike.data.segments import read_embeddings
from soundalike.data.table_writer import check_table, open_table
from soundalike.data.tables import column_names
from soundalike.model.journal import Entry, Journal, stamps

if TYPE_CHECKING:
    from pandas import DataFrame

_MOST_IN_BATCH = MOST_WAITING  # samples that an embedder is handed at once


class Embedder(Protocol):
    """What turns waveforms into embeddings."""

    @property
    def sample_rate(self) -> int:
        """Samples a second of the waveforms that it takes."""

    # One with the attribute takes_long_sounds, true, is handed `LongSound`s beside arrays.
    def __call__(self, waveforms: Sequence[Any]) -> np.ndarray:
        """Embed.

        Args:
            waveforms: mono float32 sounds (samples,) of any length at ``sample_rate``.

        Returns:
            Embeddings (n, D), float32.

        Raises:
            AudioError: if one of them cannot be embedded.
        """


@dataclass(frozen=True, eq=False)
class Embedded:
    """The embeddings of those files that could be embedded.

    Attributes:
        paths: the n files or segments that worked, in the order of the input.
        vectors: name of the embedder -> embeddings (n, D), float32; (0, 0) where no file worked.
        failures: the files that did not work, and why, in the order of the input.
        rows: for each of ``paths``, its place in the input (n,).
        notes: files of ``paths`` that are not whole but could be used, and what is wrong with them.
    """

    paths: list[Sound]
    vectors: dict[str, np.ndarray]
    failures: list[Failure]
    rows: np.ndarray
    notes: list[Failure] = field(default_factory=list)


def embed_files(
    paths: Sequence[str | Path | Segment],
    embedders: Mapping[str, Embedder],
    batch: int = 32,
    workers: int = 2,
    progress: bool = False,
    journal: Journal | None = None,
) -> Embedded:
    """Embed files with one or more embedders, decoding each file once.

    Files longer than ``read.LONG`` are read as they are embedded, in constant memory, where all of the embedders can
    (``takes_long_sounds``).

    A file that cannot be decoded, that an embedder refuses with an ``AudioError``, or of which an embedding is
    not finite, is recorded as a failure and costs no other file. Which files share a batch depends on the
    input only, so that a run can be repeated exactly.

    Args:
        paths: the files, or segments of files.
        embedders: name -> embedder; they may differ in sample rate.
        batch: the most files that an embedder is handed at once, 1 or more; fewer where they are long.
        workers: threads that decode ahead, 1 or more.
        progress: whether to show progress, with rate and time left, on stderr.
        journal: where embeddings are kept as they come; files that are in it already are not embedded again. For a
            single embedder.

    Returns:
        The embeddings of the files that worked, and the failures.

    Raises:
        SoundalikeError: if ``batch`` or ``workers`` is below 1, or an embedder's sample rate is impossible.
    """
    files = [as_sound(path) for path in paths]
    failures: list[Failure] = []
    notes: list[Failure] = []
    rows: list[int] = []
    vectors: dict[str, list[np.ndarray]] = {name: [] for name in embedders}
    for row, outcome in enumerate(embed_each(files, embedders, batch, workers, progress, journal)):
        if isinstance(outcome, Failure):
            failures.append(outcome)
            continue
        rows.append(row)
        for name, vector in outcome.vectors.items():
            vectors[name].append(vector)
        if outcome.note:
            notes.append(Failure(files[row], outcome.note))
    return Embedded(
        paths=[files[row] for row in rows],
        vectors={name: np.stack(own) if own else np.zeros((0, 0), np.float32) for name, own in vectors.items()},
        failures=failures,
        rows=np.array(rows, dtype=int),
        notes=notes,
    )


@dataclass(frozen=True, eq=False)
class Vectors:
    """What a file was embedded to.

    Attributes:
        vectors: name of the embedder -> embedding (D,), float32.
        note: what was wrong with the file though it could be used, otherwise None.
    """

    vectors: dict[str, np.ndarray]
    note: str | None


def embed_each(
    files: Sequence[Sound],
    embedders: Mapping[str, Embedder],
    batch: int = 32,
    workers: int = 2,
    progress: bool = False,
    journal: Journal | None = None,
    what: tuple[str, str] = ("embedding", "embedded"),
) -> Iterator[Vectors | Failure]:
    """As `embed_files`, file by file in their order.

    Args:
        files: as `embed_files` takes them.
        embedders: as there.
        batch: as there.
        workers: as there.
        progress: as there.
        journal: as there.
        what: is done to the files, in the words of the display, and was done to those in the journal.
    """
    for name, value in (("batch", batch), ("workers", workers)):
        if value < 1:
            raise SoundalikeError(f"{name} is {value}: it must be at least 1.")
    for embedder in embedders.values():
        check_rate(embedder.sample_rate)
    rates = sorted({embedder.sample_rate for embedder in embedders.values()})
    found: dict[int, Entry] = {}
    single = ""
    if journal is not None:
        (single,) = embedders
        found = _found(journal, files, progress, what[1])
    missing = [row for row in range(len(files)) if row not in found]
    stamped = stamps([files[row] for row in missing]) if journal is not None else {}
    leave_long = all(getattr(embedder, "takes_long_sounds", False) for embedder in embedders.values())
    given = 0  # rows that were given out

    def before(end: int) -> Iterator[Vectors]:
        """Those of the journal between what was given out and a row."""
        for row in range(given, end):
            yield Vectors({single: found[row].vector}, found[row].note)

    with (
        file_progress(len(missing), progress, what[0]) as advance,
        LookAhead([files[row] for row in missing], rates, workers, 2 * batch, leave_long) as ahead,
    ):
        for numbered in _batches(ahead, batch):
            clips = [(missing[number], _opened(files[missing[number]], clip, rates)) for number, clip in numbered]
            sounds = {row: clip.sounds for row, clip in clips if isinstance(clip, _Opened)}
            outcomes: dict[int, Vectors | Failure] = {}
            computed = _embed(sounds, embedders)
            for row, clip in clips:
                vectors = computed[row] if isinstance(clip, _Opened) else clip
                if isinstance(vectors, AudioError):
                    outcomes[row] = failure(files[row], vectors)
                elif isinstance(clip, _Opened):
                    outcomes[row] = Vectors(vectors, clip.note)
            if journal is not None:
                done = {row: outcome for row, outcome in outcomes.items() if isinstance(outcome, Vectors)}
                journal.add({files[row]: Entry(own.vectors[single], own.note) for row, own in done.items()}, stamped)
            advance(len(clips))
            for row, outcome in outcomes.items():
                yield from before(row)
                yield outcome
                given = row + 1
        yield from before(len(files))


def save(embedded: Embedded, out: str | Path, name: str) -> None:
    """Write one embedder's embeddings to a table, whole or not at all.

    ``.npz`` holds the arrays ``path``, ``embedding`` (n, D), ``failed_path`` and ``failed_reason``, and loads
    without pickle. ``.parquet`` holds the columns ``path`` and ``embedding`` (a list of floats), and the failures
    as JSON under ``soundalike.failures`` in its metadata. JSON lines hold ``path`` and ``embedding``, CSV and TSV
    ``path`` and a column for each number. Where there are segments, ``start`` and ``end`` in seconds come after
    ``path``, and ``low`` and ``high`` in Hz where they are known.

    Args:
        embedded: what ``embed_files`` returned.
        out: the file to write, with one of ``tables.SUFFIXES``.
        name: of the embedder.

    Raises:
        SoundalikeError: as ``check_table``, or the file cannot be written.
    """
    out = check_table(out)
    vectors = embedded.vectors[name].astype(np.float32, copy=False)
    failures = {str(failure.path): failure.reason for failure in embedded.failures}
    segments = [sound for sound in embedded.paths if isinstance(sound, Segment)]
    columns = ["path"] + ["start", "end"] * bool(segments)
    columns += ["low", "high"] * any(sound.low is not None or sound.high is not None for sound in segments)
    with open_table(out, (*columns, "embedding"), whole=True, size=vectors.shape[1], failures=failures) as table:
        for sound, vector in zip(embedded.paths, vectors, strict=True):
            place = [getattr(sound, name, None) for name in columns[1:]]  # none of a whole file
            table.write((str(file_of(sound)), *place, vector))


def embeddings_frame(source: Embedded | str | Path, name: str | None = None) -> DataFrame:
    """Embeddings as a data frame: a row for each file, a numeric column for each number.

    Labels are joined to it by path: ``labels.join(frame, on="path")``; ``frame.reset_index()`` makes the paths a
    column. Where there are segments, the index has ``start`` and ``end`` in seconds, too.

    Args:
        source: what `embed_files` returned, or the table that ``soundalike embed`` wrote.
        name: of the embedder, where `embed_files` had several.

    Returns:
        Of shape (n, D): the index ``path`` holds strings, the columns ``e0``, ``e1`` and so on float32.

    Raises:
        SoundalikeError: as `read_embeddings`, or there is no such embedder.
    """
    require("a data frame of embeddings", "pandas")
    import pandas

    paths: list[Sound]
    if isinstance(source, Embedded):
        paths, vectors = source.paths, _of(source, name)
    else:
        paths, vectors = read_embeddings(source)
    files = [str(file_of(path)) for path in paths]
    index = pandas.Index(files, name="path")
    if any(isinstance(path, Segment) for path in paths):
        spans = [span_of(path) for path in paths]
        index = pandas.MultiIndex.from_arrays([files, *zip(*spans, strict=True)], names=["path", "start", "end"])
    return pandas.DataFrame(vectors, index=index, columns=column_names(vectors.shape[1]))


def _of(embedded: Embedded, name: str | None) -> np.ndarray:
    names = list(embedded.vectors)
    if name is None and len(names) == 1:
        name = names[0]
    if name is None:
        raise SoundalikeError(f"there are {len(names)} embedders; name one of them. Known: {', '.join(names)}.")
    if name not in embedded.vectors:
        raise SoundalikeError(f"no embedder is called {name!r}: {nearest(name, names)}")
    return embedded.vectors[name]


def _found(journal: Journal, files: Sequence[Sound], progress: bool, done: str) -> dict[int, Entry]:
    """What was embedded before, by row, and a line on stderr that says how much it is."""
    before = journal.found(files)
    if before and progress:
        print(f"{len(before)} of {len(files)} were {done} before; going on.", file=sys.stderr)
    return before


def _batches(
    clips: Iterator[tuple[int, Decoded | AudioError]], batch: int
) -> Iterator[list[tuple[int, Decoded | AudioError]]]:
    """Consecutive clips in lists of at most ``batch`` and, unless it is a single clip, of a bounded length."""
    waiting: list[tuple[int, Decoded | AudioError]] = []
    total = 0
    for row, clip in clips:
        # one that was left because it is long is a batch of its own
        length = _MOST_IN_BATCH if isinstance(clip, Decoded) and not clip.waveforms else decoded_samples(clip)
        if waiting and (len(waiting) == batch or total + length > _MOST_IN_BATCH):
            yield waiting
            waiting, total = [], 0
        waiting.append((row, clip))
        total += length
    if waiting:
        yield waiting


@dataclass(frozen=True, eq=False)
class _Opened:
    """A sound by sample rate, and what was wrong with it though it can be used."""

    sounds: Mapping[int, np.ndarray | LongSound]
    note: str | None


def _opened(path: Sound, clip: Decoded | AudioError, rates: Sequence[int]) -> _Opened | AudioError:
    """A clip as embedders take it, opened now where it was left because it is long."""
    if isinstance(clip, AudioError):
        return clip
    if clip.waveforms or not rates:
        return _Opened(clip.waveforms, clip.note)
    try:
        opened = {rate: open_sound(path, rate) for rate in rates}
    except AudioError as error:
        return error
    return _Opened({rate: sound for rate, (sound, _) in opened.items()}, next(note for _, note in opened.values()))


def _embed(
    clips: Mapping[int, Mapping[int, np.ndarray | LongSound]], embedders: Mapping[str, Embedder]
) -> dict[int, dict[str, np.ndarray] | AudioError]:
    """Row -> its vector (D,) by each embedder, or why it has none."""
    result: dict[int, dict[str, np.ndarray] | AudioError] = {row: {} for row in clips}
    for name, embedder in embedders.items():
        rows = [row for row, outcome in result.items() if not isinstance(outcome, AudioError)]
        for row, vector in _vectors(name, embedder, {row: clips[row] for row in rows}).items():
            outcome = result[row]
            if isinstance(vector, AudioError):
                result[row] = vector
            elif not np.isfinite(vector).all():
                result[row] = AudioError(f"its embedding by {name!r} is not finite.")
            elif not isinstance(outcome, AudioError):
                outcome[name] = vector
    return result


def _vectors(
    name: str, embedder: Embedder, clips: Mapping[int, Mapping[int, np.ndarray | LongSound]]
) -> dict[int, np.ndarray | AudioError]:
    if not clips:
        return {}
    try:
        batch = np.asarray(embedder([sounds[embedder.sample_rate] for sounds in clips.values()]))
    except AudioError as error:
        if len(clips) == 1:
            return dict.fromkeys(clips, error)
        # One of them is refused: alone, each can only fail for itself.
        alone = [_vectors(name, embedder, {row: clip}) for row, clip in clips.items()]
        return {row: vector for result in alone for row, vector in result.items()}
    if batch.ndim != 2 or len(batch) != len(clips):
        raise ValueError(f"embedder {name!r} gave shape {batch.shape} for {len(clips)} sounds, not (n, D)")
    return dict(zip(clips, batch.astype(np.float32), strict=True))
