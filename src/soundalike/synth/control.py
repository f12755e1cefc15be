"""The slow half of a voice, at control rate: keyboard, envelopes, LFOs and the matrix that routes them.

Modules of one kind work as a bank: every envelope of a voice is one tensor operation, however many there are.
Signals at control rate have a value at the start of each segment of samples and one at the end of the last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from soundalike.synth.approximation import cosine
from soundalike.synth.parameter import ParameterSpec


class Bank:
    """Several modules of one kind, whose knobs are read together.

    Args:
        names: a name for each module, such as ``adsr_1``.
        specs: the knobs of one module; each name is put behind the module's.
    """

    def __init__(self, names: Sequence[str], specs: Sequence[ParameterSpec]) -> None:
        self.names = tuple(names)
        self.specs = tuple(
            ParameterSpec(
                f"{name}.{spec.name}",
                spec.minimum,
                spec.maximum,
                spec.curve,
                spec.symmetric,
                spec.group,
                spec.unit,
            )
            for name in names
            for spec in specs
        )
        self._each = tuple(spec.name for spec in specs)
        self._start = -1

    def place(self, start: int) -> int:
        """Says where this bank's first knob stands in the patch; returns where the next bank's does."""
        self._start = start
        return start + len(self.specs)

    def knobs(self, units: Tensor) -> Tensor:
        """What concerns this bank: units (n, size) -> (n, modules, parameters)."""
        mine = units[:, self._start : self._start + len(self.specs)]
        return mine.unflatten(1, (len(self.names), len(self._each)))

    def read(self, units: Tensor) -> tuple[Tensor, ...]:
        """One tensor (n, modules) for each parameter, in the order of the specs, out of units (n, size)."""
        return self.knobs(units).unbind(2)

    def named(self, units: Tensor) -> dict[str, Tensor]:
        """As `read`, by the names of the parameters: units (n, size) -> (n, modules) each."""
        return dict(zip(self._each, self.read(units), strict=True))


class Keyboards(Bank):
    """One note each: its pitch (MIDI number, 69 is 440 Hz) and how long it is held (seconds)."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            names,
            (
                ParameterSpec("midi_f0", 0.0, 127.0, group="pitch", unit="midi"),
                ParameterSpec("duration", 0.01, 4.0, 0.5, group="envelope", unit="s"),
            ),
        )


class Envelopes(Bank):
    """ADSR envelopes: the product of three power-law ramps. A note that ends early cuts attack and decay short."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            names,
            (
                ParameterSpec("attack", 0.0, 2.0, 0.5, group="envelope", unit="s"),
                ParameterSpec("decay", 0.0, 2.0, 0.5, group="envelope", unit="s"),
                ParameterSpec("sustain", 0.0, 1.0, group="envelope"),
                ParameterSpec("release", 0.0, 5.0, 0.5, group="envelope", unit="s"),
                ParameterSpec("alpha", 0.1, 6.0, group="envelope"),
            ),
        )

    def __call__(self, units: Tensor, held: Tensor, time: Tensor) -> Tensor:
        """The envelopes' curves.

        Args:
            units: (n, size) of the voice.
            held: seconds for which each envelope's note is held, (n, envelopes).
            time: seconds of the control points, (points,).

        Returns:
            (n, envelopes, points) in [0, 1].
        """
        attack, decay, sustain, release, alpha = (value[..., None] for value in self.read(units))
        held = held[..., None]
        decay = (held - attack).clamp(min=0.0).minimum(decay)
        attack = attack.minimum(held)
        # The three ramps follow one another, so one ramp and one power a point serve all of them.
        rising, falling = time < attack, time < held  # falling: to the sustain, and then staying there
        start = torch.where(rising, 0.0, torch.where(falling, attack, held))
        duration = torch.where(rising, attack, torch.where(falling, decay, release))
        ramp = _ramp(time - start, duration)
        curve = torch.where(duration > 0.0, _power(torch.where(rising, ramp, 1.0 - ramp), alpha), 1.0)
        # a note that ends within its attack has no decay left: it is released from the peak, not from the sustain
        sustained = torch.where(decay > 0.0, sustain, 1.0)
        waiting, held_back = _before_fall(decay, alpha), _before_fall(release, alpha)
        peak = waiting * (1.0 - sustain) + sustain
        return torch.where(
            rising,
            curve * (peak * held_back),
            torch.where(falling, (curve * (1.0 - sustain) + sustain) * held_back, curve * sustained),
        )


_START = 1e-6
"""Where a ramp starts. SynthAX's ramps do so too, and the smallest powers make it heard: 1e-6 ** 0.1 is 0.25."""

