"""The session on a GPU, run on the CPU: every step, and what is left where one goes wrong or it is broken off."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks are run from the checkout, not installed

from benchmarks.gpu import __main__ as session  # noqa: E402
from benchmarks.gpu import pieces, plan  # noqa: E402
from benchmarks.gpu.plan import Settings, Step  # noqa: E402
from benchmarks.gpu.records import LOG, ROWS, Records, table  # noqa: E402
from tests.hidden_packages import FOR_FILES, hide_packages  # noqa: E402

SMALL = Settings(device="cpu", small=True, minutes=1.0)
NAMES = ("one", "two", "three")


def planned(**calls: str) -> list[Step]:
    """Three steps, of which some do other things than ``quick``."""
    return [Step(name, f"tests.gpu_steps:{calls.get(name, 'quick')}", limit=2.0) for name in NAMES]


def command(*arguments: object, packages: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A session as a person starts it, from any folder."""
    path = [str(part) for part in (packages, ROOT / "src", ROOT) if part is not None]
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--small", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def by_step(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["step"]: row for row in Records(folder).rows()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a whole session, of tiny sizes, on a machine without the packages that it need not have."""
    packages, out = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("session") / "out"
    hide_packages(packages, FOR_FILES)
    done = command("--minutes", 10, "--out", out, packages=packages)
    assert done.returncode == 0, done.stdout + done.stderr + (out / LOG).read_text()
    return out


def test_every_step_runs_on_a_bare_machine(finished: Path) -> None:
    rows = Records(finished).rows()
    assert [row["step"] for row in rows] == [step.name for step in plan.steps(SMALL)]
    assert all(row["ok"] for row in rows)


def test_every_voice_and_both_recipes_are_in_the_plan() -> None:
    from soundalike.model.recipe import shipped
    from soundalike.synth import VOICES

    assert set(plan.VOICES) == set(VOICES)
    assert {*plan.RECIPES, *plan.BATCHES} <= set(shipped())


def test_the_cpu_agrees_with_itself(finished: Path) -> None:
    rows = by_step(finished)
    for voice in plan.VOICES:
        assert rows[f"agreement: {voice}"]["median_db"] == 0.0
    for recipe in plan.RECIPES:
        assert rows[f"agreement: step of {recipe} in fp32"]["gradient_difference"] == 0.0
        assert 0.0 < rows[f"agreement: {recipe} in bf16"]["gradient_difference"] < 1.0  # bf16 was really used
        assert rows[f"agreement: pairs of {recipe} in any batch"]["largest_difference"] < 1e-4


def test_the_shares_of_a_step_are_of_all_its_parts(finished: Path) -> None:
    for recipe in plan.RECIPES:
        shares = by_step(finished)[f"speed: shares of a step of {recipe}"]["share_of_device_time"]
        assert set(shares) == {"rendering", "front end", "encoder and loss", "backward", "optimiser"}
        assert sum(shares.values()) == pytest.approx(1.0, abs=1e-3)
        assert all(share > 0.0 for share in shares.values())


def test_a_session_leaves_a_model_in_pieces_and_a_loss_curve(finished: Path, tmp_path: Path) -> None:
    import soundalike

    for name in ("half.safetensors", "compact.safetensors"):
        pieces.join(finished / "pieces", name, tmp_path / name)
    model = soundalike.load(tmp_path / "compact.safetensors")
    assert model.compact is not None
    assert model([np.zeros(16_000, np.float32)]).shape == (1, model.size)
    assert soundalike.load(tmp_path / "half.safetensors").compact is None
    with (finished / "loss.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == ["1", "10"]
    assert all(np.isfinite(float(row["loss"])) for row in rows)


def test_a_training_goes_on_in_a_later_session(finished: Path, tmp_path: Path) -> None:
    done = command("--out", tmp_path / "out", "--resume", finished, "--only", "training", "model")
    assert done.returncode == 0, done.stdout + done.stderr
    before, after = by_step(finished)["training"], by_step(tmp_path / "out")["training"]
    assert (before["steps"], after["steps"]) == (12, 24)
    assert after["earlier_seconds"] > 0.0


def test_a_fault_in_any_step_costs_that_step_alone(tmp_path: Path) -> None:
    names = [step.name for step in plan.steps(SMALL)]
    kept = {"agreement: voice", "speed: embed", "training", "model"}
    faults = {name: "raise" for name in names if name not in kept} | {"agreement: scene": "exit"}
    options = [part for name, kind in faults.items() for part in ("--fault", f"{name}={kind}")]
    done = command("--minutes", 10, "--out", tmp_path / "out", *options)
    assert done.returncode == 1
    rows = by_step(tmp_path / "out")
    assert list(rows) == names
    assert {name for name, row in rows.items() if row["ok"]} == kept
    assert "RuntimeError: planted" in rows["machine"]["error"]
    assert "exit code 9" in rows["agreement: scene"]["error"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("kind", "reason"), [("raise", "planted"), ("exit", "exit code 9"), ("hang", "which is its limit")]
)
def test_a_fault_neither_stops_the_other_steps_nor_loses_their_results(
    name: str, kind: str, reason: str, tmp_path: Path
) -> None:
    records = Records(tmp_path)
    assert session.run(records, SMALL, planned(), {name: kind}) == 1
    rows = by_step(tmp_path)
    assert list(rows) == list(NAMES)
    assert not rows[name]["ok"]
    assert reason in rows[name]["error"]
    assert all(row["ok"] and row["value"] == 1.0 for other, row in rows.items() if other != name)


def test_a_process_that_never_begins_costs_a_step_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session.sys, "executable", "false")
    assert session.run(Records(tmp_path), SMALL, planned(), {}) == 1
    assert [row["error"] for row in Records(tmp_path).rows()] == ["its process ended with exit code 1"] * 3


