"""What several test files share: a recipe that trains within a second, and a run of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

# Tests compute on small tensors, where threads mostly wait for each other. Before the first import of torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What is compiled in one session of tests serves the next one.
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "compiled"))

# What is decoded or prepared goes there, and not among the caches of whoever runs the tests.
os.environ["SOUNDALIKE_CACHE"] = str(Path(__file__).parents[1] / ".pytest_cache" / "recordings")

# A shell that runs the tests in the background has Ctrl-C ignored, for them and for every process that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from soundalike.cli import main
from soundalike.model.recipe import Recipe
from soundalike.train.pretrain import pretrain

TINY = {
    "seconds": 0.3,
    "frames": 24,
    "encoder.width": 8,
    "encoder.size": 16,
    "head.hidden": 16,
    "head.size": 8,
    "batch_size": 8,
    "steps": 6,
    "precision": "fp32",
    "compile": "never",
    "validate_every": 0,
}


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    """``doppelgangers-cpu``, made so small that six steps take less than a second."""
    return Recipe.load("doppelgangers-cpu").override(TINY)


@pytest.fixture(scope="session")
def run(tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run of ``tiny``. Tests read it and leave it as it is."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    pretrain(tiny, out, device="cpu", quiet=True)
    return out


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process: exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit:
            code = exit.code if isinstance(exit.code, int) else 1
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
