"""What voices share that know what they play, step by step and as a whole."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from soundalike.core.compile import compiled
from soundalike.synth.place import fast_length
from soundalike.synth.scene_targets import triangles
from soundalike.synth.speech_targets import LEVELS
from soundalike.synth.synthesizer import Synthesizer, by_rows
from soundalike.synth.targets import STEP_SECONDS, Target, TargetSpec, pack, step_middles

QUIETEST_DB = -60.0
"""What is quieter than that, against the loudest step, is silence."""
_EDGE = 0.016  # seconds within which a step gives way to the next one
NOISE = TargetSpec("noise_share", centre=0.4, spread=0.35, where="something sounds")
"""Energy of the noise over that of the sound, before the place."""


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
        self.meter = Meter(self.samples, sample_rate, self.seconds)

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
        for name in ("_both", "_scaled"):
            setattr(twin, name, compiled(getattr(self, name)))
        twin.__dict__["meter"] = self.meter.compiled_twin()
        return twin

    def _finished(self, units: Tensor, parts: Tensor, noise: Tensor) -> Rendered:
        """Both parts of sounds (n, 2, samples), put into their place; noise as keys (n,) or (n, samples)."""
        assert self.place is not None
        return Rendered(self._scaled(self.place(units, self._both(parts), noise)), units, parts)

    def _both(self, parts: Tensor) -> Tensor:
        """Both parts of sounds together, (n, 2, samples), as a place takes them."""
        assert self.place is not None
        return self.place.padded(parts.sum(1))


class Meter(nn.Module):
    """Measures sounds in the steps and bands of targets.

    Args:
        samples: length of a sound in samples.
        sample_rate: samples a second.
        seconds: length of a sound.
    """

    index: Tensor
    window: Tensor
    weights: Tensor

    def __init__(self, samples: int, sample_rate: int, seconds: float) -> None:
        super().__init__()
        half = STEP_SECONDS / 2.0
        length = fast_length(math.ceil((2.0 * half + _EDGE) * sample_rate))
        apart = torch.arange(length) - length // 2  # samples from the middle of a step
        index = (step_middles(seconds) * sample_rate).round().long()[:, None] + apart
        rising = ((half + _EDGE / 2.0 - apart.abs() / sample_rate) / _EDGE).clamp(0.0, 1.0)
        window = torch.sin(0.5 * math.pi * rising) * ((index >= 0) & (index < samples))
        hertz = torch.arange(length // 2 + 1) * (sample_rate / length)

        def buffer(name: str, value: Tensor) -> None:
            self.register_buffer(name, value, persistent=False)

        buffer("index", index.clamp(0, samples - 1))  # (steps, length)
        buffer("window", window / window.square().sum(1, keepdim=True).sqrt().clamp(min=1.0))
        # of real and imaginary parts by turns, (numbers, BANDS)
        buffer("weights", triangles(hertz.clamp(min=1.0).log2()).repeat_interleave(2, dim=0))

    def cut(self, parts: Tensor) -> tuple[Tensor, Tensor]:
        """Windows around the middles of the steps.

        Args:
            parts: of the sounds, (n, parts, samples).

        Returns:
            Windows of their sums (n, steps, length), and mean squares of the parts in each, (n, parts, steps).
        """
        windows = parts[..., self.index] * self.window  # (n, parts, steps, length)
        return windows.sum(1), windows.square().sum(3)

    def levels(self, spectra: Tensor) -> Tensor:
        """`LEVELS` of windows, of the real and imaginary parts of their spectra: (n, steps, numbers)."""
        energy = spectra.square() @ self.weights
        loudest = energy.sum(2).amax(1).clamp(min=1e-12)[:, None, None]
        return 10.0 * torch.log10(energy / loudest + 10.0 ** (QUIETEST_DB / 10.0))

    def common(self, parts: Tensor) -> tuple[dict[str, Target], Tensor]:
        """The targets that every voice has, `LEVELS` and `NOISE`, and the mean squares of both parts in each step."""
        windows, energy = self.cut(parts)
        levels = self.levels(torch.view_as_real(torch.fft.rfft(windows)).flatten(2))
        total = energy.sum(1)  # (n, steps)
        sounding = total > 10.0 ** (QUIETEST_DB / 10.0) * total.amax(1, keepdim=True).clamp(min=1e-12)
        always = torch.ones_like(total, dtype=torch.bool)
        share = energy[:, 1] / total.clamp(min=1e-20)
        return {LEVELS.name: Target(levels, always), NOISE.name: Target(share[..., None], sounding)}, energy

    def compiled_twin(self) -> Meter:
        """The same without gradients, whose parts are compiled at their first call, for its shapes."""
        twin = copy.copy(self)
        twin.cut, twin.levels = compiled(self.cut), compiled(self.levels)  # type: ignore[method-assign]
        return twin