_LEAD = _START / 480.0
"""Seconds by which every ramp is ahead, as SynthAX's are: a millionth of a control point. A ramp shorter than that
is over before it begins, so a release at knob position 1e-6, the lowest of a doppelgänger, silences its envelope."""


def _ramp(elapsed: Tensor, duration: Tensor) -> Tensor:
    """A straight line from 0 to 1 within ``duration`` seconds, 1 after; ``elapsed`` is at least 0."""
    return ((elapsed + _LEAD) / duration.clamp(min=1e-12) + _START).clamp(max=1.0)


def _before_fall(duration: Tensor, alpha: Tensor) -> Tensor:
    """Where a falling ramp stands until it begins: just below 1, or at 0 where it is shorter than its lead.

    One without duration never falls, as in torchsynth and SynthAX.
    """
    ramp = _ramp(torch.zeros_like(duration), duration)
    return torch.where(duration > 0.0, _power(1.0 - ramp, alpha), 1.0)


def _power(base: Tensor, alpha: Tensor) -> Tensor:
    """``base ** alpha`` with finite gradients at base 0, where powers below 1 are infinitely steep."""
    return torch.where(base > 0.0, torch.exp(alpha * torch.log(base.clamp(min=_START))), 0.0)


class LFOs(Bank):
    """Low-frequency oscillators: five shapes in a weighted mixture, in [0, 1], with a modulated frequency."""

    SHAPES = ("sin", "tri", "saw", "rsaw", "sqr")

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            names,
            (
                ParameterSpec("frequency", 0.0, 20.0, 0.25, group="modulation", unit="Hz"),
                ParameterSpec("mod_depth", -10.0, 20.0, 0.5, True, group="modulation", unit="Hz"),
                ParameterSpec("initial_phase", -math.pi, math.pi, group="phase", unit="rad"),
                *(ParameterSpec(shape, 0.0, 1.0, group="modulation") for shape in self.SHAPES),
            ),
        )

    def __call__(self, units: Tensor, modulation: Tensor, control_rate: float) -> Tensor:
        """The LFOs' signals.

        Args:
            units: (n, size) of the voice.
            modulation: what moves each LFO's frequency, (n, lfos, points).
            control_rate: control points a second.

        Returns:
            (n, lfos, points) in [0, 1].
        """
        knobs = self.knobs(units)  # (n, lfos, 8)
        frequency, depth, initial_phase = knobs[..., :3].unbind(2)
        hertz = (frequency[..., None] + depth[..., None] * modulation).clamp(min=0.0)
        cycles = torch.cumsum(hertz / control_rate, 2) + initial_phase[..., None] / (2.0 * math.pi)
        saw = cycles - torch.floor(cycles)
        wave = -cosine(saw)  # the sine shape starts at its trough
        triangle = 1.0 - (2.0 * saw - 1.0).abs()
        square = (wave > 0).to(wave.dtype)
        # e as the exponent makes a dominant weight more dominant; it is torchsynth's choice
        weight = knobs[..., 3:] ** math.e  # (n, lfos, 5)
        weight = weight / weight.sum(2, keepdim=True).clamp(min=1e-30)
        shapes = (0.5 + 0.5 * wave, triangle, saw, 1.0 - saw, square)
        return sum((weight[..., i, None] * shape for i, shape in enumerate(shapes)), torch.zeros_like(saw))


