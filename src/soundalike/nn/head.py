"""Heads: between the encoder's output and what an objective sees."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.nn.batch_norm import BatchNorm1d
from soundalike.nn.encoder import ResNet18, initialise, uninitialised

LOSSES = ("clip", "frame")
MOST_LAYERS = 64


class Head(nn.Module):
    """What every head offers: the way from the encoder's output to what the objective compares.

    Attributes:
        loss: ``clip`` where the objective compares whole clips; ``frame`` where it compares each frame of a view, a
            third of a second, with the same frame of the other, and all other frames of all sounds are negatives.
        size: of what the objective sees.
        classes: how many classes it can tell; 0 where it knows of none.
    """

    classes = 0

    def __init__(self, loss: str, size: int) -> None:
        """Take over what every head has.

        Args:
            loss: one of ``LOSSES``.
            size: of what the objective sees.

        Raises:
            SoundalikeError: loss is neither.
        """
        super().__init__()
        if loss not in LOSSES:
            raise SoundalikeError(f"head: loss is {loss!r}: {nearest(str(loss), LOSSES)}")
        self.loss = loss
        self.size = size

    def classify(self, projected: Tensor) -> Tensor:
        """What the head says of classes: its own output ``(n, size)`` to logits ``(n, classes)``.

        Raises:
            SoundalikeError: it knows of none.
        """
        raise SoundalikeError("this head knows of no classes; give --head classifier or --head joint.")

    def read(self, encoder: ResNet18, last: Tensor) -> Tensor:
        """What the objective sees of a batch.

        Args:
            encoder: that heard it.
            last: what its last stage made of the batch.

        Returns:
            ``(n, size)``, or ``(n * frames, size)``.
        """
        output = encoder.frames(last).flatten(0, 1) if self.loss == "frame" else encoder.vector(last)
        projected: Tensor = self(output)
        return projected


class Identity(Head):
    """No head: the objective sees the encoder's output, as in the published doppelgängers run."""

    def __init__(self, size_in: int, loss: str = "clip") -> None:
        """Take over the size.

        Args:
            size_in: of the encoder's output.
            loss: ``clip`` or ``frame``, as in `Head`.

        Raises:
            SoundalikeError: loss is neither.
        """
        super().__init__(loss, size_in)

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
        loss: str = "clip",
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the head with random weights.

        Args:
            size_in: of the encoder's output.
            hidden: of every layer but the last.
            size: of the output.
            layers: number of linear layers.
            loss: ``clip`` or ``frame``, as in `Head`.
            generator: of the random weights, on the CPU; None for a fresh one with seed 0.

        Raises:
            SoundalikeError: a value outside its range.
        """
        super().__init__(loss, size)
        for name, value in (("size_in", size_in), ("hidden", hidden), ("size", size), ("layers", layers)):
            if value < 1:
                raise SoundalikeError(f"projection: {name} is {value}; it must be at least 1.")
        if layers > MOST_LAYERS:
            raise SoundalikeError(f"projection: layers is {layers}; it must be at most {MOST_LAYERS}.")
        sizes = [size_in, *[hidden] * (layers - 1), size]
        parts: list[nn.Module] = []
        for below, here in itertools.pairwise(sizes[:-1]):
            # Without a bias, which the normalisation would take away again.
            parts += [
                uninitialised(nn.Linear, below, here, bias=False),
                BatchNorm1d(here),
                nn.ReLU(),
            ]
        parts.append(uninitialised(nn.Linear, sizes[-2], sizes[-1]))
        self.network = nn.Sequential(*parts)
        initialise(self, generator)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, size_in)`` to ``(n, size)``."""
        projected: Tensor = self.network(x)
        return projected


class Classifier(Projection):
    """A perceptron whose output are the logits of classes: CLAR's supervised head.

    Source: Al-Tahan & Mohsenzadeh 2021 (arXiv 2010.09542): the projection head with a last layer for classes.
    """

    def __init__(
        self,
        size_in: int,
        classes: int,
        hidden: int = 512,
        layers: int = 3,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the head with random weights.

        Args:
            size_in: of the encoder's output.
            classes: how many, at least 2.
            hidden: of every layer but the last.
            layers: number of linear layers; 1 is a linear classifier.
            generator: as in `Projection`.

        Raises:
            SoundalikeError: a value outside its range.
        """
        _check_classes("classifier", classes)
        super().__init__(size_in, hidden, classes, layers, generator=generator)
        self.classes = classes

    def classify(self, projected: Tensor) -> Tensor:
        """The output itself."""
        return projected


class JointHead(Projection):
    """CLAR's head for both losses: a projection for the contrastive one, and classes read from it.

    Source: Al-Tahan & Mohsenzadeh 2021 (arXiv 2010.09542): to 128 numbers for the contrastive loss, then batch
    normalisation, ReLU and a linear layer to classes for cross-entropy.
    """

    def __init__(
        self,
        size_in: int,
        classes: int,
        hidden: int = 512,
        size: int = 128,
        layers: int = 3,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the head with random weights.

        Args:
            size_in: of the encoder's output.
            classes: how many, at least 2.
            hidden: of every layer but the last.
            size: of what the contrastive loss sees.
            layers: number of linear layers before it.
            generator: as in `Projection`.

        Raises:
            SoundalikeError: a value outside its range.
        """
        _check_classes("joint head", classes)
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        super().__init__(size_in, hidden, size, layers, generator=generator)
        self.classes = classes
        self.classifier = nn.Sequential(BatchNorm1d(size), nn.ReLU(), uninitialised(nn.Linear, size, classes))
        initialise(self.classifier, generator)

    def classify(self, projected: Tensor) -> Tensor:
        """``(n, size)`` to ``(n, classes)``."""
        logits: Tensor = self.classifier(projected)
        return logits


def _check_classes(name: str, classes: int) -> None:
    if classes < 2:
        raise SoundalikeError(f"{name}: classes is {classes}; recordings of at least 2 classes are needed.")


HEADS: dict[str, type[Head]] = {
    "identity": Identity,
    "projection": Projection,
    "classifier": Classifier,
    "joint": JointHead,
}
