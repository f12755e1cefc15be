from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataset_layouts import DATA, ROOT, check, check_groups, commands, esc, fsdd, nsynth, touch, urbansound
from soundalike.core.errors import SoundalikeError
from soundalike.data import datasets
from soundalike.data.datasets import Dataset
from soundalike.data.datasets.table import build

# ESC-50 and ESC-10


def test_esc50(tmp_path: Path) -> None:
    dataset = datasets.read("esc50", esc(tmp_path, classes=50))
    assert dataset.name == "esc50"
    assert dataset.protocol == "5 official folds"
    assert dataset.missing == 0
    assert [split.name for split in dataset.splits()] == [f"fold {fold}" for fold in range(1, 6)]
    check(dataset)
    check_groups(dataset)
    clip = dataset.clips[0]
    assert clip.path == tmp_path / "audio" / "1-100-A-0.wav"
    assert (clip.label, clip.fold, clip.group, clip.split) == ("class_00", 1, "100", "")
    for fold, split in enumerate(dataset.splits(), start=1):
        assert {path.name[0] for path in np.array(dataset.paths)[split.test]} == {str(fold)}


def test_esc10_is_the_marked_subset(tmp_path: Path) -> None:
    dataset = datasets.read("esc10", esc(tmp_path))
    assert dataset.classes == [f"class_{kind:02}" for kind in range(10)]
    assert dataset.protocol == "5 official folds"
    check(dataset)
    assert datasets.read("esc50", tmp_path).protocol == "5 official folds (12 of the 50 classes)"


def test_esc_falls_back_to_another_suffix(tmp_path: Path) -> None:
    dataset = datasets.read("esc10", esc(tmp_path, suffix=".ogg"))
    assert {path.suffix for path in dataset.paths} == {".ogg"}
    assert len(dataset.clips) == 100


