"""The file of an index: vectors in 16 bits, what they are of, and the statistics that make them comparable.

It is a ``.safetensors`` file: ``vectors`` (n, D) float16; mean and deviation of them and of reference sounds,
``statistics`` and ``reference`` (2, D) float32; and ``contents``, the bytes of a JSON text, since the header of such a
file is limited in length. In JSON a name that is no valid Unicode is kept by lone surrogates. Its header has a
checksum.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from soundalike.audio.segment import Segment, Sound
from soundalike.core.errors import SoundalikeError
from soundalike.core.files import replacing
from soundalike.model.stored import INCONSISTENT

FORMAT = "soundalike-index-3"
_READ = ("soundalike-index-2", FORMAT)  # the former knows whole files of a folder alone
_AT_ONCE = 8 << 20  # numbers of vectors that are read at a time: 32 MB in 32 bits
_BLOCK = 1 << 24  # bytes that are checked at a time
_MOST_HEADER = 1 << 12  # bytes
_NO_CHECKSUM = "-" * 8  # what stands in the header until everything is written
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Entry:
    """A sound of the index.

    Attributes:
        name: path of its file within the folder.
        size: of its file, in bytes.
        modified: when its file was changed, in nanoseconds.
        digest: of its file's contents.
        start: where it begins in its file, in seconds; None of a whole file.
        end: where it ends.
    """

    name: str
    size: int
    modified: int
    digest: str
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Broken:
    """A file, or a segment of one, that could not be embedded.

    Attributes:
        name: path of the file within the folder.
        size: of the file, in bytes.
        modified: when it was changed, in nanoseconds; -1 where it could not even be read, so that it is tried again.
        reason: what was wrong with it.
        start: where the segment begins, in seconds; None of a whole file.
        end: where it ends.
    """

    name: str
    size: int
    modified: int
    reason: str
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Maker:
    """The model that made an index.

    Attributes:
        model: name of a model that ships with the package, or path of another.
        fingerprint: of its weights and of how it is read out.
    """

    model: str
    fingerprint: str


@dataclass(frozen=True)
class Settings:
    """What an index is of.

    Attributes:
        table: path of the table that lists its sounds; empty where they are those of a folder.
        every: seconds from one moment of a recording to the next; None where recordings are embedded as a whole.
        window: seconds that are heard around each moment.
        speed: how many times as slow as they are the sounds are heard.
    """

    table: str = ""
    every: float | None = None
    window: float | None = None
    speed: float = 1.0


def sound_of(folder: Path | None, entry: Entry | Broken) -> Sound:
    """The file or the segment that an entry stands for, its name alone where there is no folder."""
    path = Path(entry.name) if folder is None else folder / entry.name
    return path if entry.start is None or entry.end is None else Segment(path, entry.start, entry.end)


class Store:
    """An index's file, open for reading. Vectors are read in pieces, so that memory does not grow with the index.

    Args:
        path: the file.
        checked: whether its checksum has been compared before.

    Raises:
        SoundalikeError: there is none, it is no index, it is damaged, or it holds what no index does.
    """

    def __init__(self, path: str | Path, checked: bool = False) -> None:
        from safetensors import SafetensorError, safe_open

        self.path = Path(path)
        if self.path.is_dir():
            raise SoundalikeError(f"{path}: is a folder, not an index; give the file that soundalike index wrote.")
        if not self.path.is_file():
            raise SoundalikeError(f"{path}: no such index; make one with soundalike index FOLDER --out {path}.")
        try:
            with safe_open(self.path, "np") as file:
                header = file.metadata() or {}
                if not header.get("format", "").startswith("soundalike-index-"):
                    raise SoundalikeError(f"{path}: not an index; give the file that soundalike index wrote.")
                if header["format"] == "soundalike-index-1":
                    raise SoundalikeError(f"{path}: of an earlier version, without a checksum; index the folder anew.")
                if header["format"] not in _READ:
                    raise SoundalikeError(
                        f"{path}: of format {header['format']}, which this version does not know; update soundalike."
                    )
                vectors = file.get_slice("vectors")
                shape, kind = vectors.get_shape(), vectors.get_dtype()
                contents = json.loads(file.get_tensor("contents").tobytes())
                self.statistics: np.ndarray = file.get_tensor("statistics")
                self.reference: np.ndarray = file.get_tensor("reference")
            if not checked and _checksum(self.path, header["checksum"]) != header["checksum"]:
                raise SoundalikeError(f"{path}: damaged, since its checksum is another; index the folder anew.")
            self.folder = Path(contents["folder"])
            self.maker = Maker(**contents["maker"])
            self.settings = Settings(**contents.get("settings", {}))
            self.entries = [Entry(*row) for row in contents["entries"]]
            self.broken = [Broken(*row) for row in contents["broken"]]
            self._check(shape, kind)
            if not checked:
                self._check_vectors()
        except SoundalikeError:
            raise
        except (SafetensorError, OSError, *INCONSISTENT):
            raise SoundalikeError(
                f"{path}: not an index, or cut short; give the file that soundalike index wrote."
            ) from None

    def _check(self, shape: list[int], kind: str) -> None:
        """Makes sure that everything is of the kind that it is to be, and that the parts fit together."""
        for part in (self.statistics, self.reference):
            if part.dtype != np.float32 or part.ndim != 2 or len(part) != 2 or not np.isfinite(part).all():
                raise ValueError("its statistics are none")
        if kind != "F16" or shape != [len(self.entries), self.size] or self.statistics.shape != (2, self.size):
            raise ValueError("its parts do not fit together")
        if not isinstance(self.maker.model, str) or not isinstance(self.maker.fingerprint, str):
            raise ValueError("its model is none")
        settings = self.settings
        if not isinstance(settings.table, str) or (settings.every is None) != (settings.window is None):
            raise ValueError("its settings are none")
        _check_times(settings.every, settings.window, settings.speed)
        rows = [(each.name, each.size, each.modified, each.digest, each.start, each.end) for each in self.entries]
        rows += [(each.name, each.size, each.modified, each.reason, each.start, each.end) for each in self.broken]
        for name, size, modified, text, start, end in rows:
            if not isinstance(name, str) or not isinstance(text, str):
                raise ValueError("a name is none")
            if type(size) is not int or type(modified) is not int:
                raise ValueError("the size or the time of a file is none")
            # what is in the folder and nothing else, whoever made the index
            if os.path.isabs(name) or ".." in name.split("/") or "\0" in name:
                raise ValueError("a name leads out of the folder")
            _check_times(start, end)
            if (start is None) != (end is None) or (start is not None and end is not None and not end > start):
                raise ValueError("a segment is none")

    def _check_vectors(self) -> None:
        for _, piece in self.pieces():
            # by their bits, which takes a fifth of the time: what is not finite has all of the exponent's set
            if ((piece.view(np.uint16) & 0x7C00) == 0x7C00).any():
                raise SoundalikeError(f"{self.path}: holds embeddings that are not finite; index the folder anew.")

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def place(self) -> Path | None:
        """The folder of the sounds, for `sound_of`; None where it is no longer there."""
        return self.folder if self.folder.is_dir() else None

    @property
    def size(self) -> int:
        """Length of a vector."""
        return self.reference.shape[1]

    def pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """Where a piece of the vectors begins, and the piece (k, D), float16, until all have been read."""
        from safetensors import safe_open

        step = max(1, _AT_ONCE // max(1, self.size))
        with safe_open(self.path, "np") as file:
            vectors = file.get_slice("vectors")
            for start in range(0, len(self), step):
                yield start, vectors[start : min(start + step, len(self))]

    def vector(self, row: int) -> np.ndarray:
        """One vector, (D,), float16."""
        from safetensors import safe_open

        with safe_open(self.path, "np") as file:
            vector: np.ndarray = file.get_slice("vectors")[row : row + 1][0]
        return vector


def _check_times(*values: object) -> None:
    for value in values:
        if value is not None and not (type(value) in (int, float) and 0 <= value < float("inf")):  # type: ignore[operator]
            raise ValueError("a time is none")


def _checksum(path: Path, said: str = _NO_CHECKSUM) -> str:
    """Of all that is in a file but for the checksum itself, as its header has it.

    Args:
        path: of the file.
        said: what stands in the place of the checksum.
    """
    with path.open("rb") as stream:
        length = stream.read(8)
        header = stream.read(min(int.from_bytes(length, "little"), _MOST_HEADER))
        total = zlib.crc32(length + header.replace(said.encode(), _NO_CHECKSUM.encode(), 1))
        while block := stream.read(_BLOCK):
            total = zlib.crc32(block, total)
    return f"{total:08x}"


def stored(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, D) as an index holds them: in 16 bits, what is beyond them cut off."""
    return np.clip(vectors, -_LARGEST, _LARGEST).astype("<f2")


