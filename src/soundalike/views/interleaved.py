"""Several sources of views as one: their pairs are interleaved, and what only some of them know is masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import ModuleDict

from soundalike.core.errors import SoundalikeError
from soundalike.synth import Synthesizer
from soundalike.synth.targets import Target, TargetSpec, unknown
from soundalike.views.interleave import Interleave
from soundalike.views.view import HELD_OUT, Batch, Views, in_a_row, on_device


class _Part(NamedTuple):
    """The pairs of a batch that come from one source."""

    source: int
    """Index of the source."""
    views: Views
    rows: Tensor
    """Which pairs of the batch they are, int64 (k,), on the CPU."""
    indices: Tensor
    """Their indices in the source's own stream, int64 (k,), on the CPU."""


class InterleavedViews(Views):
    """Pairs of several sources.

    Pair k comes from a source that is a function of k alone, and each source is met in its own order without gaps, so
    that pairs are counted as `Views` says.

    Args:
        sources: the sources by name.
        interleave: which source each pair comes from, in the order of ``sources``.
        sample_rate: of the audio, in Hz.
        samples: length of a view; that of the longest source where not given. Shorter sounds are filled up with
            zeros, longer ones are cut.

    Raises:
        SoundalikeError: sounds of voices differ in length, or two voices declare different targets by one name.
    """

    schedule: Tensor

    def __init__(
        self, sources: Mapping[str, Views], interleave: Interleave, sample_rate: int, samples: int | None = None
    ) -> None:
        super().__init__(sample_rate, None, None, (0, 0, 0, 0))
        self.sources: dict[str, Views] = dict(sources)
        self.members = ModuleDict(self.sources)
        self.takes = max(views.takes for views in self.sources.values())
        self.names_identities = any(views.names_identities for views in self.sources.values())
        self.interleave = interleave
        self._specs: dict[str, TargetSpec] = {}
        lengths: dict[str, int] = {}
        for name, views in self.sources.items():
            for spec in views.target_specs:
                if self._specs.setdefault(spec.name, spec) != spec:
                    raise SoundalikeError(f"views: {name} and another family differ in their target {spec.name!r}.")
            if views.voices:
                lengths[name] = views.voices[0].samples
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} {length / sample_rate:g} s" for name, length in lengths.items())
            raise SoundalikeError(f"views: the sounds of all voices of a run have one length, not {said}.")
        length = next(iter(lengths.values()), 0)
        self.seconds = length / sample_rate
        self.samples = samples or length
        self.register_buffer("schedule", interleave.schedule, persistent=False)

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the sources."""
        return tuple(self.sources)

    @property
    def voices(self) -> tuple[Synthesizer, ...]:
        """The voices of all sources."""
        return tuple(voice for views in self.sources.values() for voice in views.voices)

    @property
    def target_specs(self) -> tuple[TargetSpec, ...]:
        """The targets of all sources."""
        return tuple(self._specs.values())

    @property
    def classes(self) -> list[str]:
        """As `Views.classes`."""
        return next((views.classes for views in self.sources.values() if views.classes), [])

    @property
    def pairs_per_epoch(self) -> int | None:
        """Pairs in which every recording is shown once; None where there are none."""
        for source, views in enumerate(self.sources.values()):
            if views.pairs_per_epoch is not None:
                return self.interleave.pairs_for(source, views.pairs_per_epoch)
        return None

    @property
    def identical_share(self) -> float:
        """As `Views.identical_share`, of all sources together."""
        shares = zip(self.interleave.counts, self.sources.values(), strict=True)
        return sum(count * views.identical_share for count, views in shares) / sum(self.interleave.counts)

    def family_of(self, indices: Tensor) -> Tensor:
        """As `Views.family_of`."""
        return self.interleave(indices.cpu())[0]

    def clip_of(self, seed: int, indices: Tensor) -> Tensor:
        """As `Views.clip_of`."""
        clip = torch.full((len(indices),), -1)
        for part in self._parts(indices):
            clip[part.rows] = part.views.clip_of(seed, part.indices)
        return clip

    def batch(self, seed: int, indices: Tensor, targets: bool = False) -> Batch:
        """As `Views.batch`; the label is -1 where a sound is synthetic."""
        parts = self._parts(indices)
        batches = [self._completed(part, seed, targets) for part in parts]
        if len(parts) == 1:  # nothing to put in order: on a GPU nothing has to be copied there
            return batches[0]
        order = self._order(indices, parts)
        twice = torch.cat((order, order + len(order)))
        known = {
            spec.name: Target(
                *(_joined([batch.targets[spec.name][field] for batch in batches], twice) for field in (0, 1))
            )
            for spec in (self.target_specs if targets else ())
        }
        label, identity = (
            torch.cat(there)[order if there[0].device == order.device else order.cpu()] if there else None
            for there in (
                [batch.label for batch in batches if batch.label is not None],
                [batch.identity for batch in batches if batch.identity is not None],
            )
        )
        first, second = (torch.cat(each)[order] for each in zip(*[batch[:2] for batch in batches], strict=True))
        return Batch(first, second, label, identity, known)

    def originals(self, seed: int, indices: Tensor) -> Tensor:
        """As `Views.originals`, of all voices by turns."""
        synthetic = [views for views in self.sources.values() if views.voices]
        if not synthetic:
            return super().originals(seed, indices)
        sounds = torch.zeros(len(indices), self.samples, device=self.schedule.device)
        for source, views in enumerate(synthetic):
            rows = (indices.cpu() % len(synthetic) == source).nonzero()[:, 0]
            if len(rows):
                sounds[rows] = self._fitted(views.originals(seed, indices.cpu()[rows]))
        return sounds

    def augmented_features(self, features: Tensor, seed: int, indices: Tensor) -> Tensor:
        """Features of both views, each source's augmented in its own way."""
        if all(views.feature_augmentation is None for views in self.sources.values()):
            return features
        changed = features.clone()
        for part in self._parts(indices):
            both = torch.cat((part.rows, part.rows + len(indices))).to(features.device)
            changed[both] = part.views.augmented_features(features[both], seed, part.indices)
        return changed

    def _parts(self, indices: Tensor) -> list[_Part]:
        source, place = self.interleave(indices.cpu())
        parts = []
        for which, views in enumerate(self.sources.values()):
            rows = (source == which).nonzero()[:, 0]
            if len(rows):
                parts.append(_Part(which, views, rows, place[rows]))
        return parts

    def _order(self, indices: Tensor, parts: Sequence[_Part]) -> Tensor:
        """Which row of all parts, one after the other, each pair is, int64 (n,).

        Of indices in a row this is found where it is needed: a copy would wait for the GPU.
        """
        device = self.schedule.device
        if not in_a_row(indices.cpu()):
            return torch.cat([part.rows for part in parts]).argsort().to(device)
        position = on_device(indices, device) % HELD_OUT
        source = self.schedule[position // self.interleave.turn % len(self.schedule)]
        return source.argsort(stable=True).argsort()

    def _completed(self, part: _Part, seed: int, targets: bool) -> Batch:
        """A source's batch with what all have: its length, labels, the targets of all, and identities of its own."""
        count = len(part.rows)
        batch = part.views.batch(seed, part.indices, targets and bool(part.views.target_specs))
        label, identity, known = batch.label, batch.identity, dict(batch.targets)
        if self.classes and label is None:
            label = torch.full((count,), -1)
        if self.takes > 2 or self.names_identities:
            identity = on_device(part.indices, self.schedule.device) if identity is None else identity
            identity = identity.to(self.schedule.device) * len(self.sources) + part.source
        if targets:
            others = [spec for spec in self.target_specs if spec.name not in known]
            known |= unknown(others, 2 * count, self.seconds, self.schedule.device)
        return Batch(self._fitted(batch.first), self._fitted(batch.second), label, identity, known)

    def _fitted(self, audio: Tensor) -> Tensor:
        missing = self.samples - audio.shape[1]
        return audio if missing == 0 else torch.nn.functional.pad(audio[:, : self.samples], (0, max(0, missing)))


def _joined(fields: Sequence[Tensor], order: Tensor) -> Tensor:
    """Values of first, then of second views of several batches, as those of one in another order."""
    kind = next((field.dtype for field in fields if field.dtype == torch.int64), fields[0].dtype)
    return torch.cat([field.unflatten(0, (2, -1)).to(kind) for field in fields], dim=1).flatten(0, 1)[order]
