"""Objectives and heads: embeddings of two views in, a loss to minimise out."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from soundalike.encoder import ResNet18, initialise
from soundalike.errors import SoundalikeError, nearest


class Losses(NamedTuple):
    """What an objective returns.

    Attributes:
        loss: scalar to minimise; the same on every rank.
        parts: named scalars to log, without gradient.
    """

    loss: Tensor
    parts: dict[str, Tensor]


class AlignUniform(nn.Module):
    """Alignment of pairs and uniformity of all embeddings on the unit sphere.

    ``alignment = mean_i ||x_i - y_i||^alpha``; ``uniformity = log mean_{i<j} exp(-t ||x_i - x_j||²)``, as the
    mean of both views.

    Source: Wang & Isola 2020, "Understanding contrastive representation learning through alignment and
    uniformity on the hypersphere" (arXiv 2005.10242), section 4.1.
    """

    def __init__(
        self,
        alignment_weight: float = 1.0,
        uniformity_weight: float = 1.0,
        alpha: float = 2.0,
        t: float = 2.0,
    ) -> None:
        """Choose weights and exponents.

        Args:
            alignment_weight: of the alignment in the loss, 0 or more.
            uniformity_weight: of the uniformity in the loss, 0 or more.
            alpha: power of the distance within a pair, above 0.
            t: how quickly the repulsion falls with the squared distance, above 0.

        Raises:
            SoundalikeError: a value outside its range.
        """
        super().__init__()
        for name, value in (("alignment_weight", alignment_weight), ("uniformity_weight", uniformity_weight)):
            if not value >= 0:
                raise SoundalikeError(f"align-uniform: {name} is {value:g}; it must be 0 or more.")
        for name, value in (("alpha", alpha), ("t", t)):
            if not value > 0:
                raise SoundalikeError(f"align-uniform: {name} is {value:g}; it must be above 0.")
        self.alignment_weight = alignment_weight
        self.uniformity_weight = uniformity_weight
        self.alpha = alpha
        self.t = t

    def forward(self, first: Tensor, second: Tensor) -> Losses:
        """The loss of a batch of pairs, gathered from all ranks.

        Args:
            first: ``(n, d)``, embeddings of the first views, of any length.
            second: ``(n, d)``, of the second views, in the same order.

        Returns:
            The loss and its parts ``alignment``, ``uniformity`` and ``top1`` (see ``top1``).

        Raises:
            SoundalikeError: fewer than two pairs on all ranks together, or shapes that differ.
        """
        x, y = _spheres(first, second)
        with torch.autocast(x.device.type, enabled=False):
            alignment = torch.linalg.vector_norm(x - y, dim=1).pow(self.alpha).mean()
            uniformity = (self._uniformity(x) + self._uniformity(y)) / 2
            loss = self.alignment_weight * alignment + self.uniformity_weight * uniformity
            parts = {"alignment": alignment.detach(), "uniformity": uniformity.detach(), "top1": top1(x, y)}
        return Losses(loss, parts)

    def _uniformity(self, x: Tensor) -> Tensor:
        count = len(x)
        # On the unit sphere ||a - b||² = 2 - 2 a·b. Every pair stands in the matrix twice, and no one with
        # itself.
        potential = _without_diagonal(2 * self.t * (x @ x.T - 1))  # (n, n)
        return potential.flatten().logsumexp(0) - math.log(count * (count - 1))


class NTXent(nn.Module):
    """Normalised, temperature-scaled cross-entropy: each view has to find its partner among all others.

    A batch of N pairs gives each of its 2N views 2N - 1 others to choose from; if all embeddings are the
    same, the loss is ln(2N - 1).

    Source: Chen et al. 2020, "A simple framework for contrastive learning of visual representations" (arXiv
    2002.05709), equation 1.
    """

    def __init__(self, temperature: float = 0.5) -> None:
        """Choose the temperature.

        Args:
            temperature: what the cosine similarities are divided by, above 0.

        Raises:
            SoundalikeError: the temperature is not above 0.
        """
        super().__init__()
        if not temperature > 0:
            raise SoundalikeError(f"nt-xent: temperature is {temperature:g}; it must be above 0.")
        self.temperature = temperature

    def forward(self, first: Tensor, second: Tensor) -> Losses:
        """The loss of a batch of pairs, gathered from all ranks.

        Args:
            first: ``(n, d)``, embeddings of the first views, of any length.
            second: ``(n, d)``, of the second views, in the same order.

        Returns:
            The loss and its part ``top1`` (see ``top1``).

        Raises:
            SoundalikeError: fewer than two pairs on all ranks together, or shapes that differ.
        """
        x, y = _spheres(first, second)
        with torch.autocast(x.device.type, enabled=False):
            both = torch.cat([x, y])  # (2n, d)
            similarity = _without_diagonal(both @ both.T / self.temperature)  # (2n, 2n)
            partner = torch.arange(len(both), device=both.device).roll(len(x))
            return Losses(functional.cross_entropy(similarity, partner), {"top1": top1(x, y)})


@torch.no_grad()
def top1(x: Tensor, y: Tensor) -> Tensor:
    """Share of first views whose own second view is the nearest of all second views; chance is 1 / n.

    Args:
        x: ``(n, d)``, unit vectors of the first views.
        y: ``(n, d)``, of the second views.

    Returns:
        Scalar in [0, 1].
    """
    nearest = (x @ y.T).argmax(1)
    return (nearest == torch.arange(len(x), device=x.device)).float().mean()


def gather(x: Tensor) -> Tensor:
    """Stack the tensors of all ranks, in the order of ranks; gradients flow back to where each came from.

    The gradient of a rank's part is the sum of what all ranks have computed for it. When every rank
    computes the same loss of the gathered batch, that is world-size times the gradient of the loss, and
    DDP's mean over ranks makes it exactly the gradient of one process that holds the whole batch.

    Args:
        x: ``(n, ...)``, of the same shape on every rank.

    Returns:
        ``(world size * n, ...)``; ``x`` itself where there is one process.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return x
    gathered: Tensor = _Gather.apply(x)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.count = len(x)
        parts = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        start = distributed.get_rank() * ctx.count
        return total[start : start + ctx.count]


