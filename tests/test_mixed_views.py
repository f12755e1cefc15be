"""Synthetic and recorded pairs in one batch: in the ratio that was asked for, each source in its own order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recorded_clips import open_folder, write_folder
from soundalike.core.errors import SoundalikeError
from soundalike.data.training_clips import TrainingClips
from soundalike.synth import Scene, Voice
from soundalike.views import Doppelgangers, MixedViews, RecordedViews
from soundalike.views.view import HELD_OUT

SAMPLES = 4000
SHIFT = [{"name": "time-shift", "p": 1.0}]
MASK = [{"name": "spec-augment", "fill": 0.0}]
VOICE = Voice(seconds=0.3)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> TrainingClips:
    """Three classes of two clips."""
    folder = write_folder(tmp_path_factory.mktemp("data") / "tones", each=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDALIKE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return open_folder(folder)


def mixed(clips: TrainingClips, part: float = 0.5, **settings: Any) -> MixedViews:
    return MixedViews(VOICE, clips, SAMPLES, part, **{"recorded": {"pair": "jitter"}, **settings})


def taken_apart(views: MixedViews, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether each pair is synthetic, and its index in its own source."""
    source, place = views.interleave(indices)
    return source == 0, place


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.integers(0, 10**9), st.integers(1, 400), st.booleans())
@example(0.0, 0, 400, False)
@example(1.0, 0, 400, False)
@example(1 / 3, 7, 400, False)
@example(0.999, 990, 20, False)
def test_any_stretch_holds_the_wanted_part(
    clips: TrainingClips, part: float, start: int, count: int, held_out: bool
) -> None:
    base = HELD_OUT if held_out else 0
    views = mixed(clips, part)
    source, place = views.interleave(torch.arange(base + start, base + start + count))
    made = source == 0
    # the part is counted in thousandths, so that a stretch may be off by this as well
    assert abs(int(made.sum()) - part * count) <= 1 + 0.0005 * count + 1e-6
    assert abs(int(made.sum()) - views.interleave.counts[0] / sum(views.interleave.counts) * count) <= 1
    for source in (made, ~made):  # each source in its own order, without gaps
        own = place[source]
        assert torch.equal(own, torch.arange(len(own)) + (own[0] if len(own) else 0))
        assert (own >= base).all()
    if start == 0:
        assert all(int(place[source][0]) == base for source in (made, ~made) if source.any())


def test_a_batch_holds_what_each_source_gives(clips: TrainingClips) -> None:
    views, number = mixed(clips, 0.25, synthetic={"delta": 0.1}), torch.arange(24)
    pair = views.batch(3, number)
    made, place = taken_apart(views, number)
    assert made.sum() == 6
    synthetic = Doppelgangers(VOICE, delta=0.1).batch(3, place[made])
    torch.testing.assert_close(pair.first[made], synthetic.first[:, :SAMPLES])
    torch.testing.assert_close(pair.second[made], synthetic.second[:, :SAMPLES])
    recorded = RecordedViews(clips, SAMPLES, "jitter").batch(3, place[~made])
    assert torch.equal(pair.first[~made], recorded.first)
    assert torch.equal(pair.second[~made], recorded.second)
    assert torch.equal(pair.label[~made], recorded.label)
    clip = views.clip_of(3, number)
    assert torch.equal(clip[~made], RecordedViews(clips, SAMPLES, "jitter").clip_of(3, place[~made]))
    assert pair.label[made].tolist() == clip[made].tolist() == [-1] * 6
    assert not (pair.first == pair.second).all(1).any()


def test_a_clip_is_told_apart_from_synthetic_sounds_and_other_clips(clips: TrainingClips) -> None:
    views = mixed(clips, part=0.5)
    indices = torch.arange(6 * len(clips))
    identity, clip = views.batch(0, indices).identity, views.clip_of(0, indices)
    assert identity is not None
    synthetic = clip < 0
    assert len(identity[synthetic].unique()) == int(synthetic.sum())
    assert not set(identity[synthetic].tolist()) & set(identity[~synthetic].tolist())
    same = identity[~synthetic, None] == identity[~synthetic]
    assert torch.equal(same, clip[~synthetic, None] == clip[~synthetic])


