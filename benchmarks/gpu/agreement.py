"""Is it right? The same work on the device and on the CPU, in fp32 and in bf16, in one batch and in another."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.worker import Context, Missed
from benchmarks.harness import describe_machine
from soundalike.model.recipe import Recipe
from soundalike.nn.frontend import FRONTENDS
from soundalike.synth import VOICES
from soundalike.train.step import Learner

MEDIAN_DB, MOST_DB = 0.05, 1.0
"""Bounds of the difference of log-mel spectrograms: the median, and the 95th percentile."""
SMALL = {"encoder.width": 8, "encoder.size": 16, "frontend.frames": 32}


def machine(context: Context) -> dict[str, Any]:
    """What the session runs on."""
    told: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__, "cores": os.cpu_count()}
    if context.settings.device == "cuda":
        found = torch.cuda.get_device_properties(0)
        told |= {
            "gpu": found.name,
            "memory_gb": found.total_memory / 1e9,
            "capability": f"{found.major}.{found.minor}",
            "multiprocessors": found.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
        try:
            import triton

            told["triton"] = triton.__version__
        except ImportError:
            told["triton"] = None
    return {**told, "cpu": describe_machine()["cpu"], "settings": context.settings.to_dict()}


def rendering(context: Context, voice: str) -> dict[str, Any]:
    """One voice's sounds of the same patches and noise seeds, on the device and on the CPU."""
    count = 4 if context.settings.small else 64
    options: dict[str, Any] = {"seconds": 0.3} if context.settings.small else {}
    here, there = VOICES[voice](**options), VOICES[voice](**options).to(context.settings.device)
    patch = here.draw(count, generator=torch.Generator().manual_seed(0), uniform_in="knobs")
    seeds = torch.arange(count)
    with torch.inference_mode():
        ours = here(patch, noise_seed=seeds)
        theirs = there(patch.to(context.settings.device), noise_seed=seeds.to(context.settings.device)).cpu()
    apart = (_decibels(ours) - _decibels(theirs)).abs()
    found = {
        "sounds": count,
        "median_db": float(apart.median()),
        "p95_db": float(apart.flatten().quantile(0.95)) if apart.numel() < 1 << 24 else None,
        "worst_sound_db": float(apart.flatten(1).mean(1).max()),
        "finite": bool(torch.isfinite(theirs).all()),
    }
    if not found["finite"] or not found["median_db"] <= MEDIAN_DB or not (found["p95_db"] or 0.0) <= MOST_DB:
        raise Missed(f"sounds differ by more than {MEDIAN_DB} dB (median) or {MOST_DB} dB (95 %)", found)
    return found


