"""What the page of `soundalike studio` asks its server for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from soundalike.apps.pages.local_server import MOST_BYTES
from soundalike.apps.pages.parts import piece
from soundalike.apps.studio.query import Query
from soundalike.apps.studio.studio import SOUNDS, Studio
from soundalike.core.errors import SoundalikeError
from soundalike.synth import VOICES

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

FILES = {
    "": ("studio.html", "text/html"),
    "theme.css": ("theme.css", "text/css"),
    "studio.css": ("studio.css", "text/css"),
    "studio.js": ("studio.js", "text/javascript"),
    "studio_knobs.js": ("studio_knobs.js", "text/javascript"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
    "elements.js": ("elements.js", "text/javascript"),
    "player.js": ("player.js", "text/javascript"),
    "spectrogram.js": ("spectrogram.js", "text/javascript"),
}
"""What is served beside sounds, by the end of its address: a text of the pages, and its kind."""


def make_app(studio: Studio, voice: str) -> Starlette:
    """The application that answers the page. It trusts whoever asks: `Guard` has to stand before it.

    Every answer is one of a `Query`, given as JSON in ``q``.

    Args:
        studio: what renders.
        voice: with which the page begins.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    def text(request: Request) -> Response:
        name, kind = FILES[request.url.path.rpartition("/")[2]]
        return Response(piece(name), media_type=kind)

    def start(request: Request) -> Response:
        return JSONResponse({"voice": voice, "voices": list(VOICES)})

    def told(answer: Callable[[Query], Any]) -> Callable[[Request], Response]:
        def handle(request: Request) -> Response:
            return timed(lambda: JSONResponse(answer(query_of(request))))

        return handle

    def wav(request: Request) -> Response:
        query, sound = query_of(request), sound_of(request)
        name = f"{query.voice}-{query.seed}-{sound.upper() if len(sound) == 1 else sound}.wav"
        return timed(lambda: attached(studio.wav(query, sound), "audio/wav", name))

    def levels(request: Request) -> Response:
        query, sound = query_of(request), sound_of(request)
        seconds = {"Seconds": f"{studio.voice(query.voice).seconds:g}"}
        return timed(lambda: Response(studio.levels(query, sound), headers=seconds))

    def recipe(request: Request) -> Response:
        query = query_of(request)
        return attached(studio.recipe_file(query), "application/yaml", f"{query.voice}-{query.seed}.yaml")

    def attached(content: bytes | str, kind: str, name: str) -> Response:
        return Response(content, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})

    def query_of(request: Request) -> Query:
        return Query.parse(request.query_params.get("q", ""))

    def sound_of(request: Request) -> str:
        sound = str(request.path_params["sound"])
        if sound not in SOUNDS:
            raise HTTPException(404, "There is no such sound.")
        return sound

    def timed(answer: Callable[[], Response]) -> Response:
        """An answer that says how long it took: elapsed, and of the processor."""
        began = time.perf_counter(), time.thread_time()
        made = answer()
        ended = time.perf_counter(), time.thread_time()
        elapsed, processor = (1000 * (after - before) for before, after in zip(began, ended, strict=True))
        made.headers["Server-Timing"] = f"render;dur={elapsed:.1f}, cpu;dur={processor:.1f}"
        return made

    def refused(request: Request, error: Exception) -> Response:
        return PlainTextResponse(str(error), 400)

    def failed(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return PlainTextResponse(error.detail, error.status_code)

    return Starlette(
        routes=[
            *(Route(f"/{name}", text) for name in FILES),
            Route("/start", start),
            Route("/about", told(studio.about)),
            Route("/pair", told(studio.shown)),
            Route("/changes", told(studio.changes)),
            Route("/likeness", told(studio.likeness)),
            Route("/recipe.yaml", recipe),
            Route("/{sound}.wav", wav),
            Route("/{sound}.levels", levels),
        ],
        exception_handlers={SoundalikeError: refused, HTTPException: failed},
        max_body_size=MOST_BYTES,
    )
