"""The training set of a classifier: a folder per class or a table, read once; small classes are kept, copies found."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from soundalike.apps.classifier.classifier import NONE
from soundalike.apps.classifier.overlapping import merged
from soundalike.audio import read as audio
from soundalike.audio.segment import Segment, Sound, file_of
from soundalike.core.errors import SoundalikeError, nearest
from soundalike.core.files import missing
from soundalike.core.union_find import Links
from soundalike.data import datasets, tables
from soundalike.data.datasets import folder as folders
from soundalike.data.datasets import manifest
from soundalike.data.datasets.folds import identical, joined
from soundalike.data.datasets.table import Dataset
from soundalike.data.label_files import is_label_file

_FEW = 5  # clips, below which a class is called small
_UNEVEN = 10  # times as many clips in the largest class as in the smallest
_PARTS = {"train", "training", "valid", "validation", "val", "dev", "test", "testing", "eval"}
_MOST_NAMED = 3  # files, pairs of files or classes in a warning
ALIKE = 0.98
"""Cosine of two clips' standardised embeddings at and above which they count as the same recording."""
_AT_ONCE = 1024  # rows compared at a time


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """The labelled clips that a classifier is trained on.

    Attributes:
        paths: their files, or segments of files, (n,).
        labels: their classes, (n,), strings.
        groupings: ways of telling which clips must stay together, the best first, as (what it goes by, group of each
            clip).
        copies: the files whose contents another file has too, each with the path of the first such file; likewise
            segments of such files, each with a name that those of the same time share.
        own: the data set where it brings its own folds or lists; else None, and folds are made.
        missing: how many clips a table lists that are not there.
        sets: all classes that are heard in each clip, (n,), where several may be at once; else None.
    """

    paths: list[Sound]
    labels: np.ndarray
    groupings: list[tuple[str, list[str]]]
    copies: dict[Sound, str]
    own: Dataset | None = None
    missing: int = 0
    sets: list[frozenset[str]] | None = None

    def select(self, rows: np.ndarray) -> TrainingSet:
        """The clips with these rows only.

        Raises:
            SoundalikeError: fewer than two classes are left.
        """
        if len(rows) == len(self.paths):
            return self
        labels = self.labels[rows]
        if len(set(labels)) < 2 and self.sets is None:
            raise SoundalikeError("fewer than two classes are left once the clips that cannot be read are out.")
        own, groupings = None, self.groupings
        if self.own is not None:
            try:
                own = self.own.select(rows)
            except SoundalikeError:  # a part without a clip: folds are made instead, of the same groups
                groupings = [("the groups of the data", [clip.group for clip in self.own.clips])]
        groupings = [(how, [groups[row] for row in rows]) for how, groups in groupings]
        sets = None if self.sets is None else [self.sets[row] for row in rows]
        paths = [self.paths[row] for row in rows]
        return replace(self, paths=paths, labels=labels, groupings=groupings, own=own, sets=sets)

    @property
    def every_label(self) -> np.ndarray:
        """The classes of all clips, those of a clip with several one after the other."""
        if self.sets is None:
            return self.labels
        return np.array([label for labels in self.sets for label in sorted(labels)])


def read(data: str | Path, task: str | None = None, overlap: bool = False) -> TrainingSet:
    """The clips of a folder per class, of a table, or of a published data set.

    Args:
        data: a folder with a sub-folder for each class; a table as the task ``manifest`` takes it, or the folder that
            it lies in.
        task: one of `datasets.TASKS`; recognised from ``data`` where not given.
        overlap: whether several classes may be heard at once; found out from the times of segments where not.

    Raises:
        SoundalikeError: nothing is there, it is neither, it has fewer than two classes, or one is called as sounds of
            no class are.
    """
    found = _read(Path(data), task, overlap)
    if overlap and found.sets is None:
        found = replace(found, sets=[frozenset([str(label)]) for label in found.labels])
    for label in set(found.every_label):
        if _plain(str(label)) == NONE:
            raise SoundalikeError(
                f"{data}: a class is called {str(label)!r}, as sounds are that belong to no class; call it otherwise."
            )
    return found


