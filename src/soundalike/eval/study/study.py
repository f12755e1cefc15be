"""The driver of studies: a study is a list of runs, what they vary, and how their results are drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.core.files import write_whole
from soundalike.eval.study.report import page, paragraph, table
from soundalike.eval.study.results import Level, Results, Row
from soundalike.eval.study.runs import Run, StudyFolder
from soundalike.eval.study.scoring import HEAD, Task, embed, probed, scoring_device
from soundalike.model.recipe import LENGTHS, Recipe

if TYPE_CHECKING:
    import numpy as np

    from soundalike.data.datasets import Dataset
    from soundalike.model.embed_files import Embedder

REPORT = "report.html"
SUPERVISED: dict[str, Any] = {"head": "classifier", "objective": "supervised", "recordings.unlabelled": "drop"}
"""What makes a recipe one of supervised training."""


class Factor(NamedTuple):
    """What a study varies.

    Attributes:
        heading: heading of its column in the table.
        levels: levels that are studied where no others are given.
        known: all levels that there are; None where any number is one.
    """

    heading: str
    levels: Sequence[Any] = ()
    known: Iterable[str] | None = None


class Study(ABC):
    """A study: a list of runs, what they vary and how the result is drawn, which a subclass defines.

    Args:
        recipe: what all runs share.
        seeds: how many seeds each setting is trained with; `default_seeds` where not given.
        settings: other recipe keys of all runs, as `Recipe.override` takes them.
        levels: factor to the levels that are studied.

    Attributes:
        name: name on the command line.
        title: heading of the report.
        about: sentence of the report on what was measured.
        factors: what the runs vary, by the name of its option.
        default_recipe: recipe that is used where none is named.
        sets: recipe keys that the study sets itself, and that ``settings`` cannot.
        probes: probes of every run.
        probe_sees_seed: whether a probe's training depends on the run's seed.
        holds_out: whether runs are trained on the tasks, and one fold of each is held out.
        shares: how the budget is divided, in words.

    Raises:
        SoundalikeError: the recipe, a setting or a level does not fit the study.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str] = "Accuracy of the linear probe on frozen embeddings of the clips that were held out, in %."
    factors: Mapping[str, Factor]
    default_recipe: ClassVar[str] = "clar-cpu"
    default_seeds: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = ("task", "data", "fold", "label_seed", "seed", "minutes")
    probes: ClassVar[tuple[str, ...]] = ("linear",)
    probe_sees_seed: ClassVar[bool] = False
    holds_out: bool = True
    shares: ClassVar[str] = "in equal parts"

    def __init__(
        self, recipe: Recipe, seeds: int | None = None, settings: Mapping[str, Any] | None = None, **levels: Any
    ) -> None:
        seeds, settings = self.default_seeds if seeds is None else seeds, settings or {}
        if seeds < 1:
            raise SoundalikeError(f"--seeds is {seeds}: give at least 1.")
        for key in settings:
            self.check_free(key, "--set")
        self.levels = {name: list(levels.get(name, factor.levels)) for name, factor in self.factors.items()}
        for name, given in self.levels.items():
            check_levels(f"--{name}", given, self.factors[name].known)
        # they end a run beside the budget's minutes, which replace other lengths
        self.limits = {key: value for key, value in settings.items() if key.rpartition(".")[2] in LENGTHS}
        self.recipe, self.seeds = recipe.override(settings), range(seeds)

    def check_free(self, key: str, option: str) -> None:
        """Makes sure that a recipe key is none that the study sets.

        Raises:
            SoundalikeError: it is one.
        """
        if key.removesuffix(".name").rpartition(".")[2].replace("-", "_") in self.sets:
            raise SoundalikeError(f"{option} {key}: the study {self.name} sets this itself, for each of its runs.")

    @abstractmethod
    def runs(self, tasks: Sequence[Task]) -> list[Run]:
        """The runs, those of the first seed first.

        Args:
            tasks: what is scored with, and trained on where recordings are heard.

        Raises:
            SoundalikeError: the tasks do not fit the study.
        """

    @abstractmethod
    def draw(self, results: Results, out: Path) -> list[str]:
        """Draws the results.

        Args:
            results: accuracies of the runs that are finished.
            out: folder for the figures.

        Returns:
            HTML with the figures, for the report.
        """

    def notes(self, tasks: Sequence[Task]) -> list[str]:
        """Sentences on what the study leaves out."""
        return []

    def untrained(self) -> list[tuple[dict[str, Level], Recipe]]:
        """Recipes of the untrained encoders, each with the levels of the runs that it is the baseline of."""
        return [({}, self.recipe)]

    def measure(
        self, vectors: np.ndarray, dataset: Dataset, seed: int, run: Run | None = None, at: Path | None = None
    ) -> list[dict[str, Any]]:
        """Accuracies of probes of frozen embeddings.

        Args:
            vectors: embeddings ``(n, D)``.
            dataset: the task's clips that have one, n rows.
            seed: the run's seed, or the baseline's.
            run: the run; None of a baseline.
            at: the run's folder.

        Returns:
            For each its ``reader``, ``accuracy`` in [0, 1], and ``levels`` where it has some beside the run's.
        """
        return probed(vectors, dataset, self.probes)

    def describe(self, each: float | None) -> str:
        """What was measured, and how long runs were trained.

        Args:
            each: minutes of a run; None where the recipe says.
        """
        recipe = self.recipe.name
        if each is None:
            return f"{self.about} Every run was trained as long as the recipe {recipe} says."
        return f"{self.about} Every run was trained for {duration(each)} with the recipe {recipe}."

    def word(self, factor: str, level: Level) -> str:
        """A level as the table shows it."""
        return f"{level:g}" if isinstance(level, float) else str(level)

    def order(self, row: Row, results: Results) -> Any:
        """What rows of the table are sorted by."""
        return row.baseline is None

    def one_run(self, task: Task | None, levels: Mapping[str, Level], seed: int, overrides: Mapping[str, Any]) -> Run:
        """A run, trained on a task where one is given; the other arguments as `Run` takes them."""
        of_task: dict[str, Level] = {} if task is None else {"task": task.name}
        heard = {} if task is None else {**task.settings, "recordings.label_seed": seed}
        settings = {**self.limits, **heard, **overrides, "training.seed": seed}
        return Run({**of_task, **levels, "seed": seed}, settings)

    def run(
        self, out: str | Path, budget: float | None, tasks: Sequence[Task], device: str = "auto", quiet: bool = False
    ) -> list[tuple[Run, str]]:
        """Trains, scores, and writes ``study.json``, the figures and ``report.html``.

        Args:
            out: folder of the study; the same again goes on with it.
            budget: minutes of training over all runs; scoring comes on top. None leaves each the recipe's length.
            tasks: what is scored with, and trained on where recordings are heard.
            device: ``auto``, ``cpu`` or ``cuda``.
            quiet: no progress lines.

        Returns:
            The runs that failed, each with a sentence.

        Raises:
            SoundalikeError: the folder holds another study, or something does not fit.
        """
        about = {
            task.name: {"task": task.kind, "clips": len(task.dataset.paths), "held_out": task.dataset.protocol}
            for task in tasks
        }
        folder = StudyFolder(out, self.name, self.recipe, self.runs(tasks), budget, {"tasks": about})
        where = scoring_device(device)
        baselines = self._baselines(folder, tasks, where)

        def score(path: Path, run: Run) -> dict[str, Any]:
            return self._score(path, run, tasks, where)

        failed = folder.run(score, device, quiet)
        if folder.finished:
            self._report(folder, Results(list(about), folder.finished, baselines), failed, self.notes(tasks))
        return failed

    def _baselines(self, folder: StudyFolder, tasks: Sequence[Task], where: str) -> dict[str, list[dict[str, Any]]]:
        """Measurements of what has learned nothing, by name."""
        from soundalike.eval.probe.baseline import LOG_MEL_STATISTICS, UNTRAINED_ENCODER, LogMelStatistics
        from soundalike.model.model import SoundModel

        seeds = sorted({int(run.levels["seed"]) for run in folder.runs})

        def measured(embedder: Embedder, seeds: Sequence[int], levels: Mapping[str, Level]) -> list[dict[str, Any]]:
            found = []
            for task in tasks:
                vectors, dataset = embed(embedder, task.dataset)
                for seed in seeds:
                    for one in self.measure(vectors, dataset, seed):
                        more = {"levels": {**levels, **one.get("levels", {})}}
                        found.append({"task": task.name, "seed": seed, **one, **more})
            return found

        def log_mel() -> list[dict[str, Any]]:
            return measured(LogMelStatistics(), seeds if self.probe_sees_seed else seeds[:1], {})

        def untrained() -> list[dict[str, Any]]:
            models = [(SoundModel(recipe).to(where), levels) for levels, recipe in self.untrained()]
            return [
                one for model, levels in models for s in seeds for one in measured(model.untrained(s), [s], levels)
            ]

        computed = {LOG_MEL_STATISTICS: log_mel, UNTRAINED_ENCODER: untrained}
        return {name: folder.extra(name, compute) for name, compute in computed.items()}

    def _score(self, path: Path, run: Run, tasks: Sequence[Task], where: str) -> dict[str, Any]:
        """What a run is scored with: probes on its task, or on all of them, and its head where it learned labels."""
        from soundalike.model.model import SoundModel
        from soundalike.train.finetune import held_out_accuracy

        model, measured = SoundModel.load(path, where), []
        for task in tasks:
            if run.levels.get("task", task.name) == task.name:
                vectors, dataset = embed(model, task.dataset)
                found = self.measure(vectors, dataset, int(run.levels["seed"]), run, path.parent)
                measured += [{"task": task.name, **one} for one in found]
        if model.recipe.sections["objective"]["name"] in ("supervised", "joint"):
            measured.append({"task": run.levels["task"], "reader": HEAD, "accuracy": held_out_accuracy(model)[0]})
        parameters = sum(parameter.numel() for parameter in model.encoder.parameters())
        return {"measured": measured, "parameters": parameters}

    def _report(
        self, folder: StudyFolder, results: Results, failed: Sequence[tuple[Run, str]], notes: Iterable[str]
    ) -> None:
        definition = folder.state["definition"]
        about = self.describe(definition["minutes_per_run"])
        about += " Means over seeds; ± is the standard deviation over seeds."
        headings = {name: factor.heading for name, factor in self.factors.items()}
        head, rows, lead = results.table(headings, self.word, lambda row: self.order(row, results))
        if "epochs" in head:
            about += " An epoch shows every clip that a run hears once."
        protocols = [(name, of["held_out"], str(of["clips"])) for name, of in definition["tasks"].items()]
        sections = [
            paragraph(about, soft=True),
            *self.draw(results, folder.out),
            *(paragraph(f"Left out: {note}") for note in notes),
            "<h2>All runs</h2>",
            table(head, rows, lead),
            "<h2>What was scored</h2>",
            table(("task", "scored on", "clips in all"), protocols, lead=2),
        ]
        if failed:
            sections += ["<h2>Runs that failed</h2>", table(("run", "why"), [(r.title, why) for r, why in failed], 2)]
        html = page(self.title, sections)
        write_whole(folder.out / REPORT, html, "the report")


