"""Kept models and the curve of a probe while training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import TINY
from small_studies import is_picture
from soundalike import load
from soundalike.data.tables import read_table
from soundalike.eval.convergence import TABLE

Cli = Callable[..., tuple[int, str, str]]
RUN = [f"--{key}={value}" for key, value in {**TINY, "steps": 5}.items()]


@pytest.fixture
def task(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label, scale in (("soft", 0.02), ("loud", 0.5)):
        for name in "abcd":
            path = tmp_path / "task" / label / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, scale * rng.uniform(-1, 1, 4000), 16_000)
    return tmp_path / "task"


def test_models_are_kept_and_probed(task: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "run"
    small = ("pretrain", "--recipe", "doppelgangers-cpu", "--device", "cpu", "--quiet", *RUN, "--out")
    code, _, err = cli(*small, out, "--keep", 2, "--probe", "folder", "--probe-data", task)
    assert code == 0, err
    assert sorted(path.name for path in (out / "kept").iterdir()) == [
        f"step-{step:08}.safetensors" for step in (2, 4, 5)
    ]
    rows = read_table(out / TABLE, ("step", "task", "probe", "score")).rows()
    assert [(row["step"], row["probe"]) for row in rows] == [
        (str(s), p) for s in (0, 2, 4, 5) for p in ("linear", "knn")
    ]
    assert all(row["task"] == "folder" and 0 <= float(row["score"]) <= 1 for row in rows)
    assert is_picture(out / "convergence.png")
    sound = [np.random.default_rng(1).uniform(-1, 1, 5000).astype(np.float32)]
    kept, last = load(out / "kept" / "step-00000005.safetensors"), load(out)
    assert np.array_equal(kept(sound), last(sound)), "the last kept model is the run's"
    assert kept.training["steps"] == 5
    # keeping and probing change nothing of the training
    assert cli(*small, tmp_path / "other")[0] == 0
    assert np.array_equal(load(tmp_path / "other")(sound), last(sound))
    assert not (tmp_path / "other" / "kept").exists()


def test_a_probe_needs_to_know_when_and_where(task: Path, tmp_path: Path, cli: Cli) -> None:
    for more in (
        ("--probe", "folder", "--probe-data", task),
        ("--keep", 2, "--probe", "folder"),
        ("--probe-data", task),
    ):
        code, _, err = cli("pretrain", "--out", tmp_path / "run", *more)
        assert (code, err.count("\n")) == (2, 1)
        assert "--probe TASK needs --probe-data DIR, and --keep STEPS for how often" in err
    code, _, err = cli("pretrain", "--out", tmp_path / "run", "--keep", 0)
    assert (code, "--keep is 0: give a number of steps from 1" in err) == (2, True)
