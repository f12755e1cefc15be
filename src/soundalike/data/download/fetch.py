"""A file from an address to the disk, verified, and going on where a broken download has ended."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from soundalike import __version__
from soundalike.core.errors import SoundalikeError
from soundalike.data.download.catalogue import amount
from soundalike.data.download.part import Part, part_of

if TYPE_CHECKING:
    import requests

PAUSES = (1.0, 2.0, 5.0, 15.0)
"""Seconds before each new try, counted anew whenever more has come than ever before."""
TIMEOUTS = (20.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""
_BLOCK = 1 << 16  # at most so much is lost of what has come when a connection breaks
_LONGEST_PAUSE = 120.0
_MOST_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_SAID = {
    401: "wants a name and a password (401)",
    403: "refuses to give the file (403)",
    404: "has no such file (404)",
    410: "has the file no more (410)",
}


class _Broken(Exception):
    """A try that failed in a way that may pass."""

    def __init__(self, why: str, pause: float = 0.0) -> None:
        super().__init__(why)
        self.pause = pause


def fetch(
    address: str,
    archive: Path,
    checksum: str | None,
    size: int | None = None,
    most_bytes: int | None = None,
    start: Callable[[int | None, int], None] = lambda total, done: None,
    show: Callable[[int], None] = lambda done: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> str:
    """Downloads a file to ``ARCHIVE.part``, where what has come stays until the caller renames or removes it.

    Args:
        address: an http or https address. Redirects are followed, but not from https to http.
        archive: the file that it is to become.
        checksum: ``sha256:…`` or ``md5:…`` that the file must have; None where there is none.
        size: bytes that it must have, where that is known.
        most_bytes: more than that are not taken.
        start: told the bytes in all, if known, and how many are there already, when bytes begin to come.
        show: told how many are there.
        say: told what a person should know: a new try, or beginning anew.

    Returns:
        Its SHA-256.

    Raises:
        SoundalikeError: it is not there, the connection keeps breaking, or what came is not the published file, which
            is then deleted.
    """
    import requests

    check_address(address)
    before = part_of(archive)
    if before.is_file() and before.stat().st_size:
        say(f"{before}: {amount(before.stat().st_size)} are here from before")  # reading them again takes its time
    with requests.Session() as session, Part(archive, address, checksum) as part:
        failures, most = 0, part.length
        while part.total is None or part.length != part.total:
            try:
                _try(session, part, size, most_bytes, start, show, say)
                break
            except _Broken as error:
                # a server that always begins anew and always breaks at the same place is no progress
                failures, most = (1, part.length) if part.length > most else (failures + 1, most)
                if failures > len(PAUSES):
                    here = f"{amount(part.length)} are here, and the same command goes on from there"
                    hint = here if part.length else "try again later"
                    raise SoundalikeError(f"{_host(address)}: {error}, {failures} times in a row; {hint}.") from error
                pause = max(PAUSES[failures - 1], min(error.pause, _LONGEST_PAUSE))
                say(f"{_host(address)}: {error}; tries again in {pause:.0f} s")
                time.sleep(pause)
        _verify(part, size)
        part.finish()
        return str(part.hashes["sha256"].hexdigest())


def check_address(address: str) -> None:
    """Raises a `SoundalikeError` where this is not the address of something on a web server."""
    try:
        parts = urlsplit(address)
        complete = bool(parts.hostname) and parts.scheme in ("http", "https")
    except ValueError:
        complete = False
    if not complete:
        raise SoundalikeError(f"{address!r}: not an address; one begins with https:// or http://.")


def compare(checksum: str | None, found: str, path: Path, end: str) -> None:
    """Raises a `SoundalikeError` with both sums where a file's is not the published one.

    Args:
        checksum: the published one, with its kind.
        found: the file's, without.
        path: the file.
        end: what has become of it, or what to do.
    """
    kind, _, published = (checksum or "").partition(":")
    if checksum and found != published:
        raise SoundalikeError(f"{path}: not the published file: its {kind} is {found}, not {published}; {end}.")


def _verify(part: Part, size: int | None) -> None:
    kind = (part.checksum or "sha256:").partition(":")[0]
    try:
        compare(part.checksum, part.hashes[kind].hexdigest(), part.archive, "it was deleted, so try again")
        if size is not None and part.length != size:
            raise SoundalikeError(f"{part.archive}: {part.length} bytes, not the published {size}; it was deleted.")
    except SoundalikeError:
        part.restart()  # and with nothing in it, it is removed
        raise


def _try(
    session: requests.Session,
    part: Part,
    size: int | None,
    most_bytes: int | None,
    start: Callable[[int | None, int], None],
    show: Callable[[int], None],
    say: Callable[[str], None],
) -> None:
    import requests
    import urllib3

    headers = {"Accept-Encoding": "identity", "User-Agent": f"soundalike/{__version__}"}
    if part.length:
        headers["Range"] = f"bytes={part.length}-"
        if part.validator:
            headers["If-Range"] = part.validator
    try:
        with _open(session, part.address, headers) as response:
            if not _accept(response, part, say):
                return
            total = _total(response, part.length)
            if size is not None and total is not None and total != size:
                raise SoundalikeError(
                    f"{part.address}: has {total} bytes, the published file {size}; give another address by --from."
                )
            part.remember(response.headers.get("ETag"), response.headers.get("Last-Modified"), total)
            start(total, part.length)
            # raw: requests would unpack what a server calls compressed, which is then no longer the published file
            for block in response.raw.stream(_BLOCK, decode_content=False):
                part.write(block)
                show(part.length)
                if most_bytes is not None and part.length > most_bytes:
                    part.restart()
                    raise SoundalikeError(f"{part.address}: far longer than the published file; it was deleted.")
            if total is not None and part.length != total:
                raise _Broken(f"the connection broke after {amount(part.length)}")
    except requests.exceptions.SSLError as error:
        raise SoundalikeError(f"{_host(part.address)}: its certificate cannot be verified ({_why(error)}).") from error
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
        raise _Broken(f"cannot be reached ({_why(error)})") from error
    except (urllib3.exceptions.HTTPError, requests.exceptions.ChunkedEncodingError, ConnectionError) as error:
        raise _Broken(f"the connection broke after {amount(part.length)}") from error
    except requests.exceptions.RequestException as error:
        raise SoundalikeError(f"{part.address}: cannot be asked for ({_why(error)}).") from error


def _open(session: requests.Session, address: str, headers: dict[str, str]) -> requests.Response:
    """The answer after all redirects, its body not yet read."""
    for _ in range(_MOST_REDIRECTS + 1):
        response = session.get(address, headers=headers, stream=True, timeout=TIMEOUTS, allow_redirects=False)
        if response.status_code not in _REDIRECTS:
            return response
        target = urljoin(address, response.headers.get("Location", ""))
        response.close()
        if urlsplit(address).scheme == "https" and urlsplit(target).scheme != "https":
            raise SoundalikeError(f"{address}: leads on to {target}, which is not encrypted, and was not followed.")
        check_address(target)
        address = target
    raise SoundalikeError(f"{address}: leads on to ever more addresses.")


def _accept(response: requests.Response, part: Part, say: Callable[[str], None]) -> bool:
    """Whether a body comes that goes to the end of the part, which is emptied where the server begins anew."""
    status = response.status_code
    if status == 206 and part.length:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if found is None or int(found[1]) != part.length or _is_another(response, part, found[2]):
            part.restart()
            raise _Broken("gave a part of another file, or another part than it was asked for")
        return True
    if status == 200:
        if part.length:
            say(f"{_host(part.address)}: the file has changed, or cannot be gone on with; begins anew")
            part.restart()
        return True
    if status == 416 and part.length:
        # all of it is here already, or more than the file has now
        whole = response.headers.get("Content-Range", "").strip() == f"bytes */{part.length}"
        if whole:
            return False
        part.restart()
        raise _Broken("has a shorter file than before")
    if status in _PASSING:
        wait = response.headers.get("Retry-After", "")
        raise _Broken(f"answers with an error ({status})", float(wait) if wait.isdecimal() else 0.0)
    raise SoundalikeError(f"{part.address}: the server {_SAID.get(status, f'answers with {status}')}.")


def _is_another(response: requests.Response, part: Part, total: str) -> bool:
    """Whether a server that does not heed If-Range goes on with a file that is not the one begun with."""
    before, now = part.known.get("etag"), response.headers.get("ETag")
    longer = part.total is not None and total.isdecimal() and int(total) != part.total
    return longer or bool(before and now and before != now)


def _total(response: requests.Response, length: int) -> int | None:
    """Bytes of the whole file, which begins with the ``length`` bytes that are there."""
    whole = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", "").strip())
    if response.status_code == 206 and whole:
        return int(whole[1])
    coming = response.headers.get("Content-Length", "")
    # a body that is sent in chunks has no length of its own, whatever else the answer says
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    return length + int(coming) if coming.isdecimal() and not chunked else None


def _host(address: str) -> str:
    return urlsplit(address).netloc.rpartition("@")[2]


def _why(error: BaseException) -> str:
    """The innermost reason, since those around it repeat it at length."""
    seen = [error]
    while (inner := seen[-1].__cause__ or seen[-1].__context__) is not None and inner not in seen:
        seen.append(inner)
    return " ".join(str(seen[-1]).split()).rstrip(".")[:200] or type(seen[-1]).__name__
