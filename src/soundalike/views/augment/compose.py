"""Augmentations by name, and several of them one after the other."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.views.augment.augmentation import Augmentation, Drawn
from soundalike.views.augment.fade import Fade
from soundalike.views.augment.filter import HighPass, LowPass
from soundalike.views.augment.noise import NoiseInjection
from soundalike.views.augment.reverb import ImpulseResponse
from soundalike.views.augment.spectrogram import SpecAugment, SpectrogramMask
from soundalike.views.augment.stretch import PitchShift, TimeStretch
from soundalike.views.augment.time import TimeMask, TimeShift

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "pitch-shift": PitchShift,
    "fade": Fade,
    "noise": NoiseInjection,
    "time-mask": TimeMask,
    "time-shift": TimeShift,
    "time-stretch": TimeStretch,
    "high-pass": HighPass,
    "low-pass": LowPass,
    "impulse-response": ImpulseResponse,
    "spec-augment": SpecAugment,
    "spectrogram-mask": SpectrogramMask,
}
"""The names by which a recipe calls them."""


class Compose(Augmentation):
    """Several augmentations, one after the other; each draws numbers of its own.

    Args:
        augmentations: in order, each an `Augmentation`, or a name of `AUGMENTATIONS`, or a mapping with such a
            ``name`` and arguments.
        sample_rate: in Hz, of those that are named and have no other.

    Raises:
        SoundalikeError: a name or argument is unknown or out of its range, or waveforms and spectrograms are mixed.
    """

    def __init__(self, augmentations: list[Any] | tuple[Any, ...] = (), sample_rate: int = 16000) -> None:
        super().__init__(1.0)
        if not isinstance(augmentations, list | tuple):
            raise SoundalikeError(f"augmentations is {augmentations!r}: give a list of names, or of keys and values.")
        built = [_built(entry, sample_rate) for entry in augmentations]
        if len({member.axes for member in built}) > 1:
            raise SoundalikeError("augmentations of waveforms and of spectrograms are in one list: give two lists.")
        self.members = nn.ModuleList(built)
        self.axes = built[0].axes if built else 2
        names = {kind: name for name, kind in AUGMENTATIONS.items()}
        # two of one kind in a row must not share a prefix
        self.prefixes = [f"{i}.{names.get(type(m), type(m).__name__)}." for i, m in enumerate(built)]

    @property
    def numbers(self) -> int:
        """Uniform numbers that a draw takes for each sound: those of all members, in order."""
        return sum(member.numbers for member in self._augmentations())

    def _augmentations(self) -> list[Augmentation]:
        return [member for member in self.members if isinstance(member, Augmentation)]

    @property
    def left_alone(self) -> float:
        """The chance that a sound is changed by none of them."""
        return math.prod(1.0 - member.p for member in self._augmentations())

    def changing_one(self, uniform: Tensor) -> Tensor:
        """The numbers of pairs of views, altered where neither view of a pair would be changed.

        There the second view is changed by the augmentation whose number was nearest to do so.

        Args:
            uniform: of all first, then of all second views, ``(2n, numbers)``.

        Returns:
            As ``uniform``, which is left as it was.
        """
        members = self._augmentations()
        sizes = torch.tensor([0, *(member.numbers for member in members)])
        columns = sizes.cumsum(0)[:-1].to(uniform.device)  # of the number by which each is applied or not
        chances = torch.tensor([member.p for member in members], device=uniform.device)
        numbers = uniform.index_select(1, columns)  # (2n, members)
        applied = (numbers < chances).any(1)
        first, second = applied.chunk(2)
        nearest = columns[torch.where(chances > 0, numbers - chances, torch.inf).argmin(1)]  # (2n,)
        alone = torch.cat((torch.zeros_like(first), ~(first | second)))
        chosen = alone[:, None] & (torch.arange(uniform.shape[1], device=uniform.device) == nearest[:, None])
        return uniform.masked_fill(chosen, 0.0)

    def draw(
        self,
        n: int,
        samples: int | tuple[int, int],
        *,
        generator: torch.Generator | None = None,
        uniform: Tensor | None = None,
        device: torch.device | str | None = None,
    ) -> Drawn:
        """As `Augmentation.draw`; keys begin with the member's place and name, such as ``0.fade.``."""
        columns = self._uniform(n, generator, uniform).split([m.numbers for m in self._augmentations()], dim=1)
        return {
            prefix + key: value
            for prefix, member, u in zip(self.prefixes, self._augmentations(), columns, strict=True)
            for key, value in member.draw(n, samples, uniform=u, device=device).items()
        }

    def apply(self, audio: Any, drawn: Drawn | None = None) -> Any:
        """As `Augmentation.apply`."""
        if drawn is None:
            return super().apply(audio)
        self._check_batch(audio)
        for prefix, member in zip(self.prefixes, self._augmentations(), strict=True):
            own = {key.removeprefix(prefix): value for key, value in drawn.items() if key.startswith(prefix)}
            audio = member.apply(audio, own)
        return audio


def _built(entry: Any, sample_rate: int) -> Augmentation:
    if isinstance(entry, Augmentation):
        return entry
    arguments = dict(entry) if isinstance(entry, Mapping) else {"name": entry}
    name = arguments.pop("name", None)
    if not isinstance(name, str) or name not in AUGMENTATIONS:
        raise SoundalikeError(f"unknown augmentation {name!r}: {nearest(str(name), AUGMENTATIONS)}")
    known = inspect.signature(AUGMENTATIONS[name]).parameters
    for key in arguments:
        if key not in known:
            raise SoundalikeError(f"augmentation {name!r} has no key {key!r}: {nearest(str(key), known)}")
    if "sample_rate" in known:
        arguments.setdefault("sample_rate", sample_rate)
    try:
        return AUGMENTATIONS[name](**arguments)
    except SoundalikeError as error:
        raise SoundalikeError(f"augmentation {name!r}: {error}") from None
