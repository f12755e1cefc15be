"""The one reader of tables: CSV, TSV, JSON lines, npz and parquet, told apart by their suffix.

What one command writes (`table_writer`), every other reads: a column ``path`` (or ``file``, ``filename`` …), perhaps a
column ``label``, perhaps an embedding. JSON lines, npz and parquet hold an embedding as one column ``embedding``, CSV
and TSV as the columns ``e0``, ``e1`` and so on.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.core.extras import require
from soundalike.core.files import missing

LINES = (".jsonl", ".ndjson")
SUFFIXES = (".csv", ".tsv", *LINES, ".npz", ".parquet")
ALIASES = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path"),
    "label": ("label", "class", "category"),
    "fold": ("fold",),
    "group": ("group",),
    "split": ("split",),
}
"""What a column may be called, in either case; the first of the names goes before the others."""
_DELIMITERS = (",", ";", "\t")
_GLANCE = 1 << 16  # characters within which a header line ends
_MOST_NAMED = 20  # columns that a sentence lists
METADATA = b"soundalike.failures"  # of a parquet file
_NO_UNICODE = re.compile(r"\\udc([89a-f][0-9a-f])")  # how text files and parquet hold a byte that is no UTF-8


@dataclass(frozen=True, eq=False)
class Table:
    """What was read of a table.

    Attributes:
        source: the file.
        columns: name -> the cell of each row, as text without surrounding blanks, empty where there is none;
            ``embedding`` -> (n, D), float32.
        numbers: the number of each row in the file, counted as a spreadsheet or an editor does.
    """

    source: Path
    columns: dict[str, Any]
    numbers: list[int]

    def rows(self) -> list[dict[str, Any]]:
        """Each row as a dictionary of its cells."""
        return [dict(zip(self.columns, cells, strict=True)) for cells in zip(*self.columns.values(), strict=True)]

    @property
    def paths(self) -> list[Path]:
        """The file of each row: relative to the table's folder or, where it is only there, to the working folder."""
        return [located(self.source, path) for path in self.columns["path"]]


def read_table(
    source: str | Path,
    columns: Sequence[str] = ("path",),
    required: Sequence[str] | None = None,
    path_column: str | None = None,
    empty: bool = False,
) -> Table:
    """Some columns of a table.

    Args:
        source: the table, with one of ``SUFFIXES``. A text file is UTF-8; that of CSV and TSV has commas, semicolons
            or tabs between the cells, and a header line. Blank lines are left out.
        columns: the columns to read, by their first name in ``ALIASES``; ``embedding`` becomes an array.
        required: the columns that the table must have, with no cell empty; all of them where not given.
        path_column: the name of the column ``path`` in this table, where it is none of its aliases.
        empty: whether a table without rows is taken.

    Raises:
        SoundalikeError: it is no such table, lacks a column, has it twice, has no rows, or has a row that cannot be
            used; the sentence names the row.
    """
    source = Path(source)
    reader = _Reader(source, columns, columns if required is None else required, path_column)
    found: dict[str, list[Any]] = {column: [] for column in columns}
    numbers = []
    try:
        for number, cells in reader.rows():
            for column in columns:
                found[column].append(reader.checked(number, column, cells.get(column), found[column]))
            numbers.append(number)
    except UnicodeDecodeError:
        raise SoundalikeError(f"{source}: not UTF-8 text; save the table in UTF-8.") from None
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.strerror:
            raise SoundalikeError(f"{source}: cannot be read ({error.strerror}).") from None
        reason = (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".")
        raise SoundalikeError(f"{source}: not a table that can be read, or cut short ({reason}).") from None
    if not numbers and not empty:
        raise SoundalikeError(f"{source}: the table has no rows; give one that lists something.")
    stacked = {
        column: (np.stack(cells) if cells else np.zeros((0, 0), np.float32)) if column == "embedding" else cells
        for column, cells in found.items()
    }
    return Table(source, stacked, numbers)


def is_table(place: Path) -> bool:
    """Whether a path is that of a table and not of a sound or a folder, by its suffix."""
    return place.suffix.lower() in SUFFIXES and place.is_file()


def read_failures(source: Path) -> dict[Path, str]:
    """The files that ``soundalike embed`` left out, each with its reason; none of a table that does not hold them."""
    with contextlib.suppress(*_UNREADABLE, LookupError, SoundalikeError):
        if source.suffix.lower() == ".npz":
            with np.load(source, allow_pickle=False) as file:
                failures = zip(file["failed_path"].tolist(), file["failed_reason"].tolist(), strict=True)
                return {located(source, path): reason for path, reason in failures}
        if source.suffix.lower() == ".parquet":
            listed = json.loads(pyarrow_for(source).parquet.read_schema(source).metadata[METADATA])
            return {located(source, each["path"]): each["reason"] for each in listed}
    return {}


