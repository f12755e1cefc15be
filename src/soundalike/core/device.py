"""Where a model computes, how finely, and which of its processes this one is."""

from __future__ import annotations

import os

import torch

from soundalike.core.errors import SoundalikeError, nearest


def is_first_process() -> bool:
    """Whether this is the process that a person started, and not one that the engine started for another GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0


def choose_device(wanted: str) -> str:
    """``cpu`` or ``cuda``."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise SoundalikeError(f"unknown device {wanted!r}: {nearest(wanted, ('auto', 'cpu', 'cuda'))}")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SoundalikeError("device 'cuda': PyTorch finds no GPU here; give 'cpu' or 'auto'.")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def best_device() -> str:
    """Where models embed if anywhere will do: a GPU of NVIDIA or AMD, one of Apple, or the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def ranks(device: str) -> int:
    """How many processes train together: one for each GPU, on a CPU those that torchrun started."""
    if device == "cpu":
        return processes_here() * int(os.environ.get("GROUP_WORLD_SIZE", "1"))
    return max(1, torch.cuda.device_count()) * int(os.environ.get("NNODES", "1"))


def processes_here() -> int:
    """How many processes torchrun started on this machine; 1 without it."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def engine_precision(wanted: str, device: str) -> str:
    """The engine's name of a precision: of ``auto``, bf16 where the device computes with it."""
    if wanted == "auto":
        on_gpu = device == "cuda"
        has = torch.cuda.is_bf16_supported() if on_gpu else bool(torch.cpu.get_capabilities().get("avx512_bf16"))
        wanted = "bf16" if has else "fp32"
    return {"fp32": "32-true", "bf16": "bf16-mixed"}[wanted]
