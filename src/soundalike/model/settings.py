"""How a run goes: its length, its optimiser and its learning rate over time. The ``training`` section of a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.nn.lars import LARS

OPTIMIZERS = ("sgd", "adam", "adamw", "lars")
SCHEDULES = ("constant", "milestones", "cosine")
PRECISIONS = ("auto", "fp32", "bf16")
COMPILE = ("auto", "always", "never")
LEAST_PAIRS, LEAST_MINUTES = 50_000, 5.0
"""The shortest run for which rendering is compiled: a shorter one would save less time than compiling takes."""


@dataclass(frozen=True)
class Training:
    """Settings of a run.

    Args:
        seed: of the sounds and of the initial weights, from 0 to 2**63 - 1.
        batch_size: pairs a step on each device, at least 2.
        pairs: length of the run in pairs, over all devices.
        steps: length of the run in steps. The first of the lengths that is reached ends the run.
        minutes: length of the run in minutes of wall-clock time.
        epochs: length of the run in times that every recording is shown; of a recipe that hears recordings alone.
        optimizer: ``sgd``, ``adam``, ``adamw`` or ``lars``.
        learning_rate: its peak, for 256 pairs a step; more or fewer pairs scale it in proportion.
        momentum: of SGD and LARS.
        weight_decay: of every weight.
        decay_biases: whether biases and normalisations decay as well. LARS never lets them, nor scales their steps.
        schedule: ``constant``; ``milestones``, a tenth from each milestone on; or ``cosine``, to 0.
        milestones: parts of the run, in [0, 1].
        warmup: part of the run in which the learning rate rises from 0 in a straight line.
        targets: weight of predicting what the synthesizer knows of its sounds (`TargetPrediction`), beside the
            objective's loss: one number for every target of the voice, or a mapping with one for each by its name; 0
            predicts nothing.
        precision: ``fp32``, ``bf16`` for mixed precision, or ``auto``: bf16 where the device computes with it.
        compile: whether rendering is compiled first: ``always``, ``never``, or ``auto``, where the run is long enough.
        validate_every: steps between two looks at held-out sounds; 0 never looks.
        validation_pairs: held-out pairs: sounds that no run trains on; of recordings, other draws of the same clips.
        checkpoint_every: steps between two checkpoints; 0 writes one at the end only.
        start: model file, or folder of a run, whose encoder the run starts from; random weights where not given.

    Raises:
        SoundalikeError: a value is out of its range.
    """

    seed: int = 0
    batch_size: int = 256
    pairs: int | None = None
    steps: int | None = None
    minutes: float | None = None
    epochs: float | None = None
    optimizer: str = "sgd"
    learning_rate: float = 0.12
    momentum: float = 0.0
    weight_decay: float = 1e-6
    decay_biases: bool = True
    schedule: str = "milestones"
    milestones: tuple[float, ...] = (0.775, 0.85, 0.925)
    warmup: float = 0.0
    targets: float | dict[str, float] = 0.0
    precision: str = "auto"
    compile: str = "auto"
    validate_every: int = 0
    validation_pairs: int = 1024
    checkpoint_every: int = 200
    start: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        choices = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "precision": PRECISIONS, "compile": COMPILE}
        for key, known in choices.items():
            if getattr(self, key) not in known:
                raise SoundalikeError(
                    f"training.{key} is {getattr(self, key)!r}: {nearest(getattr(self, key), known)}"
                )
        least = {"batch_size": 2, "validation_pairs": 2, "validate_every": 0, "checkpoint_every": 0, "steps": 1}
        least |= {"pairs": 1, "momentum": 0, "weight_decay": 0, "warmup": 0, "seed": 0}
        for key, bound in least.items():
            value = getattr(self, key)
            if value is not None and not value >= bound:
                raise SoundalikeError(f"training.{key} is {value!r}: give at least {bound}.")
        for key in ("seed", "batch_size", "validation_pairs"):
            if getattr(self, key) >= 1 << 63:
                raise SoundalikeError(f"training.{key} is {getattr(self, key)}: give less than 2**63.")
        for key in ("learning_rate", "minutes", "epochs"):
            value = getattr(self, key)
            if value is not None and not 0 < value < math.inf:
                raise SoundalikeError(f"training.{key} is {value!r}: give a number above 0.")
        weights = self.targets.values() if isinstance(self.targets, dict) else [self.targets]
        for weight in weights:
            if not 0 <= weight < math.inf:
                raise SoundalikeError(f"training.targets is {self.targets!r}: give weights of 0 or more.")
        if self.warmup >= 1 or any(not 0 <= milestone <= 1 for milestone in self.milestones):
            raise SoundalikeError("training.warmup and training.milestones are parts of the run: give 0 to 1.")
        if self.pairs is self.steps is self.minutes is self.epochs is None:
            raise SoundalikeError(
                "a run needs a length: give training.minutes, training.steps, training.pairs or training.epochs."
            )

    def counted(self, clips: int | None) -> Training:
        """The same with epochs turned into pairs.

        Args:
            clips: how many recordings an epoch shows; None where there is no such number.

        Raises:
            SoundalikeError: there are epochs and no such number.
        """
        if self.epochs is None:
            return self
        if clips is None:
            raise SoundalikeError(
                "training.epochs counts how often recordings are shown, and synthetic sounds never repeat: give "
                "training.pairs, training.steps or training.minutes."
            )
        pairs = math.ceil(self.epochs * clips)
        return replace(self, pairs=pairs if self.pairs is None else min(pairs, self.pairs), epochs=None)

    @property
    def predicts(self) -> bool:
        """Whether any target is predicted."""
        return any(self.targets.values()) if isinstance(self.targets, dict) else self.targets > 0

    def total_steps(self, ranks: int = 1) -> int | None:
        """Steps after which the run ends; None where only the clock ends it."""
        by_pairs = None if self.pairs is None else max(1, self.pairs // (self.batch_size * ranks))
        return min((steps for steps in (self.steps, by_pairs) if steps is not None), default=None)

    def compiles(self, ranks: int = 1) -> bool:
        """Whether rendering is to be compiled."""
        steps = self.total_steps(ranks)
        long_enough = (steps is None or steps * self.batch_size >= LEAST_PAIRS) and (
            self.minutes is None or self.minutes >= LEAST_MINUTES
        )
        return long_enough if self.compile == "auto" else self.compile == "always"

    def progress(self, step: int, seconds: float, ranks: int = 1) -> float:
        """How much of the run is done, in [0, 1], after so many steps and seconds."""
        total = self.total_steps(ranks)
        by_steps = 0.0 if total is None else step / total
        by_clock = 0.0 if self.minutes is None else seconds / (60.0 * self.minutes)
        return min(1.0, max(by_steps, by_clock))

    def rate(self, progress: float, ranks: int = 1) -> float:
        """Learning rate when ``progress`` of the run, in [0, 1], is done."""
        peak = self.learning_rate * self.batch_size * ranks / 256
        if progress < self.warmup:
            # never 0: the first step of a run should move
            return peak * max(progress, 1e-3) / self.warmup
        if self.schedule == "cosine":
            return peak * 0.5 * (1.0 + math.cos(math.pi * (progress - self.warmup) / (1.0 - self.warmup)))
        if self.schedule == "milestones":
            return peak * 0.1 ** sum(progress >= milestone for milestone in self.milestones)
        return peak

    def make_optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser. Its learning rate is set before every step, from `rate`."""
        everything = list(parameters)
        groups: list[dict[str, Any]] = [{"params": everything}]
        if self.optimizer == "lars" or not self.decay_biases:
            # biases and what a normalisation learns have one axis; every weight has more
            groups = [
                {"params": [p for p in everything if p.ndim > 1]},
                {"params": [p for p in everything if p.ndim <= 1], "weight_decay": 0.0},
            ]
        rate: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        if self.optimizer == "lars":
            groups[1]["adapt"] = False
            return LARS(groups, momentum=self.momentum, **rate)
        if self.optimizer == "sgd":
            return torch.optim.SGD(groups, momentum=self.momentum, fused=True, **rate)
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(groups, fused=True, **rate)

    def differences(self, other: Training) -> list[str]:
        """Keys in which two runs differ, but for those that change nothing of what is learned."""
        free = {"pairs", "steps", "minutes", "epochs", "checkpoint_every", "compile"}
        return [f.name for f in fields(self) if f.name not in free and getattr(self, f.name) != getattr(other, f.name)]
