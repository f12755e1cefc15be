"""Doppelgängers: counted the same for any batch and rank, nudged as the paper says, by group, with chosen noise."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from soundalike.core.errors import SoundalikeError
from soundalike.synth import GROUPS, VOICES, Voice
from soundalike.views import Doppelgangers
from soundalike.views.doppelganger import group_deltas
from soundalike.views.view import HELD_OUT, Batch, step_indices

VOICE = Voice(seconds=1 / 3)  # 160 control points: a whole number of vectors, so that batches agree to the last bit
LOWEST = torch.tensor(1e-6)


def groups(name: str) -> Tensor:
    return torch.tensor([spec.group == name for spec in VOICE.specs])


class Pair(NamedTuple):
    """A batch, and the patches of its views."""

    first: Tensor
    second: Tensor
    first_patch: Tensor
    second_patch: Tensor


def drawn(views: Doppelgangers, seed: int, indices: Tensor) -> Pair:
    batch = views.batch(seed, indices)
    return Pair(batch.first, batch.second, *views.patches(seed, indices))


def stepped(views: Doppelgangers, seed: int, step: int, rank: int = 0, ranks: int = 1, batch_size: int = 256) -> Pair:
    batch = views(seed, step, rank, ranks, batch_size)
    patches = views.patches(seed, step_indices(step, rank, ranks, batch_size))
    return Pair(batch.first, batch.second, *patches)


def joined(pairs: list[Pair]) -> Pair:
    return Pair(*(torch.cat(parts) for parts in zip(*pairs, strict=True)))


def assert_same(a: Pair, b: Pair) -> None:
    assert torch.equal(a.first_patch, b.first_patch)
    assert torch.equal(a.second_patch, b.second_patch)
    assert torch.allclose(a.first, b.first, rtol=0, atol=1e-5)
    assert torch.allclose(a.second, b.second, rtol=0, atol=1e-5)


# ---- counting


def test_a_pair_is_two_sounds_and_their_patches() -> None:
    views = Doppelgangers(VOICE)
    pair = stepped(views, seed=0, step=0, batch_size=3)
    assert pair.first.shape == pair.second.shape == (3, VOICE.samples)
    assert pair.first_patch.shape == pair.second_patch.shape == (3, 78)
    assert not torch.equal(pair.first, pair.second)
    # the patches are those of the sounds: with a noise that is known, they can be rendered again
    fixed = stepped(Doppelgangers(VOICE, noise="fixed"), seed=0, step=0, batch_size=3)
    assert torch.equal(fixed.first_patch, pair.first_patch)
    assert torch.allclose(VOICE(fixed.first_patch, noise_seed=0), fixed.first, atol=1e-5)
    assert torch.allclose(VOICE(fixed.second_patch, noise_seed=0), fixed.second, atol=1e-5)


@pytest.mark.parametrize("noise", ["view", "pair", "fixed"])
def test_the_stream_does_not_depend_on_the_batch_size(noise: str) -> None:
    views = Doppelgangers(VOICE, noise=noise)
    whole = stepped(views, seed=7, step=0, batch_size=12)
    assert_same(joined([stepped(views, seed=7, step=step, batch_size=4) for step in range(3)]), whole)
    assert_same(joined([stepped(views, seed=7, step=step, batch_size=1) for step in range(12)]), whole)
    assert_same(stepped(views, seed=7, step=0, batch_size=5), Pair(*(part[:5] for part in whole)))
    assert_same(drawn(views, 7, torch.tensor([11, 3])), Pair(*(part[[11, 3]] for part in whole)))


def test_ranks_share_one_stream_between_them() -> None:
    views = Doppelgangers(VOICE)
    alone = joined([stepped(views, seed=3, step=step, batch_size=6) for step in range(2)])
    shared = [
        stepped(views, seed=3, step=step, rank=rank, ranks=3, batch_size=2) for step in range(2) for rank in range(3)
    ]
    assert_same(joined(shared), alone)
    other = [
        stepped(views, seed=3, step=step, rank=rank, ranks=2, batch_size=3) for step in range(2) for rank in range(2)
    ]
    assert_same(joined(other), alone)


class Indices(Doppelgangers):
    """Gives the indices of its pairs in place of their sounds."""

    def batch(self, seed: int, indices: Tensor, targets: bool = False) -> Batch:
        return Batch(indices, indices)


@given(
    seed=st.integers(-(2**63), 2**63 - 1),
    step=st.integers(0, 10**9),
    ranks=st.integers(1, 9),
    batch_size=st.integers(1, 9),
    data=st.data(),
)
@settings(max_examples=50, deadline=None)
def test_numbers_of_a_step(seed: int, step: int, ranks: int, batch_size: int, data: st.DataObject) -> None:
    """The ranks of one step take the numbers that come next, in order and without a gap."""
    views = Indices(VOICE)
    numbers = [views(seed, step, rank, ranks, batch_size).first for rank in range(ranks)]
    first = step * ranks * batch_size
    assert torch.cat(numbers).tolist() == list(range(first, first + ranks * batch_size))


def test_no_sound_ever_comes_twice() -> None:
    views = Doppelgangers(VOICE)
    theta = views.theta(0, torch.arange(20_000))
    assert theta.unique(dim=0).shape[0] == 20_000
    first, second = views.patches(0, torch.arange(20_000))
    assert torch.cat((first, second)).unique(dim=0).shape[0] == 40_000
    far = views.theta(0, torch.arange(100) + 10**12)  # and numbers do not wrap around
    assert torch.cat((theta, far)).unique(dim=0).shape[0] == 20_100
    assert (views.theta(1, torch.arange(100)) != theta[:100]).any(1).all()


def test_global_randomness_is_left_alone() -> None:
    before = torch.get_rng_state()
    stepped(Doppelgangers(VOICE), seed=0, step=0, batch_size=2)
    assert torch.equal(torch.get_rng_state(), before)


# ---- statistics of the nudges


@pytest.mark.parametrize("uniform_in", ["units", "knobs"])
def test_views_are_clipped_normal_nudges(uniform_in: str) -> None:
    delta = 0.1
    views = Doppelgangers(VOICE, delta, uniform_in)
    number = torch.arange(8192)
    theta, (first, second) = views.theta(0, number), views.patches(0, number)
    for view in (first, second):
        assert (view >= LOWEST).all()
        assert view.max() == 1
        assert view.min() == LOWEST
    inside = (theta - 0.5).abs() < 0.5 - 4.5 * delta  # no nudge of theirs reaches the ends
    a, b = ((view - theta)[inside] / delta for view in (first, second))
    count = a.numel()
    assert count > 20_000
    for nudge in (a, b):
        assert abs(nudge.mean()) * count**0.5 < 4
        assert abs(nudge.var() - 1) * (count / 2) ** 0.5 < 4
    assert abs(torch.corrcoef(torch.stack((a, b)))[0, 1]) * count**0.5 < 4
    assert (first - second)[inside].std() == pytest.approx(delta * math.sqrt(2), rel=4 / (2 * count) ** 0.5)
    assert abs(torch.corrcoef(torch.stack((a, theta[inside])))[0, 1]) * count**0.5 < 4
    # what was clipped is what would have gone beyond
    outside = ((first == 1) | (first == LOWEST)).float().mean()
    beyond = 0.5 * (1 + torch.erf((theta - 1) / (delta * math.sqrt(2)))).mean()
    below = 0.5 * (1 - torch.erf(theta / (delta * math.sqrt(2)))).mean()
    assert outside == pytest.approx(float(beyond + below), abs=4 / (8192 * 78) ** 0.5)


def test_nudges_of_different_knobs_are_independent() -> None:
    views = Doppelgangers(VOICE, 0.1, uniform_in="knobs")
    number = torch.arange(4096)
    theta = views.theta(0, number)
    nudge = torch.where((theta - 0.5).abs() < 0.1, views.patches(0, number)[0] - theta, 0.0)
    between = torch.corrcoef(nudge.T) - torch.eye(78)
    assert between.abs().max() * 4096**0.5 < 5


def test_theta_follows_the_distribution_that_is_asked_for() -> None:
    number, low = torch.arange(4096), torch.tensor([spec.minimum for spec in VOICE.specs])
    width = torch.tensor([spec.maximum - spec.minimum for spec in VOICE.specs])
    units = (VOICE.to_units(Doppelgangers(VOICE, uniform_in="units").theta(0, number)) - low) / width
    knobs = Doppelgangers(VOICE, uniform_in="knobs").theta(0, number)
    for uniform in (units, knobs):
        assert (uniform.mean(0) - 0.5).abs().max() * (12 * 4096) ** 0.5 < 4.5
        assert (uniform.var(0) - 1 / 12).abs().max() * (180 * 4096) ** 0.5 < 4.5
    assert torch.allclose(units, knobs, atol=1e-5)  # the same uniform numbers, read in two ways


@pytest.mark.parametrize(
    ("delta", "clipped", "correlation", "gap"),
    [
        (0.01, 0.01, 0.999, 1.2),
        (0.05, 0.045, 0.97, 6.4),
        (0.1, 0.09, 0.90, 11.7),
        (0.25, 0.21, 0.58, 24),
        (0.5, 0.39, 0.23, 41),
    ],
)
def test_published_statistics(delta: float, clipped: float, correlation: float, gap: float) -> None:
    """What was measured of 512 pairs of SynthAX's Voice: shares of clipped knobs, correlations, pitch gaps."""
    first, second = Doppelgangers(VOICE, delta).patches(0, torch.arange(4096))
    ends = ((first == 1) | (first == LOWEST)).float().mean()
    assert ends == pytest.approx(clipped, abs=0.01)
    assert torch.corrcoef(torch.stack((first.flatten(), second.flatten())))[0, 1] == pytest.approx(
        correlation, abs=0.02
    )
    names = [spec.name for spec in VOICE.specs]
    pitch = [VOICE.to_units(patch)[:, names.index("keyboard.midi_f0")] for patch in (first, second)]
    assert (pitch[0] - pitch[1]).abs().median() == pytest.approx(gap, rel=0.12)


