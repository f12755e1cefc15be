"""The targets of a scene: what sounds in it at each step, known from how it was made and not from its sound."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from soundalike.synth.resonance import Frames
from soundalike.synth.targets import STEP_SECONDS, Target, TargetSpec, step_middles

BANDS = 16
"""Bands of the spectra, from 100 Hz to 7.5 kHz, evenly spaced in octaves."""
PITCHES = 30
"""Pitches that are told apart: every third semitone from MIDI 24, 33 Hz, on."""
QUIETEST_DB = -95.0
_LOWEST_HZ, _HIGHEST_HZ = 100.0, 7500.0
_LOWEST_MIDI, _SEMITONES = 24.0, 3.0

SPECS = (
    # energy of the events without the background, in dB of the scene's peak, at least QUIETEST_DB
    TargetSpec("spectrum", "dB", size=BANDS, centre=-60.0, spread=20.0),
    # shares of the energy, by pitch of the oscillators, then noise, then background
    TargetSpec(
        "sources",
        classes=(
            *(f"MIDI {_LOWEST_MIDI + _SEMITONES * pitch:.0f}" for pitch in range(PITCHES)),
            "noise",
            "background",
        ),
        shares=True,
    ),
)
"""What is known of a scene, for every step of 80 ms."""


def band_middles() -> Tensor:
    """log2 Hz of the middles of the bands, (BANDS,)."""
    return torch.linspace(math.log2(_LOWEST_HZ), math.log2(_HIGHEST_HZ), 2 * BANDS + 1)[1::2]


def triangles(octaves: Tensor) -> Tensor:
    """What each band weighs at some frequencies in log2 Hz: (bins,) -> (bins, BANDS)."""
    middles = band_middles()
    apart = (octaves[:, None] - middles).abs() / (middles[1] - middles[0])
    return (1.0 - apart).clamp(min=0.0)


class Sources(NamedTuple):
    """What a voice's oscillators and its noise do, at control points."""

    pitch: Tensor
    """(n, oscillators, points), MIDI numbers from 0 to 127."""
    energy: Tensor
    """(n, oscillators + 1, points): mean squares of each oscillator, then of the noise, before any filter."""


class SceneTargets(nn.Module):
    """Computes the targets of scenes while they are made.

    Args:
        frames: of the scenes.
        seconds: length of a scene.
        control_rate: of the voice, in Hz.
    """

    bands: Tensor
    steps: Tensor
    seconds: Tensor

    def __init__(self, frames: Frames, seconds: float, control_rate: float) -> None:
        super().__init__()
        self.control_rate = control_rate
        self.full = 4.0 * frames.hop**2  # about what a spectrum's squares add up to at full scale
        bands = triangles(frames.octaves)
        bands[0] = 0.0
        time = torch.arange(frames.count) * (frames.hop / frames.sample_rate)
        middle = step_middles(seconds)
        near = ((time - middle[:, None]).abs() <= STEP_SECONDS / 2 + 1e-4).float()

        def buffer(name: str, value: Tensor) -> None:
            self.register_buffer(name, value, persistent=False)

        buffer("bands", bands)
        buffer("steps", near / near.sum(1, keepdim=True).clamp(min=1.0))  # a mean over frames, (steps, frames)
        buffer("seconds", time)

    def energies(self, events: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
        """What of a scene's spectra the targets are made of.

        Args:
            events: spectra of the events as they are mixed, as real numbers, (n, events, frames, bins, 2).
            background: its spectra, (n, frames, bins, 2).

        Returns:
            Energies of the events in bands (n, events, frames, BANDS), and of the background (n, frames).
        """
        return events.square().sum(4) @ self.bands, background.square().sum((2, 3))

    def forward(
        self, events: Tensor, background: Tensor, onset: Tensor, sources: Sources, peak: Tensor
    ) -> dict[str, Target]:
        """The targets of n scenes, as `SPECS` declares them.

        Args:
            events: their energies, as `energies` returns them.
            background: its energy, likewise.
            onset: of the events, in seconds, (n, events).
            sources: of the events' voices, n events rows.
            peak: of the scenes' sound, before it is scaled, (n,).
        """
        full = peak.clamp(min=1e-6).square()[:, None, None] * self.full
        spectrum = 10.0 * torch.log10((self.steps @ events.sum(1)) / full + 10.0 ** (QUIETEST_DB / 10.0))
        by_source = torch.cat((self._by_source(events.sum(3), onset, sources), background[..., None]), dim=2)
        mixture = self.steps @ by_source  # (n, steps, PITCHES + 2)
        shares = mixture / mixture.sum(2, keepdim=True).clamp(min=1e-12)
        always = torch.ones(spectrum.shape[:2], dtype=torch.bool, device=spectrum.device)
        return {"spectrum": Target(spectrum, always), "sources": Target(shares, always)}

    def _by_source(self, of_event: Tensor, onset: Tensor, sources: Sources) -> Tensor:
        """Energy of the events by pitch, and of their noise: (n, events, frames) -> (n, frames, PITCHES + 1)."""
        count, events, frames = of_event.shape
        since = self.seconds - onset.flatten()[:, None]  # (n events, frames)
        point = (since * self.control_rate).long().clamp(0, sources.pitch.shape[2] - 1)[:, None]
        share = sources.energy.gather(2, point.expand(-1, sources.energy.shape[1], -1))
        share = share / share.sum(1, keepdim=True).clamp(min=1e-9) * (since >= 0)[:, None]
        share = share * of_event.flatten(0, 1)[:, None]  # (n events, oscillators + 1, frames)
        pitch = sources.pitch.gather(2, point.expand(-1, sources.pitch.shape[1], -1))
        place = ((pitch - _LOWEST_MIDI) / _SEMITONES).clamp(0.0, PITCHES - 1.0)
        below = place.floor().long().clamp(max=PITCHES - 2)
        above = (place - below) * share[:, :-1]
        result = share.new_zeros(len(share), frames, PITCHES + 1)
        for each, low, high in zip(share[:, :-1].unbind(1), below.unbind(1), above.unbind(1), strict=True):
            result.scatter_add_(2, low[..., None], (each - high)[..., None])
            result.scatter_add_(2, low[..., None] + 1, high[..., None])
        result[..., PITCHES] = share[:, -1]
        return result.unflatten(0, (count, events)).sum(1)
