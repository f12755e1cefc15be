from __future__ import annotations

import os
import shutil
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dataset_layouts import (
    check,
    check_groups,
    folds_of,
    touch,
)
from soundalike.core.errors import SoundalikeError
from soundalike.data import datasets
from soundalike.data.datasets.folds import identical


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
    for label in ("cat", "dog"):
        alike = [c for c in dataset.clips if c.path.parent.name == label and c.path.stem in "axyz"]
        assert len({clip.fold for clip in alike}) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe, empty, twin = (tmp_path / name for name in ("pipe.wav", "empty.wav", "twin.wav"))
    os.mkfifo(pipe)
    empty.touch()
    twin.touch()
    found: list[dict[Path, str]] = []
    comparing = threading.Thread(target=lambda: found.append(identical([pipe, empty, twin])), daemon=True)
    comparing.start()
    comparing.join(5)
    assert found == [{empty: str(empty), twin: str(empty)}]


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
