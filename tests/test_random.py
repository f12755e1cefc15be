"""Counted random numbers: pinned values, fair bits, the right distributions, no dependence where none is due."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from soundalike.core import random

COUNT = 1 << 16


def unsigned(bits: Tensor) -> Tensor:
    """int32 -> its 32 bits, as a last axis of 0 and 1."""
    return (bits[..., None] >> torch.arange(32, dtype=torch.int32)) & 1


def ks(values: Tensor, ordered_cdf: Tensor) -> float:
    """Kolmogorov and Smirnov's distance, times the root of the count: above 2.2 with a chance of 1e-4."""
    count = values.numel()
    steps = torch.arange(count, dtype=torch.float64) / count
    return float(torch.maximum((ordered_cdf - steps).max(), (steps + 1 / count - ordered_cdf).max())) * count**0.5


def correlation(a: Tensor, b: Tensor) -> float:
    """Times the root of the count: a standard normal number where a and b are independent."""
    return float(torch.corrcoef(torch.stack((a.flatten(), b.flatten())).double())[0, 1]) * a.numel() ** 0.5


# ---- values that must never change: a seed names the same sounds in every version


PINNED: dict[str, Any] = {
    "key 0": -1776955242,
    "keys": [1272606705, -196006008, -1122415574],
    "key -1": [-159899206],
    "bits": [[1325198709, 10593822, 623679962], [27387474, -1706873944, -752773358]],
    "uniform": [14999433, 2039048, 13307062],
    "normal": [-0.18141339719295502, 0.5045294165611267, 0.8519101142883301],
    "noise": [537060864, 903303744, -1386863744],
}


def test_pinned_values() -> None:
    assert random.keys(0).item() == PINNED["key 0"]
    assert random.keys(2**40 + 7, torch.tensor([0, 1, 2**33]), stream=3).tolist() == PINNED["keys"]
    assert random.keys(-1, torch.tensor([5])).tolist() == PINNED["key -1"]
    assert random.bits(random.keys(torch.tensor([0, 1])), 3).tolist() == PINNED["bits"]
    key = random.keys(torch.tensor([12345]))
    assert [round(x * 2**24) for x in random.uniform(key, 3)[0].tolist()] == PINNED["uniform"]
    assert random.normal(key, 3)[0].tolist() == pytest.approx(PINNED["normal"], abs=1e-5)
    assert (random.noise(torch.tensor([0]), 3)[0].double() * 2**31).tolist() == pytest.approx(PINNED["noise"], abs=200)


def test_the_finaliser_is_the_published_one() -> None:
    """MurmurHash3's fmix32 in plain integers."""

    def fmix32(h: int) -> int:
        h ^= h >> 16
        h = h * 0x85EBCA6B % 2**32
        h ^= h >> 13
        h = h * 0xC2B2AE35 % 2**32
        return h ^ h >> 16

    numbers = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xDEADBEEF, 123456789]
    state = torch.tensor(numbers).to(torch.int32)
    assert [x % 2**32 for x in random._mix(state).tolist()] == [fmix32(n) for n in numbers]


# ---- bits


@pytest.mark.parametrize(
    "bits",
    [
        random.bits(random.keys(torch.arange(COUNT)), 1)[:, 0],  # many seeds, one number each
        random.bits(random.keys(0, torch.arange(COUNT)), 1)[:, 0],  # many positions of one seed
        random.bits(random.keys(torch.tensor([0])), COUNT)[0],  # many numbers of one key
        random.keys(torch.arange(COUNT)),
        random.keys(torch.arange(COUNT) << 32),
        random.keys(7, torch.arange(COUNT) * 1024),
    ],
    ids=["seeds", "positions", "numbers", "keys", "high seeds", "strides"],
)
def test_bits_are_fair_and_independent(bits: Tensor) -> None:
    flips = unsigned(bits).double() * 2 - 1  # (COUNT, 32)
    assert flips.mean(0).abs().max() * COUNT**0.5 < 4.5
    between = torch.corrcoef(flips.T) - torch.eye(32)
    assert between.abs().max() * COUNT**0.5 < 5
    lagged = (flips[1:].T @ flips[:-1]) / COUNT  # each bit with each bit of the number before
    assert lagged.abs().max() * COUNT**0.5 < 5
    # 2**16 of 2**32 values: half a collision is to be expected
    assert bits.unique().numel() >= COUNT - 6


