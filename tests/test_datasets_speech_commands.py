from __future__ import annotations

import math
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from dataset_layouts import DATA, background, check, check_groups, commands, touch
from soundalike.core.errors import SoundalikeError
from soundalike.data import datasets
from soundalike.data.datasets import Dataset, silence, speech_commands


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
    assert len({clip.group for clip in dataset.clips}) == 6
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


# SC09


def test_sc09(tmp_path: Path) -> None:
    folder = commands(tmp_path)
    for word in ("zero", "seven", "nine"):
        shutil.copytree(folder / "yes", folder / word)
    with (folder / "testing_list.txt").open("a") as stream:
        stream.write("zero/00000002_nohash_0.wav\nseven/00000002_nohash_0.wav\n")
    dataset = datasets.read("sc09", folder)
    assert dataset.name == "sc09"
    assert dataset.classes == ["nine", "seven", "zero"]
    assert dataset.protocol == "official train / test lists (3 of the 10 digits)"
    assert len(next(dataset.splits()).test) == 2
    check(dataset)


def test_sc09_without_digits(tmp_path: Path) -> None:
    with pytest.raises(SoundalikeError, match=r"none of the ten digits has a folder with audio \(zero, one, "):
        datasets.read("sc09", commands(tmp_path))


# The task of 12 classes


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SOUNDALIKE_CACHE", str(folder))
    return folder


def twelve(folder: Path) -> Path:
    """All words of version 0.01: of each 10 clips to train on, 4 to validate on and 6 to test on."""
    words = [*speech_commands.COMMANDS, *speech_commands.DIGITS, "bed", "bird"]
    lists: dict[str, list[str]] = {"train": [], "validation": [], "testing": []}
    for word in words:
        for number in range(20):
            kind = "train" if number < 10 else "validation" if number < 14 else "testing"
            lists[kind].append(f"{word}/{number:08x}_nohash_0.wav")
    for kind, names in lists.items():
        touch(folder, names)
        (folder / f"{kind}_list.txt").write_text("\n".join(names) + "\n")
    (folder / "train_list.txt").unlink()
    return folder


def counts(dataset: Dataset, label: str) -> dict[str, int]:
    return dict(Counter(clip.split for clip in dataset.clips if clip.label == label))


def test_twelve_classes(tmp_path: Path, cache: Path) -> None:
    folder = background(twelve(tmp_path / "data"), {"tap": 30, "cat": 20.5})
    dataset = datasets.read("speech-commands-12", folder)
    assert dataset.name == "speech-commands-12"
    assert len(dataset.classes) == 12
    assert dataset.protocol == (
        "official train / validation / test lists; _unknown_ is 10 / 4 / 6 clips of other words, chosen by hash; "
        "_silence_ is 10 / 4 / 6 cuts of _background_noise_ from stretches that no two parts share"
    )
    check(dataset)
    check_groups(dataset)
    for label in dataset.classes:
        assert counts(dataset, label) == {"train": 10, "validation": 4, "test": 6}
    others = {path.parent.name for path in np.array(dataset.paths)[dataset.labels == "_unknown_"]}
    assert len(others) > 5
    assert not others & set(speech_commands.COMMANDS)
    silence = [path for path, label in zip(dataset.paths, dataset.labels, strict=True) if label == "_silence_"]
    assert {path.parents[2] for path in silence} == {cache / "prepared"}
    assert len(set(silence)) == 20


def test_unknown_is_a_tenth_rounded_up_and_stays(tmp_path: Path) -> None:
    folder = twelve(tmp_path / "data")
    before = datasets.read("speech-commands-12", folder)
    (folder / "no" / f"{0:08x}_nohash_0.wav").unlink()  # 99 clips of the ten words are left to train on
    after = datasets.read("speech-commands-12", folder)
    assert counts(before, "_unknown_") == counts(after, "_unknown_") == {"train": 10, "validation": 4, "test": 6}
    for number in range(10):
        (folder / "yes" / f"{number:08x}_nohash_0.wav").unlink()  # 89
    fewer = datasets.read("speech-commands-12", folder)
    assert counts(fewer, "_unknown_")["train"] == 9

    def chosen(dataset: Dataset) -> set[str]:
        return {clip.path for clip in dataset.clips if clip.label == "_unknown_"}

    assert chosen(before) == chosen(after)
    assert chosen(fewer) < chosen(before)
    gone = Path(min(chosen(before)))
    gone.unlink()
    assert len(chosen(before) - chosen(datasets.read("speech-commands-12", folder))) <= 2


