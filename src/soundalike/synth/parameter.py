"""What a knob is: its name, range, curve, group and unit, and the way from knob position to unit and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

GROUPS = ("pitch", "envelope", "modulation", "timbre", "level", "phase", "room", "kind", "content", "speaker", "play")
"""What a knob is about. δ can be given for each group on its own."""


@dataclass(frozen=True)
class ParameterSpec:
    """One knob of a voice.

    A knob position u in [0, 1] stands for ``minimum + (maximum - minimum) * u ** (1 / curve)``; where ``symmetric``,
    the curve runs outwards from the middle of the range: with d = 2u - 1, for
    ``middle + half * sign(d) * abs(d) ** (1 / curve)``.

    Args:
        name: ``module.parameter``, such as ``adsr_1.attack`` or ``mod_matrix.mod.4.3`` (to, from).
        minimum: the unit at position 0.
        maximum: the unit at position 1.
        curve: 1 is linear; below 1 gives small units more of the knob's way.
        symmetric: whether the curve runs outwards from the middle.
        group: one of `GROUPS`.
        unit: what the number means: ``Hz``, ``s``, ``midi``, ``semitones``, ``rad`` or nothing.
    """

    name: str
    minimum: float
    maximum: float
    curve: float = 1.0
    symmetric: bool = False
    group: str = "timbre"
    unit: str = ""

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise ValueError(f"{self.name}: group {self.group!r} is none of {', '.join(GROUPS)}.")
        if not self.minimum < self.maximum:
            raise ValueError(f"{self.name}: minimum {self.minimum} is not below maximum {self.maximum}.")
        if self.curve <= 0:
            raise ValueError(f"{self.name}: curve {self.curve} is not above 0.")


class ParameterTable(nn.Module):
    """All knobs of a voice in order, with both conversions for a whole batch of patches at once."""

    minimum: Tensor
    width: Tensor
    exponent: Tensor
    symmetric: Tensor

    def __init__(self, specs: Sequence[ParameterSpec]) -> None:
        super().__init__()
        self.specs = tuple(specs)
        names = [spec.name for spec in self.specs]
        if len(set(names)) != len(names):
            raise ValueError(f"knob names repeat: {sorted({n for n in names if names.count(n) > 1})}.")
        self.position = {name: index for index, name in enumerate(names)}

        def buffer(name: str, values: list[float] | list[bool]) -> None:
            self.register_buffer(name, torch.tensor(values), persistent=False)

        buffer("minimum", [spec.minimum for spec in self.specs])
        buffer("width", [spec.maximum - spec.minimum for spec in self.specs])
        buffer("exponent", [1.0 / spec.curve for spec in self.specs])
        buffer("symmetric", [spec.symmetric for spec in self.specs])

    def to_units(self, patch: Tensor) -> Tensor:
        """Units of a patch: knob positions (n, size) in [0, 1] -> seconds, Hz, semitones … (n, size)."""
        outwards = 2.0 * patch - 1.0
        base = torch.where(self.symmetric, outwards.abs(), patch)
        curved = base**self.exponent  # (n, size)
        curved = torch.where(self.symmetric, 0.5 + 0.5 * outwards.sign() * curved, curved)
        return self.minimum + self.width * curved

    def to_knobs(self, units: Tensor) -> Tensor:
        """The patch that has these units, the inverse of `to_units`: (n, size) -> (n, size)."""
        linear = ((units - self.minimum) / self.width).clamp(0.0, 1.0)
        outwards = 2.0 * linear - 1.0
        base = torch.where(self.symmetric, outwards.abs(), linear)
        straight = base ** (1.0 / self.exponent)
        return torch.where(self.symmetric, 0.5 + 0.5 * outwards.sign() * straight, straight)
