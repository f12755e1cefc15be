"""How fast? Rendering, training steps and their parts, and embedding, with the device's own limits beside them."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.gpu.agreement import learner, small
from benchmarks.gpu.worker import Context
from benchmarks.harness import alternate
from soundalike.core.compile import CompilationError
from soundalike.core.device import engine_precision
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe
from soundalike.synth import VOICES
from soundalike.train.callbacks import compile_rendering
from soundalike.train.step import Learner

PAPER_PAIRS = 18_000_000
PROFILED_STEPS, SMALL_PROFILED_STEPS = 4, 1


def rendering(context: Context, voice: str) -> dict[str, Any]:
    """Seconds of a voice's sound in a second, drawing of patches included: as it is, and compiled."""
    device, tiny = context.settings.device, context.settings.small
    count = 4 if tiny else 4096
    synthesizer = VOICES[voice](**({"seconds": 0.3} if tiny else {})).to(device)
    generator = torch.Generator(device).manual_seed(0)
    seeds = torch.arange(count, device=device)

    @torch.inference_mode()
    def render() -> None:
        seeds.add_(count)
        synthesizer(synthesizer.draw(count, generator=generator), noise_seed=seeds)

    sound = count * synthesizer.seconds
    found: dict[str, Any] = {"sounds": count, "x_real_time_eager": sound / seconds(context, render)}
    if tiny:
        return found
    try:
        found["compile_s"] = synthesizer.compile_rendering(count)
        found["x_real_time_compiled"] = sound / seconds(context, render)
    except CompilationError as error:
        found["not_compiled"] = str(error)
    return {**found, "peak_gb": _peak(device)}


def step(context: Context, recipe: str, batch: int) -> dict[str, Any]:
    """Pairs that a training step renders and learns from in a second, and what the paper's run would take."""
    training, found = TrainingStep(context, recipe, batch), {"pairs": batch}
    training.compile(found)
    took = seconds(context, training, budget=6.0)
    rate = batch / took
    return {
        **found,
        "precision": training.precision,
        "step_ms": 1e3 * took,
        "pairs_per_second": rate,
        "minutes_for_18_million_pairs": PAPER_PAIRS / rate / 60.0,
        "peak_gb": _peak(context.settings.device),
    }


def shares(context: Context, recipe: str) -> dict[str, Any]:
    """Which part of a step's time each part of it takes on the device, and how long the device waits for the CPU."""
    batch = 8 if context.settings.small else Recipe.load(recipe).training.batch_size
    device, found = context.settings.device, {"pairs": batch}
    training = TrainingStep(context, recipe, batch)
    training.compile(found)
    seconds(context, training, budget=1.0)  # warm
    steps = SMALL_PROFILED_STEPS if context.settings.small else PROFILED_STEPS
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with training.annotated():
        _wait(device)
        started = time.perf_counter()
        with profile(activities=activities) as profiled:
            for _ in range(steps):
                training()
            _wait(device)
            wall = time.perf_counter() - started
    averages = list(profiled.key_averages())
    of_part = {
        event.key: float(event.device_time_total if device == "cuda" else event.cpu_time_total)
        for event in averages
        if event.key in PARTS and str(event.device_type).endswith("CPU")
    }
    if device == "cuda":
        kernels = [event for event in averages if str(event.device_type).endswith("CUDA") and not _annotation(event)]
        busy = sum(float(event.self_device_time_total) for event in kernels)
        # the gradients' kernels are launched by another thread, outside the range that bears their name
        of_part["backward"] = busy - sum(took for part, took in of_part.items() if part != "backward")
        found["share_of_waiting_for_the_cpu"] = max(0.0, 1.0 - busy / 1e6 / wall)
        found["kernels_per_step"] = sum(event.count for event in kernels) / steps
        copies = {event.key: event.count / steps for event in kernels if event.key.startswith("Memcpy")}
        found["copies_per_step"] = copies
    total = sum(of_part.values())
    found["share_of_device_time"] = {part: took / max(total, 1e-9) for part, took in of_part.items()}
    found["step_ms_profiled"] = 1e3 * wall / steps
    path = context.folder / f"profile-{recipe}.txt"
    order = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    path.write_text(profiled.key_averages().table(sort_by=order, row_limit=60), encoding="utf-8")
    return found


def limits(context: Context) -> dict[str, Any]:
    """What the device can do at most: bytes that it copies and products that it computes in a second."""
    device, tiny = context.settings.device, context.settings.small
    numbers = torch.rand((1 << 20) if tiny else (1 << 28), device=device)
    other = torch.empty_like(numbers)
    copied = 2 * numbers.numel() * numbers.element_size()
    found = {"copied_gb_per_second": copied / seconds(context, lambda: other.copy_(numbers), budget=1.0) / 1e9}
    size = 256 if tiny else 8192
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a = torch.randn(size, size, device=device, dtype=kind)
        took = seconds(context, lambda a=a: a @ a, budget=1.0)
        found[f"tflops_{name}"] = 2.0 * size**3 / took / 1e12
    return found


