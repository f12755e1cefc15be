"""Selection tables of Raven and label tracks of Audacity, as segments with labels."""

from __future__ import annotations

import csv
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from soundalike.audio.kinds import suffixes
from soundalike.audio.segment import Segment
from soundalike.core.errors import SoundalikeError
from soundalike.data import tables

RAVEN_COLUMNS = ("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)")
_BEGIN, _END, _OFFSET = "begin time (s)", "end time (s)", "file offset (s)"
_SUFFIXES = (".txt", ".tsv", ".csv")
_LABELS = (
    *("label", "annotation", "annotations", "class", "category", "species", "species code", "common name"),
    *("call type", "sound type", "type", "tag", "tags", "code", "event", "name"),
)
"""What the column with labels of a selection table may be called, the first that is there before the others."""
_KNOWN = (
    *("selection", "view", "channel", "begin file", "begin path", "end file", "end path", "begin clock time"),
    *("end clock time", "begin date", "end date", "begin date time", "begin hour", "notes", "comments"),
)
_TRACK = re.compile(r"[0-9.,]+\t[0-9.,]+(\t.*)?")
_FREQUENCIES = "\\"  # begins a line of Audacity with the frequencies of the label before
_GLANCE = 1 << 16  # characters of a first line
_MARKED = re.compile(r"[ _.-]labels?$", re.IGNORECASE)

Listed = tuple[int, Segment, str]
"""Number of the row, where it lies, and its label, which may be empty."""


def is_raven(source: Path) -> bool:
    """Whether a file is a selection table of Raven, by its first line, which has no column of paths as others have."""
    names = {name.strip().lower() for name in _first_line(source).split("\t")}
    return {_BEGIN, _END} <= names and not names & set(tables.ALIASES["path"])


def is_label_file(source: Path) -> bool:
    """Whether a file is a selection table of Raven or a label track of Audacity, by its first line."""
    return is_raven(source) or _is_track(source)


def read(source: Path, labelled: bool = False) -> list[Listed]:
    """The segments of a selection table or a label track.

    Args:
        source: the file, in UTF-8.
        labelled: whether every segment must have a label.

    Raises:
        SoundalikeError: a row cannot be used, or a recording is not told or not found.
    """
    try:
        text = source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SoundalikeError(f"{source}: not UTF-8 text; save it in UTF-8.") from None
    except OSError as error:
        raise SoundalikeError(f"{source}: cannot be read ({error.strerror}).") from None
    listed = _raven(source, text, labelled) if is_raven(source) else _track(source, text)
    if not listed:
        raise SoundalikeError(f"{source}: has no labels; give a file that has some.")
    for number, _, label in listed:
        if labelled and not label:
            raise SoundalikeError(f"{source}: row {number}: the label is empty; fill it, or take the row out.")
    return listed


