"""CLAR's second study: raw waveforms against spectrograms, without labels and with them.

Al-Tahan and Mohsenzadeh 2021 (arXiv 2010.09542), section 5.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from soundalike.eval.study.report import picture
from soundalike.eval.study.results import Level, Results
from soundalike.eval.study.runs import Run
from soundalike.eval.study.scoring import HEAD, LINEAR, Task
from soundalike.eval.study.study import SUPERVISED, ClarStudy, Factor
from soundalike.model.recipe import Recipe
from soundalike.nn.frontend import FRONTENDS

FRONT_ENDS = {"spectrogram": "clar", "raw": "raw", "logmel": "logmel"}
"""What is studied, and what a recipe calls it; the last one where it is asked for."""
STUDIED = ("spectrogram", "raw")
OBJECTIVES: dict[str, dict[str, Any]] = {"self-supervised": {}, "supervised": SUPERVISED}
FIGURE = "frontends.png"
_SHARED = ("sample_rate", "seconds", "frames", "level", "silence_is_zero")  # these stay as the recipe has them


def front_end(level: str, recipe: Recipe) -> dict[str, Any]:
    """What makes a front end of a recipe's, for training clips of the same length.

    Args:
        level: ``spectrogram`` (CLAR's three channels), ``raw``, or ``logmel`` (VGGish's).
        recipe: whose front end it replaces.

    Returns:
        What `Recipe.override` takes.
    """
    name, dimensions = FRONT_ENDS[level], 1 if level == "raw" else 2
    before = recipe.sections["frontend"]
    if before["name"] == name:
        return {"encoder.dimensions": dimensions}
    built = recipe.build().frontend
    seconds = before.get("seconds") or built.clip_samples / built.sample_rate
    # its own windows and bands, and not those of the front end that it replaces
    keys = inspect.signature(FRONTENDS[name]).parameters
    settings = {f"frontend.{key}": value.default for key, value in keys.items() if key not in _SHARED}
    if level == "logmel":
        window, hop = settings["frontend.window"], settings["frontend.hop"]
        settings["frontend.frames"] = int((seconds - window) / hop + 1e-6) + 1  # those that lie within
    else:
        settings["frontend.seconds"] = seconds
    return {"frontend": name, **settings, "encoder.dimensions": dimensions}


class FrontEndStudy(ClarStudy):
    """Front ends, each trained without labels and with them."""

    name = "frontends"
    title = "CLAR: raw waveforms against spectrograms"
    about = (
        "Accuracy on the clips that were held out, in %: of the linear probe on frozen embeddings and, where labels "
        "were learned from, of the run's own head. In equal time the front ends see unequal numbers of pairs."
    )
    factors: Mapping[str, Factor] = {
        "frontend": Factor("front end", STUDIED, FRONT_ENDS),
        "objective": Factor("training", tuple(OBJECTIVES), OBJECTIVES),
    }
    default_seeds = 3
    sets = (*ClarStudy.sets, "frontend", "frames", "dimensions", "head", "objective")

    def runs(self, tasks: Sequence[Task]) -> list[Run]:
        """The runs, those of the first seed first."""
        return [
            self.one_run(
                task,
                {"frontend": level, "objective": objective},
                seed,
                {**front_end(level, self.recipe), **OBJECTIVES[objective], "recordings.labels": 1.0},
            )
            for seed, task, level, objective in product(self.seeds, tasks, *self.levels.values())
        ]

    def untrained(self) -> list[tuple[dict[str, Level], Recipe]]:
        """An untrained encoder for each front end."""
        levels = self.levels["frontend"]
        return [({"frontend": level}, self.recipe.override(front_end(level, self.recipe))) for level in levels]

    def draw(self, results: Results, out: Path) -> list[str]:
        """Draws a group of bars for each front end."""
        from soundalike.eval.study.figure import draw_groups

        levels = self.levels["frontend"]
        named = {
            f"{objective}, {reader}": {"objective": objective, "reader": reader}
            for objective in self.levels["objective"]
            for reader in ((LINEAR, HEAD) if objective == "supervised" else (LINEAR,))
        }
        bars = results.lines("frontend", levels, named)
        draw_groups(levels, bars, results.baseline_lines("frontend", levels), out / FIGURE)
        caption = (
            "Error bars are standard deviations over seeds. Grey: linear probes without any training; each front end "
            "has an untrained encoder of its own."
        )
        return [picture(out / FIGURE, caption)]
