"""CLAR's third study: supervised, self-supervised and then fine-tuned, or both at once, over fractions of the labels.

Al-Tahan and Mohsenzadeh 2021 (arXiv 2010.09542), section 5.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.core.errors import SoundalikeError
from soundalike.data.training_clips import choose_labels
from soundalike.eval.study import clar
from soundalike.eval.study.clar import SEEN, SUPERVISED, Summary, Task, in_words, mean_task
from soundalike.eval.study.grid import Cell, Grid
from soundalike.eval.study.report import paragraph, picture, table
from soundalike.eval.study.scoring import embed, linear_accuracy
from soundalike.model.recipe import Recipe

FRACTIONS = (0.01, 0.1, 0.2, 1.0)
FIRST_STAGE, SUPERVISED_ALONE, TWO_STAGE, JOINT, JOINT_BALANCED = METHODS = (
    "self-supervised",
    "supervised",
    "two-stage",
    "joint",
    "joint-balanced",
)
"""The last is ours: clips with and without a label take turns, so that few labels are seen as often as many."""
VARIED = ("head", "objective")
SECOND_STAGE_SHARE = 0.5
"""Time of a fine-tuning beside that of any other training."""
FIGURE = "labels.png"
_MEASURES = {"linear": "linear probe", "head": "own head"}
_OF_FINETUNE = ("optimizer", "learning_rate", "momentum", "weight_decay", "decay_biases", "schedule", "warmup")


def cells(
    tasks: Sequence[Task],
    recipe: Recipe,
    fractions: Sequence[float] = FRACTIONS,
    seeds: int = 3,
    methods: Sequence[str] = METHODS,
) -> tuple[list[Cell], list[str]]:
    """The cells of the study, those of the first seed first.

    Args:
        tasks: what is trained on and scored with.
        recipe: what all cells share, self-supervised.
        fractions: parts of every class's clips that keep their label, in (0, 1].
        seeds: how many seeds each is trained with; a seed chooses labels as well as weights and views.
        methods: names of `METHODS`.

    Returns:
        The cells, and a sentence for each task and fraction that leaves a class without a label, and so has no cells.

    Raises:
        SoundalikeError: a fraction is out of its range or given twice, there is no seed, or no fraction is left.
    """
    clar.check_levels("--labels", fractions)
    clar.check_levels("--method", methods, METHODS)
    if {*methods} == {FIRST_STAGE}:
        raise SoundalikeError(f"--method is {FIRST_STAGE!r} alone, which sees no labels: give another one beside it.")
    clar.check_seeds(seeds)
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise SoundalikeError(f"--labels is {fraction:g}: give parts above 0 and at most 1.")
    left: dict[str, list[float]] = {task.name: [] for task in tasks}
    notes = []
    for task in tasks:
        for fraction in fractions:
            try:
                _training_rows(task.dataset, fraction, 0)
                left[task.name].append(fraction)
            except SoundalikeError as error:
                notes.append(f"{task.name} has no cells with {fraction:g} of the labels: {error}")
    if not any(left.values()):
        raise SoundalikeError(f"no task has enough clips for any of these labels; {notes[0]}")
    joint = {"head": "joint", "objective": "joint", "recordings.unlabelled": "keep"}
    settings = {SUPERVISED_ALONE: SUPERVISED, JOINT: joint, JOINT_BALANCED: {**joint, "views.labelled": 0.5}}
    found = []
    for seed in range(seeds):
        for task in tasks:
            first = _cell(task, FIRST_STAGE, None, seed, {})
            if left[task.name] and {FIRST_STAGE, TWO_STAGE} & {*methods}:
                found.append(first)
            for fraction in left[task.name]:
                for method in methods:
                    if method == TWO_STAGE:
                        second, share = _second_stage(recipe), SECOND_STAGE_SHARE
                        found.append(_cell(task, method, fraction, seed, second, share, after=first.slug))
                    elif method in settings and (method, fraction) != (JOINT_BALANCED, 1.0):  # that is joint
                        found.append(_cell(task, method, fraction, seed, settings[method]))
    return found, notes


def _cell(
    task: Task,
    method: str,
    fraction: float | None,
    seed: int,
    overrides: Mapping[str, Any],
    share: float = 1.0,
    after: str | None = None,
) -> Cell:
    levels: dict[str, str | int | float] = {"task": task.name, "method": method}
    if fraction is not None:
        levels["labels"] = fraction
    settings = {
        **task.settings,
        **overrides,
        "recordings.labels": 1.0 if fraction is None else fraction,
        "recordings.label_seed": seed,
        "training.seed": seed,
    }
    return Cell({**levels, "seed": seed}, settings, share, after)


def _second_stage(recipe: Recipe) -> dict[str, Any]:
    """The recipe ``finetune`` as far as it is about learning; what is heard stays as in the other cells."""
    finetune = Recipe.load("finetune").sections
    learning = {f"training.{key}": finetune["training"][key] for key in _OF_FINETUNE}
    batch = min(recipe.sections["training"]["batch_size"], finetune["training"]["batch_size"])
    return {**SUPERVISED, "head.layers": finetune["head"]["layers"], **learning, "training.batch_size": batch}


def _training_rows(dataset: Any, fraction: float, seed: int) -> np.ndarray:
    """Rows of a held-out task that keep their label, as a training on it would choose them."""
    train = next(iter(dataset.splits())).train
    codes = np.searchsorted(dataset.classes, dataset.labels[train])
    chosen: np.ndarray = train[choose_labels(codes, dataset.classes, fraction, seed)]
    return chosen


def labelled_clips(run: Path, fraction: float | None = None, seed: int = 0) -> list[str]:
    """Paths of the clips whose labels a run saw, as its ``clips.csv`` has them.

    Args:
        run: its folder.
        fraction: where it is another than the run's: those that a run with this part of the labels would have seen.
        seed: the label seed of such a run.
    """
    from soundalike.train.pretrain import CLIPS

    with (run / CLIPS).open(newline="", encoding="utf-8") as stream:
        clips = [clip for clip in csv.DictReader(stream) if clip["label"]]  # files that failed have none
    seen = np.array([clip["labelled"] == "1" for clip in clips])
    if fraction is not None:
        classes = sorted({clip["label"] for clip in clips})
        codes = np.searchsorted(classes, [clip["label"] for clip in clips])
        seen = choose_labels(codes, classes, fraction, seed)
    return [clip["path"] for clip, kept in zip(clips, seen, strict=True) if kept]


def probe(vectors: np.ndarray, dataset: Any, rows: np.ndarray) -> float:
    """Accuracy of a linear probe that sees no labels but those of some training rows, in [0, 1].

    A validation list is left out as well: choosing the probe's strength with it would take its labels.

    Args:
        vectors: embeddings ``(n, D)``.
        dataset: a task with one split, n rows.
        rows: the training rows that keep their label.
    """
    test = next(iter(dataset.splits())).test
    kept = np.concatenate([rows, test])
    return linear_accuracy(vectors[kept], dataset.select(kept))


def _rows_of(dataset: Any, paths: Sequence[str]) -> np.ndarray:
    """Training rows with these paths, written as ``clips.csv`` writes them."""
    wanted = set(paths)
    train = next(iter(dataset.splits())).train
    written = [str(path).encode("utf-8", "backslashreplace").decode() for path in dataset.paths]
    return np.array([row for row in train if written[row] in wanted], dtype=int)


def run(
    out: str | Path,
    budget: float | None,
    tasks: Sequence[Task],
    recipe: Recipe,
    settings: Sequence[Cell],
    device: str = "auto",
    quiet: bool = False,
    notes: Sequence[str] = (),
) -> list[tuple[Cell, str]]:
    """Trains, scores, and writes ``study.json``, ``labels.png`` and ``report.html``.

    Args:
        out: folder of the study; the same again goes on with it.
        budget: minutes of training over all cells; scoring comes on top. None leaves each the recipe's length.
        tasks: what is trained on and scored with.
        recipe: what all cells share.
        settings: the cells that `cells` returns.
        device: ``auto``, ``cpu`` or ``cuda``.
        quiet: no progress lines.
        notes: the sentences that `cells` returns, for the report.

    Returns:
        The cells that failed, each with a sentence.

    Raises:
        SoundalikeError: the folder holds another study, or something does not fit.
    """
    from soundalike.eval.probe.baseline import LOG_MEL_STATISTICS, UNTRAINED_ENCODER, LogMelStatistics
    from soundalike.model.model import SoundModel
    from soundalike.train.finetune import held_out_accuracy

    datasets = {task.name: task.dataset for task in tasks}
    grid = Grid(out, "labels", recipe, settings, budget, clar.definition(tasks))
    where, seeds = clar.scoring_device(device), clar.seeds_of(settings)
    fractions = {
        name: sorted(
            {float(c.levels["labels"]) for c in settings if c.levels["task"] == name and "labels" in c.levels}
        )
        for name in datasets
    }

    def baseline(embedders: Sequence[Any]) -> dict[str, dict[str, list[float]]]:
        """Fraction to task to accuracies, one for each seed: of its labels, and of its encoder where each has one."""
        found: dict[str, dict[str, list[float]]] = {}
        for name, dataset in datasets.items():
            if not fractions[name]:
                continue
            embedded = [embed(embedder, dataset) for embedder in embedders]
            for fraction in fractions[name]:
                found.setdefault(f"{fraction:g}", {})[name] = [
                    probe(vectors, some, _training_rows(some, fraction, seed))
                    for seed, (vectors, some) in zip(seeds, embedded * (len(seeds) // len(embedded)), strict=True)
                ]
        return found

    def untrained() -> dict[str, dict[str, list[float]]]:
        return baseline([SoundModel(recipe).to(where).untrained(seed) for seed in seeds])

    def score(path: Path, cell: Cell) -> dict[str, Any]:
        model, task, seed = clar.load(path, device), str(cell.levels["task"]), int(cell.levels["seed"])
        vectors, dataset = embed(model, datasets[task])
        if "labels" in cell.levels:
            linear = probe(vectors, dataset, _rows_of(dataset, labelled_clips(path.parent)))
            return {f"{cell.levels['labels']:g}": {"linear": linear, "head": held_out_accuracy(model)[0]}}
        return {
            f"{part:g}": {
                "linear": probe(vectors, dataset, _rows_of(dataset, labelled_clips(path.parent, part, seed)))
            }
            for part in fractions[task]
        }

    baselines = {
        LOG_MEL_STATISTICS: grid.extra(LOG_MEL_STATISTICS, lambda: baseline([LogMelStatistics()])),
        UNTRAINED_ENCODER: grid.extra(UNTRAINED_ENCODER, untrained),
    }
    failed = grid.run(score, device, quiet)
    if grid.finished:
        _write(grid, list(datasets), baselines, failed, notes)
    return failed


def _accuracy(
    grid: Grid, tasks: Sequence[str], task: str | None, method: str, fraction: float, measure: str
) -> Summary | None:
    """Accuracy of a method at a fraction; a first stage has one at every fraction."""
    key = f"{fraction:g}"
    levels = {"method": method} if method == FIRST_STAGE else {"method": method, "labels": fraction}
    return clar.summarise(grid.finished, tasks, task, lambda scores: scores.get(key, {}).get(measure), **levels)


def _baseline(of: Mapping[str, Any], tasks: Sequence[str], task: str | None, fraction: float) -> Summary | None:
    return clar.summarise_floor(of.get(f"{fraction:g}", {}), tasks, task)


def _write(
    grid: Grid,
    tasks: Sequence[str],
    baselines: Mapping[str, Mapping[str, Any]],
    failed: Sequence[tuple[Cell, str]],
    notes: Sequence[str],
) -> None:
    from soundalike.eval.study.figure import draw_curves

    fractions = sorted({float(cell.levels["labels"]) for cell in grid.cells if "labels" in cell.levels})
    columns = mean_task(tasks)
    rows: dict[str, dict[str, dict[str, list[Summary | None]]]] = {
        said: {
            clar.title(task): {
                method: [_accuracy(grid, tasks, task, method, part, measure) for part in fractions]
                for method in METHODS
                if measure == "linear" or method != FIRST_STAGE
            }
            for task in columns
        }
        for measure, said in _MEASURES.items()
    }
    lines = {
        clar.title(task): {
            name: [_baseline(of, tasks, task, part) for part in fractions] for name, of in baselines.items()
        }
        for task in columns
    }
    draw_curves(fractions, rows, lines, grid.out / FIGURE)
    each = grid.state["definition"]["minutes_per_cell"]
    about = (
        f"Accuracy on the clips that were held out, in %, against the part of each class's clips that keeps its "
        f"label: of a linear probe on frozen embeddings, which is trained on those same clips alone, and of the run's "
        f"own head. {clar.how_long(grid)}"
    )
    if each is not None:
        about += (
            f" Fine-tuning alone got {clar.duration(SECOND_STAGE_SHARE * each)}: two-stage is a self-supervised "
            f"training of {clar.duration(each)}, shared by all parts of the labels, and then a fine-tuning, so it "
            f"gets more time in all than supervised and joint."
        )
    about += (
        " Supervised and fine-tuned runs hear the clips with a label alone, joint and self-supervised ones hear all. "
        "Means over seeds, which choose labels as well as weights; ± is the standard deviation over seeds. A round "
        "shows every clip that a run hears once."
    )
    caption = (
        "Above: linear probes. Below: the runs' own heads, where the self-supervised run has none. Error bars are "
        "standard deviations over seeds; grey are linear probes without any training."
    )
    sections = [
        paragraph(about, soft=True),
        picture(grid.out / FIGURE, caption),
        *(paragraph(f"Left out: {note}") for note in notes),
        "<h2>All cells</h2>",
        table(*_rows(grid, tasks, fractions, baselines), lead=3),
    ]
    clar.write_report(grid, "CLAR: training with few labels", sections, failed)


def _rows(
    grid: Grid, tasks: Sequence[str], fractions: Sequence[float], baselines: Mapping[str, Mapping[str, Any]]
) -> tuple[list[str], list[list[str]]]:
    columns = mean_task(tasks)
    head = ["labels", "training", "read by", *SEEN, *("mean" if task is None else task for task in columns)]
    rows = []
    for part in fractions:
        said = f"{100 * part:g} %"
        for name, of in baselines.items():
            numbers = [_baseline(of, tasks, task, part) for task in columns]
            rows.append([said, name, "linear probe", "", "", "", *map(in_words, numbers)])
        for method in METHODS:
            levels = {"method": method} if method == FIRST_STAGE else {"method": method, "labels": part}
            seen = clar.pairs_seen(grid.finished, **levels)
            for measure, reader in _MEASURES.items():
                if measure == "linear" or method != FIRST_STAGE:
                    found = [_accuracy(grid, tasks, task, method, part, measure) for task in columns]
                    if any(found):
                        rows.append([said, method, reader, *seen, *map(in_words, found)])
    return head, rows
