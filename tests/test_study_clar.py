"""CLAR's studies: what they share, augmentations, and front ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import soundalike.train.pretrain
from small_studies import is_picture, never, rows_of, small_recipe, write_clips
from soundalike.cli import main
from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets import read
from soundalike.eval.study import augmentations, clar, frontends, labels
from soundalike.eval.study.clar import Summary, Task
from soundalike.eval.study.grid import STUDY, Cell
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
    return clar.hold_out([("folder", clips, dataset)] * 2)


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
        clar.hold_out([("folder", clips, read("folder", clips))], 9)
    with pytest.raises(SoundalikeError, match="needs a task"):
        clar.hold_out([])


def test_settings_for_all_cells(small: Recipe) -> None:
    recipe, limits = clar.base(small, {"encoder.width": 16, "steps": 7}, "labels", labels.VARIED)
    assert (recipe.sections["encoder"]["width"], limits) == (16, {"steps": 7})
    for key in ("seed", "training.seed", "task", "minutes", "head", "head.name", "objective", "recordings.labels"):
        with pytest.raises(SoundalikeError, match=f"--set {key}: the study labels sets this itself"):
            clar.base(small, {key: 1}, "labels", labels.VARIED)
    with pytest.raises(SoundalikeError, match="hears no recordings"):
        clar.base(Recipe.load("doppelgangers-cpu"), {}, "labels", labels.VARIED)
    with pytest.raises(SoundalikeError, match="learns from labels"):
        clar.base(Recipe.load("clar-joint"), {}, "labels", labels.VARIED)
    cells = clar.limited([Cell({"seed": 0}, {"batch_size": 4}, 0.5, "x")], {"steps": 7})
    assert cells == [Cell({"seed": 0}, {"steps": 7, "batch_size": 4}, 0.5, "x")]


def test_means_are_over_tasks_within_a_seed_and_then_over_seeds() -> None:
    numbers = {("a", 0): 0.2, ("b", 0): 0.4, ("a", 1): 0.6, ("b", 1): 0.2, ("a", 2): 0.9}
    finished = [
        (Cell({"task": task, "kind": "x", "seed": seed}, {}), {"scores": {"linear": number}})
        for (task, seed), number in numbers.items()
    ]
    finished.append((Cell({"task": "a", "kind": "y", "seed": 0}, {}), {"scores": {}}))

    def summary(task: str | None, kind: str = "x") -> Summary | None:
        return clar.summarise(finished, ["a", "b"], task, lambda scores: scores.get("linear"), kind=kind)

    assert summary("a") == pytest.approx((100 * np.mean([0.2, 0.6, 0.9]), 100 * np.std([0.2, 0.6, 0.9]), 3))
    assert summary("b") == pytest.approx((30.0, 10.0, 2))
    assert summary(None) == pytest.approx((35.0, 5.0, 2))  # the third seed lacks a task
    assert summary("a", "y") is None
    assert str(Summary(35, 5, 2)) == "35.0 ± 5.0"
    assert str(Summary(35, 0, 1)) == "35.0"
    assert clar.summarise_floor({"a": [0.2, 0.4], "b": [0.4, 0.8]}, ["a", "b"], None) == pytest.approx((45, 15, 2))
    assert clar.summarise_floor({"a": [0.2]}, ["a", "b"], None) is None


# ---- augmentations


def test_every_augmentation_alone_and_every_pair(tasks: list[Task], small: Recipe, cache: None) -> None:
    cells = augmentations.cells(tasks, seeds=2)
    assert len(cells) == 2 * 2 * (6 + 15) == len({cell.slug for cell in cells})
    assert [cell.levels["seed"] for cell in cells] == [0] * 42 + [1] * 42
    together = {frozenset(str(cell.levels["augment"]).split(" + ")) for cell in cells}
    assert together == {frozenset((a, b)) for a in augmentations.AUGMENTED for b in augmentations.AUGMENTED}
    clips = small.override(cells[0].overrides).recordings.open(16_000, progress=False)  # type: ignore[union-attr]
    for cell in cells[:21]:
        recipe = small.override(cell.overrides)
        views = recipe.build(clips=clips).views
        assert views is not None
        assert views.augmentation is not None
        assert len(views.augmentation.members) == len(str(cell.levels["augment"]).split(" + "))
        assert recipe.training.seed == cell.levels["seed"]
    for names, said in ((["fadee"], "did you mean 'fade'"), (["fade", "fade"], "give each level once")):
        with pytest.raises(SoundalikeError, match=said):
            augmentations.cells(tasks, names)
    with pytest.raises(SoundalikeError, match="--seeds is 0"):
        augmentations.cells(tasks, seeds=0)


def test_the_study_of_augmentations(
    tasks: list[Task], small: Recipe, cache: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = augmentations.cells(tasks, ["fade", "noise"])
    assert augmentations.run(tmp_path / "s", None, tasks, small, cells, "cpu", quiet=True) == []
    state = json.loads((tmp_path / "s" / STUDY).read_text())
    assert is_picture(tmp_path / "s" / augmentations.FIGURE)
    shown = {row[0]: row[-3:] for row in rows_of(tmp_path / "s" / clar.REPORT)}
    for name in ("fade", "noise", "fade + noise"):
        scores = {
            r["levels"]["task"]: r["scores"]["linear"]
            for r in state["finished"].values()
            if r["levels"]["augment"] == name
        }
        numbers = [scores["folder"], scores["folder 2"], (scores["folder"] + scores["folder 2"]) / 2]
        assert shown[name] == [f"{100 * number:.1f}" for number in numbers]
    for baseline in ("log-mel statistics", "untrained encoder"):
        assert shown[baseline][0] == f"{100 * state['extra'][baseline]['folder'][0]:.1f}"
    monkeypatch.setattr(soundalike.train.pretrain, "pretrain", never)
    monkeypatch.setattr(augmentations, "embed", never)
    assert augmentations.run(tmp_path / "s", None, tasks, small, cells, "cpu", quiet=True) == []


# ---- front ends


def test_front_ends_hear_clips_of_one_length(tasks: list[Task], small: Recipe) -> None:
    cells = frontends.cells(tasks[:1], small, frontends.FRONT_ENDS, seeds=2)
    assert len(cells) == 2 * 3 * 2 == len({cell.slug for cell in cells})
    assert [cell.levels["seed"] for cell in cells] == [0] * 6 + [1] * 6
    for cell in cells:
        recipe = small.override(cell.overrides)
        parts = recipe.build(classes=3)
        assert parts.frontend.clip_samples / 16_000 == pytest.approx(0.3, abs=0.0101)
        assert parts.encoder.dimensions == (1 if cell.levels["frontend"] == "raw" else 2)
        supervised = cell.levels["objective"] == "supervised"
        assert parts.objective.needs_labels == supervised
        assert recipe.sections["recordings"]["unlabelled"] == ("drop" if supervised else "keep")
        assert recipe.training.seed == recipe.sections["recordings"]["label_seed"] == cell.levels["seed"]
    one_second = small.override({"seconds": 1.0})
    assert frontends.front_end("logmel", one_second)["frontend.frames"] == 98
    assert frontends.front_end("raw", one_second.override(frontends.front_end("logmel", one_second)))[
        "frontend.seconds"
    ] == pytest.approx(0.995)
    with pytest.raises(SoundalikeError, match="did you mean 'raw'"):
        frontends.cells(tasks, small, ["row"])


def test_the_study_of_front_ends(
    tasks: list[Task], small: Recipe, cache: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = frontends.cells(tasks[:1], small, objectives=["supervised"], seeds=2)
    assert frontends.run(tmp_path / "s", None, tasks[:1], small, cells, "cpu", quiet=True) == []
    state = json.loads((tmp_path / "s" / STUDY).read_text())
    assert is_picture(tmp_path / "s" / frontends.FIGURE)
    shown = {tuple(row[:3]): row for row in rows_of(tmp_path / "s" / clar.REPORT)}
    for level in ("spectrogram", "raw"):
        for objective, measure in (("supervised", "linear"), ("supervised", "head")):
            records = [
                record
                for record in state["finished"].values()
                if (record["levels"]["frontend"], record["levels"]["objective"]) == (level, objective)
            ]
            values = [100 * record["scores"][measure] for record in records]
            row = shown[level, objective, {"linear": "linear probe", "head": "own head"}[measure]]
            assert row[-1] == f"{np.mean(values):.1f} ± {np.std(values):.1f}"
            assert row[3:5] == ["2", f"{records[0]['trained']['pairs']}"]
            assert row[6] == f"{records[0]['scores']['parameters']:,}"
        baseline = state["extra"]["untrained encoder"][level]["folder"]
        assert len(baseline) == 2
        row = shown[level, "untrained encoder", "linear probe"]
        assert row[-1] == f"{100 * np.mean(baseline):.1f} ± {100 * np.std(baseline):.1f}"
    assert shown["raw", "supervised", "own head"][6] != shown["spectrogram", "supervised", "own head"][6]
    monkeypatch.setattr(soundalike.train.pretrain, "pretrain", never)
    assert frontends.run(tmp_path / "s", None, tasks[:1], small, cells, "cpu", quiet=True) == []


# ---- figures


def test_figures_of_studies_that_are_not_finished(tmp_path: Path) -> None:
    from soundalike.eval.study.figure import draw_curves, draw_grid, draw_groups

    some, one = Summary(50.0, 2.0, 3), Summary(40.0, 0.0, 1)
    panels = {f"task $ {number}": {"joint": [None, some], "two-stage": [None, None]} for number in range(4)}
    baselines = {title: {"untrained encoder": [one, None]} for title in panels}
    draw_curves([0.1, 1.0], {"linear probe": panels, "own head": panels}, baselines, tmp_path / "curves.png")
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
