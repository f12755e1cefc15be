"""Grains: short sounds that come one after the other, at a rate and with a regularity, and overlap as they come.

The gaps between onsets are a part that is always the same and a part that is exponential: from a clock to a Poisson
process. Grains take turns in a few streams, so at any sample only as many as there are streams are to be computed,
however many grains there are: granular synthesis (Roads 1978) with a fixed number of voices.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from soundalike.synth.approximation import cosine
from soundalike.synth.grid import Grid

STREAMS = 4
_BEFORE = 2 * STREAMS  # grains that begin before the sound does: it begins in the middle of things
_LATEST = 0.8  # part of the sound within which a grain begins at least
_FADE = 24.0  # samples within which a grain makes room for the next one of its stream
_TOP = 0.45  # highest frequency of a grain, in cycles a sample


class Grains(NamedTuple):
    """Grains of n sounds in the order of their onsets, (n, grains) each."""

    onset: Tensor
    """Samples; below 0 where a grain begins before the sound does."""
    amplitude: Tensor
    """At most 1."""
    octave: Tensor
    """log2 Hz at the onset."""
    step: Tensor
    """Cycles a sample at the onset."""
    second: Tensor
    """Amplitude of the second harmonic."""
    third: Tensor
    """Amplitude of the third."""


class Process(nn.Module):
    """Where and how the grains of a sound fall, and who plays them.

    Args:
        grid: the samples of a sound.
        fastest: highest rate of grains, in Hz.
    """

    starts: Tensor
    along: Tensor
    streams: Tensor

    def __init__(self, grid: Grid, fastest: float) -> None:
        super().__init__()
        self.samples, self.sample_rate, self.block = grid.samples, grid.sample_rate, grid.length
        expected = fastest * grid.samples / grid.sample_rate
        self.count = _BEFORE + 2 * STREAMS + math.ceil(expected + 4.0 * math.sqrt(expected) + 1.0)
        self.draws = 3 * self.count + 2

        def buffer(name: str, value: Tensor) -> None:
            self.register_buffer(name, value, persistent=False)

        buffer("starts", torch.arange(grid.blocks) * self.block)  # samples, (blocks,)
        buffer("along", torch.arange(self.block, dtype=torch.float32))
        buffer("streams", torch.arange(STREAMS)[:, None])

    def fall(self, drawn: Tensor, rate: Tensor, regularity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where grains fall.

        Args:
            drawn: uniform numbers in [0, 1], (n, draws).
            rate: grains a second, (n, 1).
            regularity: 0 for a Poisson process, 1 for a clock; the standard deviation of the gaps is 1 less it times
                their mean, (n, 1).

        Returns:
            Onsets in samples, and twice as many uniform numbers in [0, 1] for what else varies, (n, grains) each.
        """
        wait, *others, longer, first = drawn.split((self.count, self.count, self.count, 1, 1), dim=1)
        gap = self.sample_rate / rate
        gaps = regularity + (1.0 - regularity) * _exponential(wait)  # 1 in the mean
        # The gap within which the sound begins is longer than others, as long ones are met more often.
        met = gaps[:, _BEFORE:][:, :1] + (1.0 - regularity).square() * _exponential(longer)
        order = torch.cat((gaps[:, :_BEFORE], met, gaps[:, _BEFORE + 1 :]), dim=1).cumsum(1)
        # one grain at least begins within the sound
        onset = first * (met * gap).clamp(max=_LATEST * self.samples) + (order - order[:, _BEFORE:][:, :1]) * gap
        return onset, *others

    def tones(self, octave: Tensor, sweep: Tensor, harmonics: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cycles a sample at their onset, and amplitudes of the second and third harmonic, of grains.

        What would pass half the sample rate is left out, or moved below it.

        Args:
            octave: log2 Hz at the onset, (n, grains).
            sweep: octaves from there to the end, (n, 1).
            harmonics: amplitude of a harmonic against the one before, (n, 1).

        Returns:
            (n, grains) each.
        """
        widest = torch.exp2(sweep.clamp(min=0.0))
        step = (torch.exp2(octave) / self.sample_rate).minimum(_TOP / widest)
        room = 1.0 / _TOP * step * widest
        second = harmonics * (10.0 - 20.0 * room).clamp(0.0, 1.0)
        return step, second, harmonics.square() * (10.0 - 30.0 * room).clamp(0.0, 1.0)

    def played(self, grains: Grains) -> tuple[Tensor, ...]:
        """What each stream plays in each block, (n, STREAMS, blocks) each.

        A grain plays from the block in which it begins to the one before that in which its stream's next one begins.

        Returns:
            Onset and end in samples after the start of the block, amplitude, cycles a sample at the onset, and
            amplitudes of the second and the third harmonic.
        """
        onset = grains.onset.detach().contiguous()
        ends = (self.starts + self.block).to(onset).expand(len(onset), -1).contiguous()
        last = torch.searchsorted(onset, ends)[:, None] - 1  # of the grains that have begun, (n, 1, blocks)
        mine = last - (last - self.streams) % STREAMS  # (n, STREAMS, blocks)
        now, then = (each.clamp(0, self.count - 1).flatten(1) for each in (mine, mine + STREAMS))

        def picked(number: Tensor, which: Tensor = now) -> Tensor:
            return number.gather(1, which).view_as(mine)

        end = torch.floor(picked(onset, then) / self.block) * self.block - self.starts
        numbers = (picked(each) for each in (grains.amplitude, grains.step, grains.second, grains.third))
        return picked(grains.onset) - self.starts, end, *numbers

    def play(self, played: tuple[Tensor, ...], shrink: Tensor, rise: Tensor, bend: Tensor) -> tuple[Tensor, Tensor]:
        """Grains.

        Args:
            played: what `played` returns.
            shrink: inverse of the part of a grain in which it falls, in samples, (n, 1).
            rise: inverse of that in which it rises.
            bend: half of the part of its frequency by which a grain moves in a sample.

        Returns:
            Tones of amplitude 1, and amplitudes for noise, (n, blocks, length) each.
        """
        shrink, rise, bend = shrink[..., None], rise[..., None], bend[..., None]
        tones, amplitudes = [], []
        for stream in range(STREAMS):
            onset, end, amplitude, step, second, third = (value[:, stream, :, None] for value in played)
            age = self.along - onset  # (n, blocks, length)
            fading = ((end - self.along) * (1.0 / _FADE)).clamp(0.0, 1.0)
            falling = (1.0 + shrink / rise - shrink * age).clamp(0.0, 1.0)
            envelope = amplitude * (rise * age).clamp(0.0, 1.0) * fading * falling.pow(3)
            sine = cosine(step * age * (1.0 + bend * age) - 0.25)
            square = sine.square()
            tone = sine * (1.0 + third * (3.0 - 4.0 * square)) + second * (1.0 - 2.0 * square)
            tones.append(envelope * tone)
            amplitudes.append(envelope)
        return sum(tones[1:], tones[0]), sum(amplitudes[1:], amplitudes[0])


def _exponential(uniform: Tensor) -> Tensor:
    """Numbers of the exponential distribution of mean 1, of numbers in [0, 1]."""
    return -torch.log((1.0 - uniform).clamp(min=1e-7))
