"""How long a FLAC file is, counted from its last frame.

Source: RFC 9639, sections 8.2 (streaminfo) and 9.1 (frame header).
"""

from __future__ import annotations

from dataclasses import dataclass

from soundalike.audio.buffer import Buffer
from soundalike.audio.mpeg import Piece

_INFO = 42  # bytes up to the end of the first block of metadata, which is the streaminfo
_LONGEST = 1 << 36  # samples: one more than a header can say
_SEARCHED = 1 << 21  # bytes before the end in which the last frame begins


@dataclass(frozen=True)
class Stream:
    """A FLAC stream in a file.

    Attributes:
        start: its first byte.
        end: behind its last byte.
        said: how many samples its header says that there are; 0 where it does not say.
        counted: how many there are up to the end of the last frame; None where that cannot be told.
        block: samples of a frame.
    """

    start: int
    end: int
    said: int
    counted: int | None
    block: int

    @property
    def is_as_said(self) -> bool:
        """Whether a decoder that believes the header reads it to the end."""
        return self.said > 0 and self.counted in (None, self.said)

    @property
    def is_cut_short(self) -> bool:
        """Whether there is less than the header says."""
        return self.counted is not None and 0 < self.counted < self.said

    def pieces(self, data: Buffer) -> tuple[Piece, ...]:
        """The stream with the number of samples in its header."""
        if self.is_as_said:
            return ((self.start, self.end),)
        head = bytearray(data[self.start : self.start + _INFO])
        count = min(self.counted or _LONGEST - 1, _LONGEST - 1)
        head[21] = (head[21] & 0xF0) | (count >> 32)
        head[22:26] = (count & 0xFFFFFFFF).to_bytes(4, "big")
        return bytes(head), (self.start + _INFO, self.end)


def streams(data: Buffer, start: int) -> list[Stream]:
    """The streams of a file, one after the other.

    Args:
        data: the file.
        start: where the first one begins.
    """
    starts, place = [start], start + _INFO
    while (place := _next(data, place)) < len(data):
        starts.append(place)
        place += _INFO
    found = []
    for first, end in zip(starts, [*starts[1:], len(data)], strict=True):
        head = bytes(data[first : first + _INFO]).ljust(_INFO, b"\0")
        said = ((head[21] & 0x0F) << 32) | int.from_bytes(head[22:26], "big")
        block = int.from_bytes(head[10:12], "big")
        found.append(Stream(first, end, said, _counted(data, first + _INFO, end, block), block))
    return found


def _next(data: Buffer, place: int) -> int:
    """Where another stream begins; the file's end where none does."""
    size = 1 << 20
    while place < len(data):
        lot = bytes(data[place : place + size + 7])
        for mark in (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22"):
            if (offset := lot.find(mark)) >= 0:
                return place + offset
        place += size
    return len(data)


def _counted(data: Buffer, first: int, end: int, block: int) -> int | None:
    """Samples up to the end of the last frame, which is searched for from the end."""
    begin = max(first, end - _SEARCHED)
    tail = bytes(data[begin:end])
    place = len(tail)
    while (place := max(tail.rfind(b"\xff\xf8", 0, place), tail.rfind(b"\xff\xf9", 0, place))) >= 0:
        samples = _end_of(tail[place : place + 20], block)
        if samples is not None:
            return samples
        place += 1
    return None


def _end_of(head: bytes, block: int) -> int | None:
    """Samples up to the end of the frame with a header; None where it is none."""
    if len(head) < 6 or head[2] >> 4 == 0 or head[2] & 15 == 15 or head[3] >> 4 > 10 or head[3] & 1:
        return None
    size, place = head[4], 5  # the number is coded as UTF-8 codes characters
    if size < 0x80:
        number = size
    else:
        more = next((bits for bits in range(1, 7) if not (size << (bits + 1)) & 0x80), 7)
        if more == 7 or size & 0xC0 == 0x80 or len(head) < place + more:
            return None
        number = size & (0x3F >> more)
        for byte in head[place : place + more]:
            if byte & 0xC0 != 0x80:
                return None
            number = (number << 6) | (byte & 0x3F)
        place += more
    code = head[2] >> 4
    if code in (6, 7):
        samples = int.from_bytes(head[place : place + code - 5], "big") + 1
        place += code - 5
    else:
        samples = 192 if code == 1 else 576 << (code - 2) if code < 6 else 256 << (code - 8)
    place += {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if place >= len(head) or _checksum(head[:place]) != head[place]:
        return None
    return (number if head[1] & 1 else number * block) + samples


def _checksum(data: bytes) -> int:
    """CRC-8 with the polynomial x^8 + x^2 + x + 1."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = ((value << 1) ^ 0x07) & 0xFF if value & 0x80 else value << 1
    return value
