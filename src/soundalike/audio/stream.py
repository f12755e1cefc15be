"""Files that are too long to be held whole, read as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from soundalike.audio import read
from soundalike.audio.segment import Segment, file_of


class LongSound:
    """The waveform of a file, mono, read from front to back as its slices are asked for.

    What lies before the last slice is forgotten: a slice that begins further ahead reads the file anew.

    Attributes:
        path: of the file.
        sample_rate: in Hz.
        peak: the largest magnitude of all samples.
        note: what was wrong with a file that could be used all the same, otherwise None.
    """

    def __init__(self, path: str | Path | Segment, sample_rate: int) -> None:
        """Reads the file once, for its length and its peak.

        Args:
            path: any audio file, or a segment of one.
            sample_rate: of the waveform, in Hz.

        Raises:
            AudioError: as ``read.load``.
        """
        self.path, self.sample_rate = file_of(path), sample_rate
        self._blocks = read.Blocks(path, sample_rate)
        self._length, self.peak = 0, 0.0
        for block in self._blocks:
            self._length += len(block)
            self.peak = max(self.peak, float(np.abs(block).max()))
        self.note = self._blocks.note
        self._unread: Iterator[np.ndarray] = iter(())
        self._held, self._begin = np.zeros(0, np.float32), self._length  # at the end, as after a pass

    def __len__(self) -> int:
        """Samples."""
        return self._length

    def read(self, first: int, last: int) -> np.ndarray:
        """Samples ``first`` to ``last``, float32, of which there may be fewer at the end.

        Raises:
            AudioError: the file can no longer be read.
        """
        if first < self._begin:
            self._unread, self._held, self._begin = iter(self._blocks), np.zeros(0, np.float32), 0
        while self._begin + len(self._held) < last:
            block = next(self._unread, None)
            if block is None:
                break
            forgotten = min(len(self._held), max(0, first - self._begin))
            self._held, self._begin = np.concatenate([self._held[forgotten:], block]), self._begin + forgotten
        return self._held[first - self._begin : max(0, last - self._begin)]


def open_sound(path: str | Path | Segment, sample_rate: int) -> tuple[np.ndarray | LongSound, str | None]:
    """A file as embedders take it: its waveform, or where it is longer than ``read.LONG`` a `LongSound`.

    Args:
        path: any audio file, or a segment of one.
        sample_rate: in Hz.

    Returns:
        The sound, and what was wrong with a file that could be used all the same.

    Raises:
        AudioError: as ``read.load``.
    """
    if not read.is_long(path):
        decoded = read.decode(path, [sample_rate])
        return decoded.waveforms[sample_rate], decoded.note
    sound = LongSound(path, sample_rate)
    if len(sound) <= read.LONG * sample_rate:  # less than its header says
        return sound.read(0, len(sound)).copy(), sound.note
    return sound, sound.note
