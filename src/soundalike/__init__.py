"""soundalike learns to hear from sounds nobody recorded."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soundalike.model import SoundModel
    from soundalike.recipe import Recipe
    from soundalike.synth import Parametric, Voice, VoiceFM
    from soundalike.views import Doppelgangers

__version__ = "0.1.0"
__all__ = ["Doppelgangers", "Parametric", "Recipe", "SoundModel", "Voice", "VoiceFM", "__version__", "load"]

_HOMES = {
    "SoundModel": "soundalike.model",
    "Recipe": "soundalike.recipe",
    "Voice": "soundalike.synth",
    "VoiceFM": "soundalike.synth",
    "Parametric": "soundalike.synth",
    "Doppelgangers": "soundalike.views",
}


def load(path: str | Path, device: str = "cpu") -> SoundModel:
    """A trained model from its file.

    Args:
        path: a ``.safetensors`` file that ``soundalike pretrain`` wrote, or the folder of its run.
        device: where it shall compute, such as ``cpu`` or ``cuda``.

    Raises:
        SoundalikeError: there is no such file, or it is not a model or not whole.
    """
    from soundalike.model import SoundModel

    return SoundModel.load(path, device)


def __getattr__(name: str) -> Any:
    # Importing torch takes seconds: it waits for the first name that needs it.
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
