from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dataset_layouts import check, check_groups, nsynth, touch
from soundalike.core.errors import SoundalikeError
from soundalike.data import datasets


def test_family(tmp_path: Path) -> None:
    dataset = datasets.read("nsynth-family", nsynth(tmp_path))
    assert dataset.name == "nsynth-family"
    assert dataset.protocol == "published nsynth-train / nsynth-valid / nsynth-test (2 of the 11 families)"
    assert dataset.classes == ["bass", "synth_lead"]
    assert dataset.missing == 0
    check(dataset)
    check_groups(dataset)
    (split,) = dataset.splits()
    assert split.validation is not None
    for rows, part in ((split.train, "train"), (split.validation, "valid"), (split.test, "test")):
        assert {path.parts[-3] for path in np.array(dataset.paths)[rows]} == {f"nsynth-{part}"}
    assert (len(split.train), len(split.validation), len(split.test)) == (24, 16, 16)
    clip = dataset.clips[0]
    assert clip.path == tmp_path / "nsynth-train" / "audio" / "bass_electronic_000-009-025.wav"
    assert (clip.label, clip.group, clip.split) == ("bass", "bass_electronic_000", "train")


def test_pitches_sort_by_number(tmp_path: Path) -> None:
    dataset = datasets.read("nsynth-pitch", nsynth(tmp_path))
    assert dataset.classes == ["009", "060", "101", "118"]
    assert dataset.protocol == "published nsynth-train / nsynth-valid / nsynth-test"
    assert [int(path.stem.split("-")[1]) for path in dataset.paths] == [int(label) for label in dataset.labels]
    check(dataset)


@pytest.mark.parametrize(
    ("parts", "protocol"),
    [
        (("train", "test"), "published nsynth-train / nsynth-test"),
        (("train", "valid"), "published nsynth-train, tested on nsynth-valid, since nsynth-test is not there"),
        (
            ("valid", "test"),
            "4 folds, grouped by instrument (4 groups), of nsynth-valid and nsynth-test, "
            "since nsynth-train is not there",
        ),
        (("test",), "4 folds, grouped by instrument (4 groups), of nsynth-test, since nsynth-train is not there"),
        (("train",), "5 folds, grouped by instrument (8 groups), of nsynth-train, since nsynth-test is not there"),
    ],
)
def test_some_of_the_parts(tmp_path: Path, parts: tuple[str, ...], protocol: str) -> None:
    dataset = datasets.read("nsynth-pitch", nsynth(tmp_path, parts))
    assert dataset.protocol == protocol
    check(dataset)
    check_groups(dataset)
    assert {path.parts[-3] for path in dataset.paths} == {f"nsynth-{part}" for part in parts}
    family = datasets.read("nsynth-family", tmp_path)
    assert family.protocol == f"{protocol} (2 of the 11 families)"
    for split in family.splits():
        assert set(family.labels[split.train]) == {"bass", "synth_lead"}


def test_missing_notes_and_other_formats(tmp_path: Path) -> None:
    audio = nsynth(tmp_path, ["train", "test"]) / "nsynth-train" / "audio"
    (audio / "bass_electronic_000-009-025.wav").unlink()
    (audio / "bass_electronic_000-060-025.wav").rename(audio / "bass_electronic_000-060-025.flac")
    touch(audio, ["bass_electronic_000-101-025.ogg", "stray.wav", "notes.txt"])
    dataset = datasets.read("nsynth-family", tmp_path)
    assert (dataset.missing, len(dataset.clips)) == (1, 39)
    names = [path.name for path in dataset.paths]
    assert names[:2] == ["bass_electronic_000-060-025.flac", "bass_electronic_000-101-025.wav"]


def test_no_audio(tmp_path: Path) -> None:
    folder = nsynth(tmp_path, ["test"])
    (folder / "nsynth-test" / "audio").rename(folder / "elsewhere")
    with pytest.raises(SoundalikeError, match=r"none of the 16 notes that examples\.json lists is in audio/"):
        datasets.read("nsynth-family", folder)


def test_one_instrument(tmp_path: Path) -> None:
    folder = nsynth(tmp_path, ["test"])
    for path in (folder / "nsynth-test" / "audio").iterdir():
        if not path.name.startswith("bass_electronic_004"):
            path.unlink()
    with pytest.raises(SoundalikeError, match=r"all notes are of one instrument, 'bass_electronic_004'"):
        datasets.read("nsynth-pitch", folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pitch": None}, r"note 'bad' has pitch None"),
        ({"pitch": 128}, r"note 'bad' has pitch 128: a MIDI number from 0 to 127"),
        ({"pitch": True}, r"note 'bad' has pitch True"),
        ({"pitch": "60"}, r"note 'bad' has pitch '60'"),
        ({"instrument_str": ""}, r"note 'bad' names no instrument"),
        ({"instrument_family_str": 3}, r"note 'bad' names no instrument or no family"),
    ],
)
def test_a_bad_note(tmp_path: Path, change: dict[str, object], said: str) -> None:
    source = nsynth(tmp_path) / "nsynth-valid" / "examples.json"
    notes = json.loads(source.read_text())
    notes["bad"] = next(iter(notes.values())) | change
    source.write_text(json.dumps(notes))
    with pytest.raises(SoundalikeError, match=rf"nsynth-valid/examples\.json: {said}"):
        datasets.read("nsynth-pitch", tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": {', "not JSON that can be read"),
        ("", "not JSON that can be read"),
        (b"\xff\xfe\x00", "not JSON that can be read"),
        ("[1, 2]", "no table of notes"),
        ('{"a": 3}', "note 'a' has no 'instrument_str'"),
        ('{"a": {"instrument_str": "x", "pitch": 60}}', "note 'a' has no 'instrument_family_str'"),
        ("{}", "nothing"),
    ],
)
def test_a_bad_json(tmp_path: Path, text: str | bytes, said: str) -> None:
    source = nsynth(tmp_path) / "nsynth-train" / "examples.json"
    source.write_bytes(text if isinstance(text, bytes) else text.encode())
    if said == "nothing":  # a part with no notes is as good as not there
        assert "since nsynth-train is not there" in datasets.read("nsynth-family", tmp_path).protocol
        return
    with pytest.raises(SoundalikeError, match=rf"nsynth-train/examples\.json: {said}"):
        datasets.read("nsynth-family", tmp_path)
