"""torchsynth 1.0.2's Voice, called as its documentation shows, with two stand-ins for what has moved since 2021."""

# mypy: disable-error-code="import-not-found,import-untyped"
from __future__ import annotations

import importlib.resources
import itertools
import sys
import types
from collections.abc import Callable
from typing import Any

SAMPLE_RATE, SECONDS, CONTROL_RATE = 16_000, 1.0, 480
STAND_INS = "torchsynth 1.0.2 with stand-ins for two names that its dependencies have since moved"


def renderer(count: int) -> Callable[[], Any]:
    """A function that draws ``count`` patches and renders them.

    Raises:
        ImportError: torchsynth is not installed, or does not load.
    """
    _stand_in()
    from torchsynth.config import SynthConfig
    from torchsynth.synth import Voice

    config = SynthConfig(
        batch_size=count, sample_rate=SAMPLE_RATE, buffer_size_seconds=SECONDS, control_rate=CONTROL_RATE
    )
    voice, batch = Voice(config), itertools.count()
    return lambda: voice(next(batch))


def _stand_in() -> None:
    """Puts back ``pytorch_lightning.core.lightning`` and the one function of ``pkg_resources`` that it imports."""
    import pytorch_lightning

    lightning: Any = types.ModuleType("pytorch_lightning.core.lightning")
    lightning.LightningModule = pytorch_lightning.LightningModule
    resources: Any = types.ModuleType("pkg_resources")
    resources.resource_string = lambda _, name: importlib.resources.files("torchsynth").joinpath(name).read_bytes()
    for module in (lightning, resources):
        sys.modules.setdefault(module.__name__, module)
