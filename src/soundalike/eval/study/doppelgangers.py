"""The paper's study: δ, voice and augmentation crossed, and a fixed pool of pairs against endless fresh ones.

Cherep and Singh, "Contrastive Learning from Synthetic Audio Doppelgängers", ICLR 2025, arXiv 2406.05923.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.core.errors import SoundalikeError
from soundalike.eval.study.report import picture
from soundalike.eval.study.results import Level, Results
from soundalike.eval.study.runs import Run
from soundalike.eval.study.scoring import Task
from soundalike.eval.study.study import Factor, Study
from soundalike.model.recipe import Recipe
from soundalike.synth import VOICES

DELTAS = (0.01, 0.05, 0.1, 0.25, 0.5)
STUDIED_VOICES = ("voice", "voice-fm", "parametric")
BASE: dict[str, Any] = {"delta": 0.25, "voice": "voice", "augment": "none"}
"""Where the pool is compared with fresh pairs, as far as these levels are studied."""
POOL = 100_000
AUGMENT: dict[str, list[Any] | None] = {
    "none": None,
    "paper": [
        {"name": "high-pass", "cutoff": [20, 800], "p": 0.5},
        {"name": "low-pass", "cutoff": [1200, 8000], "p": 0.5},
        {"name": "pitch-shift", "semitones": [-2, 2], "p": 0.5},
        {"name": "time-shift", "fraction": 0.25, "p": 0.5},
        {"name": "impulse-response", "p": 0.5},
    ],
}
"""The augmentations that are studied, as a recipe's ``views.augment``."""
ACCURACY, CONTROL = "accuracy.png", "control.png"


class DoppelgangerStudy(Study):
    """δ × voice × augmentation, and fixed pools of pairs as the control; a pool of 0 is no control."""

    name = "doppelgangers"
    title = "Doppelgängers: δ, voice and augmentation"
    about = "Accuracy of the linear probe on frozen embeddings, in %."
    factors: Mapping[str, Factor] = {
        "delta": Factor("δ", DELTAS),
        "voice": Factor("voice", STUDIED_VOICES, VOICES),
        "augment": Factor("augmentation", tuple(AUGMENT), AUGMENT),
        "pool": Factor("pairs are", (POOL,)),
    }
    default_recipe = "doppelgangers-cpu"
    sets = (*Study.sets, "delta", "voice", "augment", "pool", "targets")
    probes = ("linear", "knn")
    holds_out = False

    def __init__(self, recipe: Recipe, *rest: Any, **levels: Any) -> None:
        super().__init__(recipe, *rest, **levels)
        for pool in self.levels["pool"]:
            if pool != 0 and pool < 2:
                raise SoundalikeError(f"--pool is {pool}: give at least 2 pairs, or 0 for no control.")
        self.pools = [pool for pool in self.levels["pool"] if pool]
        self.base = {key: level if level in self.levels[key] else self.levels[key][0] for key, level in BASE.items()}

    def runs(self, tasks: Sequence[Task] = ()) -> list[Run]:
        """The runs, those of the first seed first; they are trained on no task."""
        crossed = product(*(self.levels[key] for key in ("augment", "voice", "delta")))
        settings = [{"delta": d, "voice": v, "augment": a, "pool": "fresh"} for a, v, d in crossed]
        settings += [{**self.base, "pool": pool} for pool in self.pools]
        return [
            self.one_run(
                None,
                levels,
                seed,
                {
                    "voice": levels["voice"],
                    "views.delta": levels["delta"],
                    "views.augment": AUGMENT[levels["augment"]],
                    "views.pool": None if levels["pool"] == "fresh" else levels["pool"],
                    "training.targets": 0.0,  # the paper's question is about contrast
                },
            )
            for seed in self.seeds
            for levels in settings
        ]

    def word(self, factor: str, level: Level) -> str:
        """A level as the table shows it."""
        return f"from {level:,}" if factor == "pool" and level != "fresh" else super().word(factor, level)

    def draw(self, results: Results, out: Path) -> list[str]:
        """Draws accuracy against δ, and the control where both of its sides are finished."""
        from soundalike.eval.study.figure import draw_curves, draw_groups

        sections, deltas = [], sorted(self.levels["delta"])
        named = {
            f"{voice}, augmentation {augment}": {"voice": voice, "augment": augment, "pool": "fresh"}
            for voice, augment in product(self.levels["voice"], self.levels["augment"])
        }
        if "fresh" in results.levels("pool"):
            lines = {"": results.lines("delta", deltas, named)}
            draw_curves("δ", deltas, lines, results.baseline_lines("delta", deltas), out / ACCURACY)
            caption = "Accuracy against δ; error bars are standard deviations over seeds."
            sections.append(picture(out / ACCURACY, caption))
        bars = {
            "fresh pairs" if pool == "fresh" else f"{pool:,} pairs, over and over": [
                results.accuracy(task, **self.base, pool=pool) for task in results.columns
            ]
            for pool in ("fresh", *self.pools)
            if pool in results.levels("pool")
        }
        if len(bars) < 2 or not any(bars.get("fresh pairs", [])):
            return sections
        title = f"δ {self.base['delta']:g}, {self.base['voice']}, augmentation {self.base['augment']}"
        names = ["mean" if task is None else task for task in results.columns]
        draw_groups(names, {title: bars}, {title: {}}, out / CONTROL)
        said = []
        for pool in self.pools:
            pairs = [record["trained"]["pairs"] for run, record in results.finished if run.levels["pool"] == pool]
            if pairs:
                mean, times = np.mean(pairs), np.mean(pairs) / pool
                said.append(
                    f"A run met {round(mean):,} pairs: each of the pool's {pool:,} was seen {times:.2g} times."
                )
                if times <= 1:
                    said.append("So no pair came twice, and this run says nothing of a pool: take a smaller one.")
        heading = "<h2>A fixed pool against fresh pairs</h2>"
        return [*sections, heading, picture(out / CONTROL, " ".join(said))]
