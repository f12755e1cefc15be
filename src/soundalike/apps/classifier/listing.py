"""What somebody wants to have taught: a folder per class or a table, read so that small classes are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from soundalike.audio import read as audio
from soundalike.core.errors import SoundalikeError, nearest
from soundalike.data import datasets, tables
from soundalike.data.datasets import folder as folders
from soundalike.data.datasets import manifest
from soundalike.data.datasets.folds import identical
from soundalike.data.datasets.table import Dataset

_FEW = 5  # clips, below which a class is called small
_UNEVEN = 10  # times as many clips in the largest class as in the smallest
_PARTS = {"train", "training", "valid", "validation", "val", "dev", "test", "testing", "eval"}
_MOST_NAMED = 3  # files or classes in a warning


@dataclass(frozen=True, eq=False)
class Listing:
    """The clips to teach.

    Attributes:
        paths: their files, (n,).
        labels: their classes, (n,), strings.
        groupings: ways of telling which clips must stay together, the best first, as (what it goes by, group of each
            clip).
        own: the data set where it brings its own folds or lists; else None, and folds are made.
        missing: how many clips a table lists that are not there.
    """

    paths: list[Path]
    labels: np.ndarray
    groupings: list[tuple[str, list[str]]]
    own: Dataset | None = None
    missing: int = 0

    def select(self, rows: np.ndarray) -> Listing:
        """The listing with these rows only.

        Raises:
            SoundalikeError: fewer than two classes are left.
        """
        if len(rows) == len(self.paths):
            return self
        labels = self.labels[rows]
        if len(set(labels)) < 2:
            raise SoundalikeError("fewer than two classes are left once the clips that cannot be read are out.")
        own, groupings = None, self.groupings
        if self.own is not None:
            try:
                own = self.own.select(rows)
            except SoundalikeError:  # a part without a clip: folds are made instead, of the same groups
                groupings = [("the groups of the data", self.own.clips["group"].astype(str).tolist())]
        groupings = [(how, [groups[row] for row in rows]) for how, groups in groupings]
        return replace(self, paths=[self.paths[row] for row in rows], labels=labels, groupings=groupings, own=own)


def read(data: str | Path, task: str | None = None) -> Listing:
    """The clips of a folder per class, of a table, or of a published data set.

    Args:
        data: a folder with a sub-folder for each class; a table as the task ``manifest`` takes it, or the folder that
            it lies in.
        task: one of `datasets.TASKS`; told from ``data`` where not given.

    Raises:
        SoundalikeError: nothing is there, it is neither, or it has fewer than two classes.
    """
    data = Path(data)
    if task is not None and task not in datasets.TASKS:
        raise SoundalikeError(f"unknown task {task!r}: {nearest(task, datasets.TASKS)}")
    task = task or _told(data)
    if task == "manifest":
        return _table(data)
    if task == "folder" and data.is_dir():
        return _folder(data)
    dataset = datasets.read(task, data)
    return Listing(dataset.paths, dataset.labels, [], dataset, dataset.missing)


def _told(data: Path) -> str:
    """Which task a path holds.

    Raises:
        SoundalikeError: none; the sentence says what to do.
    """
    if not data.exists():
        raise SoundalikeError(f"{data}: no such file or folder; give a folder with a sub-folder for each class.")
    if not data.is_dir():
        if data.suffix.lower() in audio.SUFFIXES:
            raise SoundalikeError(f"{data}: one sound; give a folder with a sub-folder of sounds for each class.")
        if not tables.columns_in(data):
            raise SoundalikeError(
                f"{data}: not a table of clips; give one ({', '.join(tables.SUFFIXES)}) with the columns path and "
                "label, or a folder with a sub-folder for each class."
            )
        return "manifest"
    classes = [path for path in folders.class_folders(data) if folders.has_audio(path)]
    if len(classes) >= 2:
        return "folder"
    if manifest.holds(data):
        return "manifest"
    for name, reader in datasets.TASKS.items():
        if name not in ("folder", "manifest") and datasets.holds(reader, data):
            raise SoundalikeError(f"{data}: the layout of a published data set; give --task {name}.")
    if classes:
        raise SoundalikeError(
            f"{data}: only one sub-folder, {classes[0].name}, has sounds in it; at least two classes are needed, a "
            "sub-folder for each."
        )
    if folders.has_audio(data):
        raise SoundalikeError(
            f"{data}: holds sounds, but no sub-folders; put the sounds of each class into a sub-folder of their own, "
            "or give a table with the columns path and label."
        )
    raise SoundalikeError(
        f"{data}: holds no sounds; give a folder with a sub-folder for each class ({', '.join(audio.SUFFIXES)})."
    )


def _folder(data: Path) -> Listing:
    rows = [
        (path, top.name) for top in folders.class_folders(data) if folders.has_audio(top) for path in audio.find(top)
    ]
    paths, labels = [path for path, _ in rows], [label for _, label in rows]
    if len(set(labels)) < 2:
        raise SoundalikeError(f"{data}: at least two classes (sub-folders with sounds in them) are needed.")
    return Listing(paths, np.array(labels), folders.ways_to_group(data, paths, labels, identical(paths)))


def _table(data: Path) -> Listing:
    datasets.located("manifest", data)  # says what is wrong with the place
    source = data
    if data.is_dir():
        found = manifest.tables_in(data)
        source = found[0] if len(found) == 1 else data
    rows = [] if source.is_dir() else manifest.clips_of(source)
    if source.is_dir() or rows[0].split or rows[0].fold is not None:
        dataset = manifest.read(data)
        return Listing(dataset.paths, dataset.labels, [], dataset, dataset.missing)
    listed = manifest.without_repeats(source, rows)
    clips = [clip for clip in listed if manifest.is_there(source, clip)]
    if not clips:
        manifest.read(data)  # says that none of the files is there
    labels = [clip.label for clip in clips]
    if len(set(labels)) < 2:
        raise SoundalikeError(f"{source}: at least two classes are needed, and its files have {len(set(labels))}.")
    groupings = []
    if any(clip.group for clip in clips):
        groupings = [("the column 'group'", [clip.group or str(clip.path) for clip in clips])]
    return Listing([clip.path for clip in clips], np.array(labels), groupings, None, len(listed) - len(clips))


def size_warnings(labels: np.ndarray) -> list[str]:
    """What is wrong with the sizes of classes, and what to do: a sentence each.

    Args:
        labels: of all clips that could be heard, (n,), strings.
    """
    counts = Counter(str(label) for label in labels)
    found = []
    alone = sorted(label for label, count in counts.items() if count == 1)
    few = sorted(label for label, count in counts.items() if 1 < count < _FEW)
    if alone:
        found.append(
            f"{_named(alone)}: one clip only, so nothing says how well it is told; add clips of other recordings."
        )
    if few:
        found.append(f"{_named(few)}: fewer than {_FEW} clips, too few for a reliable estimate; add some.")
    most, least = max(counts, key=lambda label: counts[label]), min(counts, key=lambda label: counts[label])
    if counts[most] >= _UNEVEN * counts[least]:
        found.append(
            f"the classes are uneven: {most} has {counts[most]} clips and {least} has {counts[least]}; the balanced "
            "accuracy counts every class alike."
        )
    if {label.lower() for label in counts} <= _PARTS:
        found.append(
            f"the classes are called {_named(sorted(counts))}: if these are parts of a data set, give a table with a "
            "column split instead."
        )
    return found


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
