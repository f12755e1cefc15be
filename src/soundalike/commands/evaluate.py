"""``soundalike evaluate``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from soundalike.core.errors import SoundalikeError

if TYPE_CHECKING:
    from soundalike.data.datasets import Dataset
    from soundalike.model.embed_files import Embedder
    from soundalike.model.model import SoundModel

HELP = "score models on labelled recordings, beside two baselines"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "models",
        metavar="MODEL",
        nargs="*",
        type=_named,
        help="model files, folders of their runs, names of shipped models (default: the one that ships); or embedders "
        "of others: an ONNX file, or MODULE:FUNCTION from a list of waveforms to vectors, with @RATE for another "
        "sample rate than 16000",
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
    from soundalike.model.model import SoundModel
    from soundalike.model.outside import is_outside, load_outside

    keep_freed_memory()
    names = options.models or [None]
    embedders: dict[str, Embedder] = {}
    about: dict[str, dict[str, Any]] = {}
    for given, name in zip(names, _titles(names), strict=True):
        if given is not None and is_outside(given):
            embedders[name] = outside = load_outside(given)
            about[name] = {"embedder": given, "sample_rate": outside.sample_rate}
            continue
        model = load(given, options.device)
        embedders[name] = model
        about[name] = {"recipe": model.recipe.name, **model.recipe.sections, "trained": model.training}
        if options.compact is not None or options.full:
            other = as_asked(model, options)
            size = f"{'full' if options.full else 'compact'}, {other.size:,} numbers"
            embedders[size if len(names) == 1 else f"{name}, {size}"] = other
    found = _unheard([model for model in embedders.values() if isinstance(model, SoundModel)], options)
    from soundalike.eval.probe import evaluate, print_table, with_baselines

    out = options.out or _home(names[0]) / "evaluation"
    evaluation = evaluate(
        with_baselines(embedders, seed=options.seed),
        found,
        out,
        recipe=next(iter(about.values())) if len(about) == 1 else about,
        probes=list(dict.fromkeys(options.probe)),
        seed=options.seed,
        overwrite=True,
    )
    print_table(evaluation)
    code = name_broken(failure for task in evaluation.tasks for failure in task.failures)
    print(out / "report.html")
    return code


def _named(text: str) -> str:
    """The name of a model, which is not empty."""
    path(text)
    return text


def _titles(names: Sequence[str | None]) -> list[str]:
    """What models are called in the table: ``model`` where there is one of ours, else by their names, told apart."""
    if len(names) == 1:
        return ["model"]
    short = [Path(name).name if name and Path(name).exists() else name or "model" for name in names]
    counts = Counter(short)
    titles = [long or "model" if counts[name] > 1 else name for long, name in zip(names, short, strict=True)]
    if len(set(titles)) < len(titles):
        twice = next(title for title, count in Counter(titles).items() if count > 1)
        raise SoundalikeError(f"{twice}: is given twice; give each model once.")
    return titles


def _home(model: str | None) -> Path:
    """Where results go unless told otherwise: to the first model, but not into the package."""
    if not model or not Path(model).exists():
        return Path()
    return Path(model) if Path(model).is_dir() else Path(model).parent


def _unheard(models: Sequence[SoundModel], options: argparse.Namespace) -> list[Dataset]:
    """The tasks; of one whose recordings a model was trained on, the fold that was held out alone."""
    import numpy as np

    from soundalike.data.leakage import unheard

    found = []
    heard = np.concatenate([model.heard for model in models]) if models else np.zeros(0, np.int64)
    whose = "the model was" if len(models) == 1 else "a model was"
    for dataset in read_tasks(options):
        left = unheard(dataset, heard)
        if left is not dataset:
            print(
                f"note: {dataset.name}: {whose} trained on the other clips, so it is scored on {left.protocol}",
                file=sys.stderr,
            )
        found.append(left)
    return found
