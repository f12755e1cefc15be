"""Functions of the maths library that a compiled kernel replaces by a few multiplications.

Inside a compiled kernel a call of the library costs more than all the rest of an oscillator, and an error of 1e-6
(-120 dB) is not heard. Outside one, a single call is cheaper than the arithmetic that would replace it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cosine(cycles: Tensor) -> Tensor:
    """cos(2π · cycles)."""
    return polynomial_cosine(cycles) if torch.compiler.is_compiling() else torch.cos(2.0 * math.pi * cycles)


def tanh(x: Tensor) -> Tensor:
    """tanh(x)."""
    return rational_tanh(x) if torch.compiler.is_compiling() else torch.tanh(x)


def polynomial_cosine(cycles: Tensor) -> Tensor:
    """cos(2π · cycles) to within 1e-6.

    It is sin(2πq) with q in [-1/4, 1/4], and the sine is an odd minimax polynomial of degree 9, whose own error is
    3.4e-9; the rest is rounding.
    """
    q = 0.25 - (cycles - torch.round(cycles)).abs()
    square = q.square()
    series = 39.53670528307618 * square - 76.54978219594209
    for coefficient in (81.60100406926682, -41.34165503135705, 6.283185160089249):
        series = series * square + coefficient
    return series * q


def rational_tanh(x: Tensor) -> Tensor:
    """tanh(x) to within 1.5e-6: a minimax quotient up to 7.2, where tanh is 1.1e-6 below 1, and constant beyond."""
    x = x.clamp(-7.2, 7.2)
    square = x.square()
    above = 1.2158135924145247e-05 * square + 0.003015197022573743
    above = (above * square + 0.1298421847167369) * square + 0.9999997427328239
    below = 2.700880460313694e-07 * square + 0.0002479385070887399
    below = ((below * square + 0.02407452787099462) * square + 0.4631745071976623) * square + 1.0
    return x * above / below
