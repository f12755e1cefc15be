"""Several sources interleaved in one stream of pairs, in any ratio and as evenly as can be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from soundalike.core.errors import SoundalikeError
from soundalike.views.view import HELD_OUT

_FINEST = 1000  # turns of a period at most


class Interleave:
    """Which of several sources each pair comes from.

    Each source is met in its own order without gaps. Of any stretch of turns from the first one on, the part that
    comes from a source is the wanted one to within one turn.

    Args:
        key: of the recipe, for what is said where a weight is wrong.
        weights: how often each source comes, 0 or more, in thousandths of their sum.
        turn: how many pairs of one source follow one another, at least 1.

    Raises:
        SoundalikeError: a weight or the turn is out of its range, or every weight is 0.
    """

    def __init__(self, key: str, weights: Sequence[float], turn: int = 1) -> None:
        for weight in weights:
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0.0 <= weight < math.inf:
                raise SoundalikeError(f"{key} is {weight!r}: give a weight of 0 or more.")
        if not sum(weights) > 0.0:
            raise SoundalikeError(f"{key} is 0 for every source: raise one of them.")
        if isinstance(turn, bool) or not isinstance(turn, int) or turn < 1:
            raise SoundalikeError(f"views.turn is {turn!r}: give a whole number of at least 1.")
        counts = _counts([weight / sum(weights) for weight in weights])
        period, given = sum(counts), [0] * len(counts)
        schedule = []
        for place in range(period):
            # whoever is furthest behind; of several that are, the last
            behind = [count * (place + 1) - has * period for count, has in zip(counts, given, strict=True)]
            chosen = max(range(len(counts)), key=lambda source: (behind[source], source))
            given[chosen] += 1
            schedule.append(chosen)
        self.counts, self.turn = counts, turn
        self.schedule = torch.tensor(schedule)  # source of each turn of a period, int64 (turns,)
        one_each = torch.nn.functional.one_hot(self.schedule, len(counts))
        self._before = one_each.cumsum(0) - one_each  # turns of each source before each turn, (period, sources)

    def __call__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Takes the pairs apart.

        Args:
            indices: indices of the pairs, int64 (n,), on the CPU.

        Returns:
            The source of each pair, int64 (n,), and its index in its own source, int64 (n,). Held-out pairs, those
            from `HELD_OUT` on, are held-out ones of their sources.
        """
        start = torch.where(indices < HELD_OUT, 0, HELD_OUT)
        turns, rest = (indices - start) // self.turn, (indices - start) % self.turn
        periods, place = turns // len(self.schedule), turns % len(self.schedule)
        source = self.schedule[place]
        before = periods * torch.tensor(self.counts)[source] + self._before[place, source]
        return source, start + before * self.turn + rest

    def pairs_for(self, source: int, count: int) -> int | None:
        """Pairs that bring so many of one source; None where none comes from it.

        Args:
            source: index of the source.
            count: how many of its pairs are wanted.
        """
        share = self.counts[source]
        return -(-count * len(self.schedule) // share) if share else None


def _counts(shares: Sequence[float]) -> list[int]:
    """Turns of each source in the shortest period that has these shares, or in one of a thousand turns or so."""
    for period in range(1, _FINEST + 1):
        counts = [round(share * period) for share in shares]
        if all(abs(share * period - count) < 1e-9 * period for share, count in zip(shares, counts, strict=True)):
            return counts
    return [round(share * _FINEST) for share in shares]
