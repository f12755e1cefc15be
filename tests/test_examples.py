"""The scripts in ``examples/`` run, do what they say, and leave the files that they name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments], capture_output=True, text=True, timeout=600, check=True
    )


def test_recover_patch(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    done = run("recover_patch.py", "--steps", "30", "--walkers", "2", "--seed", "7", "--out", str(out))
    rows = {line[:32].strip(): line[32:].split() for line in done.stdout.splitlines()}
    start, result = (float(number) for number in rows["loss"])
    assert 0 < result < 0.7 * start
    assert {"pitch of vco_1, semitones off", "mean knob error, all", "mean knob error, pitch"} <= {*rows}
    for name in ("target.wav", "start.wav", "result.wav", "recovery.png"):
        assert (out / name).stat().st_size > 1000
        assert name != "recovery.png" or (out / name).read_bytes().startswith(b"\x89PNG")


def test_help_names_every_option() -> None:
    text = run("recover_patch.py", "--help").stdout
    assert all(option in text for option in ("--steps", "--walkers", "--delta", "--seed", "--out"))


@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_no_example_works_at_import_time(script: str) -> None:
    code = f"import runpy; runpy.run_path({str(EXAMPLES / script)!r}, run_name='imported')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == ""
