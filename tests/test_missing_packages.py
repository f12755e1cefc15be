"""What works without packages that a machine may not have, and what is said of those that are missed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TINY
from tests.hidden_packages import FOR_FILES, hide_packages

from soundalike.core import extras

ROOT = Path(__file__).parents[1]


def python(folder: Path, program: str, *missing: str) -> subprocess.CompletedProcess[str]:
    """Runs a program where packages are missing."""
    hide_packages(folder, missing)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT / "src"), str(ROOT)))}
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.parametrize("name", FOR_FILES)
def test_a_hidden_package_is_not_found(name: str, tmp_path: Path) -> None:
    program = f"import importlib.util; print(importlib.util.find_spec({name!r})); import {name}"
    done = python(tmp_path, program, *FOR_FILES)
    assert done.stdout == "None\n"
    assert f"ModuleNotFoundError: No module named '{name}'" in done.stderr


def test_training_on_synthetic_sound_needs_no_package_for_files(tmp_path: Path) -> None:
    program = f"""
import numpy as np
import soundalike
from soundalike.core.compile import use_cache
from soundalike.model.fit_compact import with_compact
from soundalike.model.recipe import Recipe
from soundalike.train.pretrain import pretrain

recipe = Recipe.load("doppelgangers-cpu").override({TINY!r} | {{"steps": 3, "validate_every": 2}})
path = pretrain(recipe, "run", device="cpu", quiet=True)
model = soundalike.load(path)
embedding = model([np.sin(np.arange(model.sample_rate) / 10).astype(np.float32)])
assert embedding.shape == (1, model.size), embedding.shape
assert np.isfinite(np.asarray(embedding)).all()
compact = with_compact(model, size=4, sounds=8)
compact.save("compact.safetensors")
assert soundalike.load("compact.safetensors")([np.ones(8000, np.float32)]).shape == (1, compact.size)
use_cache()
"""
    done = python(tmp_path, program, *FOR_FILES)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model.safetensors").stat().st_size > 0


def command(folder: Path, *arguments: object, missing: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Runs a command where packages are missing."""
    program = f"import sys; from soundalike.cli import main; sys.exit(main({[str(part) for part in arguments]!r}))"
    return python(folder, program, *missing)


NEEDED = [
    ("lightning", "train", ("pretrain", "--out", "run")),
    ("tensorboard", "train", ("pretrain", "--out", "run", "--resume")),
    ("yaml", "train", ("pretrain", "--print-recipe")),
    ("lightning", "train", ("finetune", "ears", "--task", "esc10", "--data", ".", "--out", "run")),
    ("lightning", "train", ("study", "labels", "--out", "study")),
    ("matplotlib", "train", ("study", "spectra", "--out", "study")),
    ("matplotlib", "train", ("listen", "--out", "pairs.html")),
    ("yaml", "train", ("listen", "--out", "pairs.html")),
    ("matplotlib", "train", ("render", "--out", "patches")),
    ("requests", "data", ("data", "get", "fsdd")),
    ("starlette", "pages", ("review", ".")),
    ("uvicorn", "pages", ("review", ".")),
    ("starlette", "pages", ("studio", "--no-browser")),
    ("yaml", "train", ("studio", "--no-browser")),
    ("onnx", "onnx", ("export", "--onnx", "ears.onnx")),
]


@pytest.mark.parametrize(("package", "extra", "arguments"), NEEDED)
def test_a_command_names_the_extra_that_is_missing(
    package: str, extra: str, arguments: tuple[object, ...], tmp_path: Path
) -> None:
    done = command(tmp_path, *arguments, missing=(package,))
    assert (done.returncode, done.stdout) == (2, "")
    end = f" needs packages that are not installed ({package}): pip install 'soundalike[{extra}]'\n"
    assert done.stderr.startswith("soundalike: ")
    assert done.stderr.endswith(end), done.stderr
    assert done.stderr.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"sitecustomize.py", "__pycache__"}  # nothing was begun


@pytest.mark.parametrize(
    "arguments",
    [
        ("embed", ROOT / "data", "--out", "embeddings.parquet"),
        ("embed", "clips.parquet", "--out", "embeddings.npz"),
        ("map", ROOT / "data", "--embeddings", "clips.parquet", "--out", "map.html"),
        ("teach", "clips.parquet", "--out", "mine.safetensors"),
    ],
)
def test_parquet_is_missed_where_a_file_is_one(
    arguments: tuple[object, ...], cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clips.parquet").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert err.endswith(" needs packages that are not installed (pyarrow): pip install 'soundalike[parquet]'\n"), err
    assert err.count("\n") == 1
    assert [*tmp_path.iterdir()] == [tmp_path / "clips.parquet"]


def test_several_missing_packages_are_named_together(tmp_path: Path) -> None:
    done = command(tmp_path, "study", "labels", "--out", "study", missing=("lightning", "matplotlib", "yaml"))
    assert done.stderr == (
        "soundalike: soundalike study needs packages that are not installed (lightning, yaml, matplotlib): "
        "pip install 'soundalike[train]'\n"
    )


def test_an_extra_is_named_once_and_what_is_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "EXTRAS", {"not_there": "train", "nor_this": "data", "numpy": "onnx"})
    with pytest.raises(
        ImportError, match=r"^it needs .* \(not_there, nor_this\): pip install 'soundalike\[data,train\]'$"
    ):
        extras.require("it", "not_there", "numpy", "nor_this")
    extras.require("it", "numpy")


@pytest.mark.parametrize("package", ["lightning", "tensorboard"])
def test_a_program_that_trains_is_told_too(package: str, tmp_path: Path) -> None:
    done = python(tmp_path, "from soundalike.train.pretrain import pretrain", package)
    assert done.stderr.endswith(
        f"MissingPackagesError: soundalike.train needs packages that are not installed ({package}): "
        "pip install 'soundalike[train]'\n"
    )


def test_every_command_can_be_told_of_without_any_extra(tmp_path: Path) -> None:
    program = """
from soundalike import cli
for command in ((), *((name,) for name in map(cli._name, cli.COMMANDS))):
    try:
        cli.main([*command, "--help"])
    except SystemExit as ended:
        assert ended.code == 0, command
"""
    done = python(tmp_path, program, *extras.EXTRAS)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_extras_are_those_that_are_declared() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    modules = {"PyYAML": "yaml"}
    for name, extra in extras.EXTRAS.items():
        packages = [re.match(r"[\w-]+", each)[0] for each in declared[extra]]  # type: ignore[index]
        assert name in [modules.get(package, package) for package in packages], name
