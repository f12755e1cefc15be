"""Views of recordings: the same crop twice, two crops of one file, or several segments of one file laid together."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from soundalike.core import random
from soundalike.core.errors import SoundalikeError, nearest
from soundalike.data.training_clips import TrainingClips
from soundalike.views.interleave import Interleave
from soundalike.views.view import HELD_OUT, Batch, Views

PAIRS = ("same", "jitter", "layered")
CROPS = ("start", "random")
# Independent uses of one seed, after those of the doppelgängers. Their numbers are part of the format.
_ORDER, _FIRST_START, _SECOND_START, _FIRST_AUGMENT, _SECOND_AUGMENT, _FIRST_FEATURES, _SECOND_FEATURES = range(17, 24)
_LABELLED_ORDER = 24
_QUIETEST_PEAK = 1e-6


class EpochShuffle:
    """Clips in a new random order every epoch.

    Args:
        members: indices of the clips, int64 (k,).
        stream: use of the seed that the orders are drawn from.
    """

    def __init__(self, members: Tensor, stream: int) -> None:
        self.members, self.stream = members, stream
        self._orders: dict[tuple[int, int], Tensor] = {}

    def __call__(self, seed: int, indices: Tensor) -> Tensor:
        """The clips that come at these places of an endless stream, int64 (n,)."""
        position = torch.where(indices < HELD_OUT, indices, indices - HELD_OUT)
        found = torch.empty_like(position)
        epochs = position // len(self.members)
        for epoch in epochs.unique().tolist():
            chosen = epochs == epoch
            found[chosen] = self._order(seed, epoch)[position[chosen] % len(self.members)]
        return found

    def _order(self, seed: int, epoch: int) -> Tensor:
        if (seed, epoch) not in self._orders:
            while len(self._orders) > 1:  # a batch can lie across two epochs
                del self._orders[next(iter(self._orders))]
            key = random.keys(seed, torch.tensor([epoch]), stream=self.stream)
            order = random.bits(key, len(self.members))[0].argsort(stable=True)
            self._orders[seed, epoch] = self.members[order]
        return self._orders[seed, epoch]


class RecordedViews(Views):
    """Pairs of views of recorded clips.

    Clips come in a new random order every epoch. Which clip pair k shows, where it is cut and how it is
    changed is a function of (seed, k) alone, as `Views` says; indices from `HELD_OUT` on show the same clips in other
    draws.

    Source: Al-Tahan & Mohsenzadeh 2021 (arXiv 2010.09542), section 3, for one crop in two augmentations; Cherep &
    Singh 2025 (arXiv 2406.05923), section 4, for jitter and layers.

    Args:
        clips: the recordings.
        samples: length of a view.
        pair: ``same`` shows one crop twice, and needs an augmentation to tell the views apart; ``jitter`` takes two
            crops of one file at two different places; ``layered`` lays several segments of one file over one
            another, scales the sum to a peak of 1 and shows it twice.
        crop: where a crop of a longer clip begins: at its ``start`` (CLAR's way), or at ``random``. Jitter and layers
            are always cut at random. Shorter clips are filled up with zeros on the right.
        layers: segments that are laid together.
        labelled: part of the pairs that show a clip whose label is seen, in [0, 1]; clips with and without labels then
            come in epochs of their own. Without it all clips come equally often, and so few labels are rarely seen.
        at_least_one: whether one view is augmented at the least; otherwise two views that no augmentation changes are
            the same sound.
        augment: augmentations of each view's audio, as `Views` takes them.
        augment_features: of each view's features.

    Raises:
        SoundalikeError: a name is unknown, a number out of its range, or both views would be the same sound.
    """

    place: Tensor
    names_identities = True

    def __init__(
        self,
        clips: TrainingClips,
        samples: int,
        pair: str = "same",
        crop: str = "start",
        layers: int = 2,
        labelled: float | None = None,
        at_least_one: bool = False,
        augment: list[Any] | None = None,
        augment_features: list[Any] | None = None,
    ) -> None:
        streams = (_FIRST_AUGMENT, _SECOND_AUGMENT, _FIRST_FEATURES, _SECOND_FEATURES)
        super().__init__(clips.sample_rate, augment, augment_features, streams)
        for key, value, known in (("pair", pair, PAIRS), ("crop", crop, CROPS)):
            if value not in known:
                raise SoundalikeError(f"views.{key} is {value!r}: {nearest(str(value), known)}")
        if isinstance(layers, bool) or not isinstance(layers, int) or not 1 <= layers <= 64:
            raise SoundalikeError(f"views.layers is {layers!r}: give 1 to 64 segments.")
        if pair != "jitter" and self.augmentation is None and self.feature_augmentation is None:
            raise SoundalikeError(
                f"views.pair is {pair!r} without an augmentation, so both views would be the same sound: give "
                f"views.augment, or views.pair jitter."
            )
        if not isinstance(at_least_one, bool):
            raise SoundalikeError(f"views.at_least_one is {at_least_one!r}: give true or false.")
        if at_least_one and (self.augmentation is None or self.augmentation.left_alone == 1.0):
            raise SoundalikeError("views.at_least_one is true, and nothing changes a view: give views.augment.")
        self.at_least_one = at_least_one
        if len(clips) < 2:
            raise SoundalikeError("recordings: there is one clip only, and nothing to tell it from: give two or more.")
        self.clips, self.samples, self.pair, self.crop, self.layers = clips, samples, pair, crop, layers
        self.lengths, self.labels = clips.lengths, clips.labels
        short = int((self.lengths <= samples).sum())
        if pair == "jitter" and short and self.augmentation is None and self.feature_augmentation is None:
            raise SoundalikeError(
                f"views.pair is 'jitter' without an augmentation, and {short} of {len(clips)} clips are no longer "
                f"than a view, so both crops of them would be the same sound: give views.augment or shorter views."
            )
        with_label, without = (self.labels >= 0).nonzero()[:, 0], (self.labels < 0).nonzero()[:, 0]
        self._interleave: Interleave | None = None
        if labelled is not None:
            if isinstance(labelled, bool) or not 0.0 <= labelled <= 1.0:
                raise SoundalikeError(f"views.labelled is {labelled!r}: give a part of the pairs, from 0 to 1.")
            interleave = Interleave("views.labelled", (labelled, 1.0 - labelled))
            # where all clips are of one kind, there is nothing to interleave
            self._interleave = interleave if len(with_label) and len(without) else None
        self._of_all = EpochShuffle(torch.arange(len(clips)), _ORDER)
        self._of_kinds = (EpochShuffle(with_label, _LABELLED_ORDER), EpochShuffle(without, _ORDER))
        # so that the module knows its device without a parameter
        self.register_buffer("place", torch.zeros(0), persistent=False)

    @property
    def classes(self) -> list[str]:
        """Names of the classes that labels count."""
        return self.clips.classes

    @property
    def pairs_per_epoch(self) -> int:
        """Pairs in which every clip is shown once; where labelled ones have a part of their own, every other one."""
        if self._interleave is None:
            return len(self.clips)
        return self._interleave.pairs_for(1, len(self._of_kinds[1].members)) or len(self.clips)

    @property
    def identical_share(self) -> float:
        """As `Views.identical_share`: neither view is changed, and both show one place of a clip."""
        if self.at_least_one or self.pair == "jitter":
            return 0.0
        kinds = (each for each in (self.augmentation, self.feature_augmentation) if each is not None)
        return math.prod(each.left_alone**2 for each in kinds)

    def batch(self, seed: int, indices: Tensor, targets: bool = False) -> Batch:
        """As `Views.batch`; of a recording its label is known, and that another pair shows it too."""
        indices = indices.cpu()
        clip = self.clip_of(seed, indices)
        first, second = self._cuts(seed, indices, clip)
        audio = torch.cat((first, second)).to(self.place.device)  # (2n, samples)
        first, second = self._augmented(audio, seed, indices).chunk(2)
        return Batch(first, second, self.labels[clip], clip)

    def clip_of(self, seed: int, indices: Tensor) -> Tensor:
        """Which clip each pair shows, int64 (n,)."""
        if self._interleave is None:
            return self._of_all(seed, indices)
        kind, place = self._interleave(indices)
        clip = torch.empty_like(indices)
        for which, shuffle in enumerate(self._of_kinds):
            chosen = kind == which
            if chosen.any():
                clip[chosen] = shuffle(seed, place[chosen])
        return clip

    def _cuts(self, seed: int, indices: Tensor, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Both views as they are cut, (n, samples) each."""
        spare = (self.lengths[clip] - self.samples).clamp(min=0)
        at_random = self.crop == "random" or self.pair != "same"

        def starts(stream: int, count: int) -> Tensor:
            u = random.uniform(random.keys(seed, indices, stream=stream), count).double()
            return (u * (spare[:, None] + 1)).long() * int(at_random)  # (n, count)

        if self.pair == "layered":
            begin = starts(_FIRST_START, self.layers)
            layers = [self.clips.read(clip, begin[:, layer], self.samples) for layer in range(self.layers)]
            sound = torch.stack(layers).sum(0)
            sound = sound / sound.abs().amax(1, keepdim=True).clamp(min=_QUIETEST_PEAK)
            return sound, sound
        begin = starts(_FIRST_START, 1)[:, 0]
        first = self.clips.read(clip, begin, self.samples)
        if self.pair == "same":
            return first, first
        # any other place with the same chance
        u = random.uniform(random.keys(seed, indices, stream=_SECOND_START), 1)[:, 0].double()
        other = (begin + 1 + (u * spare).long()) % (spare + 1)
        return first, self.clips.read(clip, other, self.samples)
