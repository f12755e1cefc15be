from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from soundalike import datasets
from soundalike.datasets import Dataset
from soundalike.datasets.table import build
from soundalike.errors import SoundalikeError

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SOUNDALIKE_DATA", "nowhere"))


def touch(folder: Path, names: Iterable[str]) -> Path:
    """Files with contents of their own: only names and bytes matter to a reader."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def esc(folder: Path, classes: int = 12, suffix: str = ".wav") -> Path:
    rows = [
        {
            "filename": f"{fold}-{100 * fold + kind}-{take}-{kind}.wav",
            "fold": fold,
            "target": kind,
            "category": f"class_{kind:02}",
            "esc10": kind < 10,
            "src_file": 100 * fold + kind,
            "take": take,
        }
        for fold in range(1, 6)
        for kind in range(classes)
        for take in "AB"
    ]
    touch(folder, [f"audio/{row['filename']}".replace(".wav", suffix) for row in rows])
    (folder / "meta").mkdir()
    pd.DataFrame(rows).to_csv(folder / "meta" / "esc50.csv", index=False)
    return folder


def fsdd(folder: Path, speakers: Iterable[str] = ("theo", "jackson", "lucas")) -> Path:
    return touch(
        folder, [f"recordings/{digit}_{name}_{take}.wav" for digit in range(10) for name in speakers for take in "01"]
    )


def commands(folder: Path) -> Path:
    speakers = [f"{number:08x}" for number in range(6)]
    touch(
        folder,
        [f"{word}/{speaker}_nohash_{take}.wav" for word in ("yes", "no") for speaker in speakers for take in "01"],
    )
    touch(folder, ["_background_noise_/white_noise.wav"])
    (folder / "validation_list.txt").write_text("yes/00000000_nohash_0.wav\nno/00000000_nohash_0.wav\n")
    (folder / "testing_list.txt").write_text("yes/00000001_nohash_1.wav\nno/ffffffff_nohash_0.wav\n")
    return folder


def check(dataset: Dataset) -> None:
    """What must hold for every data set: parts do not overlap, and by folds each clip is tested once."""
    splits = list(dataset.splits())
    for split in splits:
        parts = [split.train, split.test, *([] if split.validation is None else [split.validation])]
        rows = np.concatenate(parts)
        assert len(rows) == len(set(rows.tolist())) == len(dataset.clips)
        assert all(part.dtype.kind == "i" and len(part) for part in parts)
    if splits[0].name != "official":
        tested = np.concatenate([split.test for split in splits])
        assert sorted(tested.tolist()) == list(range(len(dataset.clips)))
    assert len(dataset.paths) == len(dataset.labels) == len(dataset.groups) == len(dataset.clips)


def check_groups(dataset: Dataset) -> None:
    for split in dataset.splits():
        assert not set(dataset.groups[split.train]) & set(dataset.groups[split.test])


def folds_of(dataset: Dataset) -> dict[str, int]:
    return {Path(path).stem: fold for path, fold in zip(dataset.clips["path"], dataset.clips["fold"], strict=True)}


# ESC-50 and ESC-10


def test_esc50(tmp_path: Path) -> None:
    dataset = datasets.read("esc50", esc(tmp_path, classes=50))
    assert dataset.name == "esc50"
    assert dataset.protocol == "5 official folds"
    assert dataset.missing == 0
    assert [split.name for split in dataset.splits()] == [f"fold {fold}" for fold in range(1, 6)]
    check(dataset)
    check_groups(dataset)
    clip = dataset.clips.iloc[0]
    assert clip.path == str(tmp_path / "audio" / "1-100-A-0.wav")
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
        ("filename,fold,category,esc10,src_file\na.wav,1,dog,False,1\n", "no clip is marked as esc10"),
        (b"\xff\xfe\x00\x01" * 50, r"not a table|no column"),
    ],
)
def test_esc_with_a_bad_table(tmp_path: Path, table: str | bytes, said: str) -> None:
    esc(tmp_path)
    (tmp_path / "meta" / "esc50.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    with pytest.raises(SoundalikeError, match=rf"esc50\.csv: .*({said})"):
        datasets.read("esc10", tmp_path)


# Speech Commands


def test_speech_commands(tmp_path: Path) -> None:
    dataset = datasets.read("speech-commands", commands(tmp_path))
    assert dataset.protocol == "official train / validation / test lists"
    assert dataset.classes == ["no", "yes"]
    check(dataset)
    (split,) = dataset.splits()
    names = np.array([f"{path.parent.name}/{path.name}" for path in dataset.paths])
    assert split.name == "official"
    assert split.validation is not None
    assert set(names[split.validation]) == {"yes/00000000_nohash_0.wav", "no/00000000_nohash_0.wav"}
    assert set(names[split.test]) == {"yes/00000001_nohash_1.wav"}
    assert len(split.train) == 24 - 3
    assert dataset.clips["group"].nunique() == 6
    assert dataset.missing == 0


def test_speech_commands_without_validation_clips(tmp_path: Path) -> None:
    (commands(tmp_path) / "validation_list.txt").write_text("")
    dataset = datasets.read("speech-commands", tmp_path)
    assert dataset.protocol == "official train / test lists"
    assert next(dataset.splits()).validation is None
    check(dataset)


def test_speech_commands_with_nothing_to_test(tmp_path: Path) -> None:
    (commands(tmp_path) / "testing_list.txt").write_text("")
    with pytest.raises(SoundalikeError, match=r"none of the 24 clips is listed in testing_list\.txt"):
        datasets.read("speech-commands", tmp_path)
    for word in ("yes", "no"):
        shutil.rmtree(tmp_path / word)
    with pytest.raises(SoundalikeError, match=r"no folder of a word holds audio"):
        datasets.read("speech-commands", tmp_path)


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


# A folder per class


def test_folder_stratified(tmp_path: Path) -> None:
    touch(tmp_path, [f"{label}/{letter}{label}.wav" for label in ("cat", "dog") for letter in "abcdefg"])
    touch(tmp_path, ["loose.wav", "texts/a.txt", ".hidden/a.wav", "cat/notes.md"])
    dataset = datasets.read("folder", tmp_path)
    assert dataset.protocol == "5 stratified folds: no group could be told from the names"
    assert Counter(dataset.labels.tolist()) == {"cat": 7, "dog": 7}
    assert len(np.unique(dataset.groups)) == 14
    check(dataset)
    for split in dataset.splits():
        assert set(dataset.labels[split.test]) == {"cat", "dog"}


def test_folder_has_as_many_folds_as_its_smallest_class(tmp_path: Path) -> None:
    touch(tmp_path, [*(f"cat/{letter}.wav" for letter in "abcdefgh"), *(f"dog/{letter}.wav" for letter in "xyz")])
    dataset = datasets.read("folder", tmp_path)
    assert dataset.protocol.startswith("3 stratified folds")
    check(dataset)


@pytest.mark.parametrize(
    ("name", "clue"),
    [
        ("{label}/speaker{group}/{take}{label}.wav", "sub-folder"),
        ("{label}/aa{group}bb_nohash_{take}.wav", "speaker"),
        ("{label}/{label}{group}_{take}.wav", "take number"),
        ("{label}/{label} {group} (take {take}).wav", "take number"),
        ("{label}/2024-05-{group}T0{take}.WAV", None),
        ("{label}/{group}{take}{label}.wav", None),
    ],
)
def test_folder_tells_groups(tmp_path: Path, name: str, clue: str | None) -> None:
    touch(
        tmp_path,
        [
            name.format(label=label, group=10 + group, take=take)
            for label in ("cat", "dog")
            for group in range(6)
            for take in range(3)
        ],
    )
    dataset = datasets.read("folder", tmp_path)
    check(dataset)
    if clue is None:
        assert "stratified" in dataset.protocol
        return
    assert dataset.protocol.startswith("5 folds, grouped by ")
    assert clue in dataset.protocol
    check_groups(dataset)
    assert Counter(Counter(dataset.groups.tolist()).values()).keys() <= {3, 6}  # 6: one name in both classes
    for split in dataset.splits():
        assert set(dataset.labels[split.train]) == {"cat", "dog"}


def test_folder_joins_clues(tmp_path: Path) -> None:
    touch(
        tmp_path, [f"{label}/farm{farm}/{letter}.wav" for label in ("cat", "dog") for farm in "123" for letter in "ab"]
    )
    touch(
        tmp_path,
        [f"{label}/{label}{animal}_{take}.wav" for label in ("cat", "dog") for animal in "45" for take in "12"],
    )
    dataset = datasets.read("folder", tmp_path)
    assert "sub-folder or the name before the take number (7 groups)" in dataset.protocol
    check(dataset)
    check_groups(dataset)


def test_folder_groups_that_leave_a_class_with_one_do_not_serve(tmp_path: Path) -> None:
    touch(tmp_path, [f"{label}/{label}_{take}.wav" for label in ("cat", "dog") for take in range(8)])
    dataset = datasets.read("folder", tmp_path)
    assert dataset.protocol.startswith("5 stratified folds: grouping by the name before the take number would leave")
    check(dataset)
    assert len(np.unique(dataset.groups)) == 16


def test_folder_with_one_sub_folder_everywhere_goes_by_the_names(tmp_path: Path) -> None:
    touch(
        tmp_path,
        [f"{label}/wav/{label}{group}_{take}.wav" for label in ("cat", "dog") for group in "123" for take in "12"],
    )
    dataset = datasets.read("folder", tmp_path)
    assert dataset.protocol == "3 folds, grouped by the name before the take number (6 groups)"
    check_groups(dataset)


def test_folder_keeps_identical_files_together(tmp_path: Path) -> None:
    touch(tmp_path, [f"{label}/{letter}.wav" for label in ("cat", "dog") for letter in "abcdef"])
    for label in ("cat", "dog"):
        for copy in "xyz":
            shutil.copy(tmp_path / label / "a.wav", tmp_path / label / f"{copy}.wav")
    dataset = datasets.read("folder", tmp_path)
    assert dataset.protocol == "5 folds, grouped by identical contents (12 groups)"
    check(dataset)
    check_groups(dataset)
    folds = {label: {fold for path, fold in zip(dataset.paths, dataset.clips["fold"], strict=True)
                     if path.parent.name == label and path.stem in "axyz"} for label in ("cat", "dog")}  # fmt: skip
    assert all(len(of_label) == 1 for of_label in folds.values())


def test_folder_joins_the_groups_of_identical_files(tmp_path: Path) -> None:
    touch(
        tmp_path,
        [f"{label}/{label}{group}_{take}.wav" for label in ("cat", "dog") for group in "1234" for take in "12"],
    )
    shutil.copy(tmp_path / "cat" / "cat1_1.wav", tmp_path / "cat" / "cat2_2.wav")
    shutil.copy(tmp_path / "cat" / "cat2_1.wav", tmp_path / "cat" / "cat3_1.wav")
    dataset = datasets.read("folder", tmp_path)
    folds = folds_of(dataset)
    assert len({folds[f"cat{group}_{take}"] for group in "123" for take in "12"}) == 1
    assert "(6 groups)" in dataset.protocol
    check_groups(dataset)


def test_folder_of_nothing_but_copies(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for letter in "abc":
            (tmp_path / label / f"{letter}.wav").write_text(label)
    dataset = datasets.read("folder", tmp_path)
    assert dataset.protocol.startswith("3 stratified folds: grouping by identical contents would leave")
    assert dataset.protocol.endswith("; 6 files have identical twins, which may lie in other folds")


def test_files_that_begin_alike_are_not_copies(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for letter in "abcde":
            (tmp_path / label / f"{letter}.wav").write_bytes(bytes(100_000) + f"{label}{letter}".encode())
    assert "no group could be told" in datasets.read("folder", tmp_path).protocol


@pytest.mark.parametrize("sizes", [(2, 2), (2, 9, 3), (7, 4, 30), (3, 3, 3, 3, 3, 3)])
@pytest.mark.parametrize("shared", [True, False])
def test_every_class_is_in_every_training_part(tmp_path: Path, sizes: tuple[int, ...], shared: bool) -> None:
    random = np.random.default_rng(0)
    touch(
        tmp_path,
        [
            f"class{kind}/{'' if shared else kind}g{group}_{take}.wav"
            for kind, size in enumerate(sizes)
            for group in range(size)
            for take in range(int(random.integers(1, 9)))
        ],
    )
    dataset = datasets.read("folder", tmp_path)
    check(dataset)
    if "grouped" in dataset.protocol:
        check_groups(dataset)
    for split in dataset.splits():
        assert set(dataset.labels[split.train]) == set(dataset.classes)


def test_folder_ignores_the_order_on_disk(tmp_path: Path) -> None:
    names = [f"{label}/{label}{group}_{take}.wav" for label in "abc" for group in range(7) for take in range(3)]
    first = datasets.read("folder", touch(tmp_path / "first", names))
    second = datasets.read("folder", touch(tmp_path / "second", reversed(names)))
    assert folds_of(first) == folds_of(second)


def test_folder_with_too_little(tmp_path: Path) -> None:
    touch(tmp_path, [f"cat/{letter}.wav" for letter in "abc"])
    with pytest.raises(SoundalikeError, match=r"at least two classes"):
        datasets.read("folder", tmp_path)
    touch(tmp_path, ["dog/a.wav"])
    with pytest.raises(SoundalikeError, match=r"dog: a class needs at least 2 clips, this one has 1"):
        datasets.read("folder", tmp_path)


def test_folder_with_a_broken_link(tmp_path: Path) -> None:
    touch(tmp_path, [f"{label}/{letter}.wav" for label in ("cat", "dog") for letter in "abc"])
    (tmp_path / "cat" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    assert len(datasets.read("folder", tmp_path).clips) == 7  # decoding names it


# read


def test_unknown_task(tmp_path: Path) -> None:
    with pytest.raises(SoundalikeError, match=r"unknown task 'esc-10': did you mean .*'esc10'.*fsdd"):
        datasets.read("esc-10", tmp_path)


@pytest.mark.parametrize("task", datasets.TASKS)
def test_a_folder_without_the_layout(tmp_path: Path, task: str) -> None:
    touch(tmp_path, ["texts/a.txt"])
    with pytest.raises(SoundalikeError, match=rf"not the layout of task '{task}': looked for "):
        datasets.read(task, tmp_path)
    with pytest.raises(SoundalikeError, match=r"nowhere: no such folder"):
        datasets.read(task, tmp_path / "nowhere")
    with pytest.raises(SoundalikeError, match=r"a\.txt: is not a folder"):
        datasets.read(task, tmp_path / "texts" / "a.txt")


def test_data_sets_side_by_side(tmp_path: Path) -> None:
    esc(tmp_path / "ESC-50")
    fsdd(tmp_path / "digits")
    commands(tmp_path / "commands")
    for task in ("esc10", "esc50", "fsdd", "speech-commands"):
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
    assert dataset.clips.index.tolist() == [0, 1, 2, 3]
    check(dataset)
    assert [split.test.tolist() for split in dataset.splits()] == [[0, 1], [2, 3]]
    assert len(toy().clips) == 6
    assert toy().drop([]).clips.equals(toy().clips)


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
