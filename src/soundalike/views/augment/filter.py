"""High-pass and low-pass filters."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from soundalike.views.augment.augmentation import (
    Augmentation,
    Drawn,
    Range,
    between,
    check_count,
    check_range,
    chunks,
    fast_length,
)


class _Butterworth(Augmentation):
    """A second-order Butterworth filter, causal, by the bilinear transform: 12 dB for each octave."""

    drawn_numbers = 1
    high = False

    def __init__(self, sample_rate: int, cutoff: Range, p: float) -> None:
        super().__init__(p)
        self.sample_rate = check_count("sample_rate", sample_rate, 1)
        self.cutoff = check_range("cutoff", cutoff, 1.0, sample_rate / 2, " Hz, half the sample rate")

    def _values(self, u: Tensor, size: int) -> Drawn:
        low, high = (math.log(bound) for bound in self.cutoff)
        return {"cutoff": torch.exp(between(u[:, 0], (low, high))).clamp(*self.cutoff)}  # Hz

    def _transform(self, audio: Tensor, drawn: Drawn) -> Tensor:
        samples = audio.shape[1]
        # The filter rings exp(-t · π · √2 · cutoff): zeros for 100 dB of it, or it would come back in at the start.
        ringing = min(samples, math.ceil(self.sample_rate * math.log(1e5) / (math.pi * 2**0.5 * self.cutoff[0])))
        length = fast_length(samples + ringing)
        # half the angular frequencies; in single precision the tangent of the last would change its sign
        angle = torch.arange(length // 2 + 1, dtype=torch.float64, device=audio.device) * (math.pi / length)
        tangent = torch.tan(angle).clamp(0.0, 1e9).to(audio.dtype)
        parts = []
        for rows in chunks(len(audio), length):
            response = self._response(tangent, drawn["cutoff"][rows].to(audio.dtype))
            spectrum = torch.fft.rfft(audio[rows], length)
            parts.append(torch.fft.irfft(spectrum * response, length)[:, :samples])
        return torch.cat(parts)

    def _response(self, tangent: Tensor, cutoff: Tensor) -> Tensor:
        """Complex gains (n, bins) from the tangents of half the angular frequencies (bins,)."""
        corner = torch.tan(cutoff * (math.pi / self.sample_rate))[:, None]
        ratio = (tangent / corner).clamp(1e-8, 1e8)
        if self.high:
            ratio = ratio.reciprocal()
        # 1 / (1 + √2·s + s²) at s = j·ratio; the high-pass has 1 / s in place of s
        square = ratio.square()
        inverse = (1.0 + square.square()).reciprocal_()
        imaginary = ratio * inverse * (math.sqrt(2.0) if self.high else -math.sqrt(2.0))
        return torch.complex((1.0 - square) * inverse, imaginary)


class HighPass(_Butterworth):
    """Takes away what lies below a cutoff frequency, 12 dB for each octave.

    Args:
        sample_rate: in Hz.
        cutoff: where the gain is -3 dB, in Hz, drawn uniformly in octaves.
        p: the chance that a sound is changed.

    Source:
        The ranges are those of Cherep and Singh, arXiv 2406.05923; a Butterworth filter of second order.
    """

    high = True

    def __init__(self, sample_rate: int = 16000, cutoff: Range = (20.0, 800.0), p: float = 0.5) -> None:
        super().__init__(sample_rate, cutoff, p)


class LowPass(_Butterworth):
    """Takes away what lies above a cutoff frequency, 12 dB for each octave.

    Args:
        sample_rate: in Hz.
        cutoff: where the gain is -3 dB, in Hz, drawn uniformly in octaves.
        p: the chance that a sound is changed.

    Source:
        The ranges are those of Cherep and Singh, arXiv 2406.05923; a Butterworth filter of second order.
    """

    def __init__(self, sample_rate: int = 16000, cutoff: Range = (1200.0, 8000.0), p: float = 0.5) -> None:
        super().__init__(sample_rate, cutoff, p)
