"""Places to write to, checked before the work is done and not after."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from soundalike.core.errors import SoundalikeError

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/{1,3}(?=[^/])", re.IGNORECASE)
STANDARD_OUTPUT = "standard output"
CACHE_VARIABLE = "SOUNDALIKE_CACHE"
"""Name of the environment variable that sets another folder for what can be made or fetched again."""


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


def write_file(path: Path, content: str | bytes) -> None:
    """Writes a file, whose name any error has.

    Args:
        path: of the file.
        content: text is written as UTF-8; of file names, which need not be valid Unicode, with backslashes.

    Raises:
        OSError: it cannot be written.
    """
    with naming(path):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content, encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def replacing(path: Path, what: str = "the file") -> Iterator[Path]:
    """A name to write a file under that shall be there whole or not at all: at the end it takes the place of ``path``.

    Args:
        path: of the file; its folder is made.
        what: the file is, for the sentence on what went wrong.

    Raises:
        SoundalikeError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise SoundalikeError(
            f"{path}: {what} cannot be written there ({error.strerror or error}); give another place."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
