"""Who speaks: the knobs of a speaker, the melody, and the air that the vocal folds let through."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from soundalike.synth.approximation import cosine
from soundalike.synth.control import Bank
from soundalike.synth.parameter import ParameterSpec
from soundalike.synth.resonance import DECIBEL

TRACT_CM = 17.5
"""Usual length of a tract, a man's: a tube of this length that is open at one end has its resonances at 500 Hz,
1,500 Hz, 2,500 Hz and so on."""
_USUAL_MIDI = 45.0  # 110 Hz, of a tract of usual length
_SHORTER = 36.0  # semitones that an octave less of tract adds: 200 Hz at 14.3 cm, 270 Hz at 13 cm
_WHISPER, _WHISPERED = 0.93, 0.97  # positions of the knob at which the voice begins to go and is gone
_WHISPER_LEVEL = 0.3  # of the breath, against the voice that it stands for


class Speaker(Bank):
    """The knobs of who speaks, and how: all of the group ``speaker``."""

    def __init__(self) -> None:
        def knob(name: str, low: float, high: float, unit: str = "", curve: float = 1.0) -> ParameterSpec:
            return ParameterSpec(name, low, high, curve, group="speaker", unit=unit)

        super().__init__(
            ("speaker",),
            (
                knob("tract", 13.0, 21.0, "cm"),
                ParameterSpec("pitch", -10.0, 10.0, 0.8, True, "speaker", "semitones"),  # from what the tract suggests
                knob("slope", -8.0, 4.0, "semitones"),  # over the whole sound
                knob("wave.depth", 0.0, 4.0, "semitones", 0.7),
                knob("wave.rate", math.log2(0.8), math.log2(6.0), "log2 Hz"),
                knob("wave.phase", -math.pi, math.pi, "rad"),
                knob("jitter", 0.0, 1.0, "semitones", 0.4),
                knob("shimmer", 0.0, 4.0, "dB", 0.4),
                knob("open", 0.35, 0.85),  # part of a cycle for which the folds are open
                knob("closing", 0.1, 0.5),  # part of that in which they close
                knob("brightness", math.log2(400.0), math.log2(8000.0), "log2 Hz"),
                knob("breath", -45.0, -8.0, "dB"),
                knob("whisper", 0.0, 1.0),
                knob("damping", math.log2(0.7), math.log2(2.0), "octaves"),
                knob("rate", math.log2(0.7), math.log2(1.4), "octaves"),
                knob("overlap", 0.025, 0.07, "s"),
                knob("variability", 0.0, 1.0),
            ),
        )

    def shorter(self, units: Tensor) -> Tensor:
        """Octaves by which every resonance lies higher than in a tract of usual length, (n, 1)."""
        return math.log2(TRACT_CM) - self.named(units)["tract"].log2()

    def voice(self, units: Tensor) -> Tensor:
        """How much of the voice is left by whispering, from 0 to 1, (n, 1)."""
        return ((_WHISPERED - self.named(units)["whisper"]) / (_WHISPERED - _WHISPER)).clamp(0.0, 1.0)

    def melody(self, units: Tensor, time: Tensor, seconds: float) -> Tensor:
        """Pitch without its jitter, as MIDI numbers, (n, times).

        Args:
            units: (n, size).
            time: seconds, (times,).
            seconds: length of the sound.
        """
        knob = self.named(units)
        mean = _USUAL_MIDI + _SHORTER * self.shorter(units) + knob["pitch"]
        cycles = torch.exp2(knob["wave.rate"]) * time + knob["wave.phase"] / (2.0 * math.pi)
        return mean + knob["slope"] * (time / seconds - 0.5) + knob["wave.depth"] * cosine(cycles)

    def amplitudes(self, units: Tensor, voice: Tensor, aspiration: Tensor) -> tuple[Tensor, Tensor]:
        """What comes from the throat.

        Args:
            units: (n, size).
            voice: amplitude of the voice that is asked for, (n, times).
            aspiration: of the breath besides, (n, times).

        Returns:
            Amplitudes of the pulses and of the breath, (n, times) each.
        """
        knob, left = self.named(units), self.voice(units)
        breath = torch.exp(DECIBEL * knob["breath"])
        return voice * left, aspiration + voice * (breath * left + _WHISPER_LEVEL * (1.0 - left))

    def pulses(self, units: Tensor, cycles: Tensor, period: Tensor) -> tuple[Tensor, Tensor]:
        """The change of the glottal flow, which is what a listener hears of it (Rosenberg 1971, polynomials).

        The flow rises by 3x² - 2x³ and falls by 1 - x². Where it stops, its change jumps, and the jump is rounded
        off to two samples, so that its partials above the highest frequency do not fold back.

        Args:
            units: (n, size).
            cycles: phase, (n, blocks, length).
            period: length of a cycle in samples, likewise.

        Returns:
            The pulses, of mean square 1, and how far the folds are open, 0 or 1; (n, blocks, length) each.
        """
        knob = self.named(units)
        opened, closing = knob["open"][..., None], knob["closing"][..., None]  # (n, 1, 1)
        up, down = opened * (1.0 - closing), opened * closing
        phase = cycles - torch.floor(cycles)
        rising, falling = phase * up.reciprocal(), (phase - up) * down.reciprocal()
        rise, fall = rising * (1.0 - rising) * (6.0 / up), falling * (-2.0 / down)
        shape = torch.where(phase < up, rise, torch.where(phase < opened, fall, 0.0))
        past = (phase - opened) * period  # in samples
        near = (1.0 - past.abs()).clamp(min=0.0)
        rounded = torch.where(past < 0.0, near, -near) * near * down.reciprocal()  # half of the jump, 2 / down
        loudness = (1.2 / up + 4.0 / (3.0 * down)).rsqrt()
        return (shape + rounded) * loudness, (phase < opened).to(phase)
