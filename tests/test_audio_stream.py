"""Files read piece by piece: the same samples as the whole, and the same embeddings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundalike.audio import decoding, windows
from soundalike.audio import read as audio
from soundalike.audio.stream import LongSound, open_sound
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe


def noise(seconds: float, rate: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Noise that swells, so that no two places are alike."""
    shape = (round(seconds * rate), channels)
    swell = np.linspace(0.02, 0.5, shape[0])[:, None]
    return (swell * np.random.default_rng(seed).uniform(-1, 1, shape)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int, **kwargs: str) -> Path:
    soundfile.write(path, samples, rate, **kwargs)
    return path


# blocks


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize(
    ("rate", "target", "seconds"), [(44100, 16000, 0.3), (16000, 16000, 0.25), (8000, 48000, 5.0)]
)
def test_blocks_are_the_whole_cut(tmp_path: Path, suffix: str, rate: int, target: int, seconds: float) -> None:
    path = write(tmp_path / f"a.{suffix}", noise(1.7, rate, 2), rate)
    blocks = audio.Blocks(path, target, seconds)
    for _ in range(2):  # every pass reads it anew
        cut = list(blocks)
        assert all(block.dtype == np.float32 and block.ndim == 1 for block in cut)
        assert {len(block) for block in cut[:-1]} <= {round(seconds * target)}
        assert 0 < len(cut[-1]) <= round(seconds * target)
        np.testing.assert_allclose(np.concatenate(cut), audio.load(path, target), atol=1e-6)
        assert blocks.note is None


@pytest.mark.parametrize("rate", [100, 192000])
def test_blocks_of_one_sample(tmp_path: Path, rate: int) -> None:
    cut = list(audio.Blocks(write(tmp_path / "a.wav", np.array([0.5]), rate), 16000))
    np.testing.assert_array_equal(np.concatenate(cut), audio.load(tmp_path / "a.wav"))


