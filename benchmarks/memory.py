"""The most memory that ``soundalike pretrain`` holds at the paper's batch of 768 pairs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.harness import Row, soundalike

PAIRS, STEPS = 768, 3


def pretraining() -> Row:
    """Peak resident memory of the command, in GB of 10⁹ bytes."""
    settings = ("--recipe", "doppelgangers", "--batch-size", str(PAIRS), "--steps", str(STEPS), "--device", "cpu")
    with tempfile.TemporaryDirectory() as temporary:
        peak = peak_memory(soundalike("pretrain", *settings, "--quiet", "--out", Path(temporary) / "run"))
    return Row(
        "peak memory of pre-training",
        "GB",
        ours=peak / 1e9,
        target=6.0,
        bound="ours <=",
        note=f"resident set at its highest, batch {PAIRS}, {STEPS} steps",
        command=f"soundalike pretrain {' '.join(settings)} --out run",
    )


def peak_memory(command: Sequence[str]) -> int:
    """Runs a command and gives the bytes of its largest process.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    # By way of a small process: a new one counts what the process that started it held.
    done = subprocess.run([sys.executable, "-c", _MEASURE, *command], check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024)  # Linux counts in KiB


_MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


ROWS: dict[str, Callable[[], Row]] = {"peak memory of pre-training": pretraining}
