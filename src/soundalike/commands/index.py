"""``soundalike index``."""

from __future__ import annotations

import argparse
import sys

from soundalike.commands.arguments import name_broken, path
from soundalike.core.terminal import shown

HELP = "index the sounds of a folder, to search it by sound"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("folder", type=path, metavar="FOLDER", help="of recordings; folders below it count too")
    parser.add_argument(
        "--out",
        type=path,
        required=True,
        metavar="INDEX",
        help="file to write; one that is there is brought up to date, and an interrupted run goes on",
    )
    parser.add_argument(
        "--model",
        type=path,
        help="model file, or the folder of its run; default: what made the index, or the model that ships",
    )
    parser.add_argument("--device", default="cpu", help="default: cpu")


def run(options: argparse.Namespace) -> int:
    """Indexes, and names the files that were left out."""
    from soundalike import load
    from soundalike.apps.search.index import Index
    from soundalike.apps.search.update import check_folder, check_out
    from soundalike.core.memory import keep_freed_memory
    from soundalike.model.shipped import DEFAULT

    keep_freed_memory()
    folder = check_folder(options.folder)
    before = check_out(options.out, folder)
    name = options.model
    if name is None and before is not None:
        model, name = Index(before, device=options.device).model, before.maker.model
    else:
        name = DEFAULT if name is None else name
        model = load(name, options.device)
    index, updated = Index.update(folder, options.out, model, name, progress=True)
    parts = (("new", updated.new), ("changed", updated.changed), ("gone", updated.gone), ("kept", updated.kept))
    broken = f", {len(updated.failures):,} left out" if updated.failures else ""
    print(f"{options.out}: {len(index):,} sounds: {', '.join(f'{count:,} {what}' for what, count in parts)}{broken}")
    for note in updated.notes:
        print(f"note: {shown(note.path)}: {shown(note.reason)}", file=sys.stderr)
    return name_broken((failure.path, failure.reason) for failure in updated.failures)
