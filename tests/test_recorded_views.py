"""Views of recordings: what they are cut from, that no two draws meet, and that the way of asking does not matter."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from recorded_clips import open_folder, write_folder
from soundalike.core.errors import SoundalikeError
from soundalike.data.training_clips import TrainingClips
from soundalike.views import RecordedViews
from soundalike.views.view import HELD_OUT, step_indices

SAMPLES = 4000  # 0.25 s; the clips have 0.3 to 0.5 s
SHIFT = [{"name": "time-shift", "fraction": 0.5, "p": 1.0}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of three clips, of 0.4, 0.3 and 0.5 s."""
    return write_folder(tmp_path_factory.mktemp("data") / "tones", each=3)


@pytest.fixture(scope="module")
def clips(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingClips:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDALIKE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return open_folder(folder)


def views(clips: TrainingClips, samples: int = SAMPLES, **settings: Any) -> RecordedViews:
    return RecordedViews(clips, samples, **{"augment": SHIFT, "crop": "random", **settings})


def whole(clips: TrainingClips, clip: int) -> Tensor:
    """All samples of a clip."""
    return clips.read(torch.tensor([clip]), torch.tensor([0]), int(clips.lengths[clip]))[0]


def places(piece: Tensor, sound: Tensor) -> list[int]:
    """Where a piece lies in a sound."""
    return (sound.unfold(0, len(piece), 1) == piece).all(1).nonzero().flatten().tolist()


class RecordedPair(NamedTuple):
    """A batch, and the clips that it shows."""

    first: Tensor
    second: Tensor
    clip: Tensor
    label: Tensor


def drawn(source: RecordedViews, seed: int, indices: Tensor) -> RecordedPair:
    batch = source.batch(seed, indices)
    assert batch.label is not None
    return RecordedPair(batch.first, batch.second, source.clip_of(seed, indices), batch.label)


def equal(one: RecordedPair, other: RecordedPair) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# the two views


@pytest.mark.parametrize("settings", [{}, {"crop": "start"}, {"pair": "jitter"}, {"pair": "layered"}])
def test_two_views_of_a_clip_are_never_the_same(clips: TrainingClips, settings: dict[str, Any]) -> None:
    before = [whole(clips, clip) for clip in range(len(clips))]
    pair = drawn(views(clips, **settings), 0, torch.arange(40))
    assert pair.first.shape == pair.second.shape == (40, SAMPLES)
    assert not (pair.first == pair.second).all(1).any()
    # nor does one lie in the other's memory, or in that of the recordings
    second = pair.second.clone()
    pair.first.fill_(9.0)
    assert torch.equal(pair.second, second)
    pair.second.fill_(9.0)
    assert all(torch.equal(whole(clips, clip), sound) for clip, sound in enumerate(before))


@pytest.mark.parametrize("name", ["fade", "time-mask", "time-shift", "noise", "high-pass", "impulse-response"])
def test_augmentations_never_write_into_the_recordings(clips: TrainingClips, name: str) -> None:
    before = [whole(clips, clip) for clip in range(len(clips))]
    changed = views(clips, crop="start", augment=[{"name": name, "p": 1.0}])
    once = drawn(changed, 0, torch.arange(9))
    assert not torch.equal(once.first, once.second)
    assert equal(drawn(changed, 0, torch.arange(9)), once), "what was cut is cut again as it was"
    assert all(torch.equal(whole(clips, clip), sound) for clip, sound in enumerate(before))


@pytest.mark.parametrize("pair", ["same", "layered"])
def test_a_pair_of_equal_views_is_refused(clips: TrainingClips, pair: str) -> None:
    for nothing in (None, []):
        with pytest.raises(SoundalikeError, match=rf"^views\.pair is '{pair}' without an augmentation, so both views"):
            views(clips, pair=pair, augment=nothing)
    views(clips, pair=pair, augment=None, augment_features=["spec-augment"])


def test_features_can_tell_the_views_apart(clips: TrainingClips) -> None:
    masked = views(clips, augment=None, augment_features=[{"name": "spec-augment", "fill": 0.0}])
    number = torch.arange(6)
    features = torch.ones(12, 1, 32, 16)
    first, second = masked.augmented_features(features, 0, number).chunk(2)
    assert not torch.equal(first, second)
    assert (features == 1).all()
    assert torch.equal(masked.augmented_features(features, 0, number[2:3].repeat(6))[0], first[2])


# where they are cut


def test_the_same_crop_twice(clips: TrainingClips) -> None:
    # an augmentation that is never drawn leaves the crops as they are
    never = [{"name": "fade", "p": 0.0}]
    at_start = drawn(views(clips, crop="start", augment=never), 0, torch.arange(18))
    at_random = drawn(views(clips, crop="random", augment=never), 0, torch.arange(18))
    found = set()
    for row in range(18):
        sound = whole(clips, int(at_start.clip[row]))
        assert torch.equal(at_start.first[row], sound[:SAMPLES])
        assert torch.equal(at_random.first[row], at_random.second[row])
        found.update(places(at_random.first[row], whole(clips, int(at_random.clip[row]))))
    assert len(found) > 12


@pytest.mark.parametrize("crop", ["start", "random"])
def test_short_clips_are_filled_up_on_the_right(clips: TrainingClips, crop: str) -> None:
    pair = drawn(views(clips, samples=9000, crop=crop, augment=[{"name": "fade", "p": 0.0}]), 0, torch.arange(9))
    for row in range(9):
        sound = whole(clips, int(pair.clip[row]))
        assert torch.equal(pair.second[row, : len(sound)], sound)
        assert not pair.second[row, len(sound) :].any()


def test_jitter_takes_two_places_of_one_file(clips: TrainingClips) -> None:
    pair = drawn(views(clips, pair="jitter", crop="start", augment=None), 0, torch.arange(36))
    starts = []
    for row in range(36):
        sound = whole(clips, int(pair.clip[row]))
        starts.append([*places(pair.first[row], sound), *places(pair.second[row], sound)])
    assert all(len(both) == 2 and both[0] != both[1] for both in starts), "inside the file, and never the same"
    assert len({first for first, _ in starts}) > 30
    assert len({second for _, second in starts}) > 30


def test_jitter_with_room_for_one_other_place(clips: TrainingClips) -> None:
    samples = int(clips.lengths.min()) - 1
    pair = drawn(views(clips, samples=samples, pair="jitter", augment=None), 0, torch.arange(45))
    assert not (pair.first == pair.second).all(1).any()
    with pytest.raises(
        SoundalikeError, match=r"^views\.pair is 'jitter' without an augmentation, and 3 of 9 clips are no longer than"
    ):
        views(clips, samples=samples + 1, pair="jitter", augment=None)
    views(clips, samples=samples + 1, pair="jitter")


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_layers_are_a_sum_of_segments_with_a_peak_of_1(clips: TrainingClips, layers: int) -> None:
    class Noted:
        """The clips, and where they were read."""

        def __init__(self) -> None:
            self.reads: list[Tensor] = []

        def __getattr__(self, name: str) -> Any:
            return getattr(clips, name)

        def __len__(self) -> int:
            return len(clips)

        def read(self, clip: Tensor, start: Tensor, samples: int) -> Tensor:
            self.reads.append(start)
            return clips.read(clip, start, samples)

    noted: Any = Noted()
    never = [{"name": "fade", "p": 0.0}]
    pair = drawn(views(noted, pair="layered", layers=layers, augment=never, crop="start"), 0, torch.arange(9))
    assert len(noted.reads) == layers
    for row in range(9):
        sound = whole(clips, int(pair.clip[row])).tolist()
        total = [0.0] * SAMPLES
        for start in noted.reads:
            begin = int(start[row])
            total = [one + other for one, other in zip(total, sound[begin : begin + SAMPLES], strict=True)]
        peak = max(abs(value) for value in total)
        torch.testing.assert_close(pair.first[row], torch.tensor([value / peak for value in total]))
    torch.testing.assert_close(pair.first.abs().amax(1), torch.ones(9))
    if layers > 1:
        assert not torch.equal(noted.reads[0], noted.reads[1])


# rounds


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), batch=st.integers(1, 40), time=st.integers(0, 1000))
def test_every_clip_is_seen_once_in_each_round(clips: TrainingClips, seed: int, batch: int, time: int) -> None:
    shown = views(clips)
    first = time * 9
    # three rounds in batches, some of which lie across two rounds or are larger than one
    numbers = torch.arange(first, first + 27)
    seen = torch.cat([shown.clip_of(seed, some) for some in numbers.split(batch)])
    rounds = seen.view(3, 9)
    assert rounds.sort(1).values.tolist() == [list(range(9))] * 3
    assert torch.equal(seen, shown.clip_of(seed, numbers))
    assert torch.equal(shown.clip_of(seed, HELD_OUT + numbers), seen)