def test_a_result_outside_its_bound_is_kept(tmp_path: Path) -> None:
    assert session.run(Records(tmp_path), SMALL, planned(two="wrong"), {}) == 1
    row = by_step(tmp_path)["two"]
    assert (row["ok"], row["error"], row["value"]) == (False, "too large", 7.0)


def test_nothing_begins_when_the_time_is_over(tmp_path: Path) -> None:
    settings = Settings(device="cpu", small=True, minutes=1e-4)
    session.run(Records(tmp_path), settings, planned(), {})
    rows = Records(tmp_path).rows()
    assert [row["step"] for row in rows] == list(NAMES)
    assert "no time was left" in rows[-1]["error"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_session_that_is_broken_off_keeps_what_was_finished(number: signal.Signals, tmp_path: Path) -> None:
    start = (
        "import sys; from pathlib import Path; from tests.test_gpu_session import *\n"
        f"sys.exit(session.run(Records(Path({str(tmp_path)!r})), SMALL, planned(two='slow'), {{}}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    parent = subprocess.Popen([sys.executable, "-c", start], env=environment, stderr=subprocess.DEVNULL)
    records = Records(tmp_path)
    try:
        _until(lambda: (records.now() or ("",))[0] == "two")
        child = _children(parent.pid)[0]
        parent.send_signal(number)
        parent.wait(30)
        _until(lambda: not _alive(child))  # nothing computes on unseen
    finally:
        parent.kill()
    assert [row["step"] for row in records.rows()] == ["one"]


def _until(true: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_row_that_was_cut_short_costs_no_other(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.add("one", 1.0, {"value": 1 / 3})
    with (tmp_path / ROWS).open("a") as stream:
        stream.write('{"step": "two", "o')
    records.add("three", 2.0, {}, "gone")
    assert [(row["step"], row["ok"]) for row in records.rows()] == [("one", True), ("three", False)]
    assert records.rows()[0]["value"] == 0.33333
    assert table(records.rows()).splitlines()[2:] == ["| one | value 0.3333 | 1 |", "| three | **gone** | 2 |"]


@given(content=st.binary(max_size=200), size=st.integers(1, 64))
def test_pieces_are_the_file_again(content: bytes, size: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "file").write_bytes(b"an earlier version")
    pieces.split(folder / "file", folder / "pieces", 5)
    (folder / "file").write_bytes(content)
    parts = pieces.split(folder / "file", folder / "pieces", size)
    assert all(part.stat().st_size <= size for part in parts)
    pieces.join(folder / "pieces", "file", folder / "again")
    assert (folder / "again").read_bytes() == content
    assert len(list((folder / "pieces").iterdir())) == len(parts) + 1  # nothing of the earlier version is left
    told = json.loads((folder / "pieces" / "file.pieces.json").read_text())
    subprocess.run(told["join"], shell=True, check=True, cwd=folder / "pieces")  # by hand too
    assert (folder / "pieces" / "file").read_bytes() == content


def test_a_piece_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(100)))
    first, second, *_ = pieces.split(tmp_path / "file", tmp_path / "pieces", 30)
    first.write_bytes(b"other")
    with pytest.raises(ValueError, match=first.name):
        pieces.join(tmp_path / "pieces", "file", tmp_path / "again")
    second.unlink()
    with pytest.raises(ValueError, match="there are no pieces of other"):
        pieces.join(tmp_path / "pieces", "other", tmp_path / "again")


def test_the_picture_is_drawn_where_it_can_be(tmp_path: Path) -> None:
    from benchmarks.gpu.training import pictures
    from benchmarks.gpu.worker import Context

    (tmp_path / "loss.csv").write_text("step,pairs,loss\n1,8,2.5\n10,80,1.5\n")
    assert pictures(Context(SMALL, Records(tmp_path), time.time() + 60.0))["picture"] == "loss.png"
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_arguments_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ROWS).write_text("")
    for arguments, reason in (
        (["--out", str(tmp_path)], "holds a session already"),
        (["--out", str(tmp_path / "new"), "--minutes", "0"], "give a number above 0"),
        (["--out", str(tmp_path / "new"), "--only", "nothing"], "names no step"),
        (["--out", str(tmp_path / "new"), "--fault", "machine=burn"], "burn"),
    ):
        with pytest.raises(SystemExit) as ended:
            session.main(arguments)
        assert ended.value.code == 2
        assert reason in capsys.readouterr().err
