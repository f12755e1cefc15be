"""What a mouth says: segments one after the other, each with its kind, its targets and its time."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from soundalike.synth.control import Bank
from soundalike.synth.parameter import ParameterSpec

KINDS = ("silence", "vowel", "fricative", "stop", "nasal", "glide")
SILENCE, VOWEL, FRICATIVE, STOP, NASAL, GLIDE = range(len(KINDS))
_CONSONANTS = ((0.20, SILENCE), (0.46, FRICATIVE), (0.70, STOP), (0.85, NASAL), (1.0, GLIDE))
"""Up to which position of its knob an odd segment is of a kind; an even one is a vowel, or nothing up to 0.1."""
_NO_VOWEL = 0.10
_F1 = (250.0, 850.0)  # Hz, of vowels (Peterson and Barney 1952), from close to open
_CLOSED_F1, _GLIDE_F1 = 250.0, (280.0, 420.0)  # Hz, of a closed mouth and of one that is nearly so
_LOCUS = (750.0, 2300.0)  # Hz: where F2 comes from and goes to at a consonant, from the lips to the palate
_ABOVE_F2 = 300.0  # Hz by which F3 lies above F2 at least
_LENGTH = (0.0, 1.0, 0.65, 0.5, 0.5, 0.42)  # of each kind, against a vowel's
_VOICED, _UNVOICED = 0.6, 0.4  # positions of the knob from which on and up to which a consonant has voice or none


class Utterance(NamedTuple):
    """What n mouths are to say, each segment with its place in time; (n, segments) each."""

    kind: Tensor
    """Indices of `KINDS`."""
    start: Tensor
    """Seconds."""
    end: Tensor
    """Seconds."""
    formants: Tensor
    """(n, 3, segments): log2 Hz of a tract of usual length."""
    voiced: Tensor
    """0 to 1."""
    level: Tensor
    """dB, of the stress."""
    centre: Tensor
    """log2 Hz, of the noise."""
    width: Tensor
    """log2 Hz, likewise."""
    noise: Tensor
    """dB, likewise."""


class Segments(Bank):
    """The knobs of what is said, for several segments: odd ones are consonants, even ones vowels, and any may miss.

    Args:
        count: how many segments.
    """

    def __init__(self, count: int) -> None:
        def content(name: str, low: float, high: float, unit: str = "") -> ParameterSpec:
            return ParameterSpec(name, low, high, group="content", unit=unit)

        super().__init__(
            [f"segment_{i}" for i in range(1, count + 1)],
            (
                ParameterSpec("kind", 0.0, 1.0, group="kind"),
                content("f1", math.log2(_F1[0]), math.log2(_F1[1]), "log2 Hz"),
                content("front", 0.0, 1.0),
                content("f3", math.log2(2100.0), math.log2(3000.0), "log2 Hz"),
                content("voicing", 0.0, 1.0),
                content("noise.centre", math.log2(1000.0), math.log2(7500.0), "log2 Hz"),
                content("noise.width", math.log2(300.0), math.log2(2500.0), "log2 Hz"),
                content("noise.level", -18.0, 0.0, "dB"),
                content("level", -8.0, 0.0, "dB"),
                content("length", 0.06, 0.28, "s"),
            ),
        )

    def kinds(self, units: Tensor) -> Tensor:
        """Which kind each segment is, int64 (n, segments), whether the utterance is long enough for it or not."""
        knob = self.named(units)["kind"]
        consonant = torch.zeros_like(knob, dtype=torch.long)
        for (above, _), (_, kind) in pairwise(_CONSONANTS):
            consonant = torch.where(knob >= above, kind, consonant)
        vowel = (knob >= _NO_VOWEL).long() * VOWEL
        odd = torch.arange(knob.shape[1], device=knob.device) % 2 == 0  # counted from 1, as the names are
        return torch.where(odd, consonant, vowel)

    def utterance(self, units: Tensor, present: Tensor, stretch: Tensor, onset: Tensor, seconds: float) -> Utterance:
        """Everything that is said, in its place.

        Args:
            units: (n, size).
            present: how many segments there are, (n, 1).
            stretch: factor of each segment's length, (n, segments).
            onset: where it begins, in [0, 1]: from the start of the sound to as late as it fits, (n, 1).
            seconds: length of the sound.
        """
        knob = self.named(units)
        place = torch.arange(knob["kind"].shape[1], device=units.device)
        kind = torch.where(place < present, self.kinds(units), SILENCE)
        length = knob["length"] * by_kind(_LENGTH, kind, units) * stretch
        total = length.sum(1, keepdim=True)
        length = length * (0.95 * seconds / total.clamp(min=0.95 * seconds))  # what is too long is said faster
        end = length.cumsum(1) + onset * (0.98 * seconds - length.sum(1, keepdim=True))
        # not end - length of each: rounded, that can lie before the end of the one before, and two are said at once
        start = torch.cat((end[:, :1] - length[:, :1], end[:, :-1]), dim=1)
        voice = ((knob["voicing"] - _UNVOICED) / (_VOICED - _UNVOICED)).clamp(0.0, 1.0)
        voiced = torch.where((kind == FRICATIVE) | (kind == STOP), voice, (kind != SILENCE).to(voice))
        return Utterance(
            kind,
            start,
            end,
            torch.stack(formants(kind, knob["f1"], knob["front"], knob["f3"]), dim=1),
            voiced,
            knob["level"],
            knob["noise.centre"],
            knob["noise.width"],
            knob["noise.level"],
        )


def formants(kind: Tensor, f1: Tensor, front: Tensor, f3: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The first three formants of segments in a tract of usual length.

    A vowel has F1 where its knob says; F2 lies between that of a back and that of a front vowel that is as open. A
    consonant's F1 is that of a mouth that is closed or nearly so, and its F2 the locus of where it is closed.

    Args:
        kind: indices of `KINDS`, (n, segments).
        f1: log2 Hz.
        front: from 0, back or at the lips, to 1, front or at the palate.
        f3: log2 Hz; at least 300 Hz above F2.

    Returns:
        log2 Hz, (n, segments) each.
    """
    opened = (torch.exp2(f1) - _F1[0]) / (_F1[1] - _F1[0])
    back, forward = 700.0 + 400.0 * opened, 2350.0 - 600.0 * opened
    vowel = torch.log2(back) * (1.0 - front) + torch.log2(forward) * front
    locus = math.log2(_LOCUS[0]) + math.log2(_LOCUS[1] / _LOCUS[0]) * front
    glide = torch.log2(_GLIDE_F1[0] + (_GLIDE_F1[1] - _GLIDE_F1[0]) * opened)
    is_vowel = kind == VOWEL
    first = torch.where(is_vowel, f1, torch.where(kind == GLIDE, glide, math.log2(_CLOSED_F1)))
    second = torch.where(is_vowel, vowel, locus)
    return first, second, torch.maximum(f3, torch.log2(torch.exp2(second) + _ABOVE_F2))


def by_kind(values: tuple[float, ...], kind: Tensor, like: Tensor) -> Tensor:
    """A number for each segment, by its kind.

    Args:
        values: one for each of `KINDS`.
        kind: indices of `KINDS`, (n, segments).
        like: tensor of the type to return.
    """
    found = torch.full(kind.shape, values[0], dtype=like.dtype, device=like.device)
    for index, value in enumerate(values[1:], 1):  # a table of the values would have to be copied to the device
        found = torch.where(kind == index, value, found)
    return found
