"""``soundalike map``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.commands.arguments import (
    add_inference_device,
    add_speed,
    at_speed,
    name_broken,
    number,
    path,
    seed,
    whole,
)
from soundalike.core.errors import SoundalikeError
from soundalike.core.terminal import shown

if TYPE_CHECKING:
    from soundalike.audio.segment import Sound
    from soundalike.model.embed_files import Embedded

HELP = "write a page with the sounds of a folder as points to hear"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "folder",
        type=path,
        metavar="FOLDER",
        help="folder searched for audio files, or a table of files and segments as soundalike embed takes it",
    )
    parser.add_argument("--out", type=path, default=Path("map.html"), help="page to write (default: map.html)")
    parser.add_argument(
        "--model", type=path, help="model file, or the folder of its run (default: the one that ships)"
    )
    parser.add_argument(
        "--embeddings", type=path, help="take them from this table of soundalike embed, and embed nothing"
    )
    parser.add_argument(
        "--colour",
        "--color",
        choices=("auto", "folder", "cluster"),
        default="auto",
        help="what is shown first (default: auto: folders where there are several)",
    )
    parser.add_argument("--clusters", type=whole, help="how many (default: the number with the best silhouette)")
    parser.add_argument("--seconds", type=number, default=3.0, help="of each sound in the page (default: 3)")
    parser.add_argument("--link", action="store_true", help="play the files where they are, and put no sound inside")
    parser.add_argument("--seed", type=seed, default=0, help="of the places and clusters (default: 0)")
    add_inference_device(parser)
    add_speed(parser)


def run(options: argparse.Namespace) -> int:
    """Writes the page, prints its path and size, and names the files that were left out."""
    from soundalike.data import segments

    folder = options.folder
    if options.model is not None and options.embeddings is not None:
        raise SoundalikeError("--model and --embeddings: give one of them, embeddings need no model.")
    listing = segments.is_listing(folder)
    if folder.exists() and not folder.is_dir() and not listing:
        raise SoundalikeError(f"{folder}: is a file; give the folder that it lies in, or a table.")
    from soundalike.apps.pages import map as mapping
    from soundalike.apps.pages import page_file
    from soundalike.audio import read
    from soundalike.audio.excerpt import MOST_SECONDS, excerpts

    if not 0 < options.seconds <= MOST_SECONDS:
        raise SoundalikeError(f"--seconds is {options.seconds:g}: give a number above 0, at most {MOST_SECONDS:g}.")
    if options.clusters is not None and options.clusters < 1:
        raise SoundalikeError(f"--clusters is {options.clusters}: give a number from 1.")
    out = page_file.check_out(options.out, "the map", "map.html")
    files: list[Sound] = []
    files += segments.read_sounds(folder) if listing else read.find(folder)
    if options.clusters is not None and options.clusters > len(files):
        raise SoundalikeError(f"--clusters is {options.clusters}, but {folder} holds {len(files)} sounds; give fewer.")
    embedded = _read(options.embeddings, files, folder) if options.embeddings else _embed(files, options)
    for note in embedded.notes:
        print(f"note: {shown(note.path)}: {shown(note.reason)}", file=sys.stderr)
    broken = {failure.path: failure.reason for failure in embedded.failures}
    if not embedded.paths:
        name_broken(broken.items())
        raise SoundalikeError(
            f"{folder}: holds no audio file that can be used ({len(files)} found), so there is no map."
        )
    sounds = excerpts(embedded.paths, options.seconds, link=options.link, progress=True)
    if sounds.linked and not options.link:
        print("note: so many sounds do not fit into a page: it links to the files instead.", file=sys.stderr)
    elif not sounds.linked and sounds.seconds < options.seconds:
        print(
            f"note: {sounds.seconds:g} s of each sound are in the page and not {options.seconds:g}, for its size.",
            file=sys.stderr,
        )
    print(f"placing {len(embedded.paths):,} sounds on the map", file=sys.stderr)
    page = mapping.sound_map(
        embedded.paths,
        embedded.vectors["model"],
        root=None if listing else folder,
        sounds=sounds,
        colour=options.colour,
        clusters=min(options.clusters, len(embedded.paths)) if options.clusters else None,
        seed=options.seed,
        beside=out.parent,
    )
    size = page_file.write(page, out)
    print(f"{out}: {len(embedded.paths):,} sounds, {size / 1e6:.1f} MB")
    return name_broken([*broken.items(), *((failure.path, failure.reason) for failure in sounds.failures)])


def _embed(files: list[Sound], options: argparse.Namespace) -> Embedded:
    from soundalike import load
    from soundalike.core.memory import keep_freed_memory
    from soundalike.model import embed_files

    keep_freed_memory()
    model = at_speed(load(options.model, options.device), options)
    return embed_files.embed_files(files, {"model": model}, progress=True)


def _read(source: Path, files: list[Sound], folder: Path) -> Embedded:
    """Those of a table that ``soundalike embed`` wrote, in the order of ``files``."""
    import numpy as np

    from soundalike.audio.background import Failure
    from soundalike.data.segments import read_embeddings
    from soundalike.data.tables import read_failures
    from soundalike.model.embed_files import Embedded

    sounds, vectors = read_embeddings(source)
    row = {_resolved(sound, source): index for index, sound in enumerate(sounds)}
    reasons = {_resolved(path, source): reason for path, reason in read_failures(source).items()}
    whole_files = [_resolved(file) for file in files]
    found = [i for i, file in enumerate(whole_files) if file in row and np.isfinite(vectors[row[file]]).all()]
    if not found:
        raise SoundalikeError(
            f"{source}: has no embedding of a file in {folder}; embed this folder, or start where it was embedded."
        )
    left = sorted(set(range(len(files))) - set(found))
    return Embedded(
        paths=[files[i] for i in found],
        vectors={"model": np.stack([vectors[row[whole_files[i]]] for i in found])},
        failures=[
            Failure(files[i], reasons.get(whole_files[i], f"has no usable embedding in {source}.")) for i in left
        ],
        rows=np.array(found, dtype=int),
    )


def _resolved(sound: Sound, source: Path | None = None) -> tuple[Path, float | None, float | None]:
    """What a file or a segment is told by; that of a table's row where ``source`` is a table."""
    from soundalike.audio.segment import file_of, span_of
    from soundalike.data.tables import located

    file = file_of(sound)
    place = file if source is None else located(source, str(file))
    start, end = (None if value is None else round(value, 4) for value in span_of(sound))  # as tables have them
    return place.resolve(), start, end
