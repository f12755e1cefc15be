"""Sounds that are the same recording: candidates by their embeddings, decided by their waveforms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from soundalike.apps.search.similarity import Standardised
from soundalike.apps.search.store import Entry, Store, sound_of
from soundalike.audio import read
from soundalike.audio.background import file_progress
from soundalike.audio.segment import Sound, file_of
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.core.union_find import Links

CANDIDATE = 0.5
"""Similarity from which two waveforms are compared."""
AGREEMENT = 0.8
"""Correlation of two waveforms, at the best shift, from which they are the same recording."""
_MOST_CANDIDATES = 5  # of each sound: its nearest; others are linked by them
_RATE, _SECONDS = 16_000, 10.0  # of what is compared
_HELD = 64  # waveforms that are kept for the next comparison
_ROWS = 1024  # of the similarity matrix at a time


@dataclass(frozen=True)
class Duplicate:
    """A sound of a group.

    Attributes:
        sound: its file, or a segment of it.
        similarity: of its embedding to the first of the group.
        identical: whether it is the same stretch of a file with the contents of an earlier one of the group.
    """

    sound: Sound
    similarity: float
    identical: bool

    @property
    def path(self) -> Path:
        """Its file."""
        return file_of(self.sound)


Group = list[Duplicate]


def groups(
    store: Store, standardised: Standardised, threshold: float | None = None, progress: bool = False
) -> list[Group]:
    """Groups of sounds that are the same recording: copied, encoded again, louder, resampled or cut a little.

    Files with the same contents always are. Beyond them, sounds whose embeddings are alike are candidates, and a
    correlation of their waveforms decides, since a drum hit twice sounds alike and is not the same recording. Parts
    of one file that overlap are no duplicates; of moments that do, only some that do not are compared.

    Args:
        store: the index, whose folder has to be there.
        standardised: makes similarities of its vectors.
        threshold: similarity of embeddings from which sounds are in one group, in (0, 1], waveforms unheard.
        progress: whether to show progress on stderr.

    Returns:
        Groups of two and more, in the order of the index, sounds in each too. Sounds are in one group also where a
        third one links them.

    Raises:
        SoundalikeError: the threshold is out of its range, or the folder is not there and waveforms are asked for.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise SoundalikeError(f"threshold is {threshold:g}: it must be above 0 and at most 1.")
    if threshold is None and not store.folder.is_dir():
        raise SoundalikeError(
            f"{store.folder}: the indexed folder is not there, so its recordings cannot be compared; bring the index "
            "up to date with soundalike index, or give a --threshold."
        )
    units = np.concatenate(
        [np.zeros((0, store.size), np.float16)]
        + [standardised(piece).astype(np.float16) for _, piece in store.pieces()]
    )
    entries = store.entries
    order = sorted(range(len(entries)), key=lambda row: (entries[row].name, entries[row].start or 0.0))
    if store.settings.every is not None:
        order = _apart(entries, order)
    linked: Links[int] = Links()
    first: dict[tuple[object, ...], int] = {}
    copies = set()
    for row in order:
        entry = entries[row]
        earlier = first.setdefault((entry.digest, entry.start, entry.end), row)
        if earlier != row:
            linked.join(earlier, row)
            copies.add(row)
    single = np.array([row for row in order if row not in copies], int)
    if threshold is None:
        nearest = {(min(pair), max(pair)) for pair in _candidates(units[single], CANDIDATE, _MOST_CANDIDATES)}
        nearest = {(a, b) for a, b in nearest if not overlap(entries[single[a]], entries[single[b]])}
        pairs = iter(_same([sound_of(store.folder, entries[row]) for row in single], sorted(nearest), progress))
    else:
        pairs = _candidates(units[single], threshold)
    for a, b in pairs:
        if not overlap(entries[single[a]], entries[single[b]]):
            linked.join(int(single[a]), int(single[b]))
    found: dict[int, list[int]] = {}
    for row in order:
        found.setdefault(linked.root(row), []).append(row)
    folder = store.place
    return [
        [
            Duplicate(
                sound_of(folder, entries[row]),
                min(1.0, float(units[row].astype(np.float32) @ units[rows[0]].astype(np.float32))) if n else 1.0,
                row in copies,
            )
            for n, row in enumerate(rows)
        ]
        for rows in (_apart(entries, linked_rows) for linked_rows in found.values())
        if len(rows) > 1
    ]


