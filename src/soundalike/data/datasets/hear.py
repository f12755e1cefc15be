"""A task of HEAR (Turian et al., 2022, https://hearbenchmark.com): a folder with ``task_metadata.json``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.listing import on_disk
from soundalike.data.datasets.table import ACCURACY, MEAN_AVERAGE_PRECISION, SPLITS, Dataset, build

LAYOUT = (
    "task_metadata.json beside train.json, valid.json and test.json (or fold00.json …) and a folder for a sample rate"
)
_METADATA = "task_metadata.json"
_LISTS = {"train": "train", "valid": "validation", "test": "test"}
_FOLD = re.compile(r"fold(\d+)")
_RIGHT = ("top1_acc", "pitch_acc", "mean_acc")  # of single labels, all of them the part of right answers


def holds(folder: Path) -> bool:
    """Whether the folder is a task of HEAR."""
    return (folder / _METADATA).is_file()


def read(folder: Path) -> Dataset:
    """Every clip of a task with one embedding a clip, in HEAR's own lists or folds, scored as HEAR scores it.

    Of several sample rates the highest is read. HEAR validates on the fold after the test fold; here settings are
    chosen on inner folds of the training part, so the test folds are the same and nothing of them is seen.

    Raises:
        SoundalikeError: it is a task of time stamps, a file is missing or damaged, or no clip is there.
    """
    about = _json(folder / _METADATA)
    name = f"{about.get('task_name', folder.name)} {about.get('mode', '')}".strip() + " (HEAR)"
    if about.get("embedding_type", "scene") != "scene":
        raise SoundalikeError(
            f"{folder}: a task of HEAR with labels at times ({about['embedding_type']}), which evaluate does not "
            "score; give one with labels for whole clips."
        )
    several = about.get("prediction_type") == "multilabel"
    parts = sorted(path.stem for path in folder.glob("*.json") if path.stem in _LISTS or _FOLD.fullmatch(path.stem))
    folded = all(_FOLD.fullmatch(part) for part in parts)
    if not parts or (not folded and not {"train", "test"} <= set(parts)):
        raise SoundalikeError(f"{folder}: not the lists of a task of HEAR: looked for {LAYOUT}.")
    parts = [part for part in parts if folded or part in _LISTS]
    rates = sorted(int(path.name) for path in folder.iterdir() if path.is_dir() and path.name.isdecimal())
    if not rates:
        raise SoundalikeError(f"{folder}: no folder of a sample rate, such as 48000, with the recordings in it.")
    clips: list[tuple[Path, list[str], str]] = []
    count = 0
    for part in parts:
        for file, labels in _json(folder / f"{part}.json").items():
            count += 1
            path = on_disk(folder / str(rates[-1]) / part / file)
            labels = [str(label) for label in (labels if isinstance(labels, list) else [labels])]
            if not labels or not (several or len(labels) == 1):
                raise SoundalikeError(f"{folder / part}.json: clip {file!r} has {len(labels)} labels.")
            if path is not None:
                clips.append((path, labels, part))
    if not clips:
        raise SoundalikeError(f"{folder / str(rates[-1])}: none of the {count} listed clips is there.")
    first, *_ = about.get("evaluation") or [ACCURACY]
    right = first in (*_RIGHT, ACCURACY)
    protocol = (
        f"HEAR's {len(parts)} folds"
        if folded
        else f"HEAR's {' / '.join(s for s in SPLITS if s in _named(parts))} lists"
    )
    if not right and first != "mAP":
        protocol += f"; HEAR scores it by {first}"
    return build(
        name,
        protocol,
        paths=[path for path, *_ in clips],
        labels=[labels if several else labels[0] for _, labels, _ in clips],
        groups=[path.stem for path, *_ in clips],
        folds=[parts.index(part) + 1 for *_, part in clips] if folded else None,
        splits=None if folded else [_LISTS[part] for *_, part in clips],
        missing=count - len(clips),
        metric=MEAN_AVERAGE_PRECISION if first == "mAP" else ACCURACY,
        several=several,
    )


def _named(parts: list[str]) -> list[str]:
    return [_LISTS[part] for part in parts]


def _json(source: Path) -> dict[str, Any]:
    """A JSON object."""
    try:
        found = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SoundalikeError(f"{source}: not JSON that can be read ({error}).") from error
    if not isinstance(found, dict):
        raise SoundalikeError(f"{source}: holds no object; take the file as it comes with the task.")
    return found
