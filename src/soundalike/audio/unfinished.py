"""AIFF, Sony Wave64, CAF and AU files whose recorder lost power: their headers say that they hold nothing.

Source: Audio Interchange File Format 1.3; Sony Wave64 Specification; Apple Core Audio Format Specification 1.0; the
header of ``.au`` files as Sun's audio.h has it.
"""

from __future__ import annotations

import struct

from soundalike.audio.buffer import Buffer
from soundalike.audio.mpeg import Piece

NOTE = "its header was never completed; what follows it is used."
_MOST = 64  # chunks before the samples


def unfinished(data: Buffer) -> tuple[Piece, ...] | None:
    """A file whose header says that it holds no samples, though some follow, with a header that says how many.

    Args:
        data: the file.

    Returns:
        Its pieces; None of any other file.
    """
    head = bytes(data[:4])
    found = None
    if head == b"caff":
        found = _size_of_chunk(data, 8, ">4sq", b"data", 12, 4)  # the samples begin with the number of edits
    elif head == b"FORM":
        found = _size_of_chunk(data, 12, ">4sI", b"SSND", 8, 8)
    elif head == b"riff":
        found = _size_of_chunk(data, 40, "<16sQ", b"data", 24, 0)
    elif head == b".snd" and len(data) > 24 and data[8:12] == bytes(4):
        start = int.from_bytes(data[4:8], "big")
        found = (8, 4, min(len(data) - start, 0xFFFFFFFF)) if 24 <= start < len(data) else None
    if found is None:
        return None
    place, length, size = found
    told = size.to_bytes(length, "little" if head == b"riff" else "big")
    return ((0, place), told, (place + length, len(data)))


def _size_of_chunk(
    data: Buffer, place: int, form: str, wanted: bytes, header: int, least: int
) -> tuple[int, int, int] | None:
    """Where the size of the chunk with the samples stands, its length in bytes, and what it should be.

    None where that size is not said to be nothing.

    Args:
        data: the file.
        place: of the first chunk.
        form: of a chunk's name and size.
        wanted: how the name of the chunk begins.
        header: bytes of a chunk before its contents.
        least: bytes of its contents before the samples.
    """
    for _ in range(_MOST):
        told = bytes(data[place : place + struct.calcsize(form)])
        if len(told) < struct.calcsize(form):
            return None
        name, size = struct.unpack(form, told)
        inside = 24 if header == 24 else 0  # Wave64 counts the header, too
        if name.startswith(wanted):
            there = len(data) - place - header
            if not 0 <= size <= least + inside or there <= least:
                return None
            length = 4 if header == 8 else 8
            return place + header - length, length, min(there + inside, (1 << 8 * length) - 1)
        if size < inside:
            return None
        step = size - inside + header
        place += step + (-step % 8 if header == 24 else size % 2 if header == 8 else 0)
    return None
