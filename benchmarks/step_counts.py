"""What a training step asks of a GPU, counted without one: launches, memory, arithmetic, and whether it ever waits.

The step runs on PyTorch's ``meta`` device, whose tensors have shapes and no contents: whatever would have to look at a
tensor's contents, and so to wait for the GPU, cannot be done there and is an error.

    python -m benchmarks.step_counts ears --pairs 1024 4096
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from soundalike.model.recipe import Recipe
from soundalike.train.step import Learner

PARTS = ("rendering", "front end", "encoder", "loss", "backward", "optimiser", "other")
_NO_KERNEL = {"empty", "empty_like", "empty_strided", "new_empty", "detach", "lift_fresh", "_unsafe_view", "alias"}
_MASKS = ("index.Tensor", "index_put_.default", "index_put.default", "_index_put_impl_.default")


class Waits(Exception):
    """An operation that makes the CPU wait for the GPU, or that copies between them."""


class _NoCopies(TorchFunctionMode):
    """Refuses to make tensors of numbers on the GPU, which copies them there."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: Sequence[Any] = (), options: Mapping[str, Any] | None = None
    ) -> Any:
        """Calls a function of PyTorch."""
        result = function(*arguments, **(options or {}))
        if function in (torch.tensor, torch.as_tensor, Tensor.new_tensor) and result.device.type == "meta":
            source = arguments[-1] if function is Tensor.new_tensor else arguments[0]
            if not isinstance(source, Tensor):
                raise Waits(f"{function.__name__} copies numbers to the GPU")
        return result


class Trace(TorchDispatchMode):
    """Counts the operations of what runs inside, and the memory that their results hold.

    Attributes:
        launches: kernels by part of the step: operations that compute or move something.
        moved: bytes that each part reads and writes, every operation's arguments and results once.
        peaks: bytes that were held at most in each part.
        part: part of the step that is under way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()
        self.part = "other"
        self.moved: Counter[str] = Counter()
        self.peaks: Counter[str] = Counter()
        self.held = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Sequence[Any] = (), options: Mapping[str, Any] | None = None
    ) -> Any:
        """Runs an operation and counts it."""
        options = options or {}
        name = str(operation).removeprefix("aten.")
        given = [leaf for leaf in tree_leaves((arguments, dict(options))) if isinstance(leaf, Tensor)]
        result = operation(*arguments, **options)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self._check(name, given, made, arguments)
        if not operation.is_view and name.split(".")[0] not in _NO_KERNEL:
            self.launches[self.part] += 1
            self.moved[self.part] += sum(tensor.numel() * tensor.element_size() for tensor in (*given, *made))
        for tensor in made:
            self._hold(tensor)
        return result

    @staticmethod
    def _check(name: str, given: list[Tensor], made: list[Tensor], arguments: Sequence[Any]) -> None:
        devices = {tensor.device.type for tensor in (*given, *made) if tensor.dim() or tensor.device.type == "meta"}
        numbers_of_the_cpu = all(not tensor.dim() for tensor in given if tensor.device.type == "cpu")
        if "meta" in devices and "cpu" in devices and not numbers_of_the_cpu:
            raise Waits(f"{name} copies between CPU and GPU")
        if name in ("_to_copy.default", "copy_.default") and len({t.device.type for t in (*given, *made)}) > 1:
            raise Waits(f"{name} copies between CPU and GPU")
        if name in _MASKS and any(
            isinstance(index, Tensor) and index.dtype == torch.bool for index in tree_leaves(arguments[1])
        ):
            raise Waits(f"{name} chooses by a mask, so its shape depends on the mask's contents")

    def _hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if tensor.device.type != "meta" or key in self._known:
            return
        self._known.add(key)
        size = storage.nbytes()
        self.held += size
        self.peaks[self.part] = max(self.peaks[self.part], self.held)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.held -= size

    @contextlib.contextmanager
    def of(self, part: str) -> Iterator[None]:
        """What runs inside is of this part of the step."""
        before, self.part = self.part, part
        try:
            yield
        finally:
            self.part = before

    def follow(self, learner: Learner) -> None:
        """Tells the parts of a learner's step apart."""
        methods = [
            (learner.views, "batch", "rendering"),
            (learner.frontend, "forward", "front end"),
            (learner.encoder, "stages", "encoder"),
            (learner.head, "read", "loss"),
            (learner.objective, "forward", "loss"),
            (learner.prediction, "loss", "loss"),
        ]
        for owner, name, part in methods:
            if hasattr(owner, name):
                object.__setattr__(owner, name, self._followed(getattr(owner, name), part))

    def _followed(self, function: Any, part: str) -> Any:
        def run(*arguments: Any, **options: Any) -> Any:
            with self.of(part):
                return function(*arguments, **options)

        return run


