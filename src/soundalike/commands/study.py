"""``soundalike study NAME …``: finds the study, and runs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.commands.arguments import (
    DEFAULT_RECIPE,
    add_device,
    add_tasks,
    name_broken,
    number,
    read_tasks,
    seed,
    settings,
    whole,
)
from soundalike.core.errors import SoundalikeError, nearest

if TYPE_CHECKING:
    from soundalike.eval.study.study import Study
    from soundalike.model.embed_files import Embedder

HELP = "train or measure many things and compare them, with a figure"
NEEDS = ("lightning", "tensorboard", "yaml", "matplotlib")
STUDIES = {
    "vary": "any recipe keys, in every combination of their values",
    "doppelgangers": "δ × voice × augmentation, and a fixed pool of pairs against endless fresh ones",
    "augmentations": "CLAR's augmentations of recordings, alone and in pairs",
    "frontends": "raw waveforms against spectrograms, without labels and with them",
    "labels": "supervised, self-supervised then fine-tuned, or both at once, over fractions of the labels",
    "similarity": "how alike the two views of a pair are to an encoder, against δ",
    "spectra": "spectral features of synthetic sounds beside real recordings",
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
    measured = {"similarity": (_add_similarity, _similarity), "spectra": (_add_spectra, _spectra)}
    if name in measured:
        add, start = measured[name]
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
    from soundalike.eval.study.vary import VaryStudy

    studies = (VaryStudy, DoppelgangerStudy, AugmentationStudy, FrontEndStudy, LabelStudy)
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


def _add_similarity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, help="model file, or the folder of its run (default: untrained only)")
    parser.add_argument(
        "--recipe", help=f"of the untrained encoder where no model is given (default: {DEFAULT_RECIPE})"
    )
    parser.add_argument("--voice", nargs="+", metavar="LEVEL", help="voices to study (default: the recipe's)")
    parser.add_argument(
        "--delta", nargs="+", type=float, metavar="LEVEL", help="δ to study (default: 0.01 0.05 0.1 0.25 0.5)"
    )
    parser.add_argument("--count", type=int, default=512, help="pairs for each δ (default: 512)")
    parser.add_argument("--seed", type=seed, default=0, help="which patches (default: 0)")


def _similarity(options: argparse.Namespace) -> int:
    if options.model is not None and options.recipe is not None:
        raise SoundalikeError("a model brings its own recipe: give --model or --recipe, not both.")
    from soundalike import load
    from soundalike.core.files import make_folder
    from soundalike.core.memory import keep_freed_memory
    from soundalike.eval.probe.baseline import LOG_MEL_STATISTICS, UNTRAINED_ENCODER, LogMelStatistics
    from soundalike.eval.study import similarity
    from soundalike.eval.study.doppelgangers import DELTAS
    from soundalike.model.model import SoundModel
    from soundalike.model.recipe import Recipe

    keep_freed_memory()
    model = load(options.model) if options.model else None
    recipe = model.recipe if model else Recipe.load(options.recipe or DEFAULT_RECIPE)
    embedders: dict[str, Embedder] = {"model": model} if model else {}
    embedders |= {UNTRAINED_ENCODER: SoundModel(recipe).untrained(0), LOG_MEL_STATISTICS: LogMelStatistics()}
    rates = {embedder.sample_rate for embedder in embedders.values()}
    if len(rates) > 1:
        raise SoundalikeError(f"the model hears at {model and model.sample_rate} Hz: this study compares at 16000 Hz.")
    out = make_folder(options.out)
    found, views = {}, recipe.sections["views"]
    drawn, noise = views.get("uniform_in", "units"), views.get("noise", "view")
    for name in dict.fromkeys(options.voice or [recipe.sections["voice"]["name"]]):
        voice = recipe.override({"voice": name}).build().doppelgangers.voice
        deltas = options.delta or DELTAS
        found[name] = similarity.measure(voice, embedders, deltas, options.count, drawn, noise, options.seed)
    about = (
        f"Embeddings of {options.count} pairs for each δ, the mean of all sounds taken away. One δ for all knobs; "
        f"patches uniform in {drawn}."
    )
    similarity.write(found, out, about)
    for row in similarity.rows(found):
        print("  ".join(row))
    print(out / similarity.REPORT)
    return 0


def _add_spectra(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recipe", action="append", help=f"whose sounds to draw; may be repeated (default: {DEFAULT_RECIPE})"
    )
    parser.add_argument(
        "--data", action="append", required=True, type=Path, help="folder of recordings; may be repeated"
    )
    parser.add_argument("--count", type=int, default=500, help="the most sounds of each source (default: 500)")
    parser.add_argument("--seed", type=seed, default=0, help="which sounds (default: 0)")


def _spectra(options: argparse.Namespace) -> int:
    if options.count < 2:
        raise SoundalikeError(f"--count is {options.count}: give at least 2 sounds.")
    from soundalike.core.files import make_folder
    from soundalike.eval.study import spectra
    from soundalike.eval.study.scoring import distinct
    from soundalike.model.recipe import Recipe

    recipes = [Recipe.load(name) for name in dict.fromkeys(options.recipe or [DEFAULT_RECIPE])]
    out = make_folder(options.out)
    real: dict[str, spectra.Table] = {}
    broken: list[tuple[Path, str]] = []
    for folder in dict.fromkeys(options.data):
        found, unread = spectra.of_folder(folder, options.count, options.seed)
        real[distinct(folder.absolute().name, real)] = found
        broken += unread
    synthetic: dict[str, spectra.Table] = {}
    for recipe in recipes:
        synthetic[distinct(recipe.name, {**synthetic, **real})] = spectra.of_recipe(
            recipe, options.count, options.seed
        )
    for source, others in spectra.write(synthetic, real, out)["distance"].items():
        for other, numbers in others.items():
            print(f"{source} from {other}: {numbers['mean']:.2f} standard deviations in the mean of all features")
    code = name_broken(broken)
    print(out / spectra.REPORT)
    return code
