"""Two processes that torchrun starts on a CPU train as one with the whole batch does, through the command line.

It starts three processes that import PyTorch, so it runs where SOUNDALIKE_SLOW_TESTS is set; what the ranks exchange
is tested in `test_objective` in any case.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conftest import TINY
from soundalike.data.tables import read_table

KEYS = {**TINY, "steps": 3, "batch_size": None}


@pytest.mark.skipif("SOUNDALIKE_SLOW_TESTS" not in os.environ, reason="SOUNDALIKE_SLOW_TESTS is not set")
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    options = [word for key, value in KEYS.items() if value is not None for word in (f"--{key}", str(value))]
    train = ["-m", "soundalike", "pretrain", "--recipe", "doppelgangers-cpu", "--device", "cpu", "--quiet", *options]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launched = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    for name, start, pairs in (("two", launched, 8), ("one", [], 16)):
        command = [sys.executable, *start, *train, "--batch-size", str(pairs), "--out", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    two, one = (load_file(tmp_path / name / "model.safetensors") for name in ("two", "one"))
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, rtol=1e-3, atol=1e-3)
    losses = []
    for name in ("two", "one"):
        (log,) = (tmp_path / name / "logs").rglob("metrics.csv")
        losses.append([float(row["loss"]) for row in read_table(log, ("step", "loss")).rows()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
