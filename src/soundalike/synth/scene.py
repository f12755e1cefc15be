"""Scenes: several sounds in time, each through resonances that move, over a background."""

from __future__ import annotations

import copy
from typing import Self

import torch
from torch import Tensor

from soundalike.core import random
from soundalike.core.compile import compiled
from soundalike.core.errors import SoundalikeError, nearest
from soundalike.synth.control import Bank
from soundalike.synth.parameter import ParameterSpec
from soundalike.synth.resonance import DECIBEL, Frames, Resonances, tilted
from soundalike.synth.scene_targets import SPECS, SceneTargets, Sources
from soundalike.synth.synthesizer import Synthesizer
from soundalike.synth.targets import TargetSpec, pack
from soundalike.synth.voice import INSTRUMENTS, Voice

LOUDNESS = 0.1
"""Root mean square over the whole scene of a sound at level 0 dB: 20 dB below full scale, as in most recordings."""
_QUIETEST = 1e-6  # what is quieter than that, mean square, is silence and not made louder
_FLAT_BELOW = 6.5  # log2 Hz, 91 Hz: a slope that went on to 0 Hz would put a background where nobody hears it
_MOST_EVENTS = 256  # a thousand times as many would fill the memory before anything is heard
_EVENT, _BACKGROUND = range(2)  # uses of a scene's noise key


