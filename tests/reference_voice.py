"""A slow, obvious renderer of Voice and VoiceFM: one sound, one knob and one sample at a time, in float64.

Nothing here comes from the package: knob ranges and behaviour are written down once more, from the definitions of
torchsynth and SynthAX, so that a slip in the fast renderer cannot hide in the slow one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]

# minimum, maximum, curve, symmetric
RANGES = {
    "keyboard.midi_f0": (0.0, 127.0, 1.0, False),
    "keyboard.duration": (0.01, 4.0, 0.5, False),
    "adsr.attack": (0.0, 2.0, 0.5, False),
    "adsr.decay": (0.0, 2.0, 0.5, False),
    "adsr.sustain": (0.0, 1.0, 1.0, False),
    "adsr.release": (0.0, 5.0, 0.5, False),
    "adsr.alpha": (0.1, 6.0, 1.0, False),
    "lfo.frequency": (0.0, 20.0, 0.25, False),
    "lfo.mod_depth": (-10.0, 20.0, 0.5, True),
    "lfo.initial_phase": (-math.pi, math.pi, 1.0, False),
    "lfo.sin": (0.0, 1.0, 1.0, False),
    "lfo.tri": (0.0, 1.0, 1.0, False),
    "lfo.saw": (0.0, 1.0, 1.0, False),
    "lfo.rsaw": (0.0, 1.0, 1.0, False),
    "lfo.sqr": (0.0, 1.0, 1.0, False),
    "mod_matrix.mod": (0.0, 1.0, 0.5, False),
    "vco.tuning": (-24.0, 24.0, 1.0, False),
    "vco.mod_depth": (-96.0, 96.0, 0.2, True),
    "vco.initial_phase": (-math.pi, math.pi, 1.0, False),
    "vco.shape": (0.0, 1.0, 1.0, False),
    "mixer.level": (0.0, 1.0, 1.0, False),
}


def kind(name: str) -> str:
    """What a knob is, whichever module it sits on: ``lfo_2_rate_adsr.attack`` -> ``adsr.attack``."""
    module, parameter = name.split(".")[:2]
    module = "adsr" if "adsr" in module else re.sub(r"_\d+$", "", module)
    return f"{module}.{parameter}"


def unit(name: str, knob: float) -> float:
    """A knob position in [0, 1] as seconds, Hz, semitones …"""
    minimum, maximum, curve, symmetric = RANGES[kind(name)]
    if not symmetric:
        return minimum + (maximum - minimum) * knob ** (1 / curve)
    middle, half, outwards = (minimum + maximum) / 2, (maximum - minimum) / 2, 2 * knob - 1
    return middle + half * math.copysign(abs(outwards) ** (1 / curve), outwards)


def knob(name: str, value: float) -> float:
    """Seconds, Hz, semitones … as a knob position in [0, 1]."""
    minimum, maximum, curve, symmetric = RANGES[kind(name)]
    along = (value - minimum) / (maximum - minimum)
    if not symmetric:
        return along**curve
    return 0.5 + 0.5 * math.copysign(abs(2 * along - 1) ** curve, 2 * along - 1)


class Reference:
    """Renders one patch.

    Args:
        units: every knob's value in units, by name.
        samples: length of the sound.
        sample_rate: samples a second.
        points: control points.
        control_rate: control points a second.
    """

    def __init__(
        self, units: Mapping[str, float], samples: int, sample_rate: int, points: int, control_rate: float
    ) -> None:
        self.units = units
        self.samples, self.sample_rate = samples, sample_rate
        self.points, self.control_rate = points, control_rate

    def voice(self, noise: Signal) -> Signal:
        """Sine, square-saw and noise."""
        pitch_1, amp_1, pitch_2, amp_2, amp_noise = self.control(pairs=2, destinations=5)
        return self.mix(
            self.sine("vco_1", pitch_1) * self.upsample(amp_1),
            self.square_saw("vco_2", pitch_2) * self.upsample(amp_2),
            noise * self.upsample(amp_noise),
        )

    def voice_fm(self, noise: Signal) -> Signal:
        """Sine, square-saw, an FM pair and noise."""
        pitch_1, amp_1, pitch_2, amp_2, pitch_3, amp_3, amp_noise = self.control(pairs=3, destinations=7)
        return self.mix(
            self.sine("vco_1", pitch_1) * self.upsample(amp_1),
            self.square_saw("vco_2", pitch_2) * self.upsample(amp_2),
            self.fm("vco_4", self.sine("vco_3", pitch_3) * self.upsample(amp_3)),
            noise * self.upsample(amp_noise),
        )

    def control(self, pairs: int, destinations: int) -> list[Signal]:
        """The signals behind the modulation matrix, each of ``points`` values."""
        numbers = range(1, pairs + 1)
        sources = [self.envelope(f"adsr_{i}") for i in numbers]
        for i in numbers:
            sources.append(
                self.lfo(f"lfo_{i}", self.envelope(f"lfo_{i}_rate_adsr")) * self.envelope(f"lfo_{i}_amp_adsr")
            )
        weights = [[self.units[f"mod_matrix.mod.{to}.{i}"] for i in range(2 * pairs)] for to in range(destinations)]
        return [
            np.sum([weight * source for weight, source in zip(row, sources, strict=True)], axis=0) for row in weights
        ]

    def envelope(self, name: str) -> Signal:
        """An ADSR curve, point by point."""
        attack, decay, sustain, release, alpha = (
            self.units[f"{name}.{part}"] for part in ("attack", "decay", "sustain", "release", "alpha")
        )
        held = self.units["keyboard.duration"]
        decay = min(max(held - attack, 0.0), decay)
        attack = min(attack, held)
        curve = np.zeros(self.points)
        for point in range(self.points):
            rise = self.ramp(point, 0.0, attack) ** alpha
            fall = 1.0 if decay == 0 else (1 - self.ramp(point, attack, decay)) ** alpha * (1 - sustain) + sustain
            end = 1.0 if release == 0 else (1 - self.ramp(point, held, release)) ** alpha
            curve[point] = rise * fall * end
        return curve

    def ramp(self, point: int, start: float, duration: float) -> float:
        """From 0 at ``start`` to 1 after ``duration`` seconds, with the small offsets of the originals."""
        if duration == 0:
            return 1.0
        since = max(point - start * self.control_rate, 0.0)
        return min((since + 1e-6) / (duration * self.control_rate) + 1e-6, 1.0)

    def lfo(self, name: str, modulation: Signal) -> Signal:
        """Five shapes in a weighted mixture, point by point."""
        frequency, depth, phase = (
            self.units[f"{name}.{part}"] for part in ("frequency", "mod_depth", "initial_phase")
        )
        weights = [self.units[f"{name}.{shape}"] ** math.e for shape in ("sin", "tri", "saw", "rsaw", "sqr")]
        signal = np.zeros(self.points)
        for point in range(self.points):
            phase += 2 * math.pi * max(frequency + depth * modulation[point], 0.0) / self.control_rate
            turn = phase % (2 * math.pi) / (2 * math.pi)
            sine = (1 + math.cos(phase + math.pi)) / 2
            shapes = (sine, 1 - abs(2 * turn - 1), turn, 1 - turn, 1.0 if sine > 0.5 else 0.0)
            signal[point] = sum(w * shape for w, shape in zip(weights, shapes, strict=True)) / sum(weights)
        return signal

    def upsample(self, control: Signal) -> Signal:
        """Straight lines between control points, which lie evenly from the first sample to the last."""
        return np.interp(np.linspace(0, self.points - 1, self.samples), np.arange(self.points), control)

    def phase(self, name: str, control: Signal) -> Signal:
        """Pitch is interpolated in semitones, clamped, made a frequency, and summed sample by sample."""
        pitch = self.units["keyboard.midi_f0"] + self.units[f"{name}.tuning"]
        phase, phases = self.units[f"{name}.initial_phase"], np.zeros(self.samples)
        for i, moved in enumerate(pitch + self.units[f"{name}.mod_depth"] * self.upsample(control)):
            phase += 2 * math.pi * hertz(min(max(moved, 0.0), 127.0)) / self.sample_rate
            phases[i] = phase
        return phases

    def sine(self, name: str, control: Signal) -> Signal:
        """A cosine."""
        return np.cos(self.phase(name, control))

    def square_saw(self, name: str, control: Signal) -> Signal:
        """A square that turns into a saw."""
        depth, shape = self.units[f"{name}.mod_depth"], self.units[f"{name}.shape"]
        highest = hertz(self.units["keyboard.midi_f0"] + self.units[f"{name}.tuning"] + max(depth, 0.0))
        steepness = 12000 / (highest * math.log10(highest))
        phase = self.phase(name, control)
        square = np.tanh(math.pi * steepness * np.sin(phase) / 2)
        return (1 - shape / 2) * square * (1 + shape * np.cos(phase))

    def fm(self, name: str, modulator: Signal) -> Signal:
        """A cosine whose frequency, in Hz, follows a modulator at audio rate."""
        carrier = hertz(self.units["keyboard.midi_f0"] + self.units[f"{name}.tuning"])
        index, phase = self.units[f"{name}.mod_depth"], self.units[f"{name}.initial_phase"]
        sound = np.zeros(self.samples)
        for i, moved in enumerate(modulator):
            phase += (
                2 * math.pi * min(max(carrier + index * carrier * moved, 0.0), self.sample_rate / 2) / self.sample_rate
            )
            sound[i] = math.cos(phase)
        return sound

    def mix(self, *sounds: Signal) -> Signal:
        """The sum of sounds at their levels, scaled down where its peak exceeds 1."""
        total = np.sum([self.units[f"mixer.level.{i}"] * sound for i, sound in enumerate(sounds)], axis=0)
        return total / max(1.0, np.abs(total).max())


def hertz(midi: float) -> float:
    """Frequency of a MIDI pitch."""
    return 440.0 * 2.0 ** ((midi - 69) / 12)
