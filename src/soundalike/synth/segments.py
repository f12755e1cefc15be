"""What a mouth says: segments one after the other, and the smooth curves that a tongue makes of them.

A segment has targets, such as the formants of a vowel, and holds them from its start to its end. What is heard is the
targets smeared over time, because a tongue takes its time: the coarticulation. With a smooth step for every start and
end, each curve has a closed form at any time, and gradients reach the lengths of the segments.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from soundalike.synth.control import Bank
from soundalike.synth.parameter import ParameterSpec
from soundalike.synth.resonance import DECIBEL

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
_VOICE_DB = (-100.0, 0.0, -16.0, 0.0, -9.0, -4.0)  # of the voice in each kind, against a vowel's
_CLOSED_DB = -24.0  # of what is heard through a closed mouth
_RELEASE = 0.6  # part of a stop after which it opens
_RELEASED_DB, _ASPIRATION_DB, _FRICTION_DB = (
    -3.0,
    -14.0,
    -6.0,
)  # of an open stop's voice and breath, and of a fricative
_BURST = 0.006  # seconds, half of the time in which the air that was held breaks out
_VOICED, _UNVOICED = 0.6, 0.4  # positions of the knob from which on and up to which a consonant has voice or none
_SOUND_STEP, _RELEASE_STEP, _NOSE_STEP = 0.012, 0.002, 0.025  # seconds, half of a smooth step
_NEAR = 0.02  # seconds beside a noise in which its colour is kept
_LEAST = 1e-4  # weight of a mouth at rest, which is heard where nothing is said
_REST = (math.log2(500.0), math.log2(1500.0), math.log2(2500.0))


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
        length = knob["length"] * _by_kind(_LENGTH, kind, units) * stretch
        total = length.sum(1, keepdim=True)
        length = length * (0.95 * seconds / total.clamp(min=0.95 * seconds))  # what is too long is said faster
        end = length.cumsum(1) + onset * (0.98 * seconds - length.sum(1, keepdim=True))
        voice = ((knob["voicing"] - _UNVOICED) / (_VOICED - _UNVOICED)).clamp(0.0, 1.0)
        voiced = torch.where((kind == FRICATIVE) | (kind == STOP), voice, (kind != SILENCE).to(voice))
        return Utterance(
            kind,
            end - length,
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


class Tracks:
    """The curves of an utterance, at some times.

    Args:
        said: what is said.
        time: seconds, (times,).
    """

    def __init__(self, said: Utterance, time: Tensor) -> None:
        self.said, self.time = said, time

    def amplitudes(self) -> tuple[Tensor, Tensor, Tensor]:
        """What sounds behind the lips, and how loud: 1 is the voice in a vowel at full stress.

        Returns:
            Amplitudes of the voice, of the breath after a stop without voice, and of the noise that is made in the
            mouth, (n, times) each.
        """
        said = self.said
        stop, fricative = said.kind == STOP, said.kind == FRICATIVE
        opens = self._opens()
        # each segment in two halves, and how loud each is: of a stop the one is closed and the other open
        closed = said.voiced * self._level(_by_kind(_VOICE_DB, said.kind, said.level))
        opened = torch.where(stop, said.voiced * self._level(_RELEASED_DB), closed)
        breath = stop * (1.0 - said.voiced) * self._level(_ASPIRATION_DB)
        noise = fricative * self._level(said.noise + _FRICTION_DB)
        nothing = torch.zeros_like(closed)
        levels = torch.stack((closed, opened, nothing, breath, noise, noise), dim=2).unflatten(2, (3, 2))
        levels = levels.transpose(1, 2).flatten(2)  # (n, 3, 2 segments)
        borders = torch.cat((torch.stack((said.start, opens), dim=2).flatten(1), said.end[:, -1:]), dim=1)
        jumps = nn.functional.pad(levels, (1, 1)).diff(dim=2)  # (n, 3, 2 segments + 1)
        voice, breath, noise = (jumps @ self._steps(borders, _SOUND_STEP)).unbind(1)
        # what was held breaks out as a bump
        along = (self.time - (opens[..., None] + _BURST)) / _BURST
        bump = (1.0 - along * along).clamp(min=0.0).square()  # (n, segments, times)
        burst = (stop * self._level(said.noise))[:, None] @ bump
        return voice, breath, noise + burst[:, 0]

    def lips(self) -> Tensor:
        """What the mouth lets out of what sounds in it, (n, times): 1, and little while it is closed for a stop."""
        said = self.said
        closed = self._steps(said.start, _SOUND_STEP) - self._steps(self._opens(), _RELEASE_STEP)
        muffled = (said.kind == STOP).to(closed) * (1.0 - math.exp(DECIBEL * _CLOSED_DB))
        return 1.0 - (muffled[:, None] @ closed)[:, 0]

    def formants(self, half: Tensor) -> Tensor:
        """log2 Hz of the first three, (n, 3, times), in a tract of usual length.

        Args:
            half: seconds that the tongue needs for half of its way, (n, 1).
        """
        said = self.said
        # before the first segment and after the last the tongue stays
        inside = self.time.clamp(min=0.0).maximum(said.start[:, :1]).minimum(said.end[:, -1:])  # (n, times)
        weight = -self._steps(self._borders(), half[..., None], inside[:, None]).diff(dim=1)  # (n, segments, times)
        rest = said.formants.new_tensor(_REST)[:, None]
        moved = (said.formants - rest) @ weight  # (n, 3, times)
        return rest + moved / (weight.sum(1, keepdim=True) + _LEAST)

    def noise(self) -> tuple[Tensor, Tensor]:
        """Centre and width of the noise in log2 Hz, (n, times) each: those of the nearest noise."""
        said = self.said
        noisy = (said.kind == FRICATIVE) | (said.kind == STOP)
        middle, half = 0.5 * (said.start + said.end), 0.5 * (said.end - said.start)
        apart = ((self.time - middle[..., None]).abs() - half[..., None]).clamp(min=0.0) / _NEAR
        weight = noisy[..., None] / (1.0 + apart.square()).square() + _LEAST  # (n, segments, times)
        centre, width = (torch.stack((said.centre, said.width), dim=1) @ weight / weight.sum(1, keepdim=True)).unbind(
            1
        )
        return centre, width

    def nose(self) -> Tensor:
        """How far the nose is open, from 0 to 1, (n, times)."""
        opened = nn.functional.pad((self.said.kind == NASAL).to(self.said.level), (1, 1)).diff(dim=1)
        return (opened[:, None] @ self._steps(self._borders(), _NOSE_STEP))[:, 0]

    def kinds(self) -> Tensor:
        """Which kind is said, (n, times, KINDS), 1 for the one and 0 for the others."""
        said, time = self.said, self.time
        here = (time >= said.start[..., None]) & (time < said.end[..., None])  # (n, segments, times)
        kind = (here * said.kind[..., None]).sum(1)
        return nn.functional.one_hot(kind, len(KINDS)).to(said.level)

    def _opens(self) -> Tensor:
        """When a stop opens, (n, segments)."""
        return self.said.start + _RELEASE * (self.said.end - self.said.start)

    def _borders(self) -> Tensor:
        """Where segments begin, and where the last one ends, (n, segments + 1)."""
        return torch.cat((self.said.start, self.said.end[:, -1:]), dim=1)

    def _steps(self, border: Tensor, half: float | Tensor, time: Tensor | None = None) -> Tensor:
        """From 0 to 1 within ``half`` seconds to either side of each border: (n, borders) -> (n, borders, times)."""
        x = (((self.time if time is None else time) - border[..., None]) / half).clamp(-1.0, 1.0)
        return 0.5 + x * (0.75 - 0.25 * x * x)

    def _level(self, decibels: Tensor | float) -> Tensor:
        """Amplitudes of segments at a level besides their stress, (n, segments)."""
        return torch.exp(DECIBEL * (self.said.level + decibels))


def _by_kind(values: tuple[float, ...], kind: Tensor, like: Tensor) -> Tensor:
    """A number for each segment by its kind, (n, segments)."""
    return like.new_tensor(values)[kind]