def columns_in(source: Path) -> set[str]:
    """The columns of ``ALIASES`` that a file has; none where it is no table."""
    reader = _Reader(source, tuple(ALIASES), (), None)
    with contextlib.suppress(*_UNREADABLE, SoundalikeError):
        next(reader.rows(), None)
    return set(reader.places)


def names_in(source: Path) -> list[str]:
    """What the columns of a table are called; none where it is no table."""
    reader = _Reader(source, (), (), None)
    with contextlib.suppress(*_UNREADABLE, SoundalikeError):
        next(reader.rows(), None)
    return reader.names


def suffix_of(file: Path, others: tuple[str, ...] = ()) -> str:
    """The suffix of a table, in lower case.

    Raises:
        SoundalikeError: it is none of ``SUFFIXES``.
    """
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise SoundalikeError(
            f"{file}: tables are {', '.join(others + SUFFIXES[:-1])} or {SUFFIXES[-1]}, not {suffix or 'no suffix'!r}."
        )
    return suffix


def pyarrow_for(file: Path) -> Any:
    """The package ``pyarrow`` with its ``parquet``, for a file.

    Raises:
        MissingPackagesError: it is not installed.
    """
    require(f"{file}: parquet", "pyarrow")
    import pyarrow.parquet  # type: ignore[import-untyped]

    return pyarrow


def column_names(size: int) -> list[str]:
    """What the numbers of an embedding are called in a table: ``e0``, ``e1`` and so on."""
    return [f"e{number}" for number in range(size)]


# reading


def located(source: Path, path: str) -> Path:
    """A listed file: relative to the table's folder or, where it is only there, to the working folder."""
    beside = source.parent / path
    return Path(path) if not os.path.exists(beside) and os.path.exists(path) else beside


_UNREADABLE = (OSError, ValueError, TypeError, EOFError, RuntimeError, csv.Error, zipfile.BadZipFile)
"""What the readers of formats raise at a file that is none; the errors of pyarrow are among them."""