def features(context: Context) -> dict[str, Any]:
    """Every front end's features of the same audio, on the device and on the CPU."""
    device, found = context.settings.device, {}
    noise = torch.rand(8, 16_000, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0
    time = torch.arange(16_000) / 16_000.0
    audio = torch.cat((noise, torch.sin(2.0 * torch.pi * 440.0 * time)[None] * torch.linspace(0.0, 1.0, 8)[:, None]))
    for name, kind in FRONTENDS.items():
        here, there = kind()(audio), kind().to(device)(audio.to(device)).cpu()
        found[name] = float(torch.linalg.vector_norm(here - there) / torch.linalg.vector_norm(here))
    if not all(value < 1e-3 for value in found.values()):
        raise Missed("features differ by more than a thousandth of their norm", found)
    return found


def step(context: Context, recipe: str) -> dict[str, Any]:
    """Loss and gradients of one training step in fp32, on the device and on the CPU."""
    pairs = 4 if context.settings.small else 16
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    ours, theirs = (_gradients(context, recipe, device, pairs) for device in ("cpu", context.settings.device))
    found = {"pairs": pairs, **_apart(ours, theirs)}
    if not found["loss_difference"] < 1e-2 or not found["gradient_cosine"] > 0.99:
        raise Missed("the step differs from the CPU's", found)
    return found


def bf16(context: Context, recipe: str) -> dict[str, Any]:
    """Loss and gradients of one training step in bf16 and in fp32, both on the device."""
    pairs = 4 if context.settings.small else 128
    exact = _gradients(context, recipe, context.settings.device, pairs)
    found = {"pairs": pairs, **_apart(exact, _gradients(context, recipe, context.settings.device, pairs, True))}
    if not found["loss_difference"] < 5e-2 or not found["gradient_cosine"] > 0.7:
        raise Missed("bf16 departs from fp32", found)
    return found


def batches(context: Context, recipe: str) -> dict[str, Any]:
    """The same pairs in one batch and in others."""
    count = 8 if context.settings.small else 64
    views = learner(context, recipe, context.settings.device).views
    number = torch.arange(count, device=context.settings.device)
    with torch.no_grad():
        whole = views.batch(0, number)
        parts = [views.batch(0, some) for some in (number[:3], number[3:4], number[4:])]
    apart = max(
        float((whole.first - torch.cat([part.first for part in parts])).abs().max()),
        float((whole.second - torch.cat([part.second for part in parts])).abs().max()),
    )
    found = {"pairs": count, "largest_difference": apart}
    if not apart < 1e-3:
        raise Missed("a pair depends on the batch that it is in", found)
    return found


def waiting(context: Context, recipe: str) -> dict[str, Any]:
    """That a step never waits for the device: PyTorch's own switch makes it an error. The CPU has no such switch."""
    if context.settings.device != "cuda":
        return {"checked": False}
    one = learner(context, recipe, context.settings.device)
    optimizer = one.configure_optimizers()
    number = torch.arange(32, device=context.settings.device)
    for attempt in range(2):  # the first step makes what is made once
        torch.cuda.set_sync_debug_mode("error" if attempt else "default")
        try:
            loss, _ = one.loss(number)
            loss.backward()
            optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return {"checked": True}


def learner(context: Context, recipe: str, device: str, **settings: Any) -> Learner:
    """The learner of a recipe on a device, tiny where the session is."""
    loaded = Recipe.load(recipe)
    if context.settings.small:
        loaded = loaded.override(small(loaded))
    return Learner(loaded.override({"compile": "never", **settings})).to(device).train()


def small(recipe: Recipe) -> dict[str, Any]:
    """Settings that make a recipe tiny."""
    head, views = recipe.sections["head"], recipe.sections["views"]
    lengths = [f"families.{name}.voice.seconds" for name in views.get("families") or {}] or ["voice.seconds"]
    return (
        SMALL
        | dict.fromkeys(lengths, 0.4)
        | {f"head.{key}": size for key, size in (("hidden", 16), ("size", 8)) if key in head}
    )


def _gradients(context: Context, recipe: str, device: str, pairs: int, mixed: bool = False) -> tuple[float, Tensor]:
    """Loss, and all gradients in one row, of the first pairs of a recipe."""
    one = learner(context, recipe, device, precision="bf16" if mixed else "fp32")
    with torch.autocast(device, torch.bfloat16, enabled=mixed):
        loss, _ = one.loss(torch.arange(pairs, device=device))
    loss.backward()
    return float(loss.detach()), torch.cat(
        [w.grad.flatten().double().cpu() for w in one.parameters() if w.grad is not None]
    )


def _apart(ours: tuple[float, Tensor], theirs: tuple[float, Tensor]) -> dict[str, float]:
    (loss, gradient), (other_loss, other) = ours, theirs
    return {
        "loss": other_loss,
        "loss_difference": abs(loss - other_loss) / max(abs(loss), 1e-9),
        "gradient_difference": float((gradient - other).norm() / gradient.norm()),
        "gradient_cosine": float(torch.nn.functional.cosine_similarity(gradient, other, dim=0)),
    }


def _decibels(audio: Tensor) -> Tensor:
    """Log-mel spectrograms in dB, down to 80 dB below the loudest cell of all: (n, samples) -> (n, frames, bands)."""
    logarithms = FRONTENDS["logmel"](offset=1e-5, frames=None).whole(audio)[:, 0] * (20.0 / 2.302585)
    return logarithms.clamp(min=float(logarithms.max()) - 80.0)
