"""The one reader of sounds with a place in time: tables with start and end, Raven tables, Audacity label tracks.

A row is a whole file where a table says nothing of times, else a segment of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.audio.segment import Segment, Sound
from soundalike.core.errors import SoundalikeError
from soundalike.data import label_files, tables
from soundalike.data.label_files import is_label_file

_START = (
    *("start", "begin", "onset", "starttime", "begintime", "onsettime", "timestart", "tstart", "tmin"),
    *("eventstart", "eventonset", "segmentstart", "startoffset"),
)
_END = (
    *("end", "stop", "offset", "endtime", "stoptime", "offsettime", "timeend", "tend", "tmax"),
    *("eventend", "eventoffset", "segmentend", "endoffset"),
)
_DURATION = ("duration", "length", "dur", "eventduration", "segmentduration")
_LOW = ("low", "lowfreq", "lowfrequency", "freqlow", "flow", "fmin", "minfreq", "minfrequency", "freqmin")
_HIGH = ("high", "highfreq", "highfrequency", "freqhigh", "fhigh", "fmax", "maxfreq", "maxfrequency", "freqmax")
_UNIT = re.compile(r"[\s_-]*[(\[](s|sec|secs|seconds?|hz)[)\]]$|(?<=\w)[\s_-]+(in[\s_]+)?(s|sec|secs|seconds?|hz)$")
_WORDS = {"start", "starts", "begin", "begins", "onset", "onsets", "end", "ends", "stop", "offset", "offsets"}
_WORDS |= {"tmin", "tmax", "time", "times", "timestamp", "from", "to", "since", "until"}
_TIME = re.compile(r"\d+(:\d+){0,2}([.,]\d*)?")  # in whatever unit


@dataclass(frozen=True)
class Row:
    """A sound that a table lists.

    Attributes:
        number: of the row in the file, counted as a spreadsheet or an editor does.
        sound: file, or a segment of it.
        cells: name of a column that was asked for -> its text, empty where there is none.
    """

    number: int
    sound: Sound
    cells: Mapping[str, str]


@dataclass(frozen=True)
class _Columns:
    """The names of the columns of a table that say where a segment lies, None where there is none."""

    start: str
    end: str
    is_duration: bool  # of the column ``end``
    low: str | None
    high: str | None


def read_rows(
    source: str | Path,
    columns: Sequence[str] = (),
    required: Sequence[str] = (),
    path_column: str | None = None,
) -> list[Row]:
    """The sounds that a table lists, in its order.

    Args:
        source: a table as `tables.read_table` takes it, in which columns such as ``start`` and ``end`` (or
            ``duration``) in seconds make a row a segment; a selection table of Raven; or a label track of Audacity
            that lies beside its recording.
        columns: the other columns to read, by their first name in `tables.ALIASES`.
        required: those of them that must be there, with no cell empty.
        path_column: the name of the column with the paths, where it is none of the aliases of ``path``.

    Raises:
        SoundalikeError: as `tables.read_table`; or a column looks like times and its unit or meaning is not known, a
            time is no number of seconds, or a segment does not end after it begins.
    """
    source = Path(source)
    if is_label_file(source):
        listed = label_files.read(source, "label" in required)
        none = dict.fromkeys(columns, "")
        return [
            Row(number, sound, none | ({"label": label} if "label" in none else {})) for number, sound, label in listed
        ]
    found = _find_columns(source)
    table = tables.read_table(source, ("path", *columns, *_names(found)), ("path", *required), path_column)
    sounds = _sounds(table, table.paths, found)
    return [
        Row(number, sound, {column: cells.get(column) or "" for column in columns})
        for number, sound, cells in zip(table.numbers, sounds, table.rows(), strict=True)
    ]


def read_sounds(source: str | Path, path_column: str | None = None) -> list[Sound]:
    """The files and segments that a table lists, in its order, one that is listed twice twice.

    Args:
        source: as `read_rows` takes it.
        path_column: the name of the column with the paths, where it is none of the aliases of ``path``.

    Raises:
        SoundalikeError: as `read_rows`.
    """
    return [row.sound for row in read_rows(source, path_column=path_column)]


def read_embeddings(source: str | Path) -> tuple[list[Sound], np.ndarray]:
    """What ``soundalike embed`` wrote.

    Args:
        source: its table.

    Returns:
        The n files or segments that could be embedded, and their embeddings (n, D), float32.

    Raises:
        SoundalikeError: as `read_rows`.
    """
    source = Path(source)
    found = _find_columns(source)
    times = _names(found)
    table = tables.read_table(source, ("path", *times, "embedding"), ("path", "embedding"), empty=True)
    paths = [Path(path) for path in table.columns["path"]]
    return _sounds(table, paths, found), table.columns["embedding"]


def is_listing(place: Path) -> bool:
    """Whether a path is that of a table or a label track, and not of a sound or a folder."""
    return tables.is_table(place) or is_label_file(place)


def label_files_in(folder: Path) -> list[Path]:
    """The label tracks of Audacity and the selection tables of Raven directly in a folder, sorted."""
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if path.name[0] != "." and is_label_file(path)]


def seconds_in(text: str) -> float | None:
    """A number of seconds, 0 or more, with a point or a comma; None where it is none."""
    try:
        value = float(text.replace(",", ".") if re.fullmatch(r"\d+,\d+", text) else text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


# columns


def _find_columns(source: Path) -> _Columns | None:
    """The columns with times; None where a table has none."""
    names = tables.names_in(source)
    start, end, duration = (_one(source, names, known) for known in (_START, _END, _DURATION))
    low, high = (_one(source, names, known) for known in (_LOW, _HIGH))
    if start is None and end is not None and duration is not None and _plain(end) == "offset":
        start, end = end, None  # an offset with a duration is where a segment begins
    if start is not None and (end is not None or duration is not None):
        return _Columns(start, end or duration or "", end is None, low, high)
    for name in names:
        words = set(re.findall("[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()))
        if not words & _WORDS or not _holds_times(source, name):
            continue
        advice = "give start and end in seconds, in columns of these names, or take the column out"
        if name == start:
            raise SoundalikeError(f"{source}: has a column {name!r} and none for the end; {advice}.")
        if name == end:
            raise SoundalikeError(f"{source}: has a column {name!r} and none for the start; {advice}.")
        raise SoundalikeError(f"{source}: column {name!r} looks like times, and which is not known; {advice}.")
    return None


def _plain(name: str) -> str:
    """The name of a column in small letters, without its unit and what stands between words."""
    return re.sub("[^a-z]", "", _UNIT.sub("", name.strip().lower()))


def _one(source: Path, names: Sequence[str], known: Sequence[str]) -> str | None:
    found = [name for name in names if _plain(name) in known and not re.search(r"\d", name)]
    if len(found) > 1:
        which = " and ".join(map(repr, found))
        raise SoundalikeError(f"{source}: columns {which} may mean the same; keep one of them.")
    return found[0] if found else None


def _names(found: _Columns | None) -> list[str]:
    """The columns to read, those of times and frequencies."""
    return [] if found is None else [name for name in (found.start, found.end, found.low, found.high) if name]


def _sounds(table: tables.Table, paths: Sequence[Path], found: _Columns | None) -> list[Sound]:
    """What each row of a table is, given its file."""
    if found is None:
        return list(paths)
    cells = zip(*(table.columns[name] for name in _names(found)), strict=True)
    rows = [dict(zip(_names(found), row, strict=True)) for row in cells]
    return [
        _segment(table.source, number, path, found, row)
        for number, path, row in zip(table.numbers, paths, rows, strict=True)
    ]


def _holds_times(source: Path, name: str) -> bool:
    """Whether all cells of a column are numbers or clock times, and there is one."""
    cells = tables.read_table(source, (name,), (), empty=True).columns[name]
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(_TIME.fullmatch(cell) or seconds_in(cell) is not None for cell in filled)


def _segment(source: Path, number: int, path: Path, found: _Columns, cells: Mapping[str, Any]) -> Sound:
    where = f"{source}: row {number}"
    if not cells[found.start] and not cells[found.end]:
        return path  # soundalike embed writes so of a whole file among segments
    values = []
    for name in (found.start, found.end):
        value = seconds_in(cells[name])
        if value is None:
            what = f"{cells[name]!r} is not a number of seconds" if cells[name] else "the cell is empty"
            raise SoundalikeError(f"{where}, column {name!r}: {what}; give 0 or more, such as 12.5.")
        values.append(value)
    start, end = values[0], values[0] + values[1] if found.is_duration else values[1]
    low, high = (None if name is None else _hertz(where, name, cells[name]) for name in (found.low, found.high))
    return checked(where, path, start, end, low, high)


def _hertz(where: str, name: str, cell: str) -> float | None:
    value = seconds_in(cell) if cell else None
    if cell and value is None:
        raise SoundalikeError(f"{where}, column {name!r}: {cell!r} is not a frequency in Hz; correct it.")
    return value


def checked(
    where: str, path: Path, start: float, end: float, low: float | None = None, high: float | None = None
) -> Segment:
    """A segment that has a length.

    Raises:
        SoundalikeError: it does not end after it begins.
    """
    if not end > start:
        raise SoundalikeError(
            f"{where}: from {start:.10g} to {end:.10g} s is no stretch of time; the end must lie after the start."
        )
    return Segment(path, start, end, low, high)
