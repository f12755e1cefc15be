"""ESC-50 (Piczak, 2015, https://github.com/karolpiczak/ESC-50) and its ten-class subset ESC-10."""

from __future__ import annotations

from pathlib import Path

from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.listing import on_disk, part, read_csv
from soundalike.data.datasets.table import Dataset, build

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
    source = folder / "meta" / "esc50.csv"
    table = read_csv(source, _COLUMNS)
    if name == "esc10":
        table = table[table["esc10"].str.lower() == "true"]
        if table.empty:
            raise SoundalikeError(f"{source}: no clip is marked as esc10.")
    files = [on_disk(folder / "audio" / filename) for filename in table["filename"]]
    there = [file is not None for file in files]
    if not any(there):
        raise SoundalikeError(f"{folder / 'audio'}: none of the {len(files)} clips of meta/esc50.csv is there.")
    table = table[there]
    folds, share = table["fold"].nunique(), part(table["category"].nunique(), classes)
    return build(
        name,
        f"{folds} official folds{share}",
        paths=[file for file in files if file is not None],
        labels=table["category"],
        groups=table["src_file"],
        folds=table["fold"].astype(int),
        missing=there.count(False),
    )
