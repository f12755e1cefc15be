"""Data sets from a server on this machine: unpacked, read by their tasks, and by the command."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local_server import Served, Server, refusal, serving
from soundalike.commands import data
from soundalike.data import datasets
from soundalike.data.download import BY_HAND, CATALOGUE, Archive, amount, find, get
from soundalike.data.download.fetch import check_address
from soundalike.data.download.unpack import unpack


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(monkeypatch) as served:
        yield served


def wav() -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.zeros(80), 8_000, format="WAV")
    return stream.getvalue()


def layout(name: str) -> dict[str, bytes]:
    """The members of a small archive laid out as the published one."""
    if name == "esc50":
        rows = ["filename,fold,target,category,esc10,src_file,take"]
        files = {}
        for fold in (1, 2):
            for label in ("dog", "rain"):
                rows.append(f"{fold}-{label}-A-0.wav,{fold},0,{label},True,{fold}{label},A")
                files[f"ESC-50-33c8ce9e/audio/{fold}-{label}-A-0.wav"] = wav()
        return {"ESC-50-33c8ce9e/meta/esc50.csv": "\n".join(rows).encode(), **files}
    if name == "fsdd":
        speakers = [f"{digit}_{speaker}_0" for digit in (0, 1) for speaker in ("ann", "bob")]
        return {f"free-spoken-digit-dataset-1.0.10/recordings/{take}.wav": wav() for take in speakers}
    if name.startswith("speech"):
        takes = {f"{word}/{speaker}_nohash_0.wav": wav() for word in ("yes", "no") for speaker in ("a1", "b2", "c3")}
        lists = {"validation_list": "a1", "testing_list": "b2"}
        listed = {f"{k}.txt": f"yes/{v}_nohash_0.wav\nno/{v}_nohash_0.wav\n".encode() for k, v in lists.items()}
        return {f"./{path}": body for path, body in {**listed, **takes}.items()}
    if name == "urbansound8k":
        rows = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
        files = {"UrbanSound8K/FREESOUNDCREDITS.txt": b"credits"}
        for fold in (1, 2):
            for number, label in enumerate(("siren", "drilling")):
                rows.append(f"{fold}{number}-0-0-0.wav,{fold}{number},0,1,1,{fold},{number},{label}")
                files[f"UrbanSound8K/audio/fold{fold}/{fold}{number}-0-0-0.wav"] = wav()
        return {"UrbanSound8K/metadata/UrbanSound8K.csv": "\n".join(rows).encode(), **files}
    notes, files = {}, {}
    for family in ("bass", "flute"):
        for number, pitch in ((0, 60), (1, 60), (0, 62), (1, 62)):
            key = f"{family}_acoustic_{number:03}-{pitch:03}-100"
            notes[key] = {"instrument_str": key[:-8], "instrument_family_str": family, "pitch": pitch}
            files[f"{name}/audio/{key}.wav"] = wav()
    return {f"{name}/examples.json": json.dumps(notes).encode(), **files}


def packed(members: dict[str, bytes], as_zip: bool) -> bytes:
    stream = io.BytesIO()
    if as_zip:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, body in members.items():
                opened.writestr(name, body)
    else:
        with tarfile.open(fileobj=stream, mode="w:gz") as tar:
            for name, body in members.items():
                header = tarfile.TarInfo(name)
                header.size = len(body)
                tar.addfile(header, io.BytesIO(body))
    return stream.getvalue()


def small(server: Server, name: str, body: bytes | None = None) -> Archive:
    """The data set with a small archive on the server, and its size and checksum."""
    archive = CATALOGUE[name]
    body = packed(layout(name), archive.file.endswith(".zip")) if body is None else body
    server.files["/" + archive.file] = Served(body)
    checksum = f"sha256:{hashlib.sha256(body).hexdigest()}" if archive.checksum else None
    address = server.address("/" + archive.file)
    return replace(archive, address=address, size=len(body), unpacked=100_000, checksum=checksum)


def beside(out: Path) -> set[str]:
    """What lies in the folder for data sets, without locks."""
    return {path.name for path in out.iterdir() if path.suffix != ".lock"}


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_task_reads_what_was_unpacked(server: Server, tmp_path: Path, name: str) -> None:
    archive = small(server, name)
    got = get(archive, tmp_path)
    assert got.new
    assert got.folder == tmp_path / archive.folder
    for task in archive.tasks:
        if task in datasets.TASKS and task not in ("sc09", "speech-commands-12"):  # which need more words
            assert len(datasets.read(task, got.data).clips) >= 4
    assert beside(tmp_path) == {archive.folder.split("/")[0]}  # no archive, no part, no notes
    server.files.clear()
    again = get(archive, tmp_path)
    assert (again.new, again.sha256) == (False, got.sha256)


def test_parts_lie_side_by_side(server: Server, tmp_path: Path) -> None:
    first = get(small(server, "nsynth-test"), tmp_path)
    second = get(small(server, "nsynth-train"), tmp_path)
    assert first.data == second.data == tmp_path / "nsynth"
    assert {path.name for path in first.data.iterdir()} == {"nsynth-test", "nsynth-train"}


def test_an_interruption_while_unpacking_leaves_no_folder(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = small(server, "esc50")

    def interrupted(file: Path, folder: Path, *arguments: object, **more: object) -> int:
        unpack(file, folder, *arguments, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr("soundalike.data.download.dataset.unpack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get(archive, tmp_path)
    assert beside(tmp_path) == {"ESC-50.zip.part", "ESC-50.zip.part.json"}
    monkeypatch.setattr("soundalike.data.download.dataset.unpack", unpack)
    (tmp_path / ".ESC-50.unpacking").mkdir()  # as a process leaves it that is killed
    (tmp_path / ".ESC-50.unpacking" / "half").write_bytes(b"")
    assert get(archive, tmp_path).new
    assert len(server.asked) == 1  # it was there
    assert beside(tmp_path) == {"ESC-50"}


def test_a_folder_of_somebody_else_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "ESC-50").mkdir()
    (tmp_path / "ESC-50" / "mine.txt").write_text("mine")
    assert "not made by this command" in refusal(get, small(server, "esc50"), tmp_path)
    assert not server.asked
    assert (tmp_path / "ESC-50" / "mine.txt").read_text() == "mine"


def test_an_empty_folder_is_no_hindrance(server: Server, tmp_path: Path) -> None:
    (tmp_path / "ESC-50").mkdir()
    assert get(small(server, "esc50"), tmp_path).new


@pytest.mark.parametrize("kind", ["symbolic link", "mount point"])
def test_an_empty_folder_that_cannot_make_way(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "data" / "ESC-50"
    folder.parent.mkdir()
    if kind == "symbolic link":
        folder.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    else:
        folder.mkdir()
        monkeypatch.setattr("soundalike.data.download.dataset.os.path.ismount", lambda path: Path(path) == folder)
    assert f"{folder}: a {kind}, " in refusal(get, small(server, "esc50"), tmp_path / "data")
    assert not server.asked


def test_a_link_to_what_was_unpacked_serves(server: Server, tmp_path: Path) -> None:
    archive = small(server, "esc50")
    get(archive, tmp_path / "first")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "ESC-50").symlink_to(tmp_path / "first" / "ESC-50", target_is_directory=True)
    assert not get(archive, tmp_path / "second").new


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_what_a_process_left_that_was_killed_after_unpacking(
    server: Server, tmp_path: Path, keep: bool, whole: bool
) -> None:
    archive = small(server, "esc50")
    got = get(archive, tmp_path)
    body = server.files["/ESC-50.zip"].body
    (tmp_path / "ESC-50.zip.part").write_bytes(body if whole else body[:-1])
    (tmp_path / "ESC-50.zip.part.json").write_text("{}")
    (tmp_path / ".ESC-50.unpacking" / "rest").mkdir(parents=True)
    again = get(archive, tmp_path, keep=keep)
    assert (again.new, again.sha256) == (False, got.sha256)
    if keep and whole:
        assert beside(tmp_path) == {"ESC-50", "ESC-50.zip", "ESC-50.zip.sha256"}
        assert (tmp_path / "ESC-50.zip").read_bytes() == body
        assert (tmp_path / "ESC-50.zip.sha256").read_text() == f"{got.sha256}  ESC-50.zip\n"
    else:
        assert beside(tmp_path) == {"ESC-50"}
    assert len(server.asked) == 1


def test_a_disk_that_is_full_while_unpacking(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = small(server, "esc50")

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("soundalike.data.download.dataset.unpack", full)
    said = refusal(get, archive, tmp_path)
    assert said.startswith(f"{tmp_path / 'ESC-50'}: cannot be unpacked there (No space left on device); make room")
    monkeypatch.setattr("soundalike.data.download.dataset.unpack", unpack)
    assert get(archive, tmp_path).new
    assert len(server.asked) == 1


def test_a_folder_that_lost_something_is_named(server: Server, tmp_path: Path) -> None:
    archive = small(server, "esc50")
    shutil.rmtree(get(archive, tmp_path).folder / "audio")
    assert "audio is not in it any more" in refusal(get, archive, tmp_path)


def test_the_archive_is_kept_and_serves_again(server: Server, tmp_path: Path) -> None:
    archive = small(server, "esc50")
    got = get(archive, tmp_path, keep=True)
    assert beside(tmp_path) == {"ESC-50", "ESC-50.zip", "ESC-50.zip.sha256"}
    assert (tmp_path / "ESC-50.zip.sha256").read_text() == f"{got.sha256}  ESC-50.zip\n"
    shutil.rmtree(got.folder)
    assert get(archive, tmp_path).new
    assert len(server.asked) == 1
    assert (tmp_path / "ESC-50.zip").is_file()


def test_an_archive_put_there_by_hand_is_verified_and_not_deleted(server: Server, tmp_path: Path) -> None:
    (tmp_path / "ESC-50.zip").write_bytes(b"PK\x03\x04 no archive")
    assert "remove it" in refusal(get, small(server, "esc50"), tmp_path)
    assert "remove it" in refusal(get, small(server, "esc50"), tmp_path, verify=False)
    assert (tmp_path / "ESC-50.zip").is_file()


@pytest.mark.parametrize("name", ["esc50", "speech-commands-v1"])
def test_an_archive_with_a_path_out_of_the_folder(server: Server, tmp_path: Path, name: str) -> None:
    members = {**layout(name), "../escaped.txt": b"out"}
    archive = small(server, name, packed(members, name == "esc50"))
    assert "'../escaped.txt' leads out of the folder" in refusal(get, archive, tmp_path / "data")
    assert beside(tmp_path / "data") == set()
    assert beside(tmp_path) == {"data"}


def test_an_archive_of_something_else(server: Server, tmp_path: Path) -> None:
    assert "lacks meta/esc50.csv" in refusal(get, small(server, "esc50", packed({"a": b""}, True)), tmp_path)
    assert "neither a zip" in refusal(get, small(server, "esc50", b"<!DOCTYPE html>"), tmp_path)
    assert beside(tmp_path) == set()


def test_too_little_room_is_said_before_anything_comes(server: Server, tmp_path: Path) -> None:
    archive = replace(small(server, "esc50"), unpacked=10**18)
    assert "make room" in refusal(get, archive, tmp_path)
    assert not server.asked


def test_two_at_once_download_once(server: Server, tmp_path: Path) -> None:
    archive = small(server, "esc50")
    got = []
    threads = [threading.Thread(target=lambda: got.append(get(archive, tmp_path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(each.new for each in got) == [False, True]
    assert len(server.asked) == 1


def test_the_catalogue_is_sound() -> None:
    for archive in CATALOGUE.values():
        check_address(archive.address)
        assert archive.address.startswith("https://")
        kind, _, digits = (archive.checksum or f"md5:{'0' * 32}").partition(":")
        assert re.fullmatch("[0-9a-f]+", digits)
        assert len(digits) == {"md5": 32, "sha256": 64}[kind]
        assert archive.unpacked > archive.size
        assert archive.origin
    assert len({archive.folder for archive in CATALOGUE.values()}) == len(CATALOGUE)
    assert {task for archive in CATALOGUE.values() for task in archive.tasks} <= {
        *("esc10", "esc50", "speech-commands", "speech-commands-12", "sc09"),
        *("nsynth-family", "nsynth-pitch", "urbansound8k", "fsdd"),
    }


def test_names() -> None:
    assert find("esc50").folder == "ESC-50"
    assert "nsynth-test (350 MB), nsynth-valid (1.07 GB), nsynth-train (23.8 GB)" in refusal(find, "nsynth")
    assert "did you mean 'esc50'?" in refusal(find, "esc-50")
    for name, one in BY_HAND.items():
        said = refusal(find, name)
        assert one.page in said
        assert f"--task {one.tasks[0]}" in said
        assert set(one.tasks) <= set(datasets.TASKS)


@pytest.mark.parametrize(
    ("count", "text"), [(12, "12 bytes"), (16_400_000, "16.4 MB"), (999_600, "1000 kB"), (23_815_298_079, "23.8 GB")]
)
def test_amounts(count: int, text: str) -> None:
    assert amount(count) == text


def command(*arguments: object) -> int:
    """Runs ``soundalike data …`` by the command's own parser."""
    parser = argparse.ArgumentParser(prog="soundalike data", allow_abbrev=False)
    data.add_arguments(parser)
    return data.run(parser.parse_args([str(argument) for argument in arguments]))


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[::2]] == [*CATALOGUE, *BY_HAND]
    assert {name: line.split()[-1] for name, line in zip(BY_HAND, lines[2 * len(CATALOGUE) :: 2], strict=True)} == {
        name: one.page for name, one in BY_HAND.items()
    }
    assert all(len(line) <= 110 for line in lines)
    first, second = lines[:2]
    assert all(text in first for text in ("about 646 MB", "2,000 clips", "CC BY-NC 3.0"))
    assert "--task esc10, esc50" in second


