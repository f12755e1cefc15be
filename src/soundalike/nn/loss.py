"""Objectives: embeddings of two views, or what a head says of their classes, in; a loss to minimise out."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from soundalike.core.errors import SoundalikeError
from soundalike.nn.gather import gather


class Losses(NamedTuple):
    """What an objective returns.

    Attributes:
        loss: scalar to minimise; the same on every rank.
        parts: named scalars to log, without gradient.
    """

    loss: Tensor
    parts: dict[str, Tensor]


class Objective(nn.Module):
    """What every objective offers.

    Attributes:
        needs_labels: whether it asks for what the head says of classes, and for labels.
        knows_identities: whether ``forward`` takes ``identity``, so that pairs of one recording are not driven apart.
        takes_identities: whether it draws together all views of an identity that has more than two.
    """

    needs_labels = False
    knows_identities = False
    takes_identities = False

    def forward(
        self,
        first: Tensor,
        second: Tensor,
        logits: Tensor | None = None,
        label: Tensor | None = None,
        identity: Tensor | None = None,
    ) -> Losses:
        """The loss of a batch of pairs, gathered from all ranks.

        Args:
            first: ``(n, d)``, embeddings of the first views, of any length.
            second: ``(n, d)``, of the second views, in the same order.
            logits: ``(2n, classes)``, unnormalised log probabilities: of all first views, then of all second ones.
            label: number of the class of each pair, int64 ``(n,)``; -1 where it is not known.
            identity: what each pair is a take of, int64 ``(n,)``: pairs with the same number, such as two of one
                recording, are never driven apart. None where every pair is of another.

        Returns:
            The loss and its parts.

        Raises:
            SoundalikeError: shapes do not fit, or a batch is too small.
        """
        raise NotImplementedError


class AlignUniform(Objective):
    """Alignment of pairs and uniformity of all embeddings on the unit sphere.

    ``alignment = mean_i ||x_i - y_i||^alpha``; ``uniformity = log mean_{i<j} exp(-t ||x_i - x_j||²)``, as the
    mean of both views, over pairs of two identities.

    Source: Wang & Isola 2020, "Understanding contrastive representation learning through alignment and
    uniformity on the hypersphere" (arXiv 2005.10242), section 4.1.
    """

    knows_identities = True

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

    def forward(
        self,
        first: Tensor,
        second: Tensor,
        logits: Tensor | None = None,
        label: Tensor | None = None,
        identity: Tensor | None = None,
    ) -> Losses:
        """As `Objective.forward`; parts are ``alignment``, ``uniformity`` and ``top1`` (see ``top1``)."""
        x, y = _spheres(first, second)
        with torch.autocast(x.device.type, enabled=False):
            alignment = torch.linalg.vector_norm(x - y, dim=1).pow(self.alpha).mean()
            same = _same(identity, len(x))
            uniformity = (self._uniformity(x, same) + self._uniformity(y, same)) / 2
            loss = self.alignment_weight * alignment + self.uniformity_weight * uniformity
            parts = {"alignment": alignment.detach(), "uniformity": uniformity.detach(), "top1": top1(x, y)}
        return Losses(loss, parts)

    def _uniformity(self, x: Tensor, same: Tensor | None) -> Tensor:
        count = len(x)
        # On the unit sphere ||a - b||² = 2 - 2 a·b. Every pair stands in the matrix twice, and no one with
        # itself.
        potential = _without_diagonal(2 * self.t * (x @ x.T - 1))  # (n, n)
        if same is None:
            return potential.flatten().logsumexp(0) - math.log(count * (count - 1))
        others = (~same).sum()  # a view is of its own identity, so itself is left out too
        return potential.masked_fill(same, -torch.inf).flatten().logsumexp(0) - others.log()


class NTXent(Objective):
    """Normalised, temperature-scaled cross-entropy: each view has to find its partner among all others.

    A batch of N pairs gives each of its 2N views 2N - 1 others to choose from; if all embeddings are the
    same, the loss is ln(2N - 1).

    Source: Chen et al. 2020, "A simple framework for contrastive learning of visual representations" (arXiv
    2002.05709), equation 1.
    """

    name = "nt-xent"
    knows_identities = True

    def __init__(self, temperature: float = 0.5) -> None:
        """Choose the temperature.

        Args:
            temperature: what the cosine similarities are divided by, above 0.

        Raises:
            SoundalikeError: the temperature is not above 0.
        """
        super().__init__()
        if not temperature > 0:
            raise SoundalikeError(f"{self.name}: temperature is {temperature:g}; it must be above 0.")
        self.temperature = temperature

    def _similarity(self, x: Tensor, y: Tensor) -> Tensor:
        """Of each view to all others, over the temperature; -inf to itself: unit vectors (n, d) twice to (2n, 2n)."""
        both = torch.cat([x, y])  # (2n, d)
        return _without_diagonal(both @ both.T / self.temperature)

    def forward(
        self,
        first: Tensor,
        second: Tensor,
        logits: Tensor | None = None,
        label: Tensor | None = None,
        identity: Tensor | None = None,
    ) -> Losses:
        """As `Objective.forward`; its part is ``top1`` (see ``top1``)."""
        x, y = _spheres(first, second)
        with torch.autocast(x.device.type, enabled=False):
            similarity = self._similarity(x, y)
            same = _same(identity, len(x))
            if same is not None:  # what shows the same recording is neither partner nor other
                partners = torch.eye(len(x), dtype=torch.bool, device=x.device).repeat(2, 2)
                similarity = similarity.masked_fill(same.repeat(2, 2) & ~partners, -torch.inf)
            partner = torch.arange(len(similarity), device=x.device).roll(len(x))
            return Losses(functional.cross_entropy(similarity, partner), {"top1": top1(x, y)})


class MultiPositive(NTXent):
    """NT-Xent with several positives: each view has to find all other takes of its identity among all views.

    The loss of a view is the mean of -log softmax over its positives, and that of the batch the mean over its views.
    With two takes of each identity it is that of `NTXent`.

    Source: Khosla et al. 2020, "Supervised contrastive learning" (arXiv 2004.11362), equation 2, with takes of one
    identity in place of images of one class.
    """

    name = "multi-positive"
    takes_identities = True

    def forward(
        self,
        first: Tensor,
        second: Tensor,
        logits: Tensor | None = None,
        label: Tensor | None = None,
        identity: Tensor | None = None,
    ) -> Losses:
        """As `Objective.forward`; its part is ``top1`` (see ``top1``)."""
        x, y = _spheres(first, second)
        with torch.autocast(x.device.type, enabled=False):
            own = torch.arange(len(x), device=x.device) if identity is None else gather(identity)
            twice = torch.cat((own, own))
            similarity = self._similarity(x, y)
            positive = twice[:, None] == twice
            positive.fill_diagonal_(False)
            log_share = similarity - similarity.logsumexp(1, keepdim=True)
            mean = log_share.masked_fill(~positive, 0.0).sum(1) / positive.sum(1)
            return Losses(-mean.mean(), {"top1": top1(x, y)})


class Supervised(Objective):
    """Cross-entropy of both views of the pairs whose class is known: CE(first) + CE(second), each a mean over them.

    A pair without a label adds nothing; a batch in which no pair has one has a loss of 0.

    Source: Al-Tahan & Mohsenzadeh 2021, "CLAR: Contrastive learning of auditory representations" (arXiv 2010.09542).
    """

    needs_labels = True

    def __init__(self) -> None:
        """Take no settings, which a recipe is told by this signature."""
        super().__init__()

    def forward(
        self,
        first: Tensor,
        second: Tensor,
        logits: Tensor | None = None,
        label: Tensor | None = None,
        identity: Tensor | None = None,
    ) -> Losses:
        """As `Objective.forward`; parts are ``cross_entropy``, the mean of both views, and ``accuracy``."""
        if logits is None or label is None or logits.ndim != 2 or len(logits) != 2 * len(label):
            shapes = [None if x is None else tuple(x.shape) for x in (logits, label)]
            raise SoundalikeError(
                f"a supervised objective takes logits (2n, classes) and labels (n,), not {shapes[0]} and {shapes[1]}."
            )
        twice = torch.cat((label, label)).to(logits.device)
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
        known = (twice >= 0).to(precise.dtype)
        with torch.autocast(logits.device.type, enabled=False):
            each = functional.cross_entropy(precise, twice.clamp(min=0), reduction="none") * known  # (2n,)
            right = (logits.detach().argmax(1) == twice).to(precise.dtype)  # a label of -1 is never right
            # one message for all: sums over ranks that differ in how many labels they have
            total, count, hits = gather(torch.stack((each, known, right), dim=1)).sum(0).unbind()
            mean = total / count.detach().clamp(min=1.0)
        accuracy = hits / count.clamp(min=1.0)
        return Losses(2.0 * mean, {"cross_entropy": mean.detach(), "accuracy": accuracy.detach()})


class Joint(Objective):
    """CLAR's one training: NT-Xent of all pairs, and cross-entropy of both views of those whose class is known.

    Source: Al-Tahan & Mohsenzadeh 2021 (arXiv 2010.09542): NT-Xent + CE(first) + CE(second), weighted 1 : 1 : 1.
    """

    needs_labels = True
    knows_identities = True

    def __init__(
        self, temperature: float = 0.5, contrastive_weight: float = 1.0, supervised_weight: float = 1.0
    ) -> None:
        """Choose the temperature and the weights.

        Args:
            temperature: of `NTXent`, above 0.
            contrastive_weight: of NT-Xent in the loss, 0 or more.
            supervised_weight: of the two cross-entropies, 0 or more.

        Raises:
            SoundalikeError: a value outside its range.
        """
        super().__init__()
        weights = {"contrastive_weight": contrastive_weight, "supervised_weight": supervised_weight}
        for name, value in weights.items():
            if not value >= 0:
                raise SoundalikeError(f"joint: {name} is {value:g}; it must be 0 or more.")
        self.contrastive, self.supervised = NTXent(temperature), Supervised()
        self.contrastive_weight, self.supervised_weight = contrastive_weight, supervised_weight

    def forward(
        self,
        first: Tensor,
        second: Tensor,
        logits: Tensor | None = None,
        label: Tensor | None = None,
        identity: Tensor | None = None,
    ) -> Losses:
        """As `Objective.forward`; parts are ``contrastive`` and those of `NTXent` and `Supervised`."""
        contrastive = self.contrastive(first, second, identity=identity)
        supervised = self.supervised(first, second, logits, label)
        loss = self.contrastive_weight * contrastive.loss + self.supervised_weight * supervised.loss
        return Losses(loss, {"contrastive": contrastive.loss.detach(), **contrastive.parts, **supervised.parts})


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


def _same(identity: Tensor | None, count: int) -> Tensor | None:
    """Which pairs of all ranks are of one identity, bool (count, count); None where all are of others."""
    if identity is None:
        return None
    own = gather(identity)
    if len(own) != count:
        raise SoundalikeError(f"an objective takes an identity for each of {count} pairs, not {len(own)}.")
    return own[:, None] == own


def _without_diagonal(matrix: Tensor) -> Tensor:
    itself = torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)
    return matrix.masked_fill(itself, -torch.inf)


OBJECTIVES: dict[str, type[Objective]] = {
    "align-uniform": AlignUniform,
    "nt-xent": NTXent,
    "multi-positive": MultiPositive,
    "supervised": Supervised,
    "joint": Joint,
}