def overlap(one: Entry, other: Entry) -> bool:
    """Whether two sounds of an index have a part of one file in common."""
    if one.name != other.name:
        return False
    if one.start is None or one.end is None or other.start is None or other.end is None:
        return True
    return min(one.end, other.end) > max(one.start, other.start)


def _apart(entries: Sequence[Entry], order: Sequence[int]) -> list[int]:
    """Those rows, in order of file and time, that do not overlap with the one before them."""
    kept: list[int] = []
    for row in order:
        if not kept or not overlap(entries[kept[-1]], entries[row]):
            kept.append(row)
    return kept


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """How well two waveforms agree when one is shifted to fit the other.

    Args:
        first: (samples,).
        second: (samples,), at the same rate.

    Returns:
        The largest magnitude of their correlation over all shifts at which at least half of the shorter one overlaps
        the other, each shift normalised by what overlaps there; from 0 to 1.
    """
    from scipy.fft import irfft, next_fast_len, rfft  # type: ignore[import-untyped]

    a, b = (np.asarray(sound, np.float64) - np.mean(sound) for sound in (first, second))
    size = next_fast_len(len(a) + len(b) - 1, real=True)
    product = irfft(rfft(a, size) * np.conj(rfft(b, size)), size)
    shifts = np.arange(-(len(b) - 1), len(a))  # of b against a
    correlation = np.abs(product[shifts])
    begin, end = np.maximum(shifts, 0), np.minimum(len(a), len(b) + shifts)
    energy_a, energy_b = (np.concatenate(([0.0], np.cumsum(sound**2))) for sound in (a, b))
    overlap_a = energy_a[end] - energy_a[begin]
    overlap_b = energy_b[end - shifts] - energy_b[begin - shifts]
    # at a shift where only silence overlaps there is nothing to agree
    heard = (end - begin >= min(len(a), len(b)) / 2) & (overlap_a > energy_a[-1] / 4) & (overlap_b > energy_b[-1] / 4)
    if not heard.any():
        return 0.0
    return float(min(1.0, np.max(correlation[heard] / np.sqrt(overlap_a[heard] * overlap_b[heard]))))


def _candidates(units: np.ndarray, threshold: float, most: int | None = None) -> Iterator[tuple[int, int]]:
    """Pairs of rows at or above a similarity, each in both orders; of each row with so many of its nearest at most.

    They come one by one: of many sounds that are alike there are too many pairs to hold.
    """
    for start in range(0, len(units), _ROWS):
        own = units[start : start + _ROWS].astype(np.float32)
        similarity = np.concatenate(
            [own @ units[column : column + _ROWS].astype(np.float32).T for column in range(0, len(units), _ROWS)],
            axis=1,
        )
        similarity[np.arange(len(own)), start + np.arange(len(own))] = -2.0
        for row, line in enumerate(similarity, start):
            near = np.flatnonzero(line >= threshold)
            if most is not None:
                near = near[np.argsort(-line[near], kind="stable")[:most]]
            yield from ((row, other) for other in near.tolist())


def _same(sounds: list[Sound], pairs: list[tuple[int, int]], progress: bool) -> list[tuple[int, int]]:
    """The pairs whose waveforms agree. A file that cannot be read any more agrees with none."""

    @lru_cache(_HELD)
    def waveform(row: int) -> np.ndarray | None:
        try:
            return read.decode(sounds[row], [_RATE], _SECONDS).waveforms[_RATE]
        except AudioError:
            return None

    found = []
    with file_progress(len(pairs), progress and bool(pairs), "comparing", "pairs") as advance:
        for a, b in pairs:
            first, second = waveform(a), waveform(b)
            if first is not None and second is not None and agreement(first, second) >= AGREEMENT:
                found.append((a, b))
            advance(1)
    return found