# ---- δ by group


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_with_delta_0_keeps_its_knobs(group: str) -> None:
    number, mine = torch.arange(64), groups(group)
    views = Doppelgangers(VOICE, {group: 0.0, "other": 0.1})
    theta, (first, second) = views.theta(0, number), views.patches(0, number)
    assert torch.equal(first[:, mine], second[:, mine])
    assert torch.equal(first[:, mine], theta[:, mine].clamp(1e-6, 1))
    assert ((first != second)[:, ~mine].float().mean(0) > 0.5).all()
    # the other knobs are where they would have been
    plain_first, _ = Doppelgangers(VOICE, 0.1).patches(0, number)
    assert torch.equal(first[:, ~mine], plain_first[:, ~mine])


def test_each_group_has_its_own_delta() -> None:
    delta = {group: 0.01 * (i + 1) for i, group in enumerate(GROUPS)}
    views = Doppelgangers(VOICE, delta, "knobs")
    number = torch.arange(2048)
    theta, (first, _) = views.theta(0, number), views.patches(0, number)
    for group, size in delta.items():
        if not groups(group).any():
            assert group in ("room", "kind", "content", "speaker", "play")  # of other voices
            continue
        inside = ((theta - 0.5).abs() < 0.2) & groups(group)
        assert (first - theta)[inside].std() == pytest.approx(size, rel=0.1)


