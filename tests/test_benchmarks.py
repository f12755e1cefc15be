from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks are run from the checkout, not installed

from benchmarks import __main__ as runner  # noqa: E402
from benchmarks import harness, table  # noqa: E402
from benchmarks.harness import Rounds, Row, in_own_process  # noqa: E402

MACHINE = {
    "cpu": "Abacus",
    "cores": 4,
    "cores_used": 2,
    "memory_gb": 8.0,
    "flags": ["avx2"],
    "compiler": None,
    "gpu": None,
    "system": "Linux x86_64",
    "python": "3.11.0",
    "torch": "2.13.0",
    "threads": 2,
}


class Clock:
    """A clock that moves only when work is done."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: list[float]) -> Callable[[], None]:
        """Takes the given seconds, call after call; the last of them for ever."""
        remaining = list(seconds)

        def run() -> None:
            self.calls.append(name)
            self.now += remaining.pop(0) if len(remaining) > 1 else remaining[0]

        return run


def test_functions_take_turns_and_warm_up_is_left_out() -> None:
    clock = Clock()
    ours, theirs = clock.work("o", [9.0, 5.0, 1.0]), clock.work("t", [8.0, 6.0, 2.0])
    rounds = harness.alternate(ours, theirs, seconds=0.0, least=4, clock=clock)
    assert rounds == Rounds([1.0] * 4, [2.0] * 4, (9.0, 8.0))
    assert "".join(clock.calls) == "otot" + "ot" + "to" + "ot" + "to"  # two to warm up, then who is first changes


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 3), (4.5, 5), (100.0, 8)])
def test_rounds_go_on_for_the_seconds_between_least_and_most(seconds: float, expected: int) -> None:
    clock = Clock()
    rounds = harness.alternate(clock.work("o", [1.0]), seconds=seconds, least=3, most=8, warm_up=1, clock=clock)
    assert len(rounds.ours) == expected
    assert rounds.theirs == []


def test_a_row_has_medians_of_rates_and_the_median_of_the_ratios_of_rounds() -> None:
    # the machine was slow in round two, for both: the ratio of that round is like the others'
    row = Rounds([1.0, 10.0, 2.0], [4.0, 40.0, 6.0], (3.0, 5.0)).row("r", "sounds/s", 20, note="n", target=4.0)
    assert (row.ours, row.theirs, row.ratio) == (10.0, pytest.approx(20 / 6), 4.0)
    assert row.spread["ours"] == [6.0, 15.0]
    assert row.spread["ratio"] == [3.5, 4.0]
    assert row.note == "n; first call 3.0 s and 5.0 s; 3 rounds"
    alone = Rounds([1.0], [], (3.0,)).row("r", "sounds/s", 20)
    assert (alone.ours, alone.theirs, alone.ratio, alone.spread) == (20.0, None, None, {"ours": [20.0, 20.0]})


@pytest.mark.parametrize(
    ("values", "met"),
    [
        ({"ours": 1.0, "ratio": 10.0, "target": 10.0}, True),
        ({"ours": 99.0, "ratio": 9.9, "target": 10.0}, False),
        ({"ours": 99.0, "target": 10.0}, None),  # nothing to compare with
        ({"ours": 5.9, "target": 6.0, "bound": "ours <="}, True),
        ({"ours": 6.1, "target": 6.0, "bound": "ours <="}, False),
        ({"ours": 300.0, "target": 300.0, "bound": "ours >="}, True),
        ({"target": 300.0, "bound": "ours >="}, None),
        ({"ours": 1.0, "ratio": 2.0}, None),
    ],
)
def test_whether_a_target_is_met(values: dict[str, Any], met: bool | None) -> None:
    assert Row("r", "s", **values).met is met


def test_a_row_refuses_an_unknown_bound() -> None:
    with pytest.raises(ValueError, match="bound"):
        Row("r", "s", bound="ours <")


def test_rows_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "results" / "script.json"
    first = Row("a", "s", ours=1 / 3, theirs=2.0, ratio=6.0, target=5.0, spread={"ours": [0.3, 0.4]}, machine=MACHINE)
    runner.write(path, [first, Row("b", "s", note="not measured")])
    runner.write(path, [Row("b", "s", ours=7.0)])
    plain = json.loads(path.read_text())
    assert [row["row"] for row in plain] == ["a", "b"]
    assert all({"row", "ours", "theirs", "unit", "ratio", "target", "machine"} <= row.keys() for row in plain)
    assert plain[0]["ours"] == 0.33333
    assert plain[0]["machine"] == MACHINE
    again = runner.read(path)
    assert again[0] == Row.from_dict(first.to_dict())
    assert (again[1].ours, again[1].note) == (7.0, "")
    assert runner.read(tmp_path / "none.json") == []
    assert Row.from_dict({"row": "r", "unit": "s", "ours": 1.0, "colour": "red"}) == Row("r", "s", ours=1.0)


def test_a_busy_machine_is_said() -> None:
    row = Row("r", "s", note="n")
    assert row.on(MACHINE, 0.1).note == "n"
    assert row.on(MACHINE, None).machine == MACHINE
    assert row.on(MACHINE, 0.9).note.startswith("n; other processes kept 0.9 cores busy")


def test_the_table_shows_every_number_and_note() -> None:
    rows = [
        Row("fast", "× real time", 12345.0, 1234.5, 10.0, 10.0, spread={"ours": [11000.0, 13000.0]}, machine=MACHINE),
        Row("light", "GB", 7.25, target=6.0, bound="ours <=", machine=MACHINE),
        Row(
            "[b]absent[/b]", "pairs/s", target=15000.0, bound="ours >=", note="not measured: [no] GPU", machine=MACHINE
        ),
    ]
    stream = io.StringIO()
    table.show(rows, Console(file=stream, width=160))
    lines = stream.getvalue().splitlines()

    def line(start: str) -> list[str]:
        return next(line for line in lines if line.startswith(start)).split()

    assert line("fast") == ["fast", "12,345", "1,234", "×", "real", "time", "10×", "≥", "10×", "yes"]
    assert line("light") == ["light", "7.25", "–", "GB", "–", "≤", "6", "no"]
    assert line("[b]absent[/b]") == ["[b]absent[/b]", "–", "–", "pairs/s", "–", "≥", "15,000"]
    assert any(line.strip() == "11,000–13,000" for line in lines)
    assert "[b]absent[/b]: not measured: [no] GPU" in lines
    assert sum("Abacus, 2 of 4 cores, 8.0 GB, avx2; compiler: none; GPU: none" in line for line in lines) == 1


def test_the_machine_describes_itself() -> None:
    machine = harness.describe_machine()
    assert machine.keys() == MACHINE.keys()
    assert machine["cpu"]
    assert 1 <= machine["cores_used"] <= machine["cores"]
    assert table.machine_line(machine)


@pytest.mark.parametrize("script", runner.available())
def test_every_script_names_its_rows_without_work(script: str) -> None:
    code = (
        f"import sys; from benchmarks import __main__ as runner; print(*runner.measurements({script!r}), sep='\\n');"
        "heavy = {'torch', 'jax', 'torchsynth', 'audiomentations'} & sys.modules.keys(); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    names = done.stdout.splitlines()
    assert names
    assert len(names) == len(set(names))
    assert importlib.import_module(f"benchmarks.{script}").__doc__


def test_a_row_is_measured_in_a_process_of_its_own() -> None:
    (row,) = runner.measured_apart("startup", "soundalike --help", 1)
    assert row.ours is not None
    assert row.ours > 0.0
    assert row.machine["torch"]
    assert runner.measured_apart("startup", "no such row", 1) == []


def test_an_unknown_script_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        runner.main(["renderings"])
    assert "no script 'renderings'" in capsys.readouterr().err


def test_names_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["rendering", "startup", "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert {"rendering: Voice", "rendering: VoiceFM", "startup: soundalike --help"} <= {*listed}


def test_peak_memory_of_a_command() -> None:
    from benchmarks.memory import peak_memory

    little = peak_memory([sys.executable, "-c", "pass"])
    much = peak_memory([sys.executable, "-c", "bytearray(b'x' * 200_000_000)"])
    assert little < 100_000_000 < much - little
    with pytest.raises(subprocess.CalledProcessError):
        peak_memory([sys.executable, "-c", "raise SystemExit(3)"])


def sleeper(seconds: float) -> Callable[[], object]:
    if seconds < 0:
        raise ValueError("cannot sleep backwards")
    return lambda: time.sleep(seconds)


def test_a_function_in_a_process_of_its_own_is_waited_for() -> None:
    call = in_own_process(sleeper, 0.2)
    started = time.perf_counter()
    call()
    assert 0.2 <= time.perf_counter() - started < 5
    with pytest.raises(RuntimeError, match="cannot sleep backwards"):
        in_own_process(sleeper, -1.0)
