"""Resonances that move: a filter whose gain is given for every short frame and frequency of a sound's spectrum."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from soundalike.synth.control import Bank
from soundalike.synth.parameter import ParameterSpec

HOP_SECONDS = 0.016  # half a frame; a vowel turns into the next one within a few of them
POINTS = 6
"""Points of a contour, evenly spread over the sound, with straight lines between them: five syllables a sound."""
DECIBEL = math.log(10.0) / 20.0
_LOWEST_HZ = 40.0
_RANGES = ((150.0, 1500.0), (500.0, 3000.0), (1200.0, 5000.0), (2500.0, 7500.0))  # Hz; those of a voice, and wider


class Frames(nn.Module):
    """Overlapping frames of a sound: into their spectra and back, exactly.

    Args:
        samples: length of a sound in samples.
        sample_rate: samples a second.
    """

    window: Tensor
    octaves: Tensor
    hats: Tensor

    def __init__(self, samples: int, sample_rate: int) -> None:
        super().__init__()
        self.samples, self.sample_rate = samples, sample_rate
        self.hop = max(1, round(HOP_SECONDS * sample_rate))
        self.count = -(-samples // self.hop) + 1
        # the root of a Hann window twice, and half-overlapping frames add up to the sound again
        self.register_buffer("window", torch.hann_window(2 * self.hop).sqrt(), persistent=False)
        hertz = torch.arange(self.hop + 1) * (sample_rate / (2 * self.hop))
        self.register_buffer("octaves", hertz.clamp(min=_LOWEST_HZ).log2(), persistent=False)  # (bins,)
        along = torch.linspace(0.0, POINTS - 1.0, self.count)
        hats = (1.0 - (along - torch.arange(POINTS)[:, None]).abs()).clamp(min=0.0)
        self.register_buffer("hats", hats, persistent=False)  # what each point of a contour weighs, (points, frames)

    def spectra(self, sound: Tensor) -> Tensor:
        """Sounds (n, samples) to spectra of their frames, complex (n, frames, bins)."""
        return self.windowed(self.padded(sound))

    def sound(self, spectra: Tensor) -> Tensor:
        """Spectra of frames (n, frames, bins) to sounds (n, samples)."""
        return self.overlapped(torch.fft.irfft(spectra, 2 * self.hop))

    def padded(self, sound: Tensor) -> Tensor:
        """Sounds (n, samples) with as many zeros around them as whole frames need."""
        missing = (self.count - 1) * self.hop - self.samples
        before, after = sound.new_zeros(len(sound), self.hop), sound.new_zeros(len(sound), self.hop + missing)
        return torch.cat((before, sound, after), dim=1)

    def windowed(self, padded: Tensor) -> Tensor:
        """Spectra of the frames of padded sounds, complex (n, frames, bins)."""
        return torch.fft.rfft(padded.unfold(1, 2 * self.hop, self.hop) * self.window)

    def overlapped(self, frames: Tensor) -> Tensor:
        """Frames (n, frames, 2 hop), each under a window once more, to sounds (n, samples)."""
        frames = frames * self.window
        overlapped = frames[:, :-1, self.hop :] + frames[:, 1:, : self.hop]  # (n, frames - 1, hop)
        return overlapped.flatten(1)[:, : self.samples]


class Resonances(Bank):
    """Four resonances, as a vocal tract has them, a spectral tilt and a loudness, for each of several sounds.

    A resonance's centre moves along a contour, up to ``reach`` octaves to either side. What lies between the
    resonances is left in, ``depth`` decibels down. Loudness moves along a contour too, ``swing`` decibels deep.

    Args:
        names: one for each sound.
        frames: of the sounds.
    """

    def __init__(self, names: Sequence[str], frames: Frames) -> None:
        specs: list[ParameterSpec] = []
        for number, (low, high) in enumerate(_RANGES, start=1):
            name = f"formant_{number}"
            specs += [
                ParameterSpec(f"{name}.centre", math.log2(low), math.log2(high), group="timbre", unit="log2 Hz"),
                ParameterSpec(f"{name}.reach", 0.0, 1.5, 0.5, group="timbre", unit="octaves"),
                ParameterSpec(f"{name}.width", 0.03, 0.5, 0.5, group="timbre", unit="octaves"),
                ParameterSpec(f"{name}.gain", -30.0, 0.0, group="timbre", unit="dB"),
                *(ParameterSpec(f"{name}.point.{i}", -1.0, 1.0, group="modulation") for i in range(POINTS)),
            ]
        specs += [
            ParameterSpec("depth", 0.0, 60.0, group="timbre", unit="dB"),
            ParameterSpec("tilt", -12.0, 3.0, group="timbre", unit="dB/octave"),
            ParameterSpec("swing", 0.0, 60.0, 0.7, group="envelope", unit="dB"),
            *(ParameterSpec(f"softness.{i}", 0.0, 1.0, group="envelope") for i in range(POINTS)),
        ]
        super().__init__(names, specs)
        self.frames = frames

    def __call__(self, units: Tensor) -> Tensor:
        """Gains of every frame and frequency: units (n, size) -> (n, sounds, frames, bins)."""
        knobs = self.knobs(units)  # (n, sounds, parameters)
        hats, octaves = self.frames.hats, self.frames.octaves
        *formants, final = _sections(knobs)
        (depth, tilt, swing), softness = final
        passed = torch.exp(-DECIBEL * depth)[..., None, None]
        for (centre, reach, width, gain), points in formants:
            place = centre[..., None] + reach[..., None] * (points @ hats)  # (n, sounds, frames)
            apart = (octaves - place[..., None]) / width[..., None, None]  # (n, sounds, frames, bins)
            passed = passed + torch.exp(DECIBEL * gain)[..., None, None] / (1.0 + apart * apart)
        quieter = swing[..., None] * (softness @ hats)  # (n, sounds, frames)
        return passed * torch.exp(DECIBEL * (tilted(tilt, octaves)[..., None, :] - quieter[..., None]))


def tilted(tilt: Tensor, octaves: Tensor) -> Tensor:
    """Decibels at each frequency of a slope in decibels an octave, 0 at 1 kHz: (...), (bins,) -> (..., bins)."""
    return tilt[..., None] * (octaves - math.log2(1000.0))


def _sections(knobs: Tensor) -> list[tuple[tuple[Tensor, ...], Tensor]]:
    """Four numbers and the points of a contour for each resonance; then three numbers and a contour."""
    sections = []
    for count in (*[4] * len(_RANGES), 3):
        here, knobs = knobs.tensor_split([count + POINTS], dim=-1)
        sections.append((here[..., :count].unbind(-1), here[..., count:]))
    return sections