@pytest.mark.parametrize("bit", [0, 1, 15, 31, 32, 47, 62])
def test_one_bit_of_seed_or_position_moves_half_of_all_bits(bit: int) -> None:
    number = torch.arange(2048) * 977
    for original, flipped in (
        (random.keys(number), random.keys(number ^ (1 << bit))),
        (random.keys(3, number), random.keys(3, number ^ (1 << bit))),
    ):
        moved = unsigned(original ^ flipped).double().mean(0)  # of each of the 32 bits
        assert (moved - 0.5).abs().max() < 4.5 * 0.5 / 2048**0.5


# ---- distributions


def test_uniform_numbers_are_uniform() -> None:
    values = random.uniform(random.keys(1, torch.arange(256)), 256).flatten().double()
    assert values.min() >= 0
    assert values.max() < 1
    assert ks(values, values.sort().values) < 2.2
    assert (values * 2**24 % 1 == 0).all()
    pairs = torch.histogramdd(values.reshape(-1, 2).float(), bins=[16, 16], range=[0.0, 1.0, 0.0, 1.0]).hist.double()
    expected = values.numel() / 2 / 256
    chi_square = ((pairs - expected) ** 2 / expected).sum()
    assert abs(float(chi_square) - 255) < 4.5 * (2 * 255) ** 0.5


def test_largest_uniform_number_is_below_one() -> None:
    most = random.uniform(random.keys(torch.arange(4096)), 4096).max()
    assert 1 - 1e-6 < most < 1


def test_normal_numbers_are_normal() -> None:
    values = random.normal(random.keys(2, torch.arange(512)), 512).flatten().double()
    count = values.numel()
    assert values.isfinite().all()
    assert abs(values.mean()) * count**0.5 < 4
    assert abs(values.var() - 1) * (count / 2) ** 0.5 < 4
    assert abs((values**3).mean()) * (count / 15) ** 0.5 < 4
    assert abs((values**4).mean() - 3) * (count / 96) ** 0.5 < 4
    ordered = values.sort().values
    assert ks(values, 0.5 * (1 + torch.erf(ordered / math.sqrt(2)))) < 2.2
    assert 4 < values.abs().max() < math.sqrt(2 * math.log(2**24)) + 1e-3  # as far as 24 bits reach


def test_noise_is_white_and_uniform() -> None:
    noise = random.noise(torch.arange(8), 1 << 14).double()
    assert noise.min() >= -1
    assert noise.max() < 1.0000001
    assert noise.max() > 0.999
    assert ks(noise, ((noise.flatten() + 1) / 2).sort().values) < 2.2
    power = torch.fft.rfft(noise).abs().square()[:, 1:-1] / ((1 << 14) / 3)  # exponential with mean 1
    assert power.mean() == pytest.approx(1, abs=5 / power.numel() ** 0.5)
    assert power.max() < math.log(power.numel()) + 9
    for band in power.mean(0).chunk(16):
        assert band.mean() == pytest.approx(1, abs=5 / (8 * band.numel()) ** 0.5)


# ---- independence


def test_neighbours_are_unrelated() -> None:
    values = random.uniform(random.keys(0, torch.arange(257)), 257).double()
    assert abs(correlation(values[1:], values[:-1])) < 4  # of positions
    assert abs(correlation(values[:, 1:], values[:, :-1])) < 4  # of numbers
    assert abs(correlation(values[1:, :-1], values[:-1, 1:])) < 4
    seeds = random.uniform(random.keys(torch.arange(257)), 257).double()
    assert abs(correlation(seeds[1:], seeds[:-1])) < 4
    assert abs(correlation(seeds, values)) < 4  # position k of seed 0 and position 0 of seed k


def test_no_key_walks_through_a_shifted_copy_of_another() -> None:
    """Two counters that meet would share a run of numbers: 2**18 numbers of 32 bits meet by chance only."""
    numbers = random.bits(random.keys(torch.arange(512)), 512)
    values, counts = numbers.flatten().unique(return_counts=True)
    assert values.numel() > 2**18 - 60  # 8 are to be expected
    assert counts.max() <= 3


def test_seeds_share_keys_by_chance_alone() -> None:
    """A thousand seeds of a hundred thousand sounds: were the streams copies of one, whole runs would meet."""
    seeds, index = 1000, torch.arange(100_000)
    # keys that are the same are in the same slice of all: a 64th of them tells how many there are
    kept = []
    for seed in range(seeds):
        key = random.keys(seed, index)
        kept.append(key[(key & 63) == 17])
    everything = torch.cat(kept)
    repeated = len(everything) - len(everything.unique())
    # two of k keys of 32 bits are the same by chance k² / 2**33 times: 18,190 times in a 64th
    assert repeated == pytest.approx((seeds * len(index)) ** 2 / 2**33 / 64, rel=0.05)


