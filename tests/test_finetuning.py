"""Training a saved model on with labels, starting from its weights, and what its head says of clips held out."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import soundalike
from recorded_clips import PITCHES, open_folder, tone, write_folder
from soundalike.cli import main
from soundalike.core.errors import SoundalikeError
from soundalike.data import datasets
from soundalike.data.leakage import fingerprints, unheard
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe
from soundalike.train.checkpoint import CHECKPOINT
from soundalike.train.finetune import Classified, finetune, held_out_accuracy
from soundalike.train.pretrain import CLIPS, MODEL, RECIPE, pretrain
from soundalike.train.step import Learner
from soundalike.views import RecordedViews

EASY = {"batch_size": 8, "epochs": 8, "learning_rate": 0.3, "precision": "fp32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pitches of ten clips, in five folds."""
    return write_folder(tmp_path_factory.mktemp("data") / "tones", each=10, seconds=(0.3, 0.2))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cache for all tests of this file."""
    monkeypatch.setenv("SOUNDALIKE_CACHE", str(tmp_path_factory.getbasetemp() / "cache-finetuning"))


def recipe(folder: Path, **settings: Any) -> Recipe:
    return Recipe.load("finetune").override({"task": "folder", "data": str(folder), **EASY, **settings})


@pytest.fixture(scope="module")
def tuned(run: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the run that has trained the tiny model on with labels. Tests leave it as it is."""
    out = tmp_path_factory.mktemp("tuned") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDALIKE_CACHE", str(tmp_path_factory.getbasetemp() / "cache-finetuning"))
        finetune(run, recipe(folder), out, device="cpu", quiet=True)
    return out


# the two stages


def test_it_learns_what_was_held_out(tuned: Path, run: Path) -> None:
    model = soundalike.load(tuned)
    accuracy, clips, protocol = held_out_accuracy(model)
    assert (clips, model.classes) == (6, sorted(PITCHES))
    assert accuracy > 0.8, "chance is a third"
    assert protocol.startswith("fold 1 of 5 alone (")
    assert model.recipe.training.start == str(run)
    before = soundalike.load(run)
    for part in ("frontend", "encoder", "readout"):
        assert model.recipe.sections[part] == before.recipe.sections[part]
    assert not np.allclose(model.embed(tone(660.0, 0.3, 0)), before.embed(tone(660.0, 0.3, 0)))
    assert {path.name for path in tuned.iterdir()} == {RECIPE, CHECKPOINT, CLIPS, MODEL, "logs"}


def test_what_is_told_of_clips_is_what_the_head_says(tuned: Path, folder: Path) -> None:
    model = soundalike.load(tuned)
    dataset = datasets.read("folder", folder).hold_out(1)
    test = next(iter(dataset.splits())).test
    right = 0
    for row in test:
        chances = Classified(model)([soundalike.audio.read.load(dataset.paths[row], model.sample_rate)])
        right += model.classes[int(chances[0].argmax())] == dataset.labels[row]
    assert held_out_accuracy(model)[0] == pytest.approx(right / len(test))


