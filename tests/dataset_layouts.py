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


def crema_d(folder: Path, actors: int = 8) -> Path:
    names = [
        f"AudioWAV/{1001 + actor}_{sentence}_{emotion}_XX.wav"
        for actor in range(actors)
        for sentence in ("DFA", "IEO")
        for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
    ]
    return touch(folder, [*names, "AudioWAV/README.md", "VideoDemographics.csv"])


def vivae(folder: Path, speakers: Iterable[str] = ("S01", "S02", "S11")) -> Path:
    names = [
        f"{speaker}_{emotion}_{intensity}_{number:02}.wav"
        for speaker in speakers
        for emotion in ("achievement", "anger", "fear", "pain", "pleasure", "surprise")
        for intensity in ("low", "peak")
        for number in (1, 2)
    ]
    return touch(folder, [*(f"full_set/{name}" for name in names), *(f"core_set/{name}" for name in names[::3])])


def libricount(folder: Path, each: int = 6) -> Path:
    names = [f"test/{count}_{7 * take + count}" for count in range(11) for take in range(each)]
    return touch(folder, [f"{name}{suffix}" for name in names for suffix in (".wav", ".json")])


def vocal_imitation(folder: Path, sounds: int = 4, participants: int = 9) -> Path:
    rows = [
        {
            "imitation_id": participant * sounds + sound,
            "imitation_filename": f"{participant:03}_imitation_{sound:03}.wav",
            "category_id": sound,
            "reference_filename": f"{sound:03}_reference.wav",
            "included": 0 if participant == 0 and sound == 0 else 1,
            "draft": 0,
            "participant_id": f"P{participant:03}",
        }
        for participant in range(participants)
        for sound in range(sounds)
    ]
    kept = ["excluded", "included"]
    touch(folder / "vocal_imitations", [f"{kept[int(row['included'])]}/{row['imitation_filename']}" for row in rows])
    pd.DataFrame(rows).to_csv(folder / "vocal_imitations.txt", index=False, sep="\t")
    return folder


def fsd50k(folder: Path, metadata: bool = True) -> Path:
    """30 clips of dev (every third of them val) and 9 of eval; a clip has one, two or three of four labels."""
    labels = ("Bark,Dog,Animal", "Meow,Animal", "Rain", "Dog,Animal")
    dev = [
        {"fname": 1000 + row, "labels": labels[row % 4], "mids": "/m/0", "split": "val" if row % 3 == 2 else "train"}
        for row in range(30)
    ]
    held_out = [{"fname": 2000 + row, "labels": labels[row % 4], "mids": "/m/0"} for row in range(9)]
    (folder / "FSD50K.ground_truth").mkdir(parents=True)
    for name, rows in (("dev", dev), ("eval", held_out)):
        pd.DataFrame(rows).to_csv(folder / "FSD50K.ground_truth" / f"{name}.csv", index=False)
        touch(folder, [f"FSD50K.{name}_audio/{row['fname']}.wav" for row in rows])
        if metadata:
            clips = {str(row["fname"]): {"title": "x", "uploader": f"person {row['fname'] % 7}"} for row in rows}
            touch(folder, [f"FSD50K.metadata/{name}_clips_info_FSD50K.json"])
            (folder / "FSD50K.metadata" / f"{name}_clips_info_FSD50K.json").write_text(json.dumps(clips))
    return folder


def vggsound(folder: Path) -> Path:
    lines = [
        f"video{row:02},{30 * (row % 2)},{label},{'test' if row % 4 == 3 else 'train'}"
        for row, label in enumerate(["dog barking", '"playing violin, fiddle"'] * 6)
    ]
    (folder / "vggsound.csv").parent.mkdir(parents=True, exist_ok=True)
    (folder / "vggsound.csv").write_text("\n".join(lines) + "\n")
    names = [f"video{row:02}_{30 * (row % 2):06}.wav" for row in range(8)]
    return touch(folder, [*(f"audio/{name}" for name in names), "old/video08_0_10000.wav", "old/video09.flac"])


def hear(
    folder: Path, kind: str = "multiclass", parts: Iterable[str] = ("train", "valid", "test"), **about: object
) -> Path:
    """A task of HEAR; ``kind`` is its prediction type."""
    metadata = {
        "task_name": "nsynth_pitch",
        "version": "v2.2.3",
        "mode": "5h",
        "embedding_type": "scene",
        "prediction_type": kind,
        "evaluation": ["pitch_acc", "chroma_acc"] if kind == "multiclass" else ["mAP", "d_prime"],
        **about,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task_metadata.json").write_text(json.dumps(metadata))
    for part in parts:
        several = kind == "multilabel"
        clips: dict[str, list[object]] = {
            f"{part}{row}.wav": [60 + row % 3, 90] if several and row % 2 else [60 + row % 3] for row in range(6)
        }
        (folder / f"{part}.json").write_text(json.dumps(clips))
        touch(folder, [f"{rate}/{part}/{name}" for rate in (16_000, 48_000) for name in clips])
    touch(folder, ["labelvocabulary.csv"])
    return folder