def test_a_low_rate_becomes_no_huge_piece(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(200.0, 100), 100)
    pieces = [piece[16000] for piece in decoding.stream(path, [16000], None, decoding.Outcome())]
    assert max(map(len, pieces)) < 70 * 16000
    assert sum(map(len, pieces)) == len(audio.load(path))


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_blocks_of_a_truncated_file(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", noise(3.0, 16000), 16000)
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    blocks = audio.Blocks(path, 16000, 0.5)
    cut = list(blocks)
    assert blocks.note is not None
    assert blocks.note.startswith("seems to be cut short")
    decoded = audio.decode(path, [16000])
    assert blocks.note == decoded.note
    np.testing.assert_array_equal(np.concatenate(cut), decoded.waveforms[16000])


def test_damage_in_the_middle_costs_no_more_than_a_small_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a large block cannot be read, the file is read on from there: nothing is lost or heard twice."""
    samples = noise(2.0, 16000)
    path = write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    original = soundfile.SoundFile.read

    def read(self: soundfile.SoundFile, count: int, **more: object) -> np.ndarray:
        if self.tell() + count > 20000:
            raise soundfile.LibsndfileError(24)
        return original(self, count, **more)

    monkeypatch.setattr(decoding, "_BLOCK", 4096)
    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    decoded = audio.decode(path, [16000])
    assert decoded.note == "seems to be cut short; its first 1.22 s are used."
    np.testing.assert_array_equal(decoded.waveforms[16000], samples[: 19 * 1024, 0])


def test_what_is_wrong_with_a_file_comes_up_where_it_is(tmp_path: Path) -> None:
    samples = noise(40.0, 8000)
    samples[8000 * 39] = np.nan
    path = write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    blocks = iter(audio.Blocks(path, 8000, 1.0))
    assert len(next(blocks)) == 8000
    with pytest.raises(AudioError, match=r"a\.wav: holds NaN or infinite samples"):
        list(blocks)
    for bad, said in ((tmp_path / "nothing.wav", "cannot be opened"), (tmp_path, "is a folder")):
        with pytest.raises(AudioError, match=said):
            list(audio.Blocks(bad))
    with pytest.raises(SoundalikeError, match=r"seconds is 0"):
        audio.Blocks(path, seconds=0)
    with pytest.raises(SoundalikeError, match=r"sample rate is 5"):
        audio.Blocks(path, 5)


# long sounds


def test_is_long_goes_by_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.flac", noise(1.0, 8000), 8000)
    assert not audio.is_long(path)
    monkeypatch.setattr(audio, "LONG", 0.9)
    assert audio.is_long(path)
    (tmp_path / "text.wav").write_text("no sound")
    assert not any(audio.is_long(bad) for bad in (tmp_path / "text.wav", tmp_path / "nothing.wav", tmp_path, "\0"))


def test_slices_of_a_long_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = audio.Blocks
    monkeypatch.setattr(audio, "Blocks", lambda path, rate: original(path, rate, 0.1))
    path = write(tmp_path / "a.wav", noise(2.0, 22050, 2), 22050)
    whole, sound = audio.load(path), LongSound(path, 16000)
    assert len(sound) == len(whole)
    assert sound.peak == pytest.approx(np.abs(whole).max(), abs=1e-6)
    random = np.random.default_rng(0)
    places = [(0, 10), (5, 3000), (5, 8000), (2900, 2900), (20000, 40000), (31999, 32000), (0, 1)]
    places += [tuple(sorted(random.integers(0, 33000, 2))) for _ in range(30)]  # also backwards, and over the end
    for first, last in places:
        np.testing.assert_allclose(sound.read(first, last), whole[first:last], atol=1e-6)
    sound.read(16000, 16100)
    assert len(sound._held) < 4000, "what lies behind is forgotten"


def test_a_header_that_promises_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.flac", noise(1.0, 16000), 16000)
    path.write_bytes(path.read_bytes()[:10000])
    monkeypatch.setattr(audio, "LONG", 0.8)
    sound, note = open_sound(path, 16000)
    assert isinstance(sound, np.ndarray)
    assert note is not None
    np.testing.assert_array_equal(sound, audio.decode(path, [16000]).waveforms[16000])


# embedding


@pytest.fixture(scope="module")
def models(tiny: Recipe) -> dict[str, SoundModel]:
    stages = {"readout": "stages", "readout.features": True, "readout.quarter_tones": True, "readout.chunk": 1.0}
    return {
        "pooled": SoundModel(tiny.override({"readout": "pooled"})),
        "stages": SoundModel(tiny.override(stages)),
        "peak": SoundModel(tiny.override({**stages, "frontend.level": "peak"})),
    }


@pytest.mark.parametrize("name", ["pooled", "stages", "peak"])
@pytest.mark.parametrize("samples", [16000 * 7, 16000 * 5 + 123])
def test_a_streamed_sound_is_embedded_as_the_whole(
    models: dict[str, SoundModel], name: str, samples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models[name]
    path = write(tmp_path / "a.wav", noise(samples / 16000, 44100, 2), 44100)
    whole = model.embed(path)
    original = audio.Blocks
    monkeypatch.setattr(audio, "LONG", 2)
    monkeypatch.setattr(audio, "Blocks", lambda path, rate: original(path, rate, 0.7))
    monkeypatch.setattr(audio, "decode", None)  # nothing decodes it as a whole
    np.testing.assert_allclose(model.embed(path), whole, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(model.embed([path, path])[1], whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_long_silence_and_constants_are_embedded(
    models: dict[str, SoundModel], value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.wav", np.full(16000 * 3, value), 16000)
    whole = {name: model.embed(path) for name, model in models.items()}
    monkeypatch.setattr(audio, "LONG", 2)
    for name, model in models.items():
        assert np.isfinite(whole[name]).all()
        np.testing.assert_allclose(model.embed(path), whole[name], atol=1e-4, rtol=1e-4)


def test_a_truncated_long_file_is_embedded_with_a_warning(
    models: dict[str, SoundModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.wav", noise(5.0, 16000), 16000)
    path.write_bytes(path.read_bytes()[:128044])
    monkeypatch.setattr(audio, "LONG", 2)
    with pytest.warns(audio.TruncatedAudioWarning, match=r"a\.wav: seems to be cut short; its first 4 s"):
        vector = models["stages"].embed(path)
    np.testing.assert_allclose(vector, models["stages"].embed(noise(5.0, 16000)[:64000, 0]), atol=1e-2, rtol=1e-2)


# moments


class Ends:
    """First and last sample, and length, of every window."""

    sample_rate = 100

    def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        return np.array([[sound[0], sound[-1], len(sound)] for sound in waveforms])


def slow_windows(samples: int, rate: int, every: float, seconds: float) -> list[tuple[float, int, int]]:
    """Moment, first and last sample of every window, from the length of the whole."""
    length = max(1, round(seconds * rate))
    found = []
    for number in range(max(1, round(samples / (every * rate)))):
        moment = (number + 0.5) * every
        start = min(max(round(moment * rate - length / 2), 0), max(0, samples - length))
        found.append((moment, start, min(samples, start + length) - 1))
    return found


@pytest.mark.parametrize(
    ("every", "seconds"), [(0.5, 1.0), (0.25, 0.03), (2.0, 0.5), (0.01, 0.01), (0.333, 3.21), (7.0, 0.02), (0.1, 60.0)]
)
@pytest.mark.parametrize("samples", [1, 49, 50, 100, 1234, 3000])
@pytest.mark.parametrize("size", [1, 77, 10000])
def test_windows_lie_where_they_would_in_the_whole(samples: int, every: float, seconds: float, size: int) -> None:
    sound = np.arange(samples, dtype=np.float32)
    blocks = (sound[start : start + size] for start in range(0, samples, size))
    lots = list(windows.embed(Ends(), blocks, every, seconds))
    times, ends = (np.concatenate(part) for part in zip(*lots, strict=True))
    expected = slow_windows(samples, 100, every, seconds)
    assert times.tolist() == [moment for moment, _, _ in expected]
    assert ends[:, :2].tolist() == [[first, last] for _, first, last in expected]
    assert set(ends[:, 2]) == {min(samples, max(1, round(seconds * 100)))}


def test_along_a_file_as_over_its_waveform(models: dict[str, SoundModel], tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise(45.0, 22050), 22050)
    lots = list(models["peak"].along(path, every=0.6, seconds=0.5))
    assert len(lots) == 2
    expected_times, expected = models["peak"].windows(audio.load(path), every=0.6, seconds=0.5)
    np.testing.assert_array_equal(np.concatenate([times for times, _ in lots]), expected_times)
    np.testing.assert_allclose(np.concatenate([vectors for _, vectors in lots]), expected, atol=1e-4, rtol=1e-4)
    path.write_bytes(path.read_bytes()[:100000])
    with pytest.warns(audio.TruncatedAudioWarning, match="cut short"):
        list(models["peak"].along(path))
    with pytest.raises(SoundalikeError, match="every is 0 s"):
        next(models["peak"].along(path, every=0))
    with warnings.catch_warnings(), pytest.raises(AudioError, match="cannot be opened"):
        next(models["peak"].along(tmp_path / "nothing.wav"))
