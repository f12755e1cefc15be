"""ESC-50 (Piczak, 2015, https://github.com/karolpiczak/ESC-50) and its ten-class subset ESC-10."""

from __future__ import annotations

from pathlib import Path

from soundalike.audio import SUFFIXES
from soundalike.datasets.table import Dataset, build
from soundalike.errors import SoundalikeError

LAYOUT = "meta/esc50.csv beside a folder audio/"
_COLUMNS = ("filename", "fold", "category", "esc10", "src_file")


def holds(folder: Path) -> bool:
    """Whether the folder has the layout of ESC-50."""
    return (folder / "meta" / "esc50.csv").is_file() and (folder / "audio").is_dir()


def read_esc50(folder: Path) -> Dataset:
    """Every clip of the table, 5 official folds; clips cut from one recording form a group."""
    return _read(folder, "esc50", classes=50)


def read_esc10(folder: Path) -> Dataset:
    """The clips that the table marks as ESC-10, 5 official folds."""
    return _read(folder, "esc10", classes=10)


def _read(folder: Path, name: str, classes: int) -> Dataset:
    import pandas as pd

    source = folder / "meta" / "esc50.csv"
    try:
        table = pd.read_csv(source, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise SoundalikeError(f"{source}: not a table that can be read ({error}).") from error
    for column in _COLUMNS:
        if column not in table:
            raise SoundalikeError(f"{source}: the table has no column {column!r}.")
    if not table["fold"].str.fullmatch("[0-9]+").all():
        raise SoundalikeError(f"{source}: a fold is not a whole number.")
    if name == "esc10":
        table = table[table["esc10"].str.lower() == "true"]
        if table.empty:
            raise SoundalikeError(f"{source}: no clip is marked as esc10.")
    files = [_file(folder / "audio" / filename) for filename in table["filename"]]
    there = [file is not None for file in files]
    if not any(there):
        raise SoundalikeError(f"{folder / 'audio'}: none of the {len(files)} clips of meta/esc50.csv is there.")
    table = table[there]
    folds, found = table["fold"].nunique(), table["category"].nunique()
    part = "" if found == classes else f" ({found} of the {classes} classes)"
    return build(
        name,
        f"{folds} official folds{part}",
        paths=[file for file in files if file is not None],
        labels=table["category"],
        groups=table["src_file"],
        folds=table["fold"].astype(int),
        missing=there.count(False),
    )


def _file(listed: Path) -> Path | None:
    """The listed file or, where it is not there, the same clip in another format."""
    candidates = (listed, *(listed.with_suffix(suffix) for suffix in SUFFIXES))
    return next((path for path in candidates if path.is_file()), None)
