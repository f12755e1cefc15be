"""The paper's claim itself: the same training on synthetic pairs, on recordings, and on both.

Cherep and Singh, "Contrastive Learning from Synthetic Audio Doppelgängers", ICLR 2025, arXiv 2406.05923, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.core.errors import SoundalikeError
from soundalike.data.leakage import fingerprints
from soundalike.eval.study.doppelgangers import AUGMENT
from soundalike.eval.study.report import picture, table
from soundalike.eval.study.results import Results
from soundalike.eval.study.runs import Run
from soundalike.eval.study.scoring import LINEAR, Task
from soundalike.eval.study.study import Factor, Study
from soundalike.model.recipe import Recipe

DELTA, LAYERS = 0.25, 5
FAMILIES_OF = "ears-cpu"
SYNTHETIC, REAL, MIXED = ("doppelgangers", "families"), ("same", "jitter", "layered"), "mixed"
FIGURE = "synthetic-or-real.png"


class SyntheticOrReal(Study):
    """One encoder, length and read-out; what differs is what is heard.

    ``doppelgangers`` are pairs of one δ, ``families`` those of ``ears-cpu``. ``same``, ``jitter`` and ``layered`` are
    the paper's pairs of recordings with its augmentations, the last of five seconds laid over one another. ``mixed``
    are doppelgängers and ``jitter``, half each. A run that hears recordings hears a folder, or of several tasks the
    one after that which it is scored on, so that no run has heard what it is scored on.

    Args:
        recipe: what all runs share; its views are replaced.
        seeds: how many seeds each setting is trained with.
        settings: other recipe keys of all runs.
        heard: folder of recordings for all runs that hear some; None for the tasks' own, in turn.
        levels: what is heard, of the names above.
    """

    name = "synthetic-or-real"
    title = "Synthetic pairs, recordings, or both"
    about = "Accuracy of the linear probe on frozen embeddings, in %. No run has heard the recordings of its task."
    factors: Mapping[str, Factor] = {
        "pairs": Factor("pairs", (*SYNTHETIC, *REAL, MIXED), (*SYNTHETIC, *REAL, MIXED)),
    }
    default_recipe = "doppelgangers-cpu"
    default_seeds = 3
    sets = (*Study.sets, "voice", "views", "delta", "families", "pair", "part", "layers", "augment", "targets")
    probes = ("linear", "knn")
    holds_out = False

    def __init__(
        self,
        recipe: Recipe,
        seeds: int | None = None,
        settings: Mapping[str, Any] | None = None,
        heard: Path | None = None,
        **levels: Any,
    ) -> None:
        super().__init__(recipe, seeds, settings, **levels)
        if "voice" not in self.recipe.sections:
            raise SoundalikeError(f"study {self.name}: the recipe {recipe.name} has no voice; give doppelgangers-cpu.")
        self.heard = heard
        self.families = Recipe.load(FAMILIES_OF).sections["views"]

    def runs(self, tasks: Sequence[Task]) -> list[Run]:
        """The runs, those of the first seed first; one that hears recordings is scored on one task, or on all."""
        recorded = [level for level in self.levels["pairs"] if level not in SYNTHETIC]
        if recorded and self.heard is None and len(tasks) < 2:
            raise SoundalikeError(
                f"study {self.name}: {', '.join(recorded)} hear recordings, and those of the one task may not be "
                "heard: give --heard FOLDER, or another --task."
            )
        if recorded and self.heard is not None:
            self._check_apart(tasks)
        found = []
        for seed, level in product(self.seeds, self.levels["pairs"]):
            if level in SYNTHETIC or self.heard is not None:
                where = {} if level in SYNTHETIC else {"recordings.data": str(self.heard), "recordings.fold": 0}
                found.append(self._run(None, level, seed, where))
                continue
            for place, task in enumerate(tasks):
                other = tasks[(place + 1) % len(tasks)]
                where = {"task": other.kind, "data": str(other.data.absolute()), "fold": 0}
                found.append(self._run(task, level, seed, {f"recordings.{key}": to for key, to in where.items()}))
        return found

    def _run(self, task: Task | None, level: str, seed: int, where: Mapping[str, Any]) -> Run:
        levels: dict[str, Any] = {"pairs": level, "seed": seed}
        scored = {} if task is None else {"task": task.name}
        settings = {**self.limits, **self._views(level), **where, "training.targets": 0.0, "training.seed": seed}
        return Run({**scored, **levels}, settings)

    def _views(self, level: str) -> dict[str, Any]:
        """What makes a recipe hear such pairs."""
        augment = AUGMENT["paper"]
        if level == "doppelgangers":
            return {"views": "doppelgangers", "views.delta": DELTA}
        if level == "families":
            turn = {"views.turn": self.families["turn"]} if "turn" in self.families else {}
            return {"views": "families", "views.families": self.families["families"], **turn}
        if level == MIXED:
            recorded = {"pair": "jitter", "augment": augment}
            parts = {"views.part": 0.5, "views.synthetic": {"delta": DELTA}, "views.recorded": recorded}
            return {"views": "mixed", **parts}
        layers = {"views.layers": LAYERS} if level == "layered" else {}
        pair = {"views.pair": level, "views.crop": "random", "views.augment": augment}
        return {"views": "recordings", **pair, **layers}

    def _check_apart(self, tasks: Sequence[Task]) -> None:
        """Makes sure that no task is scored on recordings that are heard."""
        from soundalike.audio import read

        assert self.heard is not None
        known = fingerprints(read.find(self.heard))
        for task in tasks:
            both = np.isin(fingerprints(task.dataset.paths), known[known != 0])
            if both.any():
                first = task.dataset.paths[int(both.argmax())]
                raise SoundalikeError(
                    f"--heard {self.heard}: holds {int(both.sum())} recordings of the task {task.name}, such as "
                    f"{first}: no run may hear what it is scored on."
                )

    def draw(self, results: Results, out: Path) -> list[str]:
        """Draws a group of bars for each task, and tests the differences of synthetic and recorded pairs."""
        from soundalike.eval.study.figure import draw_groups

        levels = [level for level in self.levels["pairs"] if level in results.levels("pairs")]
        names = ["mean" if task is None else task for task in results.columns]
        bars = {level: [results.accuracy(task, pairs=level) for task in results.columns] for level in levels}
        grey = {
            name: [results.accuracy(task, baseline=name) for task in results.columns] for name in results.baselines
        }
        draw_groups(names, {"": bars}, {"": grey}, out / FIGURE)
        caption = "Error bars are standard deviations over seeds; grey has learned nothing."
        sections = [picture(out / FIGURE, caption)]
        rows = [
            compared(results, one, other)
            for one, other in product(levels, levels)
            if (one in SYNTHETIC and other in REAL) or (one == MIXED and other != MIXED)
        ]
        if rows:
            head = ("pairs", "against", "points", "ahead in", "p")
            sections += ["<h2>Differences</h2>", table(head, rows, 2)]
        return sections


def compared(results: Results, one: str, other: str) -> tuple[str, str, str, str, str]:
    """A row on the difference of two kinds of pairs: over seeds, of the means over the tasks that both have.

    The last cell is the p of a paired t-test over seeds, two-sided, where there are two or more.
    """
    from scipy.stats import ttest_rel  # type: ignore[import-untyped]

    found = [by_seed(results, level) for level in (one, other)]
    pairs = []
    for seed in sorted(set(found[0]) & set(found[1])):
        tasks = sorted(set(found[0][seed]) & set(found[1][seed]))
        if tasks:
            pairs.append([100 * float(np.mean([of[seed][task] for task in tasks])) for of in found])
    if not pairs:
        return one, other, "–", "–", "–"
    mine, its = np.array(pairs).T
    p = "–" if len(pairs) < 2 or np.ptp(mine - its) == 0 else f"{float(ttest_rel(mine, its).pvalue):.2g}"
    ahead = f"{int((mine > its).sum())} of {len(pairs)} seeds"
    return one, other, f"{float((mine - its).mean()):+.1f}", ahead, p


def by_seed(results: Results, level: str) -> dict[Any, dict[str, float]]:
    """Seed to task to accuracy of the linear probe, of one kind of pairs."""
    rows = [row for row in results.rows if row.levels.get("pairs") == level and row.reader == LINEAR]
    return rows[0].by_seed if rows else {}
