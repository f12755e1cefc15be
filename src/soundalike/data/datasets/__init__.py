"""Published data sets and plain folders on disk, as tables of clips."""

from __future__ import annotations

from pathlib import Path

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.core.files import missing
from soundalike.data.datasets import (
    crema_d,
    esc50,
    folder,
    fsd50k,
    fsdd,
    hear,
    libricount,
    manifest,
    nsynth,
    speech_commands,
    urbansound8k,
    vggsound,
    vivae,
    vocal_imitation,
)
from soundalike.data.datasets.table import Dataset, Reader, Split

__all__ = ["TASKS", "Dataset", "Reader", "Split", "read"]

TASKS: dict[str, Reader] = {
    "esc10": Reader(esc50.read_esc10, esc50.holds, esc50.LAYOUT),
    "esc50": Reader(esc50.read_esc50, esc50.holds, esc50.LAYOUT),
    "speech-commands": Reader(speech_commands.read, speech_commands.holds, speech_commands.LAYOUT),
    "speech-commands-12": Reader(speech_commands.read_12, speech_commands.holds, speech_commands.LAYOUT),
    "sc09": Reader(speech_commands.read_digits, speech_commands.holds, speech_commands.LAYOUT),
    "nsynth-family": Reader(nsynth.read_family, nsynth.holds, nsynth.LAYOUT),
    "nsynth-pitch": Reader(nsynth.read_pitch, nsynth.holds, nsynth.LAYOUT),
    "urbansound8k": Reader(urbansound8k.read, urbansound8k.holds, urbansound8k.LAYOUT),
    "crema-d": Reader(crema_d.read, crema_d.holds, crema_d.LAYOUT),
    "vivae": Reader(vivae.read, vivae.holds, vivae.LAYOUT),
    "fsd50k": Reader(fsd50k.read, fsd50k.holds, fsd50k.LAYOUT),
    "vocal-imitation": Reader(vocal_imitation.read, vocal_imitation.holds, vocal_imitation.LAYOUT),
    "libricount": Reader(libricount.read, libricount.holds, libricount.LAYOUT),
    "vggsound": Reader(vggsound.read, vggsound.holds, vggsound.LAYOUT),
    "hear": Reader(hear.read, hear.holds, hear.LAYOUT),
    "fsdd": Reader(fsdd.read, fsdd.holds, fsdd.LAYOUT),
    "folder": Reader(folder.read, folder.holds, folder.LAYOUT, nested=False),
    "manifest": Reader(manifest.read, manifest.holds, manifest.LAYOUT, nested=False, file=True),
}


def read(task: str, data: str | Path) -> Dataset:
    """The table of clips of a task.

    Args:
        task: one of ``TASKS``.
        data: the folder with the task's layout or, except for the tasks ``folder`` and ``manifest``, a folder of
            which exactly one direct sub-folder has it, so that data sets can lie side by side. For ``manifest``
            the table itself, or the folder that it lies in.

    Returns:
        The clips with their labels, groups and folds.

    Raises:
        SoundalikeError: if the task is unknown, the folder or file is not there, does not have the layout, or holds
            too little to train and test on.
    """
    if task not in TASKS:
        raise SoundalikeError(f"unknown task {task!r}: {nearest(task, TASKS)}")
    return TASKS[task].read(located(task, Path(data)))


def located(task: str, data: Path) -> Path:
    """Where the recordings of a task lie: the path itself, or the only folder in it that holds them.

    Raises:
        SoundalikeError: there is no such place, or it has another layout.
    """
    reader = TASKS[task]
    if reader.file and data.is_file():
        return data
    if not data.is_dir():
        state = "is not a folder" if data.exists() else "no such folder"
        if reader.file:
            state = "neither a file nor a folder" if data.exists() else "no such file or folder"
        needed = reader.layout if reader.file else f"one with {reader.layout}"
        what = f"{state}; task {task!r} needs {needed}."
        raise SoundalikeError(f"{data}: {what}" if data.exists() else missing(data, what))
    if holds(reader, data):
        return data
    children = [path for path in sorted(data.iterdir()) if path.is_dir() and path.name[0] != "."]
    inside = [path for path in children if reader.nested and holds(reader, path)]
    if len(inside) > 1:
        names = ", ".join(path.name for path in inside)
        raise SoundalikeError(f"{data}: task {task!r} fits more than one folder in it ({names}): give one of them.")
    if not inside:
        depth = " (there and one folder deeper)" if reader.nested else ""
        raise SoundalikeError(f"{data}: not the layout of task {task!r}: looked for {reader.layout}{depth}.")
    return inside[0]


def holds(reader: Reader, folder: Path) -> bool:
    """Whether a folder has the layout of a task."""
    try:
        return reader.holds(folder)
    except OSError:  # a neighbour that may not be looked into
        return False
