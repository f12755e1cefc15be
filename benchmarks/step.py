"""One pre-training step: two views rendered, front end, ResNet-18, loss, backward, update; 256 pairs."""

from __future__ import annotations

import contextlib
import itertools
import statistics
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.harness import Row, alternate, in_own_process, quartiles
from benchmarks.original import step as theirs

if TYPE_CHECKING:
    from torch import Tensor

PAIRS = 256
UNIT = "pairs/s"


class Step(NamedTuple):
    """A training step and its first part."""

    whole: Callable[[], Tensor]
    """Renders, computes the loss, updates the weights; gives the loss."""
    inputs: Callable[[], Tensor]
    """Renders and applies the front end only; gives the features."""
    precision: str
    """Of the encoder: ``fp32`` or ``bf16``."""


def ours(device: str = "cpu", recipe: str = "doppelgangers", **settings: Any) -> Step:
    """What ``soundalike pretrain`` does in a step.

    Args:
        device: ``cpu`` or ``cuda``.
        recipe: name of the recipe.
        settings: recipe keys that differ, such as ``batch_size``.
    """
    import torch

    from soundalike.core.compile import CompilationError
    from soundalike.core.device import engine_precision
    from soundalike.core.memory import keep_freed_memory
    from soundalike.model.recipe import Recipe
    from soundalike.train.step import Learner

    keep_freed_memory()
    learner = Learner(Recipe.load(recipe).override(settings)).to(device).train()
    training = learner.training_settings
    if training.compile != "never":  # a run of the recipe's length compiles
        with contextlib.suppress(CompilationError):
            learner.views.voice.compile_rendering()
    mixed = engine_precision(training.precision, device) == "bf16-mixed"
    optimizer = learner.configure_optimizers()
    for group in optimizer.param_groups:
        group["lr"] = training.rate(0.0)
    batches = (torch.arange(first, first + training.batch_size) for first in itertools.count(0, training.batch_size))

    def whole() -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=mixed):
            loss, _ = learner.loss(next(batches))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def inputs() -> Tensor:
        features, *_ = learner.inputs(next(batches))
        return features

    return Step(whole, inputs, "bf16" if mixed else "fp32")


def against_original(name: str, target: float | None, **settings: Any) -> Row:
    """Our step and the original's way, in turn."""
    step = ours(batch_size=PAIRS, **settings)
    rounds = alternate(step.whole, in_own_process(theirs, PAIRS), seconds=45.0, warm_up=2)
    note = f"ours in {step.precision}; against SynthAX and PyTorch in fp32, NCHW, a view at a time"
    return rounds.row(name, UNIT, PAIRS, target=target, note=note)


def share_of_inputs() -> Row:
    """Which part of our step rendering and front end take, step and part measured in turn."""
    step = ours(batch_size=PAIRS)
    rounds = alternate(step.inputs, step.whole, seconds=45.0)
    shares = [100 * part / whole for part, whole in zip(rounds.ours, rounds.theirs, strict=True)]
    return Row(
        "rendering and front end in a step",
        "% of the step",
        ours=statistics.median(shares),
        target=10.0,
        bound="ours <=",
        spread={"ours": quartiles(shares)},
        note=f"step in {step.precision}; {len(shares)} rounds",
    )


ROWS: dict[str, Callable[[], Row]] = {
    "pre-training step": partial(against_original, "pre-training step", 2.5),
    "pre-training step, --precision fp32": partial(
        against_original, "pre-training step, --precision fp32", None, precision="fp32"
    ),
    "rendering and front end in a step": share_of_inputs,
}
