"""Fitting the compact embedding of a model to synthetic sounds alone."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

import numpy as np
import torch

from soundalike.audio.background import file_progress
from soundalike.core.errors import SoundalikeError
from soundalike.model.compact import Compact
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe
from soundalike.views.view import HELD_OUT

SIZE, SOUNDS = 1024, 4096
LAST_STAGE = 2.0
"""Weight of the last stage's numbers in a compact embedding, against 1 of all others: training shaped them most."""
_AT_ONCE = 64  # sounds that are rendered and embedded together


def with_compact(
    model: SoundModel, size: int = SIZE, sounds: int = SOUNDS, seed: int = 0, progress: bool = False
) -> SoundModel:
    """The model with a compact embedding, fitted to sounds that its own synthesizer makes.

    The sounds are random patches of the recipe's voice that no training run meets, so no recording has a part in it.

    Args:
        model: whose embedding is to be made compact; it stays as it is.
        size: the most numbers that the compact embedding can have; it can then have fewer too.
        sounds: how many sounds, more than ``size``.
        seed: which sounds, from 0 to 2**32 - 1.
        progress: whether to show progress, with rate and time left, on stderr.

    Returns:
        A model of the same parts; see `SoundModel.compacted`.

    Raises:
        SoundalikeError: the recipe has no synthesizer, or a number is out of its range.
    """
    if not 0 <= seed < 1 << 32:
        raise SoundalikeError(f"seed is {seed}: give a whole number from 0 to {(1 << 32) - 1}.")
    full = model.full()
    if not 1 <= size <= full.size:
        raise SoundalikeError(
            f"size is {size}: this model's embedding has {full.size} numbers; give 1 to {full.size}."
        )
    if sounds <= size:
        raise SoundalikeError(f"sounds is {sounds}: {size} components need more sounds than that; 4 times as many do.")
    from rich.console import Console

    vectors = np.zeros((sounds, full.size), np.float32)
    done = 0
    for waveforms in synthetic_sounds(model.recipe, sounds, seed, progress, model.device):
        vectors[done : done + len(waveforms)] = full(list(waveforms))
        done += len(waveforms)
    result = copy.copy(full)
    blocks = full.readout.blocks(full.frontend, full.encoder)
    weights = [1.0] * (len(blocks) - 1) + [LAST_STAGE] if len(blocks) > 1 else None
    made = {"recipe": model.recipe.name, "sounds": sounds, "seed": seed}
    with Console(stderr=True).status(f"finding {size} components") if progress else contextlib.nullcontext():
        result.compact = Compact.fit(vectors, size, blocks, weights, made)
    return result


def synthetic_sounds(
    recipe: Recipe, count: int, seed: int = 0, progress: bool = False, device: torch.device | str = "cpu"
) -> Iterator[np.ndarray]:
    """Sounds of random patches, a few at a time.

    Args:
        recipe: whose voice makes them, at the rate of its front end.
        count: how many.
        seed: which ones.
        progress: whether to show on stderr how many have been asked for.
        device: device that renders them.

    Returns:
        Waveforms (k, samples), float32.

    Raises:
        SoundalikeError: the recipe has no synthesizer.
    """
    alone = recipe.synthetic_alone()
    views = None if alone is None else alone.build().views
    if views is None:
        raise SoundalikeError(
            f"recipe {recipe.name} has no synthesizer, and a compact embedding is fitted to synthetic sounds alone: "
            f"give a model whose recipe has a voice."
        )
    views = views.to(device)
    with file_progress(count, progress, "embedding synthetic sounds", "sounds") as advance:
        for start in range(0, count, _AT_ONCE):
            number = torch.arange(start, min(start + _AT_ONCE, count), device=device) + HELD_OUT
            with torch.inference_mode():
                sounds = views.originals(seed, number).cpu().numpy()
            yield sounds
            advance(len(sounds))
