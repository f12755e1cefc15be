"""What the page of `soundalike review` asks its server for."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from soundalike.apps.pages.local_server import MOST_BYTES
from soundalike.apps.pages.parts import piece
from soundalike.apps.pages.spectrogram import picture
from soundalike.apps.review.project import Project
from soundalike.apps.review.seekable import seekable
from soundalike.apps.review.sounds import Item, is_inside
from soundalike.audio import read
from soundalike.audio.segment import Sound, file_of
from soundalike.audio.write import encoded
from soundalike.core.errors import AudioError, SoundalikeError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

MOST_SECONDS = 60.0
"""Of a sound that are heard and seen."""
_PLAYED, _SEEN = 44_100, 22_050  # Hz
_KEPT = 16  # sounds that are kept as they are played
FILES = {
    "": ("review.html", "text/html"),
    "theme.css": ("theme.css", "text/css"),
    "review.css": ("review.css", "text/css"),
    "review.js": ("review.js", "text/javascript"),
    "review_panel.js": ("review_panel.js", "text/javascript"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
    "elements.js": ("elements.js", "text/javascript"),
    "player.js": ("player.js", "text/javascript"),
    "spectrogram.js": ("spectrogram.js", "text/javascript"),
    "list.js": ("list.js", "text/javascript"),
}
"""What is served beside sounds, by the end of its address: a text of the pages, and its kind."""


def make_app(project: Project) -> Starlette:
    """The application that answers the page. It trusts whoever asks: `Guard` has to stand before it.

    Args:
        project: what is labelled.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    heard, seen = lru_cache(_KEPT)(_heard), lru_cache(16 * _KEPT)(_seen)

    def text(request: Request) -> Response:
        name, kind = FILES[request.url.path.rpartition("/")[2]]
        return Response(piece(name), media_type=kind)

    def state(request: Request) -> Response:
        return JSONResponse(project.state(_whole(request, "version", 0)))

    def queue(request: Request) -> Response:
        asked = request.query_params
        return JSONResponse(
            project.queue(asked.get("order", "unsure"), asked.get("label", ""), _whole(request, "most", 60))
        )

    def alike(request: Request) -> Response:
        return JSONResponse(project.alike(item_of(request).key, _whole(request, "most", 24)))

    def sound_of(request: Request) -> Sound:
        item = item_of(request)
        if not is_inside(file_of(item.sound), project.folder):
            raise HTTPException(404, "This sound is not in the folder any more.")
        return seekable(item.sound)

    def entry(request: Request) -> Response:
        return JSONResponse(project.shown(item_of(request).key))

    def wav(request: Request) -> Response:
        return Response(heard(sound_of(request)), media_type="audio/wav")

    def levels(request: Request) -> Response:
        content, seconds = seen(sound_of(request))
        told = {"Seconds": f"{seconds:.3f}", "Whole": "no" if seconds >= MOST_SECONDS else "yes"}
        return Response(content, media_type="application/octet-stream", headers=told)

    def item_of(request: Request) -> Item:
        item = project.items.get(request.path_params.get("key") or request.query_params.get("key", ""))
        if item is None:
            raise HTTPException(404, "There is no such sound.")
        return item

    async def change(request: Request) -> Response:
        try:
            changes = (await request.json())["changes"]
            kept = await run_in_threadpool(project.change, [dict(each) for each in changes])
        except (ValueError, LookupError, TypeError):
            raise HTTPException(400, "These are no labels.") from None
        return JSONResponse({"kept": kept})

    async def save(request: Request) -> Response:
        report = await run_in_threadpool(project.save)
        return JSONResponse({"out": str(project.out), "warnings": report.warnings})

    def refused(request: Request, error: Exception) -> Response:
        return PlainTextResponse(str(error), 422 if isinstance(error, AudioError) else 409)

    def failed(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return PlainTextResponse(error.detail, error.status_code)

    return Starlette(
        routes=[
            *(Route(f"/{name}", text) for name in FILES),
            Route("/state", state),
            Route("/queue", queue),
            Route("/alike", alike),
            Route("/labels", change, methods=["POST"]),
            Route("/save", save, methods=["POST"]),
            Route("/sounds/{key}.wav", wav),
            Route("/sounds/{key}.levels", levels),
            Route("/sounds/{key}", entry),
        ],
        exception_handlers={SoundalikeError: refused, HTTPException: failed},
        max_body_size=MOST_BYTES,
    )


def _whole(request: Request, name: str, default: int) -> int:
    """A whole number of the address."""
    from starlette.exceptions import HTTPException

    try:
        return int(request.query_params.get(name, default))
    except ValueError:
        raise HTTPException(400, f"{name} is no whole number.") from None


def _heard(sound: Sound) -> bytes:
    """A sound as every browser plays it."""
    return encoded(read.decode(sound, [_PLAYED], MOST_SECONDS).waveforms[_PLAYED], _PLAYED)


def _seen(sound: Sound) -> tuple[bytes, float]:
    """The levels of a sound for its spectrogram, and how many seconds that is."""
    waveform = read.decode(sound, [_SEEN], MOST_SECONDS).waveforms[_SEEN]
    return picture(waveform, _SEEN), len(waveform) / _SEEN
