"""An archive becomes a folder, whole or not at all, and nothing of it ends up anywhere else.

Every member is looked at before the first one is written, and again when it is. Only plain files and folders with
names inside the folder are taken; what else an archive can hold (links, devices, permissions, owners) no data set
needs. Writing files is done here and not by ``extractall``, so that a member decides nothing but its name and bytes.
"""

from __future__ import annotations

import gzip
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from soundalike.core.errors import SoundalikeError

_BLOCK = 1 << 20
_MOST_HEADER = 1 << 20  # of a name or an extended header in a tar, which tarfile reads into memory
_MOST_TAIL = 1 << 26  # of zeros after the last member
_MOST_LEVELS, _MOST_NAME, _MOST_PATH = 64, 240, 1000  # folders in each other; bytes of a name, and of all of them
_DRIVE = re.compile("[A-Za-z]:")
# control characters, those that turn the direction of writing, and what Windows takes in no name
_UNUSABLE = re.compile('[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\\\\<>:"|?*]')
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])[ ]*(\..*)?", re.IGNORECASE | re.DOTALL)
MARKER = ".soundalike.json"
"""A file in every folder that was downloaded and unpacked: what it is, from where, and its archive's SHA-256."""


class ArchiveError(SoundalikeError):
    """An archive that is damaged, or that holds what it must not."""


class _UnwritableError(Exception):
    """What is unpacked cannot be written: no fault of the archive, which the same error would be while it is read."""


@dataclass(frozen=True)
class _Member:
    name: str
    kind: str  # "file", "folder", or what else it is, in words
    size: int
    open: Callable[[], IO[bytes]]


@dataclass
class _Inspector:
    """Looks at one member after the other, and refuses what may not be unpacked."""

    archive: Path
    most_bytes: int
    most_members: int
    total: int = 0
    members: int = 0
    files: set[tuple[str, ...]] = field(default_factory=set)
    folders: set[tuple[str, ...]] = field(default_factory=set)
    spelled: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)

    def place(self, member: _Member) -> tuple[str, ...]:
        """Where the member goes, as parts below the folder; none for the folder itself."""
        name = member.name
        shown = repr(name if len(name) < 200 else name[:200] + "…")
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if name.startswith("/") or _DRIVE.match(name):
            self.refuse(f"{shown} is an absolute path")
        if ".." in parts:
            self.refuse(f"{shown} leads out of the folder")
        if len(parts) > _MOST_LEVELS:
            self.refuse(f"{shown} lies {len(parts)} folders deep, and at most {_MOST_LEVELS} are taken")
        lengths = [len(part.encode("utf-8", "surrogatepass")) for part in parts]
        if max(lengths, default=0) > _MOST_NAME or sum(lengths) > _MOST_PATH:
            self.refuse(f"{shown} is too long for a name")
        if _UNUSABLE.search(name) or any(part[-1] in ". " or _DEVICES.fullmatch(part) for part in parts):
            self.refuse(f"{shown} is no name for a file on every system")
        if any(part.casefold() == MARKER for part in parts):
            self.refuse(f"{shown} has the name of the file in which soundalike notes where a folder is from")
        if member.kind not in ("file", "folder"):
            self.refuse(f"{shown} is {member.kind}")
        if member.kind == "file" and not parts:
            self.refuse(f"{shown} is a file without a name")
        self.members += 1
        self.total += member.size
        if member.size < 0 or self.total > self.most_bytes or self.members > self.most_members:
            self.refuse("it would unpack to far more than the data set holds")
        self._enter(member.kind, parts, shown)
        return parts

    def _enter(self, kind: str, parts: tuple[str, ...], shown: str) -> None:
        above = [parts[:depth] for depth in range(1, len(parts))]
        for place in (*above, parts):
            # where letters that differ in case or in how accents are put together are the same, one would overwrite
            # the other
            other = self.spelled.setdefault(tuple(map(_folded, place)), place)
            if other != place:
                self.refuse(f"{shown} differs from {'/'.join(other)!r} in case or in the composition of letters alone")
        if kind == "file":
            if parts in self.files or parts in self.folders:
                self.refuse(f"{shown} is in it twice")
            self.files.add(parts)
        else:
            above.append(parts)
        if any(folder in self.files for folder in above):
            self.refuse(f"{shown} lies in what is a file")
        self.folders.update(above)

    def refuse(self, why: str) -> None:
        raise ArchiveError(f"{self.archive}: not unpacked, since {why}.")