def recording_of(source: Path) -> Path:
    """The recording beside a label file, by its name: ``owl.wav`` of ``owl.txt`` or ``owl.Table.1.selections.txt``.

    Raises:
        SoundalikeError: there is none, or more than one.
    """
    known = set(suffixes())
    beside = [path for path in sorted(source.parent.iterdir()) if path.suffix.lower() in known and path.is_file()]
    parts = source.name.split(".")
    names = [".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]
    for name in [*names, *(_MARKED.sub("", name) for name in names if _MARKED.search(name))]:
        found = [path for path in beside if name in (path.name, path.stem)]
        if len(found) == 1:
            return found[0]
        if found:
            listed = " and ".join(path.name for path in found)
            raise SoundalikeError(f"{source}: lies beside {listed}, and which of them is labelled is not told.")
    raise SoundalikeError(
        f"{source}: labels of which recording is not told: no sound beside it is called {names[-1]!r}; put the "
        "recording there."
    )


def _first_line(source: Path) -> str:
    if source.suffix.lower() not in _SUFFIXES or not source.is_file():
        return ""
    try:
        with source.open(encoding="utf-8-sig", errors="replace") as stream:
            return stream.readline(_GLANCE).rstrip("\r\n")
    except OSError:
        return ""


def _is_track(source: Path) -> bool:
    return source.suffix.lower() == ".txt" and bool(_TRACK.fullmatch(_first_line(source)))


# Audacity


def _track(source: Path, text: str) -> list[Listed]:
    recording = recording_of(source)
    found: list[Listed] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        cells = line.split("\t")
        values = [_number(cell) for cell in cells[: 3 if cells[0] == _FREQUENCIES else 2]]
        where = f"{source}: row {number}"
        if cells[0] == _FREQUENCIES and found and len(cells) > 2:
            # -1 is what Audacity writes where there is none
            low, high = (None if value is None or value < 0 else value for value in values[1:])
            row, segment, label = found[-1]
            found[-1] = row, Segment(segment.path, segment.start, segment.end, low, high), label
            continue
        if len(values) < 2 or any(value is None or value < 0 for value in values):
            raise SoundalikeError(f"{where}: not start, end and label with tabs between; correct it or take it out.")
        found.append((number, _segment(where, recording, values[0], values[1]), "\t".join(cells[2:]).strip()))
    return found


# Raven


def _raven(source: Path, text: str, labelled: bool) -> list[Listed]:
    """The selections, each once, though Raven lists it for every view and channel.

    Where the table is of several channels, one that is selected in a single channel is heard in that one alone.
    """
    lines = csv.reader(text.splitlines(), delimiter="\t")
    names = [name.strip().lower() for name in next(lines)]
    rows = [
        (number, {name: cell.strip() for name, cell in zip(names, cells, strict=False)})
        for number, cells in enumerate(lines, start=2)
        if any(cell.strip() for cell in cells)
    ]
    column = _label_column(source, names, [cells for _, cells in rows], labelled)
    several = len({_named(cells) for _, cells in rows}) > 1
    if several and _OFFSET not in names:
        raise SoundalikeError(
            f"{source}: selections of several files without the column 'File Offset (s)': from which file's beginning "
            "their times count is not told; add that column in Raven and save the table again."
        )
    beside = recording_of(source) if rows and not all(_named(cells) for _, cells in rows) else None
    channels: dict[tuple[Path, float, float, str], set[int]] = defaultdict(set)
    found: dict[tuple[Path, float, float, str], Listed] = {}
    for number, cells in rows:
        where = f"{source}: row {number}"
        begin, end = (_time(where, name, cells.get(name, "")) for name in (_BEGIN, _END))
        start = _time(where, _OFFSET, cells[_OFFSET]) if cells.get(_OFFSET) else begin
        path = _recording(source, cells) or beside
        assert path is not None
        low, high = (_hertz(cells.get(name, "")) for name in ("low freq (hz)", "high freq (hz)"))
        segment = _segment(where, path, start, start + (end - begin), low, high)
        label = cells.get(column, "") if column else ""
        key = (path, segment.start, segment.end, label)
        if (channel := cells.get("channel", "")).isdecimal() and int(channel) > 0:
            channels[key].add(int(channel))
        if key not in found or found[key][1].low is None:
            found[key] = (found[key][0] if key in found else number, segment, label)
    if not set().union(*channels.values()) - {1}:  # Raven says 1 of recordings with one channel
        return list(found.values())
    return [
        (number, replace(segment, channel=min(channels[key]) if len(channels[key]) == 1 else None), label)
        for key, (number, segment, label) in found.items()
    ]


def _named(cells: Mapping[str, str]) -> str:
    """The recording of a selection as its row says it, without folders."""
    return re.split(r"[\\/]", cells.get("begin path", "") or cells.get("begin file", ""))[-1]


def _recording(source: Path, cells: Mapping[str, str]) -> Path | None:
    """The file of a selection: where its path says, or beside the table, since tables are moved between machines."""
    path, name = cells.get("begin path", ""), cells.get("begin file", "") or _named(cells)
    for listed in (path, name, _named(cells)):
        if listed and tables.located(source, listed).is_file():
            return tables.located(source, listed)
    return source.parent / name if name else None


def _label_column(source: Path, names: Sequence[str], rows: Sequence[Mapping[str, str]], labelled: bool) -> str | None:
    """The column with the labels: by its name, or the only one with text that Raven does not make."""
    for name in _LABELS:
        if name in names:
            return name
    own = [name for name in names if name and name not in _KNOWN and not name.endswith(")")]
    texts = [name for name in own if any(row.get(name) and _number(row[name]) is None for row in rows)]
    if len(texts) == 1:
        return texts[0]
    if labelled:
        which = f"which of the columns {', '.join(map(repr, texts))} holds the labels is not told" if texts else ""
        raise SoundalikeError(
            f"{source}: {which or 'has no column with labels'}; call the one with labels 'Annotation'."
        )
    return None


def _time(where: str, name: str, cell: str) -> float:
    value = _number(cell)
    if value is None or value < 0:
        raise SoundalikeError(f"{where}, column {name!r}: {cell!r} is not a number of seconds; correct it.")
    return value


def _hertz(cell: str) -> float | None:
    value = _number(cell)
    return value if value is not None and value >= 0 else None


def _number(cell: str) -> float | None:
    """A finite number, with a point or a comma."""
    try:
        value = float(cell.replace(",", ".") if re.fullmatch(r"\d+,\d+", cell.strip()) else cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _segment(
    where: str, path: Path, start: float | None, end: float | None, low: float | None = None, high: float | None = None
) -> Segment:
    if start is None or end is None or not end > start:
        raise SoundalikeError(
            f"{where}: from {start:.10g} to {end:.10g} s is no stretch of time; labels need a length, so drag it to a "
            "region or take it out."
        )
    return Segment(path, start, end, low, high)
