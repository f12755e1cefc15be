"""CLAR's study of training with few labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import soundalike.train.pretrain
from small_studies import CLASSES, is_picture, never, rows_of, small_recipe, write_clips
from soundalike.cli import main
from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets import Dataset, read
from soundalike.data.datasets.table import build
from soundalike.eval.study import labels
from soundalike.eval.study.labels import LabelStudy
from soundalike.eval.study.runs import STUDY
from soundalike.eval.study.scoring import Task, make_tasks
from soundalike.model.recipe import Recipe
from soundalike.train.pretrain import pretrain


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def small() -> Recipe:
    return small_recipe()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDALIKE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def tasks(clips: Path) -> list[Task]:
    """One folder as two tasks, told apart by a number."""
    dataset = read("folder", clips)
    return make_tasks([("folder", clips, dataset)] * 2)


def test_methods_over_fractions_of_the_labels(tasks: list[Task], small: Recipe) -> None:
    study = LabelStudy(small, 2, labels=[0.4, 1.0])
    runs = study.runs(tasks)
    assert study.notes(tasks) == []
    # with all labels there are no clips without one to take turns with
    assert len(runs) == 2 * 2 * (1 + 4 + 3) == len({run.slug for run in runs})
    assert [run.levels["seed"] for run in runs] == [0] * 16 + [1] * 16
    for number, run in enumerate(runs):
        recipe = small.override(run.overrides)
        recipe.build(classes=3)
        method, recordings = run.levels["method"], recipe.sections["recordings"]
        assert recipe.sections["objective"]["name"] == {
            "self-supervised": "nt-xent",
            "joint": "joint",
            "joint-balanced": "joint",
        }.get(str(method), "supervised")
        assert recipe.sections["views"]["labelled"] == (0.5 if method == "joint-balanced" else None)
        assert recordings["labels"] == run.levels.get("labels", 1.0)
        assert recordings["unlabelled"] == ("drop" if method in ("supervised", "two-stage") else "keep")
        assert recordings["label_seed"] == recipe.training.seed == run.levels["seed"]
        assert run.share == (0.5 if method == "two-stage" else 1.0)
        if method == "two-stage":
            former = next(other for other in runs[:number] if other.slug == run.after)
            assert former.levels == {
                **{k: v for k, v in run.levels.items() if k != "labels"},
                "method": "self-supervised",
            }
            assert recipe.sections["head"]["layers"] == 1
            assert recipe.training.batch_size == 8
        else:
            assert run.after is None


def test_some_methods_alone(tasks: list[Task], small: Recipe) -> None:
    def trained(*methods: str) -> list[object]:
        study = LabelStudy(small, 1, labels=[0.4], method=methods)
        return [run.levels["method"] for run in study.runs(tasks[:1])]

    assert trained("joint") == ["joint"]
    assert trained("two-stage", "joint") == ["self-supervised", "two-stage", "joint"]
    with pytest.raises(SoundalikeError, match="--method: unknown level 'both'"):
        trained("both")
    with pytest.raises(SoundalikeError, match="which sees no labels: give another one beside it"):
        trained("self-supervised")


def test_too_few_labels_for_a_class_are_found_before_anything_trains(tasks: list[Task], small: Recipe) -> None:
    study = LabelStudy(small, 1, labels=[0.01, 1.0])
    assert {run.levels.get("labels") for run in study.runs(tasks[:1])} == {None, 1.0}
    (note,) = study.notes(tasks[:1])
    assert note.startswith("folder has no runs with 0.01 of the labels: ")
    assert "without a label" in note
    with pytest.raises(SoundalikeError, match="no task has enough clips for any of these labels; folder has no runs"):
        LabelStudy(small, labels=[0.01]).runs(tasks)
    for fractions, said in (
        ([0.0], "--labels is 0"),
        ([1.5], "--labels is 1.5"),
        ([0.5, 0.5], "give each level once"),
    ):
        with pytest.raises(SoundalikeError, match=said):
            LabelStudy(small, labels=fractions)


def test_the_probe_sees_no_other_labels() -> None:
    """Neither of training clips that keep theirs back nor of the validation list."""
    rng = np.random.default_rng(0)
    split = np.array(["train"] * 20 + ["validation"] * 10 + ["test"] * 20)
    label = np.tile(["a", "b"], 25)
    vectors = rng.normal(size=(50, 4)).astype(np.float32) + 2 * (label == "b")[:, None]

    def dataset(label: np.ndarray) -> Dataset:
        names = [str(row) for row in range(50)]
        return build("x", "made up", paths=map(Path, names), labels=label, groups=names, splits=split.tolist())

    kept = np.array([0, 1, 4, 7, 9, 12])
    other = label.copy()
    hidden = np.setdiff1d(np.arange(30), kept)
    other[hidden] = np.where(label[hidden] == "a", "b", "a")
    score = labels.probe(vectors, dataset(label), kept)["accuracy"]
    assert score == labels.probe(vectors, dataset(other), kept)["accuracy"]
    assert score > 0.6
    wrong = label.copy()
    wrong[kept] = np.where(label[kept] == "a", "b", "a")
    assert labels.probe(vectors, dataset(wrong), kept)["accuracy"] < 0.4


@pytest.fixture(scope="module")
def command(
    clips: Path, small: Recipe, cache: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], Path]:
    """The arguments of a study of labels, and its folder."""
    home = tmp_path_factory.mktemp("study")
    (home / "small.yaml").write_text(small.override({"steps": 500}).to_yaml())
    given = ["--out", home / "out", "--recipe", home / "small.yaml", "--task", "folder", "--data", clips]
    more = ["--labels", "0.01", "0.4", "1", "--seeds", "1", "--set", "steps=2", "encoder.size=12", "--device", "cpu"]
    return ["study", "labels", *map(str, given), "--budget", "5", *more], home / "out"


def test_the_study_of_labels_on_the_command_line(
    command: tuple[list[str], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, out = command
    assert main(arguments) == 0
    said, err = capsys.readouterr()
    assert said == f"{out / 'report.html'}\n"
    assert err.count("note: folder has no runs with 0.01 of the labels") == 1
    state = json.loads((out / STUDY).read_text())
    records = list(state["finished"].values())
    assert len(records) == 1 + 4 + 3
    assert {record["trained"]["steps"] for record in records} == {2}
    unit = 5 / (1 + 3.5 + 2.5)
    assert state["definition"]["minutes_per_run"] == pytest.approx(unit)
    assert is_picture(out / labels.FIGURE)
    page = (out / "report.html").read_text()
    assert "Left out: folder has no runs with 0.01" in page
    assert "more time in all than supervised" in page
    shown = {tuple(row[:3]): row for row in rows_of(out / "report.html")}
    for part in ("0.4", "1"):
        for method in labels.METHODS:
            for reader in ("linear probe", "own head"):
                scores = [
                    100 * one["accuracy"]
                    for record in records
                    for one in record["scores"]["measured"]
                    if record["levels"]["method"] == method and one["reader"] == reader
                    if {**record["levels"], **one.get("levels", {})}["labels"] == float(part)
                ]
                row = shown.get((f"{100 * float(part):g} %", method, reader))
                nothing = (method, reader) == ("self-supervised", "own head") or (method, part) == (
                    "joint-balanced",
                    "1",
                )
                assert (row is None) == nothing == (not scores)
                if row is not None:
                    assert row[-1] == f"{np.mean(scores):.1f}"
        for baseline in ("log-mel statistics", "untrained encoder"):
            wanted = {"labels": float(part)}
            (value,) = [one["accuracy"] for one in state["extra"][baseline] if one["levels"] == wanted]
            assert shown[f"{100 * float(part):g} %", baseline, "linear probe"][-1] == f"{100 * value:.1f}"

    monkeypatch.setattr(soundalike.train.pretrain, "pretrain", never)
    assert main(arguments) == 0
    assert main([*arguments, "--set", "learning_rate=0.1"]) == 2
    assert "holds a study with other recipe" in capsys.readouterr().err


def test_the_probe_is_trained_on_the_clips_of_the_training(command: tuple[list[str], Path], tasks: list[Task]) -> None:
    out = command[1]
    if not (out / STUDY).exists():
        assert main(command[0]) == 0
    dataset, seed = tasks[0].dataset, 0
    trained = dataset.labels[next(iter(dataset.splits())).train]
    for part in (0.4, 1):
        folder = out / "runs" / f"task-folder_method-supervised_labels-{float(part)}_seed-{seed}"
        seen = labels.labelled_clips(folder)
        assert len(seen) == sum(int(part * (trained == label).sum() + 0.5) for label in CLASSES)
        first = out / "runs" / f"task-folder_method-self-supervised_seed-{seed}"
        assert labels.labelled_clips(first, part, seed) == seen
        rows = labels.rows_of(dataset, seen)
        assert [str(dataset.paths[row]) for row in rows] == sorted(seen)
        assert sorted(rows) == sorted(labels.training_rows(dataset, part, seed))
        assert not set(rows) & set(next(iter(dataset.splits())).test)
    assert Recipe.load(
        folder.with_name(folder.name.replace("supervised", "two-stage")) / "recipe.yaml"
    ).training.start == str(first.absolute() / "model.safetensors")


def test_fine_tuning_waits_for_its_first_stage(
    tasks: list[Task], small: Recipe, cache: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = LabelStudy(small, 1, labels=[1.0], method=["self-supervised", "two-stage"])

    def fail(recipe: Recipe, *rest: Any, **options: Any) -> Path:
        if recipe.sections["objective"]["name"] == "nt-xent":
            raise SoundalikeError("no luck.")
        return pretrain(recipe, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(soundalike.train.pretrain, "pretrain", fail)
        failed = study.run(tmp_path / "s", None, tasks[:1], "cpu", quiet=True)
    assert [why for _, why in failed] == [
        "no luck.",
        "it starts from the run task folder, method self-supervised, seed 0, which has failed and has to run first.",
    ]
    assert not (tmp_path / "s" / labels.FIGURE).exists()
    assert study.run(tmp_path / "s", None, tasks[:1], "cpu", quiet=True) == []
    assert is_picture(tmp_path / "s" / labels.FIGURE)
