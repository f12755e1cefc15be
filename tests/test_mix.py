"""Channels of files that cancel each other, silent files and ultrasound: what is used, and what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundalike import cli
from soundalike.audio import decoding, read
from soundalike.audio.mix import Mixer
from soundalike.audio.stream import LongSound
from soundalike.core.errors import SoundWarning

RATE = 16_000
CANCELS = "its channels cancel each other, so the louder one is used instead of their mean."


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def tone(hertz: float = 440, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(path: Path, *channels: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack(channels, axis=1), rate, subtype="FLOAT")
    return path


def test_the_louder_of_channels_that_cancel(tmp_path: Path) -> None:
    left = noise(2.5)
    for number, (channels, louder) in enumerate(
        [((left, -left), left), ((-0.9 * left, left), left), ((left, -left, 0.001 * noise(2.5, 1)), left)]
    ):
        outcome = read.decode(write(tmp_path / f"{number}.wav", *channels), [RATE])
        np.testing.assert_allclose(outcome.waveforms[RATE], louder, atol=1e-7)
        assert outcome.note == CANCELS


@pytest.mark.parametrize("block", [1000, 1 << 18])
def test_where_channels_cancel_is_decided_second_by_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    left, other = noise(5.3), noise(5.3, 1)
    right = np.where(np.arange(len(left)) // RATE % 2 == 1, -left, other).astype(np.float32)
    expected = np.where(right == -left, left, (left + right) / 2)
    path = write(tmp_path / "a.wav", left, right)
    monkeypatch.setattr(decoding, "_BLOCK", block)
    outcome = read.decode(path, [RATE])
    np.testing.assert_allclose(outcome.waveforms[RATE], expected, atol=1e-7)
    assert outcome.note == f"{CANCELS.replace(',', ' in 2.3 s of it,')}"
    blocks = read.Blocks(path, RATE, 0.7)
    np.testing.assert_allclose(np.concatenate(list(blocks)), expected, atol=1e-7)
    assert blocks.note == outcome.note
    long = LongSound(path, RATE)
    np.testing.assert_allclose(long.read(RATE // 2, 3 * RATE), expected[RATE // 2 : 3 * RATE], atol=1e-7)


def test_a_moment_in_which_channels_cancel_is_not_worth_a_word(tmp_path: Path) -> None:
    left = noise(20.0)
    right = left.copy()
    right[RATE : 2 * RATE] *= -1
    outcome = read.decode(write(tmp_path / "a.wav", left, right), [RATE])
    np.testing.assert_allclose(outcome.waveforms[RATE], left, atol=1e-7)
    assert outcome.note is None


@pytest.mark.parametrize(
    "right",
    [noise(2.2), noise(2.2, 1), 0 * noise(2.2), -0.5 * noise(2.2), -0.6 * noise(2.2) + 0.8 * noise(2.2, 1)],
    ids=["the same", "another", "none", "quieter and turned", "partly turned"],
)
def test_channels_that_do_not_cancel_are_averaged(tmp_path: Path, right: np.ndarray) -> None:
    outcome = read.decode(write(tmp_path / "a.wav", noise(2.2), right), [RATE])
    np.testing.assert_allclose(outcome.waveforms[RATE], (noise(2.2) + right) / 2, atol=1e-7)
    assert outcome.note is None


def test_a_short_rest_is_mixed_as_the_second_before_it() -> None:
    left = noise(1.05)
    mixer = Mixer(RATE, 2)
    right = left.copy()
    right[RATE:] *= -1
    samples = np.stack([left, right], axis=1)
    assert np.array_equal(np.concatenate([mixer(samples), mixer.rest()])[RATE:], np.zeros(len(left) - RATE))
    assert mixer.note is None


def test_silence_is_said(tmp_path: Path) -> None:
    still, dither = np.zeros(RATE, np.float32), np.random.default_rng(0).integers(-1, 2, RATE) / 2**15
    for number, sound in enumerate((still, still + 0.1, dither, still[:5])):
        assert read.decode(write(tmp_path / f"{number}.wav", sound), [RATE]).note == "is silent."
    quiet = 10 * dither.astype(np.float32)
    assert read.decode(write(tmp_path / "quiet.wav", quiet), [RATE]).note is None
    with pytest.warns(SoundWarning, match=r"0\.wav: is silent\.$"):
        read.load(tmp_path / "0.wav")


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_ultrasound_is_said(tmp_path: Path, suffix: str) -> None:
    bat = tone(45_000, 0.5, 192_000)
    said = "almost all of its energy lies above 8 kHz, of which nothing is heard at 16000 Hz."
    soundfile.write(tmp_path / f"bat.{suffix}", bat, 192_000)
    assert read.decode(tmp_path / f"bat.{suffix}", [RATE]).note == said
    assert read.decode(tmp_path / f"bat.{suffix}", [192_000]).note is None
    soundfile.write(tmp_path / f"both.{suffix}", bat / 2 + tone(500, 0.5, 192_000) / 10, 192_000)
    assert read.decode(tmp_path / f"both.{suffix}", [RATE]).note is None


def test_commands_say_it(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Taught with turned channels or without, a sound is the same."""
    for label, hertz in (("low", 300.0), ("high", 3000.0)):
        for number in range(3):
            sound = tone(hertz + 10 * number) + noise(1.0, number) / 10
            write(tmp_path / "clips" / label / f"{'abc'[number] * 3}.wav", sound, -sound)
            write(tmp_path / "clips" / label / f"{'def'[number] * 3}.wav", tone(hertz + 5 * number))
    mine = tmp_path / "mine.safetensors"
    assert cli.main(["teach", str(tmp_path / "clips"), "--model", str(run), "--out", str(mine)]) == 0
    out, err = capsys.readouterr()
    assert err.count(CANCELS) == 6
    assert "accuracy 100.0 %" in out
    write(tmp_path / "new" / "turned.wav", tone(310), -tone(310))
    write(tmp_path / "new" / "still.wav", 0 * tone())
    write(tmp_path / "new" / "bat.wav", tone(50_000, 0.5, 192_000), rate=192_000)
    sounds = [str(tmp_path / "new"), "--with", str(mine), "--none-of-these", "0"]
    assert cli.main(["classify", *sounds]) == 0
    out, err = capsys.readouterr()
    assert [line.split(",")[1] for line in out.splitlines() if "turned" in line] == ["low"]
    assert [line.split(",")[1] for line in out.splitlines() if "still" in line] == ["none of these"]
    for said in (f"turned.wav: {CANCELS}", "still.wav: is silent.", "bat.wav: almost all of its energy lies above"):
        assert err.count(f"note: {tmp_path / 'new' / said}") == 1, said
    for more in (["--every", "0.25"], []):
        assert cli.main(["classify", str(tmp_path / "new" / "turned.wav"), *sounds[1:], *more]) == 0
        assert capsys.readouterr().err.count(CANCELS) == 1
