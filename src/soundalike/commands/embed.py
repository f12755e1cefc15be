"""``soundalike embed``."""

from __future__ import annotations

import argparse
import sys

from soundalike.commands.arguments import name_broken, path

HELP = "turn audio files into embeddings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "files", nargs="+", type=path, metavar="FILE_OR_FOLDER", help="audio files, or folders searched for them"
    )
    parser.add_argument("--model", required=True, type=path, help="model file, or the folder of its run")
    parser.add_argument("--out", type=path, required=True, help="file to write: .npz or .parquet")
    parser.add_argument("--device", default="cpu", help="default: cpu")


def run(options: argparse.Namespace) -> int:
    """Embeds, and names the files that were left out."""
    from soundalike import audio, embedding, load
    from soundalike.memory import keep_freed_memory

    keep_freed_memory()
    embedding.check_out(options.out)
    files = audio.find(options.files)
    model = load(options.model, options.device)
    embedded = embedding.embed_files(files, {"model": model}, progress=True)
    embedding.save(embedded, options.out, "model")
    print(f"{options.out}: {len(embedded.paths)} embeddings of {model.size} numbers")
    for note in embedded.notes:
        print(f"note: {note.path}: {note.reason}", file=sys.stderr)
    return name_broken((failure.path, failure.reason) for failure in embedded.failures)
