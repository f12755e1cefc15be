"""Control characters of names and labels do nothing to a terminal."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from soundalike.core.terminal import EscapingStream, shown, shown_text
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe

EVIL = "a\x1b]0;retitled\x07\x1b[2J\x9b31m\rb"
SAFE = r"a\x1b]0;retitled\x07\x1b[2J\x9b31m\x0db"


def controls(text: str) -> set[str]:
    return {letter for letter in text if not letter.isprintable()} - {"\n"}


def test_names_are_one_line_of_printable_letters() -> None:
    assert shown(EVIL) == SAFE
    assert shown(Path("ä b/日本.wav")) == "ä b/日本.wav"
    assert shown("a\nb\tc") == r"a\x0ab\x09c"
    assert shown("gpj\u202eexe\u2028") == r"gpj\u202eexe\u2028"
    every = "".join(map(chr, range(0x300)))
    assert {letter for letter in shown(every) if not letter.isprintable()} <= {"\xa0", "\xad"}, "a blank, a hyphen"
    assert shown_text("a\nb\tc\x1b") == "a\nb\tc\\x1b"


def test_a_stream_escapes_and_displays_write_past_it() -> None:
    stream = io.StringIO()
    escaping = EscapingStream(stream)
    print(EVIL, file=escaping)  # type: ignore[call-overload]
    assert stream.getvalue() == f"{SAFE}\n"
    assert not escaping.isatty()
    stream.truncate(0)
    escaping.writelines(["\x1b", "x"])
    assert stream.getvalue().endswith("\\x1bx")
    console = Console(file=escaping, force_terminal=True, color_system="standard")  # type: ignore[arg-type]
    console.print("[bold]bold[/bold]")
    assert "\x1b[1mbold" in stream.getvalue()


@pytest.fixture(scope="module")
def model(tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "model.safetensors"
    SoundModel(tiny).save(out)
    return out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, each with a name and clips that would do things to a terminal, and a broken file of such a name."""
    for number, label in enumerate(("low", EVIL)):
        (tmp_path / "in" / label).mkdir(parents=True)
        for clip in range(3):
            sound = 0.3 * np.sin((0.1 + number / 2) * (1 + clip / 50) * np.arange(8000))
            soundfile.write(tmp_path / "in" / label / f"{clip} {EVIL}.wav", sound, 16_000)
    (tmp_path / "in" / "low" / f"broken {EVIL}.wav").write_bytes(b"no sound")
    return tmp_path / "in"


def test_what_commands_print(
    folder: Path, model: Path, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    taught, index = tmp_path / f"{EVIL}.safetensors", tmp_path / "i"
    for arguments in (
        ("embed", "--model", model, folder, "--out", tmp_path / f"{EVIL}.csv"),
        ("teach", folder, "--model", model, "--out", taught),
        ("index", folder, "--model", model, "--out", index),
        ("search", folder / "low" / f"0 {EVIL}.wav", "--index", index, "--model", model),
        ("search", "--duplicates", "--threshold", "0.1", "--index", index, "--model", model),
        ("classify", "--with", taught, folder),
        ("classify", "--with", taught, tmp_path / f"none {EVIL}.wav"),
    ):
        code, printed, said = cli(*arguments)
        assert code in (0, 1, 2)
        assert controls(printed + said) == set(), arguments[0]
        assert SAFE.partition(r"\x0d")[0] in printed + said, "sentences on errors have a blank for a carriage return"


def test_tables_keep_names_as_they_are(folder: Path, model: Path, tmp_path: Path, cli: Callable[..., object]) -> None:
    cli("embed", "--model", model, folder, "--out", tmp_path / "e.csv")
    with (tmp_path / "e.csv").open(encoding="utf-8", newline="") as stream:
        names = [row["path"] for row in csv.DictReader(stream)]
    assert all(os.path.isfile(name) for name in names)
    assert len(names) == 6


def test_the_streams_are_put_back(cli: Callable[..., object]) -> None:
    before = sys.stdout, sys.stderr
    cli("models")
    assert (sys.stdout, sys.stderr) == before
