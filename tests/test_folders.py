"""Which sounds of a folder are found, by every command, and what is said of those that are not read."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundalike import cli
from soundalike.audio import kinds, read
from soundalike.audio.folders import LeftOut, find, walk
from soundalike.core.errors import LeftOutWarning, SoundalikeError
from soundalike.data.datasets import folder as folders

RATE = 16_000


@pytest.fixture(params=[True, False], ids=["with formats", "without"])
def extra(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(kinds, "extra_is_there", lambda: request.param)
    return bool(request.param)


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def sound(path: Path, hertz: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(RATE // 4) / RATE
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * time), RATE)


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in walk(folder)]


def test_links_are_followed(tmp_path: Path) -> None:
    inside = touch(tmp_path / "sounds", "a.wav", "b/b.wav", "list.txt")
    outside = touch(tmp_path / "elsewhere", "c.wav", "deep/d.flac")
    (inside / "linked").symlink_to(outside)
    (inside / "e.wav").symlink_to(outside / "c.wav")
    (inside / "gone").symlink_to(tmp_path / "nothing")
    assert names(inside) == ["a.wav", "b/b.wav", "e.wav", "linked/c.wav", "linked/deep/d.flac"]


def test_links_make_no_loops_and_no_folder_counts_twice(tmp_path: Path) -> None:
    inside = touch(tmp_path / "top/sounds", "a.wav", "b/b.wav", "b/c/c.wav")
    (inside / "0 first").symlink_to(inside / "b")
    (inside / "b/c/itself").symlink_to(inside)
    (inside / "b/up").symlink_to("../..")
    (inside / "round").symlink_to(inside / "round")
    other = touch(tmp_path / "other", "d.wav")
    (inside / "one").symlink_to(other)
    (inside / "two").symlink_to(other)
    (other / "back").symlink_to(inside / "b")
    touch(tmp_path / "top", "beside.wav")
    assert names(inside) == ["a.wav", "b/b.wav", "b/c/c.wav", "one/d.wav"]
    (tmp_path / "door").symlink_to(inside)
    assert len(walk(tmp_path / "door")) == 4, "of a folder that is itself given as a link"


def test_what_is_left_out_is_said_in_one_line(tmp_path: Path, extra: bool) -> None:
    touch(tmp_path, "a.wav", "b.MP3", *(f"c/{place}.m4a" for place in range(4)), "c/5.M4A", "notes.txt", "x.mov")
    with pytest.warns(LeftOutWarning) as said:
        found = find(tmp_path)
    assert len(said) == 1
    if extra:
        assert len(found) == 7
        assert str(said[0].message) == f"{tmp_path}: 1 file was left out: 1 .mov."
    else:
        assert [path.name for path in found] == ["a.wav", "b.MP3"]
        expected = "6 files were left out: 5 .m4a, 1 .mov; pip install 'soundalike[formats]' reads .m4a."
        assert str(said[0].message) == f"{tmp_path}: {expected}"


def test_what_is_left_out_of_several_folders_is_one_line(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.wav", "one/b.mov", "two/a.wav", "two/b.mov")
    with pytest.warns(LeftOutWarning, match=r"one, .*two: 2 files were left out: 2 \.mov\.$") as said:
        find([tmp_path / "one", tmp_path / "two"])
    assert len(said) == 1


def test_a_folder_with_nothing_that_is_read_names_what_it_holds(tmp_path: Path) -> None:
    touch(tmp_path, "a.mov", "b.mov")
    with pytest.raises(SoundalikeError, match=r"holds no audio \(.*\)\. 2 files were left out: 2 \.mov\.$"):
        find(tmp_path)


def test_names_that_say_nothing_are_looked_into(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav", 440)
    (tmp_path / "recording").write_bytes((tmp_path / "a.wav").read_bytes())
    (tmp_path / "clip.part").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(60))
    (tmp_path / "README").write_text("What these are.")
    os.mkfifo(tmp_path / "pipe")
    left = LeftOut()
    assert len(walk(tmp_path, left)) == 1
    assert left.sentence == "2 files were left out: 1 without a suffix, 1 .part" or left.sentence.endswith(
        "1 .part, 1 without a suffix"
    )


def test_nothing_is_said_of_what_is_no_sound(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "LICENSE", "labels.csv", "cover.jpg", ".hidden.m4a", ".git/b.m4a", "empty")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(find(tmp_path)) == 1


def test_classes_that_vanish_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "extra_is_there", lambda: False)
    touch(tmp_path, "tone/a.wav", "tone/b.m4a", "noise/a.wav", "whale/a.m4a", "stray.wav", "empty/list.txt")
    with pytest.warns(LeftOutWarning) as said:
        assert sorted(folders.clips_by_class(tmp_path)) == ["noise", "tone"]
    assert len(said) == 1
    assert str(said[0].message) == (
        f"{tmp_path}: 3 files were left out: 2 .m4a, 1 .wav; pip install 'soundalike[formats]' reads .m4a; nothing is "
        "left of whale; 1 of them in no sub-folder."
    )


def test_every_command_finds_the_same_sounds(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inside, outside = tmp_path / "sounds", tmp_path / "elsewhere"
    for number in range(3):
        sound(inside / "low" / f"{'abc'[number] * 3}.wav", 300 + 10 * number)
        sound(outside / f"{'abc'[number] * 3}.wav", 3000 + 100 * number)
    (inside / "high").symlink_to(outside)
    (inside / "high" / "up").symlink_to(inside)
    touch(inside, "low/film.mov")
    sounds, model = str(inside), ["--model", str(run)]
    commands = {
        "teach": ["teach", sounds, "--out", "mine.safetensors", *model],
        "embed": ["embed", sounds, "--out", "e.csv", *model],
        "index": ["index", sounds, "--out", "i.index", *model],
        "map": ["map", sounds, "--out", "map.html", *model],
        "classify": ["classify", sounds, "--with", "mine.safetensors", "--out", "c.csv"],
    }
    for name, arguments in commands.items():
        assert cli.main(arguments) == 0
        out, err = capsys.readouterr()
        assert err.count("1 file was left out: 1 .mov.") == 1, name
        counted = {"teach": "low       3 clips", "classify": "6 of 6 sounds", "embed": "6 embeddings"}
        assert counted.get(name, "6 sounds") in " ".join(out.split()).replace("low 3", "low       3"), name
    assert "high" in (tmp_path / "c.csv").read_text()


def test_suffixes_are_those_of_files_that_are_read(extra: bool) -> None:
    assert set(read.SUFFIXES) <= set(read.suffixes())
    assert (".m4a" in read.suffixes()) == extra
