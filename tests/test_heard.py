"""What a model has heard is told by what is in the files, and never scored on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recorded_clips import RATE, tone, write_folder
from soundalike.core.errors import SoundalikeError
from soundalike.data import datasets
from soundalike.data.leakage import fingerprints, unheard
from soundalike.data.training_clips import RecordingSettings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "tones", each=10)


def heard_by(folder: Path, fold: int) -> np.ndarray:
    clips = RecordingSettings(task="folder", data=str(folder), fold=fold).open(RATE, progress=False)
    return fingerprints(clips.heard_paths)


def test_contents_and_not_names_are_told(folder: Path, tmp_path: Path) -> None:
    paths = sorted(folder.rglob("*.wav"))
    numbers = fingerprints(paths)
    assert len(np.unique(numbers)) == len(paths)
    shutil.copy(paths[3], tmp_path / "another name.wav")
    (tmp_path / "empty.wav").touch()
    found = fingerprints([tmp_path / "another name.wav", tmp_path / "gone.wav", tmp_path / "empty.wav"])
    assert found[0] == numbers[3]
    assert found[1] == 0
    assert found[2] not in (0, *numbers)


def test_the_fold_that_was_held_out_is_left(folder: Path) -> None:
    dataset = datasets.read("folder", folder)
    left = unheard(dataset, heard_by(folder, fold=2))
    (split,) = left.splits()
    assert "fold 2 of 5 alone" in left.protocol
    assert not np.isin(fingerprints([left.paths[row] for row in split.test]), heard_by(folder, fold=2)).any()


def test_a_model_that_heard_nothing_or_something_else_is_scored_on_everything(folder: Path, tmp_path: Path) -> None:
    dataset = datasets.read("folder", folder)
    soundfile.write(tmp_path / "other.wav", tone(500.0, 0.3, seed=999), RATE)
    assert unheard(dataset, np.zeros(0, np.int64)) is dataset
    assert unheard(dataset, fingerprints([tmp_path / "other.wav", tmp_path / "gone.wav"])) is dataset


def test_a_model_that_heard_all_of_it_is_not_scored(folder: Path) -> None:
    with pytest.raises(SoundalikeError, match=r"clips of every test part, such as .*\.wav, so no score would be"):
        unheard(datasets.read("folder", folder), heard_by(folder, fold=0))


def test_folds_that_have_moved_are_noticed(tmp_path: Path) -> None:
    """A clip more makes other folds, whose test parts all hold clips that were heard."""
    folder = write_folder(tmp_path / "tones", each=10)
    heard = heard_by(folder, fold=1)
    for name in ("high", "low", "mid"):
        for take in range(7):
            soundfile.write(folder / name / f"new {take}x.wav", tone(300.0, 0.3, seed=1000 + take), RATE)
    dataset = datasets.read("folder", folder)
    known = np.isin(fingerprints(dataset.paths), heard)
    if all(known[split.test].any() for split in dataset.splits()):
        with pytest.raises(SoundalikeError, match="so no score would be honest"):
            unheard(dataset, heard)
    else:
        (split,) = unheard(dataset, heard).splits()
        assert not known[split.test].any()


def test_the_same_files_as_another_task(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    clips = sorted(folder.rglob("*.wav"))
    rows = [f"{clip},{clip.parent.name},{number % 3}" for number, clip in enumerate(clips)]
    table.write_text("\n".join(["path,label,fold", *rows]), encoding="utf-8")
    with pytest.raises(SoundalikeError, match="so no score would be honest"):
        unheard(datasets.read("manifest", table), heard_by(folder, fold=1))
