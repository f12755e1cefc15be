"""Classes of which several may be heard at once: from the labels of a table to the events of a recording."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from soundalike.apps.classifier import NONE, load_classifier, time_line
from soundalike.apps.classifier.overlapping import calibrated, detection, merged
from soundalike.audio.segment import Segment
from soundalike.data.datasets.manifest import ListedClip
from soundalike.eval.probe import LinearProbe, fit_one_against_rest

RATE = 16_000
PITCHES = {"low": 220.0, "high": 3000.0}
TAUGHT = [("low", 1.0, 2.5), ("high", 4.0, 5.5), ("low", 7.0, 9.0), ("high", 7.2, 8.9), ("low", 10.5, 11.5)]
Cli = Callable[..., tuple[int, str, str]]


def recording(path: Path, seed: int, places: Sequence[tuple[str, float, float]] = TAUGHT, seconds: float = 13) -> Path:
    """Quiet noise with tones at their seconds."""
    draw = np.random.default_rng(seed)
    samples = 0.003 * draw.standard_normal(round(seconds * RATE))
    for label, start, end in places:
        time = np.arange(round((end - start) * RATE)) / RATE
        tone = draw.uniform(0.2, 0.3) * np.sin(2 * np.pi * PITCHES[label] * draw.uniform(0.95, 1.05) * time)
        samples[round(start * RATE) :][: len(time)] += tone
    soundfile.write(path, samples, RATE)
    return path


def table(path: Path, rows: Sequence[tuple[object, ...]]) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "start", "end", "label"), *rows])
    return path


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six recordings in which tones lie alone and on each other, and the table that says where."""
    folder = tmp_path_factory.mktemp("field")
    for number in range(6):
        recording(folder / f"{number}.wav", number)
    rows = [(f"{number}.wav", start, end, label) for number in range(6) for label, start, end in TAUGHT]
    table(folder / "calls.csv", rows)
    return folder


def test_several_events_at_once(field: Path, run: Path, tmp_path: Path, cli: Cli) -> None:
    taught, night = tmp_path / "t.safetensors", tmp_path / "night.wav"
    code, out, err = cli("teach", field / "calls.csv", "--model", run, "--out", taught, "--report", tmp_path / "r.csv")
    assert code == 0, err
    assert "several classes may be heard at once: mean average precision" in out
    places = [("high", 2.0, 6.0), ("low", 3.0, 5.0), ("low", 8.0, 10.0)]
    recording(night, 50, places, 12)
    arguments = (night, "--with", taught, "--every", 0.25, "--none-of-these", 0)
    assert cli("classify", *arguments, "--out", tmp_path / "e.csv")[0] == 0
    with (tmp_path / "e.csv").open() as stream:
        events = [(row["label"], float(row["start"]), float(row["end"])) for row in csv.DictReader(stream)]
    assert [label for label, _, _ in events] == [label for label, _, _ in places]
    times = np.array([event[1:] for event in events])
    assert np.abs(times - np.array([place[1:] for place in places])).max() <= 0.5
    (tmp_path / "min.csv").write_text("label,min\nlow,1\n")
    _, out, _ = cli("classify", *arguments, "--min", tmp_path / "min.csv")
    assert {line.split(",")[3] for line in out.splitlines()[1:]} == {"high"}
    # a file in which both are heard has a row for each
    both = recording(tmp_path / "both.wav", 60, [("low", 0.0, 1.5), ("high", 0.1, 1.4)], 1.5)
    _, out, _ = cli("classify", both, "--with", taught)
    assert sorted(line.split(",")[1] for line in out.splitlines()[1:]) == ["high", "low"]
    assert load_classifier(taught).classify(Segment(night, 8.2, 9.8)).labels == ("low",)
    assert load_classifier(taught).classify(np.zeros(RATE, np.float32)).label == NONE
    stretches = list(time_line(load_classifier(taught), night, 0.25, everything=True))
    assert [event.start for event in stretches] == sorted(event.start for event in stretches)
    assert {event.label for event in stretches} == {"low", "high", NONE}
    assert max(event.end for event in stretches) == 12


def test_labels_that_do_not_say_so_can_be_told_to_overlap(run: Path, tmp_path: Path, cli: Cli) -> None:
    for number in range(6):
        for label in PITCHES:
            (tmp_path / "in" / label).mkdir(parents=True, exist_ok=True)
            recording(tmp_path / "in" / label / f"{number}.wav", number, [(label, 0.0, 1.0)], 1)
    taught = tmp_path / "t.safetensors"
    assert cli("teach", tmp_path / "in", "--model", run, "--out", taught)[0] == 0
    assert not load_classifier(taught).overlap
    page = tmp_path / "r.html"
    code, _, err = cli("teach", tmp_path / "in", "--model", run, "--out", taught, "--overlap", "--report", page)
    assert code == 0, err
    assert "Several classes may be heard at once" in page.read_text()
    classifier = load_classifier(taught)
    assert classifier.overlap
    alone = classifier.classify(recording(tmp_path / "a.wav", 9, [("high", 0.0, 1.0)], 1))
    assert alone.labels == ("high",)


