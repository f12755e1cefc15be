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
    rows = read_csv(source, ("slice_file_name", "fsID", "fold", "class"))
    audio = folder / "audio"
    found = [
        (file, row) for row in rows if (file := on_disk(audio / f"fold{int(row['fold'])}" / row["slice_file_name"]))
    ]
    if not found:
        raise SoundalikeError(f"{audio}: none of the {len(rows)} clips of metadata/UrbanSound8K.csv is there.")
    folds, there = ({row[column] for _, row in found} for column in ("fold", "class"))
    return build(
        "urbansound8k",
        f"{len(folds)} official folds{part(len(there), _CLASSES)}",
        paths=[file for file, _ in found],
        labels=[row["class"] for _, row in found],
        groups=[row["fsID"] for _, row in found],
        folds=[int(row["fold"]) for _, row in found],
        missing=len(rows) - len(found),
    )
