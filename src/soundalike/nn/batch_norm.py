"""Batch normalisation with the statistics of all ranks, on any device."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn

from soundalike.nn.gather import gather


def _normalised(layer: nn.modules.batchnorm._BatchNorm, x: Tensor) -> Tensor:
    """``x`` with the mean and variance that all ranks have together taken out; the running ones follow.

    Every rank holds as many values of a channel. Gradients reach the statistics of all ranks, as in
    ``torch.nn.SyncBatchNorm``, which computes on GPUs alone.
    """
    axes = [axis for axis in range(x.ndim) if axis != 1]
    with torch.autocast(x.device.type, enabled=False):
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        of_rank = torch.stack((precise.mean(axes), precise.var(axes, correction=0)))  # (2, channels)
        means, variances = gather(of_rank[None]).unbind(1)  # (ranks, channels)
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        if layer.track_running_stats and layer.running_mean is not None and layer.running_var is not None:
            with torch.no_grad():
                count = x.numel() // x.shape[1] * len(means)
                momentum = 0.1 if layer.momentum is None else layer.momentum
                layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), momentum)
                unbiased = variance * (count / max(1, count - 1))
                layer.running_var.lerp_(unbiased.to(layer.running_var.dtype), momentum)
                if layer.num_batches_tracked is not None:
                    layer.num_batches_tracked.add_(1)
        shape = [1, -1, *[1] * (x.ndim - 2)]
        found = (precise - mean.view(shape)) * (variance + layer.eps).rsqrt().view(shape)
        if layer.affine:
            found = found * layer.weight.view(shape) + layer.bias.view(shape)
    return found.to(x.dtype)


def _together(layer: nn.Module) -> bool:
    """Whether several ranks train."""
    there = distributed.is_available() and distributed.is_initialized()
    return layer.training and there and distributed.get_world_size() > 1


class BatchNorm1d(nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d`, of all ranks together while they train."""

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels)`` or ``(n, channels, length)``, normalised."""
        return _normalised(self, x) if _together(self) else super().forward(x)


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`, of all ranks together while they train."""

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, height, width)``, normalised."""
        return _normalised(self, x) if _together(self) else super().forward(x)
