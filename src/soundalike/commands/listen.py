"""``soundalike listen``."""

from __future__ import annotations

import argparse

from soundalike.commands.arguments import DEFAULT_RECIPE, path, seed, settings, whole

HELP = "write a page with pairs of a recipe to play and to compare"
NEEDS = ("matplotlib", "yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.epilog = "Every key of the recipe is an option too, as in pretrain: --delta 0.25, --voice voice-fm."
    parser.add_argument(
        "--recipe", help=f"name of a recipe that ships, or a .yaml file (default: the model's, or {DEFAULT_RECIPE})"
    )
    parser.add_argument(
        "--model",
        type=path,
        help="model file, folder of its run, or name of a shipped model (default: an untrained encoder)",
    )
    parser.add_argument("--out", type=path, required=True, help="page to write: .html")
    parser.add_argument("--count", type=whole, default=8, help="how many pairs (default: 8)")
    parser.add_argument("--seed", type=seed, default=0, help="which sounds (default: 0)")


def run(options: argparse.Namespace) -> int:
    """Writes the page, and prints its path."""
    given = settings(options.settings, "listen")
    from soundalike import load
    from soundalike.apps.pages.listen import listen
    from soundalike.model.recipe import Recipe

    model = None if options.model is None else load(options.model)
    if options.recipe is None and model is not None:
        recipe = model.recipe
    else:
        recipe = Recipe.load(DEFAULT_RECIPE if options.recipe is None else options.recipe)
    print(listen(recipe.override(given), options.out, model, options.count, options.seed))
    return 0
