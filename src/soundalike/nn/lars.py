"""LARS: stochastic gradient descent whose step is scaled, tensor by tensor, to the size of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class LARS(torch.optim.Optimizer):
    """SGD with momentum and a learning rate for each tensor: ``lr · trust · ||w|| / (||g|| + weight_decay · ||w||)``.

    A tensor whose weights or gradient are all zero moves with ``lr`` alone. Groups with ``adapt=False``, such as
    biases and normalisations, are plain SGD.

    Source: You, Gitman & Ginsburg 2017, "Large batch training of convolutional networks" (arXiv 1708.03888),
    algorithm 1.

    Args:
        params: tensors, or groups of them.
        lr: learning rate, above 0.
        momentum: in [0, 1).
        weight_decay: of the weights, added to the gradient.
        trust: size of a step against that of the weights, the paper's η.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "adapt": True},
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; what ``closure`` returns, where it is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group)
        return loss

    def _move(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        rate: float | Tensor = group["lr"]
        if group["adapt"]:
            size, steep = weight.norm(), gradient.norm()
            local = group["trust"] * size / (steep + group["weight_decay"] * size)
            # on the device, without a look at the numbers: a look would wait for a GPU
            rate = torch.where((size > 0) & (steep > 0), rate * local, rate)
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        # the rate is inside the running sum, as in the paper: a lower rate does not shrink what is already under way
        state["momentum"].mul_(group["momentum"]).add_((gradient + group["weight_decay"] * weight) * rate)
        weight.sub_(state["momentum"])
