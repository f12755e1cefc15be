"""A labelled collection of clips as a table, and how it is split for training and testing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from soundalike.audio.segment import Segment, Sound, file_of
from soundalike.core.errors import SoundalikeError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("path", "label", "fold", "group", "split")
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """One division of a data set, as row numbers of its table.

    Attributes:
        name: what it is called in a report, such as ``fold 1`` or ``official``.
        train: rows to learn from.
        validation: rows to choose settings on, where the data set sets some apart; otherwise None.
        test: rows to score on, in none of the others.
    """

    name: str
    train: np.ndarray
    validation: np.ndarray | None
    test: np.ndarray


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table of labelled clips that knows its folds, or its train, validation and test lists.

    Attributes:
        name: of the task, such as ``esc10``.
        clips: one row per clip, numbered from 0. ``path`` (str), ``label`` (str), ``group`` (str: the clips
            that must stay together, such as one speaker's), ``fold`` (int) and ``split`` (str). Either every
            clip has a fold of 1 or more and no split, or every clip has a split out of ``SPLITS`` and fold 0. Where
            clips are segments of files there is a column ``segment``, with None for those that are whole files.
        protocol: one sentence on how the folds or lists are made.
        missing: how many clips the data set's own table lists that are not on disk, and so not in ``clips``.
    """

    name: str
    clips: pd.DataFrame
    protocol: str
    missing: int = 0

    def __post_init__(self) -> None:
        lacking = [column for column in COLUMNS if column not in self.clips]
        if lacking:
            raise ValueError(f"the table of clips has no column {lacking[0]!r}")
        object.__setattr__(self, "clips", self.clips.reset_index(drop=True))
        if len(self.classes) < 2:
            raise SoundalikeError(f"{self.name}: at least two classes are needed, there is {len(self.classes)}.")
        for split in self.splits():
            for part in ("train", "test"):
                if not len(getattr(split, part)):
                    raise SoundalikeError(f"{self.name}: no clip is left for the {part} part of {split.name}.")

    @property
    def paths(self) -> list[Path]:
        """The file of every clip, in the order of the rows."""
        return [Path(path) for path in self.clips["path"]]

    @property
    def sounds(self) -> list[Sound]:
        """The file of every clip, or the segment of a file that it is, in the order of the rows."""
        if "segment" not in self.clips:
            return list(self.paths)
        return [segment or path for segment, path in zip(self.clips["segment"], self.paths, strict=True)]

    @property
    def labels(self) -> np.ndarray:
        """The label of every clip (n,), strings."""
        return self.clips["label"].to_numpy(dtype=str)

    @property
    def groups(self) -> np.ndarray:
        """The group of every clip (n,), as integers: for inner folds that keep groups together."""
        return np.unique(self.clips["group"].to_numpy(dtype=str), return_inverse=True)[1]

    @property
    def classes(self) -> list[str]:
        """The labels that occur, sorted."""
        return sorted(set(self.clips["label"]))

    def splits(self) -> Iterator[Split]:
        """One ``Split`` per fold, the fold being its test part; or the one official split of the data set."""
        names = self.clips["split"].to_numpy(dtype=str)
        if names.any():
            train, validation, test = (np.flatnonzero(names == name) for name in SPLITS)
            yield Split("official", train, validation if len(validation) else None, test)
            return
        folds = self.clips["fold"].to_numpy(dtype=int)
        for fold in np.unique(folds):
            yield Split(f"fold {fold}", np.flatnonzero(folds != fold), None, np.flatnonzero(folds == fold))

    def hold_out(self, number: int) -> Dataset:
        """The data set with one split only, for where training on every fold would cost too much.

        Args:
            number: which fold is the test part, counted from 1 in their order; the others are the train part. A data
                set with official lists has one split, number 1, and is returned as it is.

        Raises:
            SoundalikeError: if there is no split of that number.
        """
        splits = list(self.splits())
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 1 <= number <= len(splits):
            there = "it has official lists instead of folds: give 1"
            if not self.clips["split"].any():
                there = f"give a number from 1 to {len(splits)}"
            raise SoundalikeError(f"{self.name}: there is no fold {number!r}; {there}.")
        if self.clips["split"].any():
            return self
        names = np.full(len(self.clips), "train", dtype=object)
        names[splits[number - 1].test] = "test"
        clips = self.clips.assign(fold=0, split=names)
        return replace(self, clips=clips, protocol=f"fold {number} of {len(splits)} alone ({self.protocol})")

    def select(self, rows: Iterable[int]) -> Dataset:
        """The data set with these rows only, renumbered in the order given.

        Args:
            rows: row numbers of ``clips``.

        Raises:
            SoundalikeError: if fewer than two classes, or no clip for a train or test part, would be left.
        """
        return replace(self, clips=self.clips.iloc[[int(row) for row in rows]])

    def drop(self, rows: Iterable[int]) -> Dataset:
        """The data set without these rows, such as those of broken files; as ``select`` otherwise."""
        gone = {int(row) for row in rows}
        return self.select(row for row in range(len(self.clips)) if row not in gone)


@dataclass(frozen=True)
class Reader:
    """How one published layout is told and read.

    Attributes:
        read: folder, or file where ``file``, -> its ``Dataset``.
        holds: whether a folder has the layout, judged by a glance at it.
        layout: what ``holds`` looks for, to complete "looked for …".
        nested: whether the layout is so particular that it may be looked for one folder deeper.
        file: whether a file may be given instead of a folder.
    """

    read: Callable[[Path], Dataset]
    holds: Callable[[Path], bool]
    layout: str
    nested: bool = True
    file: bool = False


def build(
    name: str,
    protocol: str,
    *,
    paths: Iterable[Sound],
    labels: Iterable[str],
    groups: Iterable[str],
    folds: Iterable[int] | None = None,
    splits: Iterable[str] | None = None,
    missing: int = 0,
) -> Dataset:
    """A ``Dataset`` from its columns; give ``folds`` or ``splits``, not both."""
    import pandas as pd

    sounds = list(paths)
    columns = {"path": [str(file_of(sound)) for sound in sounds], "label": list(labels), "group": list(groups)}
    count = len(columns["path"])
    clips = pd.DataFrame(
        {
            **columns,
            "fold": [0] * count if folds is None else [int(fold) for fold in folds],
            "split": [""] * count if splits is None else list(splits),
        }
    )
    clips = clips[list(COLUMNS)]
    segments = [sound if isinstance(sound, Segment) else None for sound in sounds]
    if any(segments):
        clips["segment"] = pd.Series(segments, dtype=object)
    return Dataset(name, clips, protocol, missing)
