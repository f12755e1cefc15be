"""What every source of views offers: pairs by number, and augmentations whose draws are counted as the pairs are."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from soundalike.core import random
from soundalike.core.errors import SoundalikeError
from soundalike.synth import Synthesizer
from soundalike.synth.targets import Target, TargetSpec
from soundalike.views.augment.compose import Compose

HELD_OUT = 1 << 40
"""Held-out pairs have indices from here on, which no training run reaches and no pool repeats."""


class Batch(NamedTuple):
    """Pairs of views; row i of each view belongs together."""

    first: Tensor
    """(n, samples) audio, augmented where the views are."""
    second: Tensor
    """(n, samples) audio, augmented where the views are."""
    label: Tensor | None = None
    """Index of each sound's class, int64 (n,), -1 where it has none or keeps it back; None where no sound has one."""
    identity: Tensor | None = None
    """Index of what each pair is a take of, int64 (n,): pairs with the same index are takes of one sound; None where
    every pair is of another."""
    targets: Mapping[str, Target] = MappingProxyType({})
    """What is known of all first, then of all second views (2n rows), by the name of the target, before anything is
    mixed in or augmented; nothing where it was not asked for."""


class Views(nn.Module):
    """A source of pairs. This class holds what all of them share.

    Pair k of a seed is a function of (seed, k) alone: the same for any batch size, any number of ranks, any
    device, and after an interruption. Step n of rank r reads indices (n · ranks + r) · batch to
    (n · ranks + r + 1) · batch - 1, so no two ranks or steps share one.

    Args:
        sample_rate: of the audio, in Hz.
        augment: augmentations of each view's audio, one after the other, as `Compose` takes them: names, or mappings
            with a ``name`` and arguments. Each view draws numbers of its own.
        augment_features: the same of each view's features, such as ``spec-augment``, after the front end.
        streams: four independent uses of the seed for the draws: of first and second views' audio and features.

    Raises:
        SoundalikeError: an augmentation is unknown, out of its range, or of the other kind.
    """

    takes = 2
    """Views of one identity that are in the stream, in a row."""
    names_identities = False
    """Whether batches say which pairs are of one identity where it has no more than two takes in a row: two pairs of
    one recording are."""
    at_least_one = False
    """Whether one view of a pair is augmented at the least."""
    own_heads: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    """For each family with a head of its own the arguments in which that differs from the recipe's head."""

    def __init__(
        self,
        sample_rate: int,
        augment: list[Any] | None,
        augment_features: list[Any] | None,
        streams: tuple[int, int, int, int],
    ) -> None:
        super().__init__()
        self.augmentation = Compose(augment, sample_rate) if augment else None
        if self.augmentation is not None and self.augmentation.axes != 2:
            raise SoundalikeError(
                "augment changes audio: name augmentations of waveforms; those of spectrograms go in augment_features."
            )
        self.feature_augmentation = Compose(augment_features, sample_rate) if augment_features else None
        if self.feature_augmentation is not None and self.feature_augmentation.axes != 4:
            raise SoundalikeError(
                "augment_features changes spectrograms: name augmentations of these; those of audio go in augment."
            )
        self._audio_streams, self._feature_streams = streams[:2], streams[2:]

    @classmethod
    def takes_recordings(cls, arguments: Mapping[str, Any]) -> bool:
        """Whether views that are made with these arguments need recordings."""
        return "clips" in inspect.signature(cls).parameters

    @property
    def pairs_per_epoch(self) -> int | None:
        """Pairs in which every recording is shown once; None where there are no recordings."""
        return None

    @property
    def voices(self) -> tuple[Synthesizer, ...]:
        """What renders the sounds; nothing where all are recordings."""
        return ()

    @property
    def classes(self) -> list[str]:
        """Names of the classes that labels count; none where there are no recordings."""
        return []

    @property
    def identical_share(self) -> float:
        """The part of the pairs that are expected to be two identical views."""
        return 0.0

    def clip_of(self, seed: int, indices: Tensor) -> Tensor:
        """Which clip each pair shows, int64 (n,); -1 where its sound is synthetic."""
        return torch.full((len(indices),), -1)

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the families that the pairs come from; none where all come from one source."""
        return ()

    def family_of(self, indices: Tensor) -> Tensor:
        """Which of `families` each pair comes from, int64 (n,)."""
        return torch.zeros_like(indices)

    def originals(self, seed: int, indices: Tensor) -> Tensor:
        """The sounds that pairs are varied from, which no training meets: (n, samples).

        Args:
            seed: seed of the stream of pairs.
            indices: indices of the pairs, int64 (n,).

        Raises:
            SoundalikeError: the views are of recordings.
        """
        raise SoundalikeError("this needs a synthesizer, and the recipe hears recordings: give one that has a voice.")

    @property
    def target_specs(self) -> tuple[TargetSpec, ...]:
        """Targets that a batch can bring; none where nothing is known of its sounds."""
        return ()

    def batch(self, seed: int, indices: Tensor, targets: bool = False) -> Batch:
        """The pairs with these indices.

        Args:
            seed: seed of the stream of pairs.
            indices: indices of pairs in the stream, int64 (n,).
            targets: whether the targets of ``target_specs`` are wanted.

        Returns:
            n pairs.
        """
        raise NotImplementedError

    def augmented_features(self, features: Tensor, seed: int, indices: Tensor) -> Tensor:
        """Features of all first, then of all second views of the pairs with these indices, augmented.

        Args:
            features: ``(2n, channels, frames, bands)``.
            seed: seed of the stream of pairs.
            indices: indices of the pairs, int64 (n,).

        Returns:
            As ``features``; the very tensor where no augmentation of features is asked for.
        """
        if self.feature_augmentation is None:
            return features
        return self.feature_augmentation(
            features, uniform=self._drawn(self.feature_augmentation, self._feature_streams, seed, indices, features)
        )

    def _augmented(self, audio: Tensor, seed: int, indices: Tensor) -> Tensor:
        """Audio (2n, samples) of all first, then of all second views, augmented."""
        if self.augmentation is None:
            return audio
        uniform = self._drawn(self.augmentation, self._audio_streams, seed, indices, audio)
        return self.augmentation(
            audio, uniform=self.augmentation.changing_one(uniform) if self.at_least_one else uniform
        )

    @staticmethod
    def _drawn(augmentation: Compose, streams: tuple[int, ...], seed: int, indices: Tensor, like: Tensor) -> Tensor:
        """Uniform numbers for each first view, then for each second view, (2n, numbers)."""
        indices = on_device(indices, like.device)
        keys = random.keys(seed, indices, stream=streams)  # (2, n)
        return random.uniform(keys.flatten(), augmentation.numbers)


def identities(indices: Tensor, takes: int) -> Tensor:
    """Index of what each pair is a take of: ``takes / 2`` pairs in a row are takes of one, int64 (n,).

    Args:
        indices: indices of the pairs, int64 (n,).
        takes: views of one identity, an even number.
    """
    if takes == 2:
        return indices
    start = torch.where(indices < HELD_OUT, 0, HELD_OUT)
    return start + (indices - start) // (takes // 2)


def step_indices(step: int, rank: int, ranks: int, batch_size: int) -> Tensor:
    """Indices of the pairs that one rank sees in one step, int64 (batch_size,): no two ranks or steps share one."""
    first = (step * ranks + rank) * batch_size
    return torch.arange(first, first + batch_size)


def in_a_row(indices: Tensor) -> bool:
    """Whether indices (n,) on the CPU follow one another."""
    return bool((indices.diff() == 1).all())


def on_device(indices: Tensor, device: torch.device) -> Tensor:
    """Indices of pairs where they are needed, int64 (n,).

    Indices that follow one another are made there: a copy would wait for the GPU.

    Args:
        indices: indices of pairs, int64 (n,).
        device: device that needs them.
    """
    if indices.device == device or indices.device.type != "cpu" or not len(indices) or not in_a_row(indices):
        return indices.to(device)
    first = int(indices[0])
    return torch.arange(first, first + len(indices), device=device)