def test_esc_counts_missing_clips(tmp_path: Path) -> None:
    esc(tmp_path)
    for path in (tmp_path / "audio").glob("3-*-A-4.wav"):
        path.unlink()
    dataset = datasets.read("esc10", tmp_path)
    assert (dataset.missing, len(dataset.clips)) == (1, 99)
    check(dataset)
    shutil.rmtree(tmp_path / "audio")
    (tmp_path / "audio").mkdir()
    with pytest.raises(SoundalikeError, match=r"audio: none of the 100 clips of meta/esc50\.csv is there"):
        datasets.read("esc10", tmp_path)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "not a table"),
        ("filename,fold\na.wav,1\n", "no column 'category'"),
        ("filename,fold,category,esc10,src_file\na.wav,one,dog,True,1\n", "not a whole number"),
        (
            "filename,fold,category,esc10,src_file\na.wav,1,dog,True,1\nb.wav,1",
            "row 3, column 'category': the cell is",
        ),
        ("filename,fold,category,esc10,src_file\na.wav,1,dog,True,1\nb.wav,1, ,True,1\n", "row 3, column 'category'"),
        ("filename,fold,category,esc10,src_file\n,1,dog,True,1\n", "row 2, column 'filename': the cell is empty"),
        ("filename,fold,category,esc10,src_file\na.wav,1,dog,False,1\n", "no clip is marked as esc10"),
        (b"\xff\xfe\x00\x01" * 50, r"not a table|no column|not UTF-8"),
    ],
)
def test_esc_with_a_bad_table(tmp_path: Path, table: str | bytes, said: str) -> None:
    esc(tmp_path)
    (tmp_path / "meta" / "esc50.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    with pytest.raises(SoundalikeError, match=rf"esc50\.csv: .*({said})"):
        datasets.read("esc10", tmp_path)


# The Free Spoken Digit Dataset


def test_fsdd(tmp_path: Path) -> None:
    touch(fsdd(tmp_path), ["recordings/readme.txt", "recordings/noise.wav"])
    dataset = datasets.read("fsdd", tmp_path)
    assert dataset.protocol == "3 folds, one speaker held out each"
    assert dataset.classes == [str(digit) for digit in range(10)]
    assert len(dataset.clips) == 60
    check(dataset)
    check_groups(dataset)
    for split in dataset.splits():
        assert len({path.name.split("_")[1] for path in np.array(dataset.paths)[split.test]}) == 1


def test_fsdd_with_one_speaker(tmp_path: Path) -> None:
    with pytest.raises(SoundalikeError, match=r"at least two speakers .*'theo'"):
        datasets.read("fsdd", fsdd(tmp_path, ["theo"]))


# UrbanSound8K


def test_urbansound8k(tmp_path: Path) -> None:
    dataset = datasets.read("urbansound8k", urbansound(tmp_path))
    assert (dataset.name, dataset.protocol, dataset.missing) == ("urbansound8k", "10 official folds", 0)
    assert [split.name for split in dataset.splits()] == [f"fold {fold}" for fold in range(1, 11)]
    check(dataset)
    check_groups(dataset)
    for fold, split in enumerate(dataset.splits(), start=1):
        assert {path.parent.name for path in np.array(dataset.paths)[split.test]} == {f"fold{fold}"}
    clip = dataset.clips[0]
    assert clip.path == tmp_path / "audio" / "fold1" / "1000-0-0-0.wav"
    assert (clip.label, clip.fold, clip.group) == ("class_0", 1, "1000")
    assert len({clip.group for clip in dataset.clips}) == 100


def test_urbansound8k_with_missing_clips(tmp_path: Path) -> None:
    urbansound(tmp_path)
    for fold in range(4, 11):
        shutil.rmtree(tmp_path / "audio" / f"fold{fold}")
    for path in (tmp_path / "audio").glob("*/*-9-0-*.wav"):
        path.unlink()
    dataset = datasets.read("urbansound8k", tmp_path)
    assert dataset.protocol == "3 official folds (9 of the 10 classes)"
    assert (len(dataset.clips), dataset.missing) == (54, 146)
    check(dataset)
    for fold in range(1, 4):
        shutil.rmtree(tmp_path / "audio" / f"fold{fold}")
    with pytest.raises(SoundalikeError, match=r"audio: none of the 200 clips of metadata/UrbanSound8K\.csv is there"):
        datasets.read("urbansound8k", tmp_path)
    (tmp_path / "metadata" / "UrbanSound8K.csv").write_text("slice_file_name,fold,class\na.wav,1,siren\n")
    with pytest.raises(SoundalikeError, match=r"UrbanSound8K\.csv: the table has no column 'fsID'"):
        datasets.read("urbansound8k", tmp_path)


# read


def test_unknown_task(tmp_path: Path) -> None:
    with pytest.raises(SoundalikeError, match=r"unknown task 'esc-10': did you mean .*'esc10'.*fsdd"):
        datasets.read("esc-10", tmp_path)


@pytest.mark.parametrize("task", datasets.TASKS)
def test_a_folder_without_the_layout(tmp_path: Path, task: str) -> None:
    touch(tmp_path, ["texts/a.txt"])
    with pytest.raises(SoundalikeError, match=rf"not the layout of task '{task}': looked for "):
        datasets.read(task, tmp_path)
    with pytest.raises(SoundalikeError, match=r"nowhere: no such (file or )?folder"):
        datasets.read(task, tmp_path / "nowhere")
    if task != "manifest":
        with pytest.raises(SoundalikeError, match=r"a\.txt: is not a folder"):
            datasets.read(task, tmp_path / "texts" / "a.txt")


def test_data_sets_side_by_side(tmp_path: Path) -> None:
    esc(tmp_path / "ESC-50")
    fsdd(tmp_path / "digits")
    commands(tmp_path / "commands")
    urbansound(tmp_path / "UrbanSound8K")
    nsynth(tmp_path / "nsynth")
    for task in (
        "esc10",
        "esc50",
        "fsdd",
        "speech-commands",
        "speech-commands-12",
        "urbansound8k",
        "nsynth-family",
        "nsynth-pitch",
    ):
        check(datasets.read(task, tmp_path))
    esc(tmp_path / "ESC-10")
    with pytest.raises(SoundalikeError, match=r"'esc10' fits more than one folder in it \(ESC-10, ESC-50\)"):
        datasets.read("esc10", tmp_path)
    check(datasets.read("esc10", tmp_path / "ESC-10"))


def test_folder_is_not_looked_for_deeper(tmp_path: Path) -> None:
    touch(tmp_path, [f"all/{label}/{letter}.wav" for label in ("cat", "dog") for letter in "abc"])
    with pytest.raises(SoundalikeError, match=r"at least two classes"):
        datasets.read("folder", tmp_path)


# Dataset


def toy(splits: list[str] | None = None) -> Dataset:
    return build(
        "toy",
        "2 folds",
        paths=[Path(f"{row}.wav") for row in range(6)],
        labels="ababab",
        groups="uvwxyz",
        folds=None if splits else [1, 1, 1, 2, 2, 2],
        splits=splits,
    )


def test_drop_renumbers_and_keeps_folds() -> None:
    dataset = toy().drop([1, np.int64(3)])
    assert [path.name for path in dataset.paths] == ["0.wav", "2.wav", "4.wav", "5.wav"]
    check(dataset)
    assert [split.test.tolist() for split in dataset.splits()] == [[0, 1], [2, 3]]
    assert len(toy().clips) == 6
    assert toy().drop([]).clips == toy().clips


def test_drop_that_leaves_too_little() -> None:
    with pytest.raises(SoundalikeError, match=r"toy: at least two classes are needed, there is 1"):
        toy().drop([0, 2, 4])
    with pytest.raises(SoundalikeError, match=r"no clip is left for the train part of fold 1"):
        toy().drop([3, 4, 5])
    official = toy(["train"] * 4 + ["validation", "test"])
    check(official)
    with pytest.raises(SoundalikeError, match=r"no clip is left for the test part of official"):
        official.drop([5])
    assert next(official.drop([4]).splits()).validation is None


def test_select_keeps_the_order_given() -> None:
    assert [path.name for path in toy().select([5, 0, 3]).paths] == ["5.wav", "0.wav", "3.wav"]


@pytest.mark.parametrize("number", [1, 2, np.int64(2)])
def test_hold_out_leaves_one_fold(number: int) -> None:
    dataset = toy()
    alone = dataset.hold_out(number)
    assert alone.protocol == f"fold {number} of 2 alone (2 folds)"
    (split,) = alone.splits()
    expected = list(dataset.splits())[number - 1]
    assert split.train.tolist() == expected.train.tolist()
    assert split.test.tolist() == expected.test.tolist()
    assert split.validation is None
    assert {clip.fold for clip in alone.clips} == {0}
    assert (alone.name, alone.missing, alone.paths) == (dataset.name, dataset.missing, dataset.paths)
    assert [clip.fold for clip in dataset.clips] == [1, 1, 1, 2, 2, 2]
    assert alone.hold_out(1) is alone
    assert [path.name for path in alone.drop([0]).paths] == [f"{row}.wav" for row in range(1, 6)]


def test_hold_out_counts_folds_by_position() -> None:
    dataset = datasets.Dataset(
        "toy", tuple(replace(clip, fold=fold) for clip, fold in zip(toy().clips, [3, 3, 8, 8, 8, 3], strict=True)), ""
    )
    assert next(dataset.hold_out(2).splits()).test.tolist() == [2, 3, 4]


@pytest.mark.parametrize("number", [0, 3, -1, True, 1.0, "1"])
def test_hold_out_of_no_fold(number: int) -> None:
    with pytest.raises(SoundalikeError, match=rf"toy: there is no fold {number!r}; give a number from 1 to 2\."):
        toy().hold_out(number)


def test_hold_out_with_official_lists() -> None:
    official = toy(["train"] * 4 + ["validation", "test"])
    assert official.hold_out(1) is official
    with pytest.raises(SoundalikeError, match=r"there is no fold 2; it has official lists instead of folds: give 1"):
        official.hold_out(2)


# Real recordings


@pytest.mark.parametrize(("task", "count", "folds"), [("esc10", 80, 5), ("fsdd", 300, 6)])
def test_the_recordings_of_the_repository(task: str, count: int, folds: int) -> None:
    if not (ROOT / "data").is_dir():
        pytest.skip("the repository's data folder is not here")
    dataset = datasets.read(task, ROOT / "data")
    assert (len(dataset.clips), dataset.missing, len(list(dataset.splits()))) == (count, 0, folds)
    check(dataset)
    check_groups(dataset)
    for split in dataset.splits():
        assert len(set(dataset.labels[split.test])) == 10


def test_every_esc_clip_of_the_repository_is_attributed() -> None:
    if not (ROOT / "data").is_dir():
        pytest.skip("the repository's data folder is not here")
    sources = pd.read_csv(ROOT / "data" / "ESC-10" / "ATTRIBUTION.csv")
    files = sorted(path.name for path in (ROOT / "data" / "ESC-10" / "audio").iterdir())
    assert sorted(sources["clip"]) == files
    assert set(sources["licence"]) == {"CC0", "CC BY"}
    assert not sources.isna().any().any()
    assert sum(path.stat().st_size for path in (ROOT / "data").rglob("*") if path.is_file()) < 10_000_000


@pytest.mark.skipif(not DATA.is_dir(), reason="SOUNDALIKE_DATA is not set")
@pytest.mark.parametrize(
    ("task", "folder", "classes", "protocol"),
    [
        ("esc10", "", 10, "5 official folds"),
        ("fsdd", "", 10, "6 folds, one speaker held out each"),
        ("speech-commands", "", 30, "official train / validation / test lists"),
        ("folder", "instruments10", 10, "5 stratified folds: no group could be told from the names"),
        ("folder", "speech_commands_v0.01", 30, r"5 folds, grouped by speaker"),
    ],
)
def test_real_recordings(task: str, folder: str, classes: int, protocol: str) -> None:
    dataset = datasets.read(task, DATA / folder)
    assert len(dataset.classes) == classes
    assert dataset.protocol.startswith(protocol)
    assert all(path.is_file() for path in dataset.paths)
    check(dataset)
    if "grouped" in dataset.protocol:
        check_groups(dataset)
