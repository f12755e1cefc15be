"""Places to write to, checked before the work is done and not after."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import re
import tempfile
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from soundalike.core.errors import SoundalikeError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/{1,3}(?=[^/])", re.IGNORECASE)
STANDARD_OUTPUT = "standard output"
CACHE_VARIABLE = "SOUNDALIKE_CACHE"
"""Name of the environment variable that sets another folder for what can be made or fetched again."""
PART = ".part"
"""The end of the name of a file that is not finished."""
_LONGEST = 230  # bytes of a name that another is made of: file systems take 255
_MOST_AT_ONCE = 1000  # processes that write the same file
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # of some network file systems
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a place in which there is no more room."""


def cache_folder() -> Path:
    """The folder of everything that can be made or fetched again: decoded recordings, compiled functions.

    Returns:
        ``$SOUNDALIKE_CACHE`` where it is set, otherwise ``soundalike`` in the platform's folder for caches.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(os.path.abspath(Path(chosen).expanduser()))
    try:
        from platformdirs import user_cache_path
    except ImportError:  # a machine that was given no more than a training on synthetic sounds needs
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "soundalike"
    return user_cache_path("soundalike").expanduser()


def make_folder(folder: Path) -> Path:
    """Makes a folder where it is missing, and makes sure that files can be written to it.

    Args:
        folder: the folder.

    Returns:
        It.

    Raises:
        SoundalikeError: it cannot be made, or cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SoundalikeError(f"{folder}: cannot be made a folder ({error.strerror}); give another one.") from None
    check_writable(folder)
    return folder


def check_writable(folder: Path) -> None:
    """Makes sure that files can be written to a folder.

    Args:
        folder: an existing folder.

    Raises:
        SoundalikeError: it is no folder that can be written to.
    """
    try:
        # permissions alone do not tell: the place may be read-only or full
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"soundalike")
    except OSError as error:
        raise SoundalikeError(
            f"{folder}: not a folder that can be written to ({error.strerror}); give another one."
        ) from None


def check_file(out: Path, example: str = "", make: bool = False) -> None:
    """Makes sure that a file can be written there, to be asked before any work is done.

    Args:
        out: the file.
        example: what it could be called, for the sentence on a folder.
        make: whether its folder is made where it is missing.

    Raises:
        SoundalikeError: it is a folder, or its place cannot be written to.
    """
    if out.is_dir():
        such = f", such as {out / example}" if example else ""
        raise SoundalikeError(f"{out}: is a folder; give the name of a file{such}.")
    if make:
        make_folder(out.absolute().parent)
    else:
        check_writable(next(folder for folder in out.absolute().parents if folder.exists()))


def missing(path: str | Path, what: str = "no such file or folder.") -> str:
    """What is wrong with a path at which nothing is, as a sentence.

    Args:
        path: at which nothing is.
        what: is wrong with it, where it is no URL.
    """
    scheme = _SCHEME.match(os.fspath(path))
    if scheme is None:
        return f"{path}: {what}"
    address = f"{scheme[1]}://{os.fspath(path)[scheme.end() :]}"  # of whose slashes a path has one
    return f"{address}: is a URL, and soundalike reads files: download it first."


def is_closed(stream: IO[str] | None) -> bool:
    """Whether a standard stream leads nowhere because whoever started the program had closed it."""
    return stream is None or getattr(stream, "name", None) == os.devnull


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Errors of writing to a file that is open, which do not say so, name it: on a full disk, above all.

    Args:
        path: of the file, or what it is.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def unused_name(name: str, used: set[str], again: str = "{name} ({number})") -> str:
    """A name that none of a folder's other files has, and that is used from now on.

    Args:
        name: name that is wanted.
        used: names that are used, in one case, since some file systems tell no difference.
        again: how a name that is used already is numbered, from 2 on.
    """
    numbered = (again.format(name=name, number=number) for number in itertools.count(2))
    found = next(each for each in itertools.chain([name], numbered) if each.casefold() not in used)
    used.add(found.casefold())
    return found


