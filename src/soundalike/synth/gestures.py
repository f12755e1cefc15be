"""The smooth curves that tongue, lips and throat make of what is said.

A segment has targets, such as the formants of a vowel, and holds them from its start to its end. What is heard is the
targets smeared over time, because a tongue takes its time: the coarticulation. With a smooth step for every start and
end, each curve has a closed form at any time, and gradients reach the lengths of the segments.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from soundalike.synth.resonance import DECIBEL
from soundalike.synth.segments import FRICATIVE, NASAL, SILENCE, STOP, Utterance, by_kind

_VOICE_DB = (-100.0, 0.0, -16.0, 0.0, -9.0, -4.0)  # of the voice in each kind, against a vowel's
_RELEASED_DB, _ASPIRATION_DB = -3.0, -14.0  # of the voice and of the breath of a stop that has opened
_FRICTION_DB, _CLOSED_DB = -6.0, -24.0  # of a fricative's noise, and of what is heard through closed lips
_RELEASE = 0.6  # part of a stop after which it opens
_BURST = 0.006  # seconds, half of the time in which the air that was held breaks out
_SOUND_STEP, _RELEASE_STEP, _NOSE_STEP = 0.012, 0.002, 0.025  # seconds, half of a smooth step
_NEAR = 0.02  # seconds beside a noise in which its colour is kept
_LEAST = 1e-4  # weight of a mouth at rest, which is heard where nothing is said
_REST = (math.log2(500.0), math.log2(1500.0), math.log2(2500.0))


class Gestures(NamedTuple):
    """What the curves of n utterances are made of, for each segment or for each border between two."""

    borders: Tensor
    """Seconds: where segments begin, and where the last one ends, (n, segments + 1)."""
    formants: Tensor
    """Log2 Hz above those of a mouth at rest, (n, 3, segments)."""
    nasal: Tensor
    """By how much the nose opens at each border, (n, 1, segments + 1)."""
    noisy: Tensor
    """1 where the mouth makes noise, (n, segments)."""
    noise: Tensor
    """Centre and width of the noise, log2 Hz, (n, 2, segments)."""
    halves: Tensor
    """Borders with those in a segment, where a stop opens, (n, 2 segments + 1)."""
    jumps: Tensor
    """By how much voice, breath and noise rise at each of them, (n, 3, 2 segments + 1)."""
    opens: Tensor
    """Seconds at which each stop opens, (n, segments)."""
    burst: Tensor
    """Amplitude of the noise that then breaks out, (n, 1, segments)."""
    muffled: Tensor
    """Part of the amplitude that closed lips take away until then, (n, 1, segments)."""

    @classmethod
    def of(cls, said: Utterance) -> Gestures:
        """Those of what is said."""
        stop, fricative, nasal = (said.kind == kind for kind in (STOP, FRICATIVE, NASAL))
        opens = said.start + _RELEASE * (said.end - said.start)

        def loud(decibels: Tensor | float) -> Tensor:  # besides the stress
            return torch.exp(DECIBEL * (said.level + decibels))

        # each segment in two halves, and how loud each is: of a stop the one is closed and the other open
        closed = said.voiced * loud(by_kind(_VOICE_DB, said.kind, said.level))
        closed = torch.where(said.kind == SILENCE, 0.0, closed)
        opened = torch.where(stop, said.voiced * loud(_RELEASED_DB), closed)
        breath = stop * (1.0 - said.voiced) * loud(_ASPIRATION_DB)
        noise = fricative * loud(said.noise + _FRICTION_DB)
        levels = torch.stack((closed, opened, torch.zeros_like(breath), breath, noise, noise), dim=2)
        levels = levels.unflatten(2, (3, 2)).transpose(1, 2).flatten(2)  # (n, 3, 2 segments)
        borders, end = torch.stack((said.start, opens), dim=2).flatten(1), said.end[:, -1:]
        return cls(
            torch.cat((said.start, end), dim=1),
            said.formants - _rest(said.formants),
            _jumps(nasal.to(end)[:, None]),
            (stop | fricative).to(end),
            torch.stack((said.centre, said.width), dim=1),
            torch.cat((borders, end), dim=1),
            _jumps(levels),
            opens,
            (stop * loud(said.noise))[:, None],
            (stop * (1.0 - math.exp(DECIBEL * _CLOSED_DB))).to(end)[:, None],
        )

    def amplitudes(self, time: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What sounds behind the lips, and how loud: 1 is the voice in a vowel at full stress.

        Args:
            time: seconds, (times,).

        Returns:
            Amplitudes of the voice, of the breath after a stop without voice, and of the noise that is made in the
            mouth, (n, times) each.
        """
        voice, breath, noise = (self.jumps @ _steps(time, self.halves, _SOUND_STEP)).unbind(1)
        # what was held breaks out as a bump
        along = (time - (self.opens[..., None] + _BURST)) / _BURST
        bump = (1.0 - along * along).clamp(min=0.0).square()  # (n, segments, times)
        return voice, breath, noise + (self.burst @ bump)[:, 0]

    def lips(self, time: Tensor) -> Tensor:
        """What the mouth lets out of what sounds in it, (n, times): 1, and little while it is closed for a stop."""
        closed = _steps(time, self.borders[:, :-1], _SOUND_STEP) - _steps(time, self.opens, _RELEASE_STEP)
        return 1.0 - (self.muffled @ closed)[:, 0]

    def tongue(self, time: Tensor, half: Tensor) -> Tensor:
        """The first three formants in a tract of usual length, log2 Hz, (n, 3, times).

        Args:
            time: seconds, (times,).
            half: seconds that the tongue needs for half of its way, (n, 1).
        """
        # before the first segment and after the last the tongue stays
        inside = time.clamp(min=0.0).maximum(self.borders[:, :1]).minimum(self.borders[:, -1:])  # (n, times)
        weight = -_steps(inside[:, None], self.borders, half[..., None]).diff(dim=1)  # (n, segments, times)
        return _rest(self.formants) + (self.formants @ weight) / (weight.sum(1, keepdim=True) + _LEAST)

    def passage(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Centre and width of the noise in log2 Hz, (n, times) each: those of the nearest noise."""
        start, end = self.borders[:, :-1], self.borders[:, 1:]
        apart = ((time - 0.5 * (start + end)[..., None]).abs() - 0.5 * (end - start)[..., None]).clamp(min=0.0)
        weight = self.noisy[..., None] / (1.0 + (apart / _NEAR).square()).square() + _LEAST  # (n, segments, times)
        centre, width = (self.noise @ weight / weight.sum(1, keepdim=True)).unbind(1)
        return centre, width

    def nose(self, time: Tensor) -> Tensor:
        """How far the nose is open, from 0 to 1, (n, times)."""
        return (self.nasal @ _steps(time, self.borders, _NOSE_STEP))[:, 0]


def _jumps(levels: Tensor) -> Tensor:
    """By how much levels of segments rise at their borders: (…, segments) -> (…, segments + 1)."""
    return nn.functional.pad(levels, (1, 1)).diff(dim=-1)


def _steps(time: Tensor, border: Tensor, half: float | Tensor) -> Tensor:
    """From 0 to 1 within ``half`` seconds to either side of each border: (n, borders) -> (n, borders, times)."""
    x = ((time - border[..., None]) / half).clamp(-1.0, 1.0)
    return 0.5 + x * (0.75 - 0.25 * x * x)


def _rest(like: Tensor) -> Tensor:
    """Formants of a tract at rest in log2 Hz, (3, 1)."""
    # filled in on the device: a table would have to be copied there
    return torch.stack([torch.full((1,), octaves, dtype=like.dtype, device=like.device) for octaves in _REST])
