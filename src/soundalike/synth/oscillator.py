"""The fast half of a voice, at audio rate: oscillators and the mixer.

At control rate, `phases` says how the phases of oscillators move; then each turns its own into sound at every sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from soundalike.synth.approximation import cosine, tanh
from soundalike.synth.control import Bank
from soundalike.synth.grid import Grid, midi_to_hertz
from soundalike.synth.parameter import ParameterSpec


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


def phases(vcos: Sequence[Oscillator], units: Tensor, midi: Tensor, modulation: Tensor, grid: Grid) -> Tensor:
    """Phases of several oscillators, computed together.

    Args:
        vcos: which ones.
        units: (n, size).
        midi: the note that each plays, (n, vcos).
        modulation: what is added to its pitch, times its depth, (n, vcos, points).
        grid: the samples.

    Returns:
        Curves (n, vcos, 4, segments), in cycles.
    """
    initial_phase = torch.cat([vco.knobs(units)[..., 2] for vco in vcos], dim=1)  # (n, vcos)
    return grid.glide(pitches(vcos, units, midi, modulation), initial_phase / (2.0 * math.pi))


def pitches(vcos: Sequence[Oscillator], units: Tensor, midi: Tensor, modulation: Tensor) -> Tensor:
    """MIDI numbers of several oscillators at control points, (n, vcos, points), before they are clamped.

    Arguments are those of `phases`.
    """
    tuning, depth = torch.cat([vco.knobs(units)[..., :2] for vco in vcos], dim=1).unbind(2)  # (n, vcos) each
    return (midi + tuning)[..., None] + depth[..., None] * modulation


class SineVCO(Oscillator):
    """A cosine."""

    def __call__(self, cycles: Tensor) -> Tensor:
        """Sound in [-1, 1] of a phase in cycles, both (n, blocks, length)."""
        return cosine(cycles)


class SquareSawVCO(Oscillator):
    """From a square to a saw, band-limited by the steepness of a tanh."""

    def __init__(self, name: str) -> None:
        super().__init__(name, ParameterSpec("shape", 0.0, 1.0, group="timbre"))

    def steepness(self, units: Tensor, midi: Tensor) -> Tensor:
        """Steepness of the tanh, lower at a higher pitch, where fewer partials have room: midi (n, 1) -> (n, 1)."""
        tuning, depth, _, _ = self.read(units)
        highest = midi_to_hertz(midi + tuning + depth.clamp(min=0.0))
        return 0.5 * math.pi * 12_000.0 / (highest * torch.log10(highest))

    def __call__(self, units: Tensor, steepness: Tensor, cycles: Tensor) -> Tensor:
        """Sound of a phase in cycles: steepness (n, 1), cycles (n, blocks, length) -> (n, blocks, length)."""
        shape = self.read(units)[3][..., None]  # (n, 1, 1)
        square = tanh(steepness[..., None] * cosine(cycles - 0.25))
        return (1.0 - 0.5 * shape) * square * (1.0 + shape * cosine(cycles))


class FmVCO(Oscillator):
    """A cosine whose frequency another oscillator moves at audio rate; its depth is a modulation index."""

    def __init__(self, name: str) -> None:
        super().__init__(name, depth=("timbre", "index"))

    def carrier(self, units: Tensor, midi: Tensor) -> Tensor:
        """Frequency in Hz that the modulator moves: midi (n, 1) -> (n, 1)."""
        return midi_to_hertz(midi + self.read(units)[0])

    def __call__(self, units: Tensor, carrier: Tensor, modulator: Tensor, grid: Grid) -> Tensor:
        """Sound in [-1, 1]: carrier (n, 1), modulator (n, blocks, length) -> (n, blocks, length)."""
        _, index, initial_phase = (value[..., None] for value in self.read(units))
        carrier = carrier[..., None]
        hertz = (carrier + index * carrier * modulator).clamp(0.0, grid.sample_rate / 2)
        return cosine(grid.accumulate(hertz) + initial_phase / (2.0 * math.pi))


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
        """Sum of sounds (n, blocks, length), each at its level."""
        levels = self.read(units)  # (n, 1) each
        mixed = levels[0][..., None] * sounds[0]
        for level, sound in zip(levels[1:], sounds[1:], strict=True):
            mixed = torch.addcmul(mixed, level[..., None], sound)
        return mixed
