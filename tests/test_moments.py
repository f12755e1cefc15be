"""An index of moments and of segments: what is found where, what is embedded again, and the page that plays it."""

from __future__ import annotations

import base64
import csv
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from browser import CHROMIUM, Page, opened
from soundalike import Index, SoundModel
from soundalike.apps.search import similarity
from soundalike.audio.segment import Segment
from soundalike.core.errors import SoundalikeError
from soundalike.model.recipe import Recipe

RATE = 16_000
Cli = Callable[..., tuple[int, str, str]]


def chirp(low: float, high: float, seconds: float = 0.8) -> np.ndarray:
    """A tone that glides."""
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = low + (high - low) * time / seconds
    return (0.5 * np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * np.hanning(len(time))).astype(np.float32)


def night(seed: int, places: dict[float, np.ndarray], seconds: float = 12.0) -> np.ndarray:
    """Quiet noise with sounds at their seconds."""
    samples = 0.01 * np.random.default_rng(seed).standard_normal(round(seconds * RATE)).astype(np.float32)
    for start, sound in places.items():
        samples[round(start * RATE) :][: len(sound)] += sound
    return samples


RISING, FALLING = chirp(400, 1600), chirp(5000, 2500)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few reference sounds."""
    monkeypatch.setattr(similarity, "REFERENCE", 8)


class Counting(SoundModel):
    """A model that counts what it embeds."""

    embedded = 0

    def __call__(self, waveforms):  # type: ignore[no-untyped-def]
        self.embedded += len(waveforms)
        return super().__call__(waveforms)


@pytest.fixture
def model(tiny: Recipe) -> Counting:
    return Counting(tiny, tiny.build(3))


@pytest.fixture
def nights(tmp_path: Path) -> Path:
    """Two recordings: a rising tone from 3.1 s in one of them, a falling one from 7.6 s in both."""
    folder = tmp_path / "nights"
    folder.mkdir()
    soundfile.write(folder / "one.wav", night(1, {3.1: RISING, 7.6: FALLING}), RATE, subtype="FLOAT")
    soundfile.write(folder / "two <b>.flac", night(2, {7.6: FALLING}), RATE)
    return folder


def test_a_moment_is_found_by_file_and_time(nights: Path, tmp_path: Path, model: Counting) -> None:
    index, updated = Index.update(nights, tmp_path / "i", model, every=0.5, window=1.0)
    assert (len(index), updated.new) == (48, 2)
    spans = [sound for sound in index.sounds if isinstance(sound, Segment) and sound.path.name == "one.wav"]
    assert [(sound.start, sound.end) for sound in spans[:3]] == [(0, 1), (0.25, 1.25), (0.75, 1.75)]
    assert (spans[-1].start, spans[-1].end) == (11, 12)
    best = index.search(RISING, 1)[0].sound
    assert isinstance(best, Segment)
    assert best.path == nights / "one.wav"
    assert best.start < 3.3
    assert best.end > 3.7
    both = [found.sound for found in index.search(FALLING, 2)]
    assert {sound.path.name for sound in both if isinstance(sound, Segment)} == {"one.wav", "two <b>.flac"}
    assert all(sound.start < 8.2 and sound.end > 7.8 for sound in both if isinstance(sound, Segment))
    everything = [found.sound for found in index.search(FALLING, 48)]
    for row, one in enumerate(everything):  # of moments that overlap, the nearest alone
        for other in everything[:row]:
            assert isinstance(one, Segment)
            assert isinstance(other, Segment)
            assert one.path != other.path or one.end <= other.start or other.end <= one.start
    # a vector is what the model gives for just that part of the file
    expected = model.embed([Segment(sound.path, sound.start, sound.end) for sound in spans])
    held = np.concatenate([piece for _, piece in index.store.pieces()])[: len(spans)]
    np.testing.assert_allclose(held, expected, rtol=5e-3, atol=5e-3)


def test_moments_of_unchanged_files_are_not_embedded_again(nights: Path, tmp_path: Path, model: Counting) -> None:
    out = tmp_path / "i"
    Index.update(nights, out, model, every=1.0)
    before, content = model.embedded, out.read_bytes()
    _, updated = Index.update(nights, out, model)  # as the index was made
    assert (updated.kept, model.embedded, out.read_bytes()) == (2, before, content)
    os.utime(nights / "one.wav", ns=(1, 1))
    shutil.copy(nights / "one.wav", nights / "copy.wav")
    index, updated = Index.update(nights, out, model, every=1.0)
    assert (updated.new, updated.kept, model.embedded, len(index)) == (1, 2, before, 36)
    (nights / "copy.wav").unlink()
    soundfile.write(nights / "one.wav", night(3, {}, 5.0), RATE)
    (nights / "broken.wav").write_text("no sound")
    index, updated = Index.update(nights, out, model)
    assert (updated.changed, updated.gone, model.embedded, len(index)) == (1, 1, before + 5, 17)
    assert [failure.path for failure in updated.failures] == [nights / "broken.wav"]
    with pytest.raises(SoundalikeError, match=r"is an index of 1 s every 1 s; give another --out"):
        Index.update(nights, out, model, every=0.5)
    with pytest.raises(SoundalikeError, match=r"every is -1 s: give 0\.01 to 3600"):
        Index.update(nights, tmp_path / "j", model, every=-1)


def test_windows_of_one_file_are_no_duplicates(nights: Path, tmp_path: Path, model: Counting) -> None:
    for path in nights.iterdir():
        path.unlink()
    soundfile.write(nights / "a.wav", np.random.default_rng(4).uniform(-0.5, 0.5, 4 * RATE), RATE)
    index, _ = Index.update(nights, tmp_path / "i", model, every=0.25, window=1.0)
    assert index.duplicates() == []
    (group,) = index.duplicates(0.01)  # all of it is noise
    assert [each.sound.start for each in group if isinstance(each.sound, Segment)] == [0, 1.125, 2.125]
    shutil.copy(nights / "a.wav", nights / "b.wav")
    index, _ = Index.update(nights, tmp_path / "i", model)
    for group in index.duplicates():
        assert [each.path.name for each in group] == ["a.wav", "b.wav"]
        assert len({each.sound.start for each in group if isinstance(each.sound, Segment)}) == 1
    assert len(index.duplicates()) >= 3


def listed(folder: Path, rows: list[tuple[str, float, float]]) -> Path:
    with (folder / "calls.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "start", "end"), *rows])
    return folder / "calls.csv"


def test_the_segments_of_a_table(nights: Path, tmp_path: Path, model: Counting) -> None:
    out = tmp_path / "i"
    calls = [("one.wav", 3.1, 3.9), ("one.wav", 7.6, 8.4), ("two <b>.flac", 7.6, 8.4), ("one.wav", 7.6, 8.4)]
    table = listed(nights, calls)
    index, updated = Index.update(table, out, model)
    assert (len(index), updated.new) == (3, 2)  # what is listed twice is there once
    query = Segment(nights / "one.wav", 7.6, 8.4)
    first, second = index.search(query, 2)
    assert (first.sound, first.identical) == (query, True)
    assert (second.sound, second.identical) == (Segment(nights / "two <b>.flac", 7.6, 8.4), False)
    before = model.embedded
    listed(nights, [*calls, ("one.wav", 0.0, 1.0), ("one.wav", 90.0, 91.0), ("none.wav", 0, 1)])
    index, updated = Index.update(table, out, model)
    assert (model.embedded, len(index), updated.changed, updated.kept) == (before + 1, 4, 1, 1)
    assert [failure.path for failure in updated.failures] == [nights / "none.wav", Segment(nights / "one.wav", 90, 91)]
    before = model.embedded
    listed(nights, calls[:1])
    index, updated = Index.update(table, out, model)
    assert (index.sounds, model.embedded) == ([Segment(nights / "one.wav", 3.1, 3.9)], before)
    with pytest.raises(SoundalikeError, match=r"is the index of .*calls.csv; give another --out for"):
        Index.update(nights, out, model)
    with pytest.raises(SoundalikeError, match="lists segments; leave out every"):
        Index.update(table, tmp_path / "j", model, every=1)


@pytest.mark.parametrize("linked", [False, True])
def test_a_page_plays_what_was_found(nights: Path, tmp_path: Path, run: Path, cli: Cli, linked: bool) -> None:
    index, page, query = tmp_path / "i", tmp_path / "found.html", tmp_path / "query & co.wav"
    code, out, err = cli("index", nights, "--every", 1, "--out", index, "--model", run)
    assert (code, out) == (0, f"{index}: 24 moments of 2 files: 2 new, 0 changed, 0 gone, 0 kept\n"), err
    soundfile.write(query, FALLING, RATE)
    code, out, _ = cli("search", query, "--index", index, "--count", 1)
    assert code == 0
    assert " s\n" in out.splitlines(keepends=True)[1]
    code, _, err = cli("search", query, "--index", index, "--out", page, *["--link"] * linked)
    assert code == 0, err
    text = page.read_text()
    read = opened(page, tmp_path / "chromium") if CHROMIUM else Page(text)
    sources = [str(audio["src"]) for audio in read.all("audio")]
    assert len(sources) == 11
    assert "two <b>.flac, 7 to 8 s" in read.text
    assert "<b>.flac" not in text
    if linked:
        assert sources[0] == "./query%20%26%20co.wav"
        assert "./nights/two%20%3Cb%3E.flac#t=7,8" in sources
    else:
        samples, _ = soundfile.read(io.BytesIO(base64.b64decode(sources[1].partition(",")[2])))
        assert len(samples) >= 0.5 * RATE
    code, out, err = cli("search", query, "--index", index, "--out", tmp_path / "t.csv", "--count", 3)
    assert code == 0, err
    with (tmp_path / "t.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[0]["end"]) - float(rows[0]["start"]) == pytest.approx(1)
    assert "--link is about pages" in cli("search", query, "--index", index, "--link")[2]
