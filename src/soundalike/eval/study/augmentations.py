"""CLAR's first study: which augmentations, alone and in pairs, make two views of a recording worth learning from.

Al-Tahan and Mohsenzadeh 2021 (arXiv 2010.09542), section 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.eval.study.report import picture
from soundalike.eval.study.results import Results, Row
from soundalike.eval.study.runs import Run
from soundalike.eval.study.scoring import Task
from soundalike.eval.study.study import ClarStudy, Factor

AUGMENTED = ("pitch-shift", "fade", "noise", "time-mask", "time-shift", "time-stretch")
FIGURE = "augmentations.png"
CHANCE = 0.5
"""How often a view is augmented by each of a run's augmentations."""
_TOGETHER = " + "


class AugmentationStudy(ClarStudy):
    """Every augmentation alone and every pair of them."""

    name = "augmentations"
    title = "CLAR: augmentations alone and in pairs"
    factors: Mapping[str, Factor] = {"augment": Factor("augmentation", AUGMENTED, AUGMENTED)}
    sets = (*ClarStudy.sets, "augment", "augment_features")

    @property
    def _together(self) -> list[tuple[str, ...]]:
        names = self.levels["augment"]
        return [*((name,) for name in names), *combinations(names, 2)]

    def runs(self, tasks: Sequence[Task]) -> list[Run]:
        """The runs, those of the first seed first."""
        return [
            self.one_run(
                task,
                {"augment": _TOGETHER.join(names)},
                seed,
                {"views.augment": [{"name": n, "p": CHANCE} for n in names], "views.augment_features": None},
            )
            for seed in self.seeds
            for task in tasks
            for names in self._together
        ]

    def describe(self, each: float | None) -> str:
        """What was measured, and what two augmentations do."""
        return (
            f"{super().describe(each)} An augmentation changes a view with probability {CHANCE:g}; of two, the one "
            f"that is named first comes first."
        )

    def order(self, row: Row, results: Results) -> Any:
        """Baselines first, then the best in the last column."""
        last = row.over(results.tasks)
        return row.baseline is None, 0.0 if row.baseline else 1.0 if last is None else -last.mean

    def draw(self, results: Results, out: Path) -> list[str]:
        """Draws a square for each augmentation and each pair."""
        from soundalike.eval.study.figure import draw_grid

        alone = self.levels["augment"]

        def square(task: str | None) -> tuple[np.ndarray, np.ndarray]:
            mean, std = np.full((2, len(alone), len(alone)), np.nan)
            for names in self._together:
                found = results.accuracy(task, augment=_TOGETHER.join(names))
                i, j = alone.index(names[0]), alone.index(names[-1])
                if found is not None:
                    mean[i, j] = mean[j, i] = found.mean
                    std[i, j] = std[j, i] = found.std if found.runs > 1 else np.nan
            return mean, std

        def reached(task: str | None) -> str:
            return ", ".join(f"{name} {results.accuracy(task, baseline=name)}" for name in results.baselines)

        draw_grid(alone, results.by_title(square), results.by_title(reached), out / FIGURE)
        caption = (
            "On the diagonal an augmentation alone, beside it two. Below each: what is reached without any training. "
            "Every task has a scale of colours of its own."
        )
        return [picture(out / FIGURE, caption)]
