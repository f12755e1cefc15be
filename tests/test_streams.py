"""Standard output and error that are closed or full, and what is no file: a sentence and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundalike import cli
from soundalike.apps.classifier import teach
from soundalike.audio import read
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.core.files import naming

RATE = 16_000


@pytest.fixture(scope="module")
def classifier(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    time = np.arange(RATE // 4) / RATE
    for label, hertz in (("low", 300), ("high", 3000)):
        (folder / label).mkdir()
        for number in range(3):
            name = f"{'abc'[number] * 3}.wav"
            soundfile.write(folder / label / name, 0.3 * np.sin(2 * np.pi * (hertz + 9 * number) * time), RATE)
    teach(folder, run).save(folder / "mine.safetensors")
    return folder


def command(arguments: list[str], ends: str) -> subprocess.CompletedProcess[str]:
    """A command in a shell, with standard streams as ``ends`` leaves them."""
    shell = f'"$@" {ends}'
    return subprocess.run(
        ["sh", "-c", shell, "sh", sys.executable, "-m", "soundalike", *arguments], capture_output=True, text=True
    )


@pytest.mark.parametrize("ends", [">&-", "2>&-"])
def test_a_stream_that_is_closed(ends: str) -> None:
    done = command(["models"], ends)
    assert (done.returncode, done.stderr) == (0, "")


def test_streams_that_are_all_closed(classifier: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.csv"
    sounds = [str(classifier / "low"), "--with", str(classifier / "mine.safetensors")]
    assert command(["classify", *sounds, "--out", str(out)], "<&- >&- 2>&-").returncode == 0
    assert len(out.read_text().splitlines()) == 4


def test_a_table_on_a_closed_output_is_refused(classifier: Path) -> None:
    sounds = [str(classifier / "low"), "--with", str(classifier / "mine.safetensors")]
    done = command(["classify", *sounds], ">&-")
    assert done.returncode == 2
    said = "soundalike: standard output is closed, so the table cannot be written there; give --out FILE."
    assert done.stderr.splitlines()[-1] == said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("arguments", [["models"], ["--version"]])
def test_a_full_output_is_named(arguments: list[str]) -> None:
    done = command(arguments, ">/dev/full")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    if arguments == ["models"]:
        assert (done.returncode, done.stderr) == (2, "soundalike: standard output: No space left on device.\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_names_the_file(classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sounds = [str(classifier / "low"), "--with", str(classifier / "mine.safetensors")]

    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).name == "full.csv":
            raise OSError(28, "No space left on device")
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("soundalike.core.files.os.replace", full)
        assert cli.main(["classify", *sounds, "--out", str(tmp_path / "full.csv")]) == 2
    said = (
        f"soundalike: {tmp_path / 'full.csv'}: the table cannot be written there (No space left on device); make room"
    )
    assert capsys.readouterr().err.splitlines()[-1].startswith(said)
    labels = tmp_path / "full.txt"
    labels.symlink_to("/dev/full")
    line = ["--every", "0.1", "--labels", str(labels)]
    assert cli.main(["classify", str(classifier / "low/aaa.wav"), *sounds[1:], *line]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"soundalike: {labels}: No space left on device."


def test_errors_name_the_file() -> None:
    with pytest.raises(OSError, match="No space") as raised, naming("a.csv"):
        raise OSError(28, "No space left on device")
    assert raised.value.filename == "a.csv"


# what is no file


@pytest.mark.parametrize(
    "address", ["https://example.org/a.wav", "http://example.org/a.wav?b=c", "s3://bucket/a.wav", "file:///tmp/a.wav"]
)
def test_an_address_is_called_one(run: Path, capsys: pytest.CaptureFixture[str], address: str) -> None:
    for call in (read.load, lambda path: read.find([path])):
        with pytest.raises(SoundalikeError, match=r"is a URL, and soundalike reads files: download it first\.$"):
            call(address)
    with pytest.raises(AudioError, match="is a URL"):
        read.load(Path(address))
    for arguments in (["embed", address, "--out", "a.csv"], ["index", address, "--out", "a.index"], ["map", address]):
        assert cli.main([*arguments, "--model", str(run)]) == 2
        assert "is a URL" in capsys.readouterr().err, arguments


def test_names_that_look_like_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.makedirs("http:/host")
    soundfile.write("http:/host/a.wav", np.ones(9) / 2, RATE)
    assert len(read.load("http:/host/a.wav")) == 9
    with pytest.raises(SoundalikeError, match=r"no such file or folder"):
        read.find(["notes: first.wav"])
