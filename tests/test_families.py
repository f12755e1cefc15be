"""Families: several voices in one run, takes of one identity, and what is drawn anew for each view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recorded_clips import open_folder, write_folder
from soundalike.core.errors import SoundalikeError
from soundalike.model.recipe import Recipe
from soundalike.synth import Mouth, Voice
from soundalike.train.step import Learner
from soundalike.views import Doppelgangers, Families
from soundalike.views.interleave import Interleave
from soundalike.views.view import HELD_OUT

SECONDS = 0.4
NEW = {"kind": 0, "content": 0.03, "speaker": "new", "envelope": "new", "room": "new"}
MOUTH = {"voice": {"name": "mouth", "seconds": SECONDS}, "delta": NEW, "uniform_in": "knobs"}
TEXTURE = {
    "voice": {"name": "texture", "seconds": SECONDS},
    "delta": {"kind": 0, "content": 0.03, "other": "new"},
    "weight": 2,
}


def families(turn: int = 4, **changes: Any) -> Families:
    mouth, texture = ({**given, **changes.pop(name, {})} for name, given in (("mouth", MOUTH), ("texture", TEXTURE)))
    return Families(16_000, {"mouth": mouth, "texture": texture, **changes}, turn)


# ---- what is drawn anew


def test_a_group_that_is_new_is_drawn_anew_for_each_view() -> None:
    voice = Mouth(seconds=SECONDS)
    views, indices = Doppelgangers(voice, NEW, uniform_in="knobs"), torch.arange(2000)
    theta, (first, second) = views.theta(0, indices), views.patches(0, indices)
    for column, spec in enumerate(voice.specs):
        a, b, c = (patch[:, column] for patch in (theta, first, second))
        if NEW[spec.group] == "new":
            correlations = torch.corrcoef(torch.stack((a, b, c)))
            assert correlations.fill_diagonal_(0).abs().max() < 0.1, spec.name
            for patch in (b, c):  # drawn as a patch is: uniform over the knob's way
                assert abs(float(patch.mean()) - 0.5) < 0.03, spec.name
                assert patch.min() < 0.01, spec.name
                assert patch.max() > 0.99, spec.name
        elif NEW[spec.group] == 0:
            assert torch.equal(a.clamp(min=1e-6), b)
            assert torch.equal(b, c)
        else:
            inside = (a > 0.15) & (a < 0.85)
            assert float((b - a)[inside].std()) == pytest.approx(0.03, rel=0.1), spec.name


def test_numbers_and_new_stand_side_by_side_and_the_paper_s_delta_is_untouched() -> None:
    voice, indices = Voice(seconds=SECONDS), torch.arange(6)
    plain = Doppelgangers(voice, 0.25).patches(3, indices)
    some = Doppelgangers(voice, {"other": 0.25, "level": "new"}).patches(3, indices)
    kept = torch.tensor([spec.group != "level" for spec in voice.specs])
    for one, other in zip(plain, some, strict=True):
        assert torch.equal(one[:, kept], other[:, kept])
        assert not torch.equal(one[:, ~kept], other[:, ~kept])


def test_new_is_uniform_in_units_where_patches_are() -> None:
    voice = Voice(seconds=SECONDS)
    first, _ = Doppelgangers(voice, {"other": "new"}, uniform_in="units").patches(0, torch.arange(4000))
    units = (voice.to_units(first) - voice.table.minimum) / voice.table.width
    assert (units.mean(0) - 0.5).abs().max() < 0.03


@pytest.mark.parametrize("value", ["other", "", True, None, -0.1, [0.1]])
def test_what_a_delta_may_be(value: Any) -> None:
    with pytest.raises(SoundalikeError, match=r"delta\.room is .*give a number from 0 to 1, or new"):
        Doppelgangers(Voice(), {"room": value})


# ---- takes of one identity


def test_takes_share_what_is_kept_and_nothing_else() -> None:
    views = Doppelgangers(Mouth(seconds=SECONDS), {**NEW, "content": 0}, takes=4)
    batch, (first, second) = views.batch(0, torch.arange(6)), views.patches(0, torch.arange(6))
    assert batch.identity is not None
    assert batch.identity.tolist() == [0, 0, 1, 1, 2, 2]
    kept = torch.tensor([spec.group in ("kind", "content") for spec in views.voice.specs])
    for pair in (0, 2, 4):
        four = torch.stack((first[pair], second[pair], first[pair + 1], second[pair + 1]))
        assert (four[:, kept] == four[:1, kept]).all()
        assert len(four[:, ~kept].unique(dim=0)) == 4
    assert not torch.equal(first[1, kept], first[2, kept])
    later = views.batch(0, HELD_OUT + torch.arange(4)).identity
    assert later is not None
    assert later.tolist() == [HELD_OUT, HELD_OUT, HELD_OUT + 1, HELD_OUT + 1]
    assert Doppelgangers(Mouth(seconds=SECONDS), NEW).batch(0, torch.arange(2)).identity is None


def test_another_identity_is_mixed_into_takes() -> None:
    voice = Voice(seconds=SECONDS)
    views = Doppelgangers(voice, takes=4, mix=(0, 0))
    rendered = views._with_others(torch.arange(8))
    for others in rendered.others:
        assert not (others // 2 == torch.arange(8) // 2).any()
    whole = views.batch(0, torch.arange(8))
    torch.testing.assert_close(views.batch(0, torch.arange(3, 5)).first, whole.first[3:5])
    torch.testing.assert_close(views.batch(0, torch.tensor([5, 2])).second, whole.second[[5, 2]])


@pytest.mark.parametrize("takes", [0, 1, 3, 6, True, 2.0])
def test_how_many_takes_there_may_be(takes: Any) -> None:
    with pytest.raises(SoundalikeError, match=r"takes is .*: give a power of two"):
        Doppelgangers(Voice(), takes=takes)


# ---- several families


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 10), min_size=1, max_size=5).filter(lambda weights: sum(weights) > 0.01),
    st.integers(1, 9),
    st.booleans(),
)
def test_turns_come_by_weight_and_each_source_in_its_own_order(
    weights: list[float], turn: int, held_out: bool
) -> None:
    interleave, start = Interleave("weight", weights, turn), HELD_OUT if held_out else 0
    count = 40
    source, place = interleave(start + torch.arange(count * turn))
    assert (source.unflatten(0, (count, turn)) == source[::turn, None]).all()
    for which, weight in enumerate(weights):
        own = place[source == which]
        assert torch.equal(own, start + torch.arange(len(own)))
        assert abs(len(own) / turn - weight / sum(weights) * count) <= len(weights) / 2 + 0.05 * count


@pytest.mark.parametrize("turn", [1, 4])
def test_a_batch_holds_what_each_family_gives(turn: int) -> None:
    views, indices = families(turn), torch.arange(12)
    batch, family = views.batch(5, indices, targets=True), views.family_of(indices)
    assert views.families == ("mouth", "texture")
    assert family.bincount().tolist() == [4, 8]
    twice = torch.cat((family, family))
    for which, name in enumerate(views.families):
        own = views.sources[name].batch(5, torch.arange(int((family == which).sum())), targets=True)
        torch.testing.assert_close(batch.first[family == which], own.first)
        torch.testing.assert_close(batch.second[family == which], own.second)
        for spec in views.target_specs:
            value, mask = batch.targets[spec.name]
            if spec.name in own.targets:
                assert torch.equal(mask[twice == which], own.targets[spec.name].mask)
                torch.testing.assert_close(value[twice == which], own.targets[spec.name].value)
            else:
                assert not mask[twice == which].any()
    parts = [views.batch(5, some, targets=True) for some in indices.split(5)]
    torch.testing.assert_close(torch.cat([part.first for part in parts]), batch.first)


def test_a_target_of_two_voices_is_one_target() -> None:
    names = [spec.name for spec in families().target_specs]
    assert len(names) == len(set(names))
    assert {"levels", "kind", "rate"} <= set(names)
    levels = families(1).batch(0, torch.arange(6), targets=True).targets["levels"]
    assert levels.mask.all()


def test_identities_of_families_are_their_own() -> None:
    views = families(1, mouth={"takes": 4})
    identity, family = views.batch(0, torch.arange(24)).identity, views.family_of(torch.arange(24))
    assert identity is not None
    for which, pairs in ((0, 2), (1, 1)):
        _, counts = identity[family == which].unique(return_counts=True)
        assert (counts == pairs).all()
    assert not set(identity[family == 0].tolist()) & set(identity[family == 1].tolist())


def test_recordings_can_be_a_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDALIKE_CACHE", str(tmp_path / "cache"))
    clips = open_folder(write_folder(tmp_path / "tones", each=2))
    views = Families(16_000, {"mouth": MOUTH, "recordings": {"pair": "jitter"}}, 1, clips, 4000)
    batch, family = views.batch(0, torch.arange(8), targets=True), views.family_of(torch.arange(8))
    assert batch.first.shape == (8, Mouth(seconds=SECONDS).samples)
    assert batch.label is not None
    assert (batch.label[family == 0] == -1).all()
    assert (batch.label[family == 1] >= 0).all()
    assert not batch.targets["levels"].mask[torch.cat((family, family)) == 1].any()
    with pytest.raises(SoundalikeError, match=r"views\.families\.recordings: there are no recordings"):
        families(recordings={"pair": "jitter"})


def test_original_sounds_come_from_all_voices() -> None:
    sounds = families().originals(0, torch.arange(4))
    assert sounds.shape == (4, Mouth(seconds=SECONDS).samples)
    assert sounds.std(1).min() > 0
    mouths = families().sources["mouth"].originals(0, torch.tensor([0, 2]))
    torch.testing.assert_close(sounds[::2], mouths)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mouth": {"dleta": 0.1}}, r"views\.families\.mouth has no key 'dleta': did you mean 'delta'"),
        (
            {"mouth": {"voice": {"name": "moth"}}},
            r"views\.families\.mouth\.voice\.name is 'moth': did you mean 'mouth'",
        ),
        ({"mouth": {"voice": {"name": "mouth", "second": 1}}}, r"mouth\.voice has no key 'second'"),
        ({"mouth": {"voice": 3}}, r"views\.families\.mouth\.voice is 3: give keys and values"),
        ({"mouth": {"weight": -1}}, r"weight is -1: give a weight of 0 or more"),
        ({"mouth": {"weight": 0}, "texture": {"weight": 0}}, r"weight is 0 for every source"),
        ({"mouth": {"voice": {"name": "mouth", "seconds": 0.5}}}, r"mouth 0\.5 s, texture 0\.4 s"),
        ({"turn": 0}, r"views\.turn is 0"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SoundalikeError, match=said):
        families(**changes)


# ---- through a recipe


def recipe(**changes: Any) -> Recipe:
    sections: dict[str, Any] = {
        "views": {"name": "families", "turn": 8, "families": {"mouth": MOUTH, "texture": TEXTURE}},
        "frontend": {"name": "logmel", "frames": 40},
        "encoder": {"name": "resnet18", "width": 8, "max_time_stride": 4, "max_channels": 16, "size": 16},
        "head": {"name": "projection", "hidden": 16, "size": 8},
        "objective": {"name": "nt-xent", "temperature": 0.1},
        "training": {"batch_size": 8, "steps": 2, "targets": 0.3, "precision": "fp32"},
    }
    return Recipe("families", sections).override(changes)


def test_a_recipe_of_families_keeps_its_shape() -> None:
    made = recipe()
    assert "voice" not in made.sections
    assert "recordings" not in made.sections
    assert Recipe.from_dict(made.to_dict()) == made
    louder = recipe(**{"views.families.mouth.weight": 3, "families.texture.delta.room": 0.2})
    assert louder.sections["views"]["families"]["mouth"]["weight"] == 3
    assert louder.sections["views"]["families"]["texture"]["delta"]["room"] == 0.2
    with_recordings = recipe(**{"views.families.recordings.pair": "jitter"})
    assert "recordings" in with_recordings.sections


def test_takes_want_an_objective_that_knows_of_them() -> None:
    with pytest.raises(SoundalikeError, match=r"views\.takes is 4, and the objective 'nt-xent'"):
        recipe(**{"families.mouth.takes": 4}).build()
    recipe(**{"families.mouth.takes": 4, "objective": "multi-positive"}).build()


@pytest.mark.parametrize("turn", [1, 8])
def test_a_family_with_a_head_of_its_own_trains_it_alone(turn: int) -> None:
    learner = Learner(recipe(**{"turn": turn, "families.mouth.head.size": 4, "training.targets": 0}))
    own, shared = learner.heads["mouth"], learner.head
    assert own.size == 4
    assert shared.size == 8

    def trains(indices: torch.Tensor) -> list[bool]:
        learner.zero_grad()
        learner.loss(indices)[0].backward()
        return [any(p.grad is not None and p.grad.any() for p in head.parameters()) for head in (own, shared)]

    everything = torch.arange(24)
    family = learner.views.family_of(everything)
    assert trains(everything[family == 0][:4]) == [True, False]
    assert trains(everything[family == 1][:4]) == [False, True]
    assert trains(everything) == [True, True]


def test_families_apart_have_the_mean_of_their_losses() -> None:
    """With a head each, a batch of both has the loss of each family alone, weighted by its share."""
    apart = {"families.mouth.head.size": 8, "training.targets": 0, "turn": 1}
    learner = Learner(recipe(**apart)).eval()
    everything = torch.arange(24)
    family = learner.views.family_of(everything)
    with torch.no_grad():
        whole = learner.loss(everything)[0]
        each = [learner.loss(everything[family == which])[0] for which in (0, 1)]
    torch.testing.assert_close(whole, each[0] / 3 + each[1] * 2 / 3)


def test_frames_of_all_takes_of_an_identity_are_positives() -> None:
    learner = Learner(recipe(**{"families.mouth.takes": 4, "objective": "multi-positive", "head.loss": "frame"}))
    loss, parts = learner.loss(torch.arange(8))
    assert loss.isfinite()
    assert 0 <= parts["top1"] <= 1
