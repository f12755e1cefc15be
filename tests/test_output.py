"""Files that are there whole or not at all."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from soundalike.core import files
from soundalike.core.errors import SoundalikeError
from soundalike.core.files import holds_parts_alone, remove_parts, replacing, write_whole

SOURCE = Path(files.__file__).parents[1]


def _break_off(out: Path, error: BaseException) -> None:
    with replacing(out, "the table") as partial:
        partial.write_text("half")
        raise error


def test_a_file_takes_the_place_of_the_one_before_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "new" / "ä.txt"
    for content in ("one", "two"):
        with replacing(out) as partial:
            partial.write_text(content)
            assert not out.exists() or out.read_text() == "one"
        assert out.read_text() == content
    assert os.listdir(out.parent) == ["ä.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no")])
def test_what_is_broken_off_leaves_the_one_before(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a").write_text("before")
    with pytest.raises(type(error)):
        _break_off(tmp_path / "a", error)
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "before"


def test_a_full_disk_and_a_place_below_a_file_are_one_sentence(tmp_path: Path) -> None:
    said = (
        r"a: the table cannot be written there \(No space left on device\); make room there, or give another place\.$"
    )
    with pytest.raises(SoundalikeError, match=said):
        _break_off(tmp_path / "a", OSError(28, "No space left on device"))
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").touch()
    with pytest.raises(SoundalikeError, match="cannot be written there"), replacing(tmp_path / "file" / "b"):
        pytest.fail("there is no such place")


def test_what_a_killed_process_left_is_taken_over_by_the_next_one(tmp_path: Path) -> None:
    out = tmp_path / "a.parquet"
    code = f"""
import os, signal
from pathlib import Path
from soundalike.core.files import replacing
with replacing(Path({str(out)!r})) as partial:
    partial.write_text("half of something long")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == [".a.parquet.part"]
    write_whole(out, "short")
    assert os.listdir(tmp_path) == ["a.parquet"]
    assert out.read_text() == "short"


def test_of_many_that_write_at_once_one_is_there_whole(tmp_path: Path) -> None:
    out, errors = tmp_path / "a", []

    def write(letter: str) -> None:
        try:
            for _ in range(30):
                with replacing(out, sync=False) as partial:
                    for part in range(1, 4):
                        partial.write_text(letter * 1000 * part)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert re.fullmatch(r"(.)\1{2999}", out.read_text())
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not say what a handle is of")
def test_contents_are_on_the_disk_before_they_get_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(handle: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        done.append(f"fsync {path.name} {path.stat().st_size if path.is_file() else 'folder'}")
        fsync(handle)

    def note_replace(source: Path, target: Path) -> None:
        done.append(f"rename {target.name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    write_whole(tmp_path / "a", b"12345")
    assert done == ["fsync .a.part 5", "rename a", f"fsync {tmp_path.name} folder"]
    done.clear()
    write_whole(tmp_path / "a", b"12345", sync=False)
    assert done == ["rename a"]


@pytest.mark.parametrize("error", [28, 122, 27])
def test_a_full_disk_at_the_last_moment_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    (tmp_path / "a").write_text("before")

    def full(handle: int) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync", full)
    said = rf"a: the table cannot be written there \({os.strerror(error)}\); make room there, or give another place\.$"
    with pytest.raises(SoundalikeError, match=said):
        write_whole(tmp_path / "a", "after", "the table")
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "before"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "a").symlink_to(tmp_path / "far" / "b")
    write_whole(tmp_path / "a", "one")
    assert (tmp_path / "a").is_symlink()
    assert (tmp_path / "far" / "b").read_text() == "one"


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SoundalikeError, match=r"pipe: the file cannot be written there \(it is no plain file\)"):
        write_whole(tmp_path / "pipe", "one")
    assert (tmp_path / "pipe").is_fifo()


def test_somebody_elses_link_or_folder_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / ".a.part").symlink_to(tmp_path / "mine")
    (tmp_path / ".a.2.part").mkdir()
    write_whole(tmp_path / "a", "one")
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "a").read_text() == "one"


@pytest.mark.parametrize("locks", ["none", "refused"])
def test_where_files_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: str) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(37, os.strerror(37))

    if locks == "none":
        monkeypatch.setattr(files, "fcntl", None)
    else:
        monkeypatch.setattr(fcntl, "flock", refuse)
    with replacing(tmp_path / "a") as first, replacing(tmp_path / "a") as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a").read_text() == "first"


@pytest.mark.parametrize("name", ["a" * 255, "ä" * 127, "[*]?"])
def test_any_name_that_a_file_can_have(tmp_path: Path, name: str) -> None:
    write_whole(tmp_path / name, "one")
    assert os.listdir(tmp_path) == [name]


def test_a_folder_with_nothing_but_what_was_not_finished(tmp_path: Path) -> None:
    assert not holds_parts_alone(tmp_path / "none")
    assert holds_parts_alone(tmp_path)
    (tmp_path / ".a.part").touch()
    (tmp_path / "b.part").touch()
    assert holds_parts_alone(tmp_path)
    (tmp_path / "logs").mkdir()
    assert not holds_parts_alone(tmp_path)
    assert holds_parts_alone(tmp_path, ("logs",))
    remove_parts(tmp_path)
    assert os.listdir(tmp_path) == ["logs"]


def test_files_are_renamed_in_one_place() -> None:
    """Everything that shall be there whole or not at all goes through `replacing`; downloads are moved when whole."""
    renaming = re.compile(r"os\.(replace|rename)\(|\.rename\(|shutil\.move\(|mkstemp|NamedTemporaryFile")
    found = {
        path.relative_to(SOURCE).as_posix(): len(renaming.findall(path.read_text(encoding="utf-8")))
        for path in SOURCE.rglob("*.py")
    }
    counted = {name: count for name, count in found.items() if count}
    assert counted == {"core/files.py": 1, "data/download/dataset.py": 2}


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".jsonl", ".npz", ".parquet"])
def test_a_table_for_which_the_disk_is_too_full_names_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from soundalike.data.table_writer import open_table

    real = os.fsync if kind in (".npz", ".parquet") else None

    class Full:
        def __init__(self, stream: object) -> None:
            self.stream = stream

        def __getattr__(self, name: str) -> object:
            return getattr(self.stream, name)

        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    if real is None:
        from soundalike.data import table_writer

        writer = table_writer._TextWriter
        monkeypatch.setattr(table_writer, "_TextWriter", lambda stream, *rest: writer(Full(stream), *rest))
    else:
        monkeypatch.setattr(os, "fsync", lambda handle: Full(None).flush())
    with (
        pytest.raises(
            SoundalikeError, match=rf"a\{kind}: the table cannot be written there \(No space left on device\)"
        ),
        open_table(tmp_path / f"a{kind}", ("path", "embedding"), size=2) as table,
    ):
        table.write(("x.wav", np.zeros(2, np.float32)))