def test_what_a_mapping_leaves_out() -> None:
    assert group_deltas(0.3) == dict.fromkeys(GROUPS, 0.3)
    assert group_deltas(1) == dict.fromkeys(GROUPS, 1.0)
    assert group_deltas({"pitch": 0.0}) == {**dict.fromkeys(GROUPS, 0.25), "pitch": 0.0}
    assert group_deltas({"pitch": 1, "other": 0}) == {**dict.fromkeys(GROUPS, 0.0), "pitch": 1.0}
    assert group_deltas({}) == dict.fromkeys(GROUPS, 0.25)


# ---- noise


def test_noise_of_views_pairs_and_batches() -> None:
    noises = {}
    for mode in ("view", "pair", "fixed"):
        views = Doppelgangers(VOICE, noise=mode)
        seen: list[Tensor] = []
        hook = VOICE.register_forward_pre_hook(
            lambda module, args, kwargs, seen=seen: seen.append(kwargs["noise_seed"]), with_kwargs=True
        )
        stepped(views, seed=0, step=0, batch_size=4)
        stepped(views, seed=0, step=1, batch_size=4)
        hook.remove()
        noises[mode] = torch.stack(seen).unflatten(1, (2, 4)).transpose(0, 1).flatten(1)  # (views, sounds)
    first, second = noises["view"]
    assert len({*first.tolist(), *second.tolist()}) == 16
    assert torch.equal(*noises["pair"])
    assert noises["pair"].unique().numel() == 8
    assert torch.equal(noises["pair"][0], first)
    assert noises["fixed"].unique().numel() == 1


