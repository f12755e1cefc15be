"""The process that computes: runs steps one after the other and writes the row of each."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.plan import Settings, Step, finish_seconds
from benchmarks.gpu.records import Records

POISONED, ORPHANED = 3, 4
"""Exit codes: after an error from which the GPU's context does not recover, and where the parent process is gone."""
FAULTS = ("raise", "exit", "hang")


@dataclass(frozen=True)
class Context:
    """What every step knows.

    Args:
        settings: what the session was asked for.
        records: what the session leaves behind.
        deadline: end of the session, in seconds since the epoch.
    """

    settings: Settings
    records: Records
    deadline: float

    @property
    def folder(self) -> Path:
        """Folder of the session."""
        return self.records.folder

    def left(self) -> float:
        """Seconds that are left for a step that fills the time."""
        return self.deadline - time.time() - finish_seconds(self.settings)


class Missed(Exception):
    """A result that is outside its bound; what was found is in the row all the same.

    Args:
        reason: what is outside which bound.
        values: what was found.
    """

    def __init__(self, reason: str, values: dict[str, object]) -> None:
        super().__init__(reason)
        self.values = values


def work(context: Context, steps: Sequence[Step], faults: dict[str, str]) -> int:
    """Runs steps.

    Args:
        context: what every step knows.
        steps: what to run, in order.
        faults: for a test of the script: which steps go wrong, and how, of ``FAULTS``.

    Returns:
        Exit code: 0, or `POISONED`, after which the steps that have no row are to be run in a new process.
    """
    threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()
    total = 60.0 * context.settings.minutes
    for step in steps:
        passed = 1.0 - (context.deadline - time.time()) / total
        if passed > step.begin_before:
            context.records.add(step.name, 0.0, {}, "not begun: no time was left for it")
            continue
        context.records.begin(step.name)
        started = time.monotonic()
        print(f"== {step.name}", flush=True)
        try:
            _fault(faults.get(step.name))
            module, function = step.call.split(":")
            values = getattr(importlib.import_module(module), function)(context, **step.arguments)
        except Missed as missed:
            context.records.add(step.name, time.monotonic() - started, missed.values, str(missed))
        except Exception as error:
            traceback.print_exc()
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
            told = f"{type(error).__name__}: {reason[:300]}"
            context.records.add(step.name, time.monotonic() - started, {}, told)
            del error
            if not _usable(context.settings.device):
                return POISONED
        else:
            context.records.add(step.name, time.monotonic() - started, values)
        context.records.end()
        _free(context.settings.device)
    return 0


def _fault(kind: str | None) -> None:
    if kind == "raise":
        raise RuntimeError("planted")
    if kind == "exit":
        os._exit(9)
    if kind == "hang":
        time.sleep(3600.0)


def _usable(device: str) -> bool:
    """Whether the device still answers: an illegal access spoils it for the whole process."""
    if device == "cpu":
        return True
    import torch

    try:
        torch.ones(8, device=device).sum().item()
    except Exception:
        return False
    return True


def _free(device: str) -> None:
    """Gives back what the step before held."""
    if device != "cpu" and "torch" in sys.modules:
        import gc

        import torch

        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _watch_parent(parent: int) -> None:
    """Ends the process where the one that started it is gone, so that nothing computes on unseen."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(ORPHANED)
