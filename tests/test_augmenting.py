"""Every augmentation of a recording as files: what is written, that it is what was drawn, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from soundalike.apps.render import augmentations
from soundalike.apps.render.augmentations import render_augmentations
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.views.augment import AUGMENTATIONS, PitchShift, TimeShift

OF_SPECTROGRAMS = {name for name, kind in AUGMENTATIONS.items() if kind.axes == 4}


def write(path: Path, samples: np.ndarray, sample_rate: int = 16000) -> Path:
    soundfile.write(path, samples, sample_rate, subtype="FLOAT")
    return path


@pytest.fixture
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the picture, which takes longer than everything else."""
    monkeypatch.setattr(augmentations, "_draw", lambda *_: None)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    swell = np.linspace(0, 0.2, 8000)
    return write(tmp_path / "half a second $1 é.wav", (swell * rng.standard_normal(8000)).astype(np.float32))


def test_every_augmentation_is_written_and_told(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    files = render_augmentations(recording, out, count=2)
    heard = [name for name in AUGMENTATIONS if name not in OF_SPECTROGRAMS]
    expected = ["original.wav", *(f"{name}-{i}.wav" for name in heard for i in (1, 2))]
    assert [file.name for file in files] == [*expected, "augmentations.json", "augmentations.png"]
    assert sorted(file.name for file in out.iterdir()) == sorted(file.name for file in files)
    table = json.loads((out / "augmentations.json").read_text(encoding="utf-8"))
    assert list(table["augmentations"]) == list(AUGMENTATIONS)
    assert (table["file"], table["used"], table["seconds"]) == (recording.name, "the whole file", 0.5)
    for name, draws in table["augmentations"].items():
        assert len(draws) == 2
        assert all(draw["words"] and draw["drawn"] for draw in draws)
        assert draws[0]["drawn"] != draws[1]["drawn"]
        files_of_it = [draw["file"] for draw in draws]
        assert files_of_it == ([None, None] if name in OF_SPECTROGRAMS else [f"{name}-1.wav", f"{name}-2.wav"])
    assert (out / "augmentations.png").read_bytes().startswith(b"\x89PNG")
    original = soundfile.read(out / "original.wav")[0]
    for name in expected:
        sound, rate = soundfile.read(out / name)
        assert (len(sound), rate) == (8000, 16000)
        assert name == "original.wav" or not np.array_equal(sound, original)


@pytest.mark.usefixtures("no_picture")
def test_what_is_heard_is_what_was_drawn(recording: Path, tmp_path: Path) -> None:
    render_augmentations(recording, tmp_path / "out", ["time-shift", "pitch-shift"], count=1)
    table = json.loads((tmp_path / "out" / "augmentations.json").read_text(encoding="utf-8"))
    source = torch.from_numpy(soundfile.read(recording, dtype="float32")[0])[None]
    for name, augmentation in (("time-shift", TimeShift()), ("pitch-shift", PitchShift())):
        (draw,) = table["augmentations"][name]
        drawn = {key: torch.tensor([value]) for key, value in draw["drawn"].items()}
        expected = augmentation.apply(source, {"apply": torch.tensor([True]), **drawn})[0]
        heard = soundfile.read(tmp_path / "out" / draw["file"])[0]
        np.testing.assert_allclose(heard, table["gain"] * expected.numpy(), atol=1e-4)
    shift = table["augmentations"]["time-shift"][0]
    side = "earlier" if shift["drawn"]["shift"] < 0 else "later"
    assert shift["words"] == f"{abs(shift['drawn']['shift']) / 16000:.2f} s {side}"
    semitones = table["augmentations"]["pitch-shift"][0]["drawn"]["semitones"]
    words = table["augmentations"]["pitch-shift"][0]["words"]
    assert float(words.split()[0].replace("−", "-")) == pytest.approx(semitones, abs=0.051)


@pytest.mark.usefixtures("no_picture")
def test_same_seed_same_files_and_names_change_no_draw(recording: Path, tmp_path: Path) -> None:
    render_augmentations(recording, tmp_path / "one", ["noise", "fade"], seed=5)
    render_augmentations(recording, tmp_path / "two", ["fade", "fade"], seed=5)
    render_augmentations(recording, tmp_path / "three", ["fade"], seed=6)
    draws = [
        json.loads((tmp_path / run / "augmentations.json").read_text(encoding="utf-8"))["augmentations"]["fade"]
        for run in ("one", "two", "three")
    ]
    assert draws[0] == draws[1] != draws[2]
    assert (tmp_path / "one" / "fade-2.wav").read_bytes() == (tmp_path / "two" / "fade-2.wav").read_bytes()


@pytest.mark.usefixtures("no_picture")
def test_what_is_louder_than_a_wav_file_may_be_turns_all_down_alike(tmp_path: Path) -> None:
    square = np.where(np.arange(16000) // 60 % 2, 1, -1).astype(np.float32)
    loud = write(tmp_path / "loud.wav", 3 * square)
    render_augmentations(loud, tmp_path / "out", ["time-shift", "noise"], count=1)
    table = json.loads((tmp_path / "out" / "augmentations.json").read_text(encoding="utf-8"))
    assert table["gain"] < 1 / 3
    original, shifted, noisy = (
        soundfile.read(tmp_path / "out" / f"{name}.wav")[0] for name in ("original", "time-shift-1", "noise-1")
    )
    np.testing.assert_allclose(np.abs(original), 3 * table["gain"], atol=1e-4)
    np.testing.assert_allclose(np.sort(shifted), np.sort(original))
    assert np.abs(noisy).max() == pytest.approx(1, abs=1e-3)
    assert (np.abs(noisy) > 0.999).sum() == 1  # scaled, not clipped


@pytest.mark.usefixtures("no_picture")
def test_a_long_file_is_used_from_its_beginning_for_10_seconds(tmp_path: Path) -> None:
    long = write(tmp_path / "long.wav", 0.1 * np.random.default_rng(0).standard_normal(11 * 8000), 8000)
    render_augmentations(long, tmp_path / "out", ["fade"], count=1)
    assert soundfile.info(tmp_path / "out" / "fade-1.wav").frames == 160_000
    table = json.loads((tmp_path / "out" / "augmentations.json").read_text(encoding="utf-8"))
    assert (table["used"], table["seconds"]) == ("the first 10 s", 10.0)


@pytest.mark.parametrize("samples", [1, 160])
def test_very_short_and_silent_files(samples: int, tmp_path: Path) -> None:
    file = write(tmp_path / "short.wav", np.zeros(samples, np.float32))
    names = None if samples > 1 else ["pitch-shift", "time-mask", "spec-augment"]
    files = render_augmentations(file, tmp_path / "out", names, count=1)
    assert all(file.stat().st_size for file in files)
    assert not any(soundfile.read(file)[0].any() for file in files[:-2] if not file.stem.startswith("time-mask"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"names": ["pitch-shif"]}, "pitch-shift"),
        ({"count": 0}, "count"),
        ({"seed": -1}, "seed"),
        ({"seed": 1 << 32}, "seed"),
        ({"sample_rate": 0}, "sample rate|sample_rate"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], words: str, recording: Path, tmp_path: Path) -> None:
    with pytest.raises(SoundalikeError, match=words):
        render_augmentations(recording, tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_audio_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(AudioError, match=r"text\.wav"):
        render_augmentations(tmp_path / "text.wav", tmp_path / "out")


@pytest.mark.skipif("SOUNDALIKE_DATA" not in os.environ, reason="needs real recordings")
@pytest.mark.usefixtures("no_picture")
def test_a_recording(tmp_path: Path) -> None:
    file = next(iter(sorted((Path(os.environ["SOUNDALIKE_DATA"]) / "ESC-10" / "audio").glob("*"))), None)
    if file is None:
        pytest.skip("no ESC-10 there")
    render_augmentations(file, tmp_path / "out", ["spec-augment", "low-pass"], count=1)
    (draw,) = json.loads((tmp_path / "out" / "augmentations.json").read_text())["augmentations"]["low-pass"]
    dull, bright = (
        np.square(np.abs(np.fft.rfft(soundfile.read(tmp_path / "out" / name)[0]))[-20000:]).sum()
        for name in (draw["file"], "original.wav")
    )
    assert dull < bright / 2
