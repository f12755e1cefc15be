"""Prediction: what is to be heard in a synthetic sound, read step by step from the encoder's last stage."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from soundalike.core.errors import SoundalikeError
from soundalike.nn.encoder import ResNet18, initialise
from soundalike.nn.frontend import FrontEnd
from soundalike.nn.loss import Losses
from soundalike.synth.truth import SIZE, STEP_SECONDS, Truth


class Prediction(nn.Module):
    """A linear layer behind the encoder's last stage that says what is to be heard at each step, and how wrong it is.

    A synthesizer knows what it plays: how loud each band is without what else sounds, and at which pitches. A view in
    which another sound is mixed asks the encoder to tell the two apart.

    The loss is the sum of two means over steps: of squared errors of the spectrum, in units of 20 dB, and of the
    cross-entropy of the sources.

    Attributes:
        weight: of this loss beside the objective's.
    """

    def __init__(
        self, encoder: ResNet18, frontend: FrontEnd, weight: float = 1.0, generator: torch.Generator | None = None
    ) -> None:
        """Build the layer with random weights.

        Args:
            encoder: in two dimensions.
            frontend: whose features it hears.
            weight: of this loss beside the objective's, above 0.
            generator: of the random weights, on the CPU; None for a fresh one with seed 0.

        Raises:
            SoundalikeError: the weight is not above 0, or the front end's frames do not fit the steps.
        """
        super().__init__()
        if not 0 < weight < math.inf:
            raise SoundalikeError(f"prediction: weight is {weight:g}; it must be above 0.")
        samples = STEP_SECONDS * frontend.sample_rate
        if frontend.bands is None or frontend.hop_samples * 8 != round(samples):
            raise SoundalikeError(
                "prediction: it needs spectra with a frame every 10 ms: give --frontend logmel, or leave it out."
            )
        self.weight = weight
        stride = encoder.strides[-1]
        self.together, self.steps = max(1, 8 // stride), max(1, stride // 8)  # outputs a step; steps an output
        heights = math.ceil(frontend.bands / encoder.band_strides[-1])
        self.linear = nn.utils.skip_init(nn.Linear, encoder.widths[-1] * heights, self.steps * SIZE)
        initialise(self, generator)

    def forward(self, last: Tensor) -> Tensor:
        """What is said of each step: outputs of the last stage ``(n, channels, T, bands)`` to ``(n, steps, SIZE)``."""
        if self.together > 1:
            last = functional.avg_pool2d(last, (self.together, 1))
        said: Tensor = self.linear(last.transpose(1, 2).flatten(2))  # (n, outputs, steps of one * SIZE)
        steps = said.unflatten(2, (self.steps, SIZE)).flatten(1, 2)
        return steps[:, self.steps // 2 :]  # an output stands in the middle of its steps

    def loss(self, last: Tensor, heard: Truth) -> Losses:
        """How wrong it is.

        Args:
            last: what the encoder's last stage made of n sounds.
            heard: what is to be heard in them.

        Returns:
            The loss, unweighted, and its two parts.
        """
        said = self(last).float()
        steps = min(said.shape[1], heard.spectrum.shape[1])
        spectrum, sources = Truth.unpack(said[:, :steps])
        true = Truth(*(field[:, :steps].float() for field in heard))
        wrong = (spectrum - (true.spectrum + 60.0) / 20.0).square().mean()
        surprise = -(true.sources * functional.log_softmax(sources, dim=2)).sum(2).mean()
        return Losses(wrong + surprise, {"spectrum": wrong.detach(), "sources": surprise.detach()})
