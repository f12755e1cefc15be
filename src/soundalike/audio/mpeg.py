"""MPEG audio frame by frame, so that its length is counted and not believed.

What a decoder knows of the length comes from a header in the first frame (Xing, Info or VBRI), which a stream from a
pipe does not have, files that were joined have for their first part alone, and whose number may be wrong. Without one
it is guessed from the first frame's bit rate.

Source: ISO/IEC 11172-3 and 13818-3, 2.4.1.3 and 2.4.2.3; the headers of LAME and of Fraunhofer's encoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from soundalike.audio.buffer import Buffer

Piece = bytes | tuple[int, int]
"""Bytes, or where they begin and end in a file."""

# kbit/s by MPEG-1 or not, layer and index
_RATES = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = (44_100, 48_000, 32_000)
_SEARCHED = 1 << 18  # bytes of something else that may come before the first frame
_CHAIN = 3  # frames that follow on before they are believed to be frames
_SLACK = 2  # frames that a header may count too many


@dataclass(frozen=True)
class Frame:
    """What the header of a frame says.

    Attributes:
        kind: version, layer, sample rate, and whether it is mono, which all frames of a stream share.
        size: in bytes.
    """

    kind: tuple[int, int, int, bool]
    size: int


@dataclass
class Stream:
    """Frames of one kind that follow on.

    Attributes:
        kind: that of its frames.
        head: the four bytes of its first header.
        frames: how many there are, without a header frame.
        ranges: where they lie in the file.
        said: how many frames its header frame says that there are, None where there is none or it does not say.
        delay: of the encoder and padding at the end, in samples, as three bytes of LAME's header hold them.
        header: where its header frame lies, if it has one.
    """

    kind: tuple[int, int, int, bool]
    head: bytes
    frames: int = 0
    ranges: list[tuple[int, int]] = field(default_factory=list)
    said: int | None = None
    delay: bytes | None = None
    header: tuple[int, int] | None = None

    @property
    def is_cut_short(self) -> bool:
        """Whether its header frame counts more frames than there are."""
        return self.said is not None and self.said > self.frames + _SLACK

    def pieces(self) -> tuple[Piece, ...]:
        """A file with these frames alone, whose header frame counts them; layers I and II have no such header."""
        if self.kind[1] != 3:
            return tuple(self.ranges)
        return (_header_frame(self), *self.ranges)


def frame_at(data: Buffer, place: int) -> Frame | None:
    """What the header at a place says; None where there is none, or the size cannot be told from it."""
    if place + 4 > len(data) or data[place] != 0xFF or data[place + 1] & 0xE0 != 0xE0:
        return None
    second, third = data[place + 1], data[place + 2]
    version, layer = (second >> 3) & 3, 4 - ((second >> 1) & 3)  # 0 is MPEG-2.5, 2 MPEG-2 and 3 MPEG-1
    rate, frequency = third >> 4, (third >> 2) & 3
    if version == 1 or layer == 4 or rate in (0, 15) or frequency == 3:
        return None
    hertz = _SAMPLE_RATES[frequency] >> {3: 0, 2: 1, 0: 2}[version]
    bits, padding = 1000 * _RATES[version == 3, layer][rate], (third >> 1) & 1
    if layer == 1:
        size = (12 * bits // hertz + padding) * 4
    else:
        size = (144 if layer == 2 or version == 3 else 72) * bits // hertz + padding
    return Frame((version, layer, hertz, data[place + 3] >> 6 == 3), size)


def streams(data: Buffer, start: int = 0, end: int | None = None) -> list[Stream]:
    """The streams that a file holds, one after the other; none where it holds no frames that follow on.

    A stream ends where a header frame begins another, or where frames of another kind follow.

    Args:
        data: the file.
        start: where to begin.
        end: where to end; the end of the file where not given.
    """
    found: list[Stream] = []
    for place, frame in _frames(data, start, len(data) if end is None else end):
        header = _header(data, place, frame)
        if header is not None or not found or found[-1].kind != frame.kind:
            found.append(Stream(frame.kind, bytes(data[place : place + 4])))
        stream = found[-1]
        if header is not None:
            stream.said, stream.delay = header
            stream.header = (place, place + frame.size)
            continue
        stream.frames += 1
        if stream.ranges and stream.ranges[-1][1] == place:
            stream.ranges[-1] = (stream.ranges[-1][0], place + frame.size)
        else:
            stream.ranges.append((place, place + frame.size))
    return [stream for stream in found if stream.frames]


def skip_tags(data: Buffer, place: int) -> int:
    """Where what follows a tag (ID3, APE) begins."""
    while True:
        head = bytes(data[place : place + 32])
        if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 128:
            size = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
            place += 10 + size + (10 if head[5] & 0x10 else 0)
        elif head[:8] == b"APETAGEX" and len(head) == 32 and head[23] & 0x20:
            place += 32 + int.from_bytes(head[12:16], "little")
        else:
            return place


def _frames(data: Buffer, start: int, end: int) -> Iterator[tuple[int, Frame]]:
    """The whole frames of a file, by where they begin; what lies between them is passed over."""
    place, kind = start, None
    while place + 4 <= end:
        frame = frame_at(data, place)
        if frame is None or (frame.kind != kind and not _chain(data, place)):
            after = skip_tags(data, place)
            place = after if after > place else _next(data, place + 1, start if kind is None else None)
            continue
        if place + frame.size > end:
            return
        kind = frame.kind
        yield place, frame
        place += frame.size


def _next(data: Buffer, place: int, start: int | None) -> int:
    """Where the next frames begin; the file's end where there are none, or none near its beginning."""
    last = len(data) if start is None else min(len(data), start + _SEARCHED)
    while place < last:
        lot = bytes(data[place : min(last, place + 65536)])
        offset = lot.find(b"\xff")
        while offset >= 0:
            if _chain(data, place + offset):
                return place + offset
            offset = lot.find(b"\xff", offset + 1)
        place += len(lot)
    return len(data)


