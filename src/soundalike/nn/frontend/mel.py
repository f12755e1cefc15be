"""Triangular filters on the mel scale."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mel_filters(sample_rate: int, fft: int, bands: int, minimum_hz: float, maximum_hz: float) -> Tensor:
    """Triangles of peak 1 that are linear and evenly spaced in mel (HTK's scale), without the DC bin.

    Args:
        sample_rate: in Hz.
        fft: points of the Fourier transform.
        bands: number of triangles.
        minimum_hz: where the first triangle starts.
        maximum_hz: where the last triangle ends.

    Returns:
        ``(fft // 2 + 1, bands)``, float64, from FFT magnitudes to bands.
    """
    bins = _mel(torch.linspace(0, sample_rate / 2, fft // 2 + 1, dtype=torch.float64))[:, None]
    low, high = _mel(torch.tensor([minimum_hz, maximum_hz], dtype=torch.float64)).tolist()
    edges = torch.linspace(low, high, bands + 2, dtype=torch.float64)
    start, centre, end = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins - start) / (centre - start)
    falling = (end - bins) / (end - centre)
    return torch.minimum(rising, falling).clamp_min(0)  # 0 at the DC bin, which no triangle reaches


def _mel(hertz: Tensor) -> Tensor:
    return 2595 / math.log(10) * torch.log1p(hertz / 700)
