"""Doppelgängers: a random patch, nudged twice and rendered, gives two views of a sound that nobody recorded.

Cherep and Singh, "Contrastive Learning from Synthetic Audio Doppelgängers", ICLR 2025, arXiv 2406.05923.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from soundalike.core import random
from soundalike.core.errors import SoundalikeError, nearest
from soundalike.synth import GROUPS, Synthesizer
from soundalike.synth.targets import Target, TargetSpec, of_both_views
from soundalike.views.view import HELD_OUT, Batch, Views, identities, in_a_row, on_device, step_indices

LOWEST_KNOB = 1e-6  # the paper's lower clip; the upper is 1

# Independent uses of one seed. Their numbers are part of the format: another order makes other sounds of a seed.
_THETA, _FIRST, _SECOND, _FIRST_NOISE, _SECOND_NOISE, _FIRST_AUGMENT, _SECOND_AUGMENT = range(2, 9)
_FIRST_FEATURES, _SECOND_FEATURES = 9, 10
_FIRST_MIX, _SECOND_MIX = 11, 12
_FIRST_ANEW, _SECOND_ANEW = 13, 14
_ORIGINAL_NOISE = 15
ANEW = "new"
"""What δ is where each view draws the knobs of a group anew, whatever the other one has."""
NOISES = ("view", "pair", "fixed")


class _Rendered(NamedTuple):
    """What is rendered for n pairs: they themselves, and what is mixed into them."""

    indices: Tensor
    """Indices of the pairs, int64 (m,), on the CPU."""
    rows: slice
    """Where the n pairs are among them."""
    first_other: Tensor
    """Rows of what is mixed into the first views, int64 (n,)."""
    second_other: Tensor
    """Rows of what is mixed into the second views, int64 (n,)."""

    @classmethod
    def alone(cls, indices: Tensor) -> _Rendered:
        """Nothing is mixed into the pairs with these indices."""
        nothing = torch.zeros(0, dtype=torch.int64)
        return cls(indices, slice(0, len(indices)), nothing, nothing)

    @property
    def others(self) -> tuple[Tensor, Tensor]:
        """Rows of what is mixed into the first, and into the second views."""
        return self.first_other, self.second_other


class Doppelgangers(Views):
    """Pairs of soundalikes: view = clip(θ + δ·N(0, I), 1e-6, 1), twice and independently, for a random patch θ.

    Where δ of a group is ``new``, each view draws the group's knobs anew instead, as it does θ: what differs widely
    there means nothing, such as who says a word, or in which room.

    Sounds are counted, not drawn one after the other, as `Views` says.

    Args:
        voice: what renders the patches.
        delta: size of the nudges in knob positions, in (0, 1]: one number for every knob (the paper), or a mapping
            from group (``pitch``, ``envelope``, ``modulation``, ``timbre``, ``level``, ``phase`` …) to a number in
            [0, 1] or ``new``; a group that is not named has ``other``, or 0.25 where that is not given either.
        uniform_in: ``units`` or ``knobs``, as in `Synthesizer.spread`.
        noise: ``view`` gives each view noise of its own, ``pair`` one noise to both, ``fixed`` one noise to every
            sound of every batch, as the paper's renderer does.
        augment: augmentations of each view's audio, as `Views` takes them.
        pool: how many different pairs there are, 2 or more: pair k is pair k % pool, so that a long run
            meets the same pairs over and over. Held-out pairs, those from `HELD_OUT` on, stay as they are. Without
            it no pair ever comes twice.
        augment_features: augmentations of each view's features, as `Views` takes them.
        mix: how many decibels quieter than a view another sound of the stream is that is added to it, the lowest and
            the highest of a range; no other sound where not given. First views hear a neighbour by index, second
            views the next but one, both scaled to the same peak before.
        takes: views of one θ, a power of two from 2 on: ``takes / 2`` pairs in a row have the same θ. The objective
            has to know of it, as ``multi-positive`` does.

    Raises:
        SoundalikeError: delta, pool, mix, takes or an augmentation's argument is out of its range, or a name is
            unknown.
    """

    deltas: Tensor
    anew: Tensor

    def __init__(
        self,
        voice: Synthesizer,
        delta: float | Mapping[str, float | str] = 0.25,
        uniform_in: str = "units",
        noise: str = "view",
        augment: list[Any] | None = None,
        pool: int | None = None,
        augment_features: list[Any] | None = None,
        mix: tuple[float, float] | None = None,
        takes: int = 2,
    ) -> None:
        streams = (_FIRST_AUGMENT, _SECOND_AUGMENT, _FIRST_FEATURES, _SECOND_FEATURES)
        super().__init__(voice.sample_rate, augment, augment_features, streams)
        if pool is not None and (isinstance(pool, bool) or not isinstance(pool, int) or not 2 <= pool <= HELD_OUT):
            raise SoundalikeError(f"pool is {pool!r}: give a whole number from 2 to {HELD_OUT}, or leave it out.")
        if noise not in NOISES:
            raise SoundalikeError(f"noise is {noise!r}: {nearest(str(noise), NOISES)}")
        if mix is not None and (len(mix) != 2 or not 0.0 <= mix[0] <= mix[1] < math.inf):
            raise SoundalikeError(
                f"mix is {list(mix)}: give the lowest and the highest number of decibels, from 0 on."
            )
        if isinstance(takes, bool) or not isinstance(takes, int) or takes < 2 or takes & (takes - 1):
            raise SoundalikeError(f"takes is {takes!r}: give a power of two, such as 2 or 4.")
        self.mix = None if mix is None else (float(mix[0]), float(mix[1]))
        voice.spread(torch.zeros(0, voice.size), uniform_in)  # says which names there are
        self.voice, self.uniform_in, self.noise, self.pool = voice, uniform_in, noise, pool
        self.takes = takes
        by_group = group_deltas(delta)
        own: list[float | str] = [by_group[spec.group] for spec in voice.specs]
        deltas = [0.0 if isinstance(each, str) else each for each in own]
        self.register_buffer("deltas", torch.tensor(deltas, dtype=torch.float32), persistent=False)
        self.register_buffer("anew", torch.tensor([each == ANEW for each in own]), persistent=False)
        self._draws_anew = ANEW in own
        if not self._draws_anew and not any(deltas):
            raise SoundalikeError("delta is 0 for every group: both views would be the same sound; raise one of them.")

    @property
    def voices(self) -> tuple[Synthesizer, ...]:
        """The voice."""
        return (self.voice,)

    @property
    def target_specs(self) -> tuple[TargetSpec, ...]:
        """Those of the voice."""
        return self.voice.target_specs

    def forward(self, seed: int, step: int, rank: int = 0, ranks: int = 1, batch_size: int = 256) -> Batch:
        """The pairs that one rank sees in one step.

        Args:
            seed: seed of the stream of sounds.
            step: number of the step, from 0.
            rank: number of the process, from 0.
            ranks: how many processes there are.
            batch_size: pairs a step and rank.

        Returns:
            ``batch_size`` pairs.
        """
        return self.batch(seed, step_indices(step, rank, ranks, batch_size))

    def batch(self, seed: int, indices: Tensor, targets: bool = False) -> Batch:
        """As `Views.batch`."""
        indices = self._pooled(indices)
        rendered = _Rendered.alone(indices) if self.mix is None else self._with_others(indices)
        indices, whole = (on_device(each, self.deltas.device) for each in (indices, rendered.indices))
        patches, noise = torch.cat(self.patches(seed, whole)), self.noise_seeds(seed, whole)
        # both views in one batch: one pass through the voice
        known: Mapping[str, Target] = {}
        if targets:
            audio, known = self.voice.with_targets(patches, noise)
        else:
            audio = self.voice(patches, noise_seed=noise)
        audio = self._augmented(self._mixed(audio, rendered, seed, indices), seed, indices)
        first, second = audio.chunk(2)  # (n, samples) each
        identity = None if self.takes == 2 else identities(indices, self.takes)
        return Batch(first, second, None, identity, of_both_views(known, rendered.rows))

    def _with_others(self, indices: Tensor) -> _Rendered:
        """What is rendered for the pairs with these indices where other sounds are mixed into them."""
        low, high, pairs = int(indices[0]), int(indices[-1]) + 1, self.takes // 2
        four = 4 * pairs
        low, high, count = low - low % four, high + -high % four, len(indices)
        # The sounds that go with four in a row, from a multiple of four on, are among these four.
        if in_a_row(indices) and (self.pool is None or high <= self.pool or low >= HELD_OUT):
            start = int(indices[0]) - low
            place = torch.arange(start, start + count, device=self.deltas.device)
            rows = slice(start, start + count)
            return _Rendered(torch.arange(low, high), rows, place ^ pairs, place ^ (2 * pairs))
        others = [self._pooled(indices ^ step) for step in (pairs, 2 * pairs)]
        here = {each: row for row, each in enumerate(indices.tolist())}
        missing = sorted({each for other in others for each in other.tolist()} - here.keys())
        here |= {each: count + row for row, each in enumerate(missing)}
        first, second = (
            torch.tensor([here[each] for each in other.tolist()], device=self.deltas.device) for other in others
        )
        return _Rendered(torch.cat((indices, indices.new_tensor(missing))), slice(0, count), first, second)

    def _mixed(self, audio: Tensor, rendered: _Rendered, seed: int, indices: Tensor) -> Tensor:
        """Audio of all that was rendered to (2n, samples): all first, then all second views, mixed where asked."""
        if self.mix is None:
            return audio
        low, high = self.mix
        level = (audio / audio.abs().amax(1, keepdim=True).clamp(min=1e-6)).unflatten(0, (2, -1))
        keys = random.keys(seed, indices, stream=(_FIRST_MIX, _SECOND_MIX))  # (2, n)
        quieter = low + (high - low) * random.uniform(keys.flatten(), 1)  # (2n, 1)
        others = torch.cat([view[rows] for view, rows in zip(level, rendered.others, strict=True)])
        both = level[:, rendered.rows].flatten(0, 1) + 10.0 ** (-quieter / 20.0) * others
        return both / both.abs().amax(1, keepdim=True).clamp(min=1.0)

    def augmented_features(self, features: Tensor, seed: int, indices: Tensor) -> Tensor:
        """As `Views.augmented_features`; a pair of a pool has the same features every time."""
        return super().augmented_features(features, seed, self._pooled(indices))

    def patches(self, seed: int, indices: Tensor, around: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The two patches (n, size) of each pair, without rendering them.

        Args:
            seed: seed of the stream of sounds.
            indices: indices of the pairs, int64 (n,).
            around: patches (n, size) that they are nudged from, in place of those of the stream.
        """
        indices = self._pooled(indices)
        streams = (_THETA, _FIRST, _SECOND, *((_FIRST_ANEW, _SECOND_ANEW) if self._draws_anew else ()))
        theta, *others = random.keys(seed, indices, stream=streams)  # (n,) each
        if self.takes > 2:
            theta = random.keys(seed, identities(indices, self.takes), stream=_THETA)
        nudge = random.normal(torch.cat(others[:2]), self.voice.size).unflatten(0, (2, -1))
        around = self._theta(theta) if around is None else around
        both = (around + self.deltas * nudge).clamp(LOWEST_KNOB, 1.0)  # (2, n, size)
        if self._draws_anew:
            fresh = self._theta(torch.cat(others[2:])).unflatten(0, (2, -1))
            both = torch.where(self.anew, fresh, both)
        first, second = both
        return first, second

    def differences(self) -> dict[str, list[str]]:
        """How knobs differ within a pair, in words: for each group a phrase for each of its knobs."""
        found: dict[str, list[str]] = {}
        for spec, delta, anew in zip(self.voice.specs, self.deltas.tolist(), self.anew.tolist(), strict=True):
            phrase = "drawn anew" if anew else f"nudged by {delta:.3g}" if delta else "the same"
            found.setdefault(spec.group, []).append(phrase)
        return found

    def describe(self) -> str:
        """What stays and what differs within a pair, as a table that a person can read: a line for each group."""
        lines = [f"{'group':<10}  {'knobs':>5}  within a pair"]
        for group, phrases in self.differences().items():
            lines.append(f"{group:<10}  {len(phrases):>5}  {', '.join(dict.fromkeys(phrases))}")
        return "\n".join(lines)

    def theta(self, seed: int, indices: Tensor) -> Tensor:
        """The patches (n, size) that the views are nudged from. Training never hears them."""
        return self._theta(random.keys(seed, identities(self._pooled(indices), self.takes), stream=_THETA))

    def originals(self, seed: int, indices: Tensor) -> Tensor:
        """As `Views.originals`: sounds of the patches that pairs are varied from."""
        indices = on_device(indices, self.deltas.device)
        return self.voice(
            self.theta(seed, indices), noise_seed=random.keys(seed, indices, stream=_ORIGINAL_NOISE).long()
        )

    def _theta(self, key: Tensor) -> Tensor:
        """Patches (n, size) from a key of each (n,)."""
        return self.voice.spread(random.uniform(key, self.voice.size), self.uniform_in)

    def _pooled(self, indices: Tensor) -> Tensor:
        """Indices of the pool in place of those beyond it; the same when asked twice."""
        if self.pool is None:
            return indices
        return torch.where(indices < HELD_OUT, indices % self.pool, indices)

    def noise_seeds(self, seed: int, indices: Tensor) -> Tensor:
        """A noise seed for each first view, then for each second view, (2n,)."""
        if self.noise == "fixed":
            return torch.zeros(2 * len(indices), dtype=torch.int64, device=indices.device)
        streams = (_FIRST_NOISE, _FIRST_NOISE if self.noise == "pair" else _SECOND_NOISE)
        return random.keys(seed, indices, stream=streams).flatten().long()


def group_deltas(delta: float | Mapping[str, float | str]) -> dict[str, float | str]:
    """δ of every group.

    Args:
        delta: one number in (0, 1], or a mapping as `Doppelgangers` takes it.

    Returns:
        A number, or `ANEW`, for each of `GROUPS`.

    Raises:
        SoundalikeError: a number is out of its range, or a group is unknown.
    """
    if not isinstance(delta, Mapping):
        if isinstance(delta, bool) or not isinstance(delta, int | float) or not 0.0 < delta <= 1.0:
            raise SoundalikeError(f"delta is {delta!r}: give a number above 0 and at most 1, or one for each group.")
        return dict.fromkeys(GROUPS, float(delta))
    for group, value in delta.items():
        if group not in (*GROUPS, "other"):
            raise SoundalikeError(f"delta names the group {group!r}: {nearest(str(group), (*GROUPS, 'other'))}")
        if value == ANEW:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
            raise SoundalikeError(f"delta.{group} is {value!r}: give a number from 0 to 1, or new.")
    by_group = {group: delta.get(group, delta.get("other", 0.25)) for group in GROUPS}
    return {group: value if value == ANEW else float(value) for group, value in by_group.items()}
