"""A labelled collection of clips as a table, and how it is split for training and testing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np

from soundalike.audio.segment import Segment, Sound, file_of
from soundalike.core.errors import SoundalikeError

SPLITS = ("train", "validation", "test")
ACCURACY, MEAN_AVERAGE_PRECISION = "accuracy", "mean average precision"
METRICS = (ACCURACY, MEAN_AVERAGE_PRECISION)


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


@dataclass(frozen=True)
class Clip:
    """One labelled sound of a data set.

    Attributes:
        sound: its file, or the segment of a file that it is.
        label: what it is a sound of; of several labels the first.
        group: name that it shares with the clips that must stay with it, such as one speaker's.
        fold: from 1; 0 where the data set has lists instead.
        split: of ``SPLITS``; empty where the data set has folds.
        labels: all of its labels, where clips of the data set may have several; empty otherwise.
    """

    sound: Sound
    label: str
    group: str
    fold: int = 0
    split: str = ""
    labels: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Its file."""
        return Path(file_of(self.sound))


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table of labelled clips that knows its folds, or its train, validation and test lists.

    Attributes:
        name: of the task, such as ``esc10``.
        clips: the clips; their places are the row numbers, from 0. All have a fold, or all have a split.
        protocol: one sentence on how the folds or lists are made.
        missing: how many clips the data set's own table lists that are not on disk, and so not in ``clips``.
        metric: what the task is scored by, one of ``METRICS``; always the second where clips have several labels.
    """

    name: str
    clips: tuple[Clip, ...]
    protocol: str
    missing: int = 0
    metric: str = ACCURACY

    def __post_init__(self) -> None:
        if self.several and self.metric != MEAN_AVERAGE_PRECISION:
            raise ValueError("clips with several labels are scored by their mean average precision")
        if len(self.classes) < 2:
            raise SoundalikeError(f"{self.name}: at least two classes are needed, there is {len(self.classes)}.")
        for split in self.splits():
            for part in ("train", "test"):
                if not len(getattr(split, part)):
                    raise SoundalikeError(f"{self.name}: no clip is left for the {part} part of {split.name}.")

    @property
    def paths(self) -> list[Path]:
        """The file of every clip, in the order of the rows."""
        return [clip.path for clip in self.clips]

    @property
    def sounds(self) -> list[Sound]:
        """The file of every clip, or the segment of a file that it is, in the order of the rows."""
        return [clip.sound for clip in self.clips]

    @property
    def has_segments(self) -> bool:
        """Whether a clip is a segment of a file and not all of it."""
        return any(isinstance(clip.sound, Segment) for clip in self.clips)

    @property
    def labels(self) -> np.ndarray:
        """The label of every clip (n,), strings; the first of its labels where clips have several."""
        return np.array([clip.label for clip in self.clips], dtype=str)

    @property
    def several(self) -> bool:
        """Whether a clip may have several labels."""
        return any(clip.labels for clip in self.clips)

    @property
    def targets(self) -> np.ndarray:
        """Whether a clip has a label, bool (n, classes), classes in the order of ``classes``."""
        number = {label: column for column, label in enumerate(self.classes)}
        found = np.zeros((len(self.clips), len(number)), bool)
        for row, clip in enumerate(self.clips):
            found[row, [number[label] for label in clip.labels or (clip.label,)]] = True
        return found

    @property
    def groups(self) -> np.ndarray:
        """The group of every clip (n,), as integers: for inner folds that keep groups together."""
        return np.unique(np.array([clip.group for clip in self.clips], dtype=str), return_inverse=True)[1]

    @property
    def classes(self) -> list[str]:
        """The labels that occur, sorted."""
        return sorted({label for clip in self.clips for label in clip.labels or (clip.label,)})

    def splits(self) -> Iterator[Split]:
        """One ``Split`` per fold, the fold being its test part; or the one official split of the data set."""
        names = np.array([clip.split for clip in self.clips])
        if any(names):
            train, validation, test = (np.flatnonzero(names == name) for name in SPLITS)
            yield Split("official", train, validation if len(validation) else None, test)
            return
        folds = np.array([clip.fold for clip in self.clips])
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
        splits, official = list(self.splits()), any(clip.split for clip in self.clips)
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 1 <= number <= len(splits):
            there = "it has official lists instead of folds: give 1"
            if not official:
                there = f"give a number from 1 to {len(splits)}"
            raise SoundalikeError(f"{self.name}: there is no fold {number!r}; {there}.")
        if official:
            return self
        tested = {*splits[number - 1].test.tolist()}
        clips = tuple(
            replace(clip, fold=0, split="test" if row in tested else "train") for row, clip in enumerate(self.clips)
        )
        return replace(self, clips=clips, protocol=f"fold {number} of {len(splits)} alone ({self.protocol})")

    def select(self, rows: Iterable[int]) -> Dataset:
        """The data set with these rows only, renumbered in the order given.

        Args:
            rows: row numbers of ``clips``.

        Raises:
            SoundalikeError: if fewer than two classes, or no clip for a train or test part, would be left.
        """
        return replace(self, clips=tuple(self.clips[int(row)] for row in rows))

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
    labels: Iterable[str] | Iterable[Sequence[str]],
    groups: Iterable[str],
    folds: Iterable[int] | None = None,
    splits: Iterable[str] | None = None,
    missing: int = 0,
    metric: str = ACCURACY,
    several: bool = False,
) -> Dataset:
    """A ``Dataset`` from its columns; give ``folds`` or ``splits``, not both.

    Where ``several``, ``labels`` are sequences of at least one label each.
    """
    sounds = list(paths)
    sets = [tuple(map(str, of_clip)) for of_clip in labels] if several else [()] * len(sounds)
    made = zip(
        sounds,
        (of_clip[0] for of_clip in sets) if several else map(str, labels),
        map(str, groups),
        repeat(0, len(sounds)) if folds is None else map(int, folds),
        repeat("", len(sounds)) if splits is None else splits,
        sets,
        strict=True,
    )
    clips = tuple(Clip(*cells) for cells in made)
    return Dataset(name, clips, protocol, missing, MEAN_AVERAGE_PRECISION if several else metric)
