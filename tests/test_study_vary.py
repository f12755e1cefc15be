"""The study of any recipe keys."""

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
from soundalike.eval.study.runs import STUDY
from soundalike.eval.study.scoring import make_tasks
from soundalike.eval.study.vary import VaryStudy
from soundalike.model.recipe import Recipe


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDALIKE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def test_a_grid_of_keys(tiny: Recipe) -> None:
    keys = [("training.batch_size", [4, 8]), ("voice", ["voice", "voice-fm"]), ("milestones", [[0.5], [0.5, 0.9]])]
    study = VaryStudy(tiny, 2, {"steps": 3}, keys)
    runs = study.runs([])
    assert len(runs) == 2 * 2 * 2 * 2 == len({run.slug for run in runs})
    assert [run.levels["seed"] for run in runs] == [0] * 8 + [1] * 8
    for run in runs:
        recipe = tiny.override(run.overrides)
        assert recipe.training.batch_size == run.levels["training.batch_size"]
        assert recipe.sections["voice"]["name"] == run.levels["voice"]
        assert str(list(recipe.training.milestones)) == run.levels["milestones"]
        assert (recipe.training.seed, recipe.training.steps) == (run.levels["seed"], 3)
    assert not study.holds_out
    assert study.untrained() == [({}, study.recipe)]  # no key changes what embeds
    other = VaryStudy(tiny, 1, None, [("batch_size", [4, 8]), ("encoder.width", [8, 16])])
    assert [levels for levels, _ in other.untrained()] == [{"encoder.width": 8}, {"encoder.width": 16}]
    assert [recipe.sections["encoder"]["width"] for _, recipe in other.untrained()] == [8, 16]


