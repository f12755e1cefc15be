"""Small copies of published layouts, and what must hold for every data set."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from soundalike.data.datasets import Dataset

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SOUNDALIKE_DATA", "nowhere"))


def touch(folder: Path, names: Iterable[str]) -> Path:
    """Files with contents of their own: only names and bytes matter to a reader."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def esc(folder: Path, classes: int = 12, suffix: str = ".wav") -> Path:
    rows = [
        {
            "filename": f"{fold}-{100 * fold + kind}-{take}-{kind}.wav",
            "fold": fold,
            "target": kind,
            "category": f"class_{kind:02}",
            "esc10": kind < 10,
            "src_file": 100 * fold + kind,
            "take": take,
        }
        for fold in range(1, 6)
        for kind in range(classes)
        for take in "AB"
    ]
    touch(folder, [f"audio/{row['filename']}".replace(".wav", suffix) for row in rows])
    (folder / "meta").mkdir()
    pd.DataFrame(rows).to_csv(folder / "meta" / "esc50.csv", index=False)
    return folder


def fsdd(folder: Path, speakers: Iterable[str] = ("theo", "jackson", "lucas")) -> Path:
    return touch(
        folder, [f"recordings/{digit}_{name}_{take}.wav" for digit in range(10) for name in speakers for take in "01"]
    )


def commands(folder: Path) -> Path:
    speakers = [f"{number:08x}" for number in range(6)]
    touch(
        folder,
        [f"{word}/{speaker}_nohash_{take}.wav" for word in ("yes", "no") for speaker in speakers for take in "01"],
    )
    touch(folder, ["_background_noise_/README.md"])
    (folder / "validation_list.txt").write_text("yes/00000000_nohash_0.wav\nno/00000000_nohash_0.wav\n")
    (folder / "testing_list.txt").write_text("yes/00000001_nohash_1.wav\nno/ffffffff_nohash_0.wav\n")
    return folder


def check(dataset: Dataset) -> None:
    """What must hold for every data set: parts do not overlap, and by folds each clip is tested once."""
    splits = list(dataset.splits())
    for split in splits:
        parts = [split.train, split.test, *([] if split.validation is None else [split.validation])]
        rows = np.concatenate(parts)
        assert len(rows) == len(set(rows.tolist())) == len(dataset.clips)
        assert all(part.dtype.kind == "i" and len(part) for part in parts)
    if splits[0].name != "official":
        tested = np.concatenate([split.test for split in splits])
        assert sorted(tested.tolist()) == list(range(len(dataset.clips)))
    assert len(dataset.paths) == len(dataset.labels) == len(dataset.groups) == len(dataset.clips)


def check_groups(dataset: Dataset) -> None:
    for split in dataset.splits():
        assert not set(dataset.groups[split.train]) & set(dataset.groups[split.test])


def folds_of(dataset: Dataset) -> dict[str, int]:
    return {clip.path.stem: clip.fold for clip in dataset.clips}


def background(folder: Path, lengths: Mapping[str, float]) -> Path:
    """``_background_noise_`` of Speech Commands: recordings (name -> seconds) in which no two samples agree."""
    (folder / "_background_noise_").mkdir(exist_ok=True)
    (folder / "_background_noise_" / "README.md").write_text("who recorded what")
    first = -30_000
    for name, seconds in lengths.items():
        samples = first + np.arange(round(seconds * 1000))  # a step every 16 samples: 16-bit numbers are few
        first += len(samples)
        assert first < 32_767
        path = folder / "_background_noise_" / f"{name}.wav"
        soundfile.write(path, np.repeat(samples, 16).astype(np.int16), 16_000, subtype="PCM_16")
    return folder


def urbansound(folder: Path) -> Path:
    rows = [
        {
            "slice_file_name": f"{1000 * fold + kind}-{kind}-0-{take}.wav",
            "fsID": 1000 * fold + kind,
            "start": 0.5 * take,
            "end": 0.5 * take + 4.0,
            "salience": 1,
            "fold": fold,
            "classID": kind,
            "class": f"class_{kind}",
        }
        for kind in range(10)
        for fold in range(1, 11)
        for take in range(2)
    ]
    touch(folder, [f"audio/fold{row['fold']}/{row['slice_file_name']}" for row in rows])
    touch(folder, ["audio/fold1/.DS_Store", "UrbanSound8K_README.txt"])
    (folder / "metadata").mkdir()
    pd.DataFrame(rows).to_csv(folder / "metadata" / "UrbanSound8K.csv", index=False)
    return folder


def note(instrument: str, pitch: int, velocity: int = 100) -> tuple[str, dict[str, object]]:
    """An entry of NSynth's examples.json: its name, and its fields."""
    name = f"{instrument}-{pitch:03}-{velocity:03}"
    family, source, _ = instrument.rsplit("_", 2)
    return name, {
        "note": 7,
        "sample_rate": 16_000,
        "instrument_family": 0,
        "qualities": [0] * 10,
        "instrument_source_str": source,
        "note_str": name,
        "instrument_family_str": family,
        "instrument_str": instrument,
        "pitch": pitch,
        "instrument": 417,
        "velocity": velocity,
        "instrument_source": 2,
        "qualities_str": ["dark"],
    }


def nsynth(folder: Path, parts: Iterable[str] = ("train", "valid", "test")) -> Path:
    """Instruments 0 to 3 of two families in train, 4 and 5 in valid and in test, with one pitch that train lacks."""
    numbers = {"train": range(4), "valid": range(4, 6), "test": range(4, 6)}
    for part in parts:
        velocity = {"train": 25, "valid": 50, "test": 75}[part]
        pitches = (9, 60, 101) if part == "train" else (9, 60, 101, 118)
        notes = dict(
            note(f"{family}_{number:03}", pitch, velocity)
            for family in ("bass_electronic", "synth_lead_synthetic")
            for number in numbers[part]
            for pitch in pitches
        )
        touch(folder / f"nsynth-{part}", [f"audio/{name}.wav" for name in notes])
        (folder / f"nsynth-{part}" / "examples.json").write_text(json.dumps(notes, indent=4))
    return folder
