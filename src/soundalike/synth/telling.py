"""Voices that know what is to be heard in their sounds, step by step and as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from soundalike.compilation import compiled
from soundalike.synth.resonance import Frames
from soundalike.synth.synthesizer import Compiled, Synthesizer, by_rows
from soundalike.synth.targets import Target, TargetSpec, pack, step_count, unpack
from soundalike.synth.truth import BANDS, Ear

QUIETEST_DB = -60.0
"""What is quieter than that, against the loudest band of the loudest step, is silence."""
LEVELS = TargetSpec(
    "levels",
    "dB",
    size=BANDS,
    centre=-38.0,
    spread=20.0,
    where="always; of each band against the loudest, before the place",
)
NOISE = TargetSpec("noise", "share", centre=0.4, spread=0.35, where="something sounds")


class Told(NamedTuple):
    """Sounds, and what they were made of."""

    sound: Tensor
    """(n, samples), in their places."""
    units: Tensor
    """(n, size)."""
    parts: Tensor
    """What has a pitch and what is noise, before the place: (n, 2, samples)."""


class Telling(Synthesizer):
    """A voice that tells targets along with its sounds.

    A subclass says in `_stages` of which functions a rendering consists, in `_told` how they follow one another, in
    ``target_specs`` what it knows, and in `_known` what that is.

    Args:
        sample_rate: samples a second.
        seconds: length of every sound.
        control_rate: control points a second.
        peak: ``own``, ``first`` or ``none``, as in `Synthesizer`.
    """

    def __init__(
        self, sample_rate: int = 16_000, seconds: float = 1.0, control_rate: float = 480.0, peak: str = "own"
    ) -> None:
        super().__init__(sample_rate, seconds, control_rate, peak)
        self.meter = Meter(Frames(self.samples, sample_rate), self.seconds, control_rate)
        self._compiled_told: Compiled | None = None

    @property
    def target_specs(self) -> tuple[TargetSpec, ...]:
        """What it knows of its sounds, in the order of `pack`."""
        raise NotImplementedError

    def with_targets(
        self, patch: Tensor, noise_seed: int | Sequence[int] | Tensor | None = None
    ) -> tuple[Tensor, dict[str, Target]]:
        """The sounds of patches, and what is to be heard in them. No gradients flow.

        Args:
            patch: knob positions in [0, 1], (n, size).
            noise_seed: as `Synthesizer.forward` takes it.

        Returns:
            Audio (n, samples), as ``forward`` gives it, and a target for each of `target_specs` by its name.

        Raises:
            SoundalikeError: shapes do not fit.
        """
        patch = self._checked(patch)
        keys = self._noise_keys(noise_seed, len(patch)).expand(len(patch))
        if self._compiled_told and patch.dtype == torch.float32:
            rows = self._compiled_told(patch, keys)
        else:
            with torch.no_grad():
                rows = by_rows(lambda some, its: self._packed(some, its, self._stages(plain)), patch, keys)
        sound, targets = rows.split((self.samples, rows.shape[1] - self.samples), dim=1)
        if self.peak == "first":
            sound = sound / sound[:1].abs().amax(dim=1, keepdim=True).clamp(min=1.0)
        return sound, unpack(self.target_specs, targets, step_count(self.seconds))

    def parts(self, patch: Tensor, noise_seed: int | Sequence[int] | Tensor | None = None) -> Tensor:
        """What sounds of patches are made of before their place: what has a pitch, and noise.

        Args:
            patch: knob positions in [0, 1], (n, size).
            noise_seed: as `Synthesizer.forward` takes it.

        Returns:
            (n, 2, samples), of any level.
        """
        patch = self._checked(patch)
        keys = self._noise_keys(noise_seed, len(patch)).expand(len(patch))
        return by_rows(lambda some, its: self._told(some, its, self._stages(plain)).parts, patch, keys)

    def targets(self, patch: Tensor, noise_seed: int | Sequence[int] | Tensor | None = None) -> dict[str, Target]:
        """What is to be heard in the sounds of patches, as `with_targets` tells it."""
        return self.with_targets(patch, noise_seed)[1]

    def _stages(self, made: Callable[..., Any]) -> tuple[Callable[..., Any], ...]:
        """The functions of a rendering, each as ``made(function, one_kernel)`` makes it."""
        raise NotImplementedError

    def _told(self, patch: Tensor, noise: Tensor, stages: tuple[Callable[..., Any], ...]) -> Told:
        """Sounds of a few patches (n, size) with their noise, as keys (n,) or (n, blocks, length)."""
        raise NotImplementedError

    def _known(self, told: Told) -> dict[str, Target]:
        """The targets of a few sounds."""
        raise NotImplementedError

    def _render(self, patch: Tensor, noise: Tensor) -> Tensor:
        return self._told(patch, noise, self._stages(plain)).sound

    def _compiled_render(self, rows: int) -> Callable[[Tensor, Tensor], Tensor]:
        self._halves = stages = self._stages(compiled)
        self._compiled_told = Compiled(lambda patch, noise: self._packed(patch, noise, stages), rows)
        return lambda patch, noise: self._told(patch, noise, stages).sound

    def _packed(self, patch: Tensor, noise: Tensor, stages: tuple[Callable[..., Any], ...]) -> Tensor:
        """Sounds, and behind them their targets in one row, (n, samples + numbers)."""
        told = self._told(patch, noise, stages)
        return torch.cat((told.sound, pack(self.target_specs, self._known(told)).to(told.sound)), dim=1)

    def _finished(self, units: Tensor, parts: Tensor, noise: Tensor, place: Callable[..., Tensor]) -> Told:
        """Both parts of sounds (n, 2, samples), put into their place; noise as keys (n,) or (n, samples)."""
        return Told(self._scaled(place(units, parts.sum(1), noise)), units, parts)


def plain(function: Callable[..., Any], one_kernel: bool = False) -> Callable[..., Any]:
    """The function as it is."""
    return function


class Meter(nn.Module):
    """Measures sounds in the steps and bands of targets.

    Args:
        frames: of the sounds.
        seconds: length of a sound.
        control_rate: of the voice, in Hz.
    """

    def __init__(self, frames: Frames, seconds: float, control_rate: float) -> None:
        super().__init__()
        self.frames, self.ear = frames, Ear(frames, seconds, control_rate)

    def levels(self, sound: Tensor) -> Tensor:
        """dB of each band against the loudest: (n, samples) -> (n, steps, BANDS)."""
        spectra = torch.view_as_real(self.frames.spectra(sound)).square().sum(3)  # (n, frames, bins)
        energy = self.ear.steps @ (spectra @ self.ear.bands)
        loudest = energy.amax((1, 2), keepdim=True).clamp(min=1e-12)
        return 10.0 * torch.log10(energy / loudest + 10.0 ** (QUIETEST_DB / 10.0))

    def energies(self, parts: Tensor) -> Tensor:
        """Mean squares in each step: (n, parts, samples) -> (n, parts, steps)."""
        hops = self.frames.count - 1
        missing = hops * self.frames.hop - parts.shape[2]
        power = nn.functional.pad(parts.square(), (0, missing)).unflatten(2, (hops, self.frames.hop)).mean(3)
        # a frame is the hop before and the hop behind its middle
        power = 0.5 * (nn.functional.pad(power, (1, 0)) + nn.functional.pad(power, (0, 1)))
        return power @ self.ear.steps.T

    def common(self, parts: Tensor) -> tuple[dict[str, Target], Tensor]:
        """The targets that every voice has, `LEVELS` and `NOISE`, and the mean squares of both parts in each step."""
        energy = self.energies(parts)
        total = energy.sum(1)  # (n, steps)
        sounding = total > 10.0 ** (QUIETEST_DB / 10.0) * total.amax(1, keepdim=True).clamp(min=1e-12)
        levels = self.levels(parts.sum(1))
        always = torch.ones(levels.shape[:2], dtype=torch.bool, device=levels.device)
        share = energy[:, 1] / total.clamp(min=1e-20)
        return {"levels": Target(levels, always), "noise": Target(share[..., None], sounding)}, energy
