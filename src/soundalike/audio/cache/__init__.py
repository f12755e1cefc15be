"""Recordings decoded once, resampled, and kept on disk: an epoch over them costs no decoding and little memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soundalike.audio.cache.build import Asked, State, update
from soundalike.audio.cache.index import Damaged
from soundalike.audio.cache.listing import CacheInfo, Cleared, clear, list_caches, other_bytes, remove_cleared
from soundalike.audio.cache.place import Place, amount, unwritable
from soundalike.audio.cache.recordings import DamagedCacheWarning, Recordings
from soundalike.audio.read import check_rate
from soundalike.core.errors import SoundalikeError

__all__ = [
    "CacheInfo",
    "Cleared",
    "DamagedCacheWarning",
    "Recordings",
    "amount",
    "clear",
    "list_caches",
    "open_cache",
    "other_bytes",
]


def open_cache(
    paths: Sequence[str | Path],
    sample_rate: int,
    name: str,
    *,
    progress: bool = True,
    folder: str | Path | None = None,
) -> Recordings:
    """Decoded recordings of a data set, out of its cache; what is missing there or has changed is decoded first.

    There is one cache for each name, folder and sample rate. A run that is broken off goes on where it was, and of
    two runs that start at once the second waits for what the first decodes.

    Args:
        paths: the files.
        sample_rate: in Hz.
        name: of the data set, for people to find its cache by.
        progress: whether to show progress, with rate and time left, on stderr.
        folder: what the files lie in, so that their cache is found again when other folders in it come or go; None
            is the innermost folder that holds them all.

    Returns:
        The recordings of the files that could be decoded, and the failures.

    Raises:
        SoundalikeError: if the sample rate is impossible, or the cache cannot be written or read.
    """
    check_rate(sample_rate)
    asked = Asked(paths, folder)
    place = Place.of(name, asked.folder, int(sample_rate))
    state = asked.state(place)
    found = _opened(place, asked, state) if state.tidy else None
    if found is not None and not state.remains:
        remove_cleared()
        return found
    try:
        # What is complete is opened at once where another run holds the lock: the files beside it are that run's.
        with place.locked(name, wait=found is None):
            asked.look()
            state = asked.state(place)
            found = _opened(place, asked, state) if state.tidy and not state.remains else None
            if found is not None:  # another run has made it meanwhile
                return found
            index = update(place, asked, name, int(sample_rate), progress)
            remove_cleared()
            return Recordings(place, index, asked.files, asked.rows(index))
    except OSError as error:
        found = found or _opened(place, asked, state)  # in a place that may only be read
        if found is not None:
            return found
        raise unwritable(error) from error
    except Damaged as damage:
        raise SoundalikeError(f"{place.path}: {damage}; soundalike cache --clear {name} removes it.") from damage


def _opened(place: Place, asked: Asked, state: State) -> Recordings | None:
    """The recordings asked for, where all of them are there and can be read."""
    if state.index is None or not state.complete:
        return None
    try:
        return Recordings(place, state.index, asked.files, state.rows)
    except Damaged:  # or replaced by another run at this very moment
        return None
