"""``soundalike finetune``."""

from __future__ import annotations

import argparse

from soundalike.commands.arguments import TASKS, add_device, name_unheard, path, settings

HELP = "train a saved model on with labels, so that it tells classes apart"
NEEDS = ("lightning", "tensorboard", "yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.epilog = (
        "Every key of the recipe finetune is an option too, as in pretrain: --labels 0.1, --fold 2, --epochs 50, "
        "--learning-rate 0.001, --augment null. Front end, encoder and read-out are the model's."
    )
    parser.add_argument("model", metavar="MODEL", type=path, help="model file, or the folder of its run")
    parser.add_argument("--task", required=True, help=TASKS)
    parser.add_argument(
        "--data", required=True, type=path, help="folder of the task's recordings, or the table of a manifest"
    )
    parser.add_argument("--recipe", default="finetune", help="of the training (default: finetune)")
    parser.add_argument("--out", type=path, required=True, help="folder for the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    add_device(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress display")


def run(options: argparse.Namespace) -> int:
    """Trains, and prints the accuracy on what was held out and the path of the model."""
    given = settings(options.settings, "finetune")
    from soundalike.core.device import is_first_process
    from soundalike.model.model import SoundModel
    from soundalike.model.recipe import Recipe
    from soundalike.train.finetune import finetune, held_out_accuracy

    recipe = Recipe.load(options.recipe).override({"task": options.task, "data": str(options.data), **given})
    out = finetune(options.model, recipe, options.out, options.resume, options.device, options.quiet)
    if not is_first_process():  # the others train along, and say nothing
        return 0
    model = SoundModel.load(out)
    if recipe.sections["recordings"]["fold"]:
        accuracy, clips, protocol = held_out_accuracy(model)
        print(f"{100 * accuracy:.1f} % of the {clips} clips that were held out are told right ({protocol})")
    code = name_unheard(out)
    print(out)
    return code
