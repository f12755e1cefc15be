"""Tables in and out: lists of files from CSV and parquet, embeddings as pandas data frames."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.core.extras import require
from soundalike.model.embed_files import Embedded

if TYPE_CHECKING:
    from pandas import DataFrame

SUFFIXES = (".csv", ".parquet", ".tsv")
"""Of tables that list files."""
_DELIMITERS = (",", ";", "\t")


def paths_from_table(table_file: str | Path, column: str = "path") -> list[Path]:
    """The files that a table lists, in its order, a file that is listed twice twice.

    Args:
        table_file: ``.csv`` (UTF-8, with commas, semicolons or tabs between the cells), ``.tsv`` or ``.parquet``.
        column: with the paths: absolute, or relative to the table's folder. Blank lines are left out.

    Raises:
        SoundalikeError: it is no such table, has no such column or no rows, or a row has no path.
    """
    table_file = Path(table_file)
    paths = []
    for row, cell in enumerate(_cells(table_file, column), start=1):
        cell = cell.strip() if isinstance(cell, str) else cell
        if not isinstance(cell, str) or not cell:
            said = "is empty" if cell is None or cell == "" or cell != cell else f"holds {cell!r}, which is no path"
            raise SoundalikeError(
                f"{table_file}: the column {column!r} {said} in row {row} below the header; each row needs a path."
            )
        paths.append(table_file.parent / cell)
    if not paths:
        raise SoundalikeError(f"{table_file}: the table has no rows.")
    return paths


def read_embeddings(source: str | Path) -> tuple[list[Path], np.ndarray]:
    """What ``soundalike embed`` wrote.

    Args:
        source: its ``.npz`` or ``.parquet`` file.

    Returns:
        The n files that could be embedded, and their embeddings (n, D), float32.

    Raises:
        SoundalikeError: there is no such file, or it is not one of embeddings or not whole.
    """
    source = Path(source)
    suffix = source.suffix.lower()
    if suffix not in (".npz", ".parquet"):
        raise SoundalikeError(f"{source}: embeddings are read from .npz or .parquet, not {suffix or 'no suffix'!r}.")
    if not source.is_file():
        raise SoundalikeError(f"{source}: no such file; give one that soundalike embed wrote.")
    try:
        paths, vectors = (_npz if suffix == ".npz" else _embeddings_in_parquet)(source)
    except KeyError as error:
        raise SoundalikeError(
            f"{source}: it holds no {error.args[0]!r}; give a file that soundalike embed wrote."
        ) from None
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".")
        raise SoundalikeError(
            f"{source}: not a file of embeddings, or cut short ({reason}); give one that soundalike embed wrote."
        ) from None
    if vectors.ndim != 2 or len(vectors) != len(paths):
        raise SoundalikeError(
            f"{source}: {len(paths)} paths and embeddings of shape {vectors.shape} do not belong together; give a "
            f"file that soundalike embed wrote."
        )
    return [Path(path) for path in paths], vectors.astype(np.float32, copy=False)


def embeddings_frame(source: Embedded | str | Path, name: str | None = None) -> DataFrame:
    """Embeddings as a data frame: a row for each file, a numeric column for each number.

    Labels are joined to it by path: ``labels.join(frame, on="path")``; ``frame.reset_index()`` makes the paths a
    column.

    Args:
        source: what `embed_files` returned, or the ``.npz`` or ``.parquet`` file that ``soundalike embed`` wrote.
        name: of the embedder, where `embed_files` had several.

    Returns:
        Of shape (n, D): the index ``path`` holds strings, the columns ``e0``, ``e1`` and so on float32.

    Raises:
        SoundalikeError: as `read_embeddings`, or there is no such embedder.
    """
    import pandas

    if isinstance(source, Embedded):
        paths, vectors = source.paths, _of(source, name)
    else:
        paths, vectors = read_embeddings(source)
    index = pandas.Index([str(path) for path in paths], name="path")
    return pandas.DataFrame(vectors, index=index, columns=column_names(vectors.shape[1]))


def column_names(size: int) -> list[str]:
    """What the numbers of an embedding are called in a table: ``e0``, ``e1`` and so on."""
    return [f"e{number}" for number in range(size)]


def _of(embedded: Embedded, name: str | None) -> np.ndarray:
    names = list(embedded.vectors)
    if name is None and len(names) == 1:
        name = names[0]
    if name is None:
        raise SoundalikeError(f"there are {len(names)} embedders; name one of them. Known: {', '.join(names)}.")
    if name not in embedded.vectors:
        raise SoundalikeError(f"no embedder is called {name!r}: {nearest(name, names)}")
    return embedded.vectors[name]


def _cells(source: Path, column: str) -> list[Any]:
    """What stands in a column."""
    suffix = source.suffix.lower()
    if suffix not in SUFFIXES:
        raise SoundalikeError(f"{source}: a table of files is .csv, .tsv or .parquet, not {suffix or 'no suffix'!r}.")
    if not source.is_file():
        raise SoundalikeError(f"{source}: no such table.")
    try:
        if suffix == ".parquet":
            table = _parquet(source, [column])
            names = [str(name) for name in table.columns]
            rows = table[column].tolist() if column in names else []
        else:
            names, rows = _text(source, column)
    except UnicodeDecodeError:
        raise SoundalikeError(f"{source}: not UTF-8 text; save the table as CSV in UTF-8.") from None
    except (OSError, ValueError, csv.Error) as error:  # those of pyarrow are ValueErrors
        reason = (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".")
        raise SoundalikeError(f"{source}: not a table that can be read ({reason}).") from None
    if column not in names:
        raise SoundalikeError(f"{source}: the table has no column {column!r}; {nearest(column, names)}")
    return rows


def _text(source: Path, column: str) -> tuple[list[str], list[str]]:
    """The header of a table in a text file, and the cells of a column, of rows that are not blank."""
    text = source.read_text(encoding="utf-8-sig")
    delimiter = _delimiter(text, column)
    table = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    if not table or not any(table[0]):
        raise ValueError("its first line is empty")
    names = [name.strip() for name in table[0]]
    place = names.index(column) if column in names else len(names)
    cells = []
    for number, row in enumerate(table[1:], start=1):
        if any(cell.strip() for cell in row[len(names) :]):
            raise ValueError(
                f"row {number} below the header has {len(row)} cells, and the header {len(names)}: put quotes around "
                f"a cell that has {delimiter!r} in it"
            )
        if any(cell.strip() for cell in row):
            cells.append(row[place] if place < len(row) else "")
    return names, cells


def _delimiter(text: str, column: str) -> str:
    """What stands between the cells: what sets the column apart in the header line, or makes the most cells of it."""
    first = text.split("\n", 1)[0]

    def merit(delimiter: str) -> tuple[bool, int]:
        cells = [cell.strip().strip('"') for cell in first.split(delimiter)]
        return column in cells, len(cells)

    return max(_DELIMITERS, key=merit)


def _parquet(source: Path, columns: list[str]) -> Any:
    """Those of the columns of a parquet file that it has, or all of them where it lacks one."""
    require(f"{source}: reading parquet", "pyarrow")
    import pyarrow.parquet  # type: ignore[import-untyped]

    names = pyarrow.parquet.read_schema(source).names
    wanted = columns if all(column in names for column in columns) else names
    return pyarrow.parquet.ParquetFile(source).read(columns=wanted).to_pandas()


def _npz(source: Path) -> tuple[list[str], np.ndarray]:
    with np.load(source, allow_pickle=False) as file:
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        for name in ("path", "embedding"):
            if name not in file.files:
                raise KeyError(name)
        return file["path"].tolist(), file["embedding"]


def _embeddings_in_parquet(source: Path) -> tuple[list[str], np.ndarray]:
    table = _parquet(source, ["path", "embedding"])
    for name in ("path", "embedding"):
        if name not in table.columns:
            raise KeyError(name)
    vectors = [np.asarray(vector, np.float32) for vector in table["embedding"]]
    return table["path"].tolist(), np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)
