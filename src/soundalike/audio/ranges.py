"""Parts of a file, and bytes that stand for what it lacks, as a file."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import BinaryIO

from soundalike.audio.mpeg import Piece


class Ranges(io.RawIOBase):
    """A file made of pieces of another, one after the other.

    Args:
        stream: the other file, open for as long as this one is read.
        pieces: bytes, or where they begin and end in it.

    Attributes:
        error: what went wrong when it was read, which a decoder cannot be told of.
    """

    def __init__(self, stream: BinaryIO, pieces: Sequence[Piece]) -> None:
        super().__init__()
        self.stream, self.pieces = stream, pieces
        sizes = [len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] for piece in pieces]
        self.starts = [0, *accumulate(sizes)]
        self.place = 0
        self.error: OSError | None = None

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self.place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a place, as any file does."""
        self.place = max(0, offset + (0, self.place, self.starts[-1])[whence])
        return self.place

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Reads as many bytes as there is room for, or as there are."""
        view = memoryview(buffer).cast("B")
        done = 0
        try:
            while done < len(view) and self.place < self.starts[-1]:
                number = bisect_right(self.starts, self.place) - 1
                piece, inside = self.pieces[number], self.place - self.starts[number]
                count = min(len(view) - done, self.starts[number + 1] - self.place)
                if isinstance(piece, bytes):
                    data = piece[inside : inside + count]
                else:
                    self.stream.seek(piece[0] + inside)
                    data = self.stream.read(count)
                    if not data:
                        break
                view[done : done + len(data)] = data
                done += len(data)
                self.place += len(data)
        except OSError as error:
            self.error = error
            return 0
        return done
