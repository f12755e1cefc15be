"""CLAR's third study: supervised, self-supervised and then fine-tuned, or both at once, over fractions of the labels.

Al-Tahan and Mohsenzadeh 2021 (arXiv 2010.09542), section 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundalike.core.errors import SoundalikeError
from soundalike.data.training_clips import choose_labels, read_record
from soundalike.eval.study.report import picture
from soundalike.eval.study.results import Level, Results, Row
from soundalike.eval.study.runs import Run
from soundalike.eval.study.scoring import HEAD, LINEAR, Task, probed
from soundalike.eval.study.study import SUPERVISED, ClarStudy, Factor, duration
from soundalike.model.recipe import Recipe

if TYPE_CHECKING:
    from soundalike.data.datasets import Dataset

FRACTIONS = (0.01, 0.1, 0.2, 1.0)
_JOINTLY = {"head": "joint", "objective": "joint", "recordings.unlabelled": "keep"}
FIRST_STAGE, TWO_STAGE, JOINT_BALANCED = "self-supervised", "two-stage", "joint-balanced"
METHODS: dict[str, dict[str, Any]] = {
    FIRST_STAGE: {},
    "supervised": SUPERVISED,
    TWO_STAGE: SUPERVISED,
    "joint": _JOINTLY,
    JOINT_BALANCED: {**_JOINTLY, "views.labelled": 0.5},
}
"""What a method overrides. In the last clips with and without a label take turns; it is not in the paper."""
SECOND_STAGE_SHARE = 0.5
"""Time of a fine-tuning beside that of any other training."""
FIGURE = "labels.png"
_OF_FINETUNE = ("optimizer", "learning_rate", "momentum", "weight_decay", "decay_biases", "schedule", "warmup")


class LabelStudy(ClarStudy):
    """Methods of training over fractions of the labels: parts of every class's clips, in (0, 1].

    A seed chooses labels as well as weights and views.
    """

    name = "labels"
    title = "CLAR: training with few labels"
    about = (
        "Accuracy on the clips that were held out, in %, against the part of each class's clips that keeps its label: "
        "of a linear probe on frozen embeddings, which is trained on those same clips alone, and of the run's own "
        "head. Supervised and fine-tuned runs hear the clips with a label alone, joint and self-supervised ones hear "
        "all. Seeds choose labels as well as weights."
    )
    factors: Mapping[str, Factor] = {
        "labels": Factor("labels", FRACTIONS),
        "method": Factor("training", tuple(METHODS), METHODS),
    }
    default_seeds = 3
    sets = (*ClarStudy.sets, "head", "objective")
    probe_sees_seed = True
    shares = "in equal parts, of which a fine-tuning gets half a one"

    def __init__(self, recipe: Recipe, *rest: Any, **levels: Any) -> None:
        super().__init__(recipe, *rest, **levels)
        if {*self.levels["method"]} == {FIRST_STAGE}:
            raise SoundalikeError(
                f"--method is {FIRST_STAGE!r} alone, which sees no labels: give another one beside it."
            )
        for fraction in self.levels["labels"]:
            if not 0 < fraction <= 1:
                raise SoundalikeError(f"--labels is {fraction:g}: give parts above 0 and at most 1.")

    def runs(self, tasks: Sequence[Task]) -> list[Run]:
        """The runs, those of the first seed first; none where a fraction leaves a class without a label."""
        left = {task.name: self._left(task.dataset)[0] for task in tasks}
        if not any(left.values()):
            reason = self.notes(tasks)[0]
            raise SoundalikeError(f"no task has enough clips for any of these labels; {reason}")
        found = []
        for seed, task in product(self.seeds, tasks):
            first = self.one_run(task, {"method": FIRST_STAGE}, seed, {"recordings.labels": 1.0})
            if left[task.name] and {FIRST_STAGE, TWO_STAGE} & {*self.levels["method"]}:
                found.append(first)
            for part, method in product(left[task.name], self.levels["method"]):
                if method == FIRST_STAGE or (method, part) == (JOINT_BALANCED, 1.0):  # the latter is joint
                    continue
                second = _second_stage(self.recipe) if method == TWO_STAGE else {}
                overrides = {**METHODS[method], "recordings.labels": part, **second}
                run = self.one_run(task, {"method": method, "labels": part}, seed, overrides)
                found.append(replace(run, share=SECOND_STAGE_SHARE, after=first.slug) if second else run)
        return found

    def _left(self, dataset: Dataset) -> tuple[list[float], list[str]]:
        """The fractions that leave every class a label, and why the others do not."""
        left, why = [], []
        for fraction in self.levels["labels"]:
            try:
                training_rows(dataset, fraction, 0)
                left.append(fraction)
            except SoundalikeError as error:
                why.append(f"{fraction:g} of the labels: {error}")
        return left, why

    def notes(self, tasks: Sequence[Task]) -> list[str]:
        """A sentence for each task and fraction that has no runs."""
        return [f"{task.name} has no runs with {why}" for task in tasks for why in self._left(task.dataset)[1]]

    def measure(
        self, vectors: np.ndarray, dataset: Dataset, seed: int, run: Run | None = None, at: Path | None = None
    ) -> list[dict[str, Any]]:
        """A linear probe at a run's fraction of the labels, or at every one where it (or a baseline) has none."""
        if at is not None and run is not None and "labels" in run.levels:
            return [probe(vectors, dataset, rows_of(dataset, labelled_clips(at)))]
        found = []
        for part in self._left(dataset)[0]:
            rows = (
                training_rows(dataset, part, seed) if at is None else rows_of(dataset, labelled_clips(at, part, seed))
            )
            found.append({**probe(vectors, dataset, rows), "levels": {"labels": part}})
        return found

    def describe(self, each: float | None) -> str:
        """What was measured, and what time a fine-tuning got."""
        if each is None:
            return super().describe(each)
        return (
            f"{super().describe(each)} Fine-tuning alone got {duration(SECOND_STAGE_SHARE * each)}: two-stage is a "
            f"self-supervised training of {duration(each)}, shared by all parts of the labels, and then a "
            f"fine-tuning, so it gets more time in all than supervised and joint."
        )

    def word(self, factor: str, level: Level) -> str:
        """A level as the table shows it."""
        return f"{100 * float(level):g} %" if factor == "labels" else str(level)

    def order(self, row: Row, results: Results) -> Any:
        """By the part of the labels; then baselines first, then the methods."""
        method = row.levels.get("method")
        return row.levels["labels"], -1 if method is None else list(METHODS).index(str(method))

    def draw(self, results: Results, out: Path) -> list[str]:
        """Draws accuracy against the part of the labels, by a linear probe and by the runs' own heads."""
        from soundalike.eval.study.figure import draw_curves

        parts = sorted(results.levels("labels"))
        names = {method: f"{method}, frozen" if method == FIRST_STAGE else method for method in METHODS}
        named = {names[method]: {"method": method} for method in METHODS}
        heads = {name: {**of, "reader": HEAD} for name, of in named.items() if name != names[FIRST_STAGE]}
        rows = {LINEAR: results.lines("labels", parts, named), HEAD: results.lines("labels", parts, heads)}
        ticks = [self.word("labels", part) for part in parts]
        draw_curves("labels", parts, rows, results.baseline_lines("labels", parts), out / FIGURE, ticks)
        caption = (
            "Above: linear probes. Below: the runs' own heads, where the self-supervised run has none. Error bars are "
            "standard deviations over seeds; grey are linear probes without any training."
        )
        return [picture(out / FIGURE, caption)]


