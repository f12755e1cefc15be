"""Labels that people give to sounds, in a CSV file that every command reads; each is on the disk at once."""

from __future__ import annotations

import csv
import io
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from soundalike.audio.segment import Segment, Sound, file_of, span_of
from soundalike.core.errors import SoundalikeError
from soundalike.core.files import FULL, check_file, write_whole
from soundalike.data.segments import read_rows
from soundalike.data.tables import names_in

COLUMNS = ("path", "start", "end", "label", "when", "by")
NONE = "none"
"""The label of a sound that is none of the classes: a class of its own, which `teach` learns as any other."""
LONGEST = 100
"""Letters of a label."""


@dataclass(frozen=True)
class Change:
    """What is to become of a sound's label.

    Attributes:
        sound: which, as `identified` gives it.
        label: the new one; None takes the label away.
        before: the label that the sound is taken to have; where it has another one by now, nothing is changed.
    """

    sound: Sound
    label: str | None
    before: str | None


@dataclass(frozen=True)
class _Row:
    sound: Sound
    label: str
    cells: list[str]


def identified(sound: Sound) -> Sound:
    """A sound as it is told from all others: absolute, with times as a table has them, of four decimals."""
    path = Path(os.path.abspath(file_of(sound)))
    return Segment(path, round(sound.start, 4), round(sound.end, 4)) if isinstance(sound, Segment) else path


def tidied(label: str) -> str:
    """A label on one line, without blanks around it.

    Raises:
        SoundalikeError: nothing is left of it, or it is too long.
    """
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in label).split())
    if not plain:
        raise SoundalikeError("the label is empty; give the class a name.")
    if len(plain) > LONGEST:
        raise SoundalikeError(f"the label has {len(plain)} letters; give the class a name of at most {LONGEST}.")
    return plain