def test_a_batch_says_which_pairs_show_one_clip(clips: TrainingClips) -> None:
    views = RecordedViews(clips, 1600, augment=["fade"])
    indices = torch.arange(2 * len(clips) + 3)  # more than the set has
    identity = views.batch(0, indices).identity
    assert identity is not None
    assert torch.equal(identity, views.clip_of(0, indices))
    assert identity.unique(return_counts=True)[1].min() >= 2


def test_every_round_has_an_order_of_its_own(clips: TrainingClips) -> None:
    shown = views(clips)
    orders = [tuple(shown.clip_of(0, torch.arange(9 * time, 9 * time + 9)).tolist()) for time in range(50)]
    assert len(set(orders)) == 50
    assert tuple(shown.clip_of(1, torch.arange(9)).tolist()) != orders[0]
    assert shown.pairs_per_epoch == 9


# draws


def test_a_clip_is_drawn_anew_in_each_round(clips: TrainingClips) -> None:
    pair = drawn(views(clips), 0, torch.arange(27))
    for clip in range(9):
        first, second = pair.first[pair.clip == clip], pair.second[pair.clip == clip]
        assert len(torch.cat((first, second)).unique(dim=0)) == 6, "three rounds of two views"


def test_held_out_draws_are_others(clips: TrainingClips) -> None:
    trained, held_out = (drawn(views(clips), 0, start + torch.arange(9)) for start in (0, HELD_OUT))
    assert torch.equal(trained.clip, held_out.clip)
    assert not (trained.first == held_out.first).all(1).any()


