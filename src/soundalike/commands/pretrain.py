"""``soundalike pretrain``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from soundalike.commands.arguments import DEFAULT_RECIPE, add_device, name_unheard, path, read_tasks, settings, whole
from soundalike.core.errors import SoundalikeError

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback

HELP = "train an encoder on synthetic sounds, on recordings, or on both"
NEEDS = ("lightning", "tensorboard", "yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.epilog = (
        "Every key of the recipe is an option too, by its own name or as --section.key: "
        "--minutes 10, --steps 500, --delta 0.25, --delta.pitch 0.01, --voice voice-fm, --batch-size 256, "
        "--seed 0, --checkpoint-every 200, --encoder.width 32. Recipes that hear recordings need --task and --data, "
        "and take --labels 0.1. --print-recipe shows them all."
    )
    parser.add_argument("--recipe", help=f"name of a recipe that ships, or a .yaml file (default: {DEFAULT_RECIPE})")
    parser.add_argument("--out", type=path, help="folder for the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument(
        "--keep", type=whole, metavar="STEPS", help="keep the model every so many steps, in the folder kept of the run"
    )
    parser.add_argument(
        "--probe",
        action="append",
        metavar="TASK",
        help="task to probe the encoder with every --keep steps (convergence.csv and .png); may be repeated",
    )
    parser.add_argument("--probe-data", action="append", type=path, metavar="DIR", help="recordings of each --probe")
    add_device(parser)
    parser.add_argument("--print-recipe", action="store_true", help="show the recipe that would run, and stop")
    parser.add_argument("--quiet", action="store_true", help="no progress display")


def run(options: argparse.Namespace) -> int:
    """Trains, and prints the path of the model."""
    given = settings(options.settings, "pretrain")
    if options.out is None and not options.print_recipe:
        raise SoundalikeError("pretrain needs a folder for the run; give --out FOLDER.")
    from soundalike.model.recipe import Recipe

    recorded = options.out / "recipe.yaml" if options.resume and options.out is not None else None
    if options.recipe is None and recorded is not None and recorded.is_file():
        recipe = Recipe.load(recorded)
    else:
        recipe = Recipe.load(DEFAULT_RECIPE if options.recipe is None else options.recipe)
    recipe = recipe.override(given)
    if options.print_recipe:
        recipe.build()  # so that what is printed would also run
        print(recipe.to_yaml(), end="")
        return 0
    from soundalike.core.device import is_first_process
    from soundalike.train.pretrain import pretrain

    callbacks = _watching(options)
    model = pretrain(recipe, options.out, options.resume, options.device, options.quiet, callbacks=callbacks)
    if not is_first_process():  # the others train along, and say nothing
        return 0
    code = name_unheard(model)
    print(model)
    return code


def _watching(options: argparse.Namespace) -> list[Callback]:
    """What keeps and probes the model while it is trained, where that is asked for."""
    if options.keep is None and options.probe is None and options.probe_data is None:
        return []
    if options.keep is None or (options.probe is None) != (options.probe_data is None):
        raise SoundalikeError("--probe TASK needs --probe-data DIR, and --keep STEPS for how often.")
    from soundalike.eval.convergence import Convergence

    tasks = []
    if options.probe is not None:
        tasks = read_tasks(argparse.Namespace(task=options.probe, data=options.probe_data))
    return [Convergence(options.out, options.keep, tasks)]
