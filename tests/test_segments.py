"""Segments: labels that have a place in time, from tables, Raven and Audacity, through the commands that take them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import soundalike
from soundalike.audio import read
from soundalike.audio.segment import Segment
from soundalike.core.errors import AudioError, SoundalikeError, SoundWarning
from soundalike.data import datasets
from soundalike.data.label_files import RAVEN_COLUMNS, recording_of
from soundalike.data.segments import read_rows, read_sounds

RATE = 16_000
Cli = Callable[..., tuple[int, str, str]]
PLACES = {"low": (1.0, 1.6), "high": (3.0, 3.7)}
"""Seconds of the sound of each class in every recording of `recordings`."""


def tone(hertz: float, seconds: float, seed: int) -> np.ndarray:
    """A sine with a little noise, another one with every seed."""
    draw = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    sine = np.sin(2 * np.pi * (hertz * draw.uniform(0.95, 1.05) * time + draw.uniform()))
    return (0.3 * sine + 0.01 * draw.standard_normal(len(time))).astype(np.float32)


def recording(path: Path, seed: int, rate: int = RATE) -> Path:
    """Five seconds of a loud hiss in which a low and a high tone stand, alone, at their `PLACES`."""
    samples = 0.3 * np.random.default_rng(seed).standard_normal(5 * RATE).astype(np.float32)
    for (start, end), hertz in zip(PLACES.values(), (200, 2500), strict=True):
        samples[round(start * RATE) : round(end * RATE)] = tone(hertz, end - start, seed)
    soundfile.write(path, samples, rate)
    return path


def write_table(path: Path, rows: list[dict[str, object]]) -> Path:
    """A table with a header; tabs between the cells unless it is CSV."""
    with path.open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]), delimiter="," if path.suffix == ".csv" else "\t")
        table.writeheader()
        table.writerows(rows)
    return path


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six recordings, and ``labels.csv`` with two segments of each."""
    folder = tmp_path_factory.mktemp("recordings")
    rows = []
    for number in range(6):
        recording(folder / f"rec{number}.wav", number)
        rows += [
            {"path": f"rec{number}.wav", "start": start, "end": end, "label": label, "low_hz": 100}
            for label, (start, end) in PLACES.items()
        ]
    write_table(folder / "labels.csv", rows)
    return folder


# reading audio


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff"])
def test_a_segment_is_what_lies_there(tmp_path: Path, suffix: str) -> None:
    path = recording(tmp_path / f"a{suffix}", 3)
    whole = read.load(path)
    for start, end in [(0.0, 0.5), (1.0, 1.6), (4.9, 5.0), (0.00003, 0.001)]:
        part = read.load(Segment(path, start, end))
        np.testing.assert_array_equal(part, whole[round(start * RATE) : round(end * RATE)][: len(part)])
        assert abs(len(part) - (end - start) * RATE) <= 1
        blocks = list(read.Blocks(Segment(path, start, end), seconds=0.1))
        np.testing.assert_array_equal(np.concatenate(blocks), part)


def test_a_resampled_segment_hears_nothing_around_it(tmp_path: Path) -> None:
    samples = np.ones(44_100, np.float32)
    samples[11_025:22_050] = 0
    soundfile.write(tmp_path / "a.wav", samples, 44_100)
    with pytest.warns(SoundWarning, match="0.25 to 0.5 s: is silent"):
        part = read.load(Segment(tmp_path / "a.wav", 0.25, 0.5))
    assert len(part) == 4000
    assert np.abs(part).max() == 0


