"""What a model has heard in training, so that it is never scored on it: told by what is in the files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from soundalike.core.errors import SoundalikeError

if TYPE_CHECKING:
    from soundalike.data.datasets import Dataset

_PIECE = 4096  # bytes; from the middle, since recordings begin alike, with a header and silence


def fingerprints(paths: Sequence[Path]) -> np.ndarray:
    """A number for the contents of each file, wherever it lies and whatever it is called.

    Args:
        paths: the files.

    Returns:
        int64 (n,), of the length and of 4 KB from the middle; 0 for a file that cannot be read.
    """
    found = np.zeros(len(paths), np.int64)
    for row, path in enumerate(paths):
        try:
            size = path.stat().st_size
            with path.open("rb") as stream:
                stream.seek(max(0, (size - _PIECE) // 2))
                piece = stream.read(_PIECE)
        except OSError:  # whoever decodes it says so
            continue
        found[row] = int.from_bytes(hashlib.blake2b(b"%d:" % size + piece, digest_size=8).digest(), "big", signed=True)
    return found


def unheard(dataset: Dataset, heard: np.ndarray) -> Dataset:
    """What a model may be scored on: the splits of a task whose test clips it has not heard.

    Args:
        dataset: the task.
        heard: `fingerprints` of what the model has heard, int64 (k,).

    Returns:
        The data set itself where no test clip was heard; else its one fold that was held out, or the first of those.

    Raises:
        SoundalikeError: every fold has a test clip that was heard.
    """
    if not len(heard):
        return dataset
    paths, splits = dataset.paths, list(dataset.splits())
    known = np.isin(fingerprints(paths), heard[heard != 0])
    clean = [number for number, split in enumerate(splits, start=1) if not known[split.test].any()]
    if len(clean) == len(splits):
        return dataset
    if not clean:
        first = next(row for split in splits for row in split.test if known[row])
        raise SoundalikeError(
            f"{dataset.name}: the model was trained on clips of every test part, such as {paths[first]}, so no score "
            f"would be honest; train with --task and --fold 1 to hold some out."
        )
    return dataset.hold_out(clean[0])
