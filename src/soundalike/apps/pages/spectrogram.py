"""Mel spectrograms as pages show them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from soundalike.nn.frontend import LogMel

LOWEST, HIGHEST, BANDS, DEPTH = 50.0, 8000.0, 96, 70.0  # Hz, Hz, mel bands, dB
_WINDOW, _HOP = 0.046, 0.005  # seconds
_MOST_COLUMNS = 1000  # of a picture


def spectrograms(sounds: Tensor, sample_rate: int) -> Tensor:
    """Mel spectrograms (n, T, bands) of sounds (n, samples): dB above the least that is shown."""
    fft = 2 << (round(_WINDOW * sample_rate) - 1).bit_length()
    frontend = LogMel(sample_rate, _WINDOW, _HOP, fft, BANDS, LOWEST, min(HIGHEST, sample_rate / 2), 1e-5, None)
    levels = torch.cat([frontend.whole(some)[:, 0] for some in sounds.split(32)]) * (20 / math.log(10))
    return (levels - levels.amax() + DEPTH).clamp(min=0.0)


def picture(waveform: np.ndarray, sample_rate: int) -> bytes:
    """The spectrogram of a sound for ``parts/spectrogram.js``: a byte a level, column by column, low bands first.

    Args:
        waveform: mono, float32, (samples,), at least one.
        sample_rate: in Hz.
    """
    least = math.ceil(2 * _WINDOW * sample_rate)
    sound = torch.from_numpy(np.pad(waveform, (0, max(0, least - len(waveform)))))
    with torch.inference_mode():
        levels = spectrograms(sound[None], sample_rate)[0].numpy()  # (T, bands)
    step = math.ceil(len(levels) / _MOST_COLUMNS)
    columns = np.maximum.reduceat(levels, np.arange(0, len(levels), step))
    return (columns * (255 / DEPTH)).round().astype(np.uint8).tobytes()