def write(
    path: Path,
    folder: Path,
    maker: Maker,
    broken: Iterable[Broken],
    entries: Sequence[Entry],
    pieces: Iterable[np.ndarray],
    reference: np.ndarray,
    settings: Settings = Settings(),
) -> None:
    """Writes an index, whole or not at all.

    Args:
        path: its file, in a folder that exists.
        folder: what was indexed.
        maker: the model.
        broken: files that could not be embedded.
        entries: the n sounds.
        pieces: their vectors in order, some at a time, (k, D).
        reference: mean and deviation of reference sounds, (2, D).
        settings: what the index is of.

    Raises:
        SoundalikeError: it cannot be written.
    """
    contents = {
        "folder": str(folder),
        "maker": asdict(maker),
        "settings": asdict(settings),
        "entries": [astuple(entry) for entry in entries],
        "broken": [astuple(each) for each in broken],
    }
    text = json.dumps(contents, separators=(",", ":")).encode("ascii")
    size = reference.shape[1]
    with replacing(path, "the index") as partial, partial.open("w+b") as stream:
        _write_header(stream, len(entries), size, len(text))
        statistics = _write_vectors(stream, pieces, len(entries), size)
        stream.write(statistics.astype("<f4").tobytes())
        stream.write(reference.astype("<f4").tobytes())
        stream.write(text)
        stream.flush()
        checksum = _checksum(partial).encode()
        stream.seek(0)
        place = stream.read(_MOST_HEADER).index(b'"checksum":"' + _NO_CHECKSUM.encode()) + len(b'"checksum":"')
        stream.seek(place)
        stream.write(checksum)


