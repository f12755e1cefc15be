"""Audio files and arrays to mono float32 waveforms: the only place that opens an audio file."""

from __future__ import annotations

import math
import numbers
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundalike.errors import AudioError, SoundalikeError

if TYPE_CHECKING:
    from soundfile import SoundFile

SUFFIXES = (
    ".aif",
    ".aifc",
    ".aiff",
    ".au",
    ".caf",
    ".flac",
    ".mp3",
    ".oga",
    ".ogg",
    ".opus",
    ".rf64",
    ".snd",
    ".w64",
    ".wav",
)

_LOWEST_RATE, _HIGHEST_RATE = 100, 10_000_000  # Hz; outside, it is a damaged header or a rate given in kHz
_MOST_CHANNELS = 64  # of an array: beyond it, (samples, channels) or a batch is far likelier
_BLOCK = 1 << 18  # values decoded at a time, all channels together
_SMALL_BLOCK = 1024
_SYSTEM_ERROR = 2  # libsndfile's SF_ERR_SYSTEM
_OPEN_ENDED = 0x7FFF0000  # programs that write to a pipe put a length at or above this one in the header


class TruncatedAudioWarning(UserWarning):
    """A file that ends too early; what could be decoded of it is used."""


@dataclass(frozen=True)
class Decoded:
    """What one file holds, at each sample rate asked for.

    Attributes:
        waveforms: sample rate in Hz -> mono float32 waveform (samples,), with at least one sample.
        note: what was wrong with a file that could be used all the same, otherwise None.
    """

    waveforms: dict[int, np.ndarray]
    note: str | None = None


def find(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """The audio files that paths stand for.

    Args:
        paths: files and folders. A file is kept whatever its suffix; of a folder, every file below it with a
            suffix in ``SUFFIXES`` (in either case) whose path has no hidden part, sorted.

    Returns:
        Files in the order given.

    Raises:
        SoundalikeError: if a path does not exist, or a folder holds no audio.
    """
    found: list[Path] = []
    for path in [paths] if isinstance(paths, (str, Path)) else paths:
        path = Path(path)
        if path.is_dir():
            inside = list(_walk(path))
            if not inside:
                raise SoundalikeError(f"{path}: the folder holds no audio (looked for {', '.join(SUFFIXES)}).")
            found += sorted(inside)
        elif os.path.lexists(path):
            found.append(path)
        else:
            raise SoundalikeError(f"{path}: no such file or folder.")
    return found


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
    if decoded.note:
        warnings.warn(f"{path}: {decoded.note}", TruncatedAudioWarning, stacklevel=2)
    return decoded.waveforms[sample_rate]


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
    import soundfile

    for rate in sample_rates:
        check_rate(rate)
    if seconds is not None and not seconds > 0:
        raise SoundalikeError(f"seconds is {seconds!r}: it must be greater than 0.")
    if seconds is not None and math.isinf(seconds):
        seconds = None
    path = Path(path)
    _check_file(path)
    # A damaged file loses the whole block where its decoder fails: a second try with small ones saves more.
    for size in (_BLOCK, _SMALL_BLOCK):
        try:
            # As bytes, because a file name need not be valid Unicode.
            with soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else path) as file:
                return _decode_open(file, path, sample_rates, seconds, size)
        except AudioError:
            raise
        except Exception as error:  # damaged files make libsndfile, soundfile and soxr raise many things
            failure = error
            if (cause := _failure_of_machine(error)) is not None:
                raise AudioError(f"{path}: could not be read ({_explain(error)}).") from cause
    raise AudioError(f"{path}: not readable as audio ({_explain(failure)}).") from failure


