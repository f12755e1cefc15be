"""Labels that people give: on the disk at once, one for each sound, for several processes, in a table for all."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_server import refusal
from soundalike.apps.review import labels as module
from soundalike.apps.review.labels import COLUMNS, Change, LabelFile, identified, tidied
from soundalike.audio.segment import Segment, Sound
from soundalike.data.segments import read_rows

NAMES = [
    "a.wav",
    "töne/😀 שלום.wav",
    'a, "b" & <script>.wav',
    " blank.wav",
    "line\nbreak.wav",
    "return\r.wav",
    os.fsdecode(b"\xff.wav"),
]


def given_label(table: LabelFile, sound: Sound, label: str | None, before: str | None = None) -> list[Change]:
    return table.change([Change(identified(sound), label, before)], "eve")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def table(tmp_path: Path) -> LabelFile:
    return LabelFile(tmp_path / "labels.csv")


def test_a_label_is_a_row_that_others_read(table: LabelFile, tmp_path: Path) -> None:
    assert table.read() == {}
    assert not table.path.exists()  # nothing is written before there is something to write
    piece = Segment(tmp_path / "long" / "b.flac", 1.5, 1.5 + 1 / 3)
    given_label(table, tmp_path / "a.wav", "dog")
    given_label(table, piece, "a cat")
    given_label(table, Path("/elsewhere/c.wav"), "dog")
    found = rows(table.path)
    assert [list(row) for row in found] == [list(COLUMNS)] * 3
    assert [(row["path"], row["start"], row["end"], row["label"], row["by"]) for row in found] == [
        ("a.wav", "", "", "dog", "eve"),
        ("long/b.flac", "1.5", "1.8333", "a cat", "eve"),
        ("/elsewhere/c.wav", "", "", "dog", "eve"),
    ]
    assert all(row["when"].startswith("20") and row["when"].endswith("Z") for row in found)
    assert [(row.sound, row.cells["label"]) for row in read_rows(table.path, ("label",))] == [
        (tmp_path / "a.wav", "dog"),
        (identified(piece), "a cat"),
        (Path("/elsewhere/c.wav"), "dog"),
    ]
    assert LabelFile(table.path).read() == table.read()


@pytest.mark.parametrize("name", NAMES)
def test_any_name_comes_back(table: LabelFile, name: str) -> None:
    sound = identified(table.path.parent / name)
    given_label(table, sound, "dog")
    given_label(table, table.path.parent / "other.wav", "dog")
    given_label(table, table.path.parent / "other.wav", None, "dog")  # which writes the table anew
    assert LabelFile(table.path).read() == {sound: "dog"}


def test_labels_are_changed_and_taken_away_and_rows_keep_their_order(table: LabelFile, tmp_path: Path) -> None:
    a, b, c = (tmp_path / f"{name}.wav" for name in "abc")
    for sound in (a, b, c):
        given_label(table, sound, "dog")
    assert given_label(table, b, "cat", "dog") == []
    assert [row["path"] for row in rows(table.path)] == ["a.wav", "c.wav", "b.wav"]
    given_label(table, a, None, "dog")
    assert table.read() == {c: "dog", b: "cat"}
    assert given_label(table, b, "bird", "dog") == [Change(b, "bird", "dog")]  # it is a cat by now
    assert given_label(table, c, "bird") == [Change(c, "bird", None)]
    assert given_label(table, a, None, "dog") == [Change(a, None, "dog")]
    assert table.read() == {c: "dog", b: "cat"}


def test_two_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    tables = [LabelFile(tmp_path / "labels.csv") for _ in range(2)]

    def write(number: int) -> None:
        for count in range(20):
            sound = tmp_path / f"{number} {count}.wav"
            given_label(tables[number], sound, "dog")
            if count % 4 == 0:
                given_label(tables[number], sound, "cat", "dog")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = LabelFile(tmp_path / "labels.csv").read()
    assert found == tables[0].read() == tables[1].read()
    assert len(found) == 40
    assert list(found.values()).count("cat") == 10


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    program = """
import itertools, pathlib, sys
from soundalike.apps.review.labels import Change, LabelFile
table = LabelFile(sys.argv[1])
for count in itertools.count():
    sound = pathlib.Path(sys.argv[1]).parent / f"{count}.wav"
    table.change([Change(sound, "dog", None)], "eve")
    if count % 3 == 0:
        table.change([Change(sound, "cat", "dog")], "eve")
    print(count, flush=True)