def _second_stage(recipe: Recipe) -> dict[str, Any]:
    """The recipe ``finetune`` as far as it is about learning; what is heard stays as in the other runs."""
    finetune = Recipe.load("finetune").sections
    learning = {f"training.{key}": finetune["training"][key] for key in _OF_FINETUNE}
    batch = min(recipe.sections["training"]["batch_size"], finetune["training"]["batch_size"])
    return {"head.layers": finetune["head"]["layers"], **learning, "training.batch_size": batch}


def training_rows(dataset: Dataset, fraction: float, seed: int) -> np.ndarray:
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

    clips = [clip for clip in read_record(run / CLIPS) if clip["label"]]  # files that failed have none
    seen = np.array([clip["labelled"] == "1" for clip in clips])
    if fraction is not None:
        classes = sorted({clip["label"] for clip in clips})
        codes = np.searchsorted(classes, [clip["label"] for clip in clips])
        seen = choose_labels(codes, classes, fraction, seed)
    return [clip["path"] for clip, kept in zip(clips, seen, strict=True) if kept]


def rows_of(dataset: Dataset, paths: Sequence[str]) -> np.ndarray:
    """Training rows with these paths, written as ``clips.csv`` writes them."""
    wanted = set(paths)
    train = next(iter(dataset.splits())).train
    paths_of = [str(path) for path in dataset.paths]
    return np.array([row for row in train if paths_of[row] in wanted], dtype=int)


def probe(vectors: np.ndarray, dataset: Dataset, rows: np.ndarray) -> dict[str, Any]:
    """Accuracy of a linear probe that sees no labels but those of some training rows.

    A validation list is left out as well: choosing the probe's strength with it would take its labels.

    Args:
        vectors: embeddings ``(n, D)``.
        dataset: a task with one split, n rows.
        rows: the training rows that keep their label.

    Returns:
        What `probed` returns of the linear probe.
    """
    test = next(iter(dataset.splits())).test
    kept = np.concatenate([rows, test])
    return probed(vectors[kept], dataset.select(kept))[0]
