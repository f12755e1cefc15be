"""A folder per class: any collection of labelled clips, with folds that keep related clips together."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from soundalike.audio import SUFFIXES, find
from soundalike.datasets.table import Dataset, build
from soundalike.errors import SoundalikeError

LAYOUT = f"a sub-folder for each class with audio in it ({', '.join(SUFFIXES)})"
_MOST_FOLDS = 5
_SEED = 0
_TRIES = 20
_TAKE = re.compile(r"(.*[^\W_].*?)[\s_.-]+(?:take[\s_.-]*)?\(?\d+\)?", re.IGNORECASE)


def holds(folder: Path) -> bool:
    """Whether some sub-folder holds audio."""
    return any(_has_audio(path) for path in _classes(folder))


def read(folder: Path) -> Dataset:
    """Every clip below a class's folder, in grouped folds where a group can be told, stratified otherwise.

    A group is told, in this order, by sub-folders inside the class folders, by ``<speaker>_nohash_<n>`` in
    the names, or by names that differ in a last number only (``dog12_1.wav``, ``dog12_2.wav``). One name is
    one group in all classes. Files with identical contents always share a group. Groups serve only if every
    class keeps at least two, so that it can be trained and tested on.
    """
    rows = [(path, top.name) for top in _classes(folder) if _has_audio(top) for path in find(top)]
    paths, labels = [path for path, _ in rows], [label for _, label in rows]
    counts = Counter(labels)
    if len(counts) < 2:
        raise SoundalikeError(f"{folder}: at least two classes (sub-folders with audio) are needed.")
    rarest = min(counts, key=lambda label: counts[label])
    if counts[rarest] < 2:
        raise SoundalikeError(f"{folder / rarest}: a class needs at least 2 clips, this one has {counts[rarest]}.")

    copies = _identical(paths)
    groupings = _groupings(folder, paths, labels, copies)
    for how, groups in groupings:
        folds = _grouped_folds(labels, groups)
        if folds is not None:
            protocol = f"{max(folds)} folds, grouped by {how} ({len(set(groups))} groups)"
            return build("folder", protocol, paths=paths, labels=labels, groups=groups, folds=folds)
    folds = _stratified_folds(labels)
    why = "no group could be told from the names"
    if groupings:
        why = f"grouping by {groupings[0][0]} would leave a class with fewer than two usable groups"
    protocol = f"{max(folds)} stratified folds: {why}"
    if copies:
        protocol += f"; {len(copies)} files have identical twins, which may lie in other folds"
    groups = [str(path.relative_to(folder)) for path in paths]
    return build("folder", protocol, paths=paths, labels=labels, groups=groups, folds=folds)


def _classes(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def _has_audio(folder: Path) -> bool:
    try:
        return bool(find(folder))
    except SoundalikeError:
        return False


def _groupings(
    folder: Path, paths: Sequence[Path], labels: Sequence[str], copies: dict[Path, str]
) -> list[tuple[str, list[str]]]:
    """The ways of grouping that join at least two clips, each as (what it goes by, group per clip).

    First all clues at once, for each clip the first that says something; then each clue alone.
    """
    inner = [path.relative_to(folder / label).parts for path, label in zip(paths, labels, strict=True)]
    speakers = [path.stem.split("_nohash_")[0] if "_nohash_" in path.stem else "" for path in paths]
    takes = [None if "_nohash_" in path.stem else _TAKE.fullmatch(path.stem) for path in paths]
    clues = {
        "sub-folder": [parts[0] if len(parts) > 1 else "" for parts in inner],
        "speaker (the name before _nohash_)": speakers,
        "the name before the take number": [take[1] if take else "" for take in takes],
        "identical contents": [copies.get(path, "") for path in paths],
    }
    clues = {how: names for how, names in clues.items() if _repeats(names)}
    together, used = [""] * len(paths), []
    for how, names in clues.items():
        if any(name and not known for name, known in zip(names, together, strict=True)):
            together = [known or name for name, known in zip(names, together, strict=True)]
            used.append(how)
    candidates = [(" or ".join(used), together), *clues.items()] if clues else []
    result = []
    for how, names in candidates:
        # A clip of which nothing can be told is a group by itself: its path, which no other clip has.
        groups = [name or str(path.relative_to(folder)) for name, path in zip(names, paths, strict=True)]
        result.append((how, _joined(groups, [copies.get(path) for path in paths])))
    return result


def _repeats(names: Sequence[str]) -> bool:
    """Whether a name that is not empty occurs twice."""
    told = [name for name in names if name]
    return len(set(told)) < len(told)


def _joined(groups: Sequence[str], contents: Sequence[str | None]) -> list[str]:
    """Groups, with those that share a file's contents made one."""
    parent = {group: group for group in groups}

    def root(group: str) -> str:
        while parent[group] != group:
            group = parent[group]
        return group

    first: dict[str, str] = {}
    for group, content in zip(groups, contents, strict=True):
        if content is not None:
            parent[root(group)] = root(first.setdefault(content, group))
    return [root(group) for group in groups]


def _identical(paths: Sequence[Path]) -> dict[Path, str]:
    """The files that have a twin -> a name for their contents, which is the path of the first of them.

    Few files are read whole: only those alike in size and beginning.
    """
    alike = [list(paths)]
    for key in (_size, _beginning, _contents):
        alike = [same for group in alike for same in _divide(group, key)]
    return {path: str(group[0]) for group in alike for path in group}


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
    return path.stat().st_size


def _beginning(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.sha256(stream.read(1 << 16)).digest()


def _contents(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _grouped_folds(labels: Sequence[str], groups: Sequence[str]) -> list[int] | None:
    """A fold from 1 per clip such that no training part lacks a class, or None if groups do not allow it.

    The assignment is greedy: where it leaves a class out of some training part, other shuffles are tried, and
    of those that serve the one is taken in which the fewest classes lack in test parts.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups_of = defaultdict(set)
    for label, group in zip(labels, groups, strict=True):
        groups_of[label].add(group)
    smallest = min(len(of_class) for of_class in groups_of.values())
    classes = np.unique(labels, return_inverse=True)[1]
    for count in range(min(_MOST_FOLDS, smallest), 1, -1):
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


def _stratified_folds(labels: Sequence[str]) -> list[int]:
    from sklearn.model_selection import StratifiedKFold

    count = min(_MOST_FOLDS, *Counter(labels).values())
    folds = np.zeros(len(labels), dtype=int)
    splitter = StratifiedKFold(count, shuffle=True, random_state=_SEED)
    for number, (_, test) in enumerate(splitter.split(np.zeros(len(labels)), labels), start=1):
        folds[test] = number
    return folds.tolist()
