"""Recordings to train on: the clips of a task's training part, decoded once, with the labels that a run may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from soundalike.audio import read
from soundalike.core import random
from soundalike.core.errors import SoundalikeError, nearest
from soundalike.data import datasets
from soundalike.data.table_writer import open_table
from soundalike.data.tables import read_table

if TYPE_CHECKING:
    from soundalike.audio.background import Failure
    from soundalike.audio.cache import Recordings
    from soundalike.data.datasets import Dataset

UNLABELLED = ("keep", "drop")
_RECORD = ("path", "label", "labelled", "heard", "reason")
_LABELS, _LIMIT = 16, 40  # uses of a label seed; the numbers are part of the format: others would choose other clips


@dataclass(frozen=True)
class RecordingSettings:
    """Which recordings a run hears, and which labels. The ``recordings`` section of a recipe.

    Args:
        task: how the folder is read, one of `datasets.TASKS`; without it, every audio file below the folder is taken,
            and none has a label.
        data: the folder.
        fold: which fold of a task is held out and never heard, from 1; of a task with official lists, 1 hears its
            training list alone. 0 hears every clip.
        labels: part of the clips of each class that keep their label, in (0, 1]. The others are heard all the same.
        label_seed: which clips these are. Of one seed, the clips of a smaller part are among those of a larger one.
        unlabelled: ``keep`` or ``drop`` the clips without a label.
        limit: how many clips are heard at most, and decoded, chosen by ``label_seed``; those of a smaller limit are
            among those of a larger one. All of them where it is None.

    Raises:
        SoundalikeError: a value is out of its range.
    """

    task: str | None = None
    data: str | None = None
    fold: int = 1
    labels: float = 1.0
    label_seed: int = 0
    unlabelled: str = "keep"
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in datasets.TASKS:
            raise SoundalikeError(f"recordings.task is {self.task!r}: {nearest(self.task, datasets.TASKS)}")
        if not 0.0 < self.labels <= 1.0:
            raise SoundalikeError(f"recordings.labels is {self.labels:g}: give a part above 0 and at most 1.")
        if self.limit is not None and self.limit < 1:
            raise SoundalikeError(f"recordings.limit is {self.limit}: give a number of clips from 1, or null for all.")
        if self.fold < 0:
            raise SoundalikeError(f"recordings.fold is {self.fold}: give the number of a fold from 1, or 0 for none.")
        if not 0 <= self.label_seed < 1 << 63:
            raise SoundalikeError(f"recordings.label_seed is {self.label_seed}: give a number from 0 to 2**63 - 1.")
        if self.unlabelled not in UNLABELLED:
            raise SoundalikeError(
                f"recordings.unlabelled is {self.unlabelled!r}: {nearest(self.unlabelled, UNLABELLED)}"
            )

    def dataset(self) -> Dataset | None:
        """The task with the fold that is held out as its only test part; None where there is no task.

        Raises:
            SoundalikeError: there is no folder, it does not hold the task, or the task has no such fold.
        """
        folder = self._folder()
        if self.task is None:
            return None
        found = datasets.read(self.task, folder)
        return found.hold_out(self.fold) if self.fold else found

    def _folder(self) -> Path:
        if self.data is None:
            raise SoundalikeError(
                "this recipe hears recordings: give --data FOLDER, and --task for their labels and folds "
                f"({', '.join(datasets.TASKS)})."
            )
        return Path(self.data)

    def open(self, sample_rate: int, progress: bool = True) -> TrainingClips:
        """The clips, decoded into the cache where they are not there yet.

        Args:
            sample_rate: in Hz.
            progress: whether decoding shows its progress.

        Raises:
            SoundalikeError: as `dataset`; or a label is asked for of each class and a class is too small for it, or
                no file can be decoded.
        """
        from soundalike.audio.cache import open_cache

        dataset, folder = self.dataset(), self._folder()
        if dataset is not None and dataset.has_segments:
            raise SoundalikeError(
                f"{folder}: its clips are segments of files, and training takes whole files; give a file for each "
                "(soundalike teach, embed, map and evaluate take segments)."
            )
        paths = read.find(folder) if dataset is None else dataset.paths
        single = None if dataset is None or dataset.several else dataset  # several labels are none to train with
        classes = [] if single is None else single.classes
        codes = np.full(len(paths), -1) if single is None else np.searchsorted(classes, single.labels)
        wanted = np.ones(len(paths), bool)
        if dataset is not None and self.fold:
            wanted[:] = False
            wanted[next(iter(dataset.splits())).train] = True
        if self.limit is not None:
            wanted = _limited(wanted, self.limit, self.label_seed)
        choose_labels(codes[wanted], classes, self.labels, self.label_seed)  # too few are told of before the decoding
        # all of them, also those that are held out: the runs of all folds then share one cache
        decoded = np.arange(len(paths)) if self.limit is None else np.flatnonzero(wanted)
        home = folder if folder.is_dir() else folder.parent
        files = [paths[row] for row in decoded]
        cache = open_cache(files, sample_rate, self.task or "folder", progress=progress, folder=home)
        places = np.flatnonzero(wanted[decoded[cache.rows]])  # of the cache's clips
        if not len(places):
            first = next(failure for failure in cache.failures)
            raise SoundalikeError(f"{folder}: no clip can be heard; the first one, {first.path}: {first.reason}")
        rows = decoded[cache.rows[places]]
        codes = codes[rows]
        labelled = choose_labels(codes, classes, self.labels, self.label_seed)
        if self.unlabelled == "drop":
            if not labelled.any():
                raise SoundalikeError(
                    "recordings.unlabelled is 'drop', and no clip has a label: give recordings.task, or keep them."
                )
            heard = labelled
        else:
            heard = np.ones(len(rows), bool)
        tested = [] if dataset is None or not self.fold else [paths[row] for row in next(iter(dataset.splits())).test]
        return TrainingClips([paths[row] for row in rows], classes, codes, labelled, heard, places, cache, tested)


class TrainingClips:
    """Decoded clips, some of them with labels.

    Args:
        paths: of all m clips that could be decoded.
        classes: names of classes, sorted; empty where clips have none.
        codes: number of each clip's class, (m,), -1 where it has none.
        labelled: whether a clip's label may be seen, (m,).
        heard: whether a clip is heard, (m,); k of them are.
        places: of the clips in the cache, (m,).
        cache: where they are read from.
        held_out: the clips of the test part, which are never heard.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        classes: list[str],
        codes: np.ndarray,
        labelled: np.ndarray,
        heard: np.ndarray,
        places: np.ndarray,
        cache: Recordings,
        held_out: Sequence[Path] = (),
    ) -> None:
        self.held_out = list(held_out)
        self.paths, self.classes, self.codes, self.labelled = list(paths), classes, codes, labelled
        self.heard, self._places, self._cache = heard, places[heard], cache

    def __len__(self) -> int:
        return len(self._places)

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self._cache.sample_rate

    @property
    def lengths(self) -> Tensor:
        """Samples of every clip that is heard, int64 (k,)."""
        return torch.from_numpy(self._cache.lengths[self._places].astype(np.int64))

    @property
    def labels(self) -> Tensor:
        """Number of the class of every clip that is heard, int64 (k,); -1 where its label is not to be seen."""
        return torch.from_numpy(np.where(self.labelled, self.codes, -1)[self.heard].astype(np.int64))

    @property
    def failures(self) -> list[Failure]:
        """Files that could not be decoded, and why."""
        return self._cache.failures

    def read(self, clip: Tensor, start: Tensor, samples: int) -> Tensor:
        """Pieces of clips.

        Args:
            clip: which, counted among those that are heard, int64 (n,).
            start: first sample of each piece, int64 (n,).
            samples: length of the pieces; what a clip does not have is zero.

        Returns:
            ``(n, samples)``, float32.
        """
        pieces = np.zeros((len(clip), samples), np.float32)
        for row, (number, first) in enumerate(zip(clip.tolist(), start.tolist(), strict=True)):
            piece = self._cache.read(int(self._places[number]), first, samples)
            pieces[row, : len(piece)] = piece
        return torch.from_numpy(pieces)

    @property
    def heard_paths(self) -> list[Path]:
        """The files that are heard."""
        return [path for path, was in zip(self.paths, self.heard, strict=True) if was]

    def record(self, path: Path) -> None:
        """Writes which clips a run heard, which labels it saw, and why files were left out.

        Args:
            path: table to write: path, label, labelled, heard, reason.
        """
        with open_table(path, _RECORD, whole=True) as table:
            notes = {note.path: note.reason for note in self._cache.notes}
            for clip, label, seen, was in zip(self.paths, self.codes, self.labelled, self.heard, strict=True):
                name = self.classes[label] if label >= 0 else ""
                table.write((str(clip), name, int(seen), int(was), notes.get(clip, "")))
            for failure in self.failures:
                table.write((str(failure.path), "", 0, 0, failure.reason))


