"""Who speaks: the knobs of a speaker, the melody, and the air that the vocal folds let through."""

from __future__ import annotations

import math
from typing import NamedTuple

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


class Manner(NamedTuple):
    """How n speakers speak, (n, 1) each."""

    shorter: Tensor
    """Octaves by which every formant lies higher than in a tract of usual length."""
    pitch: Tensor
    """MIDI number in the middle of the sound, without what waves."""
    slope: Tensor
    """Semitones that are added over the whole sound."""
    depth: Tensor
    """Semitones by which the pitch waves."""
    rate: Tensor
    """Waves a second."""
    phase: Tensor
    """Of the wave at the start, in cycles."""
    jitter: Tensor
    """Semitones by which the pitch wavers by chance."""
    shimmer: Tensor
    """Nepers by which the amplitude does."""
    voice: Tensor
    """Amplitude of the pulses, from 0, a whisper, to 1."""
    breath: Tensor
    """Amplitude of the breath, against the voice that is asked for."""
    opened: Tensor
    """Part of a cycle for which the folds are open."""
    up: Tensor
    """Part in which they open."""
    rise: Tensor
    """The change of the flow while they open, over phase × (up - phase)."""
    fall: Tensor
    """And while they close, over (up - phase)."""
    jump: Tensor
    """Half of what it jumps by when they have closed."""


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

    def manner(self, units: Tensor) -> Manner:
        """How these speakers speak: units (n, size) of the voice.

        The flow of air through the folds rises by 3x² - 2x³ and falls by 1 - x² (Rosenberg 1971, polynomials). What a
        listener hears of it is its change, which is scaled to a mean square of 1.
        """
        knob = self.named(units)
        shorter = math.log2(TRACT_CM) - knob["tract"].log2()
        left = ((_WHISPERED - knob["whisper"]) / (_WHISPERED - _WHISPER)).clamp(0.0, 1.0)
        down = knob["open"] * knob["closing"]
        up = knob["open"] - down
        loudness = (1.2 / up + 4.0 / (3.0 * down)).rsqrt()
        return Manner(
            shorter,
            _USUAL_MIDI + _SHORTER * shorter + knob["pitch"],
            knob["slope"],
            knob["wave.depth"],
            torch.exp2(knob["wave.rate"]),
            knob["wave.phase"] / (2.0 * math.pi),
            knob["jitter"],
            DECIBEL * knob["shimmer"],
            left,
            torch.exp(DECIBEL * knob["breath"]) * left + _WHISPER_LEVEL * (1.0 - left),
            knob["open"],
            up,
            6.0 * loudness / (up * up * up),
            2.0 * loudness / (down * down),
            loudness / down,
        )


def melody(manner: Manner, time: Tensor, seconds: float) -> Tensor:
    """Pitch without its jitter, as MIDI numbers, (n, times).

    Args:
        manner: of n speakers.
        time: seconds, (times,).
        seconds: length of the sound.
    """
    wave = manner.depth * cosine(manner.rate * time + manner.phase)
    return manner.pitch + manner.slope * (time / seconds - 0.5) + wave


def pulses(manner: Manner, cycles: Tensor, period: Tensor) -> tuple[Tensor, Tensor]:
    """The change of the flow through the vocal folds.

    Where the flow stops, its change jumps, and the jump is rounded off to two samples, so that partials above the
    highest frequency hardly fold back.

    Args:
        manner: of n speakers.
        cycles: phase, (n, blocks, length).
        period: length of a cycle in samples, likewise.

    Returns:
        The pulses, of mean square 1, and whether the folds are open, 0 or 1; (n, blocks, length) each.
    """
    opened, up, rise, fall, jump = (each[..., None] for each in manner[-5:])  # (n, 1, 1)
    phase = cycles - torch.floor(cycles)
    left = up - phase
    shape = torch.where(phase < up, phase * left * rise, torch.where(phase < opened, left * fall, 0.0))
    past = (phase - opened) * period  # in samples
    near = (1.0 - past.abs()).clamp(min=0.0)
    return shape + torch.where(past < 0.0, near, -near) * near * jump, (phase < opened).to(phase)