# ---- bad input


@pytest.mark.parametrize("delta", [0, 0.0, -0.1, 1.5, math.nan, math.inf, "a", True, None, [0.1]])
def test_a_delta_out_of_its_range_is_named(delta: Any) -> None:
    message = f"delta is {delta!r}: give a number above 0 and at most 1, or one for each group."
    with pytest.raises(SoundalikeError, match=f"^{re.escape(message)}$"):
        Doppelgangers(VOICE, delta)


@pytest.mark.parametrize(
    ("delta", "message"),
    [
        ({"pich": 0.1}, "delta names the group 'pich': did you mean 'pitch'? Known: "),
        ({"pitch": -0.1}, "delta.pitch is -0.1: give a number from 0 to 1, or new."),
        ({"level": 1.5}, "delta.level is 1.5: give a number from 0 to 1, or new."),
        ({"other": math.nan}, "delta.other is nan: give a number from 0 to 1, or new."),
        ({"phase": True}, "delta.phase is True: give a number from 0 to 1, or new."),
        ({"phase": "a"}, "delta.phase is 'a': give a number from 0 to 1, or new."),
        ({"other": 0}, "delta is 0 for every group: both views would be the same sound; raise one of them."),
        (dict.fromkeys(GROUPS, 0.0), "delta is 0 for every group"),
    ],
)
def test_a_bad_mapping_is_named(delta: Mapping[str, float], message: str) -> None:
    with pytest.raises(SoundalikeError, match=f"^{re.escape(message)}"):
        Doppelgangers(VOICE, delta)


def test_unknown_names_are_met_with_known_ones() -> None:
    with pytest.raises(SoundalikeError, match=r"^noise is 'views': did you mean 'view'\? Known: fixed, pair, view\.$"):
        Doppelgangers(VOICE, noise="views")
    with pytest.raises(SoundalikeError, match=r"^uniform_in is 'knob': did you mean 'knobs'\? Known: knobs, units\.$"):
        Doppelgangers(VOICE, uniform_in="knob")


@pytest.mark.parametrize("name", VOICES)
def test_any_voice_has_doppelgangers(name: str) -> None:
    voice = VOICES[name](seconds=0.1)
    pair = stepped(Doppelgangers(voice), seed=0, step=5, batch_size=2)
    for sound, patch in ((pair.first, pair.first_patch), (pair.second, pair.second_patch)):
        assert sound.shape == (2, 1600)
        assert patch.shape == (2, voice.size)
        assert sound.isfinite().all()
        assert sound.abs().max() <= 1


# ---- augmentations

CHAIN = ["fade", {"name": "high-pass", "cutoff": [20, 800], "p": 1.0}, "noise"]


def test_augmentations_change_the_audio_of_each_view_and_nothing_else() -> None:
    plain, augmented = Doppelgangers(VOICE), Doppelgangers(VOICE, augment=CHAIN)
    before, after = stepped(plain, seed=1, step=0, batch_size=8), stepped(augmented, seed=1, step=0, batch_size=8)
    assert torch.equal(before.first_patch, after.first_patch)
    assert torch.equal(before.second_patch, after.second_patch)
    for old, new in ((before.first, after.first), (before.second, after.second)):
        assert ((old - new).abs().amax(1) > 1e-3 * old.abs().amax(1)).all()
    # with nudges and noise that are next to nothing, what is left to tell the views apart is what each drew
    same = Doppelgangers(VOICE, {"level": 1e-9, "other": 0}, noise="fixed", augment=["time-shift"])
    pair = stepped(same, seed=0, step=0, batch_size=32)
    assert torch.allclose(pair.first_patch, pair.second_patch, atol=1e-6)
    different = ((pair.first - pair.second).abs().amax(1) > 1e-3).float().mean()
    assert 0.4 < different < 1  # either view is shifted with a chance of a half