class ClarStudy(Study):
    """A study of CLAR: runs hear a task's recordings, and change a recipe that learns without labels.

    Al-Tahan and Mohsenzadeh, "CLAR: Contrastive Learning of Auditory Representations", AISTATS 2021, arXiv 2010.09542.
    """

    sets = (*Study.sets, "labels", "unlabelled", "start")

    def __init__(self, recipe: Recipe, *rest: Any, **levels: Any) -> None:
        super().__init__(recipe, *rest, **levels)
        where = f"study {self.name}: the recipe {recipe.name}"
        if self.recipe.recordings is None:
            raise SoundalikeError(f"{where} hears no recordings; give one such as clar.")
        if self.recipe.sections["objective"]["name"] in ("supervised", "joint"):
            raise SoundalikeError(
                f"{where} learns from labels, and the runs change one that does not; give one such as clar."
            )


def check_levels(option: str, given: Sequence[Any], known: Iterable[str] | None = None) -> None:
    """Makes sure that levels are known and that each is given once.

    Raises:
        SoundalikeError: one is not.
    """
    for level in given:
        if known is not None and level not in known:
            raise SoundalikeError(f"{option}: unknown level {level!r}: {nearest(level, known)}")
    if not given or any(level in given[:number] for number, level in enumerate(given)):
        raise SoundalikeError(f"{option} is {' '.join(map(str, given))!r}: give each level once.")


def duration(minutes: float) -> str:
    """Minutes or, of less than one, seconds."""
    return f"{minutes:.3g} minutes" if minutes >= 1 else f"{60 * minutes:.3g} seconds"