def _spheres(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Check, scale to unit length in float32 and gather."""
    if first.ndim != 2 or first.shape != second.shape:
        raise SoundalikeError(
            f"an objective takes two batches of embeddings of one shape (n, d), not {tuple(first.shape)} and "
            f"{tuple(second.shape)}."
        )
    precision = torch.promote_types(first.dtype, torch.float32)
    both = torch.stack([first.to(precision), second.to(precision)], dim=1)  # (n, 2, d): one message, not two
    x, y = gather(functional.normalize(both, dim=-1)).unbind(1)
    if len(x) < 2:
        raise SoundalikeError("a contrastive objective needs at least 2 pairs in a batch, or nothing is different.")
    return x, y


def _without_diagonal(matrix: Tensor) -> Tensor:
    itself = torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)
    return matrix.masked_fill(itself, -torch.inf)


EVERY = ("clip", "moment")


class Head(nn.Module):
    """What every head offers: the way from the encoder's output to what the objective compares.

    Attributes:
        every: ``clip`` where the objective compares whole clips; ``moment`` where it compares each moment of a view
            with the same moment of the other, and tells it from all other moments of all sounds, its own among them.
        size: of what the objective sees.
    """

    def __init__(self, every: str, size: int) -> None:
        """Take over what every head has.

        Args:
            every: one of ``EVERY``.
            size: of what the objective sees.

        Raises:
            SoundalikeError: every is neither.
        """
        super().__init__()
        if every not in EVERY:
            raise SoundalikeError(f"head: every is {every!r}: {nearest(str(every), EVERY)}")
        self.every = every
        self.size = size

    def read(self, encoder: ResNet18, x: Tensor) -> Tensor:
        """What the objective sees of a batch of features ``(n, ...)``: ``(n, size)``, or ``(n * moments, size)``."""
        projected: Tensor = self(encoder.moments(x).flatten(0, 1) if self.every == "moment" else encoder(x))
        return projected


class Identity(Head):
    """No head: the objective sees the encoder's output, as in the published doppelgängers run."""

    def __init__(self, size_in: int, every: str = "clip") -> None:
        """Take over the size.

        Args:
            size_in: of the encoder's output.
            every: ``clip`` or ``moment``, as in `Head`.

        Raises:
            SoundalikeError: every is neither.
        """
        super().__init__(every, size_in)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input."""
        return x


class Projection(Head):
    """A perceptron whose output the objective sees, with batch normalisation and ReLU between its layers.

    Source: Chen et al. 2020 (arXiv 2002.05709), section 2.1; three layers are CLAR's
    (arXiv 2010.09542).
    """

    def __init__(
        self,
        size_in: int,
        hidden: int = 512,
        size: int = 128,
        layers: int = 2,
        every: str = "clip",
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the head with random weights.

        Args:
            size_in: of the encoder's output.
            hidden: of every layer but the last.
            size: of the output.
            layers: number of linear layers.
            every: ``clip`` or ``moment``, as in `Head`.
            generator: of the random weights, on the CPU; None for a fresh one with seed 0.

        Raises:
            SoundalikeError: a value outside its range.
        """
        super().__init__(every, size)
        for name, value in (("size_in", size_in), ("hidden", hidden), ("size", size), ("layers", layers)):
            if value < 1:
                raise SoundalikeError(f"projection: {name} is {value}; it must be at least 1.")
        sizes = [size_in, *[hidden] * (layers - 1), size]
        parts: list[nn.Module] = []
        for below, here in itertools.pairwise(sizes[:-1]):
            # Without a bias, which the normalisation would take away again.
            parts += [
                nn.utils.skip_init(nn.Linear, below, here, bias=False),
                nn.BatchNorm1d(here),
                nn.ReLU(),
            ]
        parts.append(nn.utils.skip_init(nn.Linear, sizes[-2], sizes[-1]))
        self.network = nn.Sequential(*parts)
        initialise(self, generator)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, size_in)`` to ``(n, size)``."""
        projected: Tensor = self.network(x)
        return projected


OBJECTIVES: dict[str, type[AlignUniform] | type[NTXent]] = {"align-uniform": AlignUniform, "nt-xent": NTXent}
HEADS: dict[str, type[Identity] | type[Projection]] = {"identity": Identity, "projection": Projection}
