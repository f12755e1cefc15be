"""The Free Spoken Digit Dataset (Jackson et al., https://github.com/Jakobovski/free-spoken-digit-dataset)."""

from __future__ import annotations

import re
from pathlib import Path

from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.table import Dataset, build

LAYOUT = "recordings/{digit}_{speaker}_{index}.wav"
_NAME = re.compile(r"(\d)_([^_].*)_(\d+)\.wav", re.IGNORECASE)


def holds(folder: Path) -> bool:
    """Whether the folder has the layout of the Free Spoken Digit Dataset."""
    recordings = folder / "recordings"
    return recordings.is_dir() and any(_NAME.fullmatch(path.name) for path in recordings.iterdir())


def read(folder: Path) -> Dataset:
    """Every recording, one fold per speaker in alphabetical order: no speaker is trained and tested on."""
    rows = []
    for path in sorted((folder / "recordings").iterdir()):
        name = _NAME.fullmatch(path.name)
        if name:
            rows.append((path, name[1], name[2]))
    speakers = sorted({speaker for _, _, speaker in rows})
    if len(speakers) < 2:
        raise SoundalikeError(f"{folder}: at least two speakers are needed, there is only {speakers[0]!r}.")
    return build(
        "fsdd",
        f"{len(speakers)} folds, one speaker held out each",
        paths=[path for path, _, _ in rows],
        labels=[digit for _, digit, _ in rows],
        groups=[speaker for _, _, speaker in rows],
        folds=[speakers.index(speaker) + 1 for _, _, speaker in rows],
    )
