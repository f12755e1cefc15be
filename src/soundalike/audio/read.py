"""Audio files to mono float32 waveforms: the only place that opens an audio file."""

from __future__ import annotations

import math
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from soundalike.audio.arrays import HIGHEST_RATE, LOWEST_RATE, check_finite
from soundalike.audio.arrays import check_rate as check_rate
from soundalike.audio.arrays import prepare as prepare
from soundalike.audio.folders import find as find
from soundalike.audio.kinds import SUFFIXES as SUFFIXES
from soundalike.audio.kinds import suffixes as suffixes
from soundalike.core.errors import (
    AudioError,
    SoundalikeError,
    SoundWarning,
    TruncatedAudioWarning,
)

if TYPE_CHECKING:
    from soundfile import SoundFile

_BLOCK = 1 << 18  # values decoded at a time, all channels together
_SMALL_BLOCK = 1024
_MOST_SECONDS = 60  # of a low rate, which becomes many samples of a high one
_SYSTEM_ERROR = 2  # libsndfile's SF_ERR_SYSTEM
_OPEN_ENDED = 0x7FFF0000  # programs that write to a pipe put a length at or above this one in the header


_CUT_SHORT = "seems to be cut short"


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


def load(path: str | Path, sample_rate: int = 16000, seconds: float | None = None) -> np.ndarray:
    """The waveform of an audio file: mono (mean of the channels), resampled.

    Integer formats are scaled to [-1, 1]; float formats keep their values, also beyond 1.

    Args:
        path: any file that libsndfile reads.
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


def warn(path: str | os.PathLike[str], note: str | None, stacklevel: int = 2) -> None:
    """Warns of what is to be known of a file, if there is anything.

    Args:
        path: of the file.
        note: that of `Decoded` or `Blocks`.
        stacklevel: of the warning: 2 for the caller of this function.
    """
    if note:
        kind = TruncatedAudioWarning if _CUT_SHORT in note else SoundWarning
        warnings.warn(f"{os.fspath(path)}: {note}", kind, stacklevel=stacklevel + 1)


def decode(path: str | Path, sample_rates: Sequence[int], seconds: float | None = None) -> Decoded:
    """As ``load``, for several sample rates in one pass and with the truncation told instead of warned about.

    Args:
        path: any file that libsndfile reads.
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
    path, outcome = Path(path), _Outcome()
    parts: dict[int, list[np.ndarray]] = {rate: [] for rate in sample_rates}
    try:
        for pieces in _stream(path, sample_rates, seconds, outcome):
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
    """

    def __init__(self, path: str | Path, sample_rate: int = 16000, seconds: float = 30.0) -> None:
        """Choose the blocks.

        Args:
            path: any file that libsndfile reads.
            sample_rate: of the blocks, in Hz.
            seconds: length of a block; the last one is as long as what is left, and no block is empty.

        Raises:
            SoundalikeError: if a sample rate is none, or seconds is not above 0.
        """
        check_rate(sample_rate)
        if not 0 < seconds < math.inf:
            raise SoundalikeError(f"seconds is {seconds!r}: the length of a block must be greater than 0.")
        self.path, self.sample_rate = Path(path), sample_rate
        self.size = max(1, round(seconds * sample_rate))
        self.note: str | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        """Mono float32 blocks (samples,)."""
        outcome = _Outcome()
        waiting = np.zeros(0, np.float32)
        for pieces in _stream(self.path, [self.sample_rate], None, outcome):
            waiting = np.concatenate([waiting, pieces[self.sample_rate]])
            while len(waiting) >= self.size:
                yield waiting[: self.size]
                waiting = waiting[self.size :]
        self.note = outcome.note
        if len(waiting):
            yield waiting


def duration(path: str | Path) -> float | None:
    """Seconds that a file says it holds, nothing decoded; None where it says nothing or cannot be read."""
    try:
        _check_file(Path(path))
        with _open(Path(path)) as file:
            return max(0.0, file.frames / max(file.samplerate, LOWEST_RATE))
    except Exception:  # damaged files make libsndfile and soundfile raise many things
        return None


def is_long(path: str | Path) -> bool:
    """Whether a file says that it holds more than ``LONG`` seconds, so that it is better not held whole."""
    return (duration(path) or 0.0) > LONG


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"{path}: cannot be opened ({reason}).") from error
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"{path}: is a folder, not an audio file.")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(f"{path}: is not a regular file.")
    if status.st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes).")
    if not os.access(path, os.R_OK):
        raise AudioError(f"{path}: cannot be opened (Permission denied).")


@dataclass
class _Outcome:
    """What is known of a file once it was read."""

    note: str | None = None


@contextmanager
def _open(path: Path) -> Iterator[SoundFile]:
    from soundfile import SoundFile

    if path.suffix.lower() == ".raw":  # from that name, soundfile would conclude that there is no header
        with path.open("rb") as stream, SoundFile(stream.fileno(), closefd=False) as file:
            yield file
    else:  # as bytes, because a file name need not be valid Unicode
        with SoundFile(os.fsencode(path) if os.name == "posix" else path) as file:
            yield file


def _stream(
    path: Path, sample_rates: Sequence[int], seconds: float | None, outcome: _Outcome
) -> Iterator[dict[int, np.ndarray]]:
    """The waveform of a file piece by piece, at each of the rates; together there is at least one sample of each.

    Pieces are as long as it happens, also empty. What is known of the file at its end is put into ``outcome``.
    """
    _check_file(path)
    reading = _Reading(path, sample_rates, seconds)
    # A damaged file loses the whole block where its decoder fails: going on from there with small ones saves more.
    for size in (_BLOCK, _SMALL_BLOCK):
        try:
            with _open(path) as file:
                yield from reading.pieces(file, size)
            outcome.note = reading.note
            return
        except AudioError:
            raise
        except Exception as error:  # damaged files make libsndfile, soundfile and soxr raise many things
            failure = error
            if (cause := _failure_of_machine(error)) is not None:
                raise AudioError(f"{path}: could not be read ({_explain(error)}).") from cause
    raise AudioError(f"{path}: not readable as audio ({_explain(failure)}).") from failure


class _Reading:
    """How far a file was read, so that it can be opened again and read on from there."""

    def __init__(self, path: Path, sample_rates: Sequence[int], seconds: float | None) -> None:
        self.path, self.sample_rates, self.seconds = path, sample_rates, seconds
        self.convert: dict[int, Callable[[np.ndarray, bool], np.ndarray]] = {}
        self.given = dict.fromkeys(sample_rates, 0)
        self.first: np.ndarray | None = None
        self.count = 0  # samples read, at the file's own rate
        self.note: str | None = None

    def pieces(self, file: SoundFile, block_size: int) -> Iterator[dict[int, np.ndarray]]:
        native = file.samplerate
        if not LOWEST_RATE <= native <= HIGHEST_RATE:
            raise AudioError(f"{self.path}: its header gives a sample rate of {native} Hz, which cannot be right.")
        self.convert = self.convert or {rate: _converter(native, rate) for rate in self.sample_rates}
        limit = math.inf if self.seconds is None else max(1, math.ceil(self.seconds * native))
        size = max(_SMALL_BLOCK, min(block_size // file.channels, _MOST_SECONDS * native))
        broken = not self._skip(file)
        while self.count < limit and not broken:
            try:
                block = file.read(int(min(size, limit - self.count)), dtype="float32", always_2d=True)  # (n, channels)
            except Exception as error:
                if self.first is None or block_size > _SMALL_BLOCK or _failure_of_machine(error) is not None:
                    raise
                broken = True
                break
            if not len(block):
                break
            with np.errstate(over="ignore", invalid="ignore"):
                mono = block.mean(axis=1)  # (n,)
            check_finite(mono, f"{self.path}:")
            self.first = mono[:1].copy() if self.first is None else self.first
            self.count += len(mono)
            yield self._converted(mono, False)
        cut_short = broken or (self.count < limit and _ends_early(file, self.path, self.count))
        if self.first is None:
            raise AudioError(f"{self.path}: holds no {'complete ' if cut_short else ''}audio samples.")
        if cut_short:
            self.note = f"{_CUT_SHORT}; its first {self.count / native:.3g} s are used."
        rest = self._converted(np.zeros(0, np.float32), True)
        yield {rate: piece if self.given[rate] else self.first for rate, piece in rest.items()}

    def _skip(self, file: SoundFile) -> bool:
        """Whether what was read before could be read again; by reading, since not every decoder seeks exactly."""
        skipped = 0
        while skipped < self.count:
            block = file.read(min(_BLOCK // file.channels + 1, self.count - skipped), dtype="float32")
            if not len(block):
                return False
            skipped += len(block)
        return True

    def _converted(self, mono: np.ndarray, last: bool) -> dict[int, np.ndarray]:
        result = {}
        for rate, step in self.convert.items():
            result[rate] = step(mono, last)
            check_finite(result[rate], f"{self.path}: resampled, it")
            self.given[rate] += len(result[rate])
        return result


def _failure_of_machine(error: Exception) -> OSError | MemoryError | None:
    """What failed if it was not the file, so that it may be read another time; None otherwise."""
    if isinstance(error, (OSError, MemoryError)):
        return error
    # what libsndfile makes of an input error or too many open files; no damage in a file gives it
    return OSError(_explain(error)) if getattr(error, "code", None) == _SYSTEM_ERROR else None


def _explain(error: Exception) -> str:
    said = (
        getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error) or type(error).__name__
    )
    if "possibly a pipe" in said or isinstance(error, TypeError):  # libsndfile's and soundfile's slips for it
        return "no known audio format in it"
    return said.strip().removeprefix("Error : ").rstrip(".")


def _converter(source: int, target: int) -> Callable[[np.ndarray, bool], np.ndarray]:
    """A function (block, whether it is the last) -> resampled block."""
    if source == target:
        return lambda block, last: block
    import soxr

    return soxr.ResampleStream(source, target, 1, dtype="float32", quality="HQ").resample_chunk


def _ends_early(file: SoundFile, path: Path, count: int) -> bool:
    """Whether a file holds less than its header says. libsndfile corrects most lengths, but logs them."""
    if count < file.frames or "without an End-Of-Stream flag" in file.extra_info:
        return True
    if file.format == "OGG":
        return not _ogg_is_closed(path)
    for said, real in re.findall(r": (\d+) \(should be (\d+)\)", file.extra_info):
        if int(real) + 16 < int(said) < _OPEN_ENDED:  # a few bytes are common slips of writing programs
            return True
    return False


def _ogg_is_closed(path: Path) -> bool:
    """Whether the last page of an Ogg file is whole and flagged as the last (RFC 3533, section 6)."""
    largest_page = 27 + 255 + 255 * 255
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - largest_page))
        tail = stream.read()
    start = tail.rfind(b"OggS")
    if start < 0 or len(tail) < start + 27:
        return False
    segments = tail[start + 26]
    table = tail[start + 27 : start + 27 + segments]
    return bool(tail[start + 5] & 4) and len(tail) >= start + 27 + segments + sum(table)
