"""Counted randomness: every number is a function of a seed and a position, never of what was drawn before.

A generator carries state, so its stream depends on the batch size, the order of the calls and the device. Here a
number is a hash of *which* number it is: sound 1,234,567 of seed 0 is the same sound in any batch, on any rank, on
any device and after any interruption.

The hash is the 32-bit finaliser of MurmurHash3 (Austin Appleby, public domain), twice over each counter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_MULTIPLIER_1 = 0x85EBCA6B - (1 << 32)  # as signed 32-bit integers, which torch multiplies modulo 2**32
_MULTIPLIER_2 = 0xC2B2AE35 - (1 << 32)
_GOLDEN = 0x9E3779B9 - (1 << 32)


def _mix(state: Tensor) -> Tensor:
    """MurmurHash3's finaliser on int32, in place: a bijection in which every input bit moves every output bit."""
    # int32 >> is arithmetic: the masks drop the copies of the sign bit
    state ^= (state >> 16) & 0xFFFF
    state *= _MULTIPLIER_1
    state ^= (state >> 13) & 0x7FFFF
    state *= _MULTIPLIER_2
    state ^= (state >> 16) & 0xFFFF
    return state


def _low_and_high(number: Tensor) -> tuple[Tensor, Tensor]:
    return number.to(torch.int32), (number >> 32).to(torch.int32)


def keys(seed: int | Tensor, index: Tensor | None = None, *, stream: int | Sequence[int] = 0) -> Tensor:
    """A key for each position of a stream: what `bits`, `uniform` and `normal` draw from.

    Args:
        seed: the seed, any 64-bit integer, or a tensor of them (broadcast against ``index``).
        index: positions in the stream, int64 of any shape; 0 where not given.
        stream: which of several independent uses of one seed; several are hashed together, which launches as many
            kernels as one.

    Returns:
        int32 tensor of the broadcast shape, behind an axis of the streams where several are given.
    """
    numbers = [_start(each) for each in ((stream,) if isinstance(stream, int) else stream)]
    if isinstance(seed, Tensor):
        index = torch.zeros_like(seed) if index is None else index
        if not seed.dim():
            seed = seed.to(index.device)
        words = [*_low_and_high(seed.to(torch.int64))]
    else:
        index = torch.zeros((), dtype=torch.int64) if index is None else index
        words = []
        for part in (seed, seed >> 32):  # in Python: a tensor of the seed would have to be copied to the device
            hashed = _mix_number(part * _GOLDEN)
            numbers = [_mix_number(_mix_number(hashed + number) + _GOLDEN) for number in numbers]
    words += _low_and_high(index.to(torch.int64))
    first = _mix(words[0] * _GOLDEN)
    shape = torch.broadcast_shapes(first.shape, index.shape)
    # one by one: a tensor of the streams would have to be copied to the device
    key = torch.stack([(first + number).expand(shape) for number in numbers])  # (streams, *shape)
    key = _mix(_mix(key) + _GOLDEN)
    for word in words[1:]:
        key = _next(word, key)
    return key[0] if isinstance(stream, int) else key


def _next(word: Tensor, key: Tensor) -> Tensor:
    """A key with another word of 32 bits hashed into it.

    The word is hashed before the key joins it: added to the word itself, the keys of two seeds would make the streams
    of their indices shifted copies of one sequence.
    """
    return _mix(_mix(_mix(word * _GOLDEN) + key) + _GOLDEN)


def _start(stream: int) -> int:
    return (stream * 0x2545F491 + 0x5BD1E995) & 0x7FFFFFFF


def _mix_number(state: int) -> int:
    """As `_mix`, of one number, to 32 bits with sign."""
    state &= 0xFFFFFFFF
    state ^= state >> 16
    state = state * _MULTIPLIER_1 & 0xFFFFFFFF
    state ^= state >> 13
    state = state * _MULTIPLIER_2 & 0xFFFFFFFF
    state ^= state >> 16
    return state - (1 << 32) if state >> 31 else state


def bits(key: Tensor, count: int) -> Tensor:
    """The first ``count`` 32-bit numbers that belong to each key.

    Args:
        key: int32 of shape (n,).
        count: how many numbers.

    Returns:
        int32 of shape (n, count), all values equally likely.
    """
    return _mix(positions(count, key.device) + key[:, None])  # (n, count)


def positions(count: int, device: torch.device | str = "cpu", start: int = 0) -> Tensor:
    """What `bits` and `noise_at` add to a key to get the numbers at positions from ``start`` on: int32 (count,)."""
    # The positions are hashed on their own first, so that two keys that differ in few bits do not walk through
    # shifted or permuted copies of one sequence.
    return _mix(torch.arange(start, start + count, dtype=torch.int32, device=device) * _GOLDEN + 1)


def uniform(key: Tensor, count: int) -> Tensor:
    """Uniform numbers in [0, 1) on a grid of 2**-24.

    Args:
        key: int32 of shape (n,).
        count: numbers for each key.

    Returns:
        float32 of shape (n, count).
    """
    return ((bits(key, count) >> 8) & 0xFFFFFF).to(torch.float32) * 2.0**-24


def normal(key: Tensor, count: int) -> Tensor:
    """Standard normal numbers, by Box and Muller's method.

    Args:
        key: int32 of shape (n,).
        count: numbers for each key.

    Returns:
        float32 of shape (n, count).
    """
    radius, angle = uniform(key, 2 * count).unflatten(1, (2, count)).unbind(1)
    # 1 - u lies in (0, 1], so that the logarithm is finite
    return torch.sqrt(-2.0 * torch.log(1.0 - radius)) * torch.cos(2.0 * math.pi * angle)


def noise(seed: Tensor, samples: int) -> Tensor:
    """Uniform white noise in [-1, 1), a waveform for each seed.

    Args:
        seed: int64 of shape (n,).
        samples: length in samples.

    Returns:
        float32 of shape (n, samples).
    """
    return noise_at(noise_keys(seed), positions(samples, seed.device))


def noise_keys(seed: Tensor) -> Tensor:
    """The keys of the noise of each seed: int64 (n,) -> int32 (n,)."""
    return keys(seed, stream=1)


def noise_at(key: Tensor, position: Tensor) -> Tensor:
    """White noise at some positions.

    Args:
        key: int32 (n,), from `noise_keys`.
        position: int32 of any shape, from `positions`.

    Returns:
        float32 of shape (n, *position.shape), in [-1, 1).
    """
    return _mix(position + key.reshape(-1, *[1] * position.dim())).to(torch.float32) * 2.0**-31
