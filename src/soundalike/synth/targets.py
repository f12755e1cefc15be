"""What a voice knows about its sounds, declared as data: targets that an encoder can be asked to predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

PER = ("frame", "sound")
STEP_SECONDS = 0.08
"""From one step to the next: eight frames of the VGGish front end."""
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
        shares: whether several classes can be there at once: a value is then the share of each, and they add up to 1.
        size: how many numbers; 1 where the target is a class.
        centre: where the numbers lie as a rule; a loss of ``(number - centre) / spread`` is the same for every unit.
        spread: how far from there, as a rule.
        where: where the target means something, in words: what the mask says.
    """

    name: str
    unit: str = ""
    per: str = "frame"
    classes: tuple[str, ...] = ()
    shares: bool = False
    size: int = 1
    centre: float = 0.0
    spread: float = 1.0
    where: str = "always"

    def __post_init__(self) -> None:
        if self.per not in PER:
            raise ValueError(f"{self.name}: per {self.per!r} is neither {' nor '.join(PER)}.")
        if self.size < 1 or (self.classes and self.size != 1):
            raise ValueError(f"{self.name}: size {self.size} is not that of numbers or of one class.")
        if self.shares and not self.classes:
            raise ValueError(f"{self.name}: shares are of classes, and it names none.")
        if self.spread <= 0:
            raise ValueError(f"{self.name}: spread {self.spread} is not above 0.")

    @property
    def numbers(self) -> int:
        """How many numbers a value has; an index of a class has no axis for them."""
        return len(self.classes) if self.shares else self.size

    @property
    def outputs(self) -> int:
        """How many numbers a layer needs to predict a value."""
        return len(self.classes) or self.size


class Target(NamedTuple):
    """A target of n sounds; of shape (n, steps, …) for each step, (n, …) for the sound."""

    value: Tensor
    """Numbers (…, size), shares of classes (…, classes), or indices of classes (…), int64."""
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
        rows += [
            (value if spec.shares or not spec.classes else value[..., None]).flatten(1),
            mask[..., None].flatten(1),
        ]
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
        value, mask, rows = rows.tensor_split((places * spec.numbers, places * (spec.numbers + 1)), dim=1)
        numbers = value.reshape(len(rows), *shape, spec.numbers)
        found = numbers if spec.shares or not spec.classes else numbers[..., 0].round().long()
        targets[spec.name] = Target(found, mask.reshape(len(rows), *shape) > 0.5)
    return targets


def unknown(
    specs: Sequence[TargetSpec], count: int, seconds: float, device: torch.device | str = "cpu"
) -> dict[str, Target]:
    """Targets of sounds of which nothing is known: no mask holds anywhere.

    Args:
        specs: targets that there are.
        count: how many sounds.
        seconds: length of the sounds.
        device: device of the tensors.
    """
    targets = {}
    for spec in specs:
        shape = (count, step_count(seconds)) if spec.per == "frame" else (count,)
        one_class = spec.classes and not spec.shares
        numbers, kind = ((), torch.int64) if one_class else ((spec.numbers,), torch.float32)
        value = torch.zeros(*shape, *numbers, dtype=kind, device=device)
        targets[spec.name] = Target(value, torch.zeros(shape, dtype=torch.bool, device=device))
    return targets


def of_both_views(targets: Mapping[str, Target], rows: slice) -> dict[str, Target]:
    """Of the targets of all first, then of all second views those of some pairs.

    Args:
        targets: of 2m sounds.
        rows: which of the m pairs.
    """
    return {
        name: Target(*(field.unflatten(0, (2, -1))[:, rows].flatten(0, 1) for field in target))
        for name, target in targets.items()
    }


def together(parts: Sequence[Mapping[str, Target]]) -> dict[str, Target]:
    """The targets of several batches as those of one: of all their first views, then of all their second views."""
    return {
        name: Target(
            *(
                torch.cat([field.unflatten(0, (2, -1)) for field in fields], dim=1).flatten(0, 1)
                for fields in zip(*(part[name] for part in parts), strict=True)
            )
        )
        for name in (parts[0] if parts else ())
    }
