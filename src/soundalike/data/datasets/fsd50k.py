"""FSD50K (Fonseca et al., 2022, https://zenodo.org/records/4060432): sounds of Freesound, several labels a clip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.listing import on_disk, part, read_csv
from soundalike.data.datasets.table import Dataset, build

LAYOUT = "FSD50K.ground_truth/dev.csv and eval.csv beside FSD50K.dev_audio/ and FSD50K.eval_audio/"
_CLASSES = 200
_SPLITS = {"train": "train", "val": "validation"}


def holds(folder: Path) -> bool:
    """Whether the folder has the layout of FSD50K."""
    return all((folder / "FSD50K.ground_truth" / name).is_file() for name in ("dev.csv", "eval.csv"))


def read(folder: Path) -> Dataset:
    """Every clip, with the labels of the published table (those of a class's parents among them), in its lists.

    Clips of one uploader form a group where FSD50K.metadata is there.
    """
    paths: list[Path] = []
    labels: list[list[str]] = []
    groups: list[str] = []
    splits: list[str] = []
    count = 0
    for name in ("dev", "eval"):
        source = folder / "FSD50K.ground_truth" / f"{name}.csv"
        table = read_csv(source, ("fname", "labels", *(("split",) if name == "dev" else ())))
        uploaders = _uploaders(folder, name)
        for row in table:
            count += 1
            file = on_disk(folder / f"FSD50K.{name}_audio" / f"{row['fname']}.wav")
            if file is None:
                continue
            split = str(row.get("split", "test"))
            if name == "dev" and split not in _SPLITS:
                raise SoundalikeError(f"{source}: clip {row['fname']} has split {split!r}: train or val is needed.")
            paths.append(file)
            labels.append(str(row["labels"]).split(","))
            groups.append(uploaders.get(str(row["fname"]), file.stem))
            splits.append(_SPLITS.get(split, "test"))
    if not paths:
        raise SoundalikeError(f"{folder}: none of the {count} listed clips is there.")
    there = {label for of_clip in labels for label in of_clip}
    return build(
        "fsd50k",
        f"official train / validation / test lists{part(len(there), _CLASSES)}",
        paths=paths,
        labels=labels,
        groups=groups,
        splits=splits,
        missing=count - len(paths),
        several=True,
    )


def _uploaders(folder: Path, name: str) -> dict[str, str]:
    """Clip -> who uploaded it; empty where the metadata are not there."""
    source = folder / "FSD50K.metadata" / f"{name}_clips_info_FSD50K.json"
    if not source.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
        return {clip: str(about["uploader"]) for clip, about in found.items()}
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise SoundalikeError(f"{source}: cannot be read ({error}); take it as it comes, or leave it out.") from error
