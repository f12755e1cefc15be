"""The text of a manifest: which cell of which row stands in which column."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from soundalike.core.errors import SoundalikeError

_NAMES = {
    "path": ("path", "file", "filename", "file_name"),
    "label": ("label", "class", "category"),
    "fold": ("fold",),
    "group": ("group",),
    "split": ("split",),
}
_REQUIRED = ("path", "label")
_DELIMITERS = (",", ";", "\t")
_GLANCE = 1 << 16  # bytes within which a header line ends


@dataclass(frozen=True)
class Line:
    """A row of a manifest.

    Attributes:
        number: as a spreadsheet counts, the header being row 1.
        cells: column (path, label, fold, group, split) -> its cell without surrounding blanks; empty where the table
            has no such column.
    """

    number: int
    cells: dict[str, str]


def header(source: Path) -> dict[str, int]:
    """The known columns in the first line of any file, each with its position; none where that is no header."""
    try:
        with source.open("rb") as stream:
            first = stream.read(_GLANCE).decode("utf-8-sig", errors="replace").splitlines()[:1]
        return _columns(source, _cells(first, _delimiter(first)))
    except (OSError, csv.Error, SoundalikeError, IndexError):
        return {}


def lines(source: Path) -> list[Line]:
    """The rows of a manifest that are not blank.

    Args:
        source: UTF-8 text with commas, semicolons or tabs between the cells.

    Raises:
        SoundalikeError: it is no such text, lacks a column, has one twice, has no rows, or a row has too many cells.
    """
    try:
        text = source.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SoundalikeError(f"{source}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise SoundalikeError(f"{source}: not UTF-8 text; save the table as CSV in UTF-8.") from error
    delimiter = _delimiter(text.splitlines()[:1])
    try:
        table = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise SoundalikeError(f"{source}: not a table that can be read ({error}).") from error
    if not table or not any(table[0]):
        raise SoundalikeError(f"{source}: the first line has to name the columns, and it is empty.")
    columns = _columns(source, table[0])
    for column in _REQUIRED:
        if column not in columns:
            names = " or ".join(repr(name) for name in _NAMES[column])
            raise SoundalikeError(
                f"{source}: the table has no column {names}; its columns are "
                f"{', '.join(repr(name.strip()) for name in table[0])}."
            )
    found = []
    for number, cells in enumerate(table[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if any(cell.strip() for cell in cells[len(table[0]) :]):
            raise SoundalikeError(
                f"{source}: row {number} has {len(cells)} cells, and the header {len(table[0])}: put quotes around a "
                f"cell that has {delimiter!r} in it."
            )
        cells += [""] * (len(table[0]) - len(cells))
        found.append(Line(number, {name: cells[columns[name]].strip() if name in columns else "" for name in _NAMES}))
    if not found:
        raise SoundalikeError(f"{source}: the table has no rows below its header.")
    return found


def _delimiter(first: Sequence[str]) -> str:
    """What stands between the cells: what makes the most columns of the header line, those that are known first."""

    def merit(delimiter: str) -> tuple[int, int]:
        try:
            cells = _cells(first, delimiter)
        except (csv.Error, IndexError):
            return 0, 0
        known = {name for names in _NAMES.values() for name in names}
        return len({cell.strip().lower() for cell in cells} & known), len(cells)

    return max(_DELIMITERS, key=merit)


def _cells(first: Iterable[str], delimiter: str) -> list[str]:
    return next(csv.reader(first, delimiter=delimiter), [])


def _columns(source: Path, names: Sequence[str]) -> dict[str, int]:
    """Known column -> its position. The name itself goes before its synonyms."""
    given = [name.strip().lower() for name in names]
    columns = {}
    for column, synonyms in _NAMES.items():
        exact = [position for position, name in enumerate(given) if name == column]
        places = exact or [position for position, name in enumerate(given) if name in synonyms]
        if len(places) > 1:
            which = " and ".join(repr(names[position].strip()) for position in places)
            raise SoundalikeError(
                f"{source}: duplicate column {column!r}: columns {', '.join(str(place + 1) for place in places)} are "
                f"{which}; keep one."
            )
        if places:
            columns[column] = places[0]
    return columns
