"""``soundalike compact``."""

from __future__ import annotations

import argparse

from soundalike.commands.arguments import add_inference_device, path, seed, whole

HELP = "give a model a compact embedding, fitted to synthetic sounds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "model", metavar="MODEL", type=path, help="model file, folder of its run, or name of a shipped model"
    )
    parser.add_argument("--out", type=path, required=True, help="file for the model with both embeddings")
    parser.add_argument(
        "--size",
        type=whole,
        default=1024,
        help="the most numbers of the compact one; fewer stay possible (default: 1024)",
    )
    parser.add_argument("--sounds", type=whole, default=4096, help="how many to fit it to (default: 4096)")
    parser.add_argument("--seed", type=seed, default=0, help="which sounds (default: 0)")
    parser.add_argument(
        "--embedding",
        type=whole,
        metavar="SIZE",
        help="numbers that the model gives where nothing else is asked for (default: all of the full embedding)",
    )
    parser.add_argument("--half", action="store_true", help="write weights in 16 bits: half the size")
    add_inference_device(parser)


def run(options: argparse.Namespace) -> int:
    """Fits, writes, and says what was written."""
    from soundalike import load
    from soundalike.core.files import check_file
    from soundalike.core.memory import keep_freed_memory
    from soundalike.model.fit_compact import with_compact

    keep_freed_memory()
    check_file(options.out)
    model = load(options.model, options.device)
    model = with_compact(model, options.size, options.sounds, options.seed, progress=True)
    if options.embedding is not None:
        model = model.compacted(options.embedding)
    model.save(options.out, half=options.half)
    print(f"{options.out}: {model.size} numbers a sound, or the first {options.size} components or fewer")
    return 0
