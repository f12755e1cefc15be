"""How alike two embeddings are: the cosine of standardised vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soundalike.model.embed_files import Embedder

REFERENCE = 64
"""Made-up sounds that say how far embeddings spread where an index has few sounds of its own."""
_WEIGHT = 20  # sounds of an index that count as much as the reference
_MOST = 3.0  # deviations; beyond, a number counts no more
_LEAST = 1e-3  # deviation, as part of the mean, below which a number in 16 bits is mostly rounding


class Standardised:
    """Embeddings as unit vectors whose products are similarities from -1 to 1.

    The numbers of an embedding have very different scales, and a plain cosine hears the few large ones. So each number
    is measured in its own standard deviations from its mean and clipped to three of them. Mean and deviation are those
    of the index. A handful of sounds does not have reliable ones (two sounds would always be opposites), so those of
    reference sounds are mixed in with the weight of 20 sounds.

    Args:
        statistics: mean and population standard deviation of the index's vectors, (2, D).
        count: how many vectors these are of.
        reference: mean and deviation of reference sounds, (2, D).
    """

    def __init__(self, statistics: np.ndarray, count: int, reference: np.ndarray) -> None:
        own = count / (count + _WEIGHT)
        apart = statistics[0].astype(np.float64) - reference[0]
        mean = reference[0] + own * apart
        # variance of the mixture: that within its two parts and that between them
        variance = own * statistics[1].astype(np.float64) ** 2 + (1 - own) * reference[1].astype(np.float64) ** 2
        deviation = np.sqrt(variance + own * (1 - own) * apart**2)
        told = deviation > np.maximum(_LEAST * np.abs(mean), 1e-7)
        self.mean = mean.astype(np.float32)
        self.weight = np.where(told, 1 / np.maximum(deviation, 1e-7), 0).astype(np.float32)

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Unit vectors (n, D), float32, of embeddings (n, D)."""
        units = vectors.astype(np.float32)
        units -= self.mean
        units *= self.weight
        np.clip(units, -_MOST, _MOST, out=units)
        units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
        return units


def reference(embedder: Embedder) -> np.ndarray:
    """Mean and deviation, (2, D), of the embeddings of random patches of the synthesizer: the same for every index."""
    rate = getattr(embedder, "heard_rate", embedder.sample_rate)  # whatever the speed at which sounds are heard
    vectors = np.asarray(embedder(_made_up(REFERENCE, rate)), np.float64)
    return np.stack((vectors.mean(0), vectors.std(0))).astype(np.float32)


def _made_up(count: int, sample_rate: int) -> Sequence[np.ndarray]:
    import torch

    from soundalike.core import random
    from soundalike.synth import Voice

    voice, number = Voice(sample_rate=sample_rate), torch.arange(count)
    with torch.inference_mode():
        patches = voice.spread(random.uniform(random.keys(0, number, stream=1), voice.size))
        sounds = voice(patches, noise_seed=random.keys(0, number, stream=2).long())
    return list(sounds.numpy())
