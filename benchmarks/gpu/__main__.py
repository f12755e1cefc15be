"""Checks, measures and trains on a GPU, in the order of value; whatever is finished is on the disk at once.

The steps run in a process of their own. One that fails, hangs or takes the process with it costs its own row: the
steps after it run in a new process.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.plan import Settings, Step, finish_seconds, steps
from benchmarks.gpu.records import LOG, ROWS, Records, table
from benchmarks.gpu.worker import FAULTS, Context, work

ROOT = Path(__file__).parents[2]
GRACE = 10.0
"""Seconds that a step has to end by itself before it is killed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a session.

    Returns:
        Exit code: 0, 1 where a step failed, 2 where the arguments are wrong.
    """
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--minutes", type=float, default=8.0, help="length of the session (default: 8)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="device to measure (default: cuda)")
    parser.add_argument("--small", action="store_true", help="tiny sizes: a test of this script, not a measurement")
    parser.add_argument("--train", default="ears", metavar="RECIPE", help="recipe to train (default: ears)")
    parser.add_argument("--resume", metavar="DIR", help="folder of an earlier session whose training goes on")
    parser.add_argument("--planned", type=float, metavar="MINUTES", help="minutes of training over all sessions")
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="only steps whose names contain one of these")
    parser.add_argument("--show", action="store_true", help="print the table of the rows in --out, and stop")
    parser.add_argument("--fault", action="append", default=[], metavar="STEP=KIND", help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        return _worker(options.out, json.loads(options.worker))
    if options.show:
        print(table(Records(options.out).rows()))
        return 0
    if not options.minutes > 0:
        parser.error(f"--minutes is {options.minutes:g}: give a number above 0")
    if (options.out / ROWS).exists():
        parser.error(f"{options.out} holds a session already ({ROWS}): give another folder")
    settings = Settings(options.device, options.small, options.minutes, options.train, options.resume, options.planned)
    planned = [step for step in steps(settings) if not options.only or any(text in step.name for text in options.only)]
    if not planned:
        parser.error(f"--only {' '.join(options.only)} names no step")
    faults = dict(fault.rsplit("=", 1) for fault in options.fault)
    if unknown := {*faults} - {step.name for step in planned} or {*faults.values()} - {*FAULTS}:
        parser.error(f"--fault: unknown {', '.join(sorted(unknown))}")
    return run(Records(options.out), settings, planned, faults)


def run(records: Records, settings: Settings, planned: Sequence[Step], faults: dict[str, str]) -> int:
    """Runs steps in processes that may die, until each has a row.

    Args:
        records: what the session leaves behind.
        settings: what it was asked for.
        planned: what to run, in order.
        faults: for a test of the script: which steps go wrong, and how.

    Returns:
        Exit code: 0, or 1 where a step failed.
    """
    deadline = time.time() + 60.0 * settings.minutes
    shown = 0
    with (records.folder / LOG).open("ab") as log:
        while remaining := _remaining(records, planned):
            plan = {
                "settings": settings.to_dict(),
                "steps": [step.to_dict() for step in remaining],
                "deadline": deadline,
                "faults": faults,
            }
            records.end()
            command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(records.folder), "--worker"]
            path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH")) if part)
            child = subprocess.Popen(
                [*command, json.dumps(plan)], stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": path}
            )
            before = len(records.rows())
            try:
                with _terminating():
                    reason = _attend(child, records, settings, remaining, deadline)
            except (KeyboardInterrupt, SystemExit):
                _end(child)
                _report(records, shown)
                print(f"broken off; what was finished is in {records.folder}", file=sys.stderr)
                return 1
            _failed(records, remaining, reason, before)
            shown = _report(records, shown)
    print(table(records.rows()))
    return 0 if all(row["ok"] for row in records.rows()) else 1


def _remaining(records: Records, planned: Sequence[Step]) -> list[Step]:
    done = {row["step"] for row in records.rows()}
    return [step for step in planned if step.name not in done]


def _attend(
    child: subprocess.Popen[bytes], records: Records, settings: Settings, steps: Sequence[Step], deadline: float
) -> str:
    """Waits for the process, ends it where a step takes too long, and says why it ended."""
    limits = {step.name: step.limit for step in steps}
    filled = deadline - finish_seconds(settings) + 2.0 * GRACE  # a training ends by itself before
    filling = {step.name for step in steps if step.fills}
    shown = len(records.rows())
    while child.poll() is None:
        time.sleep(0.1)
        shown = _report(records, shown)
        now = records.now()
        if now is None or now[0] not in limits:
            continue
        name, since = now
        over = time.time() > filled if name in filling else time.time() - since > limits[name]
        if over or time.time() > deadline + GRACE:
            _end(child)
            return f"ended after {time.time() - since:.0f} s" + (", which is its limit" if over else ": time was up")
    return f"its process ended with exit code {child.returncode}"


def _failed(records: Records, steps: Sequence[Step], reason: str, before: int) -> None:
    """Writes the row of the step that took the process with it; of the first one where it never got to any."""
    now = records.now()
    names = [step.name for step in _remaining(records, steps)]
    if now is not None and now[0] in names:
        records.add(now[0], time.time() - now[1], {}, reason)
    elif names and len(records.rows()) == before:
        records.add(names[0], 0.0, {}, reason)
    records.end()


def _report(records: Records, shown: int) -> int:
    """Prints the rows that are new."""
    rows: list[dict[str, Any]] = records.rows()
    for row in rows[shown:]:
        print(f"{row['step']}: {'ok' if row['ok'] else row.get('error')}, {row['seconds']:g} s", file=sys.stderr)
    return len(rows)


class _terminating:
    """Turns SIGTERM into `SystemExit`, so that the child never outlives a session that is ended in order."""

    def __enter__(self) -> None:
        self.before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self.before)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ends the process: gently, so that a training writes its model; then at once."""
    child.terminate()
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _worker(out: Path, plan: dict[str, Any]) -> int:
    context = Context(Settings(**plan["settings"]), Records(out), plan["deadline"])
    return work(context, [Step(**step) for step in plan["steps"]], plan["faults"])


if __name__ == "__main__":
    sys.exit(main())