def _folded(name: str) -> str:
    """What a name is on file systems that tell neither capitals nor the composition of letters apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def unpack(
    archive: Path,
    folder: Path,
    most_bytes: int,
    most_members: int = 1_000_000,
    start: Callable[[str, int], None] = lambda step, total: None,
    show: Callable[[int], None] = lambda done: None,
) -> int:
    """Unpacks a zip or tar.gz archive, which one is told by its first bytes.

    Args:
        archive: the archive.
        folder: the folder to make. It must not exist; where anything goes wrong it does not exist afterwards either.
        most_bytes: more than that, by what the members say of themselves, is refused.
        most_members: more files and folders than that are refused.
        start: told when a step begins: its name, and the bytes of the archive that it goes through.
        show: told how many of them are done.

    Returns:
        How many files were written.

    Raises:
        ArchiveError: it is neither, damaged or not whole, encrypted, compressed in an unusual way, or has a member
            that may not be unpacked.
        SoundalikeError: the folder exists, or cannot be written to.
    """
    walk = _walker(archive)
    with _damage_named(archive):
        start("checking", archive.stat().st_size)
        first = _Inspector(archive, most_bytes, most_members)
        for member in walk(archive, show):
            first.place(member)
    try:
        folder.mkdir()
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        start("unpacking", archive.stat().st_size)
        second = _Inspector(archive, most_bytes, most_members)
        try:
            for parts in first.folders:
                folder.joinpath(*parts).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _UnwritableError from error
        with _damage_named(archive):
            for member in walk(archive, show):
                parts = second.place(member)
                # the archive could have been replaced between the two walks
                if parts not in first.folders and parts not in first.files and parts:
                    second.refuse("it has changed while it was unpacked")
                if member.kind == "file":
                    _write(member, folder.joinpath(*parts))
        if second.files != first.files:
            second.refuse("it has changed while it was unpacked")
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, _UnwritableError) and isinstance(error.__cause__, OSError):
            raise _unwritable(folder, error.__cause__) from None
        raise
    return len(second.files)


def _unwritable(folder: Path, error: OSError) -> SoundalikeError:
    return SoundalikeError(
        f"{folder}: cannot be unpacked there ({error.strerror or error}); make room, or give another place. The "
        "archive stays, and the same command goes on from it."
    )


def _write(member: _Member, path: Path) -> None:
    left = member.size
    with member.open() as source, _opened(path) as target:
        while left > 0:
            block = source.read(min(_BLOCK, left))
            if not block:
                raise EOFError(f"{member.name!r} ends early")
            left -= len(block)
            try:
                while block:  # an unbuffered file may take less than it is given
                    block = block[target.write(block) :]
            except OSError as error:
                raise _UnwritableError from error
        source.read(1)  # past the end, where a zip's checksum is compared


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """A new file, whose errors are none of the archive's."""
    try:
        target = path.open("xb", buffering=0)
    except OSError as error:
        raise _UnwritableError from error
    with target:
        yield target


def _walker(archive: Path) -> Callable[[Path, Callable[[int], None]], Iterator[_Member]]:
    try:
        with archive.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise ArchiveError(f"{archive}: cannot be read ({error.strerror or error}).") from None
    if magic in (b"PK\x03\x04", b"PK\x05\x06"):
        return _walk_zip
    if magic[:2] == b"\x1f\x8b":
        return _walk_tar
    raise ArchiveError(f"{archive}: neither a zip nor a tar.gz archive; it begins with {magic!r}.")


@contextmanager
def _damage_named(archive: Path) -> Iterator[None]:
    damage = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, struct.error)
    try:
        yield
    # OSError: an offset that leads before the beginning of the file, say; RuntimeError: a flag of encryption that only
    # one of two headers has
    except (*damage, OSError, RuntimeError, ValueError, LookupError, ArithmeticError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise ArchiveError(f"{archive}: damaged or not whole ({why}).") from error


def _walk_zip(archive: Path, show: Callable[[int], None]) -> Iterator[_Member]:
    done = 0
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.flag_bits & 1:
                raise ArchiveError(f"{archive}: not unpacked, since {info.filename!r} is encrypted.")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # no data set needs others, and their decoders fail in ways of their own on damage
                raise ArchiveError(
                    f"{archive}: not unpacked, since {info.filename!r} is compressed by method {info.compress_type}; "
                    "only stored and deflated files are taken."
                )
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                what = "a link" if kind == stat.S_IFLNK else "a device or another special file"
            else:
                what = "folder" if info.is_dir() else "file"
            # the name as it is written: zipfile cuts it at a zero byte and, on Windows, turns its backslashes
            yield _Member(info.orig_filename, what, info.file_size, partial(opened.open, info))
            done += info.compress_size
            show(done)


class _Header(tarfile.TarInfo):
    """A header of a tar that may neither be damaged nor have tarfile read a great deal into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        """The header in a block of a tar."""
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if bytes(buf).strip(b"\0"):  # tarfile would take it for the end
                raise EOFError(f"a header is damaged: {error}") from error
            raise
        if not header.isfile() and not header.isdir() and header.size > _MOST_HEADER:
            raise EOFError("a header is far too long")
        return header


def _walk_tar(archive: Path, show: Callable[[int], None]) -> Iterator[_Member]:
    with archive.open("rb") as raw, gzip.GzipFile(fileobj=raw) as plain:
        # as a stream, since going back means decompressing from the beginning
        with tarfile.open(fileobj=plain, mode="r|", tarinfo=_Header) as opened:
            while (header := opened.next()) is not None:
                kind = _tar_kind(archive, header)
                yield _Member(header.name, kind, header.size, partial(_tar_open, opened, header))
                opened.members = []  # type: ignore[attr-defined]  # which grow by a kilobyte for each file
                show(raw.tell())
        tail = 0
        while block := plain.read(_BLOCK):  # to the end, where gzip compares the checksum
            tail += len(block)
            if block.strip(b"\0") or tail > _MOST_TAIL:
                raise EOFError("something follows after its end")


def _tar_open(opened: tarfile.TarFile, header: tarfile.TarInfo) -> IO[bytes]:
    source = opened.extractfile(header)
    if source is None:
        raise EOFError(f"{header.name!r} has no contents")
    return source


def _tar_kind(archive: Path, header: tarfile.TarInfo) -> str:
    if header.issparse():
        return "a file with holes"
    if header.isdir() or header.isfile():
        if hasattr(tarfile, "data_filter"):  # a second opinion; Python 3.11 has it since 3.11.4
            try:
                tarfile.data_filter(header, str(archive.absolute().parent / "in"))
            except tarfile.FilterError as error:
                return f"refused by Python ({error})"
        return "folder" if header.isdir() else "file"
    return "a link" if header.issym() or header.islnk() else "a device or another special file"
