"""A data set from its address to a folder that its tasks can be given."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from soundalike.core.errors import SoundalikeError
from soundalike.core.files import make_folder, write_whole
from soundalike.data.download.catalogue import Archive, amount
from soundalike.data.download.display import Display
from soundalike.data.download.fetch import check_address, compare, fetch
from soundalike.data.download.part import digest_file, part_of, remove_part
from soundalike.data.download.unpack import MARKER, ArchiveError, unpack

_SLACK = 100_000_000  # bytes that an archive, or what is in it, may always have above twice its size


@dataclass(frozen=True)
class Got:
    """A data set that is there.

    Attributes:
        folder: its own.
        data: what ``--data`` of its tasks takes: its folder or, where it is one part of several, the one above.
        new: whether it was not there before.
        sha256: of its archive.
    """

    folder: Path
    data: Path
    new: bool
    sha256: str


def get(archive: Archive, out: Path, address: str | None = None, keep: bool = False, verify: bool = True) -> Got:
    """Downloads a data set and unpacks it, goes on where that was interrupted, or finds it there already.

    Args:
        archive: which one.
        out: the folder for all data sets.
        address: another one than the official address, such as a mirror's.
        keep: whether the archive stays, in ``out``, with its SHA-256 beside it.
        verify: whether it must have the published checksum and size.

    Raises:
        SoundalikeError: there is no room, it cannot be downloaded or is not what was published, its archive is
            damaged or holds what it must not, or something else is in the place.
    """
    address = address or archive.address
    check_address(address)
    folder = out / archive.folder
    data = out / archive.group if archive.group else folder
    make_folder(out)
    with Display() as display, _alone(out, archive.name, display):
        there = _there(archive, folder)
        if there is not None:
            _tidy(out / archive.file, folder, there, keep, display)
            return Got(folder, data, False, there)
        file = out / archive.file
        part = part_of(file)
        found = file.is_file()  # put there by hand, or kept
        _check_room(archive, out, file)
        checksum = archive.checksum if verify else None
        sha256 = (
            _verify_found(file, checksum, display) if found else _download(archive, address, file, verify, display)
        )
        try:
            _unpack(archive, file if found else part, folder, {"address": address, "sha256": sha256}, display)
        except ArchiveError as error:
            if found:
                raise SoundalikeError(
                    f"{str(error).rstrip('.')}; remove it, and the same command downloads it."
                ) from error
            remove_part(file)
            raise
        if keep:
            _keep(file, sha256)
        remove_part(file)
    return Got(folder, data, True, sha256)


def _keep(file: Path, sha256: str) -> None:
    """Puts an archive into its place where it is still a part, with its SHA-256 beside it."""
    if not file.is_file():
        os.replace(part_of(file), file)
    # as sha256sum --check reads it
    write_whole(file.with_name(f"{file.name}.sha256"), f"{sha256}  {file.name}\n", "the checksum")


def _tidy(file: Path, folder: Path, sha256: str, keep: bool, display: Display) -> None:
    """Removes what a process has left that was killed just after the folder had come into its place."""
    part = part_of(file)
    if keep and part.is_file() and not file.is_file():
        display.start("verifying", part.stat().st_size)
        if digest_file(part, None, display.show)[0]["sha256"].hexdigest() == sha256:
            _keep(file, sha256)
    remove_part(file)
    shutil.rmtree(_unpacking(folder), ignore_errors=True)


def _unpacking(folder: Path) -> Path:
    """Where an archive is unpacked: beside its folder, so that it comes into place by being renamed, or not at all."""
    return folder.with_name(f".{folder.name}.unpacking")


def _there(archive: Archive, folder: Path) -> str | None:
    """SHA-256 of the archive that the folder is from; None where there is no folder yet."""
    if not os.path.lexists(folder):
        return None
    if folder.is_dir() and not any(folder.iterdir()):
        if folder.is_symlink() or os.path.ismount(folder):
            what = "symbolic link" if folder.is_symlink() else "mount point"
            raise SoundalikeError(
                f"{folder}: a {what}, which cannot make way for the data set; remove it, or give another --out."
            )
        return None
    try:
        sha256 = str(json.loads((folder / MARKER).read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        raise SoundalikeError(
            f"{folder}: already there, and not made by this command; use it as it is, or give another --out."
        ) from None
    lacking = [name for name in archive.needs if not (folder / name).exists()]
    if lacking:
        raise SoundalikeError(f"{folder}: {lacking[0]} is not in it any more; remove the folder to get it anew.")
    return sha256


def _check_room(archive: Archive, out: Path, file: Path) -> None:
    here = sum(path.stat().st_size for path in (file, part_of(file)) if path.is_file())
    needed = max(archive.size - here, 0) + archive.unpacked
    free = shutil.disk_usage(out).free
    if free < needed:
        raise SoundalikeError(
            f"{out}: {amount(free)} are free there, and {archive.name} needs {amount(needed)} to be downloaded and "
            "unpacked; make room, or give another --out."
        )


def _download(archive: Archive, address: str, file: Path, verify: bool, display: Display) -> str:
    exact = archive.exact and verify
    what = f"downloading {archive.name}"
    return fetch(
        address,
        file,
        archive.checksum if verify else None,
        archive.size if exact else None,
        2 * archive.size + _SLACK,
        # a server that makes the archive while it sends it does not know its length
        start=lambda total, done: display.start(what, total or archive.size, done),
        show=display.show,
        say=display.say,
    )


def _verify_found(file: Path, checksum: str | None, display: Display) -> str:
    display.say(f"{file}: already there")
    display.start("verifying", file.stat().st_size)
    hashes, _ = digest_file(file, checksum, display.show)
    kind = (checksum or "sha256:").partition(":")[0]
    compare(checksum, hashes[kind].hexdigest(), file, "remove it, and the same command downloads it")
    return str(hashes["sha256"].hexdigest())


def _unpack(archive: Archive, file: Path, folder: Path, origin: dict[str, str], display: Display) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = _unpacking(folder)
    shutil.rmtree(beside, ignore_errors=True)  # of a process that was killed
    try:
        count = unpack(file, beside, 2 * archive.unpacked + _SLACK, start=display.start, show=display.show)
        top = _top(archive, file, beside)
        notes = {"name": archive.name, **origin, "licence": archive.licence, "files": count}
        write_whole(top / MARKER, json.dumps(notes, indent=1) + "\n", None)
        if hasattr(os, "sync"):
            os.sync()  # once for all files: after a power cut none of them may be empty in a folder that is there
        if folder.exists():
            folder.rmdir()  # an empty one
        os.replace(top, folder)
    except OSError as error:
        raise SoundalikeError(
            f"{folder}: cannot be unpacked there ({error.strerror or error}); make room, or give another --out. The "
            "archive stays, and the same command goes on from it."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _top(archive: Archive, file: Path, beside: Path) -> Path:
    """Where the data set begins: at the archive's top or, as in most, in a folder there."""
    for candidate in (beside, *sorted(path for path in beside.iterdir() if path.is_dir())):
        if all((candidate / name).exists() for name in archive.needs):
            return candidate
    raise ArchiveError(f"{file}: not an archive of {archive.name}, since it lacks {' and '.join(archive.needs)}.")


@contextmanager
def _alone(out: Path, name: str, display: Display) -> Iterator[None]:
    """Holds the data set's lock, so that two commands do not write to one file."""
    from filelock import FileLock, Timeout

    lock = FileLock(out / f".{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        display.say(f"{name}: another command is getting it; waiting for that one")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