def _read(data: Path, task: str | None, overlap: bool) -> TrainingSet:
    """As `read`, whatever the classes are called."""
    if task is not None and task not in datasets.TASKS:
        raise SoundalikeError(f"unknown task {task!r}: {nearest(task, datasets.TASKS)}")
    if task == "folder" and data.is_dir():
        return _of_folder(data, folders.clips_by_class(data))
    if task == "manifest":
        return _of_table(datasets.located("manifest", data), overlap)
    if task is not None:
        return _of_dataset(datasets.read(task, data))
    if not data.exists():
        what = "no such file or folder; give a folder with a sub-folder for each class."
        raise SoundalikeError(missing(data, what))
    if data.is_dir():
        classes = folders.clips_by_class(data)
        if len(classes) >= 2:
            return _of_folder(data, classes)
        if manifest.holds(data):
            return _of_table(data, overlap)
        raise SoundalikeError(f"{data}: {_why_no_classes(data, list(classes))}")
    if data.suffix.lower() in audio.suffixes():
        raise SoundalikeError(f"{data}: one sound; give a folder with a sub-folder of sounds for each class.")
    if data.suffix.lower() == ".parquet":
        tables.pyarrow_for(data)
    if not is_label_file(data) and not tables.columns_in(data):
        raise SoundalikeError(
            f"{data}: not a table of clips; give one ({', '.join(tables.SUFFIXES)}) with the columns path and label, "
            "or a folder with a sub-folder for each class."
        )
    return _of_table(data, overlap)


def _why_no_classes(data: Path, classes: Sequence[str]) -> str:
    """What a folder holds instead of a sub-folder for each class, and what to do."""
    for name, reader in datasets.TASKS.items():
        if name not in ("folder", "manifest") and datasets.holds(reader, data):
            return f"the layout of a published data set; give --task {name}."
    if classes:
        return (
            f"only one sub-folder, {classes[0]}, has sounds in it; at least two classes are needed, a sub-folder for "
            "each."
        )
    if folders.has_audio(data):
        return (
            "holds sounds, but no sub-folders; put the sounds of each class into a sub-folder of their own, or give a "
            "table with the columns path and label, or label tracks beside the recordings."
        )
    return f"holds no sounds; give a folder with a sub-folder for each class ({', '.join(audio.suffixes())})."


def _of_folder(data: Path, classes: Mapping[str, Sequence[Path]]) -> TrainingSet:
    if len(classes) < 2:
        raise SoundalikeError(f"{data}: at least two classes (sub-folders with sounds in them) are needed.")
    paths = [path for clips in classes.values() for path in clips]
    labels = [label for label, clips in classes.items() for _ in clips]
    copies = identical(paths)
    return TrainingSet(
        list(paths), np.array(labels), folders.ways_to_group(data, paths, labels, copies), dict(copies.items())
    )


def _of_table(data: Path, overlap: bool) -> TrainingSet:
    table = manifest.read_clips(data, "all" if overlap else "segments")
    clips, sets = merged(table.clips)
    table = replace(table, clips=clips)
    several = sets if overlap or any(len(labels) > 1 for labels in sets) else None
    if table.divided:
        return replace(_of_dataset(manifest.as_dataset(table)), sets=several)
    sounds, labels = [clip.sound for clip in table.clips], np.array([clip.label for clip in table.clips])
    classes = len({label for own in sets for label in own})
    if classes < 2:
        raise SoundalikeError(f"{table.source}: at least two classes are needed, and its files have {classes}.")
    groupings = []
    segments = any(clip.segment for clip in table.clips)
    if segments or any(clip.group for clip in table.clips):
        names = [clip.group or str(clip.path) for clip in table.clips]
        files = identical(list({clip.path: None for clip in table.clips}))
        how = "file" if segments else "the column 'group'"
        groupings = [(how, joined(names, manifest.file_keys(table.clips, files) if segments else [None] * len(names)))]
    return TrainingSet(sounds, labels, groupings, _copies(sounds), None, table.missing, several)


def _of_dataset(dataset: Dataset) -> TrainingSet:
    sounds = dataset.sounds
    return TrainingSet(sounds, dataset.labels, [], _copies(sounds), dataset, dataset.missing)


def _copies(sounds: Sequence[Sound]) -> dict[Sound, str]:
    """As `TrainingSet.copies`."""
    files = identical(list({file_of(sound): None for sound in sounds}))
    return {
        sound: str(replace(sound, path=Path(files[sound.path]))) if isinstance(sound, Segment) else files[sound]
        for sound in sounds
        if file_of(sound) in files
    }


