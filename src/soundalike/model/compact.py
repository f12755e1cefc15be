"""The compact embedding: a fixed linear map from a long embedding to the few hundred numbers that hold most of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from soundalike.core.errors import SoundalikeError

SIZE = 512
"""Numbers of a compact embedding where nothing else is asked for."""
_WHITENING = 0.25  # 0 leaves components the variance that they have, 0.5 gives all of them the same: half the way


class Compact:
    """Principal components of embeddings, the one that varies most first.

    The first k of them are the compact embedding of size k, so that one fitted map serves every smaller size.

    Args:
        mean: of each number of the embedding, (D,).
        scale: what a number is multiplied by once its mean is off, (D,).
        components: (size, D); they are orthogonal, and the longer the less they vary.
        made: what it was fitted to, plain data.

    Raises:
        ValueError: shapes do not fit together, or a value is not finite.
    """

    def __init__(
        self, mean: np.ndarray, scale: np.ndarray, components: np.ndarray, made: Mapping[str, Any] | None = None
    ) -> None:
        self.mean, self.scale, self.components = (
            np.ascontiguousarray(values, np.float32) for values in (mean, scale, components)
        )
        self.made = dict(made or {})
        width = self.components.shape[-1]
        if self.components.ndim != 2 or self.mean.shape != (width,) or self.scale.shape != (width,):
            raise ValueError("the parts of its compact embedding do not fit together")
        if not all(np.isfinite(values).all() for values in (self.mean, self.scale, self.components)):
            raise ValueError("its compact embedding is not finite")

    @classmethod
    def fit(
        cls,
        vectors: np.ndarray,
        size: int,
        blocks: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
        made: Mapping[str, Any] | None = None,
    ) -> Compact:
        """The map that keeps most of the variance of some embeddings, each of their blocks counting by its weight.

        Every number is standardised, and divided by the root of how many its block has, so that 336 numbers on pitch
        weigh as much as 1,024 of an early stage, but for what the weights say. Components are then divided by the
        fourth root of their variance: otherwise the first few decide which sounds are near each other.

        Args:
            vectors: embeddings of many different sounds, (n, D).
            size: how many components, below n and at most D.
            blocks: lengths of the parts of an embedding, as a read-out has them; all of it is one where not given.
            weights: factor of the numbers of each block, above 0; 1 where not given.
            made: what the sounds are, for the record.

        Returns:
            The map. A number that never changes has no part in it; the sign of a component is such that its largest
            weight, the first of several, is positive.

        Raises:
            SoundalikeError: there are too few sounds or numbers for that size, or embeddings are not finite.

        Source: Pearson 1901, "On lines and planes of closest fit to systems of points in space"; blocks as in
        Escofier & Pagès 1994, "Multiple factor analysis", with their total variance in the place of their largest.
        """
        from scipy.linalg import eigh  # type: ignore[import-untyped]

        count, width = vectors.shape
        most = max(0, min(count - 1, width))
        if not 1 <= size <= most:
            raise SoundalikeError(
                f"size is {size}: {count} sounds with embeddings of {width} numbers allow 1 to {most} components."
            )
        if not np.isfinite(vectors).all():
            raise SoundalikeError("an embedding is not finite: nothing can be fitted to it.")
        mean = vectors.mean(0, dtype=np.float64)
        rows = vectors - mean  # (n, D), float64
        deviation = np.sqrt(np.square(rows).mean(0))
        varies = deviation > 1e-6 * np.abs(mean) + 1e-12  # what float32 makes of a constant does not count
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)
        blocks = [width] if blocks is None else blocks
        scale *= _shares(blocks, [1.0] * len(blocks) if weights is None else weights, varies)
        rows *= scale
        most = int(min(count - 1, varies.sum()))
        if size > most:
            raise SoundalikeError(f"size is {size}: only {most} numbers of these embeddings change; ask for fewer.")
        # the smaller one of the two matrices of products has the same eigenvalues but for zeros
        products = rows @ rows.T if count <= width else rows.T @ rows
        sums, directions = eigh(
            products, subset_by_index=(len(products) - size, len(products) - 1), overwrite_a=True, check_finite=False
        )
        components = directions[:, ::-1].T  # the largest first
        if count <= width:
            components = components @ rows
        components = components / np.maximum(np.linalg.norm(components, axis=1, keepdims=True), 1e-300)
        sizes = np.abs(components)
        place = (sizes >= (1 - 1e-6) * sizes.max(1, keepdims=True)).argmax(1)  # the first of those that are as large
        largest = np.take_along_axis(components, place[:, None], axis=1)
        variance = np.maximum(np.asarray(sums)[::-1, None] / count, 1e-9)  # rounding can make the last ones negative
        return cls(mean, scale, components * np.sign(largest) * np.power(variance, -_WHITENING), made)

    @property
    def size(self) -> int:
        """Numbers of a compact embedding."""
        return len(self.components)

    @property
    def width(self) -> int:
        """Numbers of a full embedding, D."""
        return self.components.shape[1]

    def arrays(self) -> dict[str, np.ndarray]:
        """What its constructor takes, by name."""
        return {"mean": self.mean, "scale": self.scale, "components": self.components}

    def first(self, size: int) -> Compact:
        """The map to the first few components.

        Raises:
            SoundalikeError: there are not as many.
        """
        if not 1 <= size <= self.size:
            raise SoundalikeError(
                f"a compact embedding of {size} numbers: this model has 1 to {self.size}; soundalike compact --size "
                f"makes others."
            )
        return Compact(self.mean, self.scale, self.components[:size], self.made)

    def halved(self) -> Compact:
        """The map as it is once its file in 16 bits is read."""
        return Compact(self.mean, self.scale, self.components.astype(np.float16), self.made)

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Compact embeddings (n, size) of embeddings (n, D), float32."""
        return ((np.asarray(vectors, np.float32) - self.mean) * self.scale) @ self.components.T


def _shares(blocks: Sequence[int], weights: Sequence[float], varies: np.ndarray) -> np.ndarray:
    """What numbers of variance 1 are multiplied by, (D,): the squares of a block then sum to its weight's square."""
    ends = np.cumsum(blocks)
    if ends[-1] != len(varies):
        raise ValueError(f"blocks of {ends[-1]} numbers, of an embedding of {len(varies)}")
    return np.concatenate(
        [
            np.full(length, weight / np.sqrt(max(1, int(varies[end - length : end].sum()))))
            for length, weight, end in zip(blocks, weights, ends, strict=True)
        ]
    )
