"""Whether the fast path learns as the plain path does: the same 200 small steps, two ways."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.harness import Row
from benchmarks.step import ours

if TYPE_CHECKING:
    from torch import Tensor

STEPS, PAIRS, WIDTH, SMOOTHED = 200, 32, 16, 20
SEEDS = (0, 1, 2)
PLAIN = {"precision": "fp32", "compile": "never"}


def curve(fast: bool, seed: int) -> Tensor:
    """The loss of every step, averaged over 20 steps at a time.

    Args:
        fast: what a run would choose on this machine, or the plain path: eager PyTorch in fp32.
        seed: of the sounds and of the first weights.
    """
    import torch

    step = ours(batch_size=PAIRS, width=WIDTH, seed=seed, **({} if fast else PLAIN))
    losses = torch.stack([step.whole().detach() for _ in range(STEPS)])
    return losses.unfold(0, SMOOTHED, SMOOTHED).mean(1)  # (STEPS / SMOOTHED,)


def fast_and_plain() -> Row:
    """Distance of the fast path's curve from the plain path's, beside the distance between two seeds of the latter.

    Rounding sends two runs of one seed apart as far as two seeds are, after some steps. What would be wrong is a
    difference that stays when seeds are averaged.
    """
    import torch

    plain = torch.stack([curve(fast=False, seed=seed) for seed in SEEDS])  # (seeds, STEPS / SMOOTHED)
    fast = torch.stack([curve(fast=True, seed=seed) for seed in SEEDS])
    bias = float((fast - plain).mean(0).abs().mean())
    noise = float(torch.stack([(a - b).abs().mean() for a, b in itertools.combinations(plain, 2)]).mean())
    return Row(
        "loss curve over 200 steps",
        "mean difference",
        ours=bias,
        theirs=noise,
        ratio=noise / bias if bias else None,
        target=1.0,
        note=f"ours: fast path from plain path, mean of {len(SEEDS)} seeds; theirs: two seeds of the plain path; "
        f"plain loss from {float(plain[:, 0].mean()):.3f} to {float(plain[:, -1].mean()):.3f}; "
        f"batch {PAIRS}, width {WIDTH}",
    )


ROWS: dict[str, Callable[[], Row]] = {"loss curve over 200 steps": fast_and_plain}