def _chain(data: Buffer, place: int) -> bool:
    """Whether frames of one kind follow on from here, as many as are asked for or as there are up to the end."""
    kind = None
    for _ in range(_CHAIN):
        frame = frame_at(data, place)
        if frame is None or (kind is not None and frame.kind != kind):
            return False
        kind, place = frame.kind, place + frame.size
        rest = bytes(data[place : place + 3])
        if len(rest) < 3 or rest in (b"TAG", b"ID3", b"APE"):
            return True
    return True


def _side(kind: tuple[int, int, int, bool]) -> int:
    """Bytes between the header of a frame of layer III and the mark of a header frame."""
    if kind[0] == 3:
        return 17 if kind[3] else 32
    return 9 if kind[3] else 17


def _header(data: Buffer, place: int, frame: Frame) -> tuple[int | None, bytes | None] | None:
    """How many frames a header frame counts, and delay and padding of the encoder; None of any other frame."""
    if frame.kind[1] != 3:
        return None
    mark = place + 4 + _side(frame.kind)
    name = data[mark : mark + 4]
    if name == b"Xing" or name == b"Info":
        flags, after = data[mark + 7], mark + 8
        frames = None
        if flags & 1:
            frames, after = int.from_bytes(data[after : after + 4], "big"), after + 4
        after += 4 * bool(flags & 2) + 100 * bool(flags & 4) + 4 * bool(flags & 8)
        lame = bytes(data[after : after + 24])
        known = lame[:4] in (b"LAME", b"Lavc", b"Lavf", b"L3.9", b"GOGO") and place + frame.size >= after + 24
        return frames, lame[21:24] if known else None
    if data[place + 36 : place + 40] == b"VBRI":
        return int.from_bytes(data[place + 50 : place + 54], "big"), None
    return None


def _header_frame(stream: Stream) -> bytes:
    """A frame of silence that counts the frames of a stream, as LAME writes it."""
    version = stream.kind[0]
    tag = b"Xing" + (1).to_bytes(4, "big") + stream.frames.to_bytes(4, "big")
    if stream.delay is not None:
        delay = stream.delay
        if stream.is_cut_short:  # what would be left out at the end is not there
            delay = bytes([delay[0], delay[1] & 0xF0, 0])
        tag += b"LAME3.100" + bytes(12) + delay + bytes(12)
    needed = 4 + _side(stream.kind) + len(tag)
    head = bytearray(stream.head)
    head[1] |= 1  # no checksum
    for rate in range(1, 15):
        head[2] = (head[2] & 0x0D) | (rate << 4)
        frame = frame_at(bytes(head), 0)
        if frame is not None and frame.size >= needed and _allowed(version, rate):
            return (bytes(head) + bytes(_side(stream.kind)) + tag).ljust(frame.size, b"\0")
    return b""


def _allowed(version: int, rate: int) -> bool:
    """Whether every decoder takes a bit rate, by its index."""
    return rate >= 2 or version != 3
