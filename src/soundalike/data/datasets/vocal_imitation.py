"""Vocal Imitation Set (Kim et al., 2018, https://zenodo.org/records/1340763): 302 sounds imitated by voice."""

from __future__ import annotations

import csv
from pathlib import Path

from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.folds import grouped_folds
from soundalike.data.datasets.listing import on_disk, part
from soundalike.data.datasets.table import MEAN_AVERAGE_PRECISION, Dataset, build

LAYOUT = "vocal_imitations.txt beside vocal_imitations/included/"
_COLUMNS = ("imitation_filename", "reference_filename", "included", "participant_id")
_CLASSES = 302
_FOLDS = 3  # as HEAR


def holds(folder: Path) -> bool:
    """Whether the folder has the layout of the Vocal Imitation Set."""
    return (folder / "vocal_imitations.txt").is_file() and (folder / "vocal_imitations" / "included").is_dir()


def read(folder: Path) -> Dataset:
    """The imitations that were judged to be some, labelled with the recording that they imitate; folds by participant.

    HEAR's 3 folds share participants: `hear` reads those. It scores by mean average precision, and so does this.
    """
    source, place = folder / "vocal_imitations.txt", folder / "vocal_imitations" / "included"
    try:
        with source.open(encoding="utf-8", errors="replace", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t")
            lacking = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
            if lacking:
                raise SoundalikeError(f"{source}: no column {lacking[0]!r}; take the file as it comes with the set.")
            listed = [row for row in reader if str(row["included"]).strip().lower() in ("1", "true")]
    except (OSError, csv.Error) as error:
        raise SoundalikeError(f"{source}: not a table that can be read ({error}).") from error
    files = [on_disk(place / (row["imitation_filename"] or "no name")) for row in listed]
    there = [(row, file) for row, file in zip(listed, files, strict=True) if file is not None]
    if not there:
        raise SoundalikeError(f"{place}: none of the {len(listed)} included imitations of {source.name} is there.")
    labels = [Path(row["reference_filename"] or "none").stem for row, _ in there]
    groups = [str(row["participant_id"]) for row, _ in there]
    folds = grouped_folds(labels, groups, _FOLDS)
    if folds is None:
        raise SoundalikeError(
            f"{folder}: no folds by participant leave each sound in every training part: more imitations are needed."
        )
    return build(
        "vocal-imitation",
        f"{max(folds)} folds made by participant ({len(set(groups))} participants); there are no official ones"
        + part(len(set(labels)), _CLASSES, "sounds"),
        paths=[file for _, file in there],
        labels=labels,
        groups=groups,
        folds=folds,
        missing=len(listed) - len(there),
        metric=MEAN_AVERAGE_PRECISION,
    )
