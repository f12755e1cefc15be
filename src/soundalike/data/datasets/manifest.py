"""A plain table of clips (path, label and, where known, fold, group, split): any other published data set.

A data set with lists of its own takes a few lines. VocalSound (``m0001_0_cough.wav``: speaker, session, sound)::

    import json
    import pandas as pd
    from pathlib import Path

    rows = []
    for split, name in {"train": "tr", "validation": "val", "test": "te"}.items():
        for clip in json.loads(Path(f"vocalsound/datafiles/{name}.json").read_text())["data"]:
            file = Path(clip["wav"]).name
            speaker, _, sound = Path(file).stem.split("_")
            rows.append({"path": f"audio_16k/{file}", "label": sound, "group": speaker, "split": split})
    pd.DataFrame(rows).to_csv("vocalsound/vocalsound.csv", index=False)
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from soundalike.audio.segment import Segment, Sound, file_of, span_of
from soundalike.core.errors import SoundalikeError, nearest
from soundalike.data.datasets.folds import grouped_folds, identical, joined, stratified_folds
from soundalike.data.datasets.table import SPLITS, Dataset, build
from soundalike.data.segments import label_files_in, read_rows
from soundalike.data.tables import ALIASES, SUFFIXES, columns_in

LAYOUT = "a table with the columns path and label (or a folder with one such table directly in it)"
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
}
_FOLD = re.compile(r"(\d+)(?:\.0+)?")  # pandas writes 1.0 where a cell of the column is empty


@dataclass(frozen=True)
class ListedClip:
    """A row of the table, as it says it."""

    row: int  # as a spreadsheet counts, the header being row 1
    path: Path
    label: str
    group: str  # empty where none is given
    fold: int | None
    split: str
    segment: Segment | None = None  # of the file, where not all of it is meant

    @property
    def sound(self) -> Sound:
        """File, or the segment of it."""
        return self.segment or self.path


@dataclass(frozen=True)
class ClipTable:
    """What was read of a table.

    Attributes:
        source: its file.
        clips: the rows whose files are there, at least one; each file, or segment of one, once.
        missing: number of listed files that are not there.
    """

    source: Path
    clips: list[ListedClip]
    missing: int

    @property
    def divided(self) -> bool:
        """Whether the table brings folds or lists of its own."""
        return bool(self.clips[0].split) or self.clips[0].fold is not None


def holds(data: Path) -> bool:
    """Whether it is a file, or a folder with a table of clips directly in it."""
    return data.is_file() or bool(tables_in(data)) or bool(label_files_in(data))


def read(data: Path) -> Dataset:
    """Every clip of a table, by its own folds or split, otherwise in folds that are made as for a folder.

    The table is what `read_table` takes. Columns may come in any order and in either case; others than these are
    ignored:

    - ``path`` (or ``file``, ``filename`` …): relative to the table's folder or the working folder, or absolute;
    - ``label`` (or ``class``, ``category``);
    - ``group``: clips that must stay together, such as a speaker's; a clip without is a group by itself;
    - ``fold``: a whole number, or ``split``: ``train`` (``training``), ``validation`` (``valid``, ``val``, ``dev``) or
      ``test`` (``testing``, ``eval``). For every row or for none.

    A row with start and end is a segment of its file (`segments.read_rows`); all segments of a file stay in one fold.
    A file that two rows list alike counts once. With neither folds nor split, up to five folds are made: grouped where
    a group is given, stratified otherwise, and files with identical contents stay together. Listed files that are not
    there are counted as missing.

    Args:
        data: the table, or a folder with one such table directly in it.

    Raises:
        SoundalikeError: a cell cannot be used (the sentence says which row and column), a group lies in more than one
            fold or in train and test, no file is there, or there is too little to train and test on.
    """
    return as_dataset(read_clips(data))


def read_clips(data: Path, several: str = "none") -> ClipTable:
    """The clips of a table whose files are there, each file once, without folds being made.

    Args:
        data: the table, or a folder with one such table directly in it.
        several: what may have several labels, and is there once for each: ``none``, ``segments`` or ``all``.

    Raises:
        SoundalikeError: a cell cannot be used, a group lies in more than one fold or part, or no file is there.
    """
    source = data
    sources = [data]
    if data.is_dir():
        tables = tables_in(data)
        if not tables:
            sources = label_files_in(data)
        elif len(tables) > 1:
            names = ", ".join(path.name for path in tables)
            raise SoundalikeError(f"{data}: more than one table of clips is in it ({names}): give one of them.")
        else:
            source = tables[0]
            sources = [source]
    listed = without_repeats(source, [clip for each in sources for clip in clips_of(each)], several)
    _check_groups(source, listed)
    clips = [clip for clip in listed if is_there(source, clip)]
    if not clips:
        first = listed[0]
        raise SoundalikeError(
            f"{source}: none of its {len(listed)} files is there; the first one, of row {first.row}, was looked for "
            f"at {first.path}: paths are relative to the table's folder."
        )
    return ClipTable(source, clips, len(listed) - len(clips))


def as_dataset(table: ClipTable) -> Dataset:
    """The clips of a table as a data set, by the table's own folds or lists, or in folds that are made."""
    source, clips, missing = table.source, table.clips, table.missing
    folds: list[int] | None = None
    splits: list[str] | None = None
    if clips[0].split:
        splits = [clip.split for clip in clips]
        protocol = f"{' / '.join(split for split in SPLITS if split in splits)} split of {source.name}"
    elif clips[0].fold is not None:
        folds, protocol = _given_folds(source, clips)
    else:
        folds, protocol = _made_folds(source, clips)
    gone = f" ({missing} of its files are missing)" if missing else ""
    for part in ("train", "test"):
        if splits is not None and part not in splits:
            raise SoundalikeError(f"{source}: column 'split' leaves no clip for {part}{gone}.")
    if folds is not None and len(set(folds)) < 2:
        raise SoundalikeError(f"{source}: column 'fold' has one fold only, and at least two are needed{gone}.")
    return build(
        "manifest",
        protocol,
        paths=[clip.sound for clip in clips],
        labels=[clip.label for clip in clips],
        groups=[clip.group or str(clip.path) for clip in clips],
        folds=folds,
        splits=splits,
        missing=missing,
    )


