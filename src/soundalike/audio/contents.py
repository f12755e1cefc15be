"""What an audio file consists of, where its header does not say so, or is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from soundalike.audio import flac, mpeg, ogg, riff
from soundalike.audio.buffer import Buffer, FileBytes
from soundalike.audio.kinds import advice, extra_is_there, kind
from soundalike.audio.mpeg import Piece
from soundalike.audio.unfinished import NOTE, unfinished
from soundalike.core.errors import AudioError

_MPEG = (".mp3", ".mp2", ".mp1", ".mpa", ".mpga")
_HEAD = 64


@dataclass(frozen=True)
class Part:
    """What one decoder reads from front to back.

    Attributes:
        pieces: of the file; None for the file as it is.
        packets: whether FFmpeg reads it, and not libsndfile.
    """

    pieces: tuple[Piece, ...] | None = None
    packets: bool = False


@dataclass(frozen=True)
class Contents:
    """What a file consists of.

    Attributes:
        parts: what follows on.
        whole: whether it is all there, None where that is known only once it was read.
        note: what is to be said of it, or None.
    """

    parts: Sequence[Part] = (Part(),)
    whole: bool | None = None
    note: str | None = None


def contents(path: Path) -> Contents:
    """What a file consists of.

    Args:
        path: of a file that is there.

    Raises:
        AudioError: it is of a kind that cannot be read here.
        OSError: it cannot be opened.
    """
    status = path.stat()
    return _contents(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)  # a file is asked for its length, and then decoded
def _contents(path: Path, size: int, modified: int) -> Contents:
    with path.open("rb") as stream:
        return _found(path, FileBytes(stream, size))


def _found(path: Path, data: Buffer) -> Contents:
    start = mpeg.skip_tags(data, 0)
    head = data[start : start + _HEAD]
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _wav(data)
    if head[:4] == b"OggS":
        return _ogg(path, data)
    if head[:4] == b"fLaC":
        return _flac(data, start)
    if (pieces := unfinished(data)) is not None:
        return Contents((Part(pieces),), None, NOTE)
    if (name := kind(head)) is not None:
        if not extra_is_there():
            raise AudioError(f"{path}: not readable as audio: {advice(name)}.")
        return Contents((Part(packets=True),))
    if start or path.suffix.lower() in _MPEG or mpeg.frame_at(data, start):
        return _mpeg(data, start, len(data)) or Contents()
    return Contents()


def _mpeg(data: Buffer, start: int, end: int) -> Contents | None:
    found = mpeg.streams(data, start, end)
    if not found:
        return None
    return Contents(tuple(Part(each.pieces()) for each in found), not any(each.is_cut_short for each in found))


def _wav(data: Buffer) -> Contents:
    found = riff.waves(data)
    if not found:
        return Contents()
    first = found[0]
    if first.is_mpeg:
        return _mpeg(data, first.start, first.end) or Contents()
    if len(found) == 1 and not first.is_mended:
        return Contents((Part(),), not first.is_cut_short)
    notes = [wave.note for wave in found if wave.note]
    whole = not any(wave.is_cut_short for wave in found)
    return Contents(tuple(Part(wave.pieces(data)) for wave in found), whole, " ".join(notes) or None)


def _ogg(path: Path, data: Buffer) -> Contents:
    links = ogg.links(data)
    if not links:
        return Contents()
    others = [ogg.other_codec(data, link) for link in links]
    name = next((other for other in others if other), None)
    if name and not extra_is_there():
        raise AudioError(f"{path}: not readable as audio: {advice(name)}.")
    closed = links[-1].is_closed
    if len(links) == 1:
        return Contents((Part(packets=bool(name)),), closed)
    parts = [Part(((link.start, link.end),), packets=bool(other)) for link, other in zip(links, others, strict=True)]
    return Contents(tuple(parts), closed)


def _flac(data: Buffer, start: int) -> Contents:
    found = flac.streams(data, start)
    if len(found) == 1 and found[0].is_as_said:
        return Contents((Part(),), not found[0].is_cut_short)
    return Contents(tuple(Part(each.pieces(data)) for each in found), not any(each.is_cut_short for each in found))
