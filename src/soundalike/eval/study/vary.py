"""Any keys of a recipe, varied: a run for every combination of their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from soundalike.core.errors import SoundalikeError
from soundalike.eval.study.report import picture
from soundalike.eval.study.results import Level, Results, in_words
from soundalike.eval.study.runs import Run
from soundalike.eval.study.scoring import HEAD, LINEAR, Task
from soundalike.eval.study.study import Factor, Study, check_levels
from soundalike.model.recipe import Recipe

FIGURE = "vary.png"
_EMBEDS = ("frontend", "encoder", "readout")  # sections on which an untrained encoder depends


class VaryStudy(Study):
    """A grid of any recipe keys.

    A run is scored on all tasks where its sounds are synthetic. A run that hears recordings is trained on one task, of
    which a fold is held out, and scored on that.

    Args:
        recipe: what all runs share.
        seeds: how many seeds each setting is trained with.
        settings: other recipe keys of all runs.
        keys: recipe keys, each with its values.

    Raises:
        SoundalikeError: a key is unknown, given twice or set by the study; a value does not fit or is given twice.
    """

    name = "vary"
    title = "Recipe keys, varied"
    about = "Accuracy on frozen embeddings, in %. A linear probe sees the labels of all training clips."
    default_recipe = "doppelgangers-cpu"
    probes = ("linear", "knn")

    def __init__(
        self,
        recipe: Recipe,
        seeds: int = 1,
        settings: Mapping[str, Any] | None = None,
        keys: Sequence[tuple[str, Sequence[Any]]] = (),
    ) -> None:
        if not keys:
            raise SoundalikeError("study vary: give at least one --key, and its --values.")
        self.factors = {key: Factor(key, values) for key, values in keys}
        for key, values in keys:
            if [other for other, _ in keys].count(key) > 1:
                raise SoundalikeError(f"--key {key}: give each key once.")
            self.check_free(key, "--key")
            check_levels(f"--key {key} --values", values)
        super().__init__(recipe, seeds, settings)
        places: dict[tuple[str, ...], str] = {}
        for key, _ in keys:
            place = self.recipe.place(key)
            if place in places:
                raise SoundalikeError(f"--key {key}: this is {places[place]} again; give each key once.")
            places[place] = key
        for key in settings or {}:
            if self.recipe.place(key) in places:
                raise SoundalikeError(f"--set {key}: --key varies this; leave it out.")
        self.of_encoder = [key for place, key in places.items() if place[0] in _EMBEDS]
        self.recipes = [self.recipe.override(values) for values in self._combinations([*self.factors])]
        for varied in self.recipes:
            if varied.training and any(place[0] != "training" for place in places):
                varied.build()  # so that a value that does not fit is found before anything is trained
        self.holds_out = any(recipe.recordings is not None for recipe in self.recipes)

    def _combinations(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """Values of these keys, in every combination; the last key changes first."""
        return [dict(zip(keys, values, strict=True)) for values in product(*(self.levels[key] for key in keys))]

    def runs(self, tasks: Sequence[Task]) -> list[Run]:
        """The runs, those of the first seed first."""
        return [
            self.one_run(task, _as_levels(values), seed, values)
            for seed in self.seeds
            for values, recipe in zip(self._combinations([*self.factors]), self.recipes, strict=True)
            for task in (tasks if recipe.recordings is not None else [None])
        ]

    def untrained(self) -> list[tuple[dict[str, Level], Recipe]]:
        """An untrained encoder for each architecture."""
        return [(_as_levels(of), self.recipe.override(of)) for of in self._combinations(self.of_encoder)]

    def draw(self, results: Results, out: Path) -> list[str]:
        """Draws accuracy against the first key, with a line for every combination of the others."""
        from soundalike.eval.study.figure import draw_curves

        first, *others = self.factors
        places = [_as_level(level) for level in self.levels[first]]
        several = [key for key in others if len(self.levels[key]) > 1]
        combinations = [_as_levels(values) for values in self._combinations(others)]
        named = {in_words({key: of[key] for key in several}) or "trained": of for of in combinations}
        rows = {
            reader: results.lines(first, places, {name: {**of, "reader": reader} for name, of in named.items()})
            for reader in (LINEAR, HEAD)
            if any(row.reader == reader for row in results.rows)
        }
        draw_curves(first, places, rows, results.baseline_lines(first, places), out / FIGURE)
        caption = "Error bars are standard deviations over seeds; grey are linear probes without any training."
        return [picture(out / FIGURE, caption)]


def _as_level(value: Any) -> Level:
    """A value as a level: as it is where it is a number or a name, and as text where it is not."""
    return value if isinstance(value, (int, float, str)) else "null" if value is None else str(value)


def _as_levels(values: Mapping[str, Any]) -> dict[str, Level]:
    return {key: _as_level(value) for key, value in values.items()}
