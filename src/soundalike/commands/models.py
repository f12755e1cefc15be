"""``soundalike models``."""

from __future__ import annotations

import argparse

HELP = "list the models that ship with the package"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--check", action="store_true", help="compare every file with the SHA-256 of its model card")


def run(options: argparse.Namespace) -> int:
    """Lists them; the code is 1 where one is missing or damaged."""
    from soundalike import load
    from soundalike.model.shipped import SHIPPED

    code = 0
    for number, shipped in enumerate(SHIPPED):
        print(f"{shipped.name}{' (the default)' if number == 0 else ''}: {shipped.summary}")
        if not shipped.path.is_file():
            print(f"  missing: {shipped.path}; install soundalike again")
            code = 1
            continue
        if options.check and not shipped.whole():
            print(f"  damaged: {shipped.path} is not the file of that SHA-256; install soundalike again")
            code = 1
            continue
        model = load(shipped.path)
        print(f"  hears   {model.sample_rate:,} Hz, a sound of any length")
        print(f"  gives   {model.size:,} numbers a sound")
        print(f"  heard   {model.training.get('pairs', 0):,} synthetic pairs and no recording")
        print(f"  file    {shipped.path} ({shipped.size / 1e6:.1f} MB)")
        print(f"  sha256  {shipped.sha256}{' (as it should be)' if options.check else ''}")
    return code
