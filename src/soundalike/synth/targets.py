"""What a voice knows about its sounds, declared as data: targets that an encoder can be asked to predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from soundalike.synth.truth import STEP_SECONDS

PER = ("frame", "sound")
FIRST_STEP = 0.012
"""Seconds: the middle of a sound's first step, and of the front end's first window."""


@dataclass(frozen=True)
class TargetSpec:
    """One target: a class, or one or more numbers, for every step of 80 ms or for the sound as a whole.

    Args:
        name: such as ``kind`` or ``formants``.
        unit: what the numbers mean: ``log2 Hz``, ``dB``, ``semitones`` or nothing.
        per: ``frame`` or ``sound``.
        classes: names of the classes; none where the target is numbers.
        size: how many numbers; 1 where the target is a class.
        centre: where the numbers lie as a rule; a loss of ``(number - centre) / spread`` is the same for every unit.
        spread: how far from there, as a rule.
        where: where the target means something, in words: what the mask says.
    """

    name: str
    unit: str = ""
    per: str = "frame"
    classes: tuple[str, ...] = ()
    size: int = 1
    centre: float = 0.0
    spread: float = 1.0
    where: str = "always"

    def __post_init__(self) -> None:
        if self.per not in PER:
            raise ValueError(f"{self.name}: per {self.per!r} is neither {' nor '.join(PER)}.")
        if self.size < 1 or (self.classes and self.size != 1):
            raise ValueError(f"{self.name}: size {self.size} is not that of numbers or of one class.")
        if self.spread <= 0:
            raise ValueError(f"{self.name}: spread {self.spread} is not above 0.")


class Target(NamedTuple):
    """A target of n sounds; of shape (n, steps, …) for each step, (n, …) for the sound."""

    value: Tensor
    """Numbers (…, size), or indices of classes (…), int64."""
    mask: Tensor
    """Whether the value means something, bool (…)."""


def step_count(seconds: float) -> int:
    """How many steps a sound has.

    Args:
        seconds: length of the sound.
    """
    return max(1, int(seconds / STEP_SECONDS + 1e-6))


def step_middles(seconds: float) -> Tensor:
    """Seconds of the middles of a sound's steps, (steps,).

    Args:
        seconds: length of the sound.
    """
    return FIRST_STEP + STEP_SECONDS * torch.arange(step_count(seconds))


def pack(specs: Sequence[TargetSpec], targets: Mapping[str, Target]) -> Tensor:
    """Targets of n sounds as one row of numbers each, in the order of ``specs``: (n, numbers)."""
    rows = []
    for spec in specs:
        value, mask = targets[spec.name]
        rows += [(value[..., None] if spec.classes else value).flatten(1), mask[..., None].flatten(1)]
    kind = torch.promote_types(torch.float32, rows[0].dtype)
    return torch.cat([row.to(kind) for row in rows], dim=1)


def unpack(specs: Sequence[TargetSpec], rows: Tensor, steps: int) -> dict[str, Target]:
    """The targets of which `pack` made ``rows``.

    Args:
        specs: those that were packed.
        rows: (n, numbers).
        steps: how many steps a sound has.
    """
    targets = {}
    for spec in specs:
        shape = (steps,) if spec.per == "frame" else ()
        places = steps if shape else 1
        value, mask, rows = rows.tensor_split((places * spec.size, places * (spec.size + 1)), dim=1)
        numbers = value.reshape(len(rows), *shape, spec.size)
        found = numbers[..., 0].round().long() if spec.classes else numbers
        targets[spec.name] = Target(found, mask.reshape(len(rows), *shape) > 0.5)
    return targets
