"""The studies that train nothing: of sounds and of what models make of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.commands.arguments import DEFAULT_RECIPE, name_broken, seed, whole
from soundalike.core.errors import SoundalikeError

if TYPE_CHECKING:
    import numpy as np

    from soundalike.model.embed_files import Embedder


def _add_similarity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, help="model file, or the folder of its run (default: untrained only)")
    parser.add_argument(
        "--recipe", help=f"of the untrained encoder where no model is given (default: {DEFAULT_RECIPE})"
    )
    _add_outside(parser)
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
    embedders |= _outside(options)
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


def _add_outside(parser: argparse.ArgumentParser) -> None:
    """Embedders of others, which `_outside` loads."""
    parser.add_argument(
        "--embedder",
        action="append",
        default=[],
        metavar="EMBEDDER",
        help="another embedder: an ONNX file, or MODULE:FUNCTION, with @RATE behind it; may be repeated",
    )


def _outside(options: argparse.Namespace) -> dict[str, Embedder]:
    from soundalike.model.outside import load_outside

    return {name: load_outside(name) for name in dict.fromkeys(options.embedder)}


def _add_frechet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", type=Path, help="model file, or the folder of its run (default: the one that ships)"
    )
    _add_outside(parser)
    parser.add_argument(
        "--recipe", action="append", help=f"whose sounds to draw; may be repeated (default: {DEFAULT_RECIPE})"
    )
    parser.add_argument(
        "--data", action="append", required=True, type=Path, help="folder of recordings; may be repeated"
    )
    parser.add_argument("--count", type=whole, default=500, help="the most sounds of each source (default: 500)")
    parser.add_argument("--seed", type=seed, default=0, help="which sounds (default: 0)")


def _frechet(options: argparse.Namespace) -> int:
    if options.count < 2:
        raise SoundalikeError(f"--count is {options.count}: give at least 2 sounds.")
    from soundalike import load
    from soundalike.core.files import make_folder
    from soundalike.eval.probe.baseline import LOG_MEL_STATISTICS, LogMelStatistics
    from soundalike.eval.study import frechet
    from soundalike.eval.study.scoring import distinct
    from soundalike.model.recipe import Recipe

    embedders: dict[str, Embedder] = {"model": load(options.model), LOG_MEL_STATISTICS: LogMelStatistics()}
    embedders |= _outside(options)
    recipes = [Recipe.load(name) for name in dict.fromkeys(options.recipe or [DEFAULT_RECIPE])]
    out = make_folder(options.out)
    sources: dict[str, dict[str, np.ndarray]] = {}
    broken: list[tuple[str, str]] = []
    for folder in dict.fromkeys(options.data):
        vectors, left_out = frechet.of_folder(folder, embedders, options.count, options.seed)
        sources[distinct(folder.absolute().name, sources)] = vectors
        broken += left_out
    real = list(sources)
    for recipe in recipes:
        sources[distinct(recipe.name, sources)] = frechet.of_recipe(recipe, embedders, options.count, options.seed)
    found = frechet.compare(sources, real)
    count = min(len(vectors) for of in sources.values() for vectors in of.values())
    about = (
        f"Fréchet distance of {count} sounds each, in standardised embeddings, divided by their width; 0 is the same "
        "distribution. It grows where sounds are few: compare numbers of one table only."
    )
    frechet.write(found, out, about)
    for row in frechet.rows(found):
        print("  ".join(row))
    code = name_broken(broken)
    print(out / frechet.REPORT)
    return code


def _add_uncertainty(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--with", dest="classifier", required=True, type=Path, help="classifier that soundalike teach wrote"
    )
    parser.add_argument("--recipe", default="doppelgangers-cpu", help="whose voice to draw (default: %(default)s)")
    parser.add_argument("--voice", nargs="+", metavar="LEVEL", help="voices to study (default: the recipe's)")
    parser.add_argument(
        "--delta", nargs="+", type=float, metavar="LEVEL", help="δ to study (default: 0.01 0.05 0.1 0.25 0.5)"
    )
    parser.add_argument("--data", action="append", default=[], type=Path, help="folder of recordings beside them")
    parser.add_argument("--count", type=whole, default=512, help="pairs for each δ (default: 512)")
    parser.add_argument("--seed", type=seed, default=0, help="which patches (default: 0)")


def _uncertainty(options: argparse.Namespace) -> int:
    import numpy as np

    from soundalike.apps.classifier import load_classifier
    from soundalike.core.files import make_folder
    from soundalike.eval.study import uncertainty
    from soundalike.eval.study.doppelgangers import DELTAS
    from soundalike.eval.study.scoring import distinct, some_files
    from soundalike.model.recipe import Recipe

    classifier, recipe = load_classifier(options.classifier), Recipe.load(options.recipe)
    if "voice" not in recipe.sections:
        raise SoundalikeError(f"the recipe {recipe.name} has no voice; give one that has, such as doppelgangers-cpu.")
    out, views = make_folder(options.out), recipe.sections["views"]
    drawn, noise = views.get("uniform_in", "units"), views.get("noise", "view")

    def answers(sounds: list[Any], rate: float | None) -> np.ndarray:
        told = [found.probabilities for found in classifier.classify(sounds, rate, none_of_these=0)]
        # of a sound that is too quiet to be classified nothing is known: all classes are alike
        return np.array([[each.get(name, 0.0 if each else 1.0) for name in classifier.classes] for each in told])

    found: dict[str, Any] = {}
    for name in dict.fromkeys(options.voice or [recipe.sections["voice"]["name"]]):
        voice = recipe.override({"voice": name}).build().doppelgangers.voice
        measured = uncertainty.measure(
            voice,
            lambda sounds, rate=voice.sample_rate: answers(sounds, rate),  # type: ignore[misc]
            options.delta or DELTAS,
            options.count,
            drawn,
            noise,
            options.seed,
        )
        found[name] = {f"{delta:g}": numbers for delta, numbers in measured.items()}
    for folder in dict.fromkeys(options.data):
        bits = uncertainty.entropy(answers(some_files(folder, options.count, options.seed), None))
        recordings = {"bits": float(bits.mean()), "bits_std": float(bits.std())}
        found[distinct(folder.absolute().name, found)] = {"recordings": recordings}
    about = (
        f"Entropy of the classes that {options.classifier.name} gives {options.count} sounds for each δ; it knows "
        f"{len(classifier.classes)}, so that {np.log2(len(classifier.classes)):.2f} bits are complete ignorance."
    )
    uncertainty.write(found, out, about)
    for row in uncertainty.rows(found):
        print("  ".join(row))
    print(out / uncertainty.REPORT)
    return 0


MEASURED: dict[str, tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]] = {
    "similarity": (_add_similarity, _similarity),
    "spectra": (_add_spectra, _spectra),
    "frechet": (_add_frechet, _frechet),
    "uncertainty": (_add_uncertainty, _uncertainty),
}
"""Name of a study that trains nothing -> what adds its options, and what runs it."""