def test_augmentations_are_counted_as_the_sounds_are() -> None:
    views = Doppelgangers(VOICE, augment=CHAIN)
    whole = stepped(views, seed=7, step=0, batch_size=12)
    assert_same(joined([stepped(views, seed=7, step=step, batch_size=4) for step in range(3)]), whole)
    assert_same(drawn(views, 7, torch.tensor([11, 3])), Pair(*(part[[11, 3]] for part in whole)))
    other = stepped(views, seed=8, step=0, batch_size=12)
    assert not torch.allclose(other.first, whole.first, atol=1e-3)


def test_augmentations_hear_the_voice_s_sample_rate() -> None:
    views = Doppelgangers(Voice(sample_rate=8_000, seconds=0.1), augment=[{"name": "low-pass", "cutoff": 2_000}])
    assert views.augmentation is not None
    assert [member.sample_rate for member in views.augmentation.members] == [8_000]


@pytest.mark.parametrize("augment", [None, []])
def test_no_augmentation_costs_nothing(augment: list[Any] | None) -> None:
    views = Doppelgangers(VOICE, augment=augment)
    assert views.augmentation is None
    assert torch.equal(views(0, 0, batch_size=2).first, Doppelgangers(VOICE)(0, 0, batch_size=2).first)


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (["fads"], "unknown augmentation 'fads': did you mean 'fade'?"),
        (["spec-augment"], "augment changes audio: name augmentations of waveforms; those of spectrograms go in"),
        (["fade", "spec-augment"], "augmentations of waveforms and of spectrograms are in one list"),
        ([{"name": "fade", "p": 2}], "augmentation 'fade': p is 2: give a number from 0 to 1."),
    ],
)
def test_a_bad_augmentation_is_named(augment: list[Any], message: str) -> None:
    with pytest.raises(SoundalikeError, match=f"^{re.escape(message)}"):
        Doppelgangers(VOICE, augment=augment)


# ---- a fixed pool


@pytest.mark.parametrize("noise", ["view", "pair", "fixed"])
def test_a_pool_repeats_the_same_pairs(noise: str) -> None:
    views = Doppelgangers(VOICE, noise=noise, augment=CHAIN, pool=4)
    fresh = Doppelgangers(VOICE, noise=noise, augment=CHAIN)
    first = drawn(fresh, 5, torch.arange(4))
    assert_same(drawn(views, 5, torch.arange(4)), first)
    assert_same(drawn(views, 5, torch.arange(4, 8)), first)
    assert_same(drawn(views, 5, torch.tensor([4_000_000_003, 6])), Pair(*(part[[3, 2]] for part in first)))
    patches = torch.cat([stepped(views, seed=5, step=step, batch_size=3).first_patch for step in range(9)])
    assert patches.unique(dim=0).shape[0] == 4
    assert torch.equal(views.theta(5, torch.arange(8)), fresh.theta(5, torch.arange(4)).repeat(2, 1))


def test_held_out_pairs_are_not_of_the_pool() -> None:
    views, fresh, number = Doppelgangers(VOICE, pool=64), Doppelgangers(VOICE), HELD_OUT + torch.arange(200)
    held_out = views.theta(0, number)
    assert torch.equal(held_out, fresh.theta(0, number))
    both = torch.cat((held_out, views.theta(0, torch.arange(64))))
    assert both.unique(dim=0).shape[0] == 264
    assert torch.equal(views.patches(0, number)[1], fresh.patches(0, number)[1])


@pytest.mark.parametrize("pool", [1, 0, -5, 2.5, True, "many", HELD_OUT + 1])
def test_a_pool_out_of_its_range_is_named(pool: Any) -> None:
    with pytest.raises(SoundalikeError, match=f"^pool is {pool!r}: give a whole number from 2 to {HELD_OUT}"):
        Doppelgangers(VOICE, pool=pool)
