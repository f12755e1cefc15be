"""CLAR's six augmentations, 256 sounds of 1 s at 16 kHz, each changed, against audiomentations' one by one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmarks.harness import Row, alternate

if TYPE_CHECKING:
    from torch import Tensor

COUNT = 256
SAMPLE_RATE = 16000
UNIT = "sounds/s"
TARGET = 10.0
PAIRS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "pitch-shift": ({}, "PitchShift", {"min_semitones": -15, "max_semitones": 15}),
    "time-stretch": ({}, "TimeStretch", {"min_rate": 0.5, "max_rate": 1.5}),
    "fade": ({}, "GainTransition", {"min_duration": 1e-4, "max_duration": 0.5, "duration_unit": "fraction"}),
    "noise": ({}, "AddColorNoise", {}),
    "time-mask": ({}, "TimeMask", {"min_band_part": 0.0, "max_band_part": 0.125}),
    "time-shift": ({}, "Shift", {}),
}
"""Ours, its settings, the same operation of theirs and its settings; all others are each side's defaults."""
NOTES = {
    "fade": ", the nearest to a fade that it has: one side, linear in decibels",
    "noise": ", white to violet and brown noise",
    "time-mask": ", which fills with silence only, where ours fills half of the sounds with noise",
}
"""How the operations differ."""


def against_audiomentations(name: str) -> Row:
    """A batch of ours and theirs sound by sound, in turn; ours alone where audiomentations is missing."""
    import torch

    from soundalike.core.memory import keep_freed_memory

    keep_freed_memory()
    audio = 0.1 * torch.randn(COUNT, SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    settings, operation, their_settings = PAIRS[name]
    values: dict[str, Any] = {"target": TARGET}
    try:
        theirs = _one_by_one(operation, their_settings, audio)
        values["note"] = f"against audiomentations' {operation}{NOTES.get(name, '')}"
    except ImportError:
        theirs, values["note"] = None, "audiomentations is not installed"
    rounds = alternate(_batched(name, settings, audio), theirs, seconds=8.0)
    return rounds.row(f"augmentation {name}", UNIT, COUNT, **values)


def _batched(name: str, settings: dict[str, Any], audio: Tensor) -> Callable[[], Tensor]:
    import torch

    from soundalike.views.augment import AUGMENTATIONS

    augmentation = AUGMENTATIONS[name](p=1.0, **settings)
    generator = torch.Generator().manual_seed(0)

    def augment() -> Tensor:
        changed: Tensor = augmentation(audio, generator=generator)
        return changed

    return augment


def _one_by_one(operation: str, settings: dict[str, Any], audio: Tensor) -> Callable[[], list[Any]]:
    transform = getattr(import_module("audiomentations"), operation)(p=1.0, **settings)
    sounds = list(audio.numpy())

    def augment() -> list[Any]:
        return [transform(sound, sample_rate=SAMPLE_RATE) for sound in sounds]

    return augment


ROWS: dict[str, Callable[[], Row]] = {f"augmentation {name}": partial(against_audiomentations, name) for name in PAIRS}
