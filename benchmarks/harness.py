"""What every measurement shares: repeated timings, rows of a table, and what the machine is."""

from __future__ import annotations

import multiprocessing
import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

BOUNDS = ("ratio >=", "ours >=", "ours <=")
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "asimd", "sve", "bf16")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        row: what is measured.
        unit: of ``ours`` and ``theirs``.
        ours: median of what this library does; None where it could not be measured.
        theirs: median of what it is compared with; None where there is nothing, or it could not be measured.
        ratio: how many times better ours is, the median over rounds in which both ran side by side.
        target: the number to reach.
        bound: what the target bounds: ``ratio >=``, ``ours >=`` or ``ours <=``.
        spread: lower and upper quartile of ``ours``, ``theirs`` and ``ratio``, where they were repeated.
        note: what a reader has to know.
        command: what was run, where it is a command.
        machine: see `describe_machine`.
    """

    row: str
    unit: str
    ours: float | None = None
    theirs: float | None = None
    ratio: float | None = None
    target: float | None = None
    bound: str = "ratio >="
    spread: dict[str, list[float]] = field(default_factory=dict)
    note: str = ""
    command: str = ""
    machine: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.bound not in BOUNDS:
            raise ValueError(f"bound is {self.bound!r}, not one of {BOUNDS}")

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none, or nothing was measured."""
        value = self.ratio if self.bound.startswith("ratio") else self.ours
        if value is None or self.target is None:
            return None
        return value <= self.target if self.bound.endswith("<=") else value >= self.target

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, numbers to five digits."""
        plain: dict[str, Any] = _rounded(asdict(self))
        return plain

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Row:
        """The row of which `to_dict` made ``values``; keys that a row does not have are left out."""
        known = {each.name for each in fields(cls)}
        return cls(**{key: value for key, value in values.items() if key in known})

    def on(self, machine: dict[str, Any], taken: float | None = None) -> Row:
        """The row with the machine that it was measured on.

        Args:
            machine: see `describe_machine`.
            taken: cores that other processes kept busy, see `cores_taken`; the note says so where they were many.
        """
        warning = f"other processes kept {taken:.1f} cores busy: measure again" if taken and taken > 0.2 else ""
        return replace(self, machine=machine, note="; ".join(part for part in (self.note, warning) if part))


@dataclass(frozen=True)
class Rounds:
    """Seconds of two functions that ran in turn.

    Args:
        ours: seconds of the first function in each round.
        theirs: seconds of the second in each round; empty where there is none.
        first_call: seconds of the first call of each, compilation included, which is in no median.
    """

    ours: list[float]
    theirs: list[float]
    first_call: tuple[float, ...]

    def row(self, name: str, unit: str, work: float, *, note: str = "", **values: Any) -> Row:
        """A row of how much work each does in a second.

        Args:
            name: of the row.
            unit: of the work over seconds.
            work: what one call does.
            note: of the row; the first call's seconds are added.
            values: further fields of the row.
        """
        columns = {"ours": [work / seconds for seconds in self.ours]}
        if self.theirs:
            columns["theirs"] = [work / seconds for seconds in self.theirs]
            columns["ratio"] = [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]
        first = " and ".join(f"{seconds:.1f} s" for seconds in self.first_call)
        return Row(
            name,
            unit,
            ours=statistics.median(columns["ours"]),
            theirs=statistics.median(columns["theirs"]) if self.theirs else None,
            ratio=statistics.median(columns["ratio"]) if self.theirs else None,
            spread={column: quartiles(numbers) for column, numbers in columns.items()},
            note="; ".join(part for part in (note, f"first call {first}", f"{len(self.ours)} rounds") if part),
            **values,
        )


def alternate(
    ours: Callable[[], object],
    theirs: Callable[[], object] | None = None,
    *,
    seconds: float = 20.0,
    least: int = 5,
    most: int = 50,
    warm_up: int = 2,
    calls: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Rounds:
    """Runs two functions in turn, so that whatever else the machine does falls on both.

    Args:
        ours: runs first in even rounds.
        theirs: runs first in odd rounds.
        seconds: how long to go on, at most by one round longer.
        least: rounds at least.
        most: rounds at most.
        warm_up: calls of each before the first round, at least 1; the first of them is timed apart.
        calls: how often a function is called in a round; its seconds are those of one call.
        clock: seconds that pass.

    Returns:
        `Rounds`.
    """
    functions = [ours] if theirs is None else [ours, theirs]

    def timed(function: Callable[[], object]) -> float:
        start = clock()
        for _ in range(calls):
            function()
        return (clock() - start) / calls

    def first(function: Callable[[], object]) -> float:
        start = clock()
        function()
        return clock() - start

    first_call = tuple(first(function) for function in functions)
    for _ in range(warm_up - 1):
        for function in functions:
            function()
    taken: list[list[float]] = [[] for _ in functions]
    start = clock()
    while len(taken[0]) < least or (len(taken[0]) < most and clock() - start < seconds):
        order = list(range(len(functions)))
        for which in reversed(order) if len(taken[0]) % 2 else order:
            taken[which].append(timed(functions[which]))
    return Rounds(taken[0], taken[1] if theirs is not None else [], first_call)


def in_own_process(factory: Callable[..., Callable[[], object]], *arguments: Any) -> Callable[[], object]:
    """A function that runs in a process of its own and is waited for.

    What one library does to a process (threads that wait for work, settings of the allocator) then does not touch the
    other. Only the word to start and the word that it is done pass between the processes.

    Args:
        factory: makes the function, in that process; it must be importable.
        arguments: of the factory.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=_serve, args=(theirs, factory, arguments), daemon=True).start()

    def call() -> None:
        ours.send("go")
        outcome = ours.recv()
        if outcome is not None:
            raise RuntimeError(outcome)

    outcome = ours.recv()
    if outcome is not None:
        raise RuntimeError(outcome)
    return call


