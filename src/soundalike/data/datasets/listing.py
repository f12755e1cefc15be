"""What the readers share: tables that data sets come with, the files that they list, and the user's cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soundalike.audio.kinds import suffixes
from soundalike.core.errors import SoundalikeError
from soundalike.data.tables import read_table


def read_csv(source: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a data set's own table, every cell as text.

    Args:
        source: a CSV file.
        columns: those that it must have, with no cell empty; ``fold``, if among them, must hold whole numbers.

    Raises:
        SoundalikeError: it cannot be read, or lacks a column or a cell, or a fold is not a whole number.
    """
    rows = read_table(source, columns).rows()
    if "fold" in columns and not all(row["fold"].isascii() and row["fold"].isdecimal() for row in rows):
        raise SoundalikeError(f"{source}: a fold is not a whole number.")
    return rows


def on_disk(listed: Path) -> Path | None:
    """The listed file or, where it is not there, the same clip in another format."""
    candidates = (listed, *(listed.with_suffix(suffix) for suffix in suffixes()))
    return next((path for path in candidates if path.is_file()), None)


def audio_in(folder: Path) -> list[Path]:
    """The audio files directly in a folder, sorted; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in suffixes() and not path.name.startswith(".") and path.is_file()
    ]


def part(found: int, whole: int, kind: str = "classes") -> str:
    """A note for a protocol on how many of the published classes are there: empty where all are."""
    return "" if found == whole else f" ({found} of the {whole} {kind})"
