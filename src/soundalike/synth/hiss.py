"""Steady noise of any colour, drawn as a spectrum: its filter costs one product for each frequency."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from soundalike.core import random
from soundalike.synth.place import fast_length

_LOWEST_HZ = 40.0


class Hiss(nn.Module):
    """Noise whose spectrum is given for the whole sound.

    Args:
        samples: length of a sound in samples.
        sample_rate: samples a second.
        start: position of the first number that it takes of a sound's noise.
    """

    hertz: Tensor
    octaves: Tensor
    positions: Tensor

    def __init__(self, samples: int, sample_rate: int, start: int) -> None:
        super().__init__()
        self.samples = samples
        self.period = fast_length(max(2, samples))
        bins = self.period // 2 + 1
        positions = random.positions(2 * bins, start=start).unflatten(0, (2, bins))
        hertz = torch.arange(bins, dtype=torch.float64) * (sample_rate / self.period)
        self.register_buffer("hertz", hertz.float(), persistent=False)  # of the bins, (bins,)
        self.register_buffer("octaves", hertz.clamp(min=_LOWEST_HZ).log2().float(), persistent=False)
        self.register_buffer("positions", positions, persistent=False)

    def white(self, noise: Tensor, like: Tensor) -> Tensor:
        """What `coloured` takes as noise.

        Args:
            noise: a key for each sound, int32 (n,), or the waveform in [-1, 1] that is to be filtered, (n, samples).
            like: of the type of the sound.

        Returns:
            The key as it is, or spectra of the waveform, real and imaginary parts, (n, 2, bins).
        """
        if noise.dim() == 1:
            return noise
        spectra = torch.fft.rfft(noise.to(like), self.period) * math.sqrt(2.0 / self.period)
        return torch.stack((spectra.real, spectra.imag), dim=1)

    def coloured(self, noise: Tensor, gain: Tensor) -> Tensor:
        """Spectra of noise of mean square 1.

        Args:
            noise: a key for each sound, int32 (n,), or spectra of noise whose parts are of variance 1/3, (n, 2, bins).
            gain: of any scale, (n, bins).

        Returns:
            Real and imaginary parts, (n, 2, bins).
        """
        if noise.dim() == 1:
            noise = random.noise_at(noise, self.positions).to(gain)
        scale = gain.square().mean(1, keepdim=True).clamp(min=1e-12).rsqrt() * math.sqrt(1.5 * self.period)
        return noise * (gain * scale)[:, None]

    def sound(self, spectra: Tensor) -> Tensor:
        """Sounds (n, samples) of spectra (n, 2, bins)."""
        return torch.fft.irfft(torch.complex(spectra[:, 0], spectra[:, 1]), self.period)[:, : self.samples]
