"""``soundalike studio``."""

from __future__ import annotations

import argparse
import contextlib
import sys

from soundalike.commands.arguments import whole
from soundalike.core.errors import SoundalikeError, nearest

HELP = "play with a voice in a browser: its knobs, its pairs, and what δ does to them"
NEEDS = ("starlette", "uvicorn", "yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--voice", default="mouth", help="with which the page begins (default: mouth)")
    parser.add_argument(
        "--port", type=whole, default=0, help="of the page on this machine (default: any that is free)"
    )
    parser.add_argument("--no-browser", action="store_true", help="show the address, and open no browser")


def run(options: argparse.Namespace) -> int:
    """Serves the page until Ctrl-C."""
    import torch

    from soundalike import load
    from soundalike.apps.pages.local_server import listen, serve
    from soundalike.apps.studio.app import make_app
    from soundalike.apps.studio.studio import Studio
    from soundalike.synth import VOICES

    if options.voice not in VOICES:
        raise SoundalikeError(f"--voice is {options.voice!r}: {nearest(options.voice, VOICES)}")
    torch.set_num_threads(1)  # threads cost more than they save in three sounds of a second
    bound = listen(options.port)
    studio = Studio(load())

    def started(address: str) -> None:
        print(address, flush=True)
        print("Open this address in a browser on this machine. Ctrl-C ends.", file=sys.stderr)
        if not options.no_browser:
            import webbrowser

            webbrowser.open(address)

    with contextlib.suppress(KeyboardInterrupt):
        serve(lambda: make_app(studio, options.voice), bound, started)
    return 0
