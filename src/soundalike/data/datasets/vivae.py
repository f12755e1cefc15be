"""VIVAE (Holz, Larrouy-Maestri and Poeppel, 2022, https://zenodo.org/records/4066235): emotions without words."""

from __future__ import annotations

import re
from pathlib import Path

from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.listing import audio_in, part
from soundalike.data.datasets.table import Dataset, build

LAYOUT = "full_set/S{speaker}_{emotion}_{intensity}_{number}.wav"
_NAME = re.compile(r"(S\d+)_([a-z]+)_(?:low|moderate|strong|peak)_\d+")
_EMOTIONS = 6


def holds(folder: Path) -> bool:
    """Whether the folder has the layout of VIVAE."""
    return any(_NAME.fullmatch(path.stem) for path in audio_in(folder / "full_set"))


def read(folder: Path) -> Dataset:
    """Every recording of the full set, labelled with its emotion; one fold per speaker, as the ARCH benchmark does."""
    named = [(path, _NAME.fullmatch(path.stem)) for path in audio_in(folder / "full_set")]
    clips = [(path, name[1], name[2]) for path, name in named if name]
    speakers = sorted({speaker for _, speaker, _ in clips})
    if len(speakers) < 2:
        raise SoundalikeError(f"{folder}: at least two speakers are needed, there is only {speakers[0]!r}.")
    share = part(len({emotion for *_, emotion in clips}), _EMOTIONS, "emotions")
    return build(
        "vivae",
        f"{len(speakers)} folds, one speaker held out each{share}",
        paths=[path for path, *_ in clips],
        labels=[emotion for *_, emotion in clips],
        groups=[speaker for _, speaker, _ in clips],
        folds=[speakers.index(speaker) + 1 for _, speaker, _ in clips],
    )