def test_clips_that_were_held_out_stay_as_they_are(tuned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = soundalike.load(tuned)
    expected = held_out_accuracy(model)

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a clip to score on was augmented")

    monkeypatch.setattr(RecordedViews, "batch", never)
    monkeypatch.setattr("soundalike.views.augment.compose.Compose.forward", never)
    assert held_out_accuracy(model) == expected


def test_the_fold_that_is_scored_was_never_heard(tuned: Path, folder: Path) -> None:
    dataset = datasets.read("folder", folder).hold_out(1)
    test = {str(dataset.paths[row]) for row in next(iter(dataset.splits())).test}
    with (tuned / CLIPS).open(newline="", encoding="utf-8") as stream:
        heard = {row["path"] for row in csv.DictReader(stream)}
    assert len(heard) == 24
    assert heard.isdisjoint(test)


def test_the_command(run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--task", "folder", "--data", str(folder), "--device", "cpu", "--quiet"]
    small = ["--steps", "2", "--batch-size", "4", "--precision", "fp32", "--labels", "0.25", "--fold"]
    assert main(["finetune", str(run), *where, "--out", str(tmp_path / "a"), *small, "2"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert "% of the 6 clips that were held out are told right (fold 2 of 5 alone (" in first
    assert last == str(tmp_path / "a" / MODEL)
    assert soundalike.load(tmp_path / "a").training["recordings"] == 6, "two labelled clips of each class"
    assert main(["finetune", str(run), *where, "--out", str(tmp_path / "b"), *small, "0"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'b' / MODEL}\n"
    with pytest.raises(SoundalikeError, match=r"^the model's training held out no clips with labels\.$"):
        held_out_accuracy(soundalike.load(tmp_path / "b"))
    assert main(["finetune", str(tmp_path / "no"), *where, "--out", str(tmp_path / "c")]) == 2
    assert "no such model file" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_a_run_that_goes_on_equals_one_that_was_not_interrupted(run: Path, folder: Path, tmp_path: Path) -> None:
    constant = {"schedule": "constant", "warmup": 0.0, "epochs": None}
    finetune(run, recipe(folder, **constant, steps=2), tmp_path / "twice", device="cpu", quiet=True)
    finetune(run, recipe(folder, **constant, steps=4), tmp_path / "twice", resume=True, device="cpu", quiet=True)
    finetune(run, recipe(folder, **constant, steps=4), tmp_path / "once", device="cpu", quiet=True)
    once, twice = (soundalike.load(tmp_path / name) for name in ("once", "twice"))
    for one, other in ((once.encoder, twice.encoder), (once.head, twice.head)):
        assert one is not None
        assert other is not None
        for name, weight in one.state_dict().items():
            torch.testing.assert_close(other.state_dict()[name], weight, rtol=0, atol=1e-6)


def test_a_model_that_heard_another_fold_is_refused(tuned: Path, folder: Path, tmp_path: Path) -> None:
    said = (
        r"^the model has heard \d+ of the \d+ clips that this run holds out in its own training, such as .*: give the"
    )
    with pytest.raises(SoundalikeError, match=said):
        finetune(tuned, recipe(folder, fold=2), tmp_path / "run", device="cpu", quiet=True)
    assert not (tmp_path / "run").exists()


def test_what_any_of_its_trainings_heard_is_remembered(tuned: Path, folder: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "other", each=5, seconds=(0.25,))
    finetune(tuned, recipe(other), tmp_path / "run", device="cpu", quiet=True)
    heard = SoundModel.load(tmp_path / "run").heard
    first, second = SoundModel.load(tuned).heard, fingerprints(open_folder(other, fold=1).heard_paths)
    assert len(first) == 24
    assert set(heard) == {*first, *second}
    assert "fold 1 of 5 alone" in unheard(datasets.read("folder", folder), heard).protocol


# starting from a model


def test_a_run_starts_from_the_weights_of_a_model(
    tiny: Recipe, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, torch.Tensor]] = []
    original = Learner.on_train_start

    def noted(self: Learner) -> None:
        started.append({name: weight.clone() for name, weight in self.encoder.state_dict().items()})
        original(self)

    monkeypatch.setattr(Learner, "on_train_start", noted)
    pretrain(tiny.override({"start": str(run), "steps": 1}), tmp_path / "on", device="cpu", quiet=True)
    pretrain(tiny.override({"steps": 1}), tmp_path / "fresh", device="cpu", quiet=True)
    theirs = soundalike.load(run).encoder.state_dict()
    assert all(torch.equal(weight, theirs[name]) for name, weight in started[0].items())
    assert not all(torch.equal(weight, theirs[name]) for name, weight in started[1].items())
    # a resumed run goes on from its own checkpoint, and not from the model again
    again = tiny.override({"start": str(run), "steps": 2})
    pretrain(again, tmp_path / "on", resume=True, device="cpu", quiet=True)
    assert not all(torch.equal(weight, theirs[name]) for name, weight in started[2].items())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder.width": 16}, r"whose encoder\.width is 8; this recipe's is 16, and a run goes on with the same"),
        ({"frames": 32}, r"whose frontend\.frames is 24; this recipe's is 32, "),
        ({"frontend": "clar", "encoder.size": 16}, r"whose frontend\.\w+ is "),
    ],
)
def test_a_run_starts_from_the_same_encoder_only(
    tiny: Recipe, run: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(SoundalikeError, match=said) as error:
        pretrain(tiny.override({"start": str(run), **change}), tmp_path / "on", device="cpu", quiet=True)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "on").exists()


# what the head says


def sounds() -> list[np.ndarray]:
    """Of several lengths, shorter and longer than a training clip."""
    return [tone(hertz, seconds, 5) for hertz in PITCHES.values() for seconds in (0.05, 0.3, 0.7)]


def test_probabilities(tuned: Path) -> None:
    model = soundalike.load(tuned)
    heard = sounds()
    chances = model.classify(heard)
    assert chances.shape == (9, 3)
    assert chances.dtype == np.float32
    np.testing.assert_allclose(chances.sum(1), 1.0, rtol=1e-5)
    for row, sound in enumerate(heard):
        np.testing.assert_allclose(model.classify([sound])[0], chances[row], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.classify(heard[::-1]), chances[::-1], rtol=1e-4, atol=1e-6)
    assert model.classify([]).shape == (0, 3)


def test_classes_and_head_survive_a_file(tuned: Path, tmp_path: Path) -> None:
    model = soundalike.load(tuned)
    model.save(tmp_path / "again.safetensors")
    again = soundalike.load(tmp_path / "again.safetensors")
    assert again.classes == model.classes == sorted(PITCHES)
    assert np.array_equal(again.classify(sounds()), model.classify(sounds()))
    assert np.array_equal(again.embed(sounds()), model.embed(sounds()))
    # the baseline of an evaluation has no head
    baseline = model.untrained()
    assert (baseline.head, baseline.classes) == (None, [])
    assert baseline.embed(sounds()).shape == model.embed(sounds()).shape


def test_a_joint_head_survives_a_file(folder: Path, tmp_path: Path) -> None:
    small = {"encoder.width": 8, "encoder.size": 16, "head.hidden": 16, "seconds": 0.2, "fold": 0, "data": str(folder)}
    parts = Recipe.load("clar-joint").override({**small, "task": "folder"})
    clips = open_folder(folder)
    model = SoundModel(parts, parts.build(seed=7, clips=clips), classes=clips.classes)
    model.save(tmp_path / "joint.safetensors")
    again = soundalike.load(tmp_path / "joint.safetensors")
    assert again.classes == clips.classes
    assert np.array_equal(again.classify(sounds()), model.classify(sounds()))


def test_a_model_without_a_head(run: Path) -> None:
    model = soundalike.load(run)
    assert (model.head, model.classes) == (None, [])
    with pytest.raises(
        SoundalikeError, match=r"^this model was trained without labels and tells no classes apart: fi"
    ):
        model.classify(sounds())
    with pytest.raises(SoundalikeError, match=r"^the model's training held out no clips with labels\.$"):
        held_out_accuracy(model)


def test_recordings_that_are_gone(tuned: Path, tmp_path: Path) -> None:
    model = soundalike.load(tuned)
    sections = {**model.recipe.sections}
    sections["recordings"] = {**sections["recordings"], "data": str(tmp_path / "gone")}
    model.recipe = Recipe("moved", sections)
    with pytest.raises(SoundalikeError, match="gone"):
        held_out_accuracy(model)
