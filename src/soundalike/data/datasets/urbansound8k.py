"""UrbanSound8K (Salamon, Jacoby and Bello, 2014, https://urbansounddataset.weebly.com/urbansound8k.html)."""

from __future__ import annotations

from pathlib import Path

from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.listing import on_disk, part, read_csv
from soundalike.data.datasets.table import Dataset, build

LAYOUT = "metadata/UrbanSound8K.csv beside audio/fold1 to audio/fold10"
_CLASSES = 10


def holds(folder: Path) -> bool:
    """Whether the folder has the layout of UrbanSound8K."""
    return (folder / "metadata" / "UrbanSound8K.csv").is_file() and (folder / "audio").is_dir()


def read(folder: Path) -> Dataset:
    """Every clip of the table, 10 official folds; clips cut from one Freesound recording (fsID) form a group."""
    source = folder / "metadata" / "UrbanSound8K.csv"
    table = read_csv(source, ("slice_file_name", "fsID", "fold", "class"))
    files = [
        on_disk(folder / "audio" / f"fold{int(fold)}" / name)
        for fold, name in zip(table["fold"], table["slice_file_name"], strict=True)
    ]
    there = [file is not None for file in files]
    if not any(there):
        raise SoundalikeError(
            f"{folder / 'audio'}: none of the {len(files)} clips of metadata/UrbanSound8K.csv is there."
        )
    table = table[there]
    folds, share = table["fold"].nunique(), part(table["class"].nunique(), _CLASSES)
    return build(
        "urbansound8k",
        f"{folds} official folds{share}",
        paths=[file for file in files if file is not None],
        labels=table["class"],
        groups=table["fsID"],
        folds=table["fold"].astype(int),
        missing=there.count(False),
    )
