"""``soundalike embed``."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from soundalike.commands.arguments import (
    TABLES,
    add_compact,
    add_inference_device,
    add_sounds,
    add_speed,
    as_asked,
    at_speed,
    check_apart,
    name_broken,
    path,
    read_sounds,
)
from soundalike.core.errors import SoundalikeError
from soundalike.core.terminal import shown

HELP = "turn audio files into embeddings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_sounds(parser)
    parser.add_argument(
        "--model",
        type=path,
        help="model file, folder of its run, or name of a shipped model; default: the shipped one",
    )
    parser.add_argument("--out", type=path, required=True, help=f"table to write: {TABLES}")
    add_compact(parser, "write")
    add_inference_device(parser)
    add_speed(parser)


def run(options: argparse.Namespace) -> int:
    """Embeds what is not embedded yet, and names the files that were left out."""
    from soundalike import load
    from soundalike.core.memory import keep_freed_memory
    from soundalike.data.table_writer import check_table
    from soundalike.model import embed_files
    from soundalike.model.journal import Journal

    keep_freed_memory()
    check_table(options.out)
    check_apart(options.out, options.files)
    files = read_sounds(options)
    model = load(options.model, options.device)
    model = at_speed(as_asked(model, options), options)
    journal = Journal(options.out, _identity(options.model, model.size, model.speed))
    embedded = embed_files.embed_files(files, {"model": model}, progress=True, journal=journal)
    if not embedded.paths:
        name_broken((failure.path, failure.reason) for failure in embedded.failures)
        raise SoundalikeError(f"none of the {len(files)} files could be embedded, so {options.out} is not written.")
    embed_files.save(embedded, options.out, "model")
    journal.remove()
    print(f"{options.out}: {len(embedded.paths)} embeddings of {model.size} numbers")
    for note in embedded.notes:
        print(f"note: {shown(note.path)}: {shown(note.reason)}", file=sys.stderr)
    return name_broken((failure.path, failure.reason) for failure in embedded.failures)


def _identity(model: Path | None, size: int, speed: float) -> str:
    """What tells a model from another one, wherever it lies."""
    from soundalike import __version__
    from soundalike.model import shipped

    file = shipped.find(model)
    contents = (file / "model.safetensors" if file.is_dir() else file).read_bytes()
    return f"soundalike {__version__}, {hashlib.sha256(contents).hexdigest()}, {size} numbers, {speed}"
