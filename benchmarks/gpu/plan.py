"""What is done on the GPU, in the order of its value, and how long each step may take."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

VOICES = ("voice", "voice-fm", "parametric", "scene", "mouth", "body", "texture")
RECIPES = ("doppelgangers", "ears")
BATCHES = {"doppelgangers": (768, 2048, 4096), "ears": (1024, 2048, 4096)}
SMALL_BATCHES = (4, 8)
SMALL_LIMIT = 300.0  # seconds of a step of tiny size, which a busy machine does not reach either
AGREEMENT_SHARE, SPEED_SHARE = 0.1, 0.45
"""Parts of the time after which no further step of these stages begins."""
FINISH_SECONDS = 75.0
"""What is kept of the time for the model's files and the pictures."""


@dataclass(frozen=True)
class Settings:
    """What a session was asked for.

    Args:
        device: ``cuda`` or ``cpu``.
        small: whether sizes are tiny, for a test of the script itself.
        minutes: length of the session.
        train: recipe to train: its name, or a .yaml file.
        resume: folder of an earlier session whose training goes on; None for a new one.
        planned: minutes of training over all sessions, which the schedule of the learning rate goes by; None for those
            of this session and the earlier ones.
    """

    device: str = "cuda"
    small: bool = False
    minutes: float = 8.0
    train: str = "ears"
    resume: str | None = None
    planned: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def finish_seconds(settings: Settings) -> float:
    """Seconds that are kept of a session for what comes after its training."""
    return 5.0 if settings.small else min(FINISH_SECONDS, 0.4 * 60.0 * settings.minutes)


@dataclass(frozen=True)
class Step:
    """One thing that is done; a row of the results.

    Args:
        name: name of the row.
        call: what does it, ``package.module:function``; it gets `worker.Context` and the arguments, and returns the
            values of the row.
        limit: seconds after which it is ended.
        arguments: further arguments of the function.
        begin_before: part of the session, in [0, 1], after which it does not begin any more.
        fills: whether it may take all the time that is left, but for ``FINISH_SECONDS``.
    """

    name: str
    call: str
    limit: float
    arguments: dict[str, Any] = field(default_factory=dict)
    begin_before: float = 1.0
    fills: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def steps(settings: Settings) -> list[Step]:
    """Every step of a session, in order."""
    planned: list[Step] = []

    def add(name: str, call: str, limit: float, before: float = 1.0, **arguments: Any) -> None:
        seconds = SMALL_LIMIT if settings.small else limit
        planned.append(Step(name, f"benchmarks.gpu.{call}", seconds, arguments, before))

    add("machine", "agreement:machine", 60.0)

    early = AGREEMENT_SHARE if not settings.small else 1.0
    for voice in VOICES:
        add(f"agreement: {voice}", "agreement:rendering", 20.0, early, voice=voice)
    add("agreement: features", "agreement:features", 20.0, early)
    for recipe in RECIPES:
        add(f"agreement: step of {recipe} in fp32", "agreement:step", 30.0, early, recipe=recipe)
    for recipe in RECIPES:
        add(f"agreement: {recipe} in bf16", "agreement:bf16", 20.0, early, recipe=recipe)
        add(f"agreement: pairs of {recipe} in any batch", "agreement:batches", 20.0, early, recipe=recipe)
        add(f"agreement: a step of {recipe} never waits", "agreement:waiting", 20.0, early, recipe=recipe)
    middle = SPEED_SHARE if not settings.small else 1.0
    for recipe in reversed(RECIPES):  # what is trained below first
        for batch in SMALL_BATCHES if settings.small else BATCHES[recipe]:
            name = f"speed: step of {recipe}, {batch} pairs"
            add(name, "speed:step", 90.0, middle, recipe=recipe, batch=batch)
        add(f"speed: shares of a step of {recipe}", "speed:shares", 60.0, middle, recipe=recipe)
    add("speed: limits of the device", "speed:limits", 20.0, middle)
    add("speed: embed", "speed:embed", 30.0, middle)
    for voice in VOICES:
        add(f"speed: {voice}", "speed:rendering", 60.0, middle, voice=voice)
    planned.append(Step("training", "benchmarks.gpu.training:train", 600.0, fills=True))
    add("model", "training:model", 45.0)
    add("compact embedding", "training:compact", 60.0)
    add("pictures", "training:pictures", 20.0)
    return planned
