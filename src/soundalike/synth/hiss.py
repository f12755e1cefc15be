"""Steady noise of any colour, drawn as a spectrum: its filter costs one product for each frequency."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from soundalike.core import random
from soundalike.synth.place import RUN, fast_length

_LOWEST_HZ = 40.0


class Hiss(nn.Module):
    """Noise whose spectrum is given for the whole sound, at every `RUN` / 2 frequencies; between them it is a line.

    Args:
        samples: length of a sound in samples.
        sample_rate: samples a second.
        start: position of the first number that it takes of a sound's noise.
    """

    hertz: Tensor
    octaves: Tensor
    along: Tensor
    positions: Tensor

    def __init__(self, samples: int, sample_rate: int, start: int) -> None:
        super().__init__()
        self.samples = samples
        self.period = fast_length(samples)
        hertz = torch.arange(self.period // RUN + 1, dtype=torch.float64) * (RUN // 2 * sample_rate / self.period)
        along = torch.arange(RUN) // 2 * (2.0 / RUN)

        def buffer(name: str, value: Tensor) -> None:
            self.register_buffer(name, value, persistent=False)

        buffer("hertz", hertz.float())  # of the points at which gains are given, (points,)
        buffer("octaves", hertz.clamp(min=_LOWEST_HZ).log2().float())
        buffer("along", along)  # from one point to the next, (RUN,)
        buffer("positions", random.positions(self.period, start=start))
        # in the mean square of a line: what the squares of its ends and their product weigh
        parts = ((1.0 - along).square(), 2.0 * along * (1.0 - along), along.square())
        self._weights = [float(part.mean()) for part in parts]

    def white(self, noise: Tensor, like: Tensor) -> Tensor:
        """What `coloured` takes as noise.

        Args:
            noise: a key for each sound, int32 (n,), or the waveform in [-1, 1] that is to be filtered, (n, samples).
            like: of the type of the sound.

        Returns:
            The key as it is, or the waveform's spectra, real and imaginary parts by turns, (n, period).
        """
        if noise.dim() == 1:
            return noise
        spectra = torch.fft.rfft(noise.to(like), self.period) * math.sqrt(2.0 / self.period)
        return torch.view_as_real(spectra).flatten(1)[:, : self.period]

    def coloured(self, noise: Tensor, gain: Tensor) -> Tensor:
        """Spectra of noise of mean square 1.

        Args:
            noise: a key for each sound, int32 (n,), or numbers of variance 1/3, (n, period).
            gain: of any scale, (n, points).

        Returns:
            Real and imaginary parts by turns, with the highest frequency, (n, period + 2).
        """
        if noise.dim() == 1:
            noise = random.noise_at(noise, self.positions).to(gain)
        start, end = gain[:, :-1], gain[:, 1:]
        first, both, last = self._weights
        power = (first * start.square() + both * start * end + last * end.square()).mean(1, keepdim=True)
        gain = gain * (power.clamp(min=1e-12).rsqrt() * math.sqrt(1.5 * self.period))
        numbers = noise * (gain[:, :-1, None] + gain.diff(dim=1)[..., None] * self.along).flatten(1)
        return torch.cat((numbers, numbers.new_zeros(len(numbers), 2)), dim=1)

    def sound(self, numbers: Tensor) -> Tensor:
        """Sounds (n, samples) of spectra (n, period + 2)."""
        spectra = torch.view_as_complex(numbers.unflatten(1, (-1, 2)))
        return torch.fft.irfft(spectra, self.period)[:, : self.samples]
