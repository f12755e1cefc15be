"""The sets of recordings: folders with a table of clips each, their folds, and their decoded samples."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundalike.audio.cache import Recordings, open_cache
from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets import Dataset
from soundalike.data.datasets.folds import identical, joined
from soundalike.data.datasets.manifest import read_clips
from soundalike.data.datasets.table import build

TABLE = "clips.csv"
FOLDS = 3
_SEED = 0  # of the shuffle behind the folds


@dataclass(frozen=True)
class DevelopmentSet:
    """One set of labelled recordings.

    Attributes:
        dataset: its clips, with a fold for each.
        recordings: the decoded samples of the clips, in the same order.
    """

    dataset: Dataset
    recordings: Recordings

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.dataset.name


def data_folder(given: Path | None = None) -> Path:
    """The folder that holds the sets.

    Args:
        given: the folder asked for; None for ``dev`` in the folder that ``SOUNDALIKE_DATA`` names.

    Raises:
        SoundalikeError: no folder is given and the variable is not set.
    """
    if given is not None:
        return given
    if not os.environ.get("SOUNDALIKE_DATA"):
        raise SoundalikeError(
            "no folder of recordings is given: name one with --data, or set SOUNDALIKE_DATA to the folder that holds "
            "it as dev."
        )
    return Path(os.environ["SOUNDALIKE_DATA"]) / "dev"


def open_sets(
    data: Path | None, sample_rate: int, folds: int = FOLDS, *, progress: bool = False
) -> list[DevelopmentSet]:
    """Every set in a folder, decoded; what was decoded before comes out of the cache of decoded recordings.

    Args:
        data: folder with a sub-folder for each set, in which ``clips.csv`` has the columns path, label and group; None
            for ``dev`` in the folder that ``SOUNDALIKE_DATA`` names.
        sample_rate: of the samples, in Hz.
        folds: number of folds, at least 2. They are stratified by label; a group, and files of identical contents, lie
            in one fold.
        progress: whether to show the progress of decoding on stderr.

    Returns:
        The sets, sorted by name.

    Raises:
        SoundalikeError: there is no set, a table cannot be used, a clip is missing or broken, or a set has too few
            groups for the folds. Readings on fewer clips could not be compared, so that no clip is left out.
    """
    folder = data_folder(data)
    tables = sorted(folder.glob(f"*/{TABLE}"))
    if not tables:
        raise SoundalikeError(
            f"{folder}: no development set is in it; give a folder with a sub-folder for each set, which holds "
            f"{TABLE} with the columns path, label and group."
        )
    return [_open(table, int(sample_rate), folds, progress) for table in tables]


def _open(table: Path, sample_rate: int, folds: int, progress: bool) -> DevelopmentSet:
    dataset = _dataset(table, folds)
    recordings = open_cache(
        dataset.paths, sample_rate, f"development-{dataset.name}", progress=progress, folder=table.parent
    )
    if recordings.failures:
        first = recordings.failures[0]
        raise SoundalikeError(
            f"{table}: {len(recordings.failures)} of its clips cannot be decoded; the first one, {first.path}: "
            f"{first.reason}"
        )
    return DevelopmentSet(dataset, recordings)


def _dataset(table: Path, folds: int) -> Dataset:
    """The clips of a table, in folds that are grouped and stratified."""
    from sklearn.model_selection import StratifiedGroupKFold

    found = read_clips(table)
    if found.missing:
        raise SoundalikeError(f"{table}: {found.missing} of its clips are missing; put them back.")
    paths, labels = [clip.path for clip in found.clips], [clip.label for clip in found.clips]
    copies = identical(paths)
    groups = joined([clip.group or str(clip.path) for clip in found.clips], [copies.get(path) for path in paths])
    most = min(len(set(groups)), max(labels.count(label) for label in set(labels)))
    if not 2 <= folds <= most:
        raise SoundalikeError(f"{table}: {folds} folds cannot be made of its clips; give 2 to {most}.")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=_SEED)
    numbers = np.zeros(len(paths), int)
    for number, (_, test) in enumerate(splitter.split(labels, labels, groups), start=1):
        numbers[test] = number
    return build(
        table.parent.name,
        f"{folds} folds, stratified by label and grouped",
        paths=paths,
        labels=labels,
        groups=groups,
        folds=numbers.tolist(),
    )
