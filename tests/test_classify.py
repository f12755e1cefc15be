"""Naming files and following recordings, by the command line and in Python."""

from __future__ import annotations

import csv
import itertools
import json
import os
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundalike.apps.classifier import NONE, Event, Prediction, SoundClassifier, time_line
from soundalike.apps.classifier.recordings import merged, smoothed
from soundalike.apps.classifier.waveform import level
from soundalike.apps.classifier.writing import label_files
from soundalike.audio import read
from soundalike.cli import main
from soundalike.core.errors import SoundalikeError
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe

DATA = Path(__file__).resolve().parent.parent / "data"
RATE = 16_000
Cli = Callable[..., tuple[int, str, str]]

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the recordings that ship with the repository are not here")


def tone(hertz: float, seconds: float, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    clean = 0.3 * np.sin(2 * np.pi * (hertz * draw.uniform(0.97, 1.03) * time + draw.uniform()))
    return (clean + 0.003 * draw.standard_normal(len(time))).astype(np.float32)


@pytest.fixture(scope="module")
def barks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones for dogs: a folder per class, with spaces and letters that are no ASCII."""
    folder = tmp_path_factory.mktemp("barks") / "my barks"
    for label, hertz in (("großer Hund", 250.0), ("small dog", 2500.0)):
        (folder / label).mkdir(parents=True)
        for number in range(6):
            soundfile.write(folder / label / f"{chr(97 + number)} é.wav", tone(hertz, 0.5, number), RATE)
    return folder


@pytest.fixture(scope="module")
def taught(barks: Path, tiny: Recipe) -> Path:
    """The file that ``soundalike teach`` makes of it."""
    out = barks.parent / "bark.safetensors"
    SoundModel(tiny).save(barks.parent / "model.safetensors")
    assert main(["teach", str(barks), "--out", str(out), "--model", str(barks.parent / "model.safetensors")]) == 0
    return out


@pytest.fixture(scope="module")
def recording(barks: Path) -> Path:
    """Silence, a low tone from 2 to 4 s, silence, a high one from 6 to 7 s, silence up to 9 s."""
    parts = [np.zeros(2 * RATE), tone(250, 2, 90), np.zeros(2 * RATE), tone(2500, 1, 91), np.zeros(2 * RATE)]
    out = barks.parent / "am Morgen é.wav"
    soundfile.write(out, np.concatenate(parts), RATE)
    return out


# teach


def test_teach_says_what_it_learned(barks: Path, taught: Path, cli: Cli, tmp_path: Path) -> None:
    page, table = tmp_path / "report.html", tmp_path / "confusion.csv"
    model = barks.parent / "model.safetensors"
    code, out, err = cli("teach", barks, "--out", tmp_path / "b.safetensors", "--model", model, "--report", table)
    assert code == 0, err
    assert "6 of 6 correct" in out
    assert "accuracy 100.0 % ± 0.0 on 12 clips" in out
    assert "true class" in out
    assert list(csv.reader(table.open(encoding="utf-8"))) == [
        ["true class", "großer Hund", "small dog"],
        ["großer Hund", "6", "0"],
        ["small dog", "0", "6"],
    ]
    (barks / "small dog" / "broken.wav").write_text("no sound")
    try:
        code, out, err = cli(
            "teach", barks, "--out", tmp_path / "my c.safetensors", "--model", model, "--report", page
        )
    finally:
        (barks / "small dog" / "broken.wav").unlink()
    assert code == 1
    assert "left out: " in err
    assert "broken.wav" in err
    assert (tmp_path / "my c.safetensors").is_file()
    assert out.endswith(f"--with '{tmp_path / 'my c.safetensors'}'\n")
    assert "großer Hund" in page.read_text(encoding="utf-8")
    assert "http" not in page.read_text(encoding="utf-8").replace("<meta http-equiv=", "")


def test_teach_refuses_in_one_sentence(barks: Path, cli: Cli, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("path,label\n")
    cases = {
        ("teach", table, "--out", tmp_path / "a.safetensors", "--report", table): "would be overwritten",
        ("teach", tmp_path / "no", "--out", tmp_path / "a.safetensors"): "no such file or folder",
        ("teach", barks / "small dog", "--out", tmp_path / "a.safetensors"): "no sub-folders",
        ("teach", barks, "--out", tmp_path / "a.pt"): "has to end in .safetensors",
        ("teach", barks, "--out", tmp_path): "is a folder",
        ("teach", barks, "--out", tmp_path / "a.safetensors", "--window", "0"): "must be above 0",
        (
            "teach",
            barks,
            "--out",
            tmp_path / "a.safetensors",
            "--report",
            tmp_path / "a.pdf",
        ): "tables are .html, .csv, .tsv, ",
    }
    for arguments, said in cases.items():
        code, out, err = cli(*arguments)
        assert (code, out) == (2, ""), err
        assert said in err
        assert err.count("\n") == 1, err


# classify


def test_files_are_named(taught: Path, barks: Path, cli: Cli, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nothing.wav", np.zeros(RATE), RATE)
    (tmp_path / "broken.wav").write_text("no sound")
    soundfile.write(tmp_path / "z.wav", tone(2500, 0.5, 33), RATE)
    code, out, err = cli("classify", tmp_path, barks / "großer Hund", "--with", taught, "--top", 2)
    assert code == 1
    assert f"left out: {tmp_path / 'broken.wav'}: " in err
    rows = list(csv.DictReader(out.splitlines()))
    assert [Path(row["path"]).name for row in rows[:3]] == ["nothing.wav", "z.wav", "a é.wav"]
    assert (rows[0]["label"], rows[0]["probability"], rows[0]["label_1"]) == (NONE, "", "")
    assert rows[1]["label_1"] == "small dog"
    assert float(rows[1]["probability_1"]) + float(rows[1]["probability_2"]) == pytest.approx(1, abs=1e-3)
    assert {row["label_1"] for row in rows[2:]} == {"großer Hund"}
    assert sum(row["label"] == "großer Hund" for row in rows[2:]) >= 5


def test_json_lines_and_names_that_are_no_unicode(taught: Path, cli: Cli, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xff.wav")
    try:
        soundfile.write(os.fsencode(tmp_path / name), tone(250, 0.5, 5), RATE, format="WAV")
    except (OSError, soundfile.LibsndfileError):
        pytest.skip("this file system takes no such name")
    out = tmp_path / "out" / "results.jsonl"
    code, _, err = cli("classify", tmp_path / name, "--with", taught, "--out", out, "--none-of-these", 0)
    assert code == 0, err
    row = json.loads(out.read_text(encoding="utf-8"))
    assert row["path"] == str(tmp_path / name)
    assert row["label"] == "großer Hund"
    assert 0.5 < row["probability"] <= 1
    code, _, _ = cli("classify", tmp_path / name, "--with", taught, "--out", tmp_path / "r.csv")
    assert code == 0
    assert "\\udcff" in (tmp_path / "r.csv").read_text(encoding="utf-8")


def test_classify_refuses_in_one_sentence(
    taught: Path, barks: Path, recording: Path, cli: Cli, tmp_path: Path
) -> None:
    plain = barks.parent / "model.safetensors"
    cases = {
        ("classify", tmp_path / "no.wav", "--with", taught): "no such file",
        ("classify", recording, "--with", plain): "without a classifier",
        ("classify", recording, "--with", recording): "not a model",
        ("classify", recording, "--with", taught, "--labels", tmp_path / "l.txt"): "give --every",
        ("classify", recording, "--with", taught, "--every", 0): "--every is 0 s",
        ("classify", recording, "--with", taught, "--out", tmp_path / "r.xlsx"): "or .parquet, not '.xlsx'",
        ("classify", recording, "--with", taught, "--none-of-these", 1): "below 1",
        ("classify", barks, "--with", taught, "--every", 1, "--labels", tmp_path / "l.txt"): "give a folder",
    }
    for arguments, said in cases.items():
        code, out, err = cli(*arguments)
        assert (code, out) == (2, ""), err
        assert said in err
        assert err.count("\n") == 1, err


def test_a_long_file_is_heard_piece_by_piece(taught: Path, tmp_path: Path) -> None:
    classifier = SoundClassifier.load(taught)
    soundfile.write(tmp_path / "long.wav", np.concatenate([tone(2500, 50, 1), np.zeros(40 * RATE)]), RATE)
    prediction = classifier.classify(tmp_path / "long.wav", none_of_these=0)
    assert prediction.label == "small dog"
    soundfile.write(tmp_path / "still.wav", np.zeros(70 * RATE), RATE)
    assert classifier.classify(tmp_path / "still.wav").label == NONE


def test_a_long_file_is_heard_with_a_window_longer_than_a_piece(taught: Path, tmp_path: Path) -> None:
    classifier = replace(SoundClassifier.load(taught), window=45.0)
    soundfile.write(tmp_path / "long.wav", tone(2500, 65, 1), RATE)
    assert classifier.classify(tmp_path / "long.wav", none_of_these=0).label == "small dog"


def test_a_file_that_is_cut_short_is_named_and_told(taught: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "cut.wav", tone(2500, 1, 1), RATE)
    whole = (tmp_path / "cut.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(read.TruncatedAudioWarning, match="cut short"):
        prediction = SoundClassifier.load(taught).classify(tmp_path / "cut.wav", none_of_these=0)
    assert prediction.label == "small dog"


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_outside_its_range(taught: Path, share: float) -> None:
    with pytest.raises(SoundalikeError, match=r"none_of_these is .*: give a part from 0 to below 1"):
        SoundClassifier.load(taught).classify(tone(2500, 0.5), none_of_these=share)


# time lines


def test_events_are_found_where_they_are(taught: Path, recording: Path, cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli(
        "classify", recording, "--with", taught, "--every", 0.25, "--none-of-these", 0, "--labels", tmp_path / "l.txt"
    )
    assert code == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["label"] for row in rows] == ["großer Hund", "small dog"]
    times = [(float(row["start"]), float(row["end"])) for row in rows]
    assert np.abs(np.array(times) - [(2, 4), (6, 7)]).max() <= 0.5
    lines = [line.split("\t") for line in (tmp_path / "l.txt").read_text(encoding="utf-8").splitlines()]
    assert [line[2] for line in lines] == ["großer Hund", "small dog"]
    assert [(float(start), float(end)) for start, end, _ in lines] == times


def test_all_of_a_recording_is_covered_without_gaps(taught: Path, recording: Path) -> None:
    events = list(time_line(SoundClassifier.load(taught), recording, every=0.4, everything=True))
    assert events[0].start == 0
    assert all(one.end == pytest.approx(other.start) for one, other in itertools.pairwise(events))
    assert events[-1].end == 9
    assert all(one.label != other.label for one, other in itertools.pairwise(events))
    assert {event.label for event in events if event.probability is None} <= {NONE}


def test_labels_of_several_recordings_go_into_a_folder(taught: Path, barks: Path, cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("classify", barks, "--with", taught, "--every", 0.25, "--labels", tmp_path / "labels")
    assert code == 0, err
    assert len(list((tmp_path / "labels").glob("*.txt"))) == 12
    names = ["a/b.wav", "c/b.wav", "d/b (2).wav", "e/B.wav"]
    found = label_files(tmp_path / "x", [Path(name) for name in names])
    assert [path.name for path in found] == ["b.txt", "b (2).txt", "b (2) (2).txt", "B (3).txt"]


def test_labels_overwrite_no_recording_and_their_folder_is_made(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(SoundalikeError, match="has the name of a recording"):
        label_files(recording, [recording])
    assert label_files(tmp_path / "new" / "l.txt", [recording]) == [tmp_path / "new" / "l.txt"]
    assert (tmp_path / "new").is_dir()


def test_silence_has_no_events(taught: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "still.wav", np.zeros(5 * RATE), RATE)
    classifier = SoundClassifier.load(taught)
    assert list(time_line(classifier, tmp_path / "still.wav", none_of_these=0)) == []
    assert list(time_line(classifier, tmp_path / "still.wav", everything=True)) == [Event(0, 5, NONE, None)]


def predictions(labels: str) -> list[tuple[float, Prediction]]:
    """A window a second; "-" is none of these."""
    return [
        (place + 0.5, Prediction(NONE, None, 2.0, {}) if label == "-" else Prediction(label, 0.9, 0.1, {}))
        for place, label in enumerate(labels)
    ]


def test_runs_of_one_label_are_one_event() -> None:
    events = list(merged(predictions("--aaab"), 1.0))
    assert [(event.start, event.end, event.label) for event in events] == [(0, 2, NONE), (2, 5, "a"), (5, 6, "b")]
    assert list(merged([], 1.0)) == []
    likely = [(0.5, Prediction("a", 0.5, 0.1, {})), (1.5, Prediction("a", 1.0, 0.1, {}))]
    assert list(merged(likely, 1.0)) == [Event(0, 2, "a", 0.75)]


def test_a_long_event_does_not_hold_its_answers() -> None:
    held: list[weakref.ref[Prediction]] = []

    def heard() -> Iterator[tuple[float, Prediction]]:
        for place in range(100):
            prediction = Prediction("a", 0.9, 0.1, {"a": 0.9})
            held.append(weakref.ref(prediction))
            yield place + 0.5, prediction
            assert sum(reference() is not None for reference in held) < 5

    assert [(event.start, event.end) for event in merged(heard(), 1.0)] == [(0, 100)]


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ("aabaa", "aaaaa"),
        ("--a--", "-----"),
        ("--aa--", "--aa--"),
        ("-baa-", "-aaa-"),
        ("a", "a"),
        ("ab", "ab"),
        ("", ""),
        ("aa-bb", "aaabb"),
    ],
)
def test_a_window_alone_is_taken_for_a_neighbour(heard: str, expected: str) -> None:
    found = list(smoothed(predictions(heard)))
    assert "".join("-" if prediction.label == NONE else prediction.label for _, prediction in found) == expected
    assert [moment for moment, _ in found] == [moment for moment, _ in predictions(heard)]


def test_level() -> None:
    assert level(np.ones(10, np.float32)) == pytest.approx(0)
    assert level(np.full(10, 0.1, np.float32)) == pytest.approx(-20)
    assert level(np.zeros(10, np.float32)) == level(np.zeros(0, np.float32)) == -200


# as a newcomer


@needs_data
def test_a_folder_per_class_of_real_recordings(cli: Cli, tiny: Recipe, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    SoundModel(tiny).save(model)
    for clip in sorted((DATA / "ESC-10" / "audio").glob("*.ogg")):
        label = {"0": "Hund", "10": "rain of May"}.get(clip.stem.split("-")[-1])
        if label:
            (tmp_path / "sounds" / label).mkdir(parents=True, exist_ok=True)
            (tmp_path / "sounds" / label / clip.name).symlink_to(clip)
    code, out, err = cli("teach", tmp_path / "sounds", "--out", tmp_path / "b.safetensors", "--model", model)
    assert code == 0, err
    assert "rain of May" in out
    code, out, err = cli("classify", tmp_path / "sounds", "--with", tmp_path / "b.safetensors")
    assert code == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    right = [row["label"] == Path(row["path"]).parent.name for row in rows]
    assert np.mean(right) > 0.6