def _serve(pipe: Any, factory: Callable[..., Callable[[], object]], arguments: tuple[Any, ...]) -> None:
    try:
        function = factory(*arguments)
        pipe.send(None)
        while pipe.recv():
            function()
            pipe.send(None)
    except EOFError:  # nobody asks any more
        pass
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}".splitlines()[0])


def quartiles(numbers: list[float]) -> list[float]:
    """Lower and upper quartile; one number is both."""
    if len(numbers) < 2:
        return [numbers[0], numbers[0]]
    low, _, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return [low, high]


def soundalike(*arguments: str | Path) -> list[str]:
    """The command line of this environment's ``soundalike``."""
    beside = Path(sys.executable).with_name("soundalike")
    program = str(beside) if beside.exists() else shutil.which("soundalike")
    if program is None:
        raise FileNotFoundError("no soundalike command beside this Python; install the package")
    return [program, *map(str, arguments)]


def use_cores(count: int) -> int:
    """Keeps this process, and those it starts, on so many cores; before PyTorch or JAX start their threads.

    Returns:
        How many cores that are: fewer where the machine has fewer.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[:count]
        os.sched_setaffinity(0, cores)
        count = len(cores)
    else:
        count = min(count, os.cpu_count() or 1)
    os.environ["OMP_NUM_THREADS"] = str(count)
    return count


def cores_taken(seconds: float = 0.5) -> float | None:
    """How many cores other processes keep busy; None where the system does not say."""
    path = Path("/proc/stat")
    if not path.exists():
        return None

    def busy_and_all() -> tuple[float, float]:
        ticks = [float(number) for number in path.read_text().split("\n", 1)[0].split()[1:]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)  # the fourth and fifth are idle and waiting

    busy, everything = busy_and_all()
    time.sleep(seconds)
    busy_later, everything_later = busy_and_all()
    elapsed = everything_later - everything
    return (os.cpu_count() or 1) * (busy_later - busy) / elapsed if elapsed else 0.0


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, instruction sets, compiler, GPU and the versions that matter."""
    import torch

    information = _cpu_information()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": information.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "cores_used": usable,
        "memory_gb": _memory_gb(),
        "flags": [flag for flag in _FLAGS if flag in information.get("flags", "").split()],
        "compiler": _compiler(),
        "gpu": gpu,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def _cpu_information() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo, where there is one."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    lines = path.read_text().split("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key.strip().replace("Features", "flags"): value.strip() for key, _, value in pairs}


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _compiler() -> str | None:
    """The C++ compiler that a compiled path would find."""
    candidates = (os.environ.get("CXX"), "g++", "clang++", "c++")
    return next((name for name in candidates if name and shutil.which(name)), None)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