def test_segments_beyond_the_end(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.wav", 0)
    with pytest.raises(AudioError, match="is 5 s long, and the segment begins at 3000 s; times are in seconds"):
        read.load(Segment(path, 3000, 3600))
    decoded = read.decode(Segment(path, 4, 7), [RATE])
    assert len(decoded.waveforms[RATE]) == RATE
    assert decoded.note == "ends at 5 s, and the segment at 7 s."
    assert read.decode(Segment(path, 4, 5.05), [RATE]).note is None  # a rounded time


# tables


@pytest.mark.parametrize(
    ("names", "cells"),
    [
        (("start", "end"), ("1.5", "2.25")),
        (("onset", "offset"), ("1.5", "2.25")),
        (("Begin Time (s)", "End Time (s)"), ("1.5", "2.25")),
        (("start_time", "stop_time"), ("1,5", "2,25")),
        (("start_s", "duration"), ("1.5", "0.75")),
        (("offset", "duration"), ("1.5", "0.75")),
        (("tmin", "tmax"), ("1.5", "2.25")),
    ],
)
def test_usual_names_of_times(tmp_path: Path, names: tuple[str, str], cells: tuple[str, str]) -> None:
    row = {"path": "a.wav", **dict(zip(names, cells, strict=True)), "Low Freq (Hz)": "300", "f_max": "4000"}
    (found,) = read_sounds(write_table(tmp_path / "t.tsv", [row]))
    assert found == Segment(tmp_path / "a.wav", 1.5, 2.25, 300, 4000)


def test_rows_of_json_lines_and_without_times(tmp_path: Path) -> None:
    table = tmp_path / "t.jsonl"
    rows = [{"path": "a.wav", "start": 1, "end": 2.5, "label": "x"}, {"path": "b.wav", "start": None, "end": None}]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_rows(table, ("label",))
    assert [row.sound for row in found] == [Segment(tmp_path / "a.wav", 1, 2.5), tmp_path / "b.wav"]
    assert [row.cells["label"] for row in found] == ["x", ""]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"start_ms": 1500, "end_ms": 2000}, "column 'start_ms' looks like times"),
        ({"begin_frame": 100}, "column 'begin_frame' looks like times"),
        ({"Time": "00:01:02"}, "column 'Time' looks like times"),
        ({"start": 3.5}, "has a column 'start' and none for the end"),
        ({"end": 3.5}, "has a column 'end' and none for the start"),
        ({"start": 2, "end": 2}, "row 2: from 2 to 2 s is no stretch of time"),
        ({"start": 2, "end": 1}, "row 2: from 2 to 1 s is no stretch of time"),
        ({"start": "0:02", "end": 3}, "row 2, column 'start': '0:02' is not a number of seconds"),
        ({"start": -1, "end": 3}, "row 2, column 'start': '-1' is not a number of seconds"),
        ({"start": 1, "end": ""}, "row 2, column 'end': the cell is empty"),
        ({"start": "nan", "end": 1}, "'nan' is not a number of seconds"),
        ({"start": 0, "onset": 0, "end": 1}, "columns 'start' and 'onset' may mean the same"),
    ],
)
def test_times_that_are_not_understood_are_refused(tmp_path: Path, columns: dict[str, object], said: str) -> None:
    table = write_table(tmp_path / "t.csv", [{"path": "a.wav", "label": "x", **columns}])
    with pytest.raises(SoundalikeError, match=said.replace("(", r"\(")):
        read_sounds(table)


@pytest.mark.parametrize("columns", [{"duration": 3.2}, {"time": "after rain"}, {"friend": 3}, {"length": 2}])
def test_other_columns_are_no_times(tmp_path: Path, columns: dict[str, object]) -> None:
    assert read_sounds(write_table(tmp_path / "t.csv", [{"path": "a.wav", **columns}])) == [tmp_path / "a.wav"]


# Raven and Audacity


def selection(number: int, begin: float, end: float, **more: object) -> dict[str, object]:
    cells = (number, "Spectrogram 1", 1, begin, end, 100.0, 4000.0)
    return {**dict(zip(RAVEN_COLUMNS, cells, strict=True)), **more}


def test_raven_beside_its_recording(tmp_path: Path) -> None:
    recording(tmp_path / "owl.2.wav", 0)
    waveform = selection(1, 1, 1.6, Annotation="low") | {"View": "Waveform 1", "Low Freq (Hz)": ""}
    rows = [waveform, selection(1, 1, 1.6, Annotation="low"), selection(2, 3, 3.7, Annotation="high")]
    table = write_table(tmp_path / "owl.2.Table.1.selections.txt", rows)
    found = read_rows(table, ("label",), ("label",))
    assert [(row.sound, row.cells["label"]) for row in found] == [
        (Segment(tmp_path / "owl.2.wav", 1, 1.6, 100, 4000), "low"),  # once, though two views list it
        (Segment(tmp_path / "owl.2.wav", 3, 3.7, 100, 4000), "high"),
    ]


