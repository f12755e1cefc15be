"""Waveforms as 16-bit samples in a file."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from soundalike.audio.cache.index import HEADER, WIDTH, header

_FULL = 32767
_CHUNK = 1 << 18  # samples converted or copied at a time


def peak_of(waveform: np.ndarray) -> float:
    """The largest magnitude of a waveform (samples,), 0 where it is below what float32 holds precisely."""
    if not len(waveform):
        return 0.0
    peak = max(float(waveform.max()), -float(waveform.min()))
    return peak if peak >= float(np.finfo(np.float32).tiny) else 0.0


def quantized(waveform: np.ndarray, peak: float) -> Iterator[np.ndarray]:
    """A waveform (samples,) as int16 with its peak at ±32767, in chunks."""
    for start in range(0, len(waveform), _CHUNK):
        chunk = waveform[start : start + _CHUNK]
        if peak:
            # first the peak, which may be so small or so large that its ratio to full scale is not a float32
            yield np.rint(chunk / np.float32(peak) * np.float32(_FULL)).astype("<i2")
        else:
            yield np.zeros(len(chunk), "<i2")


def restored(samples: np.ndarray, peak: float) -> np.ndarray:
    """The float32 waveform (samples,) of ``quantized`` ones; the error is below 2e-5 of the peak."""
    waveform = samples.astype(np.float32)
    waveform /= np.float32(_FULL)
    waveform *= np.float32(peak)
    return waveform


class Writer:
    """Appends samples to a file."""

    def __init__(self, path: Path, build: str, end: int) -> None:
        """Opens the file, and makes it where it is missing.

        Args:
            path: the file.
            build: whose samples they are.
            end: where to go on, in bytes. Nothing before it is touched: another process may be reading it.

        Raises:
            OSError: the place cannot be written to.
        """
        self.path, self.end = path, max(end, HEADER)
        if not path.exists():
            with path.open("xb") as new:
                new.write(header(build))
        # Unbuffered, so that samples are in the file before the journal says so.
        self.file: IO[bytes] = path.open("r+b", buffering=0)
        self.file.seek(self.end)

    def write(self, chunk: bytes | memoryview) -> None:
        """Appends bytes."""
        left = memoryview(chunk).cast("B")
        while left:
            written = self.file.write(left)
            left = left[written:]
            self.end += written

    def waveform(self, waveform: np.ndarray) -> tuple[int, float, int]:
        """Appends a waveform (samples,).

        Returns:
            Its offset in samples, its peak and the CRC of its samples.
        """
        offset, peak, crc = self.end // WIDTH, peak_of(waveform), 0
        for chunk in quantized(waveform, peak):
            crc = zlib.crc32(chunk.data, crc)
            self.write(chunk.data)
        return offset, peak, crc

    def copy(self, source: IO[bytes], offset: int, length: int, crc: int) -> int | None:
        """Appends samples of another such file.

        Args:
            source: the other file.
            offset: where they begin there, in samples.
            length: how many.
            crc: that they should have.

        Returns:
            Their offset here in samples, or None if they are damaged; nothing is appended then.
        """
        start = self.end
        source.seek(offset * WIDTH)
        left, found = length * WIDTH, 0
        while left and (chunk := source.read(min(left, _CHUNK * WIDTH))):
            found = zlib.crc32(chunk, found)
            self.write(chunk)
            left -= len(chunk)
        if left or found != crc:
            self.file.seek(start)
            self.end = start
            return None
        return start // WIDTH

    def close(self) -> None:
        """Cuts off what a copy or an earlier run left behind the end, and closes the file."""
        try:
            if os.name == "posix":  # elsewhere a file that is mapped cannot be cut
                self.file.truncate(self.end)
        finally:
            self.file.close()
