"""What ``classify --every`` writes of events: selection tables of Raven, clips, and those that are likely enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundalike.apps.classifier import Event
from soundalike.apps.classifier.events import Cutter, is_likely, read_least
from soundalike.audio.cutting import cut
from soundalike.audio.segment import Segment
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.data.segments import read_rows

RATE = 16_000
Cli = Callable[..., tuple[int, str, str]]


def tone(hertz: float, seconds: float, seed: int) -> np.ndarray:
    """A sine with a little noise, another one with every seed."""
    draw = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    sine = np.sin(2 * np.pi * (hertz * draw.uniform(0.95, 1.05) * time + draw.uniform()))
    return (0.3 * sine + 0.003 * draw.standard_normal(len(time))).astype(np.float32)


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stereo recording of 8 s at 48 kHz: quiet, a low tone from 2 to 3 s, a high one from 5 to 6.5 s."""
    folder = tmp_path_factory.mktemp("field")
    for number in range(4):
        for label, hertz in (("low/one", 200), ("high", 2500)):
            (folder / "taught" / label.replace("/", "_")).mkdir(parents=True, exist_ok=True)
            soundfile.write(
                folder / "taught" / label.replace("/", "_") / f"{chr(97 + number)}.wav", tone(hertz, 1, number), RATE
            )
    samples = np.zeros(8 * RATE, np.float32)
    samples[2 * RATE : 3 * RATE] = tone(200, 1, 9)
    samples[5 * RATE : 5 * RATE + 24_000] = tone(2500, 1.5, 9)
    both = np.repeat(samples, 3)[:, None] * [1.0, 0.5]  # 16 to 48 kHz
    soundfile.write(folder / "night.flac", both, 48_000, subtype="PCM_24")
    return folder


def test_raven_clips_and_thresholds(field: Path, run: Path, cli: Cli, tmp_path: Path) -> None:
    taught, recording = tmp_path / "t.safetensors", field / "night.flac"
    assert cli("teach", field / "taught", "--model", run, "--out", taught)[0] == 0
    every = ("--with", taught, "--every", 0.25, "--none-of-these", 0)
    places = ("--raven", tmp_path / "n.selections.txt", "--clips", tmp_path / "clips", "--out", tmp_path / "e.csv")
    code, _, err = cli("classify", recording, *every, *places)
    assert code == 0, err
    found = read_rows(tmp_path / "n.selections.txt", ("label",), ("label",))  # by its path, in another folder
    assert [row.cells["label"] for row in found] == ["low_one", "high"]
    sounds = [row.sound for row in found if isinstance(row.sound, Segment)]
    assert [sound.path for sound in sounds] == [recording] * 2
    assert np.abs(np.array([(sound.start, sound.end) for sound in sounds]) - [(2, 3), (5, 6.5)]).max() <= 0.5
    assert [row.sound for row in read_rows(tmp_path / "e.csv")] == [
        Segment(recording, sound.start, sound.end) for sound in sounds
    ]
    head, first, *_ = (tmp_path / "n.selections.txt").read_text().splitlines()
    assert head.split("\t")[:5] == ["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)"]
    assert first.split("\t")[0] == "1"
    clips = sorted((tmp_path / "clips").iterdir())
    assert [clip.name for clip in clips] == [
        f"night_{sound.start:.2f}-{sound.end:.2f}s_{label}.wav"
        for sound, label in zip(sounds, ("low_one", "high"), strict=True)
    ]
    night, _ = soundfile.read(recording, dtype="int32")
    for clip, sound in zip(clips, sounds, strict=True):
        samples, rate = soundfile.read(clip, dtype="int32")
        start, end = (round(48_000 * moment) for moment in (sound.start - 0.5, sound.end + 0.5))
        assert rate == 48_000
        np.testing.assert_array_equal(samples, night[start:end])  # both channels, to the last bit
    (tmp_path / "min.csv").write_text("label,min\nhigh,0\nlow_one,1\n")
    code, out, _ = cli("classify", recording, *every, "--min", tmp_path / "min.csv")
    assert code == 0
    assert [line.split(",")[3] for line in out.splitlines()] == ["label", "high"]
    for more, said in {
        ("--min", 2): "--min is '2': give a probability from 0 to 1, or a table",
        ("--context", 1): "--context is about clips: give --clips DIR",
    }.items():
        code, _, err = cli("classify", recording, *every, *more)
        assert code == 2
        assert said in err
    assert "give --every" in cli("classify", recording, "--with", taught, "--clips", tmp_path)[2]


def test_thresholds_of_a_table(tmp_path: Path) -> None:
    assert read_least("0.4", ["a", "b"]) == {"a": 0.4, "b": 0.4}
    table = tmp_path / "min.csv"
    table.write_text("label,min\na,0.75\n")
    least = read_least(str(table), ["a", "b"])
    assert least == {"a": 0.75, "b": 0.0}
    table.write_text("class,min\nb,0.25\n")
    assert read_least(str(table), ["a", "b"], 0.5) == {"a": 0.5, "b": 0.25}
    in_yaml = tmp_path / "min.yaml"
    in_yaml.write_text("a: 0.75\n'b': 1\n")
    assert read_least(str(in_yaml), ["a", "b"]) == {"a": 0.75, "b": 1.0}
    for text, said in {"- a": "give a least probability for each class", "c: 1": "no class is called 'c'"}.items():
        in_yaml.write_text(text)
        with pytest.raises(SoundalikeError, match=said):
            read_least(str(in_yaml), ["a", "b"])
    table.write_text("label,min\na,0.75\n")
    assert [is_likely(Event(0, 1, "a", p), least) for p in (0.74, 0.75, None)] == [False, True, True]
    for text, said in {"c,0.5": "no class is called 'c'", "a,1.5": "'1.5', is not a probability"}.items():
        table.write_text(f"label,min\n{text}\n")
        with pytest.raises(SoundalikeError, match=said):
            read_least(str(table), ["a", "b"])


def test_clips_have_names_of_their_own_and_stay_inside(field: Path, tmp_path: Path) -> None:
    cutter = Cutter(tmp_path / "clips", 0)
    event = Event(2, 2.5, "../../a b/ü", 0.9)
    names = [cutter.write(field / "night.flac", event).name for _ in range(2)]
    assert names == ["night_2.00-2.50s_a_b_ü.wav", "night_2.00-2.50s_a_b_ü_2.wav"]
    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == sorted(names)
    last = cutter.write(field / "night.flac", Event(7.5, 9, "end", 0.9))
    assert soundfile.info(last).frames == 24_000  # as far as the recording goes


FORMATS = [(".wav", "PCM_16"), (".wav", "FLOAT"), (".ogg", None), (".mp3", None)]


@pytest.mark.parametrize(("suffix", "subtype"), FORMATS)
def test_what_is_cut_is_what_is_there(tmp_path: Path, suffix: str, subtype: str | None) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (44_100, 2))
    soundfile.write(tmp_path / f"a{suffix}", samples, 44_100, subtype=subtype)
    whole, _ = soundfile.read(tmp_path / f"a{suffix}")
    cut(tmp_path / f"a{suffix}", 0.25, 0.5, tmp_path / "out.wav")
    part, rate = soundfile.read(tmp_path / "out.wav")
    assert (rate, part.shape) == (44_100, (11_025, 2))
    bound = 0 if subtype else 2 / 2**15
    assert np.abs(part - np.clip(whole[11_025:22_050], -1, 1)).max() <= bound
    with pytest.raises(AudioError, match="holds nothing from 2 to 3 s"):
        cut(tmp_path / f"a{suffix}", 2, 3, tmp_path / "out.wav")
