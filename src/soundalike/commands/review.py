"""``soundalike review``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.commands.arguments import add_inference_device, name_broken, number, path, whole
from soundalike.core.errors import SoundalikeError
from soundalike.core.files import missing
from soundalike.core.terminal import shown

if TYPE_CHECKING:
    from soundalike.apps.classifier import SoundClassifier
    from soundalike.model.model import SoundModel

HELP = "label the sounds of a folder in a browser, while a classifier learns"
NEEDS = ("starlette", "uvicorn")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("folder", type=path, metavar="FOLDER", help="of recordings; folders below it count too")
    parser.add_argument(
        "--with",
        dest="taught",
        type=path,
        metavar="MODEL",
        help="what soundalike teach wrote: sorts the sounds until your labels make a better classifier; or an encoder "
        "(default: the one that ships)",
    )
    parser.add_argument("--labels", type=path, help="table of the labels, .csv (default: labels.csv in FOLDER)")
    parser.add_argument(
        "--out", type=path, help="file for the classifier, .safetensors (default: beside the labels, of their name)"
    )
    parser.add_argument(
        "--class",
        dest="classes",
        action="append",
        default=[],
        metavar="NAME",
        help="for key 1, 2, 3 …; may be repeated",
    )
    parser.add_argument(
        "--every", type=number, metavar="SECONDS", help="cut longer recordings into pieces that begin so far apart"
    )
    parser.add_argument("--length", type=number, metavar="SECONDS", help="of a piece (default: as --every)")
    parser.add_argument("--by", default="", metavar="NAME", help="who labels (default: your account's name)")
    parser.add_argument(
        "--port", type=whole, default=0, help="of the page on this machine (default: any that is free)"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser, too")
    add_inference_device(parser)


def run(options: argparse.Namespace) -> int:
    """Serves the page until Ctrl-C, then names the files that were left out."""
    folder: Path = options.folder
    if not folder.is_dir():
        raise SoundalikeError(
            f"{folder}: is a file; give the folder that it lies in." if folder.exists() else missing(folder)
        )
    from soundalike.apps.classifier import SoundClassifier
    from soundalike.apps.classifier.report import check_places
    from soundalike.apps.pages.local_server import listen, serve
    from soundalike.apps.review.app import make_app
    from soundalike.apps.review.labels import LabelFile, tidied
    from soundalike.apps.review.project import Project
    from soundalike.apps.review.sounds import items_of
    from soundalike.core.memory import keep_freed_memory

    keep_freed_memory()
    table = options.labels or folder / "labels.csv"
    out = options.out or table.with_suffix(".safetensors")
    classes = [tidied(name) for name in options.classes]
    items, left_out = items_of(folder, options.every, options.length)
    labels = LabelFile(table)
    check_places(out, None)
    bound = listen(options.port)
    model = _model(options.taught, options.device)
    window = model.window if isinstance(model, SoundClassifier) else None
    by = options.by or _account()
    project = Project(items, labels, model, folder, out, by, classes, window)
    before = len(labels.read())

    def started(address: str) -> None:
        print(f"{len(items):,} sounds, {before:,} labels in {shown(table)}", file=sys.stderr)
        print(address, flush=True)
        print(
            "Open this address in a browser on this machine. Ctrl-C ends; labels are kept as they come.",
            file=sys.stderr,
        )
        if options.open:
            import webbrowser

            webbrowser.open(address)

    project.start()
    try:
        serve(lambda: make_app(project), bound, started)
    except KeyboardInterrupt:
        pass
    finally:
        project.stop()
    print(f"{shown(table)}: {len(labels.read()):,} labels", file=sys.stderr)
    return name_broken((failure.path, failure.reason) for failure in [*left_out, *project.features.failures.values()])


def _model(given: Path | None, device: str) -> SoundClassifier | SoundModel:
    """The taught classifier of a file, or the encoder in it."""
    from soundalike import load
    from soundalike.apps.classifier import SoundClassifier
    from soundalike.apps.classifier.classifier import is_taught

    if given is not None and is_taught(given):
        return SoundClassifier.load(given, device)
    return load(given, device)


def _account() -> str:
    """The name of whoever runs this."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
