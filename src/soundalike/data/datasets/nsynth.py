"""NSynth (Engel et al., 2017, https://arxiv.org/abs/1704.01279): notes of instruments, as its jsonwav archives."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundalike.audio.read import SUFFIXES
from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.listing import part
from soundalike.data.datasets.table import SPLITS, Dataset, build

LAYOUT = "nsynth-train/, nsynth-valid/ and nsynth-test/ (or some of them), each with examples.json and audio/"
_FAMILIES = 11
_PARTS = {"train": "nsynth-train", "validation": "nsynth-valid", "test": "nsynth-test"}
_FIELDS = ("instrument_str", "instrument_family_str", "pitch")
_FOLDS = 5


@dataclass(frozen=True)
class _Note:
    path: Path
    instrument: str
    family: str
    pitch: int  # MIDI number
    split: str


def holds(folder: Path) -> bool:
    """Whether the folder holds a part of NSynth."""
    return any((folder / inner / "examples.json").is_file() for inner in _PARTS.values())


def read_family(folder: Path) -> Dataset:
    """Every note, labelled with the family of its instrument, 11 families; split as ``read_pitch``.

    The published valid and test parts hold no ``synth_lead``.
    """
    notes, missing = _notes(folder)
    return _dataset("nsynth-family", folder, notes, [note.family for note in notes], missing)


def read_pitch(folder: Path) -> Dataset:
    """Every note, labelled with its MIDI number in three digits (``060``), so that labels sort by pitch.

    Instruments are groups. The published parts are train, validation and test where nsynth-train is there with at
    least one of the others; of train and valid alone, valid is the test part. The instruments of train are in none
    of the others, but valid and test share theirs: without train, and with one part alone, neither can be trained
    on to test the other. All notes that are there then go into folds by instrument, and the protocol says so.
    """
    notes, missing = _notes(folder)
    return _dataset("nsynth-pitch", folder, notes, [f"{note.pitch:03}" for note in notes], missing)


def _notes(folder: Path) -> tuple[list[_Note], int]:
    """The notes on disk, and how many are listed but not there."""
    notes: list[_Note] = []
    count = 0
    for split, inner in _PARTS.items():
        if (folder / inner / "examples.json").is_file():
            files = _files(folder / inner / "audio")
            for name, (instrument, family, pitch) in _listed(folder / inner / "examples.json"):
                count += 1
                if name in files:
                    notes.append(_Note(files[name], instrument, family, pitch, split))
    if not notes:
        raise SoundalikeError(f"{folder}: none of the {count} notes that examples.json lists is in audio/ beside it.")
    return notes, count - len(notes)


def _files(audio: Path) -> dict[str, Path]:
    """Name of a note -> its file. One listing: a look for each of 289,205 notes would take much longer."""
    if not audio.is_dir():
        return {}
    found = [path for path in audio.iterdir() if path.suffix.lower() in SUFFIXES]
    # of two formats of one note the one that comes last stays: the published one, if it is there
    return {path.stem: path for path in sorted(found, key=lambda path: path.suffix.lower() == ".wav")}


def _listed(source: Path) -> Iterator[tuple[str, tuple[str, str, int]]]:
    """Name of a note, and its instrument, family and pitch, in the order of their names."""
    try:
        with source.open(encoding="utf-8") as stream:
            examples = json.load(stream, object_hook=_slim)
    except (OSError, ValueError, RecursionError) as error:
        raise SoundalikeError(f"{source}: not JSON that can be read ({error}).") from error
    if not isinstance(examples, dict):
        raise SoundalikeError(f"{source}: no table of notes; take the file as it comes with NSynth.")
    for name in sorted(examples):
        note = examples[name]
        if not isinstance(note, tuple):
            lacking = next((field for field in _FIELDS if not isinstance(note, dict) or field not in note), "")
            raise SoundalikeError(f"{source}: note {name!r} has no {lacking!r}.")
        instrument, family, pitch = note
        if not (isinstance(instrument, str) and instrument and isinstance(family, str) and family):
            raise SoundalikeError(f"{source}: note {name!r} names no instrument or no family.")
        if type(pitch) is not int or not 0 <= pitch <= 127:
            raise SoundalikeError(
                f"{source}: note {name!r} has pitch {pitch!r}: a MIDI number from 0 to 127 is needed."
            )
        yield name, (instrument, family, pitch)


def _slim(entry: dict[str, Any]) -> Any:
    """What is kept of a JSON object while it is read: of the 13 fields of train's 289,205 notes three are used."""
    try:
        instrument, family, pitch = (entry[field] for field in _FIELDS)
    except KeyError:
        return entry
    return tuple(sys.intern(value) if isinstance(value, str) else value for value in (instrument, family, pitch))


def _dataset(name: str, folder: Path, notes: list[_Note], labels: list[str], missing: int) -> Dataset:
    there = [split for split in SPLITS if any(note.split == split for note in notes)]
    share = part(len(set(labels)), _FAMILIES, "families") if name == "nsynth-family" else ""
    folds: list[int] | None = None
    splits: list[str] | None = None
    if "train" in there and len(there) > 1:
        splits = [note.split for note in notes]
        protocol = f"published {' / '.join(_PARTS[split] for split in there)}"
        if "test" not in there:
            splits = ["test" if split == "validation" else split for split in splits]
            protocol = "published nsynth-train, tested on nsynth-valid, since nsynth-test is not there"
    else:
        folds, how = _folds(folder, notes)
        lacking = "nsynth-test" if "train" in there else "nsynth-train"
        protocol = f"{how} of {' and '.join(_PARTS[split] for split in there)}, since {lacking} is not there"
    return build(
        name,
        protocol + share,
        paths=[note.path for note in notes],
        labels=labels,
        groups=[note.instrument for note in notes],
        folds=folds,
        splits=splits,
        missing=missing,
    )


def _folds(folder: Path, notes: list[_Note]) -> tuple[list[int], str]:
    """Folds by instrument, and how many of what."""
    instruments = sorted({note.instrument for note in notes})
    if len(instruments) < 2:
        raise SoundalikeError(
            f"{folder}: all notes are of one instrument, {instruments[0]!r}: at least two are needed to train on one "
            "and test on the other."
        )
    count = min(_FOLDS, len(instruments))
    # They are named after their families, so turn by turn each family is spread over the folds.
    fold_of = {instrument: number % count + 1 for number, instrument in enumerate(instruments)}
    how = f"{count} folds, grouped by instrument ({len(instruments)} groups),"
    return [fold_of[note.instrument] for note in notes], how
