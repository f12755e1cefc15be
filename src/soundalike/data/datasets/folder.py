"""A folder per class: any collection of labelled clips, with folds that keep related clips together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from soundalike.audio.folders import LeftOut, identity, walk
from soundalike.audio.kinds import SUFFIXES, is_left_out, suffixes
from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.folds import grouped_folds, identical, joined, stratified_folds
from soundalike.data.datasets.table import Dataset, build

LAYOUT = f"a sub-folder for each class with audio in it ({', '.join(SUFFIXES)})"
_TAKE = re.compile(r"(.*[^\W_].*?)[\s_.-]+(?:take[\s_.-]*)?\(?\d+\)?", re.IGNORECASE)


def holds(folder: Path) -> bool:
    """Whether some sub-folder holds audio."""
    return any(has_audio(path) for path in class_folders(folder))


def read(folder: Path) -> Dataset:
    """Every clip below a class's folder, in grouped folds where a group can be told, stratified otherwise.

    A group is told, in this order, by sub-folders inside the class folders, by ``<speaker>_nohash_<n>`` in
    the names, or by names that differ in a last number only (``dog12_1.wav``, ``dog12_2.wav``). One name is
    one group in all classes. Files with identical contents always share a group. Groups serve only if every
    class keeps at least two, so that it can be trained and tested on.
    """
    classes = clips_by_class(folder)
    paths = [path for clips in classes.values() for path in clips]
    labels = [label for label, clips in classes.items() for _ in clips]
    counts = Counter(labels)
    if len(counts) < 2:
        raise SoundalikeError(f"{folder}: at least two classes (sub-folders with audio) are needed.")
    rarest = min(counts, key=lambda label: counts[label])
    if counts[rarest] < 2:
        raise SoundalikeError(f"{folder / rarest}: a class needs at least 2 clips, this one has {counts[rarest]}.")

    copies = identical(paths)
    groupings = ways_to_group(folder, paths, labels, copies)
    for how, groups in groupings:
        folds = grouped_folds(labels, groups)
        if folds is not None:
            protocol = f"{max(folds)} folds, grouped by {how} ({len(set(groups))} groups)"
            return build("folder", protocol, paths=paths, labels=labels, groups=groups, folds=folds)
    folds = stratified_folds(labels)
    why = "no group could be told from the names"
    if groupings:
        why = f"grouping by {groupings[0][0]} would leave a class with fewer than two usable groups"
    protocol = f"{max(folds)} stratified folds: {why}"
    if copies:
        protocol += f"; {len(copies)} files have identical twins, which may lie in other folds"
    groups = [str(path.relative_to(folder)) for path in paths]
    return build("folder", protocol, paths=paths, labels=labels, groups=groups, folds=folds)


def clips_by_class(folder: Path) -> dict[str, list[Path]]:
    """The audio files below each sub-folder that has any, by the sub-folder's name; sorted.

    Warns:
        LeftOutWarning: the folder holds sounds that are not read, or that lie in no sub-folder.
    """
    found, without = {}, []
    left_out, beside = LeftOut(), 0
    tops = class_folders(folder)
    # a link in one class to another, or to all of them, would give clips a second label
    barred = {identity(place) for place in (folder, *tops)}
    for top in tops:
        left = LeftOut()
        clips = walk(top, left, barred)
        if clips:
            found[top.name] = clips
        elif left.kinds:
            without.append(top.name)
        left_out.kinds += left.kinds
    for path in folder.iterdir():
        if path.name[0] != "." and path.is_file():
            readable = path.suffix.lower() in suffixes()
            if readable or is_left_out(path.name, path):
                left_out.add(path.name)
                beside += 1
    if found:  # else the folder is none of classes
        more = f"; nothing is left of {', '.join(without)}" if without else ""
        more += f"; {beside} of them in no sub-folder" if beside else ""
        left_out.warn(folder, more, stacklevel=3)
    return found


def class_folders(folder: Path) -> list[Path]:
    """Its sub-folders, one for each class, but for hidden ones; sorted."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def has_audio(folder: Path) -> bool:
    """Whether there is an audio file anywhere in a folder."""
    return bool(walk(folder))


def ways_to_group(
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
        result.append((how, joined(groups, [copies.get(path) for path in paths])))
    return result


def _repeats(names: Sequence[str]) -> bool:
    """Whether a name that is not empty occurs twice."""
    told = [name for name in names if name]
    return len(set(told)) < len(told)
