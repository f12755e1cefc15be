"""``classify`` that was killed or interrupted: what was finished is not computed again, and the answer is the same."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundalike.apps.classifier import SoundClassifier, scores
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe

RATE = 16_000
FILES, SECONDS = 40, 60
Cli = Callable[..., tuple[int, str, str]]


def tone(hertz: float, seconds: float, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    sine = np.sin(2 * np.pi * hertz * draw.uniform(0.95, 1.05) * time)
    return (0.3 * sine + 0.01 * draw.standard_normal(len(time))).astype(np.float32)


@pytest.fixture(scope="module")
def place(tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier, a folder of short files, and a recording of a minute."""
    from soundalike.apps.classifier import teach

    place = tmp_path_factory.mktemp("resuming")
    for number in range(4):
        for label, hertz in (("low", 200), ("high", 2500)):
            (place / "taught" / label).mkdir(parents=True, exist_ok=True)
            soundfile.write(place / "taught" / label / f"{number}.wav", tone(hertz, 1, number), RATE)
    teach(place / "taught", SoundModel(tiny, tiny.build(3))).save(place / "t.safetensors")
    (place / "files").mkdir()
    for number in range(FILES):
        soundfile.write(place / "files" / f"{number:02}.wav", tone(200 * (1 + 11 * (number % 2)), 0.5, number), RATE)
    night = 0.02 * np.random.default_rng(0).standard_normal(SECONDS * RATE).astype(np.float32)
    for start in range(2, SECONDS - 2, 5):
        night[start * RATE : (start + 2) * RATE] += tone(200 if start % 2 else 2500, 2, start)
    soundfile.write(place / "night.wav", night, RATE)
    return place


KILLED = """
import os, signal, sys
from soundalike.apps.classifier import SoundClassifier, scores
from soundalike.cli import main
scores._STRETCH, scores._WAITING = 6.0, 0.0
compute, left = SoundClassifier.scores, int(sys.argv[1])
def killed(self, sounds):
    global left
    if left <= 0:
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))
        signal.pause()
    left -= len(sounds)
    return compute(self, sounds)
SoundClassifier.scores = killed
sys.exit(main(sys.argv[3:]))
"""


def count(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sounds that are computed from now on, lot by lot."""
    heard: list[int] = []
    compute = SoundClassifier.scores

    def counted(self: SoundClassifier, sounds: list[np.ndarray]) -> np.ndarray:
        heard.append(len(sounds))
        return compute(self, sounds)

    monkeypatch.setattr(SoundClassifier, "scores", counted)
    return heard


@pytest.mark.parametrize(
    ("what", "least", "most"),
    [
        (("files", "--top", "2"), FILES - 32, FILES - 32),
        (("night.wav", "--every", "0.5", "--all"), 1, 2 * SECONDS - 24),
    ],
)
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_what_was_finished_is_not_computed_again(
    place: Path,
    tmp_path: Path,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    what: tuple[str, ...],
    least: int,
    most: int,
    how: str,
) -> None:
    monkeypatch.setattr(scores, "_STRETCH", 6.0)
    arguments = [place / what[0], *what[1:], "--with", place / "t.safetensors", "--out"]
    assert cli("classify", *arguments, tmp_path / "whole.csv")[0] == 0
    out = tmp_path / "out.csv"
    program = [sys.executable, "-c", KILLED, "20", how, "classify", *map(str, arguments), str(out)]
    ended = subprocess.run(program, capture_output=True, timeout=100, check=False)
    assert ended.returncode == (-signal.SIGKILL if how == "SIGKILL" else 130), ended.stderr
    assert not out.exists()
    assert (tmp_path / ".out.csv.partial").is_dir()
    heard = count(monkeypatch)
    code, _, err = cli("classify", *arguments, out)
    assert code == 0, err
    assert "classified before; going on" in err
    assert least <= sum(heard) <= most
    assert out.read_text() == (tmp_path / "whole.csv").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"out.csv", "whole.csv"}
    heard.clear()
    assert cli("classify", *arguments, out)[0] == 0  # what is done is done: the next run is a new one
    assert sum(heard) > most


def test_a_changed_file_or_classifier_is_computed_anew(
    place: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, out = sorted((place / "files").iterdir())[:4], tmp_path / "out.csv"
    kept = scores.journal_beside(out, place / "t.safetensors")
    classifier = SoundClassifier.load(place / "t.safetensors")
    from soundalike.apps.classifier.recordings import classify_files

    copies = [tmp_path / file.name for file in files]
    for file, copied in zip(files, copies, strict=True):
        copied.write_bytes(file.read_bytes())
    assert len(list(classify_files(classifier, copies, journal=kept))) == 4
    soundfile.write(copies[2], tone(300, 0.7, 5), RATE)
    heard = count(monkeypatch)
    assert cli("classify", *copies, "--with", place / "t.safetensors", "--out", out)[0] == 0
    assert sum(heard) == 1
    assert len(list(classify_files(classifier, copies, journal=kept))) == 4
    (tmp_path / "other.safetensors").write_bytes((place / "t.safetensors").read_bytes())
    classifier = SoundClassifier(**{**vars(classifier), "temperature": 2.0})
    classifier.save(tmp_path / "other.safetensors")
    heard.clear()
    assert cli("classify", *copies, "--with", tmp_path / "other.safetensors", "--out", out)[0] == 0
    assert sum(heard) == 4
