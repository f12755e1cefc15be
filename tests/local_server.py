"""A web server on this machine that misbehaves as it is told, and what tests of downloads share."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from soundalike.core.errors import SoundalikeError


@dataclass
class Served:
    """One file on the server, and how the server misbehaves."""

    body: bytes
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    heeds_if_range: bool = True
    length: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes of each answer after which the connection breaks
    statuses: list[int] = field(default_factory=list)  # that come before an answer
    location: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class Server:
    """A server of files that remembers what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.asked: list[tuple[str, str | None]] = []  # path, Range
        self.conditions: list[str | None] = []  # If-Range
        self.sent: list[int] = []  # bytes of each body
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def address(self, path: str = "/a.tar.gz") -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.asked.append((request.path, asked))
        self.conditions.append(request.headers.get("If-Range"))
        served = self.files.get(request.path)
        if served is None or served.statuses:
            request.send_error(served.statuses.pop(0) if served else 404)
            return
        if served.location:
            request.send_response(302)
            request.send_header("Location", served.location)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        begin, condition = 0, request.headers.get("If-Range")
        same = not served.heeds_if_range or condition in (None, served.etag, served.modified)
        if asked and served.ranges and same:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(served.body):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(served.body)}")
                request.send_header("Content-Length", "0")
                request.end_headers()
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {begin}-{len(served.body) - 1}/{len(served.body)}")
        else:
            request.send_response(200)
        named = {"ETag": served.etag, "Last-Modified": served.modified, **served.headers}
        if served.length:
            named["Content-Length"] = str(len(served.body) - begin)
        for name, value in named.items():
            if value is not None:
                request.send_header(name, value)
        request.end_headers()
        end = begin + served.cuts.pop(0) if served.cuts else len(served.body)
        self.sent.append(len(served.body[begin:end]))
        with contextlib.suppress(OSError):
            request.wfile.write(served.body[begin:end])
        request.close_connection = True


@contextlib.contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server, to which downloads come without proxies and pauses."""
    monkeypatch.setattr("soundalike.data.download.fetch.PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    served = Server()
    yield served
    served.server.shutdown()
    served.server.server_close()


def refusal(call: Callable[..., object], *arguments: object, **more: object) -> str:
    """The one sentence with which a call is refused."""
    with pytest.raises(SoundalikeError) as refused:
        call(*arguments, **more)
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence
