"""soundalike learns to hear from sounds nobody recorded."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soundalike.apps.classifier import SoundClassifier, load_classifier, teach
    from soundalike.apps.search import Index
    from soundalike.audio.segment import Segment
    from soundalike.model.model import SoundModel
    from soundalike.model.recipe import Recipe
    from soundalike.model.sklearn import SoundEmbedder
    from soundalike.synth import Parametric, Voice, VoiceFM
    from soundalike.views import Doppelgangers

__version__ = "0.1.0"
__all__ = [
    "Doppelgangers",
    "Index",
    "Parametric",
    "Recipe",
    "Segment",
    "SoundClassifier",
    "SoundEmbedder",
    "SoundModel",
    "Voice",
    "VoiceFM",
    "__version__",
    "load",
    "load_classifier",
    "teach",
]

_HOMES = {
    "Index": "soundalike.apps.search",
    "Segment": "soundalike.audio.segment",
    "SoundEmbedder": "soundalike.model.sklearn",
    "SoundModel": "soundalike.model.model",
    "Recipe": "soundalike.model.recipe",
    "SoundClassifier": "soundalike.apps.classifier",
    "load_classifier": "soundalike.apps.classifier",
    "teach": "soundalike.apps.classifier",
    "Voice": "soundalike.synth",
    "VoiceFM": "soundalike.synth",
    "Parametric": "soundalike.synth",
    "Doppelgangers": "soundalike.views",
}


def load(path: str | Path | None = None, device: str = "cpu") -> SoundModel:
    """A trained model from its file; the one that ships with the package where none is named.

    Args:
        path: a ``.safetensors`` file that ``soundalike`` wrote, the folder of a run, or the name of a shipped model.
        device: where it shall compute, such as ``cpu`` or ``cuda``; ``auto`` is a GPU where there is one.

    Raises:
        SoundalikeError: there is no such file, or it is not a model or not whole.
    """
    from soundalike.model import shipped
    from soundalike.model.model import SoundModel

    return SoundModel.load(shipped.find(path), device)


def __getattr__(name: str) -> Any:
    # Importing torch takes seconds: it waits for the first name that needs it.
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