def test_synthetic_sounds_on_the_command_line(
    tiny: Recipe,
    clips: Path,
    cache: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two keys; a finished run never runs again."""
    recipe = tmp_path / "small.yaml"
    recipe.write_text(tiny.override({"encoder.width": 8, "batch_size": 4}).to_yaml())
    where = ["--recipe", recipe, "--out", tmp_path / "out", "--task", "folder", "--data", clips]
    keys = ["--key", "encoder.width", "--values", "8", "12", "--key", "delta", "--values", "0.25"]
    command = ["study", "vary", *map(str, where), *keys, "--set", "steps=2", "--budget", "9", "--device", "cpu"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out' / 'report.html'}\n"
    assert "0 of 2 runs done, 9 min left: encoder.width 8, delta 0.25, seed 0" in err
    state = json.loads((tmp_path / "out" / STUDY).read_text())
    assert set(state["finished"]) == {"encoder.width-8_delta-0.25_seed-0", "encoder.width-12_delta-0.25_seed-0"}
    assert state["definition"]["minutes_per_run"] == 4.5
    assert is_picture(tmp_path / "out" / "vary.png")
    shown = {tuple(row[:2]): row for row in rows_of(tmp_path / "out" / "report.html")}
    assert shown["encoder.width", "delta"][2:] == ["seeds", "pairs a run", "parameters", "folder"]
    for record in state["finished"].values():
        assert record["trained"]["steps"] == 2
        (value,) = [one["accuracy"] for one in record["scores"]["measured"] if one["reader"] == "linear probe"]
        row = shown[str(record["levels"]["encoder.width"]), "0.25"]
        assert row[2:5] == ["1", "8", f"{record['scores']['parameters']:,}"]
        assert row[5:] == [f"{100 * value:.1f}"]
    for width in (8, 12):  # each architecture has an untrained encoder of its own
        (value,) = [
            one["accuracy"]
            for one in state["extra"]["untrained encoder"]
            if one["levels"] == {"encoder.width": width} and one["reader"] == "linear probe"
        ]
        assert shown[str(width), "untrained encoder"][5] == f"{100 * value:.1f}"

    monkeypatch.setattr(soundalike.train.pretrain, "pretrain", never)
    assert main(command) == 0
    assert main([*command, "--seeds", "2"]) == 2
    assert "holds a study with other runs (2 of them, not 4)" in capsys.readouterr().err


def test_lengths_are_keys_where_there_is_no_budget(tiny: Recipe, clips: Path, cache: None, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(tiny.override({"minutes": 30, "batch_size": 4}).to_yaml(), encoding="utf-8")
    given = (
        f"study vary --recipe {recipe} --task folder --data {clips} --out {tmp_path / 's'} --key pairs --values 8 20"
    )
    assert main([*given.split(), "--quiet"]) == 0
    found = json.loads((tmp_path / "s" / STUDY).read_text())
    assert found["definition"]["budget_minutes"] is None
    assert [run["trained"]["steps"] for run in found["finished"].values()] == [2, 5]


def test_recordings_with_and_without_labels(clips: Path, cache: None, tmp_path: Path) -> None:
    """Runs are trained on the task, but for one fold; a head that learned labels is scored beside the probe."""
    keys = [("recordings.labels", [0.4, 1.0])]
    supervised = {"head": "classifier", "objective": "supervised", "recordings.unlabelled": "drop"}
    study = VaryStudy(small_recipe(), 2, supervised, keys)
    assert study.holds_out
    tasks = make_tasks([("folder", clips, read("folder", clips))])
    assert study.run(tmp_path / "s", None, tasks, "cpu", quiet=True) == []
    state = json.loads((tmp_path / "s" / STUDY).read_text())
    assert [record["levels"]["task"] for record in state["finished"].values()] == ["folder"] * 4
    rows = [row for row in rows_of(tmp_path / "s" / "report.html") if row[0] in ("0.4", "1")]
    assert [row[:3] for row in rows] == [
        [part, reader, "2"] for part in ("0.4", "1") for reader in ("linear probe", "own head")
    ]
    for row in rows:
        values = [
            100 * one["accuracy"]
            for record in state["finished"].values()
            for one in record["scores"]["measured"]
            if (f"{record['levels']['recordings.labels']:g}", one["reader"]) == (row[0], row[1])
        ]
        assert row[-1] == f"{np.mean(values):.1f} ± {np.std(values):.1f}"
    assert is_picture(tmp_path / "s" / "vary.png")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ([], "give at least one --key"),
        ([("wiidth", [3])], "unknown recipe key 'wiidth'"),
        ([("training.batchsize", [3])], "training has no key 'batchsize': did you mean 'batch_size'?"),
        ([("batch_size", [4, "many"])], "training.batch_size is 'many': give a whole number"),
        ([("batch_size", [4, 1])], "training.batch_size is 1: give at least 2"),
        ([("frontend", ["logmel", "raw"])], "the front end 'raw' needs 1"),
        ([("batch_size", [4, 8, 4])], "--key batch_size --values is '4 8 4': give each level once"),
        ([("delta", [0.1, 0.10])], "--key delta --values is '0.1 0.1': give each level once"),
        ([("batch_size", [4]), ("training.batch-size", [8])], "this is batch_size again; give each key once"),
        ([("batch_size", [4]), ("batch_size", [8])], "--key batch_size: give each key once"),
        ([("voice", ["voice"]), ("voice.name", ["voice-fm"])], "this is voice again"),
        ([("seed", [1, 2])], "--key seed: the study vary sets this itself, for each of its runs"),
        ([("training.minutes", [1, 2])], "--key training.minutes: the study vary sets this itself"),
    ],
)
def test_keys_that_do_not_fit(tiny: Recipe, keys: list[tuple[str, list[object]]], said: str) -> None:
    with pytest.raises(SoundalikeError) as error:
        VaryStudy(tiny, 1, None, keys)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--key batch_size", "required: --values"),
        ("--values 3", "required: --key"),
        ("--key batch_size --values", "argument --values: expected at least one argument"),
        ("--key batch_size --key width --values 4", "2 --key and 1 --values: give --values behind each --key"),
        ("--key wiidth --values 4", "unknown recipe key 'wiidth'"),
        ("--key batch_size --values 4 4", "give each level once"),
        ("--key batch_size --values 4 --set training.batch_size=8", "--set training.batch_size: --key varies this"),
        ("--key batch_size --values 4 --seeds 0", "--seeds is 0"),
        ("--key batch_size --values 4", "y: no such folder"),
    ],
)
def test_mistakes(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    where = "--out x --budget 1 --task folder --data y --recipe doppelgangers-cpu"
    assert main([*f"study vary {where}".split(), *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())
