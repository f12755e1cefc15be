"""Recordings to train on: which are heard, which labels are seen, and what a model may be scored on afterwards."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recorded_clips import PITCHES, open_folder, write_folder
from soundalike.core.errors import SoundalikeError
from soundalike.data import datasets
from soundalike.data.training_clips import RecordingSettings, choose_labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of six clips."""
    return write_folder(tmp_path_factory.mktemp("data") / "tones")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cache for all tests of this file."""
    monkeypatch.setenv("SOUNDALIKE_CACHE", str(tmp_path_factory.getbasetemp() / "cache-recordings"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


# which clips are heard


def test_every_clip_with_its_class(folder: Path) -> None:
    clips = open_folder(folder)
    assert clips.classes == sorted(PITCHES)
    assert len(clips) == 18
    assert [clips.classes[label] for label in clips.labels] == [path.parent.name for path in clips.paths]
    assert clips.lengths.tolist() == [round(seconds * 16_000) for seconds in (0.4, 0.3, 0.5)] * 6
    assert clips.sample_rate == 16_000


def test_the_fold_that_is_held_out_is_never_heard(folder: Path) -> None:
    dataset = datasets.read("folder", folder)
    for fold in (1, 2):
        clips = open_folder(folder, fold=fold)
        test = next(iter(dataset.hold_out(fold).splits())).test
        held = {dataset.paths[row] for row in test}
        assert held
        assert held.isdisjoint(clips.paths)
        assert held | set(clips.paths) == set(dataset.paths)
    with pytest.raises(SoundalikeError, match=r"folder: there is no fold 9; give a number from 1 to 5\.$"):
        open_folder(folder, fold=9)


def test_of_official_lists_only_the_training_list_is_heard(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    splits = ("train", "train", "train", "train", "validation", "test")
    lines = [
        f"{path},{path.parent.name},{splits[take]}"
        for name in PITCHES
        for take, path in enumerate(sorted((folder / name).iterdir()))
    ]
    table.write_text("\n".join(["path,label,split", *lines]) + "\n", encoding="utf-8")
    clips = open_folder(table, task="manifest", fold=1)
    assert {path.stem for path in clips.paths} == {"a", "b", "c", "d"}
    assert len(clips) == 12
    assert len(open_folder(table, task="manifest", fold=0)) == 18


def test_without_a_task_every_file_is_heard_and_none_has_a_label(folder: Path) -> None:
    clips = open_folder(folder, task=None, fold=1)
    assert len(clips) == 18
    assert clips.classes == []
    assert clips.labels.tolist() == [-1] * 18


# which labels are seen


def test_clips_without_a_label_are_heard_all_the_same(folder: Path) -> None:
    clips = open_folder(folder, labels=0.34)
    assert len(clips) == 18, "the fraction takes labels away, not clips"
    assert np.bincount(clips.labels[clips.labels >= 0], minlength=3).tolist() == [2, 2, 2]
    whole = open_folder(folder)
    seen = clips.labels >= 0
    assert torch.equal(clips.labels[seen], whole.labels[seen])


def test_clips_without_a_label_can_be_dropped(folder: Path) -> None:
    kept, dropped = (open_folder(folder, labels=0.34, unlabelled=how) for how in ("keep", "drop"))
    assert len(dropped) == 6
    heard = [path for path, was in zip(dropped.paths, dropped.heard, strict=True) if was]
    assert heard == [path for path, label in zip(kept.paths, kept.labels, strict=True) if label >= 0]
    assert dropped.labels.tolist() == [0, 0, 1, 1, 2, 2]
    # places are counted among those that are heard
    longest = int(dropped.lengths.max())
    sounds = dropped.read(torch.arange(6), torch.zeros(6, dtype=torch.int64), longest)
    numbers = torch.tensor([kept.paths.index(path) for path in heard])
    assert torch.equal(sounds, kept.read(numbers, torch.zeros(6, dtype=torch.int64), longest))
    with pytest.raises(SoundalikeError, match=r"'drop', and no clip has a label: give recordings\.task, or keep"):
        open_folder(folder, task=None, unlabelled="drop")


def test_a_limit_hears_and_decodes_so_many_clips(folder: Path) -> None:
    few, more = (open_folder(folder, limit=limit, fold=0) for limit in (4, 9))
    assert (len(few), len(more)) == (4, 9)
    assert set(few.heard_paths) < set(more.heard_paths)
    assert set(open_folder(folder, limit=4, fold=0, label_seed=3).heard_paths) != set(few.heard_paths)
    whole = open_folder(folder, fold=0)
    places = torch.tensor([whole.heard_paths.index(path) for path in few.heard_paths])
    first = torch.zeros(4, dtype=torch.int64)
    assert torch.equal(few.read(torch.arange(4), first, 100), whole.read(places, first, 100))
    assert few.labels.tolist() == whole.labels[places].tolist()
    held_out = open_folder(folder, limit=4)
    assert not set(held_out.heard_paths) & set(held_out.held_out)
    assert len(open_folder(folder, limit=1000, fold=0)) == 18


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=5).filter(any),
    unknown=st.integers(0, 5),
    fraction=st.floats(1e-4, 1.0),
    seed=st.integers(0, 2**63 - 1),
)
def test_labels_are_chosen_class_by_class(sizes: list[int], unknown: int, fraction: float, seed: int) -> None:
    codes = np.repeat([*range(len(sizes)), -1], [*sizes, unknown])
    codes = np.random.default_rng(0).permutation(codes)
    names = [f"class {number}" for number in range(len(sizes))]
    try:
        chosen = choose_labels(codes, names, fraction, seed)
    except SoundalikeError as error:
        fewest = min(size for size in sizes if size)
        said = str(error)
        assert f"'class {sizes.index(fewest)}'" in said
        assert f"({fewest} clip" in said
        assert "\n" not in said
        least = float(said.removesuffix(".").rsplit(" ", 1)[1])
        assert least > fraction
        fraction, chosen = least, choose_labels(codes, names, least, seed)
    for number, size in enumerate(sizes):
        count = int(chosen[codes == number].sum())
        assert abs(count - fraction * size) <= 0.5 + 1e-9
        assert count >= min(size, 1)
    assert not chosen[codes == -1].any()


@settings(max_examples=30, deadline=None)
@given(st.floats(0.1, 1.0), st.floats(0.1, 1.0), st.integers(0, 2**32))
def test_labels_of_a_smaller_part_are_among_those_of_a_larger_one(one: float, other: float, seed: int) -> None:
    codes = np.tile(np.arange(3), 20)
    small, large = (choose_labels(codes, list("abc"), part, seed) for part in sorted((one, other)))
    assert not (small & ~large).any()


def test_the_seed_says_which_labels_are_seen() -> None:
    codes = np.tile(np.arange(3), 40)
    one, same, other = (choose_labels(codes, list("abc"), 0.25, seed) for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.sum() == other.sum() == 30


def test_a_part_that_is_too_small_names_the_class_and_what_is_enough(folder: Path) -> None:
    said = r"^recordings\.labels is 0\.05, which leaves the class 'high' \(6 clips to train on\) without a label; "
    with pytest.raises(SoundalikeError, match=said + r"give at least 0\.084\.$"):
        open_folder(folder, labels=0.05)
    assert (open_folder(folder, labels=0.084).labels >= 0).sum() == 3


def test_what_was_heard_is_written_down(folder: Path, tmp_path: Path) -> None:
    clips = open_folder(folder, labels=0.34, unlabelled="drop", fold=1)
    clips.record(tmp_path / "clips.csv")
    written = rows(tmp_path / "clips.csv")
    assert list(written[0]) == ["path", "label", "labelled", "heard", "reason"]
    assert [row["path"] for row in written] == [str(path) for path in clips.paths]
    assert all(row["label"] == Path(row["path"]).parent.name for row in written)
    assert [row["labelled"] for row in written] == [str(int(seen)) for seen in clips.labelled]
    assert sum(int(row["heard"]) for row in written) == len(clips)
    assert [path.name for path in tmp_path.iterdir()] == ["clips.csv"]
    open_folder(folder, task=None).record(tmp_path / "clips.csv")
    assert {(row["label"], row["labelled"], row["heard"]) for row in rows(tmp_path / "clips.csv")} == {("", "0", "1")}


# reading


def test_pieces_are_filled_up_with_zeros_on_the_right(folder: Path) -> None:
    clips = open_folder(folder)
    clip, start = torch.tensor([0, 1, 0]), torch.tensor([0, 100, 6390])
    pieces = clips.read(clip, start, 5000)
    whole = clips.read(torch.tensor([0, 1]), torch.zeros(2, dtype=torch.int64), 6400)
    assert pieces.dtype == torch.float32
    assert torch.equal(pieces[0], whole[0, :5000])
    assert torch.equal(pieces[1, :4700], whole[1, 100:4800])
    assert not pieces[1, 4700:].any()
    assert torch.equal(pieces[2, :10], whole[0, 6390:])
    assert not pieces[2, 10:].any()


def test_writing_into_what_was_read_changes_no_clip(folder: Path) -> None:
    clips, clip, start = open_folder(folder), torch.tensor([3]), torch.tensor([0])
    before = clips.read(clip, start, 1000)
    clips.read(clip, start, 1000).fill_(7.0)
    assert torch.equal(clips.read(clip, start, 1000), before)


def test_a_broken_file_costs_no_other(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", each=3)
    (data / "low" / "b.wav").write_bytes(b"RIFF, but not really")
    clips = open_folder(data)
    assert len(clips) == len(clips.paths) == 8
    assert [failure.path for failure in clips.failures] == [data / "low" / "b.wav"]
    assert [clips.classes[label] for label in clips.labels] == [path.parent.name for path in clips.paths]
    for name in PITCHES:
        for path in (data / name).iterdir():
            path.write_bytes(b"no sound")
    with pytest.raises(SoundalikeError, match=r"no clip can be heard; the first one, .*high/a\.wav: "):
        open_folder(data)


# what is refused


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"labels": 0.0}, r"^recordings\.labels is 0: give a part above 0 and at most 1\.$"),
        ({"labels": 1.5}, r"^recordings\.labels is 1\.5: "),
        ({"labels": float("nan")}, r"^recordings\.labels is nan: "),
        ({"limit": 0}, r"^recordings\.limit is 0: give a number of clips from 1, or null for all\.$"),
        ({"fold": -1}, r"^recordings\.fold is -1: give the number of a fold from 1, or 0 for none\.$"),
        ({"label_seed": -1}, r"^recordings\.label_seed is -1: "),
        ({"label_seed": 2**63}, r"^recordings\.label_seed is \d+: "),
        ({"unlabelled": "dorp"}, r"^recordings\.unlabelled is 'dorp': did you mean 'drop'\?"),
        ({"task": "esc-10"}, r"^recordings\.task is 'esc-10': did you mean 'esc10'"),
    ],
)
def test_values_out_of_range(wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(SoundalikeError, match=said):
        RecordingSettings(**wanted)


def test_recordings_need_a_folder() -> None:
    with pytest.raises(SoundalikeError, match=r"^this recipe hears recordings: give --data FOLDER, and --task"):
        RecordingSettings(task="folder").open(16_000)
