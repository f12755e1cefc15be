"""Sums of decaying partials: modal synthesis (Adrien 1991; van den Doel and Pai 1998) by matrix products.

A partial of constant frequency that decays exponentially is a number to a power. In blocks of samples it is the
product of what it has become at the block's start and of what it does inside any block, so a sum of partials is one
matrix product for each sound, exact at every sample. What bends its pitch, bends its time: the sum is read off between
its samples, with its slope for an interpolation that leaves high partials as they are.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from soundalike.synth.approximation import cosine

DECAYED = 3.0 * math.log(10.0)
"""Nepers in 60 dB."""
BLOCK = 128  # samples: about the root of a second's, and the two factors take least to compute


class Partials(NamedTuple):
    """Partials of n sounds, each (n, partials)."""

    hertz: Tensor
    """Frequency."""
    amplitude: Tensor
    """At the beginning."""
    rate: Tensor
    """Of the decay, in nepers a second."""
    cycles: Tensor
    """Phase at the beginning."""


class Modes(nn.Module):
    """Adds up partials.

    Args:
        samples: length of what is added up, in samples.
        sample_rate: samples a second.
    """

    inside: Tensor
    starts: Tensor

    def __init__(self, samples: int, sample_rate: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.blocks = samples // BLOCK + 2  # one more than asked for, to interpolate in
        self.register_buffer("inside", torch.arange(BLOCK, dtype=torch.float32), persistent=False)
        self.register_buffer("starts", torch.arange(self.blocks, dtype=torch.float32), persistent=False)

    def factors(self, partials: Partials) -> tuple[Tensor, Tensor, Tensor]:
        """Factors of the sum and of its slope.

        Returns:
            What partials have become at the start of every block, (n, blocks, 2 partials), and what they do inside a
            block, and the slope of that for each sample, (n, 2 partials, BLOCK) each.
        """
        step = (partials.hertz / self.sample_rate)[..., None]  # cycles a sample, (n, partials, 1)
        fall = (partials.rate / self.sample_rate)[..., None]
        whole = BLOCK * step
        # only the fraction of a block's cycles counts, and a small number is an exact one
        cycles = partials.cycles[..., None] + (whole - torch.floor(whole)) * self.starts  # (n, partials, blocks)
        size = partials.amplitude[..., None] * torch.exp(-BLOCK * fall * self.starts)
        begun = torch.cat((size * cosine(cycles), size * cosine(cycles - 0.25)), dim=1)  # real, imaginary part
        size = torch.exp(-fall * self.inside)
        real, imaginary = size * cosine(step * self.inside), size * cosine(step * self.inside - 0.25)
        angle = 2.0 * math.pi * step
        slopes = torch.cat((-fall * real - angle * imaginary, fall * imaginary - angle * real), dim=1)
        return begun.transpose(1, 2), torch.cat((real, -imaginary), dim=1), slopes

    def sums(self, begun: Tensor, inside: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
        """The sum and its slope for each sample, (n, blocks BLOCK) each."""
        return torch.bmm(begun, inside).flatten(1), torch.bmm(begun, slopes).flatten(1)


def read(sound: Tensor, slope: Tensor, index: Tensor, between: Tensor) -> Tensor:
    """A sound between its samples, by cubic polynomials that have its values and its slopes (Hermite).

    Args:
        sound: (n, length).
        slope: of the sound, for each sample, (n, length).
        index: the sample before, from 0 to length - 2, of any shape (n, …).
        between: how far behind it, from 0 to 1, of the same shape.

    Returns:
        Of the same shape. A sine of a quarter of the sample rate is off by 1.6 % at most, one of an eighth by 0.1 %.
    """
    flat = index.flatten(1)
    left, right = sound.gather(1, flat).view_as(index), sound.gather(1, flat + 1).view_as(index)
    leaving, arriving = slope.gather(1, flat).view_as(index), slope.gather(1, flat + 1).view_as(index)
    change = right - left
    cubic = leaving + arriving - 2.0 * change
    return left + between * (leaving + between * (change - leaving - cubic + between * cubic))
