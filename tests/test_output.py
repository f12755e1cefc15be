"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from soundalike.core.errors import SoundalikeError
from soundalike.core.files import replacing


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
    said = r"a: the table cannot be written there \(No space left on device\); give another place\.$"
    with pytest.raises(SoundalikeError, match=said):
        _break_off(tmp_path / "a", OSError(28, "No space left on device"))
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").touch()
    with pytest.raises(SoundalikeError, match="cannot be written there"), replacing(tmp_path / "file" / "b"):
        pytest.fail("there is no such place")