class LabelFile:
    """The labels of sounds in a CSV file, of which each sound has one.

    A new label is one row at the end, synchronised before the call returns: whatever kills the process loses none. A
    label that is changed or taken away writes the file anew, whole or not at all. A lock beside the file and a look
    at its state before every call make it safe for several processes, and for an editor beside them.

    Args:
        path: the file, ``.csv``; one that is there keeps its rows and its other columns.

    Raises:
        SoundalikeError: the file cannot be written, or is there and no such table.
    """

    def __init__(self, path: str | Path) -> None:
        from filelock import FileLock

        self.path = Path(os.path.abspath(path))
        if self.path.suffix.lower() != ".csv":
            raise SoundalikeError(f"{path}: labels are a table; give a name that ends in .csv.")
        check_file(self.path, "labels.csv", make=True)
        self._lock = FileLock(self.path.with_name(f".{self.path.name}.lock"), thread_local=False)
        self._one = threading.RLock()
        self._state: tuple[int, ...] | None = (-1,)
        self._columns: list[str] = list(COLUMNS)
        self._rows: dict[Sound, _Row] = {}
        self.read()

    def read(self) -> dict[Sound, str]:
        """The label of each sound, in the order of the rows.

        Raises:
            SoundalikeError: the file is no table of labels any more.
        """
        with self._alone():
            return {row.sound: row.label for row in self._rows.values()}

    def change(self, changes: Sequence[Change], by: str) -> list[Change]:
        """Gives, changes and takes away labels, all of them on the disk when it returns.

        Args:
            changes: at most one for each sound; labels as `tidied` gives them.
            by: who.

        Returns:
            The changes that were not made, because the sound had another label by then.

        Raises:
            SoundalikeError: the file cannot be written, or is no table of labels any more.
        """
        with self._alone():
            refused = [change for change in changes if self._label(change.sound) != change.before]
            made = [change for change in changes if change not in refused and change.label != change.before]
            if not made:
                return refused
            when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            new = [self._row(change.sound, change.label, when, by) for change in made if change.label is not None]
            gone = {change.sound for change in made if change.before is not None}
            rows = {sound: row for sound, row in self._rows.items() if sound not in gone}
            rows |= {row.sound: row for row in new}
            if gone or self._state is None:
                write_whole(self.path, _text([self._columns, *(row.cells for row in rows.values())]), "the labels")
            else:
                self._append(new)
            self._rows, self._state = rows, _state(self.path)
            return refused

    def _label(self, sound: Sound) -> str | None:
        row = self._rows.get(sound)
        return None if row is None else row.label

    def _row(self, sound: Sound, label: str, when: str, by: str) -> _Row:
        start, end = ("" if time is None else f"{time:.4f}".rstrip("0").rstrip(".") for time in span_of(sound))
        values = dict(zip(COLUMNS, (self._name(file_of(sound)), start, end, label, when, by), strict=True))
        return _Row(sound, label, [values.get(name, "") for name in self._columns])

    def _name(self, file: Path) -> str:
        """What a file is called: relative to the table, where it lies below it."""
        try:
            name = file.relative_to(self.path.parent).as_posix()
        except ValueError:
            return str(file)
        return name if name == name.strip() else f"./{name}"  # readers of tables take blanks off a cell

    def _append(self, rows: Sequence[_Row]) -> None:
        content = _text([row.cells for row in rows]).encode("utf-8", "backslashreplace")
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND)
            try:
                size = os.fstat(handle).st_size
                os.lseek(handle, -1, os.SEEK_END)
                if os.read(handle, 1) != b"\n":  # an editor's last line
                    content = b"\n" + content
                try:
                    if os.write(handle, content) != len(content):
                        raise OSError(FULL[0], os.strerror(FULL[0]))
                except OSError:
                    os.ftruncate(handle, size)
                    raise
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise SoundalikeError(
                f"{self.path}: the label cannot be written there ({error.strerror}); make room there."
            ) from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process or thread at the file, whose rows are those on the disk."""
        with self._one, self._lock:
            state = _state(self.path)
            if state != self._state:
                self._rows = self._load() if state is not None else {}
                self._state = state
            yield

    def _load(self) -> dict[Sound, _Row]:
        names = names_in(self.path)
        if not {"path", "label"} <= set(names):
            raise SoundalikeError(
                f"{self.path}: not a table of labels, which has the columns {', '.join(COLUMNS)} with commas between; "
                "give another place for the labels."
            )
        with self.path.open(encoding="utf-8-sig", newline="") as stream:
            records = list(csv.reader(stream))
        header = [name.strip() for name in records[0]]
        added = [name for name in COLUMNS if name not in header]
        if header != names:
            raise SoundalikeError(
                f"{self.path}: has no commas between its columns; give another place for the labels."
            )
        found: dict[Sound, _Row] = {}
        if any(any(cell.strip() for cell in record) for record in records[1:]):
            for row in read_rows(self.path, ("label",), ("label",)):
                sound, record = identified(row.sound), records[row.number - 1]
                cells = record[: len(header)] + [""] * (len(header) - len(record) + len(added))
                found.pop(sound, None)
                found[sound] = _Row(sound, row.cells["label"], cells)
        self._columns = header + added
        if added:
            write_whole(self.path, _text([self._columns, *(row.cells for row in found.values())]), "the labels")
        return found


def counts(labels: Mapping[Sound, str]) -> dict[str, int]:
    """How many sounds have each label, in the order in which labels come first."""
    found: dict[str, int] = {}
    for label in labels.values():
        found[label] = found.get(label, 0) + 1
    return found


def _state(path: Path) -> tuple[int, ...] | None:
    """What tells whether a file was changed; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _text(rows: Sequence[Sequence[str]]) -> str:
    stream = io.StringIO()
    for row in rows:
        # the module csv ends a row at a carriage return that is not in quotes, but writes it without
        if any("\r" in cell for cell in row):
            csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(row)
        else:
            csv.writer(stream, lineterminator="\n").writerow(row)
    return stream.getvalue()
