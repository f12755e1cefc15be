"""Audio files to mono float32 waveforms."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundalike.audio.arrays import check_rate as check_rate
from soundalike.audio.arrays import prepare as prepare
from soundalike.audio.decoding import CUT_SHORT, Outcome, check_file, length, stream
from soundalike.audio.folders import find as find
from soundalike.audio.kinds import SUFFIXES as SUFFIXES
from soundalike.audio.kinds import suffixes as suffixes
from soundalike.audio.segment import Segment, file_of
from soundalike.core.errors import (
    AudioError,
    SoundalikeError,
    SoundWarning,
    TruncatedAudioWarning,
)

LONG = 5 * 60
"""Seconds beyond which a file is embedded as it is read and never held whole."""


@dataclass(frozen=True)
class Decoded:
    """What one file holds, at each sample rate asked for.

    Attributes:
        waveforms: sample rate in Hz -> mono float32 waveform (samples,), with at least one sample.
        note: what was wrong with a file that could be used all the same, otherwise None.
    """

    waveforms: dict[int, np.ndarray]
    note: str | None = None


def load(path: str | Path | Segment, sample_rate: int = 16000, seconds: float | None = None) -> np.ndarray:
    """The waveform of an audio file: mono (mean of the channels; the louder one where they cancel), resampled.

    Integer formats are scaled to [-1, 1]; float formats keep their values, also beyond 1.

    Args:
        path: any audio file, or a segment of one.
        sample_rate: of the result, in Hz.
        seconds: decode no more than this much from the beginning; None is the whole file.

    Returns:
        Float32 waveform (samples,), with at least one sample.

    Raises:
        AudioError: if the file is missing, a folder, empty, not audio, or has no or non-finite samples. Where it is
            the machine that failed (an input error, no memory) its cause is that OSError or MemoryError.

    Warns:
        TruncatedAudioWarning: if the file ends too early; what could be decoded is returned.
    """
    decoded = decode(path, [sample_rate], seconds)
    warn(path, decoded.note, stacklevel=3)
    return decoded.waveforms[sample_rate]


def warn(path: str | os.PathLike[str] | Segment, note: str | None, stacklevel: int = 2) -> None:
    """Warns of what is to be known of a file, if there is anything.

    Args:
        path: of the file.
        note: that of `Decoded` or `Blocks`.
        stacklevel: of the warning: 2 for the caller of this function.
    """
    if note:
        kind = TruncatedAudioWarning if CUT_SHORT in note else SoundWarning
        name = path if isinstance(path, Segment) else os.fspath(path)
        warnings.warn(f"{name}: {note}", kind, stacklevel=stacklevel + 1)


def decode(path: str | Path | Segment, sample_rates: Sequence[int], seconds: float | None = None) -> Decoded:
    """As ``load``, for several sample rates in one pass and with the truncation told instead of warned about.

    Args:
        path: any audio file, or a segment of one.
        sample_rates: of the results, in Hz.
        seconds: decode no more than this much from the beginning; None is the whole file.

    Returns:
        The waveforms by sample rate, and a note if the file is cut short.

    Raises:
        AudioError: as ``load``.
    """
    for rate in sample_rates:
        check_rate(rate)
    if seconds is not None and not seconds > 0:
        raise SoundalikeError(f"seconds is {seconds!r}: it must be greater than 0.")
    if seconds is not None and math.isinf(seconds):
        seconds = None
    outcome = Outcome()
    start, end, channel = None, seconds, None
    if isinstance(path, Segment):
        channel = path.channel
        seconds = min(path.seconds, math.inf if seconds is None else seconds)
        start, end = path.start, path.start + seconds
    path = file_of(path)
    parts: dict[int, list[np.ndarray]] = {rate: [] for rate in sample_rates}
    try:
        for pieces in stream(path, sample_rates, end, outcome, start, channel):
            for rate, piece in pieces.items():
                parts[rate].append(piece)
        waveforms = {rate: np.concatenate(pieces) for rate, pieces in parts.items()}
    except MemoryError as error:
        raise AudioError(f"{path}: could not be read (MemoryError).") from error
    if seconds is not None:
        waveforms = {rate: waveform[: max(1, round(seconds * rate))] for rate, waveform in waveforms.items()}
    return Decoded(waveforms, outcome.note)


class Blocks:
    """The waveform of an audio file block by block, in constant memory: that of ``load``, cut.

    Every pass over it reads the file anew, and raises what ``load`` raises where it comes upon it.

    Attributes:
        note: after a pass, what was wrong with a file that could be used all the same, otherwise None.
        total: after a pass, how many samples the blocks had.
    """

    def __init__(
        self, path: str | Path | Segment, sample_rate: int = 16000, seconds: float = 30.0, skip: float = 0.0
    ) -> None:
        """Choose the blocks.

        Args:
            path: any audio file, or a segment of one.
            sample_rate: of the blocks, in Hz.
            seconds: length of a block; the last one is as long as what is left, and no block is empty.
            skip: seconds at the beginning that are left out.

        Raises:
            SoundalikeError: if a sample rate is none, or seconds is not above 0.
        """
        check_rate(sample_rate)
        if not 0 < seconds < math.inf:
            raise SoundalikeError(f"seconds is {seconds!r}: the length of a block must be greater than 0.")
        self.path, self.sample_rate = file_of(path), sample_rate
        self.segment = path if isinstance(path, Segment) else None
        self.size = max(1, round(seconds * sample_rate))
        self.skip = skip
        self.note: str | None = None
        self.total = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        """Mono float32 blocks (samples,)."""
        self.total = 0
        outcome = Outcome()
        waiting = np.zeros(0, np.float32)
        start = self.skip or None
        end = left = channel = None
        if self.segment is not None:
            channel = self.segment.channel
            start, end = self.segment.start + self.skip, self.segment.end
            left = max(1, round((self.segment.seconds - self.skip) * self.sample_rate))
        for pieces in stream(self.path, [self.sample_rate], end, outcome, start, channel):
            piece = pieces[self.sample_rate][:left]
            left = None if left is None else left - len(piece)
            self.total += len(piece)
            waiting = np.concatenate([waiting, piece])
            while len(waiting) >= self.size:
                yield waiting[: self.size]
                waiting = waiting[self.size :]
        self.note = outcome.note
        if len(waiting):
            yield waiting


def duration(path: str | Path | Segment) -> float | None:
    """Seconds that a file says it holds, nothing decoded; None where it says nothing or cannot be read."""
    if isinstance(path, Segment):
        return path.seconds
    try:
        check_file(Path(path))
        return length(Path(path))
    except Exception:  # damaged files make libsndfile and soundfile raise many things
        return None


def is_long(path: str | Path | Segment) -> bool:
    """Whether a file says that it holds more than ``LONG`` seconds, so that it is better not held whole."""
    return (duration(path) or 0.0) > LONG
