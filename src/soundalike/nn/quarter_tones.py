"""A spectrum in quarter tones: fine enough to tell one note from the next, which mel bands are not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from soundalike.nn.pooling import Streamed

WINDOW_SECONDS = 0.128  # 8 Hz apart: a semitone from 130 Hz on, and nearly one lower down
HOP_SECONDS = 0.02
LOWEST_HZ = 55.0  # A1
OFFSET = 0.1
"""Added before the logarithm: what is 60 dB below a loud tone is silence."""


class QuarterTones(nn.Module):
    """Logarithms of spectral magnitudes at quarter tones from 55 Hz up, in long frames.

    Args:
        sample_rate: in Hz.
    """

    window: Tensor
    below: Tensor
    share: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.length = round(WINDOW_SECONDS * sample_rate)
        self.hop = max(1, round(HOP_SECONDS * sample_rate))
        tone = torch.arange(self.tones(sample_rate), dtype=torch.float64)
        place = LOWEST_HZ * torch.exp2(tone / 24.0) * self.length / sample_rate  # in bins of the spectrum
        self.register_buffer("window", torch.hann_window(self.length), persistent=False)
        self.register_buffer("below", place.floor().long(), persistent=False)
        self.register_buffer("share", (place - place.floor()).float(), persistent=False)

    @staticmethod
    def tones(sample_rate: int) -> int:
        """How many quarter tones there are below 7/8 of half the sample rate: 168 at 16 kHz."""
        return 1 + math.floor(24.0 * math.log2(0.4375 * sample_rate / LOWEST_HZ))

    def parts(self, waveform: Tensor | Streamed, seconds: float) -> Iterator[Tensor]:
        """Stretches (n, samples) of a long waveform that together have the frames of the whole."""
        frames = max(1, round(seconds * self.sample_rate / self.hop))
        count = 1 + max(0, waveform.shape[1] - self.length) // self.hop
        for start in range(0, count, frames):
            stop = min(start + frames, count)
            yield waveform[:, start * self.hop : (stop - 1) * self.hop + self.length]

    def forward(self, waveform: Tensor) -> Tensor:
        """Waveforms (n, samples), zero-padded on the right to one frame, to (n, frames, tones)."""
        padded = functional.pad(waveform.float(), (0, max(0, self.length - waveform.shape[1])))
        with torch.autocast(waveform.device.type, enabled=False):
            spectrum = torch.fft.rfft(padded.unfold(1, self.length, self.hop) * self.window)
            real, imaginary = torch.view_as_real(spectrum).square().unbind(-1)
            magnitude = (real + imaginary + 1e-20).sqrt()  # (n, frames, bins); the gradient of silence stays finite
            return torch.log(
                torch.lerp(magnitude[..., self.below], magnitude[..., self.below + 1], self.share) + OFFSET
            )
