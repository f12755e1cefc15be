"""Arrays and tensors that somebody passes to mono float32 waveforms."""

from __future__ import annotations

import numbers
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from soundalike.audio.mix import Levels, level_note, mixed
from soundalike.audio.segment import Segment
from soundalike.core.errors import AudioError, SoundalikeError, SoundWarning

LOWEST_RATE, HIGHEST_RATE = 100, 10_000_000  # Hz; outside, it is a damaged header or a rate given in kHz
FEW = 8
"""Channels up to which an array of two dimensions is one sound."""
_LEAST_SOUND = 32  # samples of a sound with several channels
LEAST_OF_MANY = 256
"""Samples of each of many sounds in one array; fewer are likelier channels, or features."""

Meaning = Literal["mono", "channels first", "channels last", "sounds"]


def meaning(shape: tuple[int, ...]) -> Meaning:
    """What an array of one or two dimensions is: the one rule for all that takes arrays.

    Args:
        shape: of the array.

    Returns:
        ``mono`` for (samples,). Of two dimensions: ``channels first`` or ``channels last`` where one of them is at
        most 8 and the other is longer; ``sounds`` where it can only be many sounds (n, samples), of which there are
        more than 8 and each is longer than their number.

    Raises:
        AudioError: it can be taken for more than one of these, or for none.
    """
    if len(shape) == 1:
        return "mono"
    if len(shape) == 2:
        rows, columns = shape
        if rows == 0:
            return "sounds"
        if columns == 0:
            raise AudioError("the waveform is empty.")
        if 1 in shape or (min(shape) <= FEW and max(shape) >= _LEAST_SOUND):
            return "channels first" if rows <= columns else "channels last"
        if min(shape) > FEW and columns >= max(rows, LEAST_OF_MANY):
            return "sounds"
    raise AudioError(
        f"the waveform has shape {tuple(shape)}: one sound is (samples,), (channels, samples) or (samples, channels), "
        f"with at most {FEW} channels, and several sounds are a list of such."
    )


def prepare(waveform: Any, sample_rate: float, target_rate: float, stacklevel: int = 2) -> np.ndarray:
    """The waveform of an array or tensor that somebody passes: mono, float32, resampled.

    Channels are averaged; where they cancel each other, the louder one is taken.

    Args:
        waveform: one sound, as `meaning` tells it: (samples,), (channels, samples) or (samples, channels). Floats are
            kept as they are; 8-, 16- and 32-bit integers are scaled by their full range to [-1, 1].
        sample_rate: of the waveform, in Hz.
        target_rate: of the result, in Hz.
        stacklevel: of warnings: 2 for the caller of this function.

    Returns:
        Float32 waveform (samples,), with at least one sample; it may share the memory of the given one.

    Raises:
        AudioError: if the waveform is empty, has another shape or type, or holds NaN or infinite samples.
        SoundalikeError: if a sample rate is not a number between 100 Hz and 10 MHz.

    Warns:
        SoundWarning: if its channels cancel each other, or nothing of it is heard.
    """
    source, target = check_rate(sample_rate), check_rate(target_rate)
    samples = _scaled(as_array(waveform))
    kind = meaning(samples.shape)
    if samples.size == 0:
        raise AudioError("the waveform is empty.")
    if kind == "sounds":
        raise AudioError(
            f"the waveform has shape {samples.shape}, which is {len(samples)} sounds: give one, as (samples,), "
            "(channels, samples) or (samples, channels)."
        )
    note = None
    if kind != "mono":
        samples, note = mixed(samples.T if kind == "channels first" else samples, source)  # (samples,)
    check_finite(samples, "the waveform")
    result = samples if source == target else _resampled(samples, source, target)
    native, heard = Levels(), Levels()
    native.add(samples)
    heard.add(result)
    for said in (note, level_note(native, heard, target)):
        if said:
            warnings.warn(f"the waveform: {said}", SoundWarning, stacklevel=stacklevel)
    return result


def _resampled(samples: np.ndarray, source: float, target: float) -> np.ndarray:
    import soxr  # needed for other rates alone

    resampled: np.ndarray = soxr.resample(samples, source, target, quality="HQ")
    check_finite(resampled, "the resampled waveform")  # values near the largest float can overflow
    return resampled if resampled.size else samples[:1]


def waveforms_of(sounds: Any) -> Sequence[Any]:
    """Mono waveforms that somebody passes, one for each row.

    Args:
        sounds: a list of (samples,); or an array or tensor (n, samples) that cannot be anything else.

    Raises:
        AudioError: an array is one sound, or may be; or one of the sounds has channels.
    """
    if hasattr(sounds, "shape") and meaning(tuple(sounds.shape)) != "sounds":
        raise AudioError(f"the waveform has shape {tuple(sounds.shape)}: give a list of waveforms (samples,).")
    for row, sound in enumerate(sounds):
        if len(getattr(sound, "shape", (1,))) != 1:
            raise AudioError(f"sound {row}: the waveform has shape {tuple(sound.shape)}; give (samples,), mono.")
    return sounds