def test_targets_are_known_of_the_synthetic_sounds_alone(clips: TrainingClips) -> None:
    scene = Scene(events=1, seconds=0.4)
    views, indices = MixedViews(scene, clips, SAMPLES, 0.25, recorded={"pair": "jitter"}), torch.arange(8)
    assert views.target_specs == scene.target_specs
    assert views.batch(3, indices).targets == {}
    targets = views.batch(3, indices, targets=True).targets
    made, place = taken_apart(views, indices)
    alone = views.sources["synthetic"].batch(3, place[made], targets=True).targets
    for spec in scene.target_specs:
        value, mask = targets[spec.name]
        assert torch.equal(mask.any(1), torch.cat((made, made)))
        assert torch.equal(value[torch.cat((made, made))], alone[spec.name].value)
    nothing = MixedViews(scene, clips, SAMPLES, 0.0, recorded={"pair": "jitter"}).batch(3, indices, targets=True)
    assert not any(target.mask.any() for target in nothing.targets.values())
    assert nothing.targets["spectrum"].value.shape == (16, 5, 16)


def test_short_synthetic_sounds_are_filled_up(clips: TrainingClips) -> None:
    longer = MixedViews(VOICE, clips, 6000, 1.0, recorded={"augment": SHIFT}).batch(0, torch.arange(2))
    assert longer.first.shape == (2, 6000)
    assert longer.first[:, : VOICE.samples].any()
    assert not longer.first[:, VOICE.samples :].any()


@pytest.mark.parametrize("part", [0.0, 0.3, 1.0])
def test_draws_do_not_depend_on_the_batch_size(clips: TrainingClips, part: float) -> None:
    views, number = mixed(clips, part), torch.arange(20)
    whole, parts = views.batch(1, number), [views.batch(1, some) for some in number.split(7)]
    torch.testing.assert_close(torch.cat([some.first for some in parts]), whole.first)
    torch.testing.assert_close(torch.cat([some.second for some in parts]), whole.second)
    assert torch.equal(torch.cat([some.label for some in parts]), whole.label)


@pytest.mark.parametrize("side", ["synthetic", "recorded"])
def test_audio_is_augmented_on_either_side_alone(clips: TrainingClips, side: str) -> None:
    number = torch.arange(12)
    plain = mixed(clips)
    own = {**({"pair": "jitter"} if side == "recorded" else {}), "augment": SHIFT}
    changed = mixed(clips, **{side: own})
    made, _ = taken_apart(plain, number)
    touched = made if side == "synthetic" else ~made
    same = (plain.batch(0, number).first == changed.batch(0, number).first).all(1)
    assert torch.equal(same, ~touched)


@pytest.mark.parametrize("side", ["synthetic", "recorded"])
def test_features_are_augmented_on_either_side_alone(clips: TrainingClips, side: str) -> None:
    number = torch.arange(8)
    own = {**({"pair": "jitter"} if side == "recorded" else {}), "augment_features": MASK}
    views = mixed(clips, **{side: own})
    made, place = taken_apart(views, number)
    touched = made if side == "synthetic" else ~made
    features = torch.ones(16, 1, 40, 20)
    changed = views.augmented_features(features, 0, number)
    assert (features == 1).all(), "nothing writes into its input"
    assert torch.equal((changed == 1).all((1, 2, 3)), torch.cat((~touched, ~touched)))
    source = views.sources["synthetic"] if side == "synthetic" else views.sources["recorded"]
    count = int(touched.sum())
    expected = source.augmented_features(torch.ones(2 * count, 1, 40, 20), 0, place[touched])
    assert torch.equal(changed[torch.cat((touched, touched))], expected)
    assert mixed(clips).augmented_features(features, 0, number) is features


@pytest.mark.parametrize(("part", "pairs"), [(0.0, 6), (0.5, 12), (0.75, 24), (1 / 3, 9), (1.0, None)])
def test_an_epoch_shows_every_clip(clips: TrainingClips, part: float, pairs: int | None) -> None:
    views = mixed(clips, part)
    assert views.pairs_per_epoch == pairs
    if pairs is not None:
        shown = views.clip_of(0, torch.arange(pairs))
        assert sorted(shown[shown >= 0].tolist()) == list(range(6))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"part": 1.5}, r"^views\.part is 1\.5: give a part of the pairs, from 0 to 1\.$"),
        ({"part": float("nan")}, r"^views\.part is nan: "),
        ({"synthetic": {"delta": 3}}, r"^delta is 3: "),
        ({"synthetic": {"dleta": 0.1}}, r"^views\.synthetic has no key 'dleta': did you mean 'delta'\?"),
        ({"recorded": {"samples": 3}}, r"^views\.recorded has no key 'samples': "),
        ({"recorded": {}}, r"^views\.pair is 'same' without an augmentation"),
    ],
)
def test_settings_out_of_range(clips: TrainingClips, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SoundalikeError, match=said) as error:
        mixed(clips, **settings)
    assert "\n" not in str(error.value)