"""
    path = tmp_path / "labels.csv"
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        said = [running.stdout.readline() for _ in range(25)]
        running.send_signal(signal.SIGKILL)
        said += running.stdout.read().splitlines(keepends=True)
    known = {int(line) for line in said if line.endswith("\n")}
    assert len(known) >= 25
    found = LabelFile(path).read()
    for count in known:
        assert found[tmp_path / f"{count}.wav"] == ("cat" if count % 3 == 0 else "dog")


def test_each_label_is_synchronised(table: LabelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_label(table, tmp_path / "a.wav", "dog")
    synced: list[bytes] = []
    monkeypatch.setattr(module.os, "fsync", lambda handle: synced.append(table.path.read_bytes()))
    given_label(table, tmp_path / "b.wav", "cat")
    assert len(synced) == 1
    assert b"b.wav,,,cat," in synced[0]


def test_a_table_that_a_person_edits_meanwhile(table: LabelFile, tmp_path: Path) -> None:
    given_label(table, tmp_path / "a.wav", "dog")
    table.path.write_text("path;label\n", encoding="utf-8")
    assert "has no commas" in refusal(table.read)
    # columns in another order, one of the person's own, no end of line at the end
    text = 'label,notes,path,start,end\ncat,"a, b",x.wav,,\ndog,,b.wav,1,2'
    table.path.write_text(text, encoding="utf-8")
    x, b = tmp_path / "x.wav", Segment(tmp_path / "b.wav", 1.0, 2.0)
    assert table.read() == {x: "cat", b: "dog"}
    given_label(table, tmp_path / "c.wav", "bird")
    given_label(table, b, "cat", "dog")
    assert [(row["path"], row["label"], row["notes"]) for row in rows(table.path)] == [
        ("x.wav", "cat", "a, b"),
        ("c.wav", "bird", ""),
        ("b.wav", "cat", ""),
    ]


@pytest.mark.parametrize("text", ["", "hello\n", "file,class\na.wav,dog\n", "path,label\na.wav,\n", "\0"])
def test_what_is_no_table_of_labels_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    assert str(path) in refusal(LabelFile, path)
    assert path.read_text() == text


def test_a_place_that_cannot_hold_a_table(tmp_path: Path) -> None:
    assert ".csv" in refusal(LabelFile, tmp_path / "labels.txt")
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder" in refusal(LabelFile, tmp_path / "folder.csv")


def test_a_full_disk_leaves_the_table_as_it_was(
    table: LabelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_label(table, tmp_path / "a.wav", "dog")
    before = table.path.read_bytes()
    write = os.write
    monkeypatch.setattr(module.os, "write", lambda handle, content: write(handle, content[:5]))
    assert "make room" in refusal(given_label, table, tmp_path / "b.wav", "cat")
    monkeypatch.undo()
    assert table.path.read_bytes() == before
    given_label(table, tmp_path / "b.wav", "cat")
    assert list(table.read().values()) == ["dog", "cat"]


def test_labels_are_names() -> None:
    assert tidied("  a \t b\x1b[2J\n") == "a b [2J"
    assert "empty" in refusal(tidied, " \x07 ")
    assert "101 letters" in refusal(tidied, "x" * 101)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["dog", "a,b", '"', "=1+1", None])), max_size=12))
def test_the_file_holds_what_a_dictionary_would(tmp_path: Path, changes: list[tuple[int, str | None]]) -> None:
    (tmp_path / "labels.csv").unlink(missing_ok=True)
    table, expected = LabelFile(tmp_path / "labels.csv"), dict[Sound, str]()
    for number, label in changes:
        sound = identified(tmp_path / f"{number}.wav")
        assert given_label(table, sound, label, expected.get(sound)) == []
        if label is None:
            expected.pop(sound, None)
        else:
            expected[sound] = label
    assert LabelFile(tmp_path / "labels.csv").read() == expected