def several(sound: Any) -> Iterable[Any] | None:
    """The sounds that somebody passes, or None where it is one sound: the one rule of all that takes either.

    Args:
        sound: a path or a segment of a file, an array or tensor, a pair of a waveform and its rate, a list of numbers;
            or a collection of such, also a pandas Series, an array of strings or a generator.

    Raises:
        AudioError: an array can be taken for one or for several, or it is neither a sound nor a collection.
    """
    if hasattr(sound, "to_numpy"):  # what pandas has, without importing pandas
        sound = sound.to_numpy()
    if isinstance(sound, str | os.PathLike | Segment) or with_rate(sound) is not None:
        return None
    if hasattr(sound, "ndim") and hasattr(sound, "dtype") and not isinstance(sound, numbers.Real):
        if sound.ndim == 1 and getattr(sound.dtype, "kind", "f") in "OUT":
            return list(sound.tolist())  # paths
        return sound if sound.ndim == 3 or meaning(tuple(sound.shape)) == "sounds" else None
    if isinstance(sound, list | tuple) and sound and all(isinstance(item, numbers.Real) for item in sound):
        return None
    if not isinstance(sound, list | tuple | Iterator) or hasattr(sound, "read"):
        raise AudioError(refusal(sound))
    return sound


def with_rate(sound: Any) -> tuple[Any, float] | None:
    """The waveform and the rate of a pair of both, which librosa and soundfile return; None of anything else."""
    if isinstance(sound, tuple) and len(sound) == 2 and np.ndim(sound[0]) and isinstance(sound[1], numbers.Real):
        return sound[0], float(sound[1])
    return None


def check_rate(rate: object) -> float:
    """The sample rate as a number.

    Args:
        rate: in Hz, from 100 to 10,000,000.

    Raises:
        SoundalikeError: if it is anything else.
    """
    if isinstance(rate, bool) or not isinstance(rate, numbers.Real):
        raise SoundalikeError(f"the sample rate is {rate!r}: give a number of samples per second, such as 16000.")
    if not LOWEST_RATE <= float(rate) <= HIGHEST_RATE:
        raise SoundalikeError(
            f"the sample rate is {rate} Hz: it must lie between {LOWEST_RATE} and {HIGHEST_RATE} Hz."
        )
    return float(rate)


def check_finite(samples: np.ndarray, what: str) -> None:
    """Refuses samples that are not finite, in words that begin with ``what``.

    Raises:
        AudioError: there are any.
    """
    if not np.isfinite(samples).all():
        raise AudioError(f"{what} holds NaN or infinite samples.")


def as_array(waveform: Any) -> np.ndarray:
    """What somebody passes as an array.

    Raises:
        AudioError: it is none.
    """
    if hasattr(waveform, "to_numpy"):  # pandas
        waveform = waveform.to_numpy()
    if hasattr(waveform, "detach"):  # a torch tensor, without importing torch
        waveform = waveform.detach().cpu()
        waveform = (waveform.float() if waveform.is_floating_point() else waveform).numpy()
    try:
        array = np.asarray(waveform)
        return array.astype(np.float64) if isinstance(waveform, list | tuple) and array.dtype.kind in "iu" else array
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


def prepared(
    sound: Any, target_rate: float, sample_rate: float | None = None, row: int | None = None, stacklevel: int = 2
) -> np.ndarray:
    """As `prepare`, of what may be a pair of a waveform and its rate.

    Args:
        sound: a waveform as array, tensor or list of numbers, or a pair.
        target_rate: of the result, in Hz.
        sample_rate: of a waveform that is no pair, in Hz; ``target_rate`` where not given.
        row: its place among several, for the sentence of an error.
        stacklevel: of warnings: 2 for the caller of this function.
    """
    waveform, rate = with_rate(sound) or (sound, target_rate if sample_rate is None else sample_rate)
    try:
        if hasattr(waveform, "read") or waveform is None or isinstance(waveform, str | bytes | dict):
            raise AudioError(refusal(waveform))
        return prepare(waveform, rate, target_rate, stacklevel + 1)
    except AudioError as error:
        raise AudioError(str(error) if row is None else f"sound {row}: {error}") from None


def refusal(sound: Any) -> str:
    """Why something that is neither a path nor an array nor a list of such is no sound, as a sentence."""
    name = type(sound).__name__
    if hasattr(sound, "read"):
        return f"{name} is a file object; give the path of the file, or the pair that soundfile.read makes of it."
    return f"{name} is not a sound; give a path, an array, a tensor, a pair (waveform, sample rate) or a list of such."
