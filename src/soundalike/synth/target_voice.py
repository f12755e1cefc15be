"""What voices share that know what they play, step by step and as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from soundalike.core.compile import compiled
from soundalike.synth.resonance import Frames
from soundalike.synth.scene_targets import BANDS, SceneTargets
from soundalike.synth.synthesizer import Synthesizer, by_rows
from soundalike.synth.targets import Target, TargetSpec, pack

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


class Rendered(NamedTuple):
    """Sounds, and what they were made of."""

    sound: Tensor
    """(n, samples), in their places."""
    units: Tensor
    """(n, size)."""
    parts: Tensor
    """What has a pitch and what is noise, before the place: (n, 2, samples)."""


class TargetVoice(Synthesizer):
    """A voice whose targets are partly measured on its sounds before they are put into their place.

    A subclass says in `_rendered` how its parts follow one another, names in ``COMPILED`` those that can be compiled,
    and says in ``target_specs`` and `_known` what it knows of its sounds.

    Args:
        sample_rate: samples a second.
        seconds: length of every sound.
        control_rate: control points a second.
        peak: ``own``, ``first`` or ``none``, as in `Synthesizer`.
    """

    COMPILED: tuple[str, ...] = ()
    """Names of the methods that can be compiled; the last computes at every sample, in one loop."""

    def __init__(
        self, sample_rate: int = 16_000, seconds: float = 1.0, control_rate: float = 480.0, peak: str = "own"
    ) -> None:
        super().__init__(sample_rate, seconds, control_rate, peak)
        self.meter = Meter(Frames(self.samples, sample_rate), self.seconds, control_rate)

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
        return by_rows(lambda some, its: self._rendered(some, its).parts, patch, keys)

    def _rendered(self, patch: Tensor, noise: Tensor) -> Rendered:
        """Sounds of a few patches (n, size) with their noise, as keys (n,) or (n, blocks, length)."""
        raise NotImplementedError

    def _known(self, rendered: Rendered) -> dict[str, Target]:
        """The targets of a few sounds."""
        raise NotImplementedError

    def _render(self, patch: Tensor, noise: Tensor) -> Tensor:
        return self._rendered(patch, noise).sound

    def _render_with_targets(self, patch: Tensor, noise: Tensor) -> Tensor:
        rendered = self._rendered(patch, noise)
        targets = pack(self.target_specs, self._known(rendered)).to(rendered.sound)
        return torch.cat((rendered.sound, targets), dim=1)

    def _compiled_twin(self, rows: int) -> Self:
        twin = super()._compiled_twin(rows)
        for name in self.COMPILED:
            setattr(twin, name, compiled(getattr(self, name), one_kernel=name == self.COMPILED[-1]))
        return twin

    def _finished(self, units: Tensor, parts: Tensor, noise: Tensor) -> Rendered:
        """Both parts of sounds (n, 2, samples), put into their place; noise as keys (n,) or (n, samples)."""
        assert self.place is not None
        return Rendered(self._scaled(self.place(units, parts.sum(1), noise)), units, parts)


class Meter(nn.Module):
    """Measures sounds in the steps and bands of targets.

    Args:
        frames: of the sounds.
        seconds: length of a sound.
        control_rate: of the voice, in Hz.
    """

    def __init__(self, frames: Frames, seconds: float, control_rate: float) -> None:
        super().__init__()
        self.frames, self.bands = frames, SceneTargets(frames, seconds, control_rate)

    def levels(self, sound: Tensor) -> Tensor:
        """dB of each band against the loudest: (n, samples) -> (n, steps, BANDS)."""
        spectra = torch.view_as_real(self.frames.spectra(sound)).square().sum(3)  # (n, frames, bins)
        energy = self.bands.steps @ (spectra @ self.bands.bands)
        loudest = energy.amax((1, 2), keepdim=True).clamp(min=1e-12)
        return 10.0 * torch.log10(energy / loudest + 10.0 ** (QUIETEST_DB / 10.0))

    def energies(self, parts: Tensor) -> Tensor:
        """Mean squares in each step: (n, parts, samples) -> (n, parts, steps)."""
        hops = self.frames.count - 1
        missing = hops * self.frames.hop - parts.shape[2]
        power = nn.functional.pad(parts.square(), (0, missing)).unflatten(2, (hops, self.frames.hop)).mean(3)
        # a frame is the hop before and the hop behind its middle
        power = 0.5 * (nn.functional.pad(power, (1, 0)) + nn.functional.pad(power, (0, 1)))
        return power @ self.bands.steps.T

    def common(self, parts: Tensor) -> tuple[dict[str, Target], Tensor]:
        """The targets that every voice has, `LEVELS` and `NOISE`, and the mean squares of both parts in each step."""
        energy = self.energies(parts)
        total = energy.sum(1)  # (n, steps)
        sounding = total > 10.0 ** (QUIETEST_DB / 10.0) * total.amax(1, keepdim=True).clamp(min=1e-12)
        levels = self.levels(parts.sum(1))
        always = torch.ones(levels.shape[:2], dtype=torch.bool, device=levels.device)
        share = energy[:, 1] / total.clamp(min=1e-20)
        return {"levels": Target(levels, always), "noise": Target(share[..., None], sounding)}, energy
