"""Knobs of a scene, turned by name."""

from __future__ import annotations

from torch import Tensor

from soundalike.synth import Scene


def turned(scene: Scene, patch: Tensor, **units: float) -> Tensor:
    """A copy of a patch (n, size) with some knobs turned to these units; ``__`` stands for a dot."""
    names = [spec.name for spec in scene.specs]
    patch = patch.clone()
    for name, unit in units.items():
        place = names.index(name.replace("__", "."))
        whole = scene.to_units(patch)
        whole[:, place] = unit
        patch[:, place] = scene.to_knobs(whole)[:, place]  # the others stay as they are to the last bit
    return patch
