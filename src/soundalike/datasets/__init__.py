"""Published data sets and plain folders on disk, as tables of clips."""

from __future__ import annotations

from pathlib import Path

from soundalike.datasets import esc50, folder, fsdd, speech_commands
from soundalike.datasets.table import Dataset, Reader, Split
from soundalike.errors import SoundalikeError, nearest

__all__ = ["TASKS", "Dataset", "Reader", "Split", "read"]

TASKS: dict[str, Reader] = {
    "esc10": Reader(esc50.read_esc10, esc50.holds, esc50.LAYOUT),
    "esc50": Reader(esc50.read_esc50, esc50.holds, esc50.LAYOUT),
    "speech-commands": Reader(speech_commands.read, speech_commands.holds, speech_commands.LAYOUT),
    "fsdd": Reader(fsdd.read, fsdd.holds, fsdd.LAYOUT),
    "folder": Reader(folder.read, folder.holds, folder.LAYOUT, nested=False),
}


def read(task: str, data: str | Path) -> Dataset:
    """The table of clips of a task.

    Args:
        task: one of ``TASKS``.
        data: the folder with the task's layout or, except for the task ``folder``, a folder of which exactly
            one direct sub-folder has it, so that data sets can lie side by side.

    Returns:
        The clips with their labels, groups and folds.

    Raises:
        SoundalikeError: if the task is unknown, the folder is not there, does not have the layout, or holds
            too little to train and test on.
    """
    if task not in TASKS:
        raise SoundalikeError(f"unknown task {task!r}: {nearest(task, TASKS)}")
    return TASKS[task].read(_locate(task, Path(data)))


def _locate(task: str, data: Path) -> Path:
    reader = TASKS[task]
    if not data.is_dir():
        state = "is not a folder" if data.exists() else "no such folder"
        raise SoundalikeError(f"{data}: {state}; task {task!r} needs one with {reader.layout}.")
    if _holds(reader, data):
        return data
    children = [path for path in sorted(data.iterdir()) if path.is_dir() and path.name[0] != "."]
    inside = [path for path in children if reader.nested and _holds(reader, path)]
    if len(inside) > 1:
        names = ", ".join(path.name for path in inside)
        raise SoundalikeError(f"{data}: task {task!r} fits more than one folder in it ({names}): give one of them.")
    if not inside:
        depth = " (there and one folder deeper)" if reader.nested else ""
        raise SoundalikeError(f"{data}: not the layout of task {task!r}: looked for {reader.layout}{depth}.")
    return inside[0]


def _holds(reader: Reader, folder: Path) -> bool:
    try:
        return reader.holds(folder)
    except OSError:  # a neighbour that may not be looked into
        return False
