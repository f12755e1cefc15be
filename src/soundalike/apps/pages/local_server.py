"""Pages that a program serves to the browser of the person who started it, and to nobody else.

Any page in another tab may send requests to a server on the same machine, and any other account of the machine may
open its port. So whoever asks has to know a token, which is a part of the address; the name by which the server is
asked for (``Host``) has to be its own, or a name that was pointed to 127.0.0.1 meanwhile would pass for it; and a
request that comes from another page (``Origin``, ``Sec-Fetch-Site``) is refused. The token is no cookie: a browser
hands a cookie of 127.0.0.1 to the servers of all ports there.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from soundalike.core.errors import SoundalikeError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ADDRESS = "127.0.0.1"
MOST_BYTES = 1 << 20
"""Of a request."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of every answer: nothing from elsewhere, and no script within a page."""
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Lets requests of the server's own pages through, with the token taken off their path.

    Args:
        app: what answers them.
        token: the first part of every path.
        port: where the server listens.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self.app, self.token = app, token
        self.hosts = {f"{name}:{port}" for name in (ADDRESS, "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses it."""
        from starlette.responses import PlainTextResponse

        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a WebSocket
            await send({"type": "websocket.close", "code": 1008})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        refusal = self.refusal(scope)
        if refusal is not None:
            status, sentence = refusal
            await PlainTextResponse(sentence + "\n", status)(scope, receive, with_headers)
            return
        path = scope["path"][len(self.token) + 1 :]
        await self.app({**scope, "path": path, "raw_path": path.encode()}, receive, with_headers)

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Why a request is refused, as status and sentence; None where it is not."""
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        host = headers.get("host", [])
        if len(host) != 1 or host[0] not in self.hosts:
            return 421, "This server is asked for by another name than its own."
        origin = headers.get("origin", [])
        changes = scope["method"] not in ("GET", "HEAD")
        if any(each != f"http://{host[0]}" for each in origin) or (changes and not origin):
            return 403, "Another page may not ask this server."
        opened = not changes and headers.get("sec-fetch-mode") == ["navigate"]  # a link, or typed by a person
        if not opened and headers.get("sec-fetch-site", ["none"])[0] not in ("none", "same-origin"):
            return 403, "Another page may not ask this server."
        token = scope["path"].split("/")[1] if scope["path"].count("/") > 1 else ""
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            return 403, "Open the address that the program shows: it has a token in it."
        return None


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(24)


def listen(port: int = 0) -> socket.socket:
    """A socket at a port of this machine that no other machine reaches.

    Args:
        port: which; any that is free where it is 0.

    Raises:
        SoundalikeError: another program has it.
    """
    if not 0 <= port < 1 << 16:
        raise SoundalikeError(f"--port is {port}: give a number from 0 to {(1 << 16) - 1}.")
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((ADDRESS, port))
    except OSError as error:
        bound.close()
        raise SoundalikeError(f"--port {port} cannot be had ({error.strerror}); give another one.") from None
    return bound


def serve(make: Callable[[], Any], bound: socket.socket, started: Callable[[str], None]) -> None:
    """Serves pages until Ctrl-C.

    Args:
        make: the application, Starlette's or another.
        bound: where.
        started: called with the address to open, once it answers there.
    """
    import uvicorn

    token, port = new_token(), bound.getsockname()[1]

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started(f"http://{ADDRESS}:{port}/{token}/")

    # no log of requests, whose paths have the token
    config = uvicorn.Config(
        Guard(make(), token, port),
        access_log=False,
        log_level="error",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=1,
        lifespan="off",
        ws="none",
    )
    logging.getLogger("uvicorn.error").addFilter(_is_no_interruption)
    Server(config).run(sockets=[bound])


def _is_no_interruption(record: logging.LogRecord) -> bool:
    """Whether a message is about more than Ctrl-C, which cancels answers that take long."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, asyncio.CancelledError) and "graceful shutdown" not in record.msg
