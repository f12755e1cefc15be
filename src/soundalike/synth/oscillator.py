"""The fast half of a voice, at audio rate: oscillators, their phase in closed form, and the mixer.

Sound is computed on a grid (n, segments, length): a segment for each step of the control rate, and its samples. Inside
a segment a control signal is a straight line, so frequency is a smooth curve with a known mean and phase a polynomial:
no running sum over samples, only one over segments, and no rounding error that grows with time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from soundalike.synth.control import Bank
from soundalike.synth.parameter import ParameterSpec

HIGHEST_MIDI = 127.0


class Grid(nn.Module):
    """Where the samples of a sound lie between its control points.

    Control points are spread evenly from the first sample to the last, as in torchsynth and SynthAX, so a segment
    need not be a whole number of samples: each row of the grid has room for the longest, and `gather` leaves out
    the places that are not samples.

    Args:
        samples: length of a sound in samples.
        points: control points, at least 2.
        sample_rate: samples a second.
    """

    along: Tensor
    is_sample: Tensor
    place: Tensor
    sample: Tensor

    def __init__(self, samples: int, points: int, sample_rate: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.step = max(samples - 1, 1) / (points - 1)  # samples between control points, a fraction as a rule
        position = torch.arange(samples, dtype=torch.float64) / self.step
        segment = position.floor().long().clamp(max=points - 2)  # the last sample ends the last segment
        first = torch.searchsorted(segment, torch.arange(points - 1))  # each segment's first sample
        length = int(torch.bincount(segment).max())
        sample = first[:, None] + torch.arange(length)  # (segments, length)
        along = sample / self.step - torch.arange(points - 1)[:, None]

        def buffer(name: str, value: Tensor) -> None:
            self.register_buffer(name, value, persistent=False)

        buffer("along", along.float())  # how far along its segment a sample lies, in [0, 1]
        buffer("place", segment * length + torch.arange(samples) - first[segment])  # (samples,) into the flat grid
        is_sample = torch.zeros(sample.numel(), dtype=torch.bool)
        is_sample[self.place] = True
        buffer("is_sample", is_sample.unflatten(0, (points - 1, length)))
        buffer("sample", sample.clamp(max=samples - 1))  # (segments, length) into the waveform

    def gather(self, sound: Tensor) -> Tensor:
        """The waveform (n, samples) of a grid (n, segments, length)."""
        return sound.flatten(1).index_select(1, self.place)

    def scatter(self, waveform: Tensor) -> Tensor:
        """The grid (n, segments, length) of a waveform (n, samples)."""
        return waveform[:, self.sample]

    def line(self, control: Tensor) -> Tensor:
        """Straight lines between control points: (n, points) -> (n, segments, length)."""
        return torch.addcmul(control[:, :-1, None], control.diff(dim=1)[..., None], self.along)

    def glide(self, pitch: Tensor) -> Tensor:
        """Phase of an oscillator whose pitch moves in straight lines between control points.

        Pitch is clamped to MIDI 0-127 on its way. The frequency's mean over each segment is exact, clamping
        included; inside, frequency is the parabola that has this mean and the right ends, so phase is a cubic.

        Args:
            pitch: MIDI numbers, (n, points).

        Returns:
            Phase in cycles, reduced to its fraction at each segment's start, (n, segments, length).
        """
        inside = pitch.clamp(0.0, HIGHEST_MIDI)
        hertz = midi_to_hertz(inside) / self.sample_rate  # cycles a sample, (n, points)
        start, end = hertz[:, :-1], hertz[:, 1:]
        mean = _mean_frequency(pitch, inside, hertz)  # (n, segments)
        bend = 6.0 * mean - 3.0 * (start + end)
        linear, quadratic = start, (end - start) + bend
        # A sum over samples is the integral plus half of its ends (Euler and Maclaurin): hence the halves.
        origin = self._start_of_segments(self.step * mean) + 0.5 * (hertz[:, :1] + start)
        coefficients = (
            origin,
            self.step * linear + 0.5 * quadratic,
            0.5 * self.step * quadratic - 0.5 * bend,
            -(self.step / 3.0) * bend,
        )
        x = self.along
        c0, c1, c2, c3 = (c[..., None] for c in coefficients)
        return torch.addcmul(c0, torch.addcmul(c1, torch.addcmul(c2, c3, x), x), x)

    def accumulate(self, hertz: Tensor) -> Tensor:
        """Phase of an oscillator whose frequency is given at every sample, for FM.

        Args:
            hertz: frequency, (n, segments, length).

        Returns:
            Phase in cycles, reduced to its fraction at each segment's start, (n, segments, length).
        """
        cycles = torch.cumsum(torch.where(self.is_sample, hertz / self.sample_rate, 0.0), dim=2)
        return self._start_of_segments(cycles[..., -1])[..., None] + cycles

    @staticmethod
    def _start_of_segments(cycles: Tensor) -> Tensor:
        """Phase in [0, 1) at which each segment starts, from the cycles that each one runs through."""
        # Each summand is reduced to its fraction first: the sum stays small, and float32 exact enough for any length.
        total = torch.cumsum(torch.remainder(cycles, 1.0), dim=1)
        return torch.remainder(nn.functional.pad(total[:, :-1], (1, 0)), 1.0)


def midi_to_hertz(midi: Tensor) -> Tensor:
    """Frequency of a MIDI pitch, equal temperament, A4 = 69 = 440 Hz."""
    return 440.0 * torch.exp2((midi - 69.0) / 12.0)


def _mean_frequency(pitch: Tensor, inside: Tensor, hertz: Tensor) -> Tensor:
    """Mean over each segment of the frequency of a pitch that moves in a straight line and is clamped.

    Args:
        pitch: before clamping, (n, points).
        inside: after clamping, (n, points).
        hertz: frequency of ``inside``, in any unit, (n, points).

    Returns:
        (n, segments), in the unit of ``hertz``.
    """
    start, end = hertz[:, :-1], hertz[:, 1:]
    octaves = inside.diff(dim=1) * (math.log(2.0) / 12.0)
    small = octaves.abs() < 1e-3
    safe = torch.where(small, torch.ones_like(octaves), octaves)
    # between two pitches frequency is exponential, and its mean the logarithmic mean of its ends
    moving = start * torch.where(small, 1.0 + 0.5 * octaves, torch.expm1(safe) / safe)
    # The line spends a part of the segment beyond a limit, where frequency stands still.
    beyond = (pitch - inside).abs()
    before, between, after = beyond[:, :-1] + 1e-6, inside.diff(dim=1).abs(), beyond[:, 1:]
    return (before * start + between * moving + after * end) / (before + between + after)


class Oscillator(Bank):
    """A voltage-controlled oscillator: pitch in semitones, moved by a control signal, clamped to the MIDI range.

    Args:
        name: the module's name.
        extra: knobs beyond those that every oscillator has.
        depth: group and unit of ``mod_depth``.
    """

    def __init__(self, name: str, *extra: ParameterSpec, depth: tuple[str, str] = ("pitch", "semitones")) -> None:
        super().__init__(
            (name,),
            (
                ParameterSpec("tuning", -24.0, 24.0, group="pitch", unit="semitones"),
                ParameterSpec("mod_depth", -96.0, 96.0, 0.2, True, *depth),
                ParameterSpec("initial_phase", -math.pi, math.pi, group="phase", unit="rad"),
                *extra,
            ),
        )

    def phase(self, units: Tensor, midi: Tensor, modulation: Tensor, grid: Grid) -> Tensor:
        """Phase in radians: midi (n,), modulation (n, points) -> (n, segments, length)."""
        tuning, depth, initial_phase = self.read(units)[:3]  # (n, 1) each
        cycles = grid.glide(midi[:, None] + tuning + depth * modulation)
        return 2.0 * math.pi * cycles + initial_phase[..., None]


class SineVCO(Oscillator):
    """A cosine."""

    def __call__(self, units: Tensor, midi: Tensor, modulation: Tensor, grid: Grid) -> Tensor:
        """Audio on the grid: midi (n,), modulation (n, points) -> (n, segments, length)."""
        return torch.cos(self.phase(units, midi, modulation, grid))


class SquareSawVCO(Oscillator):
    """From a square to a saw, band-limited by the steepness of a tanh."""

    def __init__(self, name: str) -> None:
        super().__init__(name, ParameterSpec("shape", 0.0, 1.0, group="timbre"))

    def __call__(self, units: Tensor, midi: Tensor, modulation: Tensor, grid: Grid) -> Tensor:
        """Audio on the grid: midi (n,), modulation (n, points) -> (n, segments, length)."""
        tuning, depth, _, shape = self.read(units)
        phase = self.phase(units, midi, modulation, grid)
        highest = midi_to_hertz(midi[:, None] + tuning + depth.clamp(min=0.0))
        partials = 12_000.0 / (highest * torch.log10(highest))
        square = torch.tanh((0.5 * math.pi * partials)[..., None] * torch.sin(phase))
        shape = shape[..., None]
        return (1.0 - 0.5 * shape) * square * (1.0 + shape * torch.cos(phase))


class FmVCO(Oscillator):
    """A cosine whose frequency another oscillator moves at audio rate; its depth is a modulation index."""

    def __init__(self, name: str) -> None:
        super().__init__(name, depth=("timbre", "index"))

    def __call__(self, units: Tensor, midi: Tensor, modulator: Tensor, grid: Grid) -> Tensor:
        """Audio in [-1, 1]: midi (n,), modulator (n, segments, length) -> (n, segments, length)."""
        tuning, index, initial_phase = (value[..., None] for value in self.read(units))
        carrier = midi_to_hertz(midi[:, None, None] + tuning)
        hertz = (carrier + index * carrier * modulator).clamp(0.0, grid.sample_rate / 2)
        return torch.cos(2.0 * math.pi * grid.accumulate(hertz) + initial_phase)


class Mixer(Bank):
    """Adds sounds at their levels.

    Args:
        name: the module's name.
        inputs: how many sounds come in; the last is the noise.
        noise_curve: the curve of the noise's level. 1, as SynthAX renders, makes a uniform knob a uniform level;
            0.025, torchsynth's, keeps it near silence for nearly every knob position.
    """

    def __init__(self, name: str, inputs: int, noise_curve: float = 1.0) -> None:
        super().__init__(
            (name,),
            tuple(
                ParameterSpec(f"level.{i}", 0.0, 1.0, noise_curve if i == inputs - 1 else 1.0, group="level")
                for i in range(inputs)
            ),
        )

    def __call__(self, units: Tensor, sounds: list[Tensor]) -> Tensor:
        """Sum of sounds (n, segments, length), each at its level."""
        levels = self.read(units)  # (n, 1) each
        return sum(
            (level[..., None] * sound for level, sound in zip(levels, sounds, strict=True)),
            torch.zeros_like(sounds[0]),
        )
