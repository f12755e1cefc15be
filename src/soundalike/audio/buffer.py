"""A file as bytes that are read when they are asked for."""

from __future__ import annotations

from typing import BinaryIO, overload

_WINDOW = 1 << 18  # bytes that are read at a time


class FileBytes:
    """The bytes of a file, of which little is held at a time.

    A memory map would do as well, but for a file that another program cuts while it is looked into, which ends the
    process. What is no longer there is read as zeros.

    Args:
        stream: the file, open as long as this is used.
        size: in bytes.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._size = stream, size
        self._begin, self._window = 0, b""

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int) -> int: ...

    @overload
    def __getitem__(self, place: slice) -> bytes: ...

    def __getitem__(self, place: int | slice) -> int | bytes:
        """A byte as a number, or some of them; steps other than 1 are not there."""
        if isinstance(place, int):
            inside = place - self._begin
            if 0 <= inside < len(self._window) and place < self._size:
                return self._window[inside]
            if not 0 <= place < self._size:
                raise IndexError(place)
            return self._read(place, place + 1)[0]
        first, last, _ = place.indices(self._size)
        return self._read(first, max(first, last))

    def _read(self, first: int, last: int) -> bytes:
        if first >= self._begin and last <= self._begin + len(self._window):
            return self._window[first - self._begin : last - self._begin]
        if last - first > _WINDOW:
            self._stream.seek(first)
            return self._stream.read(last - first).ljust(last - first, b"\0")
        size = min(_WINDOW, self._size - first)
        self._stream.seek(first)
        self._begin, self._window = first, self._stream.read(size).ljust(size, b"\0")
        return self._window[: last - first]


Buffer = bytes | FileBytes
