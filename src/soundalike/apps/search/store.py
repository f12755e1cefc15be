"""The file of an index: vectors in 16 bits, what they are of, and the statistics that make them comparable.

It is a ``.safetensors`` file: ``vectors`` (n, D) float16; mean and deviation of them and of reference sounds,
``statistics`` and ``reference`` (2, D) float32; and ``contents``, the bytes of a JSON text, since the header of such a
file is limited in length. In JSON a name that is no valid Unicode is kept by lone surrogates.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from soundalike.core.errors import SoundalikeError
from soundalike.core.files import replacing

FORMAT = "soundalike-index-1"
_AT_ONCE = 8 << 20  # numbers of vectors that are read at a time: 32 MB in 32 bits
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Entry:
    """A sound of the index.

    Attributes:
        name: its path within the folder.
        size: of its file, in bytes.
        modified: when its file was changed, in nanoseconds.
        digest: of its file's contents.
    """

    name: str
    size: int
    modified: int
    digest: str


@dataclass(frozen=True)
class Broken:
    """A file that could not be embedded.

    Attributes:
        name: its path within the folder.
        size: of the file, in bytes.
        modified: when it was changed, in nanoseconds; -1 where it could not even be read, so that it is tried again.
        reason: what was wrong with it.
    """

    name: str
    size: int
    modified: int
    reason: str


@dataclass(frozen=True)
class Maker:
    """The model that made an index.

    Attributes:
        model: name of a model that ships with the package, or path of another.
        fingerprint: of its weights and of how it is read out.
    """

    model: str
    fingerprint: str


class Store:
    """An index's file, open for reading. Vectors are read in pieces, so that memory does not grow with the index.

    Args:
        path: the file.

    Raises:
        SoundalikeError: there is none, it is no index, or it is not whole.
    """

    def __init__(self, path: str | Path) -> None:
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
                if header["format"] != FORMAT:
                    raise SoundalikeError(
                        f"{path}: of format {header['format']}, which this version does not know; update soundalike."
                    )
                contents = json.loads(file.get_tensor("contents").tobytes())
                self.statistics: np.ndarray = file.get_tensor("statistics")
                self.reference: np.ndarray = file.get_tensor("reference")
                shape = file.get_slice("vectors").get_shape()
            self.folder = Path(contents["folder"])
            self.maker = Maker(**contents["maker"])
            self.entries = [Entry(*row) for row in contents["entries"]]
            self.broken = [Broken(*row) for row in contents["broken"]]
            if shape != [len(self.entries), self.size] or self.statistics.shape != (2, self.size):
                raise ValueError("its parts do not fit together")
        except SoundalikeError:
            raise
        except (SafetensorError, OSError, ValueError, LookupError, TypeError):
            raise SoundalikeError(
                f"{path}: not an index, or cut short; give the file that soundalike index wrote."
            ) from None

    def __len__(self) -> int:
        return len(self.entries)

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

    Raises:
        SoundalikeError: it cannot be written.
    """
    contents = {
        "folder": str(folder),
        "maker": asdict(maker),
        "entries": [astuple(entry) for entry in entries],
        "broken": [astuple(each) for each in broken],
    }
    text = json.dumps(contents, separators=(",", ":")).encode("ascii")
    size = reference.shape[1]
    with replacing(path, "the index") as partial, partial.open("wb") as stream:
        _write_header(stream, len(entries), size, len(text))
        statistics = _write_vectors(stream, pieces, len(entries), size)
        stream.write(statistics.astype("<f4").tobytes())
        stream.write(reference.astype("<f4").tobytes())
        stream.write(text)


def _write_header(stream: IO[bytes], count: int, size: int, text: int) -> None:
    """What stands before the tensors of a ``.safetensors`` file: written here, since they do not fit into memory."""
    header: dict[str, Any] = {"__metadata__": {"format": FORMAT}}
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
