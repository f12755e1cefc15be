"""``soundalike study NAME …``: finds the study; and those that measure and do not train."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.commands.arguments import DEFAULT_RECIPE, name_broken, seed
from soundalike.commands.study_grids import GRIDS, add_levels
from soundalike.core.errors import SoundalikeError, nearest

if TYPE_CHECKING:
    from soundalike.model.embed_files import Embedder

HELP = "train or measure many things and compare them, with a figure"
NEEDS = ("lightning", "tensorboard", "yaml", "matplotlib")
STUDIES = {
    "doppelgangers": "δ × voice × augmentation, and a fixed pool of pairs against endless fresh ones",
    "augmentations": "CLAR's augmentations of recordings, alone and in pairs",
    "frontends": "raw waveforms against spectrograms, without labels and with them",
    "labels": "supervised, self-supervised then fine-tuned, or both at once, over fractions of the labels",
    "similarity": "how alike the two views of a pair are to an encoder, against δ",
    "spectra": "spectral features of synthetic sounds beside real recordings",
}


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
        Exit code: 0 done, 1 done but for some cells or files.

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
    add, start = {
        **GRIDS,
        "similarity": (_add_similarity, _similarity),
        "spectra": (_add_spectra, _spectra),
    }[name]
    add(parser)
    return start(parser.parse_args(rest))


def _add_similarity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, help="model file, or the folder of its run (default: untrained only)")
    parser.add_argument(
        "--recipe", help=f"of the untrained encoder where no model is given (default: {DEFAULT_RECIPE})"
    )
    add_levels(parser, "--voice", "the recipe's")
    add_levels(parser, "--delta", "0.01 0.05 0.1 0.25 0.5", float)
    parser.add_argument("--count", type=int, default=512, help="pairs for each δ (default: 512)")
    parser.add_argument("--seed", type=seed, default=0, help="which patches (default: 0)")


def _similarity(options: argparse.Namespace) -> int:
    if options.model is not None and options.recipe is not None:
        raise SoundalikeError("a model brings its own recipe: give --model or --recipe, not both.")
    from soundalike.core.files import make_folder
    from soundalike.core.memory import keep_freed_memory
    from soundalike.eval.probe.baseline import LOG_MEL_STATISTICS, UNTRAINED_ENCODER, LogMelStatistics
    from soundalike.eval.study import similarity
    from soundalike.eval.study.doppelgangers import DELTAS
    from soundalike.model.model import SoundModel
    from soundalike.model.recipe import Recipe

    keep_freed_memory()
    model = SoundModel.load(options.model) if options.model else None
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
