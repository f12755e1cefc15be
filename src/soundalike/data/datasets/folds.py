"""Folds for collections that come without: grouped, or stratified where there are no groups."""

from __future__ import annotations

import hashlib
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from soundalike.core.union_find import Links

_MOST_FOLDS = 5
_SEED = 0
_TRIES = 20


def grouped_folds(labels: Sequence[str], groups: Sequence[str], most: int = _MOST_FOLDS) -> list[int] | None:
    """A fold from 1 to at most ``most`` per clip such that no training part lacks a class, or None if groups forbid.

    The assignment is greedy: where it leaves a class out of some training part, other shuffles are tried, and
    of those that serve the one is taken in which the fewest classes lack in test parts.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups_of = defaultdict(set)
    for label, group in zip(labels, groups, strict=True):
        groups_of[label].add(group)
    smallest = min(len(of_class) for of_class in groups_of.values())
    classes = np.unique(labels, return_inverse=True)[1]
    for count in range(min(most, smallest), 1, -1):
        best: tuple[int, list[int]] | None = None
        for seed in range(_SEED, _SEED + _TRIES):
            splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
            folds = np.zeros(len(classes), dtype=int)
            for number, (_, test) in enumerate(splitter.split(classes, classes, groups), start=1):
                folds[test] = number
            table = np.zeros((count, classes.max() + 1), dtype=int)
            np.add.at(table, (folds - 1, classes), 1)  # (fold, class) -> clips
            untrained = (table.sum(axis=0) == table).any() or not table.any(axis=1).all()
            lacking = int((table == 0).sum())
            if not untrained and (best is None or lacking < best[0]):
                best = (lacking, folds.tolist())
                if lacking == 0:
                    break
        if best is not None:
            return best[1]
    return None


def stratified_folds(labels: Sequence[str], most: int = _MOST_FOLDS) -> list[int]:
    """A fold from 1 to at most ``most`` per clip, each with its share of every class, which needs 2 clips or more."""
    from sklearn.model_selection import StratifiedKFold

    count = min(most, *Counter(labels).values())
    folds = np.zeros(len(labels), dtype=int)
    splitter = StratifiedKFold(count, shuffle=True, random_state=_SEED)
    for number, (_, test) in enumerate(splitter.split(np.zeros(len(labels)), labels), start=1):
        folds[test] = number
    return folds.tolist()


def identical(paths: Sequence[Path]) -> dict[Path, str]:
    """The files that have a twin -> a name for their contents, which is the path of the first of them.

    Few files are read whole: only those alike in size and beginning.
    """
    alike = [list(paths)]
    for key in (_size, _beginning, _contents):
        alike = [same for group in alike for same in _divide(group, key)]
    return {path: str(group[0]) for group in alike for path in group}


def joined(groups: Sequence[str], contents: Sequence[str | None]) -> list[str]:
    """Groups, with those that share a file's contents made one."""
    links: Links[str] = Links()
    first: dict[str, str] = {}
    for group, content in zip(groups, contents, strict=True):
        if content is not None:
            links.join(first.setdefault(content, group), group)
    return [links.root(group) for group in groups]


def _divide(paths: Sequence[Path], key: Callable[[Path], object]) -> list[list[Path]]:
    """The paths in lists of one key each, without those that are alone."""
    by_key: dict[object, list[Path]] = defaultdict(list)
    for path in paths:
        try:
            by_key[key(path)].append(path)
        except OSError:  # it will be named when it is decoded
            continue
    return [same for same in by_key.values() if len(same) > 1]


def _size(path: Path) -> int:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise OSError("is not a regular file")
    return status.st_size


def _beginning(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.sha256(stream.read(1 << 16)).digest()


def _contents(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
