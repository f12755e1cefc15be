"""Tensors of all ranks in one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def gather(x: Tensor) -> Tensor:
    """Stack the tensors of all ranks, in the order of ranks; gradients flow back to where each came from.

    The gradient of a rank's part is the sum of what all ranks have computed for it. When every rank
    computes the same loss of the gathered batch, that is world-size times the gradient of the loss, and
    DDP's mean over ranks makes it exactly the gradient of one process that holds the whole batch.

    Args:
        x: ``(n, ...)``, of the same shape on every rank.

    Returns:
        ``(world size * n, ...)``; ``x`` itself where there is one process.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return x
    gathered: Tensor = _Gather.apply(x)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.count = len(x)
        parts = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        start = distributed.get_rank() * ctx.count
        return total[start : start + ctx.count]
