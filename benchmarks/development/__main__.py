"""Reads models on the development set: probes on four sets of recordings, and a table for each model."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

import soundalike
from benchmarks.development.reading import Row, read
from benchmarks.development.sets import FOLDS, TABLE
from benchmarks.development.vectors import EMBEDDINGS, Model, VectorCache
from soundalike.core.errors import SoundalikeError
from soundalike.core.memory import keep_freed_memory
from soundalike.data.table_writer import check_table, open_table
from soundalike.eval.probe import LogMelStatistics
from soundalike.model.fit_compact import SOUNDS
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe

LOG_MEL, UNTRAINED = "log-mel", "untrained:"
_PROBES = {"linear": "linear probe", "knn": "neighbours"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line asks for.

    Returns:
        Exit code: 0, or 2 where the input cannot be used.
    """
    parser = argparse.ArgumentParser("python -m benchmarks.development", description=__doc__)
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help=f"model file, folder of a run, name of a shipped model, {UNTRAINED}RECIPE for random weights "
        f"({UNTRAINED}FILE.safetensors: of the recipe in a model file), or {LOG_MEL} for the baseline",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help=f"folder with a sub-folder for each set, which holds {TABLE} (default: dev in $SOUNDALIKE_DATA)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="table of all readings to write, such as FILE.csv")
    parser.add_argument("--folds", type=int, default=FOLDS, help=f"number of folds (default: {FOLDS})")
    parser.add_argument(
        "--embeddings",
        nargs="+",
        choices=EMBEDDINGS,
        default=EMBEDDINGS,
        help="which embeddings to score (default: all)",
    )
    parser.add_argument(
        "--sounds",
        type=int,
        default=SOUNDS,
        help=f"synthetic sounds that a compact embedding is fitted to where a model has none (default: {SOUNDS})",
    )
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder that keeps embeddings of the baseline and of random weights"
    )
    options = parser.parse_args(arguments)
    keep_freed_memory()
    try:
        if options.out is not None:
            check_table(options.out)
        models = {name: load(name) for name in options.models}
        kept = None if options.cache is None else VectorCache(options.cache)
        rows: list[Row] = []
        for name, model in models.items():
            started = time.monotonic()
            fixed = name == LOG_MEL or name.startswith(UNTRAINED)
            found = read(
                model,
                options.data,
                name=name,
                folds=options.folds,
                embeddings=options.embeddings,
                sounds=options.sounds,
                cache=kept if fixed else None,
                progress=sys.stderr.isatty(),
            )
            print(table(found), flush=True)
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
            rows += found
        if options.out is not None:
            with open_table(options.out, [field.name for field in fields(Row)], whole=True) as writer:
                for row in rows:
                    writer.write(astuple(row))
    except SoundalikeError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def load(name: str) -> Model:
    """A model as the command line names it.

    Raises:
        SoundalikeError: there is no such model or recipe.
    """
    if name == LOG_MEL:
        return LogMelStatistics()
    if name.startswith(UNTRAINED):
        recipe = name.removeprefix(UNTRAINED)
        return (
            soundalike.load(recipe).untrained() if recipe.endswith(".safetensors") else SoundModel(Recipe.load(recipe))
        )
    return soundalike.load(name)


def table(rows: Sequence[Row]) -> str:
    """The readings of one model as a table in Markdown: a line for each embedding and probe, a column for each set."""
    lines: list[str] = []
    for (embedding, probe), own in itertools.groupby(rows, lambda row: (row.embedding, row.probe)):
        cells = list(own)
        if not lines:
            lines += [f"| {cells[0].model}, % |" + "".join(f" {cell.set} |" for cell in cells)]
            lines += ["|---|" + "---|" * len(cells)]
        label = f"{embedding}, {cells[0].numbers:,} numbers, {_PROBES[probe]}"
        lines.append(f"| {label} |" + "".join(f" {cell.accuracy:.1f} |" for cell in cells))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
