"""Target prediction: what a synthesizer knows of its sounds, read from the encoder's last stage by linear layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.nn.encoder import ResNet18, initialise
from soundalike.nn.frontend import FrontEnd
from soundalike.nn.loss import Losses
from soundalike.synth.targets import STEP_SECONDS, Target, TargetSpec

FRAMES_A_STEP = 8


class TargetPrediction(nn.Module):
    """A linear layer for the targets of every step, one for those of the whole sound, and how wrong they are.

    A synthesizer knows what it plays. A view in which another sound is mixed asks the encoder to tell the two apart.

    The loss of a target is a mean over the steps, or sounds, where its mask holds: of squared errors of numbers, in
    units of the target's spread, or of the cross-entropy of its classes.

    Attributes:
        specs: what is predicted.
        weights: weight of each target's loss, by name.
    """

    def __init__(
        self,
        encoder: ResNet18,
        frontend: FrontEnd,
        specs: Sequence[TargetSpec],
        weights: float | Mapping[str, float] = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the layers with random weights.

        Args:
            encoder: encoder in two dimensions.
            frontend: front end whose features it gets.
            specs: targets that there are.
            weights: weight of every target's loss beside the objective's, 0 or more; or one for each by its name, and
                0 for those that are not named. A target of weight 0 is not predicted.
            generator: generator of the random weights, on the CPU; None for a fresh one with seed 0.

        Raises:
            SoundalikeError: a weight is out of its range, a target is unknown, or the front end's frames do not fit.
        """
        super().__init__()
        names = [spec.name for spec in specs]
        named = dict(weights) if isinstance(weights, Mapping) else dict.fromkeys(names, float(weights))
        for name, weight in named.items():
            if name not in names:
                raise SoundalikeError(f"training.targets names {name!r}: {nearest(name, names)}")
            if not 0 <= weight < math.inf:
                raise SoundalikeError(f"training.targets: the weight of {name} is {weight:g}; it must be 0 or more.")
        samples = STEP_SECONDS * frontend.sample_rate
        if frontend.bands is None or frontend.hop_samples * FRAMES_A_STEP != round(samples):
            raise SoundalikeError(
                "training.targets: it needs spectra with a frame every 10 ms: give --frontend logmel, or --targets 0."
            )
        self.specs = tuple(spec for spec in specs if named.get(spec.name, 0.0) > 0)
        self.weights = {spec.name: named[spec.name] for spec in self.specs}
        self.of_frames = tuple(spec for spec in self.specs if spec.per == "frame")
        self.of_sounds = tuple(spec for spec in self.specs if spec.per == "sound")
        stride = encoder.strides[-1]
        self.together = max(1, FRAMES_A_STEP // stride)  # outputs a step
        self.steps = max(1, stride // FRAMES_A_STEP)  # steps an output
        heights = math.ceil(frontend.bands / encoder.band_strides[-1])
        inputs = encoder.widths[-1] * heights
        self.frame_layer = _layer(inputs, self.steps * sum(spec.outputs for spec in self.of_frames))
        self.sound_layer = _layer(inputs, sum(spec.outputs for spec in self.of_sounds))
        initialise(self, generator)

    def forward(self, last: Tensor) -> dict[str, Tensor]:
        """The predicted targets.

        Args:
            last: what the encoder's last stage made of n sounds, ``(n, channels, T, bands)``.

        Returns:
            For each target by its name ``(n, steps, outputs)``, or ``(n, outputs)`` where it is of the whole sound.
        """
        predicted: dict[str, Tensor] = {}
        if self.frame_layer is not None:
            of_steps = functional.avg_pool2d(last, (self.together, 1)) if self.together > 1 else last
            rows = self.frame_layer(of_steps.transpose(1, 2).flatten(2))  # (n, outputs, steps of one * numbers)
            steps = rows.unflatten(2, (self.steps, -1)).flatten(1, 2)
            steps = steps[:, self.steps // 2 :]  # an output stands in the middle of its steps
            sizes = [spec.outputs for spec in self.of_frames]
            predicted |= zip((spec.name for spec in self.of_frames), steps.split(sizes, dim=2), strict=True)
        if self.sound_layer is not None:
            row = self.sound_layer(last.mean(2).flatten(1))  # (n, numbers)
            sizes = [spec.outputs for spec in self.of_sounds]
            predicted |= zip((spec.name for spec in self.of_sounds), row.split(sizes, dim=1), strict=True)
        return predicted

    def loss(self, last: Tensor, targets: Mapping[str, Target]) -> Losses:
        """How wrong the predictions are.

        Args:
            last: what the encoder's last stage made of n sounds.
            targets: what is known of them.

        Returns:
            The weighted sum of the losses of all targets, and each of them unweighted by its name.
        """
        predicted = self(last)
        parts = {spec.name: _loss(spec, predicted[spec.name].float(), targets[spec.name]) for spec in self.specs}
        total = torch.stack([self.weights[name] * loss for name, loss in parts.items()]).sum()
        return Losses(total, {name: loss.detach() for name, loss in parts.items()})


def _loss(spec: TargetSpec, predicted: Tensor, target: Target) -> Tensor:
    """The mean loss of one target over where its mask holds: predicted (n, [steps,] outputs)."""
    value, mask = target
    if spec.per == "frame":
        steps = min(predicted.shape[1], value.shape[1])
        predicted, value, mask = predicted[:, :steps], value[:, :steps], mask[:, :steps]
    if spec.shares:
        each = -(value.float() * functional.log_softmax(predicted, dim=-1)).sum(-1)
    elif spec.classes:
        each = functional.cross_entropy(predicted.movedim(-1, 1), value, reduction="none")
    else:
        each = (predicted - (value.float() - spec.centre) / spec.spread).square().mean(-1)
    return (each * mask).sum() / mask.sum().clamp(min=1)


def _layer(inputs: int, outputs: int) -> nn.Linear | None:
    # uninitialised on purpose: the usual constructor draws from the global random state
    return nn.utils.skip_init(nn.Linear, inputs, outputs) if outputs else None
