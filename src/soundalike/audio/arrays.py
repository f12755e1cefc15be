"""Arrays and tensors that somebody passes to mono float32 waveforms."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from soundalike.core.errors import AudioError, SoundalikeError

LOWEST_RATE, HIGHEST_RATE = 100, 10_000_000  # Hz; outside, it is a damaged header or a rate given in kHz
_MOST_CHANNELS = 64  # of an array: beyond it, (samples, channels) or a batch is far likelier


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
    check_finite(samples, "the waveform")
    if source == target:
        return samples
    import soxr  # needed for other rates alone

    resampled = soxr.resample(samples, source, target, quality="HQ")
    check_finite(resampled, "the resampled waveform")  # values near the largest float can overflow
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
