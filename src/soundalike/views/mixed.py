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
from soundalike.views.doppelganger import Doppelgangers
from soundalike.views.recording import RecordedPair, RecordedViews
from soundalike.views.turns import Turns
from soundalike.views.view import Views

_V = TypeVar("_V")


class MixedViews(Views):
    """Pairs of which one part is synthetic and the rest recorded, evenly interleaved, each augmented in its own way.

    The sources take turns as `Turns` has it. This is the hybrid that Cherep & Singh 2025 (arXiv 2406.05923) leave for
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
        self.turns = Turns("views.part", part)
        self.samples, self.voice = samples, voice
        self.synthetic = _built("synthetic", Doppelgangers, {"voice": voice}, synthetic)
        self.recorded = _built("recorded", RecordedViews, {"clips": clips, "samples": samples}, recorded)

    @property
    def classes(self) -> list[str]:
        """Names of the classes that labels count."""
        return self.recorded.classes

    @property
    def pairs_a_round(self) -> int | None:
        """Pairs in which every clip is shown once."""
        return self.turns.pairs_for(self.recorded.pairs_a_round)

    def numbered(self, seed: int, number: Tensor) -> RecordedPair:
        """The pairs with these numbers, as `Views.numbered`; clip and label are -1 where a sound is synthetic."""
        number = number.cpu()
        made, place = self.turns(number)
        device = self.synthetic.deltas.device
        first = torch.zeros(len(number), self.samples, device=device)
        second = torch.zeros_like(first)
        clip, label = torch.full_like(number, -1), torch.full_like(number, -1)
        if made.any():
            pair = self.synthetic.numbered(seed, place[made])
            first[made], second[made] = (self._fitted(view) for view in (pair.first, pair.second))
        if not made.all():
            recorded = self.recorded.numbered(seed, place[~made])
            first[~made], second[~made] = recorded.first, recorded.second
            clip[~made], label[~made] = recorded.clip, recorded.label
        return RecordedPair(first, second, clip, label)

    def augmented_features(self, features: Tensor, seed: int, number: Tensor) -> Tensor:
        """Features of both views, each source's augmented in its own way."""
        if self.synthetic.feature_augmentation is None and self.recorded.feature_augmentation is None:
            return features
        made, place = self.turns(number.cpu())
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
