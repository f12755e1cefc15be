"""Two sources interleaved in one stream of pairs, in any ratio and as evenly as can be."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

from soundalike.core.errors import SoundalikeError
from soundalike.views.view import HELD_OUT

_FINEST = 1000  # parts in which the ratio is counted


class Interleave:
    """Which of two sources each pair comes from.

    Of any stretch of indices the part that comes from the first source is the wanted one to within one pair, and each
    source is met in its own order without gaps.

    Args:
        key: of the recipe, for what is said where the part is wrong.
        part: of the pairs that comes from the first source, in [0, 1], in thousandths.

    Raises:
        SoundalikeError: the part is out of its range.
    """

    def __init__(self, key: str, part: float) -> None:
        if isinstance(part, bool) or not isinstance(part, int | float) or not 0.0 <= part <= 1.0:
            raise SoundalikeError(f"{key} is {part!r}: give a part of the pairs, from 0 to 1.")
        ratio = Fraction(part).limit_denominator(_FINEST)
        self._first, self._all = ratio.numerator, ratio.denominator

    def __call__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Takes the pairs apart.

        Args:
            indices: indices of the pairs, int64 (n,).

        Returns:
            Whether each comes from the first source, bool (n,), and its index in its own source, int64 (n,). Held-out
            pairs, those from `HELD_OUT` on, are held-out ones of their sources.
        """
        start = torch.where(indices < HELD_OUT, 0, HELD_OUT)
        position = indices - start
        before = self._count(position)
        first = self._count(position + 1) > before
        return first, start + torch.where(first, before, position - before)

    def _count(self, position: Tensor) -> Tensor:
        """Pairs of the first source before each position."""
        periods, rest = position // self._all, position % self._all
        return periods * self._first + rest * self._first // self._all

    def pairs_for(self, second: int) -> int | None:
        """Pairs that bring so many of the second source; None where none comes from it."""
        left = self._all - self._first
        return -(-second * self._all // left) if left else None