class ModulationMatrix(Bank):
    """Weights with which each source of modulation reaches each destination.

    Args:
        name: the module's name.
        sources: how many signals come in.
        destinations: how many go out.
    """

    def __init__(self, name: str, sources: int, destinations: int) -> None:
        super().__init__(
            (name,),
            tuple(
                ParameterSpec(f"mod.{to}.{source}", 0.0, 1.0, 0.5, group="modulation")
                for to in range(destinations)
                for source in range(sources)
            ),
        )
        self.shape = (destinations, sources)

    def __call__(self, units: Tensor, sources: Tensor) -> Tensor:
        """Routes control signals: units (n, size), sources (n, sources, points) -> (n, destinations, points)."""
        weight = self.knobs(units).unflatten(2, self.shape)[:, 0]  # (n, destinations, sources)
        # A matrix product would add in an order that depends on the batch, and FM makes the last bit heard.
        mixed = weight[:, :, 0, None] * sources[:, None, 0]  # (n, destinations, points)
        for source in range(1, self.shape[1]):
            mixed = torch.addcmul(mixed, weight[:, :, source, None], sources[:, None, source])
        return mixed


class ModulationSection(nn.Module):
    """Keyboards, envelopes and LFOs behind a modulation matrix: the control half of every voice here.

    Its sources are the envelopes ``adsr_1 …`` and then the LFOs ``lfo_1 …``; each LFO has an envelope on its rate
    and one on its amplitude. Its destinations are a pitch and an amplitude for each oscillator, and then the
    amplitude of the noise.

    Args:
        pairs: how many envelopes and how many LFOs.
        oscillators: how many oscillators it moves.
        keyboards: one for the whole voice, or one for each pair of an envelope and an LFO.
    """

    def __init__(self, pairs: int, oscillators: int, keyboards: int = 1) -> None:
        super().__init__()
        numbers = range(1, pairs + 1)
        self.pairs = pairs
        numbered = [f"keyboard_{i}" for i in range(1, keyboards + 1)]
        self.keyboards = Keyboards(["keyboard"] if keyboards == 1 else numbered)
        self.envelopes = Envelopes(
            [f"adsr_{i}" for i in numbers]
            + [f"lfo_{i}_rate_adsr" for i in numbers]
            + [f"lfo_{i}_amp_adsr" for i in numbers]
        )
        self.lfos = LFOs([f"lfo_{i}" for i in numbers])
        self.matrix = ModulationMatrix("mod_matrix", 2 * pairs, 2 * oscillators + 1)
        self.oscillators = oscillators
        self.banks = (self.keyboards, self.envelopes, self.lfos, self.matrix)

    def forward(self, units: Tensor, time: Tensor, control_rate: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Control signals.

        Args:
            units: (n, size).
            time: seconds of the control points, (points,).
            control_rate: control points a second.

        Returns:
            The note that each oscillator plays as a MIDI number (n, oscillators), what is added to its pitch and its
            amplitude (n, oscillators, points) each, and the amplitude of the noise (n, 1, points).
        """
        midi, held = self.keyboards.read(units)  # (n, keyboards)
        envelopes = self.envelopes(units, held.expand(-1, self.pairs).repeat(1, 3), time)  # (n, 3 pairs, points)
        adsr, rate, amplitude = envelopes.unflatten(1, (3, self.pairs)).unbind(1)
        lfo = self.lfos(units, rate, control_rate) * amplitude
        signals = self.matrix(units, torch.cat((adsr, lfo), dim=1))  # (n, destinations, points)
        return midi.expand(-1, self.oscillators), signals[:, :-1:2], signals[:, 1::2], signals[:, -1:]