def test_get_says_licence_and_size_before_it_starts(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOGUE, "esc50", small(server, "esc50"))
    seen: list[str] = []
    answer = server.answer
    monkeypatch.setattr(server, "answer", lambda request: (seen.append(capsys.readouterr().err), answer(request)))
    assert command("get", "esc50", "--out", tmp_path) == 0
    assert "CC BY-NC 3.0" in seen[0]
    assert "to download" in seen[0]
    assert server.address("/ESC-50.zip") in seen[0]
    folder = tmp_path / "ESC-50"
    example = f"soundalike evaluate MODEL --task {{}} --data {folder}"
    assert capsys.readouterr().out.splitlines() == [str(folder), example.format("esc10"), example.format("esc50")]
    assert command("get", "esc50", "--out", tmp_path) == 0
    assert "already there" in capsys.readouterr().err


def test_get_from_a_mirror_without_a_published_checksum(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small(server, "fsdd")
    address = server.address("/free-spoken-digit-dataset.zip")
    assert command("get", "fsdd", "--out", tmp_path, "--from", address) == 0
    assert "no checksum is published for this archive" in capsys.readouterr().err
    notes = json.loads((tmp_path / "free-spoken-digit-dataset" / ".soundalike.json").read_text())
    body = server.files["/free-spoken-digit-dataset.zip"].body
    assert notes["sha256"] == hashlib.sha256(body).hexdigest()
    assert notes["address"] == address


def test_a_mirror_is_verified_unless_told_otherwise(server: Server, tmp_path: Path) -> None:
    small(server, "esc50")
    arguments = ("get", "esc50", "--out", tmp_path, "--from", server.address("/ESC-50.zip"))
    assert "not the published file" in refusal(command, *arguments)
    assert command(*arguments, "--no-checksum") == 0


def test_several_names_have_no_one_address(tmp_path: Path) -> None:
    assert "one data set" in refusal(command, "get", "esc50", "fsdd", "--from", "http://a", "--out", tmp_path)
    assert "unknown data set" in refusal(command, "get", "esc50", "fsd", "--out", tmp_path)


def test_one_data_set_that_fails_does_not_cost_the_others(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOGUE, "esc50", small(server, "esc50", b"<!DOCTYPE html>"))
    monkeypatch.setitem(CATALOGUE, "fsdd", small(server, "fsdd"))
    monkeypatch.setitem(CATALOGUE, "urbansound8k", small(server, "urbansound8k", b"no archive either"))
    assert command("get", "esc50", "fsdd", "urbansound8k", "--out", tmp_path) == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == str(tmp_path / "free-spoken-digit-dataset")
    first, second = said.err.splitlines()[-2:]
    assert first.startswith("soundalike: esc50: ")
    assert "neither a zip" in first
    assert second.startswith("soundalike: urbansound8k: ")
    assert command("get", "esc50", "urbansound8k", "--out", tmp_path) == 2
    assert "neither a zip" in refusal(command, "get", "esc50", "--out", tmp_path)


def test_an_interrupted_command_says_that_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("soundalike.data.download.get", interrupted)
    assert command("get", "fsdd", "--out", tmp_path) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert "the same command goes on" in last