@dataclass(eq=False)
class _Reader:
    """The wanted columns of a file, row by row; ``places``: wanted column -> where it is among those of the file."""

    source: Path
    columns: Sequence[str]
    required: Sequence[str]
    path_column: str | None
    places: dict[str, Any] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)  # of all columns of the file

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The number of each row, and its cells by column."""
        suffix = suffix_of(self.source)
        if not self.source.is_file():
            raise SoundalikeError(missing(self.source, "no such file; give a table that is there."))
        if suffix in LINES:
            return self._lines()
        if suffix in (".npz", ".parquet"):
            columns = self._npz() if suffix == ".npz" else self._parquet()
            if len({len(cells) for cells in columns.values()}) > 1:
                shapes = ", ".join(f"{column} {np.shape(cells)}" for column, cells in columns.items())
                raise SoundalikeError(
                    f"{self.source}: columns of different lengths do not belong together ({shapes})."
                )
            rows = zip(*columns.values(), strict=True)
            return enumerate((dict(zip(columns, cells, strict=True)) for cells in rows), start=1)
        return self._text()

    def find(self, names: Sequence[str], required: Sequence[str]) -> None:
        """Looks for the wanted columns among those of the file."""
        given = [name.strip().lower() for name in names]
        last = {name: place for place, name in enumerate(given)}
        places: dict[str, Any] = {}
        for column in self.columns:
            literal = self.path_column if column == "path" else None
            aliases = (literal,) if literal else ALIASES.get(column, (column,))
            found = [place for place, name in enumerate(given) if name == aliases[0].lower()]
            found = found or [place for place, name in enumerate(given) if name in aliases]
            if len(found) > 1:
                which = " and ".join(repr(names[place].strip()) for place in found)
                where = ", ".join(str(place + 1) for place in found)
                raise SoundalikeError(
                    f"{self.source}: duplicate column {column!r}: columns {where} are {which}; keep one."
                )
            if found:
                places[column] = found[0]
            elif column == "embedding" and "e0" in last:
                places[column] = [last[name] for name in column_names(len(given)) if name in last]
            elif column in required:
                known = [name.strip() for name in names]
                more = f" (and {len(known) - _MOST_NAMED} more)" if len(known) > _MOST_NAMED else ""
                hint = nearest(aliases[0], known[:_MOST_NAMED]).removesuffix(".")
                made = "; soundalike embed writes it" if column == "embedding" else ""
                raise SoundalikeError(
                    f"{self.source}: the table has no column {' or '.join(map(repr, aliases))}{made}; {hint}{more}."
                )
        self.places, self.names = places, [name.strip() for name in names]

    def _picked(self, cells: Sequence[Any]) -> dict[str, Any]:
        return {
            column: [cells[each] for each in place] if isinstance(place, list) else cells[place]
            for column, place in self.places.items()
        }

    def _text(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with self.source.open(encoding="utf-8-sig", newline="") as stream:
            delimiter = self._delimiter(stream.readline(_GLANCE))
            stream.seek(0)
            table = csv.reader(stream, delimiter=delimiter)
            names = next(table, [])
            if not any(names):
                raise SoundalikeError(
                    f"{self.source}: not a table: the first line has to name the columns, and it is empty."
                )
            self.find(names, self.required)
            for number, cells in enumerate(table, start=2):
                if any(cell.strip() for cell in cells[len(names) :]):
                    raise SoundalikeError(
                        f"{self.source}: row {number} has {len(cells)} cells, and the header {len(names)}: put quotes "
                        f"around a cell that has {delimiter!r} in it."
                    )
                if any(cell.strip() for cell in cells):
                    yield number, self._picked(cells + [""] * (len(names) - len(cells)))

    def _delimiter(self, first: str) -> str:
        """What stands between the cells: what sets most of the known columns apart, or makes the most cells."""
        known = {name for names in ALIASES.values() for name in names} | {column.lower() for column in self.columns}
        known.add((self.path_column or "path").lower())

        def merit(delimiter: str) -> tuple[int, int]:
            with contextlib.suppress(csv.Error):
                cells = next(csv.reader([first], delimiter=delimiter), [])
                return len({cell.strip().lower() for cell in cells} & known), len(cells)
            return 0, 0

        return max(_DELIMITERS, key=merit)

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        names: list[str] = []
        with self.source.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    row = None
                if not isinstance(row, dict):
                    raise SoundalikeError(
                        f"{self.source}: row {number} is not a JSON object, or cut short; correct it or take it out."
                    )
                if list(row) != names:
                    self.find(list(row), () if names else self.required)  # an empty cell may be left out of later rows
                    names = list(row)
                yield number, self._picked(list(row.values()))

    def _npz(self) -> dict[str, Any]:
        with np.load(self.source, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array")
            self.find(file.files, self.required)
            columns = self._gathered(file.files, {name: file[name] for name in self._names(file.files)})
        for column, array in columns.items():
            if array.ndim != (2 if column == "embedding" else 1):
                raise SoundalikeError(f"{self.source}: {column!r} has shape {array.shape}, which is no column.")
        return {column: array if column == "embedding" else array.tolist() for column, array in columns.items()}

    def _parquet(self) -> dict[str, Any]:
        with pyarrow_for(self.source).parquet.ParquetFile(self.source) as file:
            names = file.schema_arrow.names
            self.find(names, self.required)
            table = file.read(columns=self._names(names))
        texts = {names[place] for column, place in self.places.items() if column != "embedding"}
        held = {
            name: table[name].to_pylist() if name in texts else table[name].to_numpy() for name in self._names(names)
        }
        return self._gathered(names, held)

    def _names(self, names: Sequence[str]) -> list[str]:
        """Those of the file's columns that are wanted."""
        places = [each for place in self.places.values() for each in (place if isinstance(place, list) else [place])]
        return [names[place] for place in places]

    def _gathered(self, names: Sequence[str], held: Mapping[str, Any]) -> dict[str, Any]:
        """The wanted columns out of those of the file, by name."""
        return {
            column: np.stack([held[names[each]] for each in place], 1)
            if isinstance(place, list)
            else held[names[place]]
            for column, place in self.places.items()
        }

    def checked(self, number: int, column: str, value: Any, before: Sequence[Any]) -> Any:
        """A cell as `Table` holds it; ``before``: those above it."""
        where = f"{self.source}: row {number}, column {column!r}"
        if column == "embedding":
            try:
                vector = np.asarray(value, np.float32)
            except (ValueError, TypeError):
                vector = np.zeros(0, np.float32)
            if vector.ndim != 1 or not len(vector) or (before and len(vector) != len(before[0])):
                many = f"{len(before[0])} " if before else ""
                raise SoundalikeError(f"{where}: not a list of {many}numbers, or cut short; take the row out.")
            return vector
        if value is None or value != value:  # pandas writes NaN where nothing is
            value = ""
        if not isinstance(value, str):
            if column == "path" or not isinstance(value, (bool, int, float)):
                what = "path" if column == "path" else "text"
                raise SoundalikeError(f"{where}: the cell holds {value!r}, which is no {what}; correct it.")
            value = str(value)
        value = value.strip()
        if not value and column in self.required:
            raise SoundalikeError(f"{where}: the cell is empty; fill it, or take the row out.")
        return _NO_UNICODE.sub(lambda byte: chr(0xDC00 + int(byte[1], 16)), value) if column == "path" else value
