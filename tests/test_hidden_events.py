"""Minutes of noise with events hidden in them, from the labels of a Raven table to a Raven table of what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundalike.audio.segment import Segment
from soundalike.data.label_files import RAVEN_COLUMNS
from soundalike.data.segments import read_rows

RATE = 16_000
WINDOW = 1.0
Cli = Callable[..., tuple[int, str, str]]
Place = tuple[str, float, float]


def call(label: str, seconds: float, draw: np.random.Generator) -> np.ndarray:
    """A rising whistle, or a buzz."""
    time = np.arange(round(seconds * RATE)) / RATE
    if label == "whistle":
        phase = draw.uniform(1500, 1800) * time + 400 * time**2 / seconds
        return 0.3 * np.sin(2 * np.pi * phase)
    pitch = draw.uniform(90, 110)
    return 0.15 * np.sign(np.sin(2 * np.pi * pitch * time)) * (1 + np.sin(2 * np.pi * 6 * time))


def recording(path: Path, places: Sequence[Place], seconds: float, seed: int) -> Path:
    """Noise that swells and fades, with calls at their seconds."""
    draw = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    samples = 0.01 * draw.standard_normal(len(time)) * (1.5 + np.sin(time / 3))
    for label, start, end in places:
        first = round(start * RATE)
        sound = call(label, end - start, draw)
        samples[first : first + len(sound)] += sound
    soundfile.write(path, samples.astype(np.float32), RATE)
    return path


def places(count: int, apart: float, seed: int) -> list[Place]:
    """By turns a whistle and a buzz of 1 to 2.5 s, somewhere in every stretch of ``apart`` seconds."""
    draw = np.random.default_rng(seed)
    found = []
    for number in range(count):
        start = number * apart + draw.uniform(1.5, apart - 4)
        found.append((("whistle", "buzz")[number % 2], start, start + draw.uniform(1.0, 2.5)))
    return found


@pytest.mark.parametrize("overlap", [False, True])
def test_hidden_events_are_found_where_they_are(tmp_path: Path, run: Path, cli: Cli, overlap: bool) -> None:
    lines = ["\t".join([*RAVEN_COLUMNS, "Begin File", "File Offset (s)", "Annotation"])]
    for number in range(4):
        heard = places(6, 8, number)
        recording(tmp_path / f"taught{number}.wav", heard, 48, number)
        for label, start, end in heard:
            cells = (len(lines), "Spectrogram 1", 1, start, end, 0, 8000, f"taught{number}.wav", start, label)
            lines.append("\t".join(map(str, cells)))
    (tmp_path / "calls.selections.txt").write_text("\n".join(lines))
    truth = places(8, 15, 100)
    night = recording(tmp_path / "night.wav", truth, 120, 100)
    taught, out = tmp_path / "t.safetensors", tmp_path / "night.selections.txt"
    options = ("--model", run, "--window", WINDOW, *["--overlap"] * overlap)
    code, _, err = cli("teach", tmp_path / "calls.selections.txt", "--out", taught, *options)
    assert code == 0, err
    code, _, err = cli(
        "classify", night, "--with", taught, "--every", 0.5, "--raven", out, "--out", tmp_path / "e.csv"
    )
    assert code == 0, err
    found = [
        (row.cells["label"], row.sound.start, row.sound.end)
        for row in read_rows(out, ("label",), ("label",))
        if isinstance(row.sound, Segment)
    ]

    def same(one: Place, other: Place) -> bool:
        return one[0] == other[0] and max(abs(one[1] - other[1]), abs(one[2] - other[2])) <= WINDOW

    recall = np.mean([any(same(place, event) for event in found) for place in truth])
    precision = np.mean([any(same(place, event) for place in truth) for event in found])
    assert recall >= 7 / 8, (truth, found)
    assert precision >= 7 / 8, (truth, found)
