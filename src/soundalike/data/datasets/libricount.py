"""LibriCount (Stöter et al., 2018, https://zenodo.org/records/1216072): how many of 0 to 10 people speak at once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.folds import stratified_folds
from soundalike.data.datasets.listing import audio_in, part
from soundalike.data.datasets.table import Dataset, build

LAYOUT = "test/{count}_{number}.wav, with a .json beside each"
_NAME = re.compile(r"(\d|10)_\d+")
_COUNTS = 11


def holds(folder: Path) -> bool:
    """Whether the folder has the layout of LibriCount."""
    names = [path for path in audio_in(folder / "test") if _NAME.fullmatch(path.stem)]
    return any(path.with_suffix(".json").is_file() for path in names)


def read(folder: Path) -> Dataset:
    """Every mixture, labelled with its number of speakers in two digits; 5 stratified folds.

    The published part is a test set without a training set; HEAR makes 5 folds of it, which `hear` reads. Speakers
    recur in the mixtures of all folds, there and here.
    """
    paths = [path for path in audio_in(folder / "test") if _NAME.fullmatch(path.stem)]
    labels = [f"{int(path.stem.split('_')[0]):02}" for path in paths]
    counts = Counter(labels)
    rarest = min(counts, key=lambda label: counts[label])
    if counts[rarest] < 2:
        raise SoundalikeError(f"{folder}: at least two mixtures of {int(rarest)} speakers are needed, there is one.")
    folds = stratified_folds(labels)
    return build(
        "libricount",
        f"{max(folds)} stratified folds, since there is no training part; speakers recur in all of them"
        + part(len(counts), _COUNTS, "numbers of speakers"),
        paths=paths,
        labels=labels,
        groups=[path.stem for path in paths],
        folds=folds,
    )
