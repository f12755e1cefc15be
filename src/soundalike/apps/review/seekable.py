"""Recordings of formats in which no place can be found exactly, decoded once so that pieces are read at once."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from soundalike.audio.contents import contents
from soundalike.audio.decoding import open_part, seeks_exactly
from soundalike.audio.read import Blocks
from soundalike.audio.segment import Segment, Sound
from soundalike.core.files import cache_folder, replacing

_RATE = 44_100  # Hz
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def seekable(sound: Sound) -> Sound:
    """What is read in the place of a sound: a piece of a FLAC file in the folder for caches, where that is faster.

    An MP3 of two hours in pieces of a second would be decoded 7,200 times, each up to where the piece begins.

    Args:
        sound: a file, which is read as it is, or a piece of one.

    Raises:
        AudioError: the recording cannot be read.
        SoundalikeError: the cache cannot be written.
    """
    if not isinstance(sound, Segment) or _found_exactly(sound.path):
        return sound
    import soundfile

    status = sound.path.stat()
    told = f"{os.fsencode(sound.path)!r} {status.st_size} {status.st_mtime_ns}"
    name = hashlib.blake2b(told.encode(), digest_size=10).hexdigest()
    kept = cache_folder() / "review" / f"{name}.flac"
    with _locks[name]:
        if not kept.is_file():
            with (
                replacing(kept, "the decoded recording", sync=False) as partial,
                soundfile.SoundFile(partial, "w", _RATE, 1, format="FLAC", subtype="PCM_16") as out,
            ):
                for block in Blocks(sound.path, _RATE):
                    out.write(block)
    return replace(sound, path=kept)


def _found_exactly(path: Path) -> bool:
    """Whether places in a recording are found without decoding what is before; True where it cannot be read at all."""
    try:
        parts = contents(path).parts
        with open_part(path, parts[0]) as opened:
            return len(parts) == 1 and seeks_exactly(opened)
    except Exception:  # damaged files raise many things; whoever reads it says what is wrong
        return True