def tables_in(folder: Path) -> list[Path]:
    """The tables of clips directly in a folder, by their columns."""
    if not folder.is_dir():
        return []
    found = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
    return [path for path in found if path.is_file() and {"path", "label"} <= columns_in(path)]


def clips_of(source: Path) -> list[ListedClip]:
    """The rows of the table, each checked by itself."""
    rows = read_rows(source, [column for column in ALIASES if column != "path"], ("label",))
    used = [column for column in ("fold", "split") if any(row.cells[column] for row in rows)]
    if len(used) > 1:
        first = next(row.number for row in rows if row.cells["fold"])
        raise SoundalikeError(
            f"{source}: both columns 'fold' and 'split' have values (fold: row {first}): leave one of them out."
        )
    clips = []
    for row in rows:
        number, cells = row.number, row.cells
        for column in used:
            if not cells[column]:
                raise SoundalikeError(
                    f"{source}: row {number}, column {column!r}: the cell is empty; fill the column in every row or "
                    "in none."
                )
        fold = _fold(source, number, cells["fold"]) if "fold" in used else None
        split = _split(source, number, cells["split"]) if "split" in used else ""
        path = Path(os.path.abspath(file_of(row.sound)))
        segment = replace(row.sound, path=path) if isinstance(row.sound, Segment) else None
        clips.append(ListedClip(number, path, cells["label"], cells["group"], fold, split, segment))
    return clips


def _fold(source: Path, row: int, cell: str) -> int:
    whole = _FOLD.fullmatch(cell)
    if not whole:
        raise SoundalikeError(f"{source}: row {row}, column 'fold': {cell!r} is not a whole number from 0.")
    return int(whole[1])


def _split(source: Path, row: int, cell: str) -> str:
    word = cell.lower()
    if word not in _SPLIT_WORDS:
        raise SoundalikeError(
            f"{source}: row {row}, column 'split': unknown word {cell!r}: {nearest(word, _SPLIT_WORDS)}"
        )
    return _SPLIT_WORDS[word]