def prepare(waveform: Any, sample_rate: float, target_rate: float) -> np.ndarray:
    """The waveform of an array or tensor that somebody passes: mono, float32, resampled.

    Args:
        waveform: (samples,) for mono or (channels, samples), channels first, at most 64 of them. Floats are
            kept as they are; 8-, 16- and 32-bit integers are scaled by their full range to [-1, 1].
        sample_rate: of the waveform, in Hz.
        target_rate: of the result, in Hz.

    Returns:
        Float32 waveform (samples,), with at least one sample; it may share the memory of the given one.

    Raises:
        AudioError: if the waveform is empty, has another shape or type, or holds NaN or infinite samples.
        SoundalikeError: if a sample rate is not a number between 100 Hz and 10 MHz.
    """
    import soxr

    source, target = check_rate(sample_rate), check_rate(target_rate)
    samples = _scaled(_as_array(waveform))
    if samples.ndim not in (1, 2):
        raise AudioError(
            f"the waveform has shape {samples.shape}: pass one sound as (samples,) or (channels, samples)."
        )
    if samples.size == 0:
        raise AudioError("the waveform is empty.")
    if samples.ndim == 2:
        _check_channels(samples.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            samples = samples.mean(axis=0)  # (samples,)
    _check_finite(samples, "the waveform")
    if source == target:
        return samples
    resampled = soxr.resample(samples, source, target, quality="HQ")
    _check_finite(resampled, "the resampled waveform")  # values near the largest float can overflow
    return resampled if resampled.size else samples[:1]


def check_rate(rate: object) -> float:
    """The sample rate as a number.

    Args:
        rate: in Hz, from 100 to 10,000,000.

    Raises:
        SoundalikeError: if it is anything else.
    """
    if isinstance(rate, bool) or not isinstance(rate, numbers.Real):
        raise SoundalikeError(f"the sample rate is {rate!r}: give a number of samples per second, such as 16000.")
    if not _LOWEST_RATE <= float(rate) <= _HIGHEST_RATE:
        raise SoundalikeError(
            f"the sample rate is {rate} Hz: it must lie between {_LOWEST_RATE} and {_HIGHEST_RATE} Hz."
        )
    return float(rate)


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(parent, name)


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


def _decode_open(
    file: SoundFile, path: Path, sample_rates: Sequence[int], seconds: float | None, block_size: int
) -> Decoded:
    native = file.samplerate
    if not _LOWEST_RATE <= native <= _HIGHEST_RATE:
        raise AudioError(f"{path}: its header gives a sample rate of {native} Hz, which cannot be right.")
    limit = math.inf if seconds is None else max(1, math.ceil(seconds * native))
    convert = {rate: _converter(native, rate) for rate in sample_rates}
    parts: dict[int, list[np.ndarray]] = {rate: [] for rate in sample_rates}
    first: np.ndarray | None = None
    count, broken = 0, False
    size = max(_SMALL_BLOCK, block_size // file.channels)
    while count < limit:
        try:
            block = file.read(int(min(size, limit - count)), dtype="float32", always_2d=True)  # (n, channels)
        except Exception as error:
            if first is None or block_size > _SMALL_BLOCK or _failure_of_machine(error) is not None:
                raise
            broken = True
            break
        if not len(block):
            break
        with np.errstate(over="ignore", invalid="ignore"):
            mono = block.mean(axis=1)  # (n,)
        _check_finite(mono, f"{path}:")
        first = mono[:1] if first is None else first
        count += len(mono)
        for rate, step in convert.items():
            parts[rate].append(step(mono, False))
    cut_short = broken or (count < limit and _ends_early(file, path, count))
    if first is None:
        raise AudioError(f"{path}: holds no {'complete ' if cut_short else ''}audio samples.")
    waveforms = {}
    for rate, step in convert.items():
        waveform = np.concatenate([*parts[rate], step(np.zeros(0, np.float32), True)])
        if seconds is not None:
            waveform = waveform[: max(1, round(seconds * rate))]
        _check_finite(waveform, f"{path}: resampled, it")
        waveforms[rate] = waveform if waveform.size else first
    note = f"seems to be cut short; its first {count / native:.3g} s are used." if cut_short else None
    return Decoded(waveforms, note)


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


def _check_finite(samples: np.ndarray, what: str) -> None:
    if not np.isfinite(samples).all():
        raise AudioError(f"{what} holds NaN or infinite samples.")


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


def _as_array(waveform: Any) -> np.ndarray:
    if hasattr(waveform, "detach"):  # a torch tensor, without importing torch
        waveform = waveform.detach().cpu()
        waveform = (waveform.float() if waveform.is_floating_point() else waveform).numpy()
    try:
        return np.asarray(waveform)
    except (TypeError, ValueError) as error:
        raise AudioError(f"the waveform is not an array of numbers ({error}).") from error


def _scaled(samples: np.ndarray) -> np.ndarray:
    """The samples as float32, integers by their full scale."""
    kind, width = samples.dtype.kind, samples.dtype.itemsize
    if kind == "f":
        with np.errstate(over="ignore"):
            return np.asarray(samples, dtype=np.float32, order="C")
    if kind in "iu" and width <= 4:
        half = float(2 ** (8 * width - 1))
        return ((samples.astype(np.float64) - (half if kind == "u" else 0.0)) / half).astype(np.float32)
    advice = "int64 has no agreed full scale, so convert to float, int16 or int32" if kind in "iu" else "use float"
    raise AudioError(f"the waveform has samples of type {samples.dtype}: {advice}.")


def _check_channels(shape: tuple[int, ...]) -> None:
    channels, length = shape
    if channels > _MOST_CHANNELS or channels > max(8, length):
        raise AudioError(
            f"the waveform has shape {shape}: 2-D means (channels, samples); transpose (samples, channels), "
            "and pass the sounds of a batch one at a time."
        )
