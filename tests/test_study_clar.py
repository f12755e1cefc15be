"""CLAR's studies: what they share, augmentations, and front ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import soundalike.train.pretrain
from small_studies import is_picture, never, rows_of, small_recipe, write_clips
from soundalike.cli import main
from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets import read
from soundalike.eval.study import augmentations, frontends, scoring
from soundalike.eval.study.augmentations import AugmentationStudy
from soundalike.eval.study.frontends import FrontEndStudy
from soundalike.eval.study.labels import LabelStudy
from soundalike.eval.study.results import Results, Summary
from soundalike.eval.study.runs import STUDY, Run
from soundalike.eval.study.scoring import Task, make_tasks
from soundalike.eval.study.study import REPORT
from soundalike.model.recipe import Recipe


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


# ---- what the studies share


def test_tasks_are_told_apart_and_one_fold_is_held_out(tasks: list[Task], clips: Path) -> None:
    assert [task.name for task in tasks] == ["folder", "folder 2"]
    assert len(list(tasks[0].dataset.splits())) == 1
    assert tasks[0].settings == {
        "recordings.task": "folder",
        "recordings.data": str(clips),
        "recordings.fold": 1,
    }
    with pytest.raises(SoundalikeError, match="there is no fold 9"):
        make_tasks([("folder", clips, read("folder", clips))], 9)
    with pytest.raises(SoundalikeError, match="needs a task"):
        make_tasks([])


def test_settings_for_all_runs(small: Recipe, tasks: list[Task]) -> None:
    study = LabelStudy(small, 1, {"encoder.width": 16, "steps": 7})
    assert study.recipe.sections["encoder"]["width"] == 16
    for key in ("seed", "training.seed", "task", "minutes", "head", "head.name", "objective", "recordings.labels"):
        with pytest.raises(SoundalikeError, match=f"--set {key}: the study labels sets this itself"):
            LabelStudy(small, 1, {key: 1})
    with pytest.raises(SoundalikeError, match="hears no recordings"):
        LabelStudy(Recipe.load("doppelgangers-cpu"))
    with pytest.raises(SoundalikeError, match="learns from labels"):
        LabelStudy(Recipe.load("clar-joint"))
    run = study.one_run(tasks[0], {"x": 1}, 3, {"batch_size": 4})
    assert run.levels == {"task": "folder", "x": 1, "seed": 3}
    assert run.overrides == {
        "steps": 7,  # beside the budget's minutes, which would replace it
        **tasks[0].settings,
        "recordings.label_seed": 3,
        "batch_size": 4,
        "training.seed": 3,
    }


def test_means_are_over_tasks_within_a_seed_and_then_over_seeds() -> None:
    def record(task: str, accuracy: float, reader: str = "linear probe") -> dict[str, Any]:
        measured = [{"task": task, "reader": reader, "accuracy": accuracy}]
        trained = {"pairs": 40, "recordings": 16}
        return {"scores": {"measured": measured, "parameters": 5}, "trained": trained}

    numbers = {("a", 0): 0.2, ("b", 0): 0.4, ("a", 1): 0.6, ("b", 1): 0.2, ("a", 2): 0.9}
    finished = [
        (Run({"task": task, "kind": "x", "seed": seed}, {}), record(task, number))
        for (task, seed), number in numbers.items()
    ]
    finished.append((Run({"task": "a", "kind": "y", "seed": 0}, {}), record("a", 0.5, "own head")))
    both = [
        {"task": task, "seed": seed, "reader": "linear probe", "accuracy": accuracy}
        for task, seed, accuracy in (("a", 0, 0.2), ("a", 1, 0.4), ("b", 0, 0.4), ("b", 1, 0.8))
    ]
    results = Results(["a", "b"], finished, {"both": both, "one": both[:1]})

    def summary(task: str | None, kind: str = "x") -> Summary | None:
        return results.accuracy(task, kind=kind)

    assert summary("a") == pytest.approx((100 * np.mean([0.2, 0.6, 0.9]), 100 * np.std([0.2, 0.6, 0.9]), 3))
    assert summary("b") == pytest.approx((30.0, 10.0, 2))
    assert summary(None) == pytest.approx((35.0, 5.0, 2))  # the third seed lacks a task
    assert summary("a", "y") is None
    assert results.accuracy("a", kind="y", reader="own head") == (50, 0, 1)
    assert str(Summary(35, 5, 2)) == "35.0 ± 5.0"
    assert str(Summary(35, 0, 1)) == "35.0"
    assert results.accuracy(None, baseline="both") == pytest.approx((45, 15, 2))
    assert results.accuracy(None, baseline="one") is None
    head, rows, lead = results.table({"kind": "kind"}, lambda _, level: str(level), lambda row: row.reader)
    assert (head, lead) == (["kind", "read by", "seeds", "pairs a run", "epochs", "a", "b", "mean"], 2)
    assert rows == [
        ["both", "linear probe", "", "", "", "30.0 ± 10.0", "60.0 ± 20.0", "45.0 ± 15.0"],
        ["one", "linear probe", "", "", "", "20.0", "–", "–"],
        ["x", "linear probe", "3", "40", "2.5", "56.7 ± 28.7", "30.0 ± 10.0", "35.0 ± 5.0"],
        ["y", "own head", "1", "40", "2.5", "50.0", "–", "–"],
    ]


# ---- augmentations


def test_every_augmentation_alone_and_every_pair(tasks: list[Task], small: Recipe, cache: None) -> None:
    runs = AugmentationStudy(small, 2).runs(tasks)
    assert len(runs) == 2 * 2 * (6 + 15) == len({run.slug for run in runs})
    assert [run.levels["seed"] for run in runs] == [0] * 42 + [1] * 42
    together = {frozenset(str(run.levels["augment"]).split(" + ")) for run in runs}
    assert together == {frozenset((a, b)) for a in augmentations.AUGMENTED for b in augmentations.AUGMENTED}
    clips = small.override(runs[0].overrides).recordings.open(16_000, progress=False)  # type: ignore[union-attr]
    for run in runs[:21]:
        recipe = small.override(run.overrides)
        views = recipe.build(clips=clips).views
        assert views is not None
        assert views.augmentation is not None
        assert len(views.augmentation.members) == len(str(run.levels["augment"]).split(" + "))
        assert recipe.training.seed == run.levels["seed"]
    for names, said in ((["fadee"], "did you mean 'fade'"), (["fade", "fade"], "give each level once")):
        with pytest.raises(SoundalikeError, match=said):
            AugmentationStudy(small, augment=names)
    with pytest.raises(SoundalikeError, match="--seeds is 0"):
        AugmentationStudy(small, 0)


def test_the_study_of_augmentations(
    tasks: list[Task], small: Recipe, cache: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = AugmentationStudy(small, augment=["fade", "noise"])
    assert study.run(tmp_path / "s", None, tasks, "cpu", quiet=True) == []
    state = json.loads((tmp_path / "s" / STUDY).read_text())
    assert is_picture(tmp_path / "s" / augmentations.FIGURE)
    shown = {row[0]: row[-3:] for row in rows_of(tmp_path / "s" / REPORT)}
    for name in ("fade", "noise", "fade + noise"):
        scores = {
            r["levels"]["task"]: r["scores"]["measured"][0]["accuracy"]
            for r in state["finished"].values()
            if r["levels"]["augment"] == name
        }
        numbers = [scores["folder"], scores["folder 2"], (scores["folder"] + scores["folder 2"]) / 2]
        assert shown[name] == [f"{100 * number:.1f}" for number in numbers]
    for baseline in ("log-mel statistics", "untrained encoder"):
        (value,) = [one["accuracy"] for one in state["extra"][baseline] if one["task"] == "folder"]
        assert shown[baseline][0] == f"{100 * value:.1f}"
    monkeypatch.setattr(soundalike.train.pretrain, "pretrain", never)
    monkeypatch.setattr(scoring, "embed", never)
    assert study.run(tmp_path / "s", None, tasks, "cpu", quiet=True) == []


# ---- front ends


def test_front_ends_hear_clips_of_one_length(tasks: list[Task], small: Recipe) -> None:
    runs = FrontEndStudy(small, 2, frontend=frontends.FRONT_ENDS).runs(tasks[:1])
    assert len(runs) == 2 * 3 * 2 == len({run.slug for run in runs})
    assert [run.levels["seed"] for run in runs] == [0] * 6 + [1] * 6
    for run in runs:
        recipe = small.override(run.overrides)
        parts = recipe.build(classes=3)
        assert parts.frontend.clip_samples / 16_000 == pytest.approx(0.3, abs=0.0101)
        assert parts.encoder.dimensions == (1 if run.levels["frontend"] == "raw" else 2)
        supervised = run.levels["objective"] == "supervised"
        assert parts.objective.needs_labels == supervised
        assert recipe.sections["recordings"]["unlabelled"] == ("drop" if supervised else "keep")
        assert recipe.training.seed == recipe.sections["recordings"]["label_seed"] == run.levels["seed"]
    one_second = small.override({"seconds": 1.0})
    assert frontends.front_end("logmel", one_second)["frontend.frames"] == 98
    assert frontends.front_end("raw", one_second.override(frontends.front_end("logmel", one_second)))[
        "frontend.seconds"
    ] == pytest.approx(0.995)
    with pytest.raises(SoundalikeError, match="did you mean 'raw'"):
        FrontEndStudy(small, frontend=["row"])


def test_the_study_of_front_ends(
    tasks: list[Task], small: Recipe, cache: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = FrontEndStudy(small, 2, objective=["supervised"])
    assert study.run(tmp_path / "s", None, tasks[:1], "cpu", quiet=True) == []
    state = json.loads((tmp_path / "s" / STUDY).read_text())
    assert is_picture(tmp_path / "s" / frontends.FIGURE)
    shown = {tuple(row[:3]): row for row in rows_of(tmp_path / "s" / REPORT)}
    for level in ("spectrogram", "raw"):
        for objective, reader in (("supervised", "linear probe"), ("supervised", "own head")):
            records = [
                record
                for record in state["finished"].values()
                if (record["levels"]["frontend"], record["levels"]["objective"]) == (level, objective)
            ]
            values = [
                100 * one["accuracy"]
                for record in records
                for one in record["scores"]["measured"]
                if one["reader"] == reader
            ]
            assert len(values) == 2
            row = shown[level, objective, reader]
            assert row[-1] == f"{np.mean(values):.1f} ± {np.std(values):.1f}"
            assert row[3:5] == ["2", f"{records[0]['trained']['pairs']}"]
            assert row[6] == f"{records[0]['scores']['parameters']:,}"
        untrained = state["extra"]["untrained encoder"]
        baseline = [one["accuracy"] for one in untrained if one["levels"] == {"frontend": level}]
        assert len(baseline) == 2
        row = shown[level, "untrained encoder", "linear probe"]
        assert row[-1] == f"{100 * np.mean(baseline):.1f} ± {100 * np.std(baseline):.1f}"
    assert shown["raw", "supervised", "own head"][6] != shown["spectrogram", "supervised", "own head"][6]
    monkeypatch.setattr(soundalike.train.pretrain, "pretrain", never)
    assert study.run(tmp_path / "s", None, tasks[:1], "cpu", quiet=True) == []


# ---- figures


def test_figures_of_studies_that_are_not_finished(tmp_path: Path) -> None:
    from soundalike.eval.study.figure import draw_curves, draw_grid, draw_groups

    some, one = Summary(50.0, 2.0, 3), Summary(40.0, 0.0, 1)
    panels = {f"task $ {number}": {"joint": [None, some], "two-stage": [None, None]} for number in range(4)}
    baselines = {title: {"untrained encoder": [one, None]} for title in panels}
    draw_curves("labels", [0.1, 1.0], {"linear probe": panels, "own head": panels}, baselines, tmp_path / "curves.png")
    draw_groups(["raw", "logmel"], panels, baselines, tmp_path / "groups.png")
    mean = np.array([[40.0, np.nan], [np.nan, 60.0]])
    draw_grid(["fade", "noise"], dict.fromkeys(panels, (mean, mean / 40)), {}, tmp_path / "grid.png")
    for name in ("curves", "groups", "grid"):
        assert is_picture(tmp_path / f"{name}.png")


# ---- mistakes

WHERE = "--out x --budget 1 --task folder --data y"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (f"study labels {WHERE} --set steps", "--set steps: give KEY=VALUE"),
        (f"study labels {WHERE} --set seed=3", "--set seed: the study labels sets this itself"),
        (f"study labels {WHERE} --set wiidth=3", "unknown recipe key 'wiidth'"),
        (f"study labels {WHERE} --recipe doppelgangers-cpu", "hears no recordings"),
        (f"study labels {WHERE} --labels many", "'many' is not a number"),
        (f"study frontends {WHERE} --set frontend=raw", "the study frontends sets this itself"),
        (f"study augmentations {WHERE} --fold one", "'one' is not a whole number"),
        (f"study augmentations {WHERE}", "y: no such folder"),
        ("study augmentations --out x --task folder --data y", "required: --budget"),
    ],
)
def test_mistakes(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())