def without_repeats(source: Path, clips: list[ListedClip], several: str = "none") -> list[ListedClip]:
    """The clips, those that are listed twice once; refuses a file or segment that two rows list differently.

    Args:
        source: the table.
        clips: its rows.
        several: as `read_clips` takes it.
    """
    first: dict[object, ListedClip] = {}
    for clip in clips:
        may = several == "all" or (several == "segments" and clip.segment is not None)
        other = first.setdefault((clip.path, *span_of(clip.sound), clip.label if may else None), clip)
        for column in ("label", "split", "fold", "group"):
            here, there = getattr(clip, column), getattr(other, column)
            if here != there:
                what = f"file, {clip.path.name}"
                if clip.segment is not None:
                    what = f"segment, {replace(clip.segment, path=Path(clip.path.name))}"
                raise SoundalikeError(
                    f"{source}: rows {other.row} and {clip.row} list the same {what}, with different "
                    f"cells in column {column!r}: {there!r} and {here!r}."
                    + (" soundalike teach --overlap takes both." if column == "label" else "")
                )
    return list(first.values())


def _check_groups(source: Path, clips: list[ListedClip]) -> None:
    """Refuses a group that lies in two folds, or in train and test: its clips would be learned from and tested on."""
    seen: dict[tuple[str, str], ListedClip] = {}
    for clip in clips:
        names = [("group", clip.group)] if clip.group else []
        if clip.segment is not None:
            names.append(("file", str(clip.path)))
        for kind, name in names if clip.split != "validation" else []:
            other = seen.setdefault((kind, name), clip)
            if (other.fold, other.split) != (clip.fold, clip.split):
                what = f"folds {other.fold} and {clip.fold}" if clip.fold is not None else "train and test"
                advice = ", or leave the column 'group' out" if kind == "group" else ""
                raise SoundalikeError(
                    f"{source}: {kind} {name!r} lies in {what} (rows {other.row} and {clip.row}): {kind}s never "
                    f"cross folds, so put it into one of them{advice}."
                )


def file_keys(clips: list[ListedClip], copies: dict[Path, str]) -> list[str | None]:
    """What clips that lie in one file, or in files with the same contents, share; None of a file that is alone."""
    return [copies.get(clip.path) or (str(clip.path) if clip.segment else None) for clip in clips]


def is_there(source: Path, clip: ListedClip) -> bool:
    """Whether the file of a clip is on disk."""
    try:
        if clip.path.is_dir():
            raise SoundalikeError(f"{source}: row {clip.row}, column 'path': {clip.path} is a folder, not a file.")
        return clip.path.exists()
    except (OSError, ValueError):  # a name that is too long, or has a zero byte
        return False


def _given_folds(source: Path, clips: list[ListedClip]) -> tuple[list[int], str]:
    """The folds of the table, counted from 1, and the sentence on them."""
    numbers = [clip.fold or 0 for clip in clips]
    protocol = f"{len(set(numbers))} folds of {source.name}"
    if min(numbers) == 0:
        return [number + 1 for number in numbers], f"{protocol}, whose fold 0 is called fold 1 and so on"
    return numbers, protocol


def _made_folds(source: Path, clips: list[ListedClip]) -> tuple[list[int], str]:
    """Folds for clips that come without, and the sentence on how they were made."""
    labels, paths = [clip.label for clip in clips], [clip.path for clip in clips]
    counts = Counter(labels)
    rarest = min(counts, key=lambda label: counts[label])
    if counts[rarest] < 2:
        raise SoundalikeError(
            f"{source}: label {rarest!r} has one clip only; without the columns fold and split, each needs 2 or more."
        )
    copies = identical(list(dict.fromkeys(paths)))
    told = any(clip.group for clip in clips)
    groups = joined([clip.group or str(clip.path) for clip in clips], file_keys(clips, copies))
    segments = any(clip.segment for clip in clips)
    if told or copies or segments:
        folds = grouped_folds(labels, groups)
        if folds is not None:
            how = "group" if told else "file" if segments else "identical contents"
            return folds, f"{max(folds)} folds made of {source.name}, grouped by {how} ({len(set(groups))} groups)"
    if told or segments:
        groups_of = defaultdict(set)
        for label, group in zip(labels, groups, strict=True):
            groups_of[label].add(group)
        fewest = min(groups_of, key=lambda label: len(groups_of[label]))
        raise SoundalikeError(
            f"{source}: no folds can be made that keep groups together and every label in each training part (label "
            f"{fewest!r}: {len(groups_of[fewest])} of {len(set(groups))} groups): "
            + ("give segments of other recordings." if segments else "give a column 'fold' or 'split', or no groups.")
        )
    folds = stratified_folds(labels)
    twins = f"; {len(copies)} files have identical twins, which may lie in other folds" if copies else ""
    return folds, f"{max(folds)} stratified folds made of {source.name}{twins}"
