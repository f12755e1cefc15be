"""WAV files whose header says too little, too much or nothing: of recorders that lost power, and from pipes.

Source: Multimedia Programming Interface and Data Specifications 1.0 (RIFF); EBU Tech 3306 (RF64).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from soundalike.audio.buffer import Buffer
from soundalike.audio.mpeg import Piece

_MPEG = (0x50, 0x55)  # tags of a format
OPEN_ENDED = 0x7FFF0000
"""Programs that write to a pipe put a size at or above this one in the header."""
_SLIPS = 1024  # bytes that a header may count too many before a file is called cut short
_LEAST = 1024  # bytes after the samples that are more than a slip of a writing program
_LARGEST = 0xFFFFFFFF - 1024


@dataclass(frozen=True)
class Wave:
    """A WAV file in a file.

    Attributes:
        big: whether its numbers begin with their highest byte.
        form: its format, as it is in the chunk ``fmt``.
        start: the first byte of its samples.
        end: behind their last byte.
        said: how many bytes of samples its header says that there are; None where it leaves that open.
    """

    big: bool
    form: bytes
    start: int
    end: int
    said: int | None

    @property
    def is_mpeg(self) -> bool:
        """Whether its samples are MPEG audio."""
        return int.from_bytes(self.form[:2], "big" if self.big else "little") in _MPEG

    @property
    def is_mended(self) -> bool:
        """Whether there is more than its header says."""
        return self.said is not None and self.end - self.start > self.said

    @property
    def is_cut_short(self) -> bool:
        """Whether there is less than its header says, by more than a slip of a writing program."""
        return self.said is not None and self.said > self.end - self.start + _SLIPS

    @property
    def note(self) -> str | None:
        """What is to be said of it, or None."""
        if not self.is_mended:
            return None
        second = max(1, int.from_bytes(self.form[8:12], "big" if self.big else "little"))
        there = f"{(self.end - self.start) / second:.3g} s"
        if not self.said:
            return f"its header was never completed; the {there} that follow it are used."
        return f"its header says that it holds {(self.said or 0) / second:.3g} s; all {there} of it are used."

    def pieces(self, data: Buffer) -> tuple[Piece, ...]:
        """The same with a header that says how much there is."""
        order = ">" if self.big else "<"
        size = self.end - self.start
        form = struct.pack(f"{order}4sI", b"fmt ", len(self.form)) + self.form + b"\0" * (len(self.form) % 2)
        if size < _LARGEST:
            head = struct.pack(f"{order}4sI4s", b"RIFX" if self.big else b"RIFF", 12 + len(form) + size, b"WAVE")
            return head + form + struct.pack(f"{order}4sI", b"data", size), (self.start, self.end)
        sizes = struct.pack("<4sIQQQI", b"ds64", 28, 48 + len(form) + size, size, 0, 0)
        head = struct.pack("<4sI4s", b"RF64", 0xFFFFFFFF, b"WAVE") + sizes
        return head + form + struct.pack("<4sI", b"data", 0xFFFFFFFF), (self.start, self.end)


def waves(data: Buffer) -> list[Wave]:
    """The WAV files in a file, one after the other: as a rule one; none where the header makes no sense.

    Args:
        data: the file.
    """
    found: list[Wave] = []
    place = 0
    while place + 12 <= len(data) and data[place + 8 : place + 12] == b"WAVE":
        wave = _wave(data, place)
        if wave is None:
            break
        found.append(wave)
        place = _next_file(data, wave.end, wave.big)
    return found


def _wave(data: Buffer, place: int) -> Wave | None:
    """The WAV file that begins at a place."""
    name = bytes(data[place : place + 4])
    big, order = name == b"RIFX", ">" if name == b"RIFX" else "<"
    long_size, form = None, None
    place += 12
    while place + 8 <= len(data):
        kind, size = struct.unpack(f"{order}4sI", data[place : place + 8])
        place += 8
        if kind == b"ds64" and size >= 16:
            long_size = int.from_bytes(data[place + 8 : place + 16], "little")
        elif kind == b"fmt ":
            form = bytes(data[place : place + size])
            if len(form) < 16:
                return None
        elif kind == b"data":
            if form is None:
                return None
            if long_size is not None and size == 0xFFFFFFFF:
                size = long_size
            elif size >= OPEN_ENDED and place + size > len(data):
                return Wave(big, form, place, len(data), None)
            return Wave(big, form, place, _end(data, place, size, big), size)
        place += size + size % 2
    return None


def _end(data: Buffer, start: int, size: int, big: bool) -> int:
    """Where samples end that a header says to be so many bytes: there, or where the file ends if more follow."""
    there = len(data) - start
    if size >= there:
        return len(data)
    after = start + size + size % 2
    rest = len(data) - after
    if size and rest < max(_LEAST, 0.01 * size):
        return start + size
    if _chunks_follow(data, after, big) or (size and _is_zero(data, after)):
        return start + size
    return len(data)


def _is_zero(data: Buffer, place: int) -> bool:
    """Whether nothing but zeros comes from a place on."""
    lots = range(place, len(data), 1 << 18)
    return not any(data[first : first + (1 << 18)].strip(b"\0") for first in lots)


def _chunks_follow(data: Buffer, place: int, big: bool) -> bool:
    """Whether what comes at a place is chunks of a RIFF file, or another file, and not samples."""
    while place + 8 <= len(data):
        kind, size = struct.unpack(f"{'>' if big else '<'}4sI", data[place : place + 8])
        if kind in (b"RIFF", b"RIFX", b"RF64") and data[place + 8 : place + 12] == b"WAVE":
            return True
        if not all(32 <= letter < 127 for letter in kind) or place + 8 + size > len(data) + 8:
            return False
        place += 8 + size + size % 2
    return True


def _next_file(data: Buffer, place: int, big: bool) -> int:
    """Where another WAV file begins behind the chunks that follow; the file's end where none does."""
    place += place % 2
    while place + 12 <= len(data):
        kind, size = struct.unpack(f"{'>' if big else '<'}4sI", data[place : place + 8])
        if kind in (b"RIFF", b"RIFX", b"RF64"):
            return place
        if not all(32 <= letter < 127 for letter in kind):
            break
        place += 8 + size + size % 2
    return len(data)
