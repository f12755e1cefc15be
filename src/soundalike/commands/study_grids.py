"""The studies of ``soundalike study`` that train: their arguments, and what they start."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.commands.arguments import add_device, add_tasks, number, read_tasks, settings, whole
from soundalike.core.errors import SoundalikeError

if TYPE_CHECKING:
    from soundalike.eval.study.clar import Task
    from soundalike.eval.study.grid import Cell
    from soundalike.model.recipe import Recipe

CLAR_RECIPE = "clar-cpu"
Prepared = tuple["Recipe", "list[Task]", dict[str, Any]]


def add_levels(parser: argparse.ArgumentParser, option: str, default: str, kind: Callable[[str], Any] = str) -> None:
    """An option that takes levels of a factor."""
    parser.add_argument(option, nargs="+", type=kind, metavar="LEVEL", help=f"levels to study (default: {default})")


def _add_common(parser: argparse.ArgumentParser, recipe: str, seeds: int, parts: str = "in equal parts") -> None:
    parser.epilog = "The same command again goes on where it was broken off, and runs no finished cell again."
    parser.add_argument(
        "--budget", type=float, required=True, metavar="MINUTES", help=f"of training over all cells, {parts}"
    )
    add_tasks(parser)
    parser.add_argument("--recipe", default=recipe, help="what all cells share (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=seeds, help="runs of each setting (default: %(default)s)")
    add_device(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress lines")


def _end(out: Path, failed: Sequence[tuple[Cell, str]]) -> int:
    """Names the cells that failed, and prints where the report is."""
    for cell, why in failed:
        print(f"failed: {cell.title}: {why}", file=sys.stderr)
    report = out / "report.html"
    print(report if report.exists() else out)
    return 1 if failed else 0


def _add_doppelgangers(parser: argparse.ArgumentParser) -> None:
    _add_common(parser, "doppelgangers-cpu", seeds=1)
    add_levels(parser, "--delta", "0.01 0.05 0.1 0.25 0.5", float)
    add_levels(parser, "--voice", "voice voice-fm parametric")
    add_levels(parser, "--augment", "none paper")
    parser.add_argument(
        "--pool", type=int, default=100_000, help="pairs of the fixed pool; 0: no such run (default: 100000)"
    )


def _doppelgangers(options: argparse.Namespace) -> int:
    from soundalike.core.memory import keep_freed_memory
    from soundalike.eval.study import doppelgangers
    from soundalike.model.recipe import Recipe

    keep_freed_memory()
    cells = doppelgangers.cells(
        options.delta or doppelgangers.DELTAS,
        options.voice or doppelgangers.STUDIED_VOICES,
        options.augment or tuple(doppelgangers.AUGMENT),
        options.seeds,
        options.pool,
    )
    found = read_tasks(options)
    recipe = Recipe.load(options.recipe)
    failed = doppelgangers.run(options.out, options.budget, found, recipe, cells, options.device, options.quiet)
    return _end(options.out, failed)


def _add_clar(parser: argparse.ArgumentParser, seeds: int, parts: str = "in equal parts") -> None:
    _add_common(parser, CLAR_RECIPE, seeds, parts)
    parser.add_argument(
        "--fold", type=whole, default=1, help="the one that is held out of each task and scored on (default: 1)"
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="other recipe keys for all cells, such as encoder.width=16 seconds=0.5",
    )


def _prepared(options: argparse.Namespace, study: str, varied: Sequence[str]) -> Prepared:
    """The recipe, the tasks and the limits of a study of CLAR."""
    given: dict[str, Any] = {}
    for pair in options.settings:
        if pair.startswith("-") or not pair.partition("=")[0] or "=" not in pair:
            raise SoundalikeError(f"--set {pair}: give KEY=VALUE, such as encoder.width=16.")
        given |= settings([f"--{pair}"], f"study {study}")
    from soundalike.core.memory import keep_freed_memory
    from soundalike.eval.study import clar
    from soundalike.model.recipe import Recipe

    keep_freed_memory()
    options.data = [folder.absolute() for folder in options.data]  # as the runs write what they have heard
    recipe, limits = clar.base(Recipe.load(options.recipe), given, study, varied)
    datasets = read_tasks(options)
    folders = options.data * (len(datasets) if len(options.data) == 1 else 1)
    return recipe, clar.hold_out(zip(options.task, folders, datasets, strict=True), options.fold), limits


def _add_augmentations(parser: argparse.ArgumentParser) -> None:
    _add_clar(parser, seeds=1)
    add_levels(parser, "--augment", "pitch-shift fade noise time-mask time-shift time-stretch")


def _augmentations(options: argparse.Namespace) -> int:
    from soundalike.eval.study import augmentations, clar

    recipe, tasks, limits = _prepared(options, "augmentations", augmentations.VARIED)
    cells = augmentations.cells(tasks, options.augment or augmentations.AUGMENTED, options.seeds)
    cells = clar.limited(cells, limits)
    failed = augmentations.run(options.out, options.budget, tasks, recipe, cells, options.device, options.quiet)
    return _end(options.out, failed)


def _add_frontends(parser: argparse.ArgumentParser) -> None:
    _add_clar(parser, seeds=3)
    add_levels(parser, "--frontend", "spectrogram raw; logmel is one more")
    add_levels(parser, "--objective", "self-supervised supervised")


def _frontends(options: argparse.Namespace) -> int:
    from soundalike.eval.study import clar, frontends

    recipe, tasks, limits = _prepared(options, "frontends", frontends.VARIED)
    levels = options.frontend or frontends.STUDIED
    cells = frontends.cells(tasks, recipe, levels, options.objective or frontends.OBJECTIVES, options.seeds)
    cells = clar.limited(cells, limits)
    failed = frontends.run(options.out, options.budget, tasks, recipe, cells, options.device, options.quiet)
    return _end(options.out, failed)


def _add_labels(parser: argparse.ArgumentParser) -> None:
    _add_clar(parser, seeds=3, parts="in equal parts, of which a fine-tuning gets half a one")
    add_levels(parser, "--labels", "0.01 0.1 0.2 1.0", number)
    add_levels(parser, "--method", "self-supervised supervised two-stage joint joint-balanced")


def _labels(options: argparse.Namespace) -> int:
    from soundalike.eval.study import clar, labels

    recipe, tasks, limits = _prepared(options, "labels", labels.VARIED)
    cells, notes = labels.cells(
        tasks, recipe, options.labels or labels.FRACTIONS, options.seeds, options.method or labels.METHODS
    )
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    cells = clar.limited(cells, limits)
    failed = labels.run(options.out, options.budget, tasks, recipe, cells, options.device, options.quiet, notes)
    return _end(options.out, failed)


GRIDS = {
    "doppelgangers": (_add_doppelgangers, _doppelgangers),
    "augmentations": (_add_augmentations, _augmentations),
    "frontends": (_add_frontends, _frontends),
    "labels": (_add_labels, _labels),
}
"""Name to what adds a study's arguments and what runs it."""