@pytest.mark.parametrize("seeds", [(0, 1), (3, 128), (7, 8)])
def test_no_seed_is_a_shifted_copy_of_another(seeds: tuple[int, int]) -> None:
    """Sound k of one seed is not followed by what follows it in the other, wherever it turns up there."""
    one, other = (random.keys(seed, torch.arange(1 << 21)).numpy() for seed in seeds)
    met, here, there = np.intersect1d(one, other, return_indices=True)
    assert len(met) == pytest.approx(2**42 / 2**32, rel=0.2)
    assert len(np.unique(here - there)) > 0.98 * len(met)


def test_streams_are_unrelated() -> None:
    index = torch.arange(256)
    streams = [random.normal(random.keys(9, index, stream=stream), 128).flatten() for stream in range(8)]
    between = torch.corrcoef(torch.stack(streams).double()) - torch.eye(8)
    assert between.abs().max() * (256 * 128) ** 0.5 < 4.5
    assert len({random.keys(9, stream=stream).item() for stream in range(1000)}) == 1000


# ---- counting


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(1, 40), st.integers(1, 40))
def test_the_first_numbers_do_not_depend_on_how_many_are_drawn(seed: int, index: int, few: int, more: int) -> None:
    key = random.keys(seed, torch.tensor([index]))
    low, high = min(few, more), max(few, more)
    assert torch.equal(random.bits(key, low), random.bits(key, high)[:, :low])
    assert torch.equal(random.uniform(key, low), random.uniform(key, high)[:, :low])


@given(st.integers(-(2**63), 2**63 - 1), st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=9))
def test_a_position_is_the_same_in_any_company(seed: int, positions: list[int]) -> None:
    together = random.keys(seed, torch.tensor(positions))
    alone = [random.keys(seed, torch.tensor([position])).item() for position in positions]
    assert together.tolist() == alone
    assert random.keys(torch.full((len(positions),), seed), torch.tensor(positions)).tolist() == alone


@given(seed=st.integers(-(2**63), 2**63 - 1), streams=st.lists(st.integers(0, 2**31), min_size=1, max_size=4))
def test_streams_that_are_hashed_together_are_those_hashed_alone(seed: int, streams: list[int]) -> None:
    positions = torch.arange(6).reshape(2, 3)
    for given_seed in (seed, torch.tensor(seed), torch.tensor([[seed], [7]])):
        together = random.keys(given_seed, positions, stream=streams)
        assert together.shape == (len(streams), 2, 3)
        for one, stream in zip(together, streams, strict=True):
            assert torch.equal(one, random.keys(given_seed, positions, stream=stream))
    assert random.keys(seed, stream=streams).tolist() == [random.keys(seed, stream=each).item() for each in streams]


@pytest.mark.parametrize("seed", [0, 1, -1, 2**31, 2**32, -(2**31), 2**63 - 1, -(2**63)])
def test_any_seed_of_64_bits_has_a_stream_of_its_own(seed: int) -> None:
    others = [0, 1, -1, 2**31, 2**32, -(2**31), 2**63 - 1, -(2**63), seed ^ 1, seed ^ (1 << 40)]
    mine = random.keys(seed).item()
    assert sum(random.keys(other).item() == mine for other in others) == 1
    noise = random.noise(torch.tensor([seed]), 1000)
    assert noise.isfinite().all()
    assert noise.std() == pytest.approx(3**-0.5, abs=0.05)


def test_global_randomness_is_left_alone() -> None:
    before = torch.get_rng_state()
    random.normal(random.keys(0, torch.arange(4)), 4)
    random.noise(torch.arange(4), 4)
    assert torch.equal(torch.get_rng_state(), before)


def test_shapes_and_types() -> None:
    key = random.keys(0, torch.arange(6).reshape(2, 3))
    assert (key.shape, key.dtype) == ((2, 3), torch.int32)
    assert random.keys(torch.tensor([1, 2]), torch.tensor([3, 4])).shape == (2,)
    for draw, kind in ((random.bits, torch.int32), (random.uniform, torch.float32), (random.normal, torch.float32)):
        drawn = draw(key[0], 5)
        assert (drawn.shape, drawn.dtype) == ((3, 5), kind)
        assert draw(key[0], 0).shape == (3, 0)
        assert draw(key[0, :0], 5).shape == (0, 5)
