"""Runs the measurements, each in a process of its own, prints the table and writes ``benchmarks/results``."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from benchmarks.harness import Row, cores_taken, describe_machine, use_cores

SCRIPTS = ("rendering", "step", "embedding", "augmentations", "startup", "memory", "loss_curve", "limits")
RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for.

    Returns:
        Exit code: 0, or 1 where a measurement failed.
    """
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help=f"of {', '.join(available())}; default: all")
    parser.add_argument("--row", help="only rows whose name contains this")
    parser.add_argument("--cores", type=int, default=2, help="CPU cores to measure on (default: 2)")
    parser.add_argument("--list", action="store_true", help="name every row and stop")
    parser.add_argument("--show", action="store_true", help="print the table of the results on disk and stop")
    parser.add_argument("--measure", type=Path, metavar="JSON", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    for script in options.scripts:
        if script not in available():
            parser.error(f"no script {script!r}; there are {', '.join(available())}")
    scripts = options.scripts or available()
    if options.measure:
        measure(scripts[0], options.row, options.cores, options.measure)
        return 0
    if options.list:
        for script in scripts:
            print(*(f"{script}: {name}" for name in measurements(script)), sep="\n")
        return 0
    from benchmarks.table import show

    if options.show:
        show([row for script in scripts for row in read(RESULTS / f"{script}.json")])
        return 0
    rows, failed = [], []
    for script in scripts:
        of_script = []
        for name in measurements(script):
            if options.row is not None and options.row not in name:
                continue
            start = time.monotonic()
            measured = measured_apart(script, name, options.cores)
            print(f"{script}: {name}, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
            if not measured:
                failed.append(name)
            of_script += measured
            write(RESULTS / f"{script}.json", of_script)
        rows += of_script
    show(rows)
    for name in failed:
        print(f"failed: {name}", file=sys.stderr)
    return 1 if failed else 0


def available() -> list[str]:
    """Names of the scripts."""
    return [script for script in SCRIPTS if (Path(__file__).parent / f"{script}.py").exists()]


def load(script: str) -> ModuleType:
    """A script as a module."""
    return importlib.import_module(f"benchmarks.{script}")


def measurements(script: str) -> dict[str, Callable[[], Row]]:
    """What a script measures: a function for every row."""
    rows: dict[str, Callable[[], Row]] = load(script).ROWS
    return rows


def measured_apart(script: str, name: str, cores: int) -> list[Row]:
    """The rows of one measurement, in a new process, so that no two of them share threads, caches or memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "benchmarks", script, "--row", name, "--cores", str(cores)]
        subprocess.run([*command, "--measure", str(path)], cwd=ROOT, check=False)
        return read(path)


def measure(script: str, name: str, cores: int, path: Path) -> None:
    """Runs one measurement here and writes its row."""
    use_cores(cores)
    taken = cores_taken()
    row = measurements(script)[name]()
    machine = describe_machine()  # afterwards: it loads PyTorch, which would count as memory of ours
    path.write_text(json.dumps([row.on(machine, taken).to_dict()]), encoding="utf-8")


def read(path: Path) -> list[Row]:
    """Rows of a file; none where there is no file."""
    if not path.exists():
        return []
    return [Row.from_dict(values) for values in json.loads(path.read_text(encoding="utf-8"))]


def write(path: Path, rows: Sequence[Row]) -> None:
    """Puts rows into a file, in the place of earlier ones of the same name."""
    if not rows:
        return
    merged = {row.row: row for row in [*read(path), *rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    text = json.dumps([row.to_dict() for row in merged.values()], indent=1, ensure_ascii=False)
    partial.write_text(text + "\n", encoding="utf-8")
    os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(main())