def size_warnings(labels: np.ndarray) -> list[str]:
    """What is wrong with the sizes and the names of classes, and what to do: a sentence each.

    Args:
        labels: of all clips that could be read, (n,), strings.
    """
    counts = Counter(str(label) for label in labels)
    found = _alike_names(counts)
    alone = sorted(label for label, count in counts.items() if count == 1)
    few = sorted(label for label, count in counts.items() if 1 < count < _FEW)
    if alone:
        found.append(
            f"{_named(alone)}: one clip only, so its accuracy cannot be estimated; add clips of other recordings."
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


def _alike_names(labels: Iterable[str]) -> list[str]:
    """What is wrong with names of classes that read the same, a sentence for each of them."""
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        groups[_plain(label)].append(label)
    found = []
    for names in groups.values():
        if len(names) > 1:
            same_letters = len({unicodedata.normalize("NFKC", name) for name in names}) == 1
            # what looks the same is told apart by its code points
            told = " and ".join(ascii(name) if same_letters else repr(name) for name in names)
            found.append(
                f"{told} are {len(names)} classes whose names differ in "
                f"{'how letters are composed' if same_letters else 'case, blanks or composed letters'} alone; if they "
                "are one, give them one name."
            )
    return found


def _plain(label: str) -> str:
    """A name without what hardly shows: case, the composition of letters, blanks."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().replace("_", " ").split())


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def find_copies(
    paths: Sequence[Sound],
    labels: np.ndarray,
    vectors: np.ndarray,
    copies: Mapping[Sound, str],
    folds: np.ndarray | None = None,
) -> tuple[list[str], list[str]]:
    """Which clips are the same sound, and what to say of it.

    Args:
        paths: their files, or segments of files, (n,).
        labels: their classes, (n,).
        vectors: their standardised embeddings, (n, D).
        copies: files with the same contents, as in `TrainingSet`.
        folds: number of the fold in which each clip is tested, (n,), where the data brings its own folds.

    Returns:
        A name for each clip, which clips that are the same share, (n,); and warnings, a sentence each.
    """
    links: Links[int] = Links()
    first: dict[str, int] = {}
    for row, path in enumerate(paths):
        if path in copies:
            links.join(first.setdefault(copies[path], row), row)
    exact = [links.root(row) for row in range(len(paths))]
    close = [pair for pair in _alike(vectors) if exact[pair[0]] != exact[pair[1]]]
    for one, other in close:
        links.join(other, one)
    warnings = _of_copies(paths, labels, exact)
    across = [pair for pair in close if labels[pair[0]] != labels[pair[1]]]
    if across:
        warnings.append(
            f"{_count(len(across), 'pair')} of clips in different classes sound nearly the same, and one of the "
            f"labels may be wrong: {_pairs(paths, across)}."
        )
    within = [pair for pair in close if labels[pair[0]] == labels[pair[1]]]
    if within and folds is None:
        warnings.append(
            f"{_count(len(within), 'pair')} of clips sound nearly the same, as copies do; they were kept together, so "
            f"that the estimate is not too high: {_pairs(paths, within)}."
        )
    if folds is not None:
        roots = [links.root(row) for row in range(len(paths))]
        together = [(root, row) for row, root in enumerate(roots) if root != row and folds[root] != folds[row]]
        if together:
            warnings.append(
                f"{_count(len(together), 'pair')} of clips that are the same, or sound so, in different folds of the "
                f"data, so that the estimate is too high: {_pairs(paths, together)}."
            )
    return [str(paths[links.root(row)]) for row in range(len(paths))], warnings


def _of_copies(paths: Sequence[Sound], labels: np.ndarray, exact: Sequence[int]) -> list[str]:
    groups: dict[int, list[int]] = defaultdict(list)
    for row, name in enumerate(exact):
        groups[name].append(row)
    several = [rows for rows in groups.values() if len(rows) > 1]
    warnings = []
    wrong = [rows for rows in several if len({labels[row] for row in rows}) > 1]
    if wrong:
        pairs = []
        for rows in wrong:
            other = next(row for row in rows if labels[row] != labels[rows[0]])
            pairs.append((rows[0], other))
        warnings.append(
            f"{_count(len(wrong), 'file')} in more than one class, which is an error in the labels; keep one of each: "
            f"{_pairs(paths, pairs)}."
        )
    repeated = [(rows[0], rows[1]) for rows in several if len({labels[row] for row in rows}) == 1]
    if repeated:
        warnings.append(
            f"{_count(len(repeated), 'file')} more than once in a class; copies teach nothing: "
            f"{_pairs(paths, repeated)}."
        )
    return warnings


def _alike(vectors: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of rows whose cosine is ``ALIKE`` or more."""
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    pairs = []
    for start in range(0, len(units), _AT_ONCE):
        cosines = units[start : start + _AT_ONCE] @ units[start:].T
        for one, other in np.argwhere(cosines >= ALIKE):
            if one < other:
                pairs.append((start + int(one), start + int(other)))
    return pairs


def _pairs(paths: Sequence[Sound], pairs: Sequence[tuple[int, int]]) -> str:
    named = [f"{_short(paths[one])} and {_short(paths[other])}" for one, other in pairs[:_MOST_NAMED]]
    more = f" and {len(pairs) - _MOST_NAMED} more" if len(pairs) > _MOST_NAMED else ""
    return "; ".join(named) + more


def _short(sound: Sound) -> str:
    short = "/".join(file_of(sound).parts[-2:])
    return str(replace(sound, path=Path(short))) if isinstance(sound, Segment) else short


def _count(count: int, what: str) -> str:
    verb = "" if what == "pair" else (" is" if count == 1 else " are")
    return f"{count} {what}{'' if count == 1 else 's'}{verb}"