def embed(context: Context) -> dict[str, Any]:
    """Seconds of sound that a model embeds in a second: clips of 5 seconds, from arrays to vectors on the CPU."""
    recipe = Recipe.load(context.settings.train)
    if context.settings.small:
        recipe = recipe.override(small(recipe))
    model = SoundModel(recipe).to(context.settings.device)
    count = 2 if context.settings.small else 64
    length = 5 * model.sample_rate
    clips = list(np.random.default_rng(0).uniform(-1.0, 1.0, (count, length)).astype(np.float32))
    took = seconds(context, lambda: model(clips), budget=5.0)
    return {"clips": count, "x_real_time": 5.0 * count / took, "numbers": model.size}


PARTS = ("rendering", "front end", "encoder and loss", "backward", "optimiser")


class TrainingStep:
    """A step of a recipe's training, as the engine makes it.

    Args:
        context: of the session.
        recipe: name of the recipe.
        batch: pairs of a step.
    """

    def __init__(self, context: Context, recipe: str, batch: int) -> None:
        self.device, self.tiny = context.settings.device, context.settings.small
        self.learner: Learner = learner(context, recipe, self.device, batch_size=batch, compile="always")
        settings = self.learner.training_settings
        self.mixed = engine_precision(settings.precision, self.device) == "bf16-mixed"
        self.optimizer = self.learner.configure_optimizers()
        for group in self.optimizer.param_groups:
            group["lr"] = settings.rate(0.5)
        self.batches: Iterator[Tensor] = (
            torch.arange(first, first + batch, device=self.device) for first in itertools.count(0, batch)
        )

    @property
    def precision(self) -> str:
        """Of the encoder."""
        return "bf16" if self.mixed else "fp32"

    def compile(self, found: dict[str, Any]) -> None:
        """Compiles the rendering, and says in ``found`` how long it took or why it could not be done."""
        if self.tiny:
            return
        try:
            found["compile_s"] = compile_rendering(self.learner)
        except CompilationError as error:
            found["not_compiled"] = str(error)

    def __call__(self) -> None:
        """One step."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.mixed):
            loss, _ = self.learner.loss(next(self.batches))
        with record_function("optimiser"):
            self.optimizer.zero_grad()
        with record_function("backward"):
            loss.backward()
        with record_function("optimiser"):
            self.optimizer.step()

    def annotated(self) -> _Annotated:
        """While this is open, the profiler is told which part of a step is which."""
        owner = self.learner
        return _Annotated(
            [
                (owner.views, "batch", "rendering"),
                (owner.frontend, "forward", "front end"),
                (owner.encoder, "stages", "encoder and loss"),
                (owner.head, "read", "encoder and loss"),
                (owner.objective, "forward", "encoder and loss"),
                (owner.prediction, "loss", "encoder and loss"),
            ]
        )


class _Annotated:
    """Wraps methods so that the profiler sees them under the name of a part."""

    def __init__(self, methods: list[tuple[Any, str, str]]) -> None:
        self.methods = [(owner, name, part) for owner, name, part in methods if hasattr(owner, name)]

    def __enter__(self) -> None:
        for owner, name, part in self.methods:
            object.__setattr__(owner, name, _recorded(getattr(owner, name), part))

    def __exit__(self, *_: object) -> None:
        for owner, name, _part in self.methods:
            object.__delattr__(owner, name)


def _recorded(function: Callable[..., Any], part: str) -> Callable[..., Any]:
    def run(*arguments: Any, **options: Any) -> Any:
        with record_function(part):
            return function(*arguments, **options)

    return run


def seconds(context: Context, function: Callable[[], object], budget: float = 3.0) -> float:
    """Median seconds of a call, waited for; two calls warm up."""
    device = context.settings.device

    def waited() -> None:
        function()
        _wait(device)

    rounds = alternate(waited, seconds=0.2 if context.settings.small else budget, least=3, most=200, warm_up=2)
    return statistics.median(rounds.ours)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _peak(device: str) -> float | None:
    """GB of 10⁹ bytes that were allocated at most since the step began; None where nobody counts."""
    return torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else None


def _annotation(event: Any) -> bool:
    """Whether an event on the device is a range with a name, and not a kernel."""
    named = event.key in PARTS or event.key.startswith(("Optimizer.", "ProfilerStep"))
    return named or bool(getattr(event, "is_user_annotation", False))
