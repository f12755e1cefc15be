"""What the work must cost: operations and bytes, and how much of what this machine can do our code reaches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.harness import Row, alternate

COUNT = 256
VIEWS = {"getitem", "unsqueeze", "view", "reshape", "flatten", "split", "unbind", "pad", "view_as", "to"}
SEVERAL = {"addcmul": 2, "clamp": 2, "matmul": 32}  # operations in one call, for each number that comes out


def operations_per_sample(voice: str) -> float:
    """How many additions, multiplications, shifts and the like the audio-rate half of a voice makes for a sample."""
    import torch

    from soundalike.core import random
    from soundalike.synth import VOICES

    synthesizer = VOICES[voice]()
    counted: list[float] = []

    def count(graph: Any, inputs: Any) -> Any:
        numbers = COUNT * synthesizer.samples
        operations = 0.0
        for node in graph.graph.nodes:
            value = node.meta.get("example_value")
            name = getattr(node.target, "__name__", str(node.target)).strip("_")
            if node.op in ("call_function", "call_method") and isinstance(value, torch.Tensor) and name not in VIEWS:
                operations += SEVERAL.get(name, 1) * value.numel()
        counted.append(operations / numbers)
        return graph.forward

    with torch.no_grad():
        units, *control = synthesizer._control_part(
            synthesizer.draw(COUNT, generator=torch.Generator().manual_seed(0))
        )
        keys = random.noise_keys(torch.arange(COUNT))
        torch.compile(synthesizer._audio_part, backend=count, dynamic=False)(units, tuple(control), keys)
    return sum(counted)


def rendering(voice: str) -> Row:
    """Operations a second of the audio-rate half, against the fastest multiply-and-add loop of this machine."""
    import torch

    from soundalike.core import random
    from soundalike.core.memory import keep_freed_memory
    from soundalike.synth import VOICES

    keep_freed_memory()
    synthesizer = VOICES[voice]()
    synthesizer.compile_rendering(COUNT)
    slow, fast = synthesizer._halves
    with torch.no_grad():
        units, *control = slow(synthesizer.draw(COUNT, generator=torch.Generator().manual_seed(0)))
        keys = random.noise_keys(torch.arange(COUNT))
        rounds = alternate(torch.no_grad()(lambda: fast(units, tuple(control), keys)), peak("float32"))
    operations = operations_per_sample(voice) * COUNT * synthesizer.samples
    return fraction(f"{voice}: audio-rate half", rounds, operations, f"{operations_per_sample(voice):.0f} a sample")


def encoder(width: int, precision: str) -> Row:
    """Operations a second of the encoder's forward and backward passes, against a large matrix product."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.step import ours

    step = ours(batch_size=COUNT, width=width, precision=precision, compile="never")
    counter = FlopCounterMode(display=False)
    with counter:
        step.whole()
    rounds = alternate(step.whole, peak("bfloat16" if step.precision == "bf16" else "float32"), seconds=40.0)
    operations = float(counter.get_total_flops())
    per_pair = f"{operations / COUNT / 1e9:.2f} GFLOP a pair in convolutions and products"
    assert torch.is_grad_enabled()
    return fraction(f"training step, width {width}, {step.precision}", rounds, operations, per_pair)


def peak(dtype: str, size: int = 2048) -> Callable[[], object]:
    """A matrix product that keeps every multiplier busy."""
    import torch

    kind = getattr(torch, dtype)
    a, b = (torch.randn(size, size, generator=torch.Generator().manual_seed(i)).to(kind) for i in range(2))
    return lambda: a @ b


def fraction(name: str, rounds: Any, operations: float, note: str) -> Row:
    """A row of billions of operations a second, ours and the matrix product's."""
    median = sorted(rounds.ours)[len(rounds.ours) // 2], sorted(rounds.theirs)[len(rounds.theirs) // 2]
    ours, theirs = operations / median[0] / 1e9, 2 * 2048**3 / median[1] / 1e9
    return Row(name, "Gop/s", ours=ours, theirs=theirs, ratio=ours / theirs, note=f"{note}; theirs: a matrix product")


def bandwidth() -> Row:
    """Bytes a second of a copy that no cache holds."""
    import torch

    source = torch.zeros(64_000_000)
    target = torch.empty_like(source)
    rounds = alternate(lambda: target.copy_(source))
    return rounds.row("memory bandwidth", "GB/s", 2 * source.numel() * 4 / 1e9, note="a copy, read and written")


ROWS: dict[str, Callable[[], Row]] = {
    "memory bandwidth": bandwidth,
    "voice: audio-rate half": partial(rendering, "voice"),
    "voice-fm: audio-rate half": partial(rendering, "voice-fm"),
    "parametric: audio-rate half": partial(rendering, "parametric"),
    "training step, width 64": partial(encoder, 64, "auto"),
    "training step, width 32": partial(encoder, 32, "auto"),
}