def test_a_whole_file_with_two_labels_needs_the_option(run: Path, field: Path, tmp_path: Path, cli: Cli) -> None:
    lines = [f"{field}/{number}.wav,{label}" for number in range(6) for label in ("low", "high")]
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *lines[:-1], f"{field}/5.wav,other"]))
    code, _, err = cli("teach", tmp_path / "t.csv", "--model", run, "--out", tmp_path / "t.safetensors")
    assert code == 2
    assert "list the same file, 0.wav, with different cells in column 'label'" in err
    assert "--overlap" in err
    arguments = ("--model", run, "--out", tmp_path / "t.safetensors", "--overlap")
    assert cli("teach", tmp_path / "t.csv", *arguments)[0] == 0
    assert load_classifier(tmp_path / "t.safetensors").about["clips"] == {"high": 5, "low": 6, "other": 1}


def clip(file: str, label: str, start: float | None = None, end: float = 0.0) -> ListedClip:
    segment = None if start is None else Segment(Path(file), start, end)
    return ListedClip(1, Path(file), label, "", None, "", segment)


def test_which_classes_are_heard_in_a_clip() -> None:
    clips = [
        clip("a", "rain", 0, 10),
        clip("a", "call", 2, 3),
        clip("a", "song", 9.6, 10.6),  # 0.4 of it
        clip("a", "wind", 9.5, 10.5),  # half of it
        clip("a", "late", 20, 21),
        clip("b", "call", 2, 3),
        clip("b", "rain", 2, 3),
        clip("a", "rain", 30, 31),
    ]
    kept, sets = merged(clips)
    assert [(one.path.name, one.segment.start if one.segment else None) for one in kept] == [
        ("a", 0), ("a", 2), ("a", 9.6), ("a", 9.5), ("a", 20), ("b", 2), ("a", 30),
    ]  # fmt: skip
    assert sets == [
        {"rain", "call", "wind"},
        {"rain", "call"},
        {"song", "wind"},
        {"song", "wind", "rain"},
        {"late"},
        {"call", "rain"},
        {"rain"},
    ]
    assert kept[5].label == "call"  # the rarer one


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.integers(1, 5), st.sampled_from("xyz"))))
def test_sets_are_those_of_a_slow_loop(rows: list[tuple[str, int, int, str]]) -> None:
    clips = [clip(file, label, start, start + length) for file, start, length, label in rows]
    kept, sets = merged(clips)
    for one, labels in zip(kept, sets, strict=True):
        expected = set()
        for other in clips:
            assert one.segment is not None
            assert other.segment is not None
            shared = min(one.segment.end, other.segment.end) - max(one.segment.start, other.segment.start)
            if one.path == other.path and shared >= 0.5 * min(one.segment.seconds, other.segment.seconds):
                expected.add(other.label)
        assert labels == expected


def test_probabilities_are_right() -> None:
    draw = np.random.default_rng(0)
    true = draw.normal([0.0, -2.0], 2, (4000, 2))
    truth = draw.random((4000, 2)) < 1 / (1 + np.exp(-true))
    probe = LinearProbe(np.array(["a", "b"]), *[np.zeros(3)] * 2, np.ones((3, 2)), np.zeros(2), 1.0, True)
    fitted, logits = calibrated(probe, 3 * true + 1, truth)  # too sure, and off
    np.testing.assert_allclose(logits, true, atol=0.5)
    np.testing.assert_allclose(fitted.weights, np.full((3, 2), 1 / 3), atol=0.05)
    few, _ = calibrated(probe, np.array([[9.0, 1.0], [-9.0, 1.0]]), np.array([[True, True], [False, True]]))
    assert 0 < few.weights[0, 0] < 1  # two clips give no certainty
    assert few.weights[0, 1] == 1  # of a class that is in all of them nothing is known
    found = detection(["a", "b"], np.array([[1.0, -1], [-1, -1]]), np.array([[True, False], [True, False]]), "so")
    assert (found.recall[0], found.precision[0]) == (0.5, 1.0)
    assert np.isnan(found.recall[1])
    assert found.mean == 1


def test_each_class_is_a_logistic_regression_of_its_own() -> None:
    from sklearn.linear_model import LogisticRegression

    draw = np.random.default_rng(1)
    rows = draw.normal(size=(60, 5)).astype(np.float32)
    targets = rows[:, :2] + draw.normal(0, 0.5, (60, 2)) > 0
    probe = fit_one_against_rest(rows, targets, ["a", "b"], strengths=[0.1])
    scaled = (rows - rows.mean(0)) / rows.std(0) / np.sqrt(5)
    for column in range(2):
        slow = LogisticRegression(C=10, tol=1e-6).fit(scaled, targets[:, column])
        np.testing.assert_allclose(probe.logits(rows)[:, column], slow.decision_function(scaled), atol=2e-2)
    chosen = fit_one_against_rest(rows, targets, ["a", "b"], groups=np.arange(60) // 2)
    assert chosen.strength < 10