def test_no_sample_of_silence_is_in_two_parts(tmp_path: Path) -> None:
    folder = background(twelve(tmp_path / "data"), {"tap": 30, "cat": 20.5, "short": 1.5})
    dataset = datasets.read("speech-commands-12", folder)
    values: dict[str, set[int]] = {"train": set(), "validation": set(), "test": set()}
    split_of: dict[str, set[str]] = {"tap": set(), "cat": set(), "short": set()}
    for path, split in ((clip.path, clip.split) for clip in dataset.clips if clip.label == "_silence_"):
        samples, rate = soundfile.read(path, dtype="int16")
        assert (rate, samples.shape, soundfile.info(path).subtype) == (16_000, (16_000,), "PCM_16")
        # the value of a sample tells when and in which recording it was
        values[split] |= set(samples[8:-8].tolist())
        split_of[Path(path).stem.split("_")[-1]].add(split)
    assert split_of == {"tap": set(values), "cat": set(values), "short": {"train"}}  # 0.15 s are no second
    assert not values["train"] & values["test"]
    assert not values["train"] & values["validation"]
    assert not values["validation"] & values["test"]
    tap = set(range(-30_000, 0))
    assert len(values["train"] & tap) > 4_000
    assert min(values["test"] & tap) >= -30_000 + 27_000


def test_silence_is_made_once_and_again_where_the_source_changes(tmp_path: Path, cache: Path) -> None:
    folder = background(twelve(tmp_path / "data"), {"tap": 30})

    def made() -> dict[Path, tuple[int, bytes]]:
        datasets.read("speech-commands-12", folder)
        files = sorted(cache.rglob("*.wav"))
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    first = made()
    assert len(first) == 20
    assert made() == first
    victim = next(iter(first))
    for damage in (victim.unlink, lambda: victim.write_bytes(b"")):  # gone, and empty after a power cut
        damage()
        again = made()
        assert again[victim][1] == first[victim][1]
    assert {path: what for path, what in again.items() if path != victim} == {
        path: what for path, what in first.items() if path != victim
    }
    background(folder, {"tap": 30.0, "cat": 12.0})
    assert len(made()) == 40
    soundfile.write(folder / "_background_noise_" / "cat.wav", np.zeros(160_000), 16_000)
    assert len(made()) == 60


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_silence_can_be_read_by_those_that_the_umask_lets(tmp_path: Path, cache: Path) -> None:
    before = os.umask(0o022)
    try:
        datasets.read("speech-commands-12", background(twelve(tmp_path / "data"), {"tap": 30}))
    finally:
        os.umask(before)
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert len(files) == 20  # no part of one is left
    assert {path.stat().st_mode & 0o777 for path in files} == {0o644}


def test_without_background_recordings(tmp_path: Path, cache: Path) -> None:
    dataset = datasets.read("speech-commands-12", twelve(tmp_path / "data"))
    assert len(dataset.classes) == 11
    assert dataset.protocol.endswith("; no _silence_: there is no folder _background_noise_")
    assert not cache.exists()
    check(dataset)


def test_background_that_does_not_serve(tmp_path: Path) -> None:
    folder = background(twelve(tmp_path / "data"), {"tap": 9.5})
    protocol = datasets.read("speech-commands-12", folder).protocol
    assert protocol.endswith("; no _silence_: _background_noise_ holds too little to give every part a second")
    (folder / "_background_noise_" / "broken.wav").write_text("no audio")
    assert datasets.read("speech-commands-12", folder).protocol.endswith("a second (broken.wav could not be read)")
    background(folder, {"tap": 30})
    dataset = datasets.read("speech-commands-12", folder)
    assert dataset.protocol.endswith("that no two parts share (broken.wav could not be read)")
    assert len(dataset.classes) == 12