class Scene(Synthesizer):
    """Several sounds of one voice, each with its own patch, resonances, loudness and onset, over a background.

    One note of a synthesizer starts with the clip and hardly ever ends in it; a recording holds several sounds,
    through mouths, bodies and rooms, and something behind them. The background is white noise with a slope; its level
    is its root mean square, whatever the slope, against a sound at level 0 dB.

    Args:
        instrument: the voice that makes the sounds, such as ``voice``.
        events: how many sounds, at least 1.
        sample_rate: samples a second.
        seconds: length of every scene.
        control_rate: control points a second, of the voice.
        peak: ``own``, ``first`` or ``none``, as in `Synthesizer`.

    Raises:
        SoundalikeError: the voice is unknown, or there is no event.
    """

    def __init__(
        self,
        instrument: str = "voice",
        events: int = 2,
        sample_rate: int = 16_000,
        seconds: float = 1.0,
        control_rate: float = 480.0,
        peak: str = "own",
    ) -> None:
        super().__init__(sample_rate, seconds, control_rate, peak)
        if instrument not in INSTRUMENTS:
            raise SoundalikeError(f"instrument is {instrument!r}: {nearest(str(instrument), INSTRUMENTS)}")
        if isinstance(events, bool) or not isinstance(events, int) or events < 1:
            raise SoundalikeError(f"events is {events!r}: give a whole number of at least 1.")
        if events > _MOST_EVENTS:
            raise SoundalikeError(f"events is {events}: give at most {_MOST_EVENTS}.")
        self.events = events
        self.instrument = INSTRUMENTS[instrument](
            sample_rate=sample_rate, seconds=seconds, control_rate=control_rate, peak="own"
        )
        self.frames = Frames(self.samples, sample_rate)
        self.scene_targets = SceneTargets(self.frames, self.seconds, control_rate)
        names = [f"event_{i}" for i in range(1, events + 1)]
        self.patches = Bank(names, self.instrument.specs)
        self.places = Bank(
            names,
            (
                ParameterSpec("onset", 0.0, 0.8 * self.seconds, 0.5, group="envelope", unit="s"),
                ParameterSpec("level", -30.0, 0.0, group="level", unit="dB"),
            ),
        )
        self.resonances = Resonances(names, self.frames)
        self.background = Bank(
            ("background",),
            (
                ParameterSpec("level", -60.0, 10.0, group="room", unit="dB"),
                ParameterSpec("tilt", -12.0, 0.0, group="room", unit="dB/octave"),
            ),
        )
        self.assemble(self.patches, self.places, self.resonances, self.background)

    @property
    def target_specs(self) -> tuple[TargetSpec, ...]:
        """Those of `scene_targets.SPECS` where the pitches of the instrument are known, else none."""
        return SPECS if isinstance(self.instrument, Voice) else ()

    def _compiled_twin(self, rows: int) -> Self:
        self.instrument.compile_rendering(rows)
        twin = copy.copy(self)
        twin._placed, twin._mix = compiled(self._placed), compiled(self._mix)  # type: ignore[method-assign]
        twin._mix_with_energies = compiled(self._mix_with_energies)  # type: ignore[method-assign]
        twin._sources = compiled(self._sources)  # type: ignore[method-assign]
        return twin

    def _render(self, patch: Tensor, noise: Tensor) -> Tensor:
        return self._scaled(self._sound(self._mix(*self._spectra(patch, noise))))

    def _render_with_targets(self, patch: Tensor, noise: Tensor) -> Tensor:
        units, events, behind = self._spectra(patch, noise)
        mix, of_events, of_background = self._mix_with_energies(units, events, behind)
        sound = self._sound(mix)
        sources = self._sources(self.patches.knobs(patch).flatten(0, 1))
        onset, peak = self.places.read(units)[0], sound.abs().amax(1)
        targets = self.scene_targets(of_events, of_background, onset, sources, peak)
        return torch.cat((self._scaled(sound), pack(SPECS, targets)), dim=1)

    def _sources(self, patches: Tensor) -> Sources:
        """What the instrument's oscillators do, of the events' patches (n events, size of the instrument)."""
        assert isinstance(self.instrument, Voice)
        sources: Sources = self.instrument.sources(patches)
        return sources

    def _sound(self, mix: Tensor) -> Tensor:
        """The sound (n, samples) of a spectrum (n, frames, bins, 2)."""
        return self.frames.sound(torch.view_as_complex(mix))

    def _spectra(self, patch: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Knobs in units (n, size), and spectra of the events and of white noise, as `_mix` takes them."""
        units = self.table.to_units(patch)
        of_events, of_background = self._noises(noise)
        patches = self.patches.knobs(patch).flatten(0, 1)  # (n events, size of the voice)
        sounds = self.instrument.with_noise(patches, of_events).unflatten(0, (-1, self.events))
        placed = self._placed(sounds, self.places.read(units)[0], of_background)  # (n events + n, samples)
        spectra = torch.view_as_real(self.frames.spectra(placed))  # (n events + n, frames, bins, 2)
        events, behind = spectra.split((len(patch) * self.events, len(patch)))
        return units, events.unflatten(0, (-1, self.events)), behind

    def _noises(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Noise of every event, n events rows, and of every background, n rows: keys, or blocks where these are given.

        Args:
            noise: as `Synthesizer._render` takes it.
        """
        if noise.dim() != 1:
            return noise.repeat_interleave(self.events, dim=0), noise
        numbers = torch.arange(self.events, device=noise.device)
        seeds = random.keys(noise[:, None].long(), numbers, stream=(_EVENT, _BACKGROUND)).long()  # (2, n, events)
        of_events, of_background = random.noise_keys(seeds).unbind()
        return of_events.flatten(), of_background[:, 0]

    def _placed(self, sounds: Tensor, onset: Tensor, noise: Tensor) -> Tensor:
        """Sounds moved to where they begin, and the white noise that backgrounds are made of.

        Args:
            sounds: (n, events, samples).
            onset: in seconds, (n, events).
            noise: noise of the backgrounds, as `_noises` returns it.

        Returns:
            The sounds of all events, then the noise of all backgrounds, of mean square 1/3, (n events + n, samples).
        """
        late = (onset * self.sample_rate)[..., None]  # between samples by a straight line: gradients reach it
        place = torch.arange(self.samples, device=sounds.device) - late.floor().long()
        now = torch.where(place >= 0, sounds.gather(2, place.clamp(min=0)), 0.0)
        before = torch.where(place >= 1, sounds.gather(2, (place - 1).clamp(min=0)), 0.0)
        moved = torch.lerp(now, before, late - late.floor()).flatten(0, 1)
        white = noise if noise.dim() > 1 else random.noise_at(noise, self.positions)  # (n, blocks, length)
        return torch.cat((moved, self.grid.waveform(white).to(moved)))

    def _mix(self, units: Tensor, events: Tensor, behind: Tensor) -> Tensor:
        """Spectra of scenes.

        Args:
            units: (n, size).
            events: spectra of the events as real numbers, (n, events, frames, bins, 2).
            behind: spectra of white noise, (n, frames, bins, 2).

        Returns:
            (n, frames, bins, 2).
        """
        passed, background = self._layers(units, events, behind)
        return passed.sum(1) + background

    def _mix_with_energies(self, units: Tensor, events: Tensor, behind: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `_mix`, and the energies that the targets are made of."""
        passed, background = self._layers(units, events, behind)
        return passed.sum(1) + background, *self.scene_targets.energies(passed, background)

    def _layers(self, units: Tensor, events: Tensor, behind: Tensor) -> tuple[Tensor, Tensor]:
        """Spectra of the events at their levels, (n, events, frames, bins, 2), and of the background."""
        passed = events * self.resonances(units)[..., None]
        power = passed.square().sum((2, 3, 4)) / (self.samples * self.frames.hop)  # about the mean square, (n, events)
        level = torch.exp(DECIBEL * self.places.read(units)[1])
        loudness = LOUDNESS * level / power.clamp(min=_QUIETEST).sqrt()
        level, tilt = (value[:, 0] for value in self.background.read(units))  # (n,) each
        shape = torch.exp(DECIBEL * tilted(tilt, self.frames.octaves.clamp(min=_FLAT_BELOW)))  # (n, bins)
        colour = torch.exp(DECIBEL * level)[:, None] * shape / shape.square().mean(1, keepdim=True).sqrt()
        background = (LOUDNESS * 3.0**0.5) * colour[:, None, :, None] * behind
        return passed * loudness[..., None, None, None], background
