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
    rows = read_csv(source, _COLUMNS)
    if name == "esc10":
        rows = [row for row in rows if row["esc10"].lower() == "true"]
        if not rows:
            raise SoundalikeError(f"{source}: no clip is marked as esc10.")
    found = [(file, row) for row in rows if (file := on_disk(folder / "audio" / row["filename"]))]
    if not found:
        raise SoundalikeError(f"{folder / 'audio'}: none of the {len(rows)} clips of meta/esc50.csv is there.")
    folds, there = ({row[column] for _, row in found} for column in ("fold", "category"))
    return build(
        name,
        f"{len(folds)} official folds{part(len(there), classes)}",
        paths=[file for file, _ in found],
        labels=[row["category"] for _, row in found],
        groups=[row["src_file"] for _, row in found],
        folds=[int(row["fold"]) for _, row in found],
        missing=len(rows) - len(found),
    )