def test_another_seed_draws_others(clips: TrainingClips) -> None:
    one, other = (drawn(views(clips), seed, torch.arange(9)) for seed in (0, 1))
    assert not torch.equal(one.first, other.first)


@settings(max_examples=40, deadline=None)
@given(ranks=st.integers(1, 8), batch=st.integers(1, 32), step=st.integers(0, 10_000))
def test_steps_and_ranks_share_no_number(ranks: int, batch: int, step: int) -> None:
    seen = [step_indices(step + later, rank, ranks, batch) for later in range(3) for rank in range(ranks)]
    assert torch.cat(seen).tolist() == list(range(step * ranks * batch, (step + 3) * ranks * batch))


@settings(max_examples=10, deadline=None)
@given(batch=st.integers(1, 24), pair=st.sampled_from(["same", "jitter", "layered"]))
def test_draws_do_not_depend_on_the_batch_size(clips: TrainingClips, batch: int, pair: str) -> None:
    numbers = torch.arange(3, 27)
    expected = drawn(views(clips, pair=pair), 5, numbers)
    parts = [drawn(views(clips, pair=pair), 5, some) for some in numbers.split(batch)]
    joined = RecordedPair(*(torch.cat(column) for column in zip(*parts, strict=True)))
    assert equal(joined, expected)