@contextlib.contextmanager
def replacing(path: Path, what: str | None = "the file", *, sync: bool = True) -> Iterator[Path]:
    """A name to write a file under that shall be there whole or not at all: at the end it takes the place of ``path``.

    Every file that the package writes whole is written through this. The new file lies beside the old one, as
    ``.NAME.part``, until it is on the disk. What a killed process has left under that name is taken over by the next
    one that writes the same file; of two that write it at once, the second takes another name.

    Args:
        path: file to write; its folder is made. Where it is a link, what it leads to is replaced.
        what: the file is, for the sentence on what went wrong; None where the caller has its own for an ``OSError``.
        sync: whether to wait until the contents are on the disk before they take the place of the old ones. Without
            it a power cut can leave an empty file, which is enough where its reader tells such a file.

    Raises:
        SoundalikeError: it cannot be written, or is something else than a file.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise OSError(errno.EINVAL, "it is no plain file")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial, handle = _part_of(target)
        try:
            yield partial
            if sync:
                os.fsync(handle)
            if fcntl is None:  # Windows, where an open file cannot be renamed
                os.close(handle)
                handle = -1
            os.replace(partial, target)
            if sync:
                _sync_folder(target.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        finally:
            if handle >= 0:
                os.close(handle)  # and with it the lock
    except OSError as error:
        if what is None:
            raise
        todo = "make room there, or give another place" if error.errno in FULL else "give another place"
        raise SoundalikeError(f"{path}: {what} cannot be written there ({error.strerror or error}); {todo}.") from None


def write_whole(path: Path, content: bytes | str, what: str | None = "the file", *, sync: bool = True) -> None:
    """Writes a file whole or not at all: as `replacing`, where all of its contents are known.

    Args:
        path: file to write; its folder is made.
        content: of the file; text is written in UTF-8, with a backslash before what is no Unicode in a file's name.
        what: the file is, as `replacing` takes it.
        sync: as `replacing` takes it.

    Raises:
        SoundalikeError: it cannot be written.
    """
    with replacing(path, what, sync=sync) as partial:
        partial.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


def holds_parts_alone(folder: Path, others: Collection[str] = ()) -> bool:
    """Whether a folder is there and holds nothing but files that were not finished when their process ended.

    Args:
        folder: to look into.
        others: names of what else may be in it.
    """
    return folder.is_dir() and all(path.name.endswith(PART) or path.name in others for path in folder.iterdir())


def remove_parts(folder: Path) -> None:
    """Removes the files of a folder that were not finished; to be asked where no other process writes to it."""
    for path in folder.glob(f"*{PART}"):
        with contextlib.suppress(OSError):
            path.unlink()


def _part_of(target: Path) -> tuple[Path, int]:
    """The name under which a file is written, and a handle on it that keeps other processes from taking it."""
    name = target.name
    if len(os.fsencode(name)) > _LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    if fcntl is None:
        return _unlocked(target, name)
    for number in range(1, _MOST_AT_ONCE):
        partial = target.with_name(f".{name}{PART}" if number == 1 else f".{name}.{number}{PART}")
        try:
            handle = _locked(partial)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return _unlocked(target, name)
            if not os.path.lexists(partial):  # it is the folder that cannot be written to
                raise
            continue  # somebody else's file, a link or a folder
        if handle is not None:
            return partial, handle
    raise OSError(errno.EAGAIN, "too many processes write to it at once")


def _unlocked(target: Path, name: str) -> tuple[Path, int]:
    """A name that nobody else takes, where files cannot be locked."""
    partial = target.with_name(f".{name}.{os.getpid()}-{uuid.uuid4().hex[:8]}{PART}")
    return partial, os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)


def _locked(partial: Path) -> int | None:
    """An empty file that no other process writes to; None where one does."""
    while True:
        handle = os.open(partial, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # who held the lock may have renamed the file just before: then this is the finished one
            if partial.exists() and os.path.samestat(os.fstat(handle), os.stat(partial)):
                os.ftruncate(handle, 0)
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Waits until the names of a folder's files are on the disk, where the system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
