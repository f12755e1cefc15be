"""CREMA-D (Cao et al., 2014, https://github.com/CheyneyComputerScience/CREMA-D): sentences spoken in six emotions."""

from __future__ import annotations

import re
from pathlib import Path

from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.folds import grouped_folds
from soundalike.data.datasets.listing import audio_in, part
from soundalike.data.datasets.table import Dataset, build

LAYOUT = "AudioWAV/{actor}_{sentence}_{emotion}_{level}.wav"
_NAME = re.compile(r"(\d{4})_[A-Z]{3}_(ANG|DIS|FEA|HAP|NEU|SAD)_[A-Z]{1,3}")
_EMOTIONS = 6


def holds(folder: Path) -> bool:
    """Whether the folder has the layout of CREMA-D."""
    return any(_NAME.fullmatch(path.stem) for path in audio_in(folder / "AudioWAV"))


def read(folder: Path) -> Dataset:
    """Every recording, labelled with its emotion; 5 folds by actor, since there are no official ones.

    HEAR's folds share actors: `hear` reads those, of HEAR's own folder of the task.
    """
    named = [(path, _NAME.fullmatch(path.stem)) for path in audio_in(folder / "AudioWAV")]
    clips = [(path, name[1], name[2]) for path, name in named if name]
    actors, emotions = [actor for _, actor, _ in clips], [emotion for *_, emotion in clips]
    folds = grouped_folds(emotions, actors)
    if folds is None:
        raise SoundalikeError(
            f"{folder}: no folds by actor leave each emotion in every training part ({len(set(actors))} actors are "
            "there): more actors are needed."
        )
    share = part(len(set(emotions)), _EMOTIONS, "emotions")
    return build(
        "crema-d",
        f"{max(folds)} folds made by actor ({len(set(actors))} actors); there are no official ones{share}",
        paths=[path for path, *_ in clips],
        labels=emotions,
        groups=actors,
        folds=folds,
    )
