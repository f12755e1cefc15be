"""The links of a chained Ogg file.

Source: RFC 3533, sections 4 and 6.
"""

from __future__ import annotations

from dataclasses import dataclass

from soundalike.audio.buffer import Buffer

_HEADER = 27  # bytes of a page's header without its table of segments


@dataclass
class Link:
    """A stream of an Ogg file, or several that are interleaved.

    Attributes:
        start: its first byte.
        end: behind its last whole page.
        is_closed: whether its last page is whole and flagged as the last.
    """

    start: int
    end: int
    is_closed: bool = False


def links(data: Buffer) -> list[Link]:
    """The links of a file, one after the other.

    Args:
        data: the file.
    """
    found: list[Link] = []
    place, beginning = 0, False  # whether the page before was the first of a stream
    while place + _HEADER <= len(data):
        if data[place : place + 4] != b"OggS":
            place = _next(data, place + 1)
            continue
        count = data[place + 26]
        end = place + _HEADER + count + sum(data[place + _HEADER : place + _HEADER + count])
        first, last = bool(data[place + 5] & 2), bool(data[place + 5] & 4)
        if not found or (first and not beginning):
            found.append(Link(place, place))
        if end > len(data):
            found[-1].is_closed = False
            found[-1].end = len(data)
            break
        found[-1].end, found[-1].is_closed, beginning = end, last, first
        place = end
    return found


def other_codec(data: Buffer, link: Link) -> str | None:
    """What is in a link, where libsndfile does not read it; None where it does.

    Args:
        data: the file.
        link: of it.
    """
    first = link.start + _HEADER + data[link.start + 26] if link.start + _HEADER <= len(data) else link.end
    head = bytes(data[first : first + 8])
    return "FLAC in Ogg" if head[:5] == b"\x7fFLAC" else "Speex" if head == b"Speex   " else None


def _next(data: Buffer, place: int) -> int:
    """Where the next page begins; the file's end where there is none."""
    while place < len(data):
        offset = data[place : place + 65536 + 3].find(b"OggS")
        if offset >= 0:
            return place + offset
        place += 65536
    return len(data)
