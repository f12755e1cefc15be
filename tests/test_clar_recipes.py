"""Recipes that hear recordings, through the real command line: that they run, resume, and hold out what they say."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open

import soundalike
from recorded_clips import PITCHES, open_folder, write_folder
from soundalike.cli import main
from soundalike.core.errors import SoundalikeError
from soundalike.data import datasets
from soundalike.model.recipe import Recipe
from soundalike.train.checkpoint import CHECKPOINT
from soundalike.train.pretrain import CLIPS, MODEL, RECIPE, pretrain
from soundalike.train.step import Learner
from soundalike.views import RecordedViews

SMALL = {
    "encoder.width": 8,
    "encoder.size": 16,
    "batch_size": 4,
    "steps": 2,
    "precision": "fp32",
    "frontend.seconds": 0.25,
    "head.hidden": 16,
}
LOGMEL = {key: value for key, value in SMALL.items() if not key.startswith(("head", "frontend"))} | {"frames": 24}
RECORDED = ["clar", "clar-raw", "clar-supervised", "clar-joint", "recorded"]


def small(name: str) -> dict[str, Any]:
    """The settings that make a recipe tiny."""
    return LOGMEL if name in ("recorded", "finetune") else SMALL


def options(settings: dict[str, Any]) -> list[str]:
    """Settings as a person types them."""
    return [word for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", str(value))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of five clips, in five folds."""
    return write_folder(tmp_path_factory.mktemp("data") / "tones", each=5)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cache for all tests of this file."""
    monkeypatch.setenv("SOUNDALIKE_CACHE", str(tmp_path_factory.getbasetemp() / "cache-clar-recipes"))


def recipe(name: str, folder: Path, **settings: Any) -> Recipe:
    return Recipe.load(name).override({"task": "folder", "data": str(folder), **small(name), **settings})


def train(name: str, folder: Path, out: Path, resume: bool = False, **settings: Any) -> Path:
    return pretrain(recipe(name, folder, **settings), out, resume, "cpu", quiet=True)


def heard(run: Path) -> list[dict[str, str]]:
    with (run / CLIPS).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def summary(run: Path) -> dict[str, Any]:
    return soundalike.load(run).training


def weights(run: Path) -> dict[str, torch.Tensor]:
    with safe_open(run / MODEL, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


# the command line


@pytest.mark.parametrize("name", RECORDED)
def test_they_run(name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    where = ["--task", "folder", "--data", str(folder), "--device", "cpu", "--quiet", "--out", str(out)]
    assert main(["pretrain", "--recipe", name, *where, *options(small(name))]) == 0
    assert capsys.readouterr().out == f"{out / MODEL}\n"
    assert {path.name for path in out.iterdir()} == {RECIPE, CHECKPOINT, CLIPS, MODEL, "logs"}
    model = soundalike.load(out)
    assert (model.training["steps"], model.training["pairs"]) == (2, 8)
    assert np.isfinite(model.training["loss"])
    assert model.classes == (sorted(PITCHES) if name in ("clar-supervised", "clar-joint") else [])
    # nothing that was held out was heard
    test = next(iter(datasets.read("folder", folder).hold_out(1).splits())).test
    paths = datasets.read("folder", folder).paths
    rows = heard(out)
    assert {row["path"] for row in rows} == {str(path) for path in paths} - {str(paths[row]) for row in test}
    assert {row["heard"] for row in rows} == {"1"}


@pytest.mark.parametrize("name", [*RECORDED, "finetune"])
def test_they_print(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "--recipe", name, "--print-recipe", "--task", "esc10", "--labels", "0.1"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["recordings"] | {"task": "esc10", "labels": 0.1, "data": None} == printed["recordings"]
    assert "voice" not in printed


@pytest.mark.parametrize("name", RECORDED)
def test_they_need_recordings(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "--recipe", name, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.strip()
    assert "this recipe hears recordings: give --data FOLDER, and --task for their labels and folds (" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_what_does_not_fit_together(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(name: str, *more: str) -> str:
        where = ["--data", str(folder), "--device", "cpu", "--quiet", "--out", str(tmp_path / "run")]
        assert main(["pretrain", "--recipe", name, *where, *options(small(name)), *more]) == 2
        sentence = capsys.readouterr().err.strip()
        assert len(sentence.splitlines()) == 1
        assert not (tmp_path / "run").exists()
        return sentence

    assert "of at least 2 classes are needed" in said("clar-joint")
    assert "needs a head that tells classes apart" in said("clar-joint", "--task", "folder", "--head", "projection")
    assert "without an augmentation" in said("clar", "--augment", "null")
    assert "leaves the class 'high' (4 clips to train on)" in said("clar", "--task", "folder", "--labels", "0.1")
    assert "there is no fold 6; give a number from 1 to 5" in said("clar", "--task", "folder", "--fold", "6")
    assert "did you mean 'folder'" in said("clar", "--task", "foldr")


def test_synthetic_sounds_have_no_labels_and_no_epochs(tiny: Recipe, tmp_path: Path) -> None:
    for change in (
        {"objective": "supervised", "head": "classifier"},
        {"objective": "joint", "head": "joint"},
        {"head": "joint"},
    ):
        with pytest.raises(SoundalikeError, match="synthetic sounds have no labels"):
            Recipe.load("doppelgangers-cpu").override(change).build()
    with pytest.raises(SoundalikeError, match=r"^training\.epochs counts how often .* synthetic sounds never repeat"):
        pretrain(tiny.override({"epochs": 2}), tmp_path / "run", device="cpu", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("key", ["task", "data", "labels", "recordings.fold"])
def test_synthetic_sounds_hear_no_recordings(tiny: Recipe, key: str) -> None:
    with pytest.raises(
        SoundalikeError, match=r"this recipe has no recordings, because its views .* --views recordings"
    ):
        tiny.override({key: 1})


def test_a_broken_file_is_named_and_costs_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_folder(tmp_path / "data", each=3)
    (data / "mid" / "a.wav").write_bytes(b"RIFF, but not really")
    where = ["--task", "folder", "--data", str(data), "--fold", "0", "--device", "cpu", "--quiet"]
    out = tmp_path / "run"
    assert main(["pretrain", "--recipe", "recorded", *where, "--out", str(out), *options(small("recorded"))]) == 1
    said = capsys.readouterr()
    assert said.out == f"{out / MODEL}\n"
    assert f"left out: {data / 'mid' / 'a.wav'}: " in said.err
    assert said.err.count("left out") == 1
    assert sum(row["heard"] == "1" for row in heard(out)) == 8
    assert [row["path"] for row in heard(out) if row["reason"]] == [str(data / "mid" / "a.wav")]


def test_a_run_is_not_resumed_on_other_recordings(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", each=3)
    train("recorded", data, tmp_path / "run", fold=0)
    (data / "mid" / "a.wav").rename(tmp_path / "a.wav")
    with pytest.raises(
        SoundalikeError,
        match=r"its run heard 9 clips, and now there are 8 \(.*a\.wav is new, gone or labelled otherwise\)",
    ):
        train("recorded", data, tmp_path / "run", resume=True, fold=0, steps=4)


def test_where_recordings_lie_is_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "data", each=3)
    monkeypatch.chdir(tmp_path)
    train("recorded", Path("data"), tmp_path / "run", fold=0)
    assert Recipe.load(tmp_path / "run" / RECIPE).sections["recordings"]["data"] == str(tmp_path / "data")
    train("recorded", Path("data"), tmp_path / "run", resume=True, fold=0)
    assert all(Path(row["path"]).is_absolute() for row in heard(tmp_path / "run"))
    # as --resume without a recipe goes on, from another folder
    monkeypatch.chdir(tmp_path / "run")
    pretrain(Recipe.load(tmp_path / "run" / RECIPE), tmp_path / "run", True, "cpu", quiet=True)


# what is heard


def test_labels_are_taken_from_part_of_the_clips(folder: Path, tmp_path: Path) -> None:
    for how, count in (("keep", 12), ("drop", 3)):
        out = tmp_path / how
        train("clar-joint", folder, out, epochs=1, batch_size=3, labels=0.25, unlabelled=how, steps=None)
        rows = heard(out)
        assert len(rows) == 12
        seen = [row["label"] for row in rows if row["labelled"] == "1"]
        assert sorted(seen) == sorted(PITCHES)
        assert sum(row["heard"] == "1" for row in rows) == count
        assert all(row["heard"] == "1" for row in rows if row["labelled"] == "1")
        told = summary(out)
        assert (told["recordings"], told["pairs"], told["steps"]) == (count, count, count // 3)


def test_an_epoch_shows_every_clip_once(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []
    original = Learner.inputs

    def noted(self: Learner, numbers: torch.Tensor) -> Any:
        assert isinstance(self.views, RecordedViews)
        seen.append(self.views.clip_of(0, numbers))
        return original(self, numbers)

    monkeypatch.setattr(Learner, "inputs", noted)
    train("clar-joint", folder, tmp_path / "run", epochs=2, steps=None, batch_size=4, labels=0.25)
    assert [len(clip) for clip in seen] == [4] * 6
    first, second = torch.cat(seen).chunk(2)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(12))
    assert first.tolist() != second.tolist()


def test_epochs_are_counted_in_pairs(folder: Path) -> None:
    def learner(**settings: Any) -> Learner:
        wanted = recipe("clar", folder, **{"fold": 0, "batch_size": 6, "steps": None, **settings})
        return Learner(wanted, open_folder(folder))

    assert learner(epochs=2).training_settings.total_steps() == 5  # 30 pairs
    assert learner(epochs=2, batch_size=5).training_settings.total_steps() == 6
    assert learner(epochs=2, steps=3).training_settings.total_steps() == 3
    assert learner(epochs=0.5).training_settings.pairs == 8
    assert learner(epochs=2, pairs=12).training_settings.total_steps() == 2
    half = learner(epochs=2, views="mixed", **{"recorded": {"augment": ["fade"]}, "voice.seconds": 0.25})
    assert half.training_settings.pairs == 60, "of which half are synthetic"


def test_the_parts_of_a_batch_s_loss(folder: Path, tmp_path: Path) -> None:
    learner = Learner(recipe("clar-joint", folder, labels=0.25), open_folder(folder, fold=1, labels=0.25))
    inputs, label, _, targets, _ = learner.inputs(torch.arange(12))
    assert targets == {}, "nobody knows what sounds in a recording"
    assert inputs.shape[0] == 24
    assert label is not None
    assert sorted(label.tolist()) == [-1] * 9 + [0, 1, 2]
    # first views come first, then second ones, in one order, whatever is computed at once
    pair = learner.views.batch(0, torch.arange(12))
    torch.testing.assert_close(inputs, learner.frontend(torch.cat((pair.first, pair.second))))
    loss, parts = learner.loss(torch.arange(12))
    assert set(parts) == {"contrastive", "top1", "cross_entropy", "accuracy", "identical"}
    torch.testing.assert_close(loss.detach(), parts["contrastive"] + 2 * parts["cross_entropy"])


def test_held_out_pairs_are_measured(folder: Path, tmp_path: Path) -> None:
    train("clar-joint", folder, tmp_path / "run", validate_every=1, validation_pairs=4)
    assert {"held_out/loss", "held_out/accuracy", "held_out/contrastive"} <= set(summary(tmp_path / "run"))


def test_synthetic_and_recorded_pairs_in_one_run(folder: Path, tmp_path: Path) -> None:
    views = {"views": "mixed", "views.part": 0.25, "recorded": {"augment": ["fade"]}, "voice.seconds": 0.25}
    train("clar-joint", folder, tmp_path / "run", **views)
    model = soundalike.load(tmp_path / "run")
    assert model.classes == sorted(PITCHES)
    assert model.recipe.sections["views"]["part"] == 0.25


# resuming


@pytest.mark.parametrize("name", ["clar-joint", "recorded"])
def test_a_run_that_goes_on_equals_one_that_was_not_interrupted(name: str, folder: Path, tmp_path: Path) -> None:
    constant = {"schedule": "constant", "warmup": 0.0, "labels": 0.5}
    train(name, folder, tmp_path / "twice", steps=2, **constant)
    train(name, folder, tmp_path / "twice", resume=True, steps=5, **constant)
    train(name, folder, tmp_path / "once", steps=5, **constant)
    assert summary(tmp_path / "twice")["steps"] == 5
    one, other = weights(tmp_path / "once"), weights(tmp_path / "twice")
    assert one.keys() == other.keys()
    assert max(float((one[key].double() - other[key].double()).abs().max()) for key in one) <= 1e-6
    assert heard(tmp_path / "once") == heard(tmp_path / "twice")
    with pytest.raises(SoundalikeError, match=r"its run has recordings\.labels 0\.5, not 1\.0; a resumed run may"):
        train(name, folder, tmp_path / "twice", resume=True, steps=9, **{**constant, "labels": 1.0})


# scoring


def test_a_model_is_scored_on_the_fold_that_was_held_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("recorded", folder, tmp_path / "run", fold=2)
    where = ["--task", "folder", "--data", str(folder)]
    assert main(["evaluate", str(tmp_path / "run"), *where]) == 0
    assert "note: folder: the model was trained on the other clips, so it is scored on fold 2 of 5 alone" in (
        capsys.readouterr().err
    )
    results = json.loads((tmp_path / "run" / "evaluation" / "results.json").read_text(encoding="utf-8"))
    assert "fold 2 of 5 alone" in json.dumps(results)
    train("recorded", folder, tmp_path / "all", fold=0)
    assert main(["evaluate", str(tmp_path / "all"), *where]) == 2
    said = capsys.readouterr().err.strip()
    assert said.endswith("so no score would be honest; train with --task and --fold 1 to hold some out.")
    assert not (tmp_path / "all" / "evaluation").exists()