def test_raven_over_several_files(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        recording(tmp_path / name, 0)
    # times count from the beginning of the first file, offsets from that of each
    rows = [
        selection(1, 1, 1.6, **{"Begin Path": "C:\\field\\a.wav", "File Offset (s)": 1, "Species": "low"}),
        selection(2, 8, 8.7, **{"Begin Path": "C:\\field\\b.wav", "File Offset (s)": 3, "Species": "high"}),
    ]
    found = read_sounds(write_table(tmp_path / "t.txt", rows))
    assert [(sound.path.name, sound.start, round(sound.end, 6)) for sound in found if isinstance(sound, Segment)] == [
        ("a.wav", 1, 1.6),
        ("b.wav", 3, 3.7),
    ]
    for row in rows:
        del row["File Offset (s)"]
    with pytest.raises(SoundalikeError, match="without the column 'File Offset"):
        read_sounds(write_table(tmp_path / "t.txt", rows))


def test_the_label_column_of_raven(tmp_path: Path) -> None:
    recording(tmp_path / "a.wav", 0)
    own = [selection(1, 1, 2, Quack="low", **{"Peak Freq (Hz)": 3.0})]
    table = write_table(tmp_path / "a.selections.txt", own)
    assert read_rows(table, ("label",), ("label",))[0].cells["label"] == "low"
    write_table(table, [selection(1, 1, 2, Quack="low", Mood="good")])
    assert len(read_sounds(table)) == 1
    with pytest.raises(SoundalikeError, match="which of the columns 'quack', 'mood' holds the labels is not told"):
        read_rows(table, ("label",), ("label",))
    write_table(table, [selection(1, 1, 2)])
    with pytest.raises(SoundalikeError, match="has no column with labels; call the one with labels 'Annotation'"):
        read_rows(table, ("label",), ("label",))


def test_audacity_beside_its_recording(tmp_path: Path) -> None:
    recording(tmp_path / "a.wav", 0)
    track = tmp_path / "a.txt"
    track.write_text("1.000000\t1.600000\tlow\n\\\t150.5\t-1.0\n3.0\t3.7\thigh one\n")
    found = read_rows(track, ("label",), ("label",))
    assert [(row.sound, row.cells["label"]) for row in found] == [
        (Segment(tmp_path / "a.wav", 1, 1.6, 150.5, None), "low"),
        (Segment(tmp_path / "a.wav", 3, 3.7), "high one"),
    ]
    track.write_text("1.0\t1.0\tlow\n")
    with pytest.raises(SoundalikeError, match="row 1: from 1 to 1 s is no stretch of time; labels need a length"):
        read_sounds(track)
    track.write_text("1.0\t2.0\tlow\nhello\n")
    with pytest.raises(SoundalikeError, match="row 2: not start, end and label"):
        read_sounds(track)
    recording(tmp_path / "a.flac", 0)
    with pytest.raises(SoundalikeError, match=r"lies beside a\.flac and a\.wav"):
        recording_of(track)
    with pytest.raises(SoundalikeError, match="no sound beside it is called 'b'"):
        recording_of(tmp_path / "b.txt")


# commands


def test_folds_keep_a_file_together(recordings: Path, tmp_path: Path) -> None:
    dataset = datasets.read("manifest", recordings / "labels.csv")
    assert len(dataset.sounds) == 12
    assert all(isinstance(sound, Segment) for sound in dataset.sounds)
    folds = dict(zip(dataset.paths, [clip.fold for clip in dataset.clips], strict=True))
    assert [folds[path] for path in dataset.paths] == [clip.fold for clip in dataset.clips]
    assert len({*folds.values()}) == 5
    apart = [
        {"path": str(recordings / "rec0.wav"), "start": 1, "end": 2, "label": "a", "fold": 1},
        {"path": str(recordings / "rec0.wav"), "start": 2, "end": 3, "label": "b", "fold": 2},
    ]
    with pytest.raises(SoundalikeError, match="lies in folds 1 and 2"):
        datasets.read("manifest", write_table(tmp_path / "t.csv", apart))


def test_teach_and_classify_by_what_is_inside(recordings: Path, run: Path, tmp_path: Path, cli: Cli) -> None:
    code, out, _ = cli(
        "teach", recordings / "labels.csv", "--model", run, "--out", tmp_path / "t.safetensors", "--window", 0.5
    )
    assert code == 0
    assert "accuracy 100.0 %" in out
    assert "grouped by file" in out
    recording(tmp_path / "new.wav", 77)
    rows = [{"path": "new.wav", "start": start, "end": end} for start, end in [*PLACES.values(), (1.2, 1.5)]]
    write_table(tmp_path / "q.csv", rows)
    taught = ("--with", tmp_path / "t.safetensors", "--none-of-these", 0)
    assert cli("classify", tmp_path / "q.csv", *taught, "--out", tmp_path / "a.csv")[0] == 0
    found = rows_of(tmp_path / "a.csv")
    assert [(row["start"], row["end"], row["label"]) for row in found] == [
        ("1.0", "1.6", "low"),
        ("3.0", "3.7", "high"),
        ("1.2", "1.5", "low"),
    ]


def test_teach_a_folder_of_label_tracks(recordings: Path, run: Path, tmp_path: Path, cli: Cli) -> None:
    for number in range(3):
        recording(tmp_path / f"r{number}.wav", number)
        lines = [f"{start:.6f}\t{end:.6f}\t{label}\n" for label, (start, end) in PLACES.items()]
        (tmp_path / f"r{number}.txt").write_text("".join(lines))
    (tmp_path / "readme.txt").write_text("Recordings of tones.\n")
    out = tmp_path / "t.safetensors"
    code, said, _ = cli("teach", tmp_path, "--model", run, "--out", out)
    assert code == 0
    assert "low       3 clips  3 of 3 correct" in said
    code, said, warned = cli("teach", tmp_path / "r0.txt", "--model", run, "--out", out)
    assert code == 0
    assert "no class has segments of two files" in warned


def test_embed_names_file_start_and_end(recordings: Path, run: Path, tmp_path: Path, cli: Cli) -> None:
    table = tmp_path / "e.csv"
    assert cli("embed", recordings / "labels.csv", "--model", run, "--out", table)[0] == 0
    found = rows_of(table)
    assert [list(row)[:6] for row in found[:1]] == [["path", "start", "end", "low", "high", "e0"]]
    assert (found[0]["start"], found[0]["end"], found[0]["low"], found[0]["high"]) == ("1.0", "1.6", "100.0", "")
    vectors = np.array([[float(row[name]) for name in row if name[0] == "e" and name != "end"] for row in found])
    vectors -= vectors.mean(0)
    # nearest to each is one of its class, in another file, since what is embedded is the segment and not the file
    alike = vectors @ vectors.T / np.outer(*[np.linalg.norm(vectors, axis=1)] * 2)
    np.fill_diagonal(alike, -2)
    assert (alike.argmax(1) % 2 == np.arange(12) % 2).all()
    # what was written is read as the same segments
    assert [str(sound) for sound in read_sounds(table)] == [
        str(sound) for sound in read_sounds(recordings / "labels.csv")
    ]


def test_map_and_evaluate_name_segments(recordings: Path, run: Path, tmp_path: Path, cli: Cli) -> None:
    page = tmp_path / "map.html"
    assert cli("map", recordings / "labels.csv", "--model", run, "--out", page)[0] == 0
    assert "rec3.wav, 3 to 3.7 s" in page.read_text()
    table = ("--task", "manifest", "--data", recordings / "labels.csv")
    assert cli("evaluate", run, *table, "--out", tmp_path / "e", "--probe", "linear")[0] == 0
    (task,) = json.loads((tmp_path / "e" / "results.json").read_text())["tasks"]
    assert task["clips"][:2] == ["rec0.wav, 1 to 1.6 s", "rec0.wav, 3 to 3.7 s"]
    assert task["scores"]["model"]["probes"]["linear"]["mean"] == 1.0


def test_broken_segments_are_named_and_training_refuses_segments(
    recordings: Path, run: Path, tmp_path: Path, cli: Cli
) -> None:
    rows = [
        {"path": str(recordings / "rec0.wav"), "start": start, "end": start + 1, "label": label}
        for start, label in [(0, "a"), (3000, "b")]
    ]
    write_table(tmp_path / "t.csv", rows)
    code, _, said = cli("embed", tmp_path / "t.csv", "--model", run, "--out", tmp_path / "e.npz")
    assert code == 1
    assert "rec0.wav, 3000 to 3001 s: is 5 s long, and the segment begins at 3000 s" in said
    table = ("--task", "manifest", "--data", recordings / "labels.csv")
    code, _, said = cli("pretrain", "--recipe", "clar-cpu", *table, "--out", tmp_path / "r")
    assert code == 2
    assert "its clips are segments of files, and training takes whole files" in said


def test_search_for_segments(recordings: Path, run: Path, tmp_path: Path, cli: Cli) -> None:
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    for name, hertz in (("low", 200), ("high", 2500)):
        soundfile.write(sounds / f"{name}.wav", tone(hertz, 0.6, 5), RATE)
    assert cli("index", sounds, "--model", run, "--out", tmp_path / "i")[0] == 0
    code, out, err = cli("search", recordings / "labels.csv", "--index", tmp_path / "i", "--count", 1)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].endswith("rec0.wav, 1 to 1.6 s")
    assert [Path(line.split()[-1]).stem for line in lines[1::2]] == ["low", "high"] * 6


