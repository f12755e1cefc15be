"""A part of a recording, as something that is read like a file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording.

    Attributes:
        path: file of the recording.
        start: in seconds from the beginning of the file, 0 or more.
        end: in seconds, above ``start``.
        low: lowest frequency in Hz where it is known; it is kept and does not change what is heard.
        high: highest frequency in Hz where it is known.
        channel: the one that is heard, from 1; None for all of them.
    """

    path: Path
    start: float
    end: float
    low: float | None = None
    high: float | None = None
    channel: int | None = None

    def __post_init__(self) -> None:
        """Takes text for a path."""
        object.__setattr__(self, "path", Path(self.path))

    def __str__(self) -> str:
        """File, start and end."""
        channel = "" if self.channel is None else f", channel {self.channel}"
        return f"{self.path}, {self.start:.10g} to {self.end:.10g} s{channel}"

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start


Sound = Path | Segment
"""What is read: a whole file, or a part of one."""


def as_sound(source: str | os.PathLike[str] | Segment) -> Sound:
    """A segment as it is, anything else as the path of a file."""
    return source if isinstance(source, Segment) else Path(source)


def file_of(source: str | os.PathLike[str] | Segment) -> Path:
    """The file that a sound lies in."""
    return source.path if isinstance(source, Segment) else Path(source)


def span_of(source: str | os.PathLike[str] | Segment) -> tuple[float | None, float | None]:
    """Start and end in seconds; None and None of a whole file."""
    return (source.start, source.end) if isinstance(source, Segment) else (None, None)
