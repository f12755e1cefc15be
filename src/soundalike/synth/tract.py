"""What a tract makes of the sound of the throat: formants, a nose, and the noise of narrow passages."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from soundalike.core import random
from soundalike.synth.resonance import Frames

_MOVING = 3  # formants that the tongue moves; those above stand where a tube has them
_SPACING = 1000.0  # Hz between the resonances of a tube of usual length
_BANDWIDTH, _WIDER_ABOVE = 60.0, 2000.0  # Hz: of a low formant, and where it has doubled
_SHORTEST = 0.8  # of a tract, about, against one of usual length: resonances up to there
_MUFFLED = 0.75  # part of the amplitude that a nose takes away in the middle of its zero
_FIRST_NUMBER = 1 << 26  # of a sound's noise that the mouth's noise is made of
_ZERO = (900.0, 500.0)  # Hz: centre and half of the width of a nose's zero


class Shape(NamedTuple):
    """The shape of n tracts, as coefficients of polynomials in the squared frequency."""

    first: Tensor
    """Coefficient of f² in 1 / gain² of each moving formant, (n, 3, frames); that of 1 is 1."""
    second: Tensor
    """Coefficient of f⁴, likewise."""
    nose: Tensor
    """How far it is open, from 0 to 1, (n, frames)."""
    passage: Tensor
    """Gain of the mouth's noise is ``a f² / (f⁴ + b f² + c)``: a, b and c, (n, 3, frames)."""


class Tract(nn.Module):
    """A filter for every frame of what comes from the throat, and one for the noise that is made in the mouth.

    The first is a cascade of resonators (Fant 1960; Klatt 1980), of which only the magnitudes are used. Spectra are
    rows of real numbers (…, 2 bins), real and imaginary part of each frequency by turns: nothing has to be sorted.

    Args:
        frames: of the sounds.
    """

    squared: Tensor
    zero: Tensor
    positions: Tensor

    def __init__(self, frames: Frames) -> None:
        super().__init__()
        hertz = torch.arange(frames.hop + 1, dtype=torch.float64) * (frames.sample_rate / (2 * frames.hop))
        twice = hertz.repeat_interleave(2)
        self.register_buffer("squared", twice.square().float(), persistent=False)  # (2 bins,)
        zero = _MUFFLED / (1.0 + ((twice - _ZERO[0]) / _ZERO[1]).square())
        self.register_buffer("zero", zero.float(), persistent=False)
        positions = random.positions(frames.count * len(twice), start=_FIRST_NUMBER)
        self.register_buffer("positions", positions.unflatten(0, (-1, len(twice))), persistent=False)
        self.power = 1.5 * frames.hop  # mean square of the numbers of a frame of noise, but for overlap, times 3
        self.highest = frames.sample_rate / 2
        self.formants = max(_MOVING, math.ceil(self.highest / _SPACING / _SHORTEST + 0.5))

    def still(self, shorter: Tensor, damping: Tensor, brightness: Tensor) -> Tensor:
        """What does not move, as 1 / gain²: the upper formants, and how the voice falls off, (n, 1, 2 bins).

        Args:
            shorter: octaves by which these tracts' formants lie higher than usual, (n, 1).
            damping: octaves by which they are wider, (n, 1).
            brightness: log2 Hz above which the voice falls off by 6 dB an octave, (n, 1).
        """
        numbers = torch.arange(_MOVING, self.formants, device=shorter.device)
        first, second = _resonator((numbers + 0.5) * _SPACING * torch.exp2(shorter), torch.exp2(damping))
        upper = 1.0 + self.squared * (first[..., None] + second[..., None] * self.squared)  # (n, formants, 2 bins)
        return upper.prod(1, keepdim=True) * (1.0 + self.squared * torch.exp2(-2.0 * brightness)[..., None])

    def shape(
        self, formants: Tensor, nose: Tensor, noise: tuple[Tensor, Tensor, Tensor], shorter: Tensor, damping: Tensor
    ) -> Shape:
        """The shape that a tract takes.

        Args:
            formants: the first three, log2 Hz in a tract of usual length, (n, 3, frames).
            nose: how far it is open, (n, frames).
            noise: amplitude of the mouth's noise, and its centre and width in a tract of usual length, log2 Hz,
                (n, frames) each.
            shorter: octaves by which this tract's formants lie higher, (n, 1); the noise comes from a short tube
                before a narrow passage, and lies higher by half as many.
            damping: octaves by which its formants are wider, (n, 1).
        """
        first, second = _resonator(torch.exp2(formants + shorter[..., None]), torch.exp2(damping)[..., None])
        amplitude, centre, width = noise
        middle = torch.exp2(centre + 0.5 * shorter).clamp(max=0.95 * self.highest).square()
        width = torch.exp2(width)
        # white noise keeps its energy: what passes is as wide as π / 4 of the width
        gain = amplitude * width.square() * (self.highest / (0.25 * math.pi * width)).sqrt()
        passage = torch.stack((gain, width.square() - 2.0 * middle, middle.square()), dim=1)
        return Shape(first, second, nose, passage)

    def passed(self, throat: Tensor, noise: Tensor, still: Tensor, shape: Shape) -> Tensor:
        """What is heard at the lips.

        Args:
            throat: spectra of the throat's sound, (n, frames, 2 bins).
            noise: keys (n,), or spectra of white noise in [-1, 1], likewise.
            still: as `still` returns it.
            shape: of the tract.

        Returns:
            Spectra (n, frames, 2 bins).
        """
        power = still
        for first, second in zip(shape.first.unbind(1), shape.second.unbind(1), strict=True):
            power = power * (1.0 + self.squared * (first[..., None] + second[..., None] * self.squared))
        a, b, c = (each[..., None] for each in shape.passage.unbind(1))
        if noise.dim() == 1:  # frames that know nothing of each other lose half of their energy where they overlap
            white = random.noise_at(noise, self.positions).to(throat) * math.sqrt(2.0 * self.power)
        else:
            white = noise * math.sqrt(3.0)
        mouth = white * (a * self.squared / ((self.squared + b) * self.squared + c))
        return throat * (1.0 - shape.nose[..., None] * self.zero) * power.rsqrt() + mouth


def _resonator(centre: Tensor, wider: Tensor) -> tuple[Tensor, Tensor]:
    """1 / gain² of a resonator that passes 0 Hz as it is, as coefficients of f² and f⁴; that of 1 is 1."""
    width = _BANDWIDTH * (1.0 + (centre / _WIDER_ABOVE).square()) * wider
    inverse = centre.square().reciprocal()
    return inverse * ((width.square() * inverse) - 2.0), inverse.square()