def test_labels_go_with_their_clips(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOUNDALIKE_CACHE", str(tmp_path))
    some = open_folder(folder, labels=0.34)
    pair = drawn(views(some), 0, torch.arange(9))
    assert torch.equal(pair.label, some.labels[pair.clip])
    assert (pair.label == -1).sum() == 6, "they stay in the batch and lose their label alone"
    assert sorted(pair.clip.tolist()) == list(range(9))


class Numbered(Dataset[tuple[Tensor, ...]]):
    """Pairs by their numbers, as a loader with worker processes asks for them."""

    def __init__(self, source: RecordedViews) -> None:
        self.source = source

    def __len__(self) -> int:
        return 18

    def __getitem__(self, number: int) -> tuple[Tensor, ...]:
        pair = drawn(self.source, 0, torch.tensor([number]))
        return pair.first[0], pair.second[0], pair.clip[0], pair.label[0]


def test_workers_draw_what_one_process_draws(clips: TrainingClips) -> None:
    source = views(clips)
    expected = drawn(source, 0, torch.arange(18))
    loader = DataLoader(Numbered(source), batch_size=3, num_workers=2, multiprocessing_context="fork")
    loaded = RecordedPair(*(torch.cat(column) for column in zip(*loader, strict=True)))
    assert equal(loaded, expected)
    assert len(torch.cat((loaded.first, loaded.second)).unique(dim=0)) == 36, "no draw comes twice"


def test_a_worker_that_is_started_afresh_draws_the_same(clips: TrainingClips) -> None:
    source = views(clips, pair="jitter")
    again = pickle.loads(pickle.dumps(source))  # what a spawned process is handed
    assert equal(drawn(again, 2, torch.arange(9)), drawn(source, 2, torch.arange(9)))


# two identical views


def test_the_share_of_identical_views_is_told_and_counted(clips: TrainingClips) -> None:
    augment = [{"name": "time-shift", "p": 0.5}, {"name": "noise", "p": 0.5}]
    source = views(clips, augment=augment, crop="start")
    assert source.identical_share == 0.5**4
    batch = source.batch(0, torch.arange(1600))
    same = (batch.first == batch.second).all(1)
    assert float(same.float().mean()) == pytest.approx(0.0625, abs=0.02)
    assert views(clips, pair="jitter", augment=augment).identical_share == 0
    assert views(clips, augment=augment, augment_features=["spec-augment"]).identical_share == 0


def test_one_view_at_least_is_changed(clips: TrainingClips) -> None:
    augment = [{"name": "time-shift", "p": 0.3}, {"name": "noise", "p": 0.6}]
    free, held = (views(clips, augment=augment, crop="start", at_least_one=how) for how in (False, True))
    assert held.identical_share == 0
    indices = torch.arange(400)
    before, after = free.batch(0, indices), held.batch(0, indices)
    same = (before.first == before.second).all(1)
    assert same.any()
    assert not (after.first == after.second).all(1).any()
    assert torch.equal(before.first, after.first)
    assert torch.equal(before.second[~same], after.second[~same]), "nothing else is drawn otherwise"
    alone = held.batch(0, indices[same][:1])
    assert torch.equal(alone.second[0], after.second[same][0]), "in any batch"


# what is refused


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"pair": "jiter"}, r"^views\.pair is 'jiter': did you mean 'jitter'\?"),
        ({"crop": "end"}, r"^views\.crop is 'end': Known: random, start\.$"),
        ({"at_least_one": 1}, r"^views\.at_least_one is 1: give true or false\.$"),
        ({"at_least_one": True, "augment": [{"name": "fade", "p": 0}]}, r"at_least_one is true, and nothing changes"),
        ({"layers": 0}, r"^views\.layers is 0: give 1 to 64 segments\.$"),
        ({"layers": 65}, r"^views\.layers is 65: "),
        ({"augment": ["spec-augment"]}, r"^augment changes audio: "),
        ({"augment_features": ["fade"]}, r"^augment_features changes spectrograms: "),
        ({"augment": ["fads"]}, r"unknown augmentation 'fads': did you mean 'fade'\?"),
    ],
)
def test_settings_out_of_range(clips: TrainingClips, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SoundalikeError, match=said):
        views(clips, **settings)
