"""``soundalike index``."""

from __future__ import annotations

import argparse
import sys

from soundalike.commands.arguments import TABLES, add_inference_device, add_speed, at_speed, name_broken, number, path
from soundalike.core.errors import SoundalikeError
from soundalike.core.terminal import shown

HELP = "index the sounds of a folder, to search it by sound"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "source",
        type=path,
        metavar="FOLDER",
        help=f"of recordings, and folders below it count too; or a table of recordings and segments ({TABLES}), a "
        "selection table of Raven, or a label track of Audacity",
    )
    parser.add_argument(
        "--out",
        type=path,
        required=True,
        metavar="INDEX",
        help="file to write; one that is there is brought up to date, and an interrupted run goes on",
    )
    parser.add_argument(
        "--every", type=number, metavar="SECONDS", help="index moments of the recordings, so far apart, and not wholes"
    )
    parser.add_argument(
        "--window",
        type=number,
        metavar="SECONDS",
        help="with --every: what is heard around each moment (default: --every, and 1 at least)",
    )
    parser.add_argument(
        "--model",
        type=path,
        help="model file, or the folder of its run; default: what made the index, or the model that ships",
    )
    add_inference_device(parser)
    add_speed(parser)


def run(options: argparse.Namespace) -> int:
    """Indexes, and names the files that were left out."""
    from soundalike import load
    from soundalike.apps.search.index import Index
    from soundalike.apps.search.update import check_out, check_source
    from soundalike.core.memory import keep_freed_memory
    from soundalike.model.shipped import DEFAULT

    keep_freed_memory()
    source = check_source(options.source)
    before = check_out(options.out, source, options.every, options.window)
    name = options.model
    if before is not None and options.speed not in (None, before.settings.speed):
        raise SoundalikeError(
            f"{options.out}: hears sounds {before.settings.speed:g} times as slow as they are, not {options.speed:g}; "
            "give another --out, or leave out --speed."
        )
    if before is not None:
        given = None if name is None else load(name, options.device)
        model, name = Index(before, given, options.device).model, before.maker.model if name is None else name
    else:
        name = DEFAULT if name is None else name
        model = at_speed(load(name, options.device), options)
    index, updated = Index.update(source, options.out, model, name, True, options.every, options.window)
    parts = (("new", updated.new), ("changed", updated.changed), ("gone", updated.gone), ("kept", updated.kept))
    broken = f", {len(updated.failures):,} left out" if updated.failures else ""
    files = len({entry.name for entry in index.store.entries})
    held = f"{len(index):,} {'sounds' if index.store.settings.every is None else 'moments'}"
    held += f" of {files:,} file{'s' * (files != 1)}" if len(index) != files else ""
    print(f"{options.out}: {held}: {', '.join(f'{count:,} {what}' for what, count in parts)}{broken}")
    for note in updated.notes:
        print(f"note: {shown(note.path)}: {shown(note.reason)}", file=sys.stderr)
    return name_broken((failure.path, failure.reason) for failure in updated.failures)
