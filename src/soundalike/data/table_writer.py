"""The one writer of tables: CSV, TSV, JSON lines, npz and parquet, as `tables` reads them."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from soundalike.core.errors import SoundalikeError
from soundalike.core.files import STANDARD_OUTPUT, check_file, is_closed, make_folder, naming, replacing
from soundalike.data.tables import LINES, METADATA, column_names, pyarrow_for, suffix_of


def check_table(out: str | Path, others: tuple[str, ...] = ()) -> Path:
    """Whether a table can be written there, to be asked before any work is done.

    Args:
        out: the file to write; its folder is made when writing.
        others: suffixes of what else may be written there, for the sentence on a wrong one.

    Returns:
        It as a path.

    Raises:
        SoundalikeError: the suffix is none of ``SUFFIXES``, pyarrow is needed and missing, or the place is not
            writable.
    """
    out = Path(out)
    if suffix_of(out, others) == ".parquet":
        pyarrow_for(out)
    check_file(out)
    return out


class TableWriter(Protocol):
    """What rows are written to."""

    def write(self, row: Sequence[Any]) -> None:
        """Adds one row: a value for each column, None where there is none. Python's floats get four decimals."""


@contextlib.contextmanager
def open_table(
    out: Path | None,
    columns: Sequence[str],
    *,
    whole: bool = False,
    size: int = 0,
    failures: Mapping[str, str] | None = None,
) -> Iterator[TableWriter]:
    """A table to write.

    The rows of text files are on disk as soon as they are written, so that they survive when the process is killed.
    npz and parquet are files that are there whole or not at all, and come at the end.

    Args:
        out: the file to write, with one of ``SUFFIXES``; CSV on stdout where there is none.
        columns: the names of a row's values.
        whole: whether a text file, too, is there whole or not at all.
        size: how many numbers a value of the column ``embedding`` has.
        failures: files that were left out, with reasons, which npz and parquet keep beside the rows.

    Raises:
        SoundalikeError: it has another suffix or cannot be written.
    """
    if out is None:
        if is_closed(sys.stdout):
            raise SoundalikeError("standard output is closed, so the table cannot be written there; give --out FILE.")
        yield _TextWriter(sys.stdout, columns, ".csv", size, STANDARD_OUTPUT)
        return
    suffix = suffix_of(out)
    if suffix in (".npz", ".parquet"):
        held = _ColumnWriter(out, columns, size)
        yield held
        with replacing(out, "the table") as partial, partial.open("wb") as binary:
            (held.save_npz if suffix == ".npz" else held.save_parquet)(binary, failures)
        return
    make_folder(out.absolute().parent)
    try:
        with (
            naming(out),
            replacing(out, "the table") if whole else contextlib.nullcontext(out) as place,
            place.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
        ):
            yield _TextWriter(stream, columns, suffix, size, str(out))
    except OSError as error:
        if error.filename not in (None, str(out)):  # of another file
            raise
        raise SoundalikeError(
            f"{out}: the table cannot be written there ({error.strerror or error}); make room there, or give another "
            "place."
        ) from None


class _TextWriter:
    """Rows of CSV, TSV or JSON lines, each on disk as soon as it is known."""

    def __init__(self, stream: IO[str], columns: Sequence[str], suffix: str, size: int, place: str) -> None:
        self.stream, self.columns, self.lines, self.place = stream, columns, suffix in LINES, place
        delimiter = "\t" if suffix == ".tsv" else ","
        self.csv = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        self.quoting = csv.writer(stream, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
        if not self.lines:
            names = [(column == "embedding" and column_names(size)) or [column] for column in columns]
            with naming(place):
                self._write_cells([name for each in names for name in each])

    def write(self, row: Sequence[Any]) -> None:
        with naming(self.place):
            self._write(row)

    def _write(self, row: Sequence[Any]) -> None:
        if self.lines:
            # what is no Unicode in a name the stream writes as \\udcxx, which is JSON for it
            cells = [list(map(float, value)) if isinstance(value, list) else value for value in map(_text, row)]
            self.stream.write(json.dumps(dict(zip(self.columns, cells, strict=True)), ensure_ascii=False) + "\n")
        else:
            cells = [value if isinstance(value, list) else [value] for value in map(_text, row)]
            self._write_cells([cell for each in cells for cell in each])
        self.stream.flush()

    def _write_cells(self, cells: list[Any]) -> None:
        # the module csv ends a row at a carriage return that is not in quotes, but writes it without
        returns = any(isinstance(cell, str) and "\r" in cell for cell in cells)
        (self.quoting if returns else self.csv).writerow(cells)


class _ColumnWriter:
    """Rows that are held until a file of columns is written."""

    def __init__(self, out: Path, columns: Sequence[str], size: int) -> None:
        self.out, self.names, self.size = out, columns, size
        self.rows: list[list[Any]] = []

    def write(self, row: Sequence[Any]) -> None:
        self.rows.append([_rounded(value) for value in row])

    def columns(self) -> dict[str, list[Any]]:
        """The values of each column."""
        return {_unicode(name): [row[place] for row in self.rows] for place, name in enumerate(self.names)}

    def save_npz(self, stream: IO[bytes], failures: Mapping[str, str] | None) -> None:
        """An array for each column: text, numbers (NaN where there is none) or embeddings."""
        arrays = {name: self._array(name, values) for name, values in self.columns().items()}
        if failures is not None:
            arrays["failed_path"] = np.array(list(failures), dtype=str)
            arrays["failed_reason"] = np.array(list(failures.values()), dtype=str)
        with zipfile.ZipFile(stream, "w") as file:  # np.savez takes no column with the name of an argument of its own
            for name, array in arrays.items():
                with file.open(f"{name}.npy", "w", force_zip64=True) as place:
                    np.lib.format.write_array(place, array, allow_pickle=False)

    def save_parquet(self, stream: IO[bytes], failures: Mapping[str, str] | None) -> None:
        """The failures go into the metadata, as JSON under ``soundalike.failures``."""
        pyarrow = pyarrow_for(self.out)
        columns = {
            name: pyarrow.array(values, pyarrow.list_(pyarrow.float32()))
            if name == "embedding"
            else pyarrow.array([_unicode(value) for value in values])
            for name, values in self.columns().items()
        }
        table = pyarrow.table(columns)
        if failures is not None:
            listed = [{"path": path, "reason": reason} for path, reason in failures.items()]
            table = table.replace_schema_metadata({METADATA: json.dumps(listed)})
        pyarrow.parquet.write_table(table, stream)

    def _array(self, name: str, values: list[Any]) -> np.ndarray:
        if name == "embedding":
            return np.stack(values) if values else np.zeros((0, self.size), np.float32)
        if all(value is None for value in values) or any(isinstance(value, str) for value in values):
            return np.array(["" if value is None else str(value) for value in values], dtype=str)
        return np.array([np.nan if value is None else value for value in values])


def _unicode(value: Any) -> Any:
    """Names of files need not be valid Unicode, strings of parquet must be."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _text(value: Any) -> Any:
    """A value rounded, or the numbers of an embedding in as few digits as tell its float32 from all others."""
    return value.astype(str).tolist() if isinstance(value, np.ndarray) else _rounded(value)


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
