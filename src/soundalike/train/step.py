"""One training step as a Lightning module: sounds made or read on the spot, two views, one loss."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from soundalike.core.errors import SoundalikeError
from soundalike.data.training_clips import TrainingClips
from soundalike.model.recipe import Recipe
from soundalike.nn.head import Head
from soundalike.nn.loss import Losses
from soundalike.synth.targets import Target, together
from soundalike.views.view import HELD_OUT, step_indices

PAIRS_AT_ONCE, PAIRS_AT_ONCE_ON_GPU = 128, 2048
"""Pairs rendered and turned into features at once: spectra of a whole large batch would be gigabytes."""


class Learner(LightningModule):
    """Trains the encoder of a recipe.

    Which sounds a step sees is a function of (seed, step, rank), so there is no data set and no generator: a batch
    is just its number, and a run that goes on after an interruption meets the sounds it would have met.

    Args:
        recipe: what to train, and how.
        clips: what the recipe's ``recordings`` section has opened, where it has one.

    Raises:
        SoundalikeError: the recipe's parts do not fit together, or it hears recordings and there are none.
    """

    def __init__(self, recipe: Recipe, clips: TrainingClips | None = None) -> None:
        super().__init__()
        parts = recipe.build(clips=clips)
        if parts.views is None or parts.head is None:
            raise SoundalikeError(f"recipe {recipe.name} hears recordings: open them first.")
        self.recipe, self.parts = recipe, parts
        self.training_settings = recipe.training.counted(parts.views.pairs_per_epoch)
        self.views, self.frontend, self.head, self.objective = parts.views, parts.frontend, parts.head, parts.objective
        self.encoder, self.prediction = parts.encoder, parts.prediction
        self.heads = torch.nn.ModuleDict(dict(parts.heads))
        self.clock = Clock()
        self._metrics: dict[str, float] = {}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser of the recipe."""
        trained = (part for part in (self.encoder, self.head, self.prediction, self.heads) if part is not None)
        return self.training_settings.make_optimizer([weight for part in trained for weight in part.parameters()])

    def progress(self) -> float:
        """How much of the run is done, in [0, 1]."""
        return self.training_settings.progress(self.global_step, self.clock.seconds(), self.trainer.world_size)

    def on_train_start(self) -> None:
        """Starts the clock that a length in minutes is measured with."""
        self.clock.start()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Sets the learning rate of the step."""
        rate = self.training_settings.rate(self.progress(), self.trainer.world_size)
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = rate

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of the step's pairs."""
        loss, parts = self.loss(self._indices(self.global_step))
        # filled in on the device: the engine would copy a number there, and wait for the copy, in every step
        rate = torch.full((), self._rate(), device=self.device)
        self.log_dict({"loss": loss.detach(), **parts, "learning_rate": rate})
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """The loss of held-out pairs, the same ones every time."""
        loss, parts = self.loss(HELD_OUT + self._indices(batch_idx))
        values = {f"held_out/{name}": value for name, value in {"loss": loss, **parts}.items()}
        self.log_dict(values, sync_dist=True, batch_size=self.training_settings.batch_size)

    def _indices(self, step: int) -> Tensor:
        trainer = self.trainer
        return step_indices(step, trainer.global_rank, trainer.world_size, self.training_settings.batch_size)

    @property
    def pairs_at_once(self) -> int:
        """Pairs that are rendered and turned into features at once, where a batch has more."""
        return PAIRS_AT_ONCE if self.device.type == "cpu" else PAIRS_AT_ONCE_ON_GPU

    @torch.no_grad()
    def inputs(self, indices: Tensor) -> Inputs:
        """What a step is computed from: the features of pairs, and what is known of them.

        Args:
            indices: indices of the pairs, int64 (n,).

        Returns:
            Features, labels, identities and targets.
        """
        firsts, seconds, targets, seed = [], [], [], self.training_settings.seed
        labels: list[Tensor] = []
        identities: list[Tensor] = []
        with torch.autocast(self.device.type, enabled=False):
            for some in indices.split(self.pairs_at_once):
                batch = self.views.batch(seed, some, targets=self.prediction is not None)
                features = self.frontend(torch.cat((batch.first, batch.second)))  # (2n, 1, 96, 64)
                first, second = self.views.augmented_features(features, seed, some).chunk(2)
                firsts.append(first)
                seconds.append(second)
                targets.append(batch.targets)
                for known, kept in ((batch.label, labels), (batch.identity, identities)):
                    if known is not None:
                        kept.append(known.to(self.device))
        label, identity = (torch.cat(kept) if kept else None for kept in (labels, identities))
        both = torch.cat((*firsts, *seconds))
        identical = None
        if self.views.names_identities:  # a synthesizer's two views of a patch never are
            first, second = both.flatten(1).chunk(2)
            identical = (first == second).all(1).float().mean()
        return Inputs(both, label, identity, together(targets), identical)

    def loss(self, indices: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the pairs with these indices (n,), and its parts."""
        inputs = self.inputs(indices)
        last = self.encoder.stages(inputs.features)[-1]
        loss, parts = self._contrast(last, inputs, indices)
        if self.prediction is not None:
            of_targets, more = self.prediction.loss(last, inputs.targets)
            parts = {**parts, "targets": of_targets.detach(), **more}
            loss = loss + of_targets
        if inputs.identical is not None:
            parts = {**parts, "identical": inputs.identical}
        return loss, parts

    def _contrast(self, last: Tensor, inputs: Inputs, indices: Tensor) -> Losses:
        """What the objective says of the last stage (2n, …); families with a head of their own are compared apart."""
        if not self.heads:
            return self._objective(self.head, last, inputs.label, inputs.identity)
        family, own = self.views.family_of(indices), dict(self.heads.items())
        heads = [own.get(name, self.head) for name in self.views.families]
        found: list[tuple[float, Losses]] = []
        for head in dict.fromkeys(heads):
            rows = torch.tensor([each is head for each in heads])[family].nonzero()[:, 0]
            if not len(rows):
                continue
            assert isinstance(head, Head)
            if len(rows) == len(indices):  # on a GPU nothing has to be copied there
                return self._objective(head, last, inputs.label, inputs.identity)
            rows = rows.to(last.device)
            label, identity = (None if each is None else each[rows] for each in (inputs.label, inputs.identity))
            some = last[torch.cat((rows, rows + len(indices)))]
            found.append((len(rows) / len(indices), self._objective(head, some, label, identity)))
        loss = torch.stack([share * each.loss for share, each in found]).sum()
        parts = {
            name: torch.stack([share * each.parts[name] for share, each in found]).sum() for name in found[0][1].parts
        }
        return Losses(loss, parts)

    def _objective(self, head: Head, last: Tensor, label: Tensor | None, identity: Tensor | None) -> Losses:
        outputs = head.read(self.encoder, last)  # (2n, size), or (2n * frames, size)
        logits = head.classify(outputs) if self.objective.needs_labels else None
        frames = len(outputs) // len(last)
        if identity is not None and frames > 1:  # a frame's positives are the same frames of the other takes
            identity = (identity[:, None] * frames + torch.arange(frames, device=identity.device)).flatten()
        own = {"identity": identity} if self.objective.knows_identities else {}
        losses: Losses = self.objective(*outputs.chunk(2), logits, label, **own)
        return losses

    def _rate(self) -> float:
        return float(self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the recipe, the time spent and the last measurements beside the weights."""
        checkpoint["soundalike"] = {
            "recipe": self.recipe.to_dict(),
            "seconds": self.clock.seconds(),
            "metrics": self.metrics(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes up the clock and the measurements where the checkpoint left them."""
        self.clock = Clock(float(checkpoint["soundalike"]["seconds"]))
        self._metrics = dict(checkpoint["soundalike"]["metrics"])

    def metrics(self) -> dict[str, float]:
        """The last value of everything that was measured, in this sitting of the run or an earlier one."""
        return self._metrics | {name: float(value) for name, value in self.trainer.callback_metrics.items()}


class Inputs(NamedTuple):
    """What a step is computed from, for n pairs."""

    features: Tensor
    """Of every first view, then of every second (2n, …)."""
    label: Tensor | None
    """As `Batch` has it, where any pair has one."""
    identity: Tensor | None
    """As `Batch` has it."""
    targets: dict[str, Target]
    """Of the same 2n views, where they are predicted."""
    identical: Tensor | None = None
    """Part of the pairs whose views have the same features, where views are of recordings."""


class Clock:
    """Seconds of training, over all sittings of a run.

    Args:
        before: seconds of earlier sittings.
    """

    def __init__(self, before: float = 0.0) -> None:
        self._before = before
        self._started: float | None = None

    def start(self) -> None:
        """Starts counting."""
        self._started = time.monotonic()

    def seconds(self) -> float:
        """Seconds counted so far."""
        return self._before + (0.0 if self._started is None else time.monotonic() - self._started)
