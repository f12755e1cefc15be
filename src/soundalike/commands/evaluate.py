"""``soundalike evaluate``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.commands.arguments import (
    add_compact,
    add_inference_device,
    add_tasks,
    as_asked,
    name_broken,
    path,
    read_tasks,
    seed,
)

if TYPE_CHECKING:
    from soundalike.data.datasets import Dataset
    from soundalike.model.model import SoundModel

HELP = "score a model on labelled recordings, beside two baselines"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        type=path,
        help="model file, folder of its run, or name of a shipped model (default: the one that ships)",
    )
    add_tasks(parser)
    parser.add_argument(
        "--probe",
        nargs="+",
        choices=("linear", "knn", "mlp"),
        default=["linear", "knn"],
        help="how frozen embeddings are scored; the first decides (default: linear knn)",
    )
    add_compact(parser, "score, beside the model's own,")
    parser.add_argument(
        "--out",
        type=path,
        help="folder for results.json and report.html (default: evaluation, beside the model)",
    )
    parser.add_argument("--seed", type=seed, default=0, help="weights of the untrained encoder (default: 0)")
    add_inference_device(parser)


def run(options: argparse.Namespace) -> int:
    """Evaluates, and prints a table and where the report is."""
    from soundalike import load
    from soundalike.core.memory import keep_freed_memory

    keep_freed_memory()
    model = load(options.model, options.device)
    beside = {}
    if options.compact is not None or options.full:
        other = as_asked(model, options)
        beside = {f"{'full' if options.full else 'compact'}, {other.size:,} numbers": other}
    found = _unheard(model, options)
    from soundalike.eval.probe import evaluate, print_table, with_baselines

    out = options.out or _home(options.model) / "evaluation"
    summary = {"recipe": model.recipe.name, **model.recipe.sections, "trained": model.training}
    evaluation = evaluate(
        {"model": model, **beside} | with_baselines(model, seed=options.seed),
        found,
        out,
        recipe=summary,
        probes=list(dict.fromkeys(options.probe)),
        seed=options.seed,
        overwrite=True,
    )
    print_table(evaluation)
    code = name_broken(failure for task in evaluation.tasks for failure in task.failures)
    print(out / "report.html")
    return code


def _home(model: Path | None) -> Path:
    """Where results go unless told otherwise: to the model, but not into the package."""
    if model is None or not model.exists():
        return Path()
    return model if model.is_dir() else model.parent


def _unheard(model: SoundModel, options: argparse.Namespace) -> list[Dataset]:
    """The tasks; of one whose recordings the model was trained on, the fold that was held out alone."""
    from soundalike.data.leakage import unheard

    found = []
    for dataset in read_tasks(options):
        left = unheard(dataset, model.heard)
        if left is not dataset:
            print(
                f"note: {dataset.name}: the model was trained on the other clips, so it is scored on {left.protocol}",
                file=sys.stderr,
            )
        found.append(left)
    return found
