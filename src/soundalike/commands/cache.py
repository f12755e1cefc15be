"""``soundalike cache``: what decoded recordings are kept on disk, and removing them."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from soundalike.core.errors import SoundalikeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from soundalike.audio.cache import CacheInfo

HELP = "list or remove the decoded recordings that are kept on disk"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``soundalike cache`` takes."""
    parser.epilog = "SOUNDALIKE_CACHE sets another folder. What is removed is decoded again when it is needed."
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--clear", nargs="*", metavar="NAME", help="remove the caches with these names, or all where none is given"
    )
    what.add_argument("--where", action="store_true", help="print the folder of the caches, and stop")


def run(options: argparse.Namespace) -> int:
    """Lists or removes caches.

    Args:
        options: what the parser of ``add_arguments`` gives.

    Returns:
        Exit code: 0 done, 1 done but for caches in use.

    Raises:
        SoundalikeError: no cache has that name, or one cannot be removed.
    """
    from soundalike.audio import cache
    from soundalike.core.files import cache_folder

    if options.where:
        print(cache_folder())
        return 0
    if options.clear is None:
        _print(cache.list_caches(), cache.other_bytes())
        return 0
    if not all(options.clear):
        raise SoundalikeError("the name of a cache is empty; --clear without a name removes them all.")
    cleared = cache.clear(options.clear)
    count = len(cleared.removed)
    print(f"{count} {'cache' if count == 1 else 'caches'} removed, {cache.amount(cleared.freed)} freed")
    for info in cleared.in_use:
        print(f"left, another run is using it: {info.name} ({info.place.path})", file=sys.stderr)
    return 1 if cleared.in_use else 0


def _print(caches: Sequence[CacheInfo], other: int) -> None:
    import time

    from soundalike.audio import cache
    from soundalike.core.files import cache_folder

    table = [("name", "folder", "Hz", "clips", "hours", "size", "last used")]
    for info in caches:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(info.used))
        rate = str(info.sample_rate) if info.sample_rate else "?"
        state = "" if info.complete else "  (not complete)"
        hours = f"{info.seconds / 3600:.2f}"
        row = (info.name, info.folder or "?", rate, str(info.clips), hours, cache.amount(info.size), used + state)
        table.append(row)
    if caches:
        hours = f"{sum(info.seconds for info in caches) / 3600:.2f}"
        clips, size = sum(info.clips for info in caches), cache.amount(sum(info.size for info in caches))
        table.append(("total", "", "", str(clips), hours, size, ""))
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            cells = [
                text.rjust(width) if 2 <= column <= 5 else text.ljust(width)
                for column, (text, width) in enumerate(zip(row, widths, strict=True))
            ]
            print("  ".join(cells).rstrip())
    else:
        print(f"no decoded recordings in {cache_folder()}")
    if other:
        print(f"other: {cache.amount(other)} in {cache_folder()}")