def heard_clips(record: Path) -> list[tuple[str, str, str]]:
    """Path, label and whether it was seen, of the clips that a run heard, as `TrainingClips.record` wrote them."""
    return [(row["path"], row["label"], row["labelled"]) for row in read_record(record) if row["heard"] == "1"]


def left_out(record: Path) -> list[tuple[str, str]]:
    """The files that a run could not hear, and why."""
    return [
        (row["path"], row["reason"])
        for row in read_record(record)
        if row["reason"] and row["label"] + row["heard"] == "0"
    ]


def noted(record: Path) -> list[tuple[str, str]]:
    """The files that a run heard though they are not whole, and what is wrong with them."""
    return [(row["path"], row["reason"]) for row in read_record(record) if row["reason"] and row["heard"] == "1"]


def read_record(record: Path) -> list[dict[str, str]]:
    """The rows that `TrainingClips.record` wrote."""
    return read_table(record, _RECORD, ("path",), empty=True).rows()


def choose_labels(codes: np.ndarray, classes: Sequence[str], fraction: float, seed: int) -> np.ndarray:
    """Clips that keep their label: the same part of every class.

    Args:
        codes: number of each clip's class, (m,).
        classes: their names.
        fraction: part of each class, in (0, 1], rounded to whole clips.
        seed: which clips. Those of a smaller fraction are among those of a larger one.

    Returns:
        Whether each clip keeps its label, bool (m,).

    Raises:
        SoundalikeError: a class would be left without any.
    """
    chance = random.uniform(random.keys(seed, torch.arange(len(codes)), stream=_LABELS), 1)[:, 0].numpy()
    chosen = np.zeros(len(codes), bool)
    sizes = np.bincount(codes[codes >= 0], minlength=len(classes))
    if sizes.any():
        # the smallest class, so that what is enough for it is enough for all
        fewest, name = min((int(size), name) for size, name in zip(sizes, classes, strict=True) if size)
        if not _rounded(fraction, fewest):
            clips = f"{fewest} {'clip' if fewest == 1 else 'clips'} to train on"
            raise SoundalikeError(
                f"recordings.labels is {fraction:g}, which leaves the class {name!r} ({clips}) without a label; give "
                f"at least {_enough(fewest):g}."
            )
    for number in range(len(classes)):
        of_class = np.flatnonzero(codes == number)
        count = _rounded(fraction, len(of_class))
        chosen[of_class[np.argsort(chance[of_class], kind="stable")[:count]]] = True
    return chosen


def _limited(wanted: np.ndarray, limit: int, seed: int) -> np.ndarray:
    """Which clips are heard, bool (m,), of those that are wanted: at most so many, the same ones of one seed."""
    chance = random.uniform(random.keys(seed, torch.arange(len(wanted)), stream=_LIMIT), 1)[:, 0].numpy()
    rows = np.flatnonzero(wanted)
    kept = np.zeros(len(wanted), bool)
    kept[rows[np.argsort(chance[rows], kind="stable")[:limit]]] = True
    return kept


def _rounded(fraction: float, clips: int) -> int:
    """A part of so many clips in whole clips."""
    return int(fraction * clips + 0.5)


def _enough(clips: int) -> float:
    """The least part of so many clips that rounds to one, rounded up to a thousandth."""
    return float(-(-500 // clips) / 1000)
