"""Reading decoded recordings out of their cache."""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.audio.background import Failure
from soundalike.audio.cache.index import Damaged, Index, check_samples, mark
from soundalike.audio.cache.place import Place
from soundalike.audio.cache.samples import peak_of, quantized, restored
from soundalike.audio.read import decode
from soundalike.core.errors import AudioError

_MOST_TOUCHED = 4 << 20  # samples: 8 MB, and what the system maps around them


class DamagedCacheWarning(UserWarning):
    """Samples in a cache that are not those that were written to it."""


class Recordings:
    """Decoded recordings, of which only what is asked for is read.

    Attributes:
        rows: which of the files asked for are there (m,), their places in that order; the others are in ``failures``.
        lengths: of the recordings (m,), in samples.
        failures: the files that could not be decoded, and why.
        notes: the files of ``rows`` that are cut short, and what is used of them.
        sample_rate: in Hz.
        size: of the cache on disk, in bytes.
    """

    rows: np.ndarray
    lengths: np.ndarray
    failures: list[Failure]
    notes: list[Failure]
    sample_rate: int
    size: int

    def __init__(self, place: Place, index: Index, files: Sequence[str], rows: np.ndarray) -> None:
        """Opens a complete cache.

        Args:
            place: of the cache.
            index: what it holds.
            files: the files asked for.
            rows: their rows in the index (n,).

        Raises:
            Damaged: its samples are not there.
        """
        there = index.clips["length"][rows] > 0
        self.rows = np.flatnonzero(there)
        self._entries = rows[there]
        self.lengths = index.clips["length"][self._entries]
        self.failures = [Failure(Path(files[n]), index.reasons[rows[n]]) for n in np.flatnonzero(~there).tolist()]
        noted = np.flatnonzero(there & index.notes.filled()[rows]).tolist()
        self.notes = [Failure(Path(files[n]), index.notes[rows[n]]) for n in noted]
        self.sample_rate = index.sample_rate
        self.size = place.size()
        for array in (self.rows, self.lengths):
            array.flags.writeable = False
        self._place, self._index = place, index
        self._checked = np.zeros(len(self.rows), bool)
        self._touched = 0
        self._open()
        with contextlib.suppress(OSError):
            os.utime(place.index)  # when it was used last

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        hours = self.lengths.sum() / self.sample_rate / 3600
        return f"Recordings({len(self)} clips, {hours:.2f} h, {self._place.path})"

    def read(self, clip: int, start: int = 0, samples: int | None = None) -> np.ndarray:
        """A part of a recording.

        Args:
            clip: which recording, 0 to m - 1.
            start: its first sample.
            samples: how many at most; None is all from ``start`` on.

        Returns:
            Float32 waveform (<= samples,); the error is below 2e-5 of the recording's peak.

        Raises:
            AudioError: the cache is damaged here, and the file cannot be decoded again.
        """
        if not 0 <= clip < len(self.rows):
            raise IndexError(f"clip {clip} of {len(self.rows)}")
        if start < 0 or (samples is not None and samples < 0):
            raise ValueError(f"start {start} and samples {samples} must not be below 0")
        entry = int(self._entries[clip])
        *_, offset, length, peak, crc = self._index.clips[entry].item()
        whole = self._samples[offset : offset + length]
        fresh = not self._checked[clip]
        if fresh:
            if zlib.crc32(whole.data) == crc:
                self._checked[clip] = True
            else:
                whole, peak = self._again(entry)
        stop = length if samples is None else min(length, start + samples)
        waveform = restored(whole[start:stop], peak)
        self._forget(length if fresh else len(waveform))
        return waveform

    def _forget(self, samples: int) -> None:
        """Takes what was read out of this process's memory now and then, which would come to hold the whole cache.

        The system keeps it as long as it has room, so that reading it again costs little.
        """
        self._touched += samples
        if self._touched > _MOST_TOUCHED and hasattr(mmap, "MADV_DONTNEED"):
            self._touched = 0
            self._map.madvise(mmap.MADV_DONTNEED)

    def _open(self) -> None:
        path, end = self._place.samples(self._index.build), self._index.end
        if check_samples(path, self._index.build) < end:
            raise Damaged("its samples are cut short")
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), end, access=mmap.ACCESS_READ)
        except OSError as error:
            raise Damaged(f"its samples cannot be read ({error.strerror or error})") from error
        self._samples = np.frombuffer(self._map, "<i2")
        self._told = False
        self._telling = threading.Lock()

    def _again(self, entry: int) -> tuple[np.ndarray, float]:
        """The samples of a damaged clip and its peak, out of its file."""
        file, row = self._index.file(entry), self._index.entry(entry)
        noted = mark(self._place, row.path, row.offset)
        with self._telling:
            told, self._told = self._told, True
        if not told:
            done = "it is mended the next time it is opened" if noted else "soundalike cache --clear removes it"
            warnings.warn(
                f"the cache of {self._index.name!r} is damaged at {file}: what is damaged is decoded again from its "
                f"files, which is slow; {done} ({self._place.path}).",
                DamagedCacheWarning,
                stacklevel=1,
            )
        try:
            waveform = decode(file, [self.sample_rate]).waveforms[self.sample_rate]
        except AudioError as error:
            raise AudioError(f"{error} Its place in the cache is damaged; start again to leave it out.") from error
        if len(waveform) != row.length:
            raise AudioError(
                f"{file}: its place in the cache is damaged, and the file has changed since; start again to decode it."
            )
        peak = peak_of(waveform)
        return np.concatenate([*quantized(waveform, peak)]), peak

    def __getstate__(self) -> dict[str, Any]:
        # Pickled, a mapping would become a copy of all samples.
        return {name: value for name, value in self.__dict__.items() if name not in ("_map", "_samples", "_telling")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()