def _write_header(stream: IO[bytes], count: int, size: int, text: int) -> None:
    """What stands before the tensors of a ``.safetensors`` file: written here, since they do not fit into memory."""
    header: dict[str, Any] = {"__metadata__": {"format": FORMAT, "checksum": _NO_CHECKSUM}}
    start = 0
    for name, kind, shape, length in (
        ("vectors", "F16", [count, size], 2 * count * size),
        ("statistics", "F32", [2, size], 8 * size),
        ("reference", "F32", [2, size], 8 * size),
        ("contents", "U8", [text], text),
    ):
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, start + length]}
        start += length
    said = json.dumps(header, separators=(",", ":")).encode()
    said += b" " * (-len(said) % 8)
    stream.write(len(said).to_bytes(8, "little") + said)


def _write_vectors(stream: IO[bytes], pieces: Iterable[np.ndarray], count: int, size: int) -> np.ndarray:
    """Writes vectors, and gives their mean and deviation, (2, size)."""
    written, mean, square = 0, np.zeros(size), np.zeros(size)
    for piece in pieces:
        if not len(piece):
            continue
        rounded = stored(piece)
        stream.write(rounded.tobytes())
        # merged piece by piece (Chan et al. 1979), since a sum of squares cancels where numbers lie far from zero
        exact = rounded.astype(np.float32)
        own = exact.mean(0, dtype=np.float64)
        apart, total = own - mean, written + len(exact)
        square += np.square(exact - own.astype(np.float32)).sum(0, dtype=np.float64)
        square += apart**2 * (written * len(exact) / total)
        mean += apart * (len(exact) / total)
        written = total
    if written != count:
        raise ValueError(f"{written} vectors for {count} entries")
    return np.stack((mean, np.sqrt(square / max(1, count))))