def trace(recipe: Recipe, pairs: int) -> tuple[Trace, float]:
    """A training step of a recipe in fp32, not compiled, on a GPU that is not there.

    Args:
        recipe: recipe of which a step is taken.
        pairs: pairs of the step.

    Returns:
        What was counted, weights, gradients and the optimiser's state included, and floating-point operations.

    Raises:
        Waits: the step copies between CPU and GPU, or takes a shape from a tensor's contents.
        RuntimeError: it asks for a tensor's contents in another way.
    """
    learner = Learner(recipe.override({"batch_size": pairs, "compile": "never"})).to("meta").train()
    with _no_autocast(), _NoCopies(), Trace() as traced, FlopCounterMode(display=False) as counted:
        for weight in (*learner.parameters(), *learner.buffers()):
            traced._hold(weight)
        traced.follow(learner)
        optimizer = learner.configure_optimizers()
        for group in optimizer.param_groups:  # `meta` has no fused ones; they launch fewer kernels, and hold the same
            group |= {"fused": False, "foreach": True}
        loss, _ = learner.loss(torch.arange(pairs))
        with traced.of("backward"):
            loss.backward()
        with traced.of("optimiser"):
            optimizer.step()
            optimizer.zero_grad()
    return traced, float(counted.get_total_flops())


@contextlib.contextmanager
def _no_autocast() -> Iterator[None]:
    """PyTorch has no mixed precision on ``meta``, and none is asked for."""
    original = torch.autocast

    def autocast(device_type: str, *arguments: Any, **options: Any) -> Any:
        return contextlib.nullcontext() if device_type == "meta" else original(device_type, *arguments, **options)

    with patch.object(torch, "autocast", autocast):
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the counts of a step."""
    parser = argparse.ArgumentParser("python -m benchmarks.step_counts", description=__doc__)
    parser.add_argument("recipe", help="name of the recipe, or a .yaml file")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1024, 4096], help="pairs of a step")
    options = parser.parse_args(arguments)
    print("| pairs | | all | " + " | ".join(PARTS) + " | GFLOP a pair |")
    print("|---" * (len(PARTS) + 4) + "|")
    for pairs in options.pairs:
        traced, operations = trace(Recipe.load(options.recipe), pairs)
        launches = " | ".join(f"{traced.launches[part]:,}" for part in PARTS)
        moved = " | ".join(f"{traced.moved[part] / pairs / 1e6:.2f}" for part in PARTS)
        total, most = sum(traced.launches.values()), max(traced.peaks.values()) / 1e9
        all_moved = sum(traced.moved.values()) / pairs / 1e6
        peaks = " | ".join(f"{traced.peaks[part] / 1e9:.1f}" for part in PARTS)
        print(f"| {pairs:,} | launches | {total:,} | {launches} | {operations / pairs / 1e9:.2f} |")
        print(f"| | MB moved a pair, fp32 | {all_moved:.1f} | {moved} | |")
        print(f"| | peak GB, fp32 | {most:.1f} | {peaks} | |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
