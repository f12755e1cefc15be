"""Synthetic and recorded pairs in one batch, in any ratio."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.data.training_clips import TrainingClips
from soundalike.synth import Synthesizer
from soundalike.synth.targets import TargetSpec, unknown
from soundalike.views.doppelganger import Doppelgangers
from soundalike.views.interleave import Interleave
from soundalike.views.recording import RecordedViews
from soundalike.views.view import Batch, Views

_V = TypeVar("_V")


class MixedViews(Views):
    """Pairs of which one part is synthetic and the rest recorded, evenly interleaved, each augmented in its own way.

    `Interleave` puts the sources together. This is the hybrid that Cherep & Singh 2025 (arXiv 2406.05923) leave for
    the future.

    Args:
        voice: what renders the synthetic sounds.
        clips: the recordings.
        samples: length of a view; synthetic sounds are cut or filled up with zeros to it.
        part: of the pairs that is synthetic, in [0, 1], in thousandths.
        synthetic: arguments of `Doppelgangers`, such as ``{"delta": 0.1}``.
        recorded: arguments of `RecordedViews`, such as ``{"pair": "jitter"}``.

    Raises:
        SoundalikeError: the part is out of its range, or an argument is unknown or out of its own.
    """

    def __init__(
        self,
        voice: Synthesizer,
        clips: TrainingClips,
        samples: int,
        part: float = 0.5,
        synthetic: dict[str, Any] | None = None,
        recorded: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(clips.sample_rate, None, None, (0, 0, 0, 0))
        self.interleave = Interleave("views.part", part)
        self.samples, self.voice = samples, voice
        self.synthetic = _built("synthetic", Doppelgangers, {"voice": voice}, synthetic)
        self.recorded = _built("recorded", RecordedViews, {"clips": clips, "samples": samples}, recorded)

    @property
    def classes(self) -> list[str]:
        """Names of the classes that labels count."""
        return self.recorded.classes

    @property
    def pairs_per_epoch(self) -> int | None:
        """Pairs in which every clip is shown once."""
        return self.interleave.pairs_for(self.recorded.pairs_per_epoch)

    @property
    def target_specs(self) -> tuple[TargetSpec, ...]:
        """Those of the synthetic sounds; their masks leave the recordings out."""
        return self.synthetic.target_specs

    def batch(self, seed: int, indices: Tensor, targets: bool = False) -> Batch:
        """As `Views.batch`; the label is -1 where a sound is synthetic."""
        indices = indices.cpu()
        made, place = self.interleave(indices)
        device = self.synthetic.deltas.device
        first = torch.zeros(len(indices), self.samples, device=device)
        second = torch.zeros_like(first)
        label = torch.full_like(indices, -1)
        specs = self.target_specs if targets else ()
        known = unknown(specs, 2 * len(indices), self.voice.seconds, device)
        if made.any():
            synthetic = self.synthetic.batch(seed, place[made], targets)
            first[made], second[made] = (self._fitted(view) for view in (synthetic.first, synthetic.second))
            rows = torch.cat((made, made)).to(device)
            for name, target in synthetic.targets.items():
                for field, values in zip(known[name], target, strict=True):
                    field[rows] = values.to(field.dtype)
        if not made.all():
            recorded = self.recorded.batch(seed, place[~made])
            first[~made], second[~made] = recorded.first, recorded.second
            assert recorded.label is not None
            label[~made] = recorded.label
        return Batch(first, second, label, known)

    def clip_of(self, seed: int, indices: Tensor) -> Tensor:
        """Which clip each pair shows, int64 (n,); -1 where its sound is synthetic."""
        made, place = self.interleave(indices.cpu())
        clip = torch.full_like(place, -1)
        clip[~made] = self.recorded.clip_of(seed, place[~made])
        return clip

    def augmented_features(self, features: Tensor, seed: int, indices: Tensor) -> Tensor:
        """Features of both views, each source's augmented in its own way."""
        if self.synthetic.feature_augmentation is None and self.recorded.feature_augmentation is None:
            return features
        made, place = self.interleave(indices.cpu())
        changed = features.clone()
        for views, chosen in ((self.synthetic, made), (self.recorded, ~made)):
            both = torch.cat((chosen, chosen)).to(features.device)
            if chosen.any():
                changed[both] = views.augmented_features(features[both], seed, place[chosen])
        return changed

    def _fitted(self, audio: Tensor) -> Tensor:
        return functional.pad(audio[:, : self.samples], (0, max(0, self.samples - audio.shape[1])))


def _built(key: str, kind: Callable[..., _V], wired: Mapping[str, Any], given: Mapping[str, Any] | None) -> _V:
    known = [name for name in inspect.signature(kind).parameters if name not in wired]
    for name in given or {}:
        if name not in known:
            raise SoundalikeError(f"views.{key} has no key {name!r}: {nearest(str(name), known)}")
    return kind(**wired, **(given or {}))
