"""Where control signals meet samples: curves with a few numbers a segment, read off at every sample.

Inside a segment, the stretch from one control point to the next, a control signal is a straight line, so frequency is
a smooth curve with a known mean and phase a polynomial: no running sum over samples, only one over segments, and no
rounding error that grows with time. Such a curve is a tensor (n, order, segments): the coefficients of a polynomial in
how far along its segment a sample lies, from 0 to 1, lowest power first. Several are (n, curves, order, segments).

Sound is computed in blocks (n, blocks, length). A block is no longer than a segment, so that it meets one control
point at most, and a block's samples stand side by side in memory, so that nothing has to be put in order afterwards.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

HIGHEST_MIDI = 127.0
VECTOR = 16  # float32 numbers in the widest vector register: blocks of whole vectors leave no lane idle


class Grid(nn.Module):
    """The samples of a sound in blocks, and the control points between them.

    Control points are spread evenly from the first sample to the last, as in torchsynth and SynthAX, so a segment
    need not be a whole number of samples. The last block may reach beyond the last sample.

    Args:
        samples: length of a sound in samples.
        points: control points, at least 2.
        sample_rate: samples a second.
    """

    along: Tensor
    beyond: Tensor
    segment: Tensor
    following: Tensor
    earlier: Tensor

    def __init__(self, samples: int, points: int, sample_rate: int) -> None:
        super().__init__()
        self.samples, self.sample_rate = samples, sample_rate
        self.step = max(samples - 1, 1) / (points - 1)  # samples between control points, a fraction as a rule
        whole = math.floor(self.step)
        self.length = max(1, whole - whole % VECTOR if whole >= VECTOR else whole)
        self.blocks = -(-samples // self.length)
        position = torch.arange(self.blocks * self.length, dtype=torch.float64) / self.step
        segment = position.floor().long().clamp(max=points - 2)  # the last sample ends the last segment
        along, segment = (value.unflatten(0, (self.blocks, self.length)) for value in (position - segment, segment))

        def buffer(name: str, value: Tensor) -> None:
            self.register_buffer(name, value, persistent=False)

        buffer("along", along.float())  # how far along its segment a sample lies, (blocks, length)
        buffer("segment", segment[:, 0].contiguous())  # the segment in which a block starts, (blocks,)
        buffer("following", (segment[:, 0] + 1).clamp(max=points - 2))
        buffer("beyond", (segment > segment[:, :1]).float())  # 1 behind the control point that a block meets, else 0
        run = math.gcd(self.length, VECTOR)
        buffer("earlier", torch.ones(run, run).triu())  # 1 for a sample and those before it, (run, run)

    def evaluate(self, *curves: Tensor) -> list[Tensor]:
        """Curves at every sample: (n, curves, order, segments) each -> (n, blocks, length) for every curve."""
        return [self._sample(curve) for several in curves for curve in several.unbind(1)]

    def _sample(self, curve: Tensor) -> Tensor:
        """(n, order, segments) -> (n, blocks, length)."""
        here = curve[..., self.segment, None]  # (n, order, blocks, 1)
        change = curve[..., self.following, None] - here

        def coefficient(power: int) -> Tensor:
            return torch.addcmul(here[:, power], self.beyond, change[:, power])  # (n, blocks, length)

        value = coefficient(curve.shape[1] - 1)
        for power in reversed(range(curve.shape[1] - 1)):
            value = torch.addcmul(coefficient(power), value, self.along)
        return value

    def line(self, control: Tensor) -> Tensor:
        """Straight lines between control points: (n, lines, points) -> curves (n, lines, 2, segments)."""
        return torch.stack((control[..., :-1], control.diff(dim=-1)), dim=-2)

    def glide(self, pitch: Tensor, start: Tensor) -> Tensor:
        """Phases of oscillators whose pitches move in straight lines between control points.

        Pitch is clamped to MIDI 0-127 on its way. The frequency's mean over each segment is exact, clamping
        included; inside, frequency is the parabola that has this mean and the right ends, so phase is a cubic.

        Args:
            pitch: MIDI numbers, (n, oscillators, points).
            start: phases of the first sample in cycles, (n, oscillators).

        Returns:
            Curves (n, oscillators, 4, segments): phases in cycles, counted from a whole number of them at each
            segment's start.
        """
        inside = pitch.clamp(0.0, HIGHEST_MIDI)
        hertz = midi_to_hertz(inside) / self.sample_rate  # cycles a sample, (n, oscillators, points)
        before, after = hertz[..., :-1], hertz[..., 1:]
        mean = _mean_frequency(pitch, inside, hertz)  # (n, oscillators, segments)
        bend = 6.0 * mean - 3.0 * (before + after)
        quadratic = (after - before) + bend
        # A sum over samples is the integral plus half of its ends (Euler and Maclaurin): hence the halves.
        origin = _whole_cycles_left_out(self.step * mean) + 0.5 * (hertz[..., :1] + before) + start[..., None]
        return torch.stack(
            (
                origin,
                self.step * before + 0.5 * quadratic,
                0.5 * self.step * quadratic - 0.5 * bend,
                -(self.step / 3.0) * bend,
            ),
            dim=-2,
        )

    def accumulate(self, hertz: Tensor) -> Tensor:
        """Phase of an oscillator whose frequency is given at every sample, for FM.

        Args:
            hertz: frequency, (n, blocks, length).

        Returns:
            Phase in cycles, counted from a whole number of them at each block's start, (n, blocks, length).
        """
        runs = (hertz / self.sample_rate).reshape(hertz.shape[0], -1, self.earlier.shape[0])
        cycles = runs @ self.earlier  # the running sum inside each run of samples, (n, runs, samples of a run)
        return (_whole_cycles_left_out(cycles[..., -1])[..., None] + cycles).view_as(hertz)

    def blocked(self, waveform: Tensor) -> Tensor:
        """Blocks of a waveform: (n, samples) -> (n, blocks, length), zeros after the last sample."""
        missing = self.blocks * self.length - self.samples
        return nn.functional.pad(waveform, (0, missing)).unflatten(1, (self.blocks, self.length))

    def waveform(self, sound: Tensor) -> Tensor:
        """The waveform of a sound in blocks: (n, blocks, length) -> (n, samples)."""
        return sound.flatten(1)[:, : self.samples]


def midi_to_hertz(midi: Tensor) -> Tensor:
    """Frequency of a MIDI pitch, equal temperament, A4 = 69 = 440 Hz."""
    return 440.0 * torch.exp2((midi - 69.0) / 12.0)


def _whole_cycles_left_out(cycles: Tensor) -> Tensor:
    """Phase in [0, 1) at which each stretch starts, from the cycles that each one runs through."""
    # Each summand is reduced to its fraction first: the sum stays small, and float32 exact enough for any length.
    total = torch.cumsum(cycles - torch.floor(cycles), dim=-1)
    start = nn.functional.pad(total[..., :-1], (1, 0))
    return start - torch.floor(start)


def _mean_frequency(pitch: Tensor, inside: Tensor, hertz: Tensor) -> Tensor:
    """Mean over each segment of the frequency of a pitch that moves in a straight line and is clamped.

    Args:
        pitch: before clamping, (n, oscillators, points).
        inside: after clamping, (n, oscillators, points).
        hertz: frequency of ``inside``, in any unit, (n, oscillators, points).

    Returns:
        (n, oscillators, segments), in the unit of ``hertz``.
    """
    start, end = hertz[..., :-1], hertz[..., 1:]
    octaves = inside.diff(dim=-1) * (math.log(2.0) / 12.0)
    small = octaves.abs() < 1e-3
    safe = torch.where(small, torch.ones_like(octaves), octaves)
    # between two pitches frequency is exponential, and its mean the logarithmic mean of its ends
    moving = start * torch.where(small, 1.0 + 0.5 * octaves, torch.expm1(safe) / safe)
    # The line spends a part of the segment beyond a limit, where frequency stands still.
    beyond = (pitch - inside).abs()
    before, between, after = beyond[..., :-1] + 1e-6, inside.diff(dim=-1).abs(), beyond[..., 1:]
    return (before * start + between * moving + after * end) / (before + between + after)
