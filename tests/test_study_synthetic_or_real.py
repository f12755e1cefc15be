"""Synthetic pairs against recordings: what runs hear, what they are scored on, and how they are compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from small_studies import is_picture, rows_of, write_clips
from soundalike.core.errors import SoundalikeError
from soundalike.data import datasets
from soundalike.eval.study.results import Results
from soundalike.eval.study.runs import Run
from soundalike.eval.study.scoring import Task, make_tasks
from soundalike.eval.study.synthetic_or_real import REAL, SyntheticOrReal, compared
from soundalike.model.recipe import Recipe

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    found = []
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        folder = write_clips(tmp_path / name)
        for clip in folder.rglob("*.wav"):  # of its own length: else the three would be one set
            clip.write_bytes(clip.read_bytes() + bytes(2 * len(found)))
        found.append(("folder", folder, datasets.read("folder", folder)))
    return make_tasks(found, None)


def test_no_run_hears_what_it_is_scored_on(tasks: list[Task], tiny: Recipe) -> None:
    runs = SyntheticOrReal(tiny, seeds=2).runs(tasks)
    assert len(runs) == 2 * (2 + 4 * 3)
    for run in runs:
        recipe = tiny.override(run.overrides)
        recipe.build()
        heard, scored = recipe.recordings, run.levels.get("task")
        if run.levels["pairs"] in ("doppelgangers", "families"):
            assert (heard, scored) == (None, None)
        else:
            assert heard is not None
            place = [task.name for task in tasks].index(str(scored))
            assert heard.data == str(tasks[(place + 1) % 3].data)
            assert heard.fold == 0
        training = recipe.sections["training"]
        assert (training["seed"], training["steps"]) == (run.levels["seed"], tiny.sections["training"]["steps"])
    views = {str(run.levels["pairs"]): tiny.override(run.overrides).sections["views"] for run in runs}
    assert [views[level]["pair"] for level in REAL] == list(REAL)
    assert views["layered"]["layers"] == 5
    assert len(views["jitter"]["augment"]) == 5
    assert (views["mixed"]["part"], views["doppelgangers"]["delta"]) == (0.5, 0.25)


def test_a_folder_is_heard_by_all(tasks: list[Task], tiny: Recipe, tmp_path: Path) -> None:
    study = SyntheticOrReal(tiny, seeds=1, heard=tasks[1].data, pairs=["doppelgangers", "jitter"])
    _, real = study.runs([tasks[0], tasks[2]])
    assert "task" not in real.levels
    assert real.overrides["recordings.data"] == str(tasks[1].data)
    with pytest.raises(SoundalikeError, match=r"holds 18 recordings of the task folder 2, such as .* no run may hear"):
        study.runs(tasks[:2])
    with pytest.raises(SoundalikeError, match=r"jitter hear recordings, .*: give --heard FOLDER, or another --task"):
        SyntheticOrReal(tiny, seeds=1, pairs=["jitter"]).runs(tasks[:1])
    with pytest.raises(SoundalikeError, match="the recipe clar has no voice"):
        SyntheticOrReal(Recipe.load("clar"))


def test_differences_are_paired_by_seed() -> None:
    def run(pairs: str, seed: int, **accuracy: float) -> tuple[Run, dict[str, object]]:
        measured = [{"task": task, "reader": "linear probe", "accuracy": value} for task, value in accuracy.items()]
        record = {"scores": {"measured": measured, "parameters": 1}, "trained": {"pairs": 1}}
        return Run({"pairs": pairs, "seed": seed}, {}), record

    finished = [
        *(run("doppelgangers", seed, a=0.5 + 0.1 * seed, b=0.4) for seed in range(3)),
        *(run("jitter", seed, a=0.45 + 0.1 * seed, b=0.4 - 0.01 * seed) for seed in range(3)),
    ]
    results = Results(["a", "b"], finished, {})
    one, other, points, ahead, p = compared(results, "doppelgangers", "jitter")
    assert (one, other, points, ahead) == ("doppelgangers", "jitter", "+3.0", "3 of 3 seeds")
    assert float(p) == pytest.approx(0.0092, abs=0.0005)  # t of (2.5, 3, 3.5) against 0 with 2 degrees of freedom
    assert compared(results, "doppelgangers", "same")[2:] == ("–", "–", "–")


def test_the_study_on_the_command_line(tasks: list[Task], tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "study"
    small = ["seconds=0.3", "frames=24", "encoder.width=8", "encoder.size=16", "head.hidden=16", "head.size=8"]
    code, printed, err = cli(
        *("study", "synthetic-or-real", "--out", out, "--budget", 10, "--seeds", 1, "--device", "cpu", "--quiet"),
        *("--task", "folder", "--data", tasks[0].data, "--task", "folder", "--data", tasks[1].data),
        *("--pairs", "doppelgangers", "jitter", "--set", *small, "batch_size=8", "steps=2", "compile=never"),
    )
    assert code == 0, err
    assert is_picture(out / "synthetic-or-real.png")
    state = json.loads((out / "study.json").read_text(encoding="utf-8"))
    assert len(state["definition"]["runs"]) == 3
    rows = rows_of(out / "report.html")
    assert any(row[:2] == ["doppelgangers", "jitter"] for row in rows)
    assert printed.splitlines()[-1] == str(out / "report.html")
