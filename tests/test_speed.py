"""Ultrasound: recordings that are heard slowed down, in what is taught, classified, indexed and searched."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import soundalike
from soundalike import SoundModel, load_classifier
from soundalike.apps.search import similarity
from soundalike.audio.segment import Segment
from soundalike.core.device import best_device
from soundalike.core.errors import SoundalikeError
from soundalike.model.recipe import Recipe

RATE = 192_000
SPECIES = {"down": (70_000.0, 40_000.0), "up": (30_000.0, 55_000.0)}
Cli = Callable[..., tuple[int, str, str]]


def chirps(kind: str, seed: int, seconds: float = 0.5) -> np.ndarray:
    """Calls of 8 ms, ten a second, in noise."""
    draw = np.random.default_rng(seed)
    samples = 0.002 * draw.standard_normal(round(seconds * RATE))
    low, high = (pitch * draw.uniform(0.97, 1.03) for pitch in SPECIES[kind])
    time = np.arange(round(0.008 * RATE)) / RATE
    call = np.sin(2 * np.pi * (low * time + (high - low) * time**2 / 0.016)) * np.hanning(len(time))
    for start in range(0, len(samples) - len(call), RATE // 10):
        samples[start : start + len(call)] += draw.uniform(0.3, 0.5) * call
    return samples.astype(np.float32)


@pytest.fixture(scope="module")
def bats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each species, and a night in which one calls from 1 s and the other from 3 s."""
    folder = tmp_path_factory.mktemp("bats")
    for kind in SPECIES:
        (folder / "in" / kind).mkdir(parents=True)
        for number in range(6):
            soundfile.write(folder / "in" / kind / f"{number}.wav", chirps(kind, number), RATE)
    night = 0.002 * np.random.default_rng(9).standard_normal(5 * RATE)
    night[RATE : 2 * RATE] += chirps("down", 20, 1.0)
    night[3 * RATE : 4 * RATE] += chirps("up", 21, 1.0)
    (folder / "nights").mkdir()
    soundfile.write(folder / "nights" / "night.flac", night, RATE)
    return folder


def test_a_slowed_sound_is_the_sound_played_slowly(tiny: Recipe, tmp_path: Path) -> None:
    model = SoundModel(tiny, tiny.build(3))
    slowed = model.slowed(10)
    assert (slowed.sample_rate, slowed.heard_rate, model.sample_rate) == (160_000, 16_000, 16_000)
    samples = chirps("down", 1)
    soundfile.write(tmp_path / "a.wav", samples, 160_000, subtype="FLOAT")
    np.testing.assert_allclose(slowed.embed(tmp_path / "a.wav"), model.embed(samples, 16_000), rtol=1e-4, atol=1e-4)
    moments, vectors = slowed.windows(samples, 0.05, 0.1)
    later, expected = model.windows(samples, 0.5, 1.0)
    np.testing.assert_allclose(10 * moments, later)
    np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-4)
    slowed.save(tmp_path / "m.safetensors")
    assert soundalike.load(tmp_path / "m.safetensors").speed == 10
    assert slowed.slowed(1).sample_rate == 16_000
    for wrong in (0.0, -1.0, float("nan"), 1e9):
        with pytest.raises(SoundalikeError, match=r"speed is .*: give 0\.01 to 1000"):
            model.slowed(wrong)


def test_bats_are_told_apart_where_times_are_those_of_the_recording(
    bats: Path, tmp_path: Path, run: Path, cli: Cli
) -> None:
    taught, events = tmp_path / "t.safetensors", tmp_path / "e.csv"
    code, out, err = cli("teach", bats / "in", "--model", run, "--out", taught, "--speed", 10)
    assert code == 0, err
    assert "accuracy 100.0 %" in out
    classifier = load_classifier(taught)
    assert classifier.model.speed == 10
    assert 0.05 <= classifier.window <= 0.1
    night = bats / "nights" / "night.flac"
    arguments = ("--with", taught, "--every", 0.05, "--window", 0.2, "--none-of-these", 0, "--min", 0.6)
    code, _, err = cli("classify", night, *arguments, "--out", events, "--raven", tmp_path / "r.txt")
    assert code == 0, err
    with events.open() as stream:
        rows = [(row["label"], float(row["start"]), float(row["end"])) for row in csv.DictReader(stream)]
    for label, (start, end) in {"down": (1, 2), "up": (3, 4)}.items():
        shared = sum(max(0.0, min(end, b) - max(start, a)) for name, a, b in rows if name == label)
        assert shared >= 0.8
    assert "80000.0" in (tmp_path / "r.txt").read_text()
    assert classifier.classify(Segment(night, 3.1, 3.9), none_of_these=0).label == "up"


def test_an_index_remembers(bats: Path, tmp_path: Path, run: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "REFERENCE", 8)
    index, query = tmp_path / "i", tmp_path / "q.wav"
    arguments = ("index", bats / "nights", "--out", index)
    assert cli(*arguments, "--model", run, "--every", 0.25, "--window", 0.5, "--speed", 10)[0] == 0
    soundfile.write(query, chirps("up", 33), RATE)
    code, out, err = cli("search", query, "--index", index, "--count", 1)
    assert code == 0, err
    found = out.splitlines()[1].rsplit(", ", 1)[1]
    assert 2.7 <= float(found.split()[0]) <= 3.8
    assert cli("search", query, "--index", index, "--model", run)[0] == 0
    code, out, _ = cli(*arguments)
    assert code == 0
    assert "1 kept" in out
    assert "times as slow as they are, not 5" in cli(*arguments, "--speed", 5)[2]


def test_embeddings_are_those_of_the_slowed_sound(bats: Path, tmp_path: Path, run: Path, cli: Cli) -> None:
    out = tmp_path / "e.npz"
    code, _, err = cli("embed", bats / "nights", "--model", run, "--out", out, "--speed", 10, "--device", "auto")
    assert code == 0, err
    expected = soundalike.load(run, best_device()).slowed(10).embed(bats / "nights" / "night.flac")
    np.testing.assert_allclose(np.load(out)["embedding"][0], expected, rtol=1e-3, atol=1e-4)
    assert "speed is 0: give" in cli("map", bats / "nights", "--model", run, "--speed", 0)[2]
    assert cli("embed", bats / "nights", "--model", run, "--out", out, "--device", "nothing")[0] == 2
