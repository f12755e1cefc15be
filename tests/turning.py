"""Knobs turned by name."""

from __future__ import annotations

from torch import Tensor

from soundalike.synth import Synthesizer


def turned(voice: Synthesizer, patch: Tensor, **units: float | Tensor) -> Tensor:
    """A copy of a patch (n, size) with some knobs turned to these units, one for all or (n,); ``__`` is a dot."""
    names = [spec.name for spec in voice.specs]
    patch = patch.clone()
    for name, unit in units.items():
        place = names.index(name.replace("__", "."))
        whole = voice.to_units(patch)
        whole[:, place] = unit
        patch[:, place] = voice.to_knobs(whole)[:, place]  # the others stay as they are to the last bit
    return patch
