"""``soundalike study NAME …``: finds the study, and runs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.commands.arguments import add_device, add_tasks, number, read_tasks, settings, whole
from soundalike.commands.sound_studies import MEASURED
from soundalike.core.errors import SoundalikeError, nearest

if TYPE_CHECKING:
    from soundalike.eval.study.study import Study

HELP = "train or measure many things and compare them, with a figure"
NEEDS = ("lightning", "tensorboard", "yaml", "matplotlib")
STUDIES = {
    "vary": "any recipe keys, in every combination of their values",
    "doppelgangers": "δ × voice × augmentation, and a fixed pool of pairs against endless fresh ones",
    "synthetic-or-real": "the same training on synthetic pairs, on recordings and on both",
    "augmentations": "CLAR's augmentations of recordings, alone and in pairs",
    "frontends": "raw waveforms against spectrograms, without labels and with them",
    "labels": "supervised, self-supervised then fine-tuned, or both at once, over fractions of the labels",
    "similarity": "how alike the two views of a pair are to an encoder, against δ",
    "spectra": "spectral features of synthetic sounds beside real recordings",
    "frechet": "Fréchet distance of synthetic sounds from recordings, to any embedder",
    "uncertainty": "how unsure a taught classifier is of synthetic sounds, against δ, and of recordings",
}
KINDS: dict[type, Callable[[str], Any]] = {int: whole, float: number, str: str}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``soundalike study`` takes: a name, and what that study takes."""
    listed = "; ".join(f"{name}: {what}" for name, what in STUDIES.items())
    parser.epilog = f"{listed}. soundalike study NAME --help shows its options."
    parser.add_argument("study", nargs=argparse.REMAINDER, metavar="NAME ...", help="the study, and its options")
    parser.set_defaults(kind=type(parser))  # each study's own parser complains in the same way


def run(options: argparse.Namespace) -> int:
    """Runs a study.

    Args:
        options: what the parser of `add_arguments` gives.

    Returns:
        Exit code: 0 done, 1 done but for some runs or files.

    Raises:
        SoundalikeError: there is no such study, or its arguments are wrong.
    """
    name, *rest = options.study or [None]
    if name is None:
        raise SoundalikeError(f"study needs a name. Known: {', '.join(STUDIES)}.")
    if name not in STUDIES:
        raise SoundalikeError(f"unknown study {name!r}: {nearest(name, STUDIES)}")
    parser = options.kind(prog=f"soundalike study {name}", description=STUDIES[name], allow_abbrev=False)
    parser.add_argument("--out", required=True, type=Path, help="folder for the study")
    if name in MEASURED:
        add, start = MEASURED[name]
        add(parser)
        return start(parser.parse_args(rest))
    definition = _definition(name)
    _add_training(parser, definition)
    return _train(parser.parse_args(rest), definition)


def _definition(name: str) -> type[Study]:
    """The class of a study that trains."""
    from soundalike.eval.study.augmentations import AugmentationStudy
    from soundalike.eval.study.doppelgangers import DoppelgangerStudy
    from soundalike.eval.study.frontends import FrontEndStudy
    from soundalike.eval.study.labels import LabelStudy
    from soundalike.eval.study.synthetic_or_real import SyntheticOrReal
    from soundalike.eval.study.vary import VaryStudy

    studies = (VaryStudy, DoppelgangerStudy, SyntheticOrReal, AugmentationStudy, FrontEndStudy, LabelStudy)
    return next(study for study in studies if study.name == name)


def _add_training(parser: argparse.ArgumentParser, definition: type[Study]) -> None:
    """The options of a study that trains."""
    parser.epilog = "The same command again goes on where it was broken off, and does no finished run again."
    free = definition.name == "vary"  # lengths can be among its keys
    parser.add_argument(
        "--budget",
        type=float,
        required=not free,
        metavar="MINUTES",
        help=f"minutes of training over all runs, {definition.shares}"
        + (" (default: each run is as long as its recipe and --key say)" if free else ""),
    )
    add_tasks(parser)
    parser.add_argument(
        "--recipe", default=definition.default_recipe, help="recipe that all runs share (default: %(default)s)"
    )
    parser.add_argument(
        "--seeds", type=int, default=definition.default_seeds, help="runs of each setting (default: %(default)s)"
    )
    parser.add_argument(
        "--fold",
        type=whole,
        default=1,
        help="fold of each task that runs which hear recordings are not trained on, and are scored on (default: 1)",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="other recipe keys for all runs, such as encoder.width=16 seconds=0.5",
    )
    if free:
        parser.add_argument("--key", action="append", required=True, help="recipe key to vary; may be repeated")
        parser.add_argument(
            "--values", action="append", required=True, nargs="+", metavar="VALUE", help="values of the --key before"
        )
    if definition.name == "synthetic-or-real":
        parser.add_argument(
            "--heard",
            type=Path,
            metavar="FOLDER",
            help="recordings for the runs that hear some (default: of several tasks the one after that which is "
            "scored)",
        )
    for name, factor in getattr(definition, "factors", {}).items():
        others = [level for level in factor.known or () if level not in factor.levels]
        more = f"; also {' '.join(others)}" if others else ""
        parser.add_argument(
            f"--{name}",
            nargs="+",
            type=KINDS[type(factor.levels[0])],
            metavar="LEVEL",
            default=argparse.SUPPRESS,
            help=f"levels to study (default: {' '.join(map(str, factor.levels))}{more})",
        )
    add_device(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress lines")


def _train(options: argparse.Namespace, definition: type[Study]) -> int:
    from soundalike.core.memory import keep_freed_memory
    from soundalike.eval.study.scoring import make_tasks
    from soundalike.eval.study.study import REPORT
    from soundalike.model.recipe import Recipe

    keep_freed_memory()
    given: dict[str, Any] = {}
    for pair in options.settings:
        if pair.startswith("-") or not pair.partition("=")[0] or "=" not in pair:
            raise SoundalikeError(f"--set {pair}: give KEY=VALUE, such as encoder.width=16.")
        given |= settings([f"--{pair}"], f"study {definition.name}")
    levels = {name: getattr(options, name) for name in getattr(definition, "factors", {}) if hasattr(options, name)}
    if definition.name == "vary":
        if len(options.key) != len(options.values):
            raise SoundalikeError(
                f"{len(options.key)} --key and {len(options.values)} --values: give --values behind each --key."
            )
        parsed = [[settings([f"--value={text}"], "study")["value"] for text in texts] for texts in options.values]
        levels["keys"] = list(zip(options.key, parsed, strict=True))
    if getattr(options, "heard", None) is not None:
        levels["heard"] = options.heard.absolute()
    study = definition(Recipe.load(options.recipe), options.seeds, given, **levels)
    options.data = [folder.absolute() for folder in options.data]  # as the runs write what they have heard
    datasets = read_tasks(options)
    folders = options.data * (len(datasets) if len(options.data) == 1 else 1)
    tasks = make_tasks(zip(options.task, folders, datasets, strict=True), options.fold if study.holds_out else None)
    for note in study.notes(tasks):
        print(f"note: {note}", file=sys.stderr)
    failed = study.run(options.out, options.budget, tasks, options.device, options.quiet)
    for run, why in failed:
        print(f"failed: {run.title}: {why}", file=sys.stderr)
    report = options.out / REPORT
    print(report if report.exists() else options.out)
    return 1 if failed else 0
