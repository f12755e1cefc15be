"""Labelled and unlabelled clips that take turns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recorded_clips import open_folder, write_folder
from soundalike.core.errors import SoundalikeError
from soundalike.data.training_clips import TrainingClips
from soundalike.views import RecordedViews

SHIFT = [{"name": "time-shift", "fraction": 0.5, "p": 1.0}]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> TrainingClips:
    """18 clips, 6 of which keep their label."""
    folder = write_folder(tmp_path_factory.mktemp("data") / "tones", each=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDALIKE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return open_folder(folder, labels=0.34)


@pytest.mark.parametrize(("part", "round"), [(0.5, 24), (0.25, 16), (0.9, 120)])
def test_labelled_clips_have_the_part_of_the_pairs_that_they_are_given(
    clips: TrainingClips, part: float, round: int
) -> None:
    views = RecordedViews(clips, 4000, labelled=part, augment=SHIFT)
    assert views.pairs_per_epoch == round
    label = views.labels[views.clip_of(3, torch.arange(200))] >= 0
    assert [abs(int(label[:n].sum()) - part * n) < 1 for n in range(1, 201)] == [True] * 200


def test_each_kind_comes_in_rounds_of_its_own(clips: TrainingClips) -> None:
    views = RecordedViews(clips, 4000, labelled=0.5, augment=SHIFT)
    shown = views.clip_of(0, torch.arange(24))
    seen = shown.bincount(minlength=18)
    assert seen[views.labels >= 0].tolist() == [2] * 6
    assert seen[views.labels < 0].tolist() == [1] * 12


@pytest.mark.parametrize("part", [0.0, 1.0])
def test_one_kind_alone(clips: TrainingClips, part: float) -> None:
    views = RecordedViews(clips, 4000, labelled=part, augment=SHIFT)
    label = views.labels[views.clip_of(0, torch.arange(40))] >= 0
    assert label.tolist() == [bool(part)] * 40


def test_without_it_all_clips_come_equally_often(clips: TrainingClips) -> None:
    views = RecordedViews(clips, 4000, augment=SHIFT)
    assert views.clip_of(0, torch.arange(36)).bincount(minlength=18).tolist() == [2] * 18


def test_where_every_clip_has_a_label_there_are_no_turns_to_take(tmp_path: Path) -> None:
    everything = open_folder(write_folder(tmp_path / "tones", each=2))
    plain, turns = (RecordedViews(everything, 4000, labelled=part, augment=SHIFT) for part in (None, 0.5))
    number = torch.arange(30)
    assert torch.equal(plain.clip_of(1, number), turns.clip_of(1, number))


def test_a_part_out_of_its_range(clips: TrainingClips) -> None:
    with pytest.raises(SoundalikeError, match=r"^views\.labelled is 1\.2: give a part of the pairs, from 0 to 1\.$"):
        RecordedViews(clips, 4000, labelled=1.2, augment=SHIFT)