def test_a_cache_that_cannot_be_written_to(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file in its place")
    with pytest.raises(SoundalikeError, match=r"cache/prepared/.*: cannot be made a folder"):
        datasets.read("speech-commands-12", background(twelve(tmp_path / "data"), {"tap": 30}))


def test_a_cache_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(silence.os, "replace", refuse)
    with pytest.raises(
        SoundalikeError, match=r"cannot be written there \(No space left on device\); make room, or set"
    ):
        datasets.read("speech-commands-12", background(twelve(tmp_path / "data"), {"tap": 30}))
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_folders_of_the_test_archive_are_the_test_clips(tmp_path: Path) -> None:
    folder = background(twelve(tmp_path / "data"), {"tap": 30})
    given = [f"_unknown_/bed_{number:08x}_nohash_0.wav.wav" for number in range(14, 19)]
    touch(folder, [*given, "_silence_/1035.wav", "_silence_/7.wav", "_silence_/.hidden.wav"])
    dataset = datasets.read("speech-commands-12", folder)
    check(dataset)
    check_groups(dataset)
    assert counts(dataset, "_unknown_") == {"train": 10, "validation": 4, "test": 5}
    assert counts(dataset, "_silence_") == {"train": 10, "validation": 4, "test": 2}
    tested = [clip for clip in dataset.clips if (clip.split, clip.label) == ("test", "_unknown_")]
    assert {clip.path.name for clip in tested} == {Path(name).name for name in given}
    assert {clip.group for clip in tested} == {f"{number:08x}" for number in range(14, 19)}
    assert "10 / 4 clips of other words, chosen by hash, and the 5 test clips of its folder" in dataset.protocol
    assert dataset.protocol.endswith("and the 2 test clips of its folder")
    shutil.rmtree(folder / "_background_noise_")
    without = datasets.read("speech-commands-12", folder)
    assert "_silence_" not in without.classes  # nothing to learn it from
    check(without)


def test_without_other_words(tmp_path: Path) -> None:
    dataset = datasets.read("speech-commands-12", commands(tmp_path / "data"))
    assert dataset.classes == ["no", "yes"]
    assert dataset.protocol.startswith(
        "official train / validation / test lists (2 of the 10 words); no other words for _unknown_; no _silence_: "
    )
    touch(tmp_path / "data", ["_unknown_/bed_ffffffff_nohash_0.wav.wav"])
    dataset = datasets.read("speech-commands-12", tmp_path / "data")
    assert dataset.classes == ["no", "yes"]  # a class that could only be tested is left out
    assert "; no _unknown_: no other words to learn it from; " in dataset.protocol
    touch(tmp_path / "data", [f"bed/{speaker:08x}_nohash_0.wav" for speaker in range(2)])
    (tmp_path / "data" / "validation_list.txt").write_text("yes/00000000_nohash_0.wav\nbed/00000000_nohash_0.wav\n")
    with (tmp_path / "data" / "testing_list.txt").open("a") as stream:
        stream.write("bed/00000001_nohash_0.wav\n")
    assert datasets.read("speech-commands-12", tmp_path / "data").classes == ["no", "yes"]
    shutil.rmtree(tmp_path / "data" / "bed")
    for word in ("yes", "no"):
        (tmp_path / "data" / word).rename(tmp_path / "data" / f"not{word}")
    (tmp_path / "data" / "testing_list.txt").write_text("notyes/00000001_nohash_1.wav\n")
    with pytest.raises(SoundalikeError, match=r"none of the ten words has a folder with audio \(yes, no, "):
        datasets.read("speech-commands-12", tmp_path / "data")


def test_paths_are_all_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    background(twelve(tmp_path / "data"), {"tap": 30})
    monkeypatch.chdir(tmp_path)
    assert all(path.is_absolute() for path in datasets.read("speech-commands-12", "data").paths)


@given(
    lengths=st.lists(st.integers(0, 400_000), min_size=1, max_size=4),
    count=st.integers(0, 300),
    stretch=st.sampled_from([(0.0, 0.8), (0.8, 0.9), (0.9, 1.0)]),
)
def test_cuts_lie_in_their_stretch(lengths: list[int], count: int, stretch: tuple[float, float]) -> None:
    recordings = {str(number): length for number, length in enumerate(lengths)}
    starts = silence._starts(recordings, *stretch, count)
    assert len(starts) == len(set(starts))
    for name, start in starts:
        assert stretch[0] * recordings[name] <= start
        assert start + silence.RATE <= stretch[1] * recordings[name]
    long = [length for length in lengths if (stretch[1] - stretch[0]) * length >= silence.RATE + 2]
    if long:
        assert len(starts) >= min(count, 1)
    if sum((stretch[1] - stretch[0]) * length - silence.RATE - 2 for length in long) >= count:
        assert len(starts) == count


@pytest.mark.skipif(not DATA.is_dir(), reason="SOUNDALIKE_DATA is not set")
def test_real_words() -> None:
    folder = DATA / "speech_commands_v0.01"
    digits = datasets.read("sc09", folder)
    assert sorted(digits.classes) == sorted(speech_commands.DIGITS)
    assert digits.protocol == "official train / validation / test lists"
    check(digits)
    check_groups(digits)
    dataset = datasets.read("speech-commands-12", folder)
    assert set(dataset.classes) == {*speech_commands.COMMANDS, "_unknown_"}  # the sample has no background
    assert all(path.is_file() for path in dataset.paths)
    check(dataset)
    check_groups(dataset)
    known = Counter(clip.split for clip in dataset.clips if clip.label != "_unknown_")
    assert counts(dataset, "_unknown_") == {split: math.ceil(number / 10) for split, number in known.items()}
