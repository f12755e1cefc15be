"""Fading in and out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from soundalike.views.augment.augmentation import Augmentation, Drawn, beyond_numpy, check_number, whole

Floats = npt.NDArray[np.floating[Any]]
LN_10 = math.log(10.0)
SHAPES = ("linear", "logarithmic", "exponential")
SLOPES = (1.0, 9.0, LN_10)
"""What t is multiplied by in the gain of each shape."""


class Fade(Augmentation):
    """Fades in from silence at the start and out to silence at the end.

    Each side's length is uniform from 0 to ``fraction`` of the clip. The shape is drawn for each sound. With t from
    0 at the outer end to 1 at the inner, the gain is t where linear, log10(1 + 9t) where logarithmic, and
    (10^t - 1) / 9 where exponential. Where the sides overlap (``fraction`` above ½), the quieter of the two holds.

    Args:
        fraction: the longest fade as a fraction of the clip, in [0, 1].
        p: the chance that a sound is changed.

    Source:
        Al-Tahan and Mohsenzadeh, "CLAR", AISTATS 2021, arXiv 2010.09542.
    """

    drawn_numbers = 3

    def __init__(self, fraction: float = 0.5, p: float = 0.5) -> None:
        super().__init__(p)
        self.fraction = check_number("fraction", fraction, 0.0, 1.0)

    def _values(self, u: Tensor, size: int) -> Drawn:
        longest = int(self.fraction * size) + 1
        return {
            "fade_in": whole(u[:, 0], longest),  # samples
            "fade_out": whole(u[:, 1], longest),
            "shape": whole(u[:, 2], len(SHAPES)),  # position in SHAPES
        }

    def _transform(self, audio: Tensor, drawn: Drawn) -> Tensor:
        if beyond_numpy(audio):
            rise, fall, shape = drawn["fade_in"][:, None], drawn["fade_out"][:, None], drawn["shape"][:, None]
            position = torch.arange(audio.shape[1], dtype=audio.dtype, device=audio.device)
            t = torch.minimum(_inwards(position, rise), _inwards(position.flip(0), fall))
            logarithmic = torch.log1p(9.0 * t) * (1.0 / LN_10)
            exponential = torch.expm1(LN_10 * t) * (1.0 / 9.0)
            return audio * torch.where(shape == 0, t, torch.where(shape == 1, logarithmic, exponential))
        # The gain is 1 in half of all samples: sound by sound, only the fades themselves are computed.
        faded = audio.clone()
        samples = faded.numpy()
        forwards = np.arange(samples.shape[1], dtype=samples.dtype)
        backwards = forwards[::-1].copy()
        gains = np.empty(2 * samples.shape[1], dtype=samples.dtype)
        values = (drawn[key].tolist() for key in ("fade_in", "fade_out", "shape"))
        for sound, rise, fall, shape in zip(samples, *values, strict=True):
            last = len(sound) - fall
            both = gains[: rise + fall]
            start, end = both[:rise], both[rise:]
            np.multiply(forwards[:rise], SLOPES[shape] / max(1, rise), out=start)
            np.multiply(backwards[last:], SLOPES[shape] / max(1, fall), out=end)
            if last < rise:  # they overlap
                np.minimum(start[last:], end[: rise - last], out=start[last:])
                end, last = end[rise - last :], rise
            _bend(both, shape)
            sound[:rise] *= start
            sound[last:] *= end
        return faded


def _inwards(position: Tensor, length: Tensor) -> Tensor:
    """t of positions (samples,) for fades of some lengths (n, 1)."""
    t = (position * length.clamp(min=1).to(position.dtype).reciprocal()).clamp_(max=1.0)
    return t.masked_fill_(length == 0, 1.0)


def _bend(t: Floats, shape: int) -> None:
    """t times the shape's `SLOPES` into gains, in place."""
    if shape == 1:
        t += 1.0
        np.log(t, out=t)
        t *= 1.0 / LN_10
    elif shape == 2:
        np.exp(t, out=t)
        t -= 1.0
        t *= 1.0 / 9.0