def test_a_selection_of_one_channel_is_heard_in_that_one(tmp_path: Path) -> None:
    left, right = tone(300, 4, 1), tone(2000, 4, 2)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "one.wav", left, RATE)

    def table(rows: list[tuple[int, int, float, str]], name: str = "a.wav") -> list[Segment]:
        lines = [
            f"{number}\tSpectrogram 1\t{channel}\t{start}\t{start + 1}\t0\t8000\t{name}\t{label}"
            for number, channel, start, label in rows
        ]
        place = tmp_path / "a.selections.txt"
        place.write_text("\n".join(["\t".join([*RAVEN_COLUMNS, "Begin File", "Annotation"]), *lines]))
        return [row.sound for row in read_rows(place, ("label",)) if isinstance(row.sound, Segment)]

    first, second, both = table([(1, 1, 0.5, "x"), (2, 2, 1.5, "y"), (3, 1, 2.5, "z"), (3, 2, 2.5, "z")])
    assert [sound.channel for sound in (first, second, both)] == [1, 2, None]
    np.testing.assert_array_equal(read.load(first), left[RATE // 2 : 3 * RATE // 2])
    np.testing.assert_array_equal(np.concatenate(list(read.Blocks(second, seconds=0.1))), right[24_000:40_000])
    np.testing.assert_allclose(read.load(both), (left + right)[40_000:56_000] / 2, atol=1e-6)
    assert str(second).endswith("a.wav, 1.5 to 2.5 s, channel 2")
    assert table([(1, 1, 0.5, "x")])[0].channel is None  # Raven says so of every recording with one
    with pytest.raises(AudioError, match="has 1 channel, and the segment is of channel 2"):
        read.load(table([(1, 2, 0.5, "x")], "one.wav")[0])


def test_python_takes_segments_as_it_takes_files(recordings: Path, run: Path, tmp_path: Path, cli: Cli) -> None:
    taught = tmp_path / "t.safetensors"
    assert cli("teach", recordings / "labels.csv", "--model", run, "--out", taught)[0] == 0
    model, classifier = soundalike.load(run), soundalike.load_classifier(taught)
    sounds = [soundalike.Segment(str(recordings / f"rec{number}.wav"), *PLACES["high"]) for number in (0, 1)]
    expected = [model.embed(read.load(sound)) for sound in sounds]
    np.testing.assert_allclose(model.embed(sounds), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.embed(sounds[0]), expected[0], rtol=1e-5, atol=1e-5)
    assert [each.label for each in classifier.classify([*sounds, recordings / "rec0.wav"])][:2] == ["high", "high"]
    assert classifier.classify(sounds[1]).label == "high"


@pytest.mark.parametrize("task", ["esc10", "folder", "manifest"])
def test_evaluate_calls_a_url_a_url(cli: Cli, task: str) -> None:
    code, _, err = cli("evaluate", "--task", task, "--data", "https://example.org/x.csv")
    assert code == 2
    assert err == "soundalike: https://example.org/x.csv: is a URL, and soundalike reads files: download it first.\n"
