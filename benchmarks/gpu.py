"""Rendering and pre-training on a GPU, where there is one."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import rendering, step
from benchmarks.harness import Row, alternate

SOUNDS, PAIRS, REPEATS = 8192, 768, 10
NOT_MEASURED = "not measured: PyTorch finds no GPU here"


def voice() -> Row:
    """Seconds of Voice's sound in a second, drawing of patches included."""
    name, target = "Voice on a GPU", 1e6
    if not _has_gpu():
        return Row(name, rendering.UNIT, target=target, bound="ours >=", note=NOT_MEASURED)
    rounds = alternate(_waited(rendering.ours("voice", SOUNDS, "cuda")), warm_up=5)
    return rounds.row(name, rendering.UNIT, REPEATS * SOUNDS, target=target, bound="ours >=", note=f"batch {SOUNDS}")


def pretraining() -> Row:
    """Pairs that a step in bf16 renders and learns from in a second."""
    name, target = "pre-training on a GPU", 15_000.0
    if not _has_gpu():
        return Row(name, step.UNIT, target=target, bound="ours >=", note=NOT_MEASURED)
    ours = step.ours("cuda", batch_size=PAIRS, precision="bf16")
    rounds = alternate(_waited(ours.whole), warm_up=5)
    return rounds.row(
        name, step.UNIT, REPEATS * PAIRS, target=target, bound="ours >=", note=f"batch {PAIRS}, {ours.precision}"
    )


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _waited(work: Callable[[], object]) -> Callable[[], None]:
    """Work of which a round does several in a row, as a run does, and then waits for the GPU."""
    import torch

    def run() -> None:
        for _ in range(REPEATS):
            work()
        torch.cuda.synchronize()

    return run


ROWS: dict[str, Callable[[], Row]] = {"Voice on a GPU": voice, "pre-training on a GPU": pretraining}
