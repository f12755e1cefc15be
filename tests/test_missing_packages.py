"""What works without packages that a machine may not have, and what is said of those that are missed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import TINY
from tests.hidden_packages import FOR_FILES, hide_packages

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
