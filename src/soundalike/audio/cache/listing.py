"""Which caches there are, and removing them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from soundalike.audio.cache.index import Damaged, Index, check_samples
from soundalike.audio.cache.journal import read_entries, read_head
from soundalike.audio.cache.place import Place, folder_size, recordings_folder, unremovable
from soundalike.core.errors import SoundalikeError, nearest
from soundalike.core.files import cache_folder


@dataclass(frozen=True)
class CacheInfo:
    """A cache of decoded recordings.

    Attributes:
        name: of the data set; the cache's key where it is damaged.
        folder: that the files lie in; empty where the cache is damaged.
        sample_rate: in Hz; 0 where the cache is damaged.
        clips: how many recordings it holds.
        seconds: of sound in it.
        size: on disk, in bytes.
        used: when it was opened last, in seconds since 1970.
        complete: whether its samples are all there and no run is adding to it or was broken off while it did.
        place: its folder.
    """

    name: str
    folder: str
    sample_rate: int
    clips: int
    seconds: float
    size: int
    used: float
    complete: bool
    place: Place


@dataclass(frozen=True)
class Cleared:
    """What was removed.

    Attributes:
        removed: the caches that are gone.
        in_use: those that another process is writing or, on Windows, reading, which were left. Elsewhere a process
            that only reads hinders nothing: it holds no lock.
        freed: bytes.
    """

    removed: list[CacheInfo]
    in_use: list[CacheInfo]
    freed: int


def list_caches() -> list[CacheInfo]:
    """The caches of decoded recordings, sorted by name."""
    try:
        folders = [entry for entry in os.scandir(recordings_folder()) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    found = [_look(Place(recordings_folder() / entry.name)) for entry in folders]
    return sorted(found, key=lambda info: (info.name, info.folder, info.sample_rate, info.place.path))


def other_bytes() -> int:
    """Bytes of everything else in the folder of the caches: what was downloaded or prepared."""
    return folder_size(cache_folder()) - sum(info.size for info in list_caches())


def clear(names: Sequence[str] = ()) -> Cleared:
    """Removes caches of decoded recordings. A process that has one open can go on reading it on POSIX.

    Args:
        names: of the data sets, or keys of caches; none are all.

    Returns:
        What was removed, and what was left since another process uses it.

    Raises:
        SoundalikeError: no cache has that name, or one cannot be removed.
    """
    from filelock import Timeout

    caches = list_caches()
    known = {info.name for info in caches}
    keys = {info.place.path.name for info in caches}
    for name in names:
        if name not in known | keys:
            there = nearest(name, known) if known else f"there is none in {recordings_folder()}."
            raise SoundalikeError(f"no cache has the name {name!r}: {there}")
    removed, in_use = [], []
    for info in caches:
        if names and info.name not in names and info.place.path.name not in names:
            continue
        try:
            with info.place.locked(info.name, wait=False):
                _remove(info.place)
            removed.append(info)
        except (Timeout, PermissionError) as error:
            if isinstance(error, PermissionError) and os.name == "posix":
                raise unremovable(info.place, error) from error
            in_use.append(info)
        except OSError as error:
            raise unremovable(info.place, error) from error
    return Cleared(removed, in_use, sum(info.size for info in removed))


def _remove(place: Place) -> None:
    for path in (place.index, place.journal):  # first, so that what a killed run leaves is known as ``cleared``
        path.unlink(missing_ok=True)
    shutil.rmtree(place.path)


def remove_cleared() -> None:
    """Removes what is left of caches that a killed run was removing, where nobody is making them anew."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(recordings_folder())):
            place = Place(recordings_folder() / entry.name)
            if entry.is_dir(follow_symlinks=False) and place.cleared():
                with contextlib.suppress(OSError), place.locked(entry.name, wait=False):  # OSError: Timeout, too
                    if place.cleared():
                        _remove(place)


def _look(place: Place) -> CacheInfo:
    used = 0.0
    for path in (place.path, place.journal, place.index):
        with contextlib.suppress(OSError):
            used = path.stat().st_mtime
    size = place.size()
    try:
        index = Index.load(place.index)
    except (Damaged, FileNotFoundError):
        head = read_head(place.journal)
        if head is None:
            return CacheInfo(place.path.name, "", 0, 0, 0.0, size, used, False, place)
        decoded = [entry.length for entry in read_entries(place.journal) if entry.length]
        rate = int(head["rate"])
        seconds = sum(decoded) / rate
        return CacheInfo(str(head["name"]), str(head["folder"]), rate, len(decoded), seconds, size, used, False, place)
    try:
        whole = check_samples(place.samples(index.build), index.build) >= index.end and not place.journal.exists()
    except Damaged:
        whole = False
    lengths = index.clips["length"]
    seconds = float(lengths.sum()) / index.sample_rate
    count = int((lengths > 0).sum())
    return CacheInfo(index.name, index.folder, index.sample_rate, count, seconds, size, used, whole, place)
