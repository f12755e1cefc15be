"""Pairs of voices for the page of ``soundalike studio``: rendered, described, compared and written as a recipe."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from soundalike.apps.pages.difference import amount, differences, label, vocabulary
from soundalike.apps.pages.listen import HEARD, NAMED, likeness
from soundalike.apps.pages.spectrogram import picture
from soundalike.apps.studio.query import Query
from soundalike.audio import read
from soundalike.audio.write import encoded
from soundalike.core.errors import SoundalikeError
from soundalike.eval.probe.baseline import LOG_MEL_STATISTICS, LogMelStatistics
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe
from soundalike.synth import VOICES, Synthesizer
from soundalike.views import Doppelgangers
from soundalike.views.doppelganger import group_deltas
from soundalike.views.view import HELD_OUT

SOUNDS = ("patch", "a", "b")
"""What is heard of a pair: the patch itself, which training never hears, and its two views."""
CROWD = 64
"""Further patches of a voice, twice: they say where similarity 0 is, and how near unrelated sounds are."""
_RECIPE, _OF_VOICE = "doppelgangers-cpu", {"scene": "scenes-cpu"}
_FAMILIES = "ears-cpu"  # the δ of its families are where their voices start
_UNIFORM_IN = "knobs"
_MODEL = "the model that ships"
_PAIR = torch.tensor([HELD_OUT])  # `soundalike listen --count 1 --seed …` shows this one
_KEPT = 64


@dataclass(frozen=True)
class Pair:
    """A rendered pair.

    Attributes:
        patches: knob positions of the patch and of its two views, (3, size).
        sounds: (3, samples) float32, in the same order.
    """

    patches: Tensor
    sounds: np.ndarray


class Studio:
    """Answers every question of the page. The same question has the same answer.

    Args:
        model: to which pairs are more or less alike.
        sample_rate: of the voices, in Hz.
    """

    def __init__(self, model: SoundModel, sample_rate: int = 16_000) -> None:
        self.model, self.sample_rate = model, sample_rate
        self._lock = threading.Lock()  # two requests for one pair render it once
        self._baseline = LogMelStatistics()
        self._voices: dict[str, Synthesizer] = {}
        self._rendered = lru_cache(_KEPT)(self._render)
        self._crowd_lock = threading.Lock()
        self._crowds = lru_cache(len(VOICES))(self._crowd)

    def voice(self, name: str) -> Synthesizer:
        """A voice, built at its first use."""
        if name not in self._voices:
            arguments: dict[str, Any] = {"sample_rate": self.sample_rate}
            self._voices[name] = VOICES[name](**arguments).eval()
        return self._voices[name]

    def about(self, query: Query) -> dict[str, Any]:
        """The voice of a query for the page: its groups with their δ, and knobs with their places in a patch."""
        voice, start = self.voice(query.voice), start_deltas(query.voice)
        told = vocabulary()["groups"]
        groups: dict[str, dict[str, Any]] = {}
        for place, spec in enumerate(voice.specs):
            group = groups.setdefault(
                spec.group,
                {"name": spec.group, "about": told.get(spec.group, ""), "delta": start[spec.group], "knobs": []},
            )
            group["knobs"].append({"name": spec.name, "label": label(spec, voice.specs), "place": place})
        return {"voice": query.voice, "seconds": voice.seconds, "knobs": voice.size, "groups": list(groups.values())}

    def pair(self, query: Query) -> Pair:
        """The pair of a query, rendered or from the last ones."""
        with self._lock:
            return self._rendered(query)

    def shown(self, query: Query) -> dict[str, Any]:
        """What a pair's knobs stand at: positions and words for the patch, positions for its views."""
        voice, pair = self.voice(query.voice), self.pair(query)
        units = voice.to_units(pair.patches[:1])[0].tolist()
        positions = [[round(position, 4) for position in row] for row in pair.patches.tolist()]
        within = {group: ", ".join(dict.fromkeys(said)) for group, said in self._views(query).differences().items()}
        words = [amount(spec, value) for spec, value in zip(voice.specs, units, strict=True)]
        return {"words": words, **dict(zip(SOUNDS, positions, strict=True)), "within": within}

    def changes(self, query: Query) -> dict[str, Any]:
        """What differs from A to B, what is heard most first."""
        voice, pair = self.voice(query.voice), self.pair(query)
        with torch.inference_mode():
            found = differences(voice, pair.patches[1], pair.patches[2])
        heard = [change for change in found if change.heard >= HEARD]
        by_group: dict[str, float] = {}
        for change in heard:
            by_group[change.spec.group] = by_group.get(change.spec.group, 0.0) + change.heard
        return {
            "changes": [
                {
                    "label": label(change.spec, voice.specs),
                    "words": change.words,
                    "group": change.spec.group,
                    "heard": round(change.heard, 1),
                }
                for change in heard[:NAMED]
            ],
            "most": sorted(by_group, key=lambda group: -by_group[group])[:3],
            "others": len(found) - min(len(heard), NAMED),
        }

    def likeness(self, query: Query) -> list[dict[str, Any]]:
        """How alike A and B are to the model and to statistics of the log-mel spectrogram."""
        pair = self.pair(query)
        with self._crowd_lock:
            crowds = self._crowds(query.voice)
        answers = []
        for name, (first, second) in crowds.items():
            a, b = self._embedded(name, pair.sounds[1:])
            found = likeness(name, np.vstack((a[None], first)), np.vstack((b[None], second)), 1)
            similarity = float(found.similarity[0])
            below = float((found.unrelated < similarity).mean())
            low, high = np.quantile(found.unrelated, (0.05, 0.95))
            answers.append(
                {
                    "name": name,
                    "similarity": round(similarity, 4),
                    "nearer": below,
                    "closer": int(found.closer[0]),
                    "others": 2 * CROWD,
                    "unrelated": [round(float(low), 4), round(float(high), 4)],
                }
            )
        return answers

    def wav(self, query: Query, sound: str) -> bytes:
        """One of `SOUNDS` as a file."""
        return encoded(self.pair(query).sounds[SOUNDS.index(sound)], self.sample_rate)

    def levels(self, query: Query, sound: str) -> bytes:
        """The spectrogram of one of `SOUNDS`."""
        return picture(self.pair(query).sounds[SOUNDS.index(sound)], self.sample_rate)

    def recipe(self, query: Query) -> Recipe:
        """A recipe that trains on such pairs, and whose first held-out pair of the seed is that of the query.

        Knobs that a person has moved are not in it: a recipe draws its patches.
        """
        self.pair(query)  # says what is out of range
        sections = {key: dict(values) for key, values in Recipe.load(_RECIPE).sections.items()}
        views = {"name": "doppelgangers", "delta": self._delta(query), "uniform_in": _UNIFORM_IN}
        sections |= {"voice": {"name": query.voice}, "views": views}
        sections["training"] = sections["training"] | {"seed": query.seed}
        return Recipe(f"{query.voice}-{query.seed}", sections)

    def recipe_file(self, query: Query) -> str:
        """The recipe as a file, which says above how to hear the pair."""
        recipe = self.recipe(query)
        head = [
            "From soundalike studio. Its pair is the first one of",
            f"    soundalike listen --recipe {recipe.name}.yaml --seed {query.seed} --count 1 --out pair.html",
        ]
        if query.knobs:
            head[0] = "From soundalike studio. Knobs that were moved by hand are not in it, as a recipe draws patches:"
            head[1:1] = [f"    {name}: {position:.4g}" for name, position in query.knobs]
            head.insert(-1, "The pair without them is the first one of")
        return "".join(f"# {line}\n" for line in head) + "\n" + recipe.to_yaml()

    def _delta(self, query: Query) -> dict[str, float | str]:
        """δ of the voice's groups."""
        delta = start_deltas(query.voice) | dict(query.delta)
        return {group: delta[group] for group in dict.fromkeys(spec.group for spec in self.voice(query.voice).specs)}

    def _views(self, query: Query) -> Doppelgangers:
        return Doppelgangers(self.voice(query.voice), self._delta(query), uniform_in=_UNIFORM_IN)

    def _patch(self, voice: Synthesizer, query: Query) -> Tensor:
        """The patch of a query, (size,)."""
        patch = Doppelgangers(voice, uniform_in=_UNIFORM_IN).theta(query.seed, _PAIR)[0]
        places = voice.table.position
        for name, position in query.knobs:
            if name not in places:
                raise SoundalikeError(f"{query.voice} has no knob {name!r}: {_few(name, places)}")
            patch[places[name]] = position
        return patch

    def _render(self, query: Query) -> Pair:
        voice, views = self.voice(query.voice), self._views(query)
        with torch.inference_mode():
            patch = self._patch(voice, query)[None]  # (1, size)
            patches = torch.cat((patch, *views.patches(query.seed, _PAIR, around=patch)))  # (3, size)
            first, second = views.noise_seeds(query.seed, _PAIR).tolist()
            sounds = voice(patches, noise_seed=[first, first, second])
        return Pair(patches, sounds.numpy())

    def _crowd(self, name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Embeddings of unrelated sounds of a voice, twice (`CROWD`, D), by what made them."""
        voice = self.voice(name)
        with torch.inference_mode():
            patches = Doppelgangers(voice, uniform_in=_UNIFORM_IN).theta(0, HELD_OUT + 1 + torch.arange(2 * CROWD))
            sounds = voice(patches).numpy()
        names = (_MODEL, LOG_MEL_STATISTICS)
        halves = {each: np.split(self._embedded(each, sounds), 2) for each in names}
        return {each: (first, second) for each, (first, second) in halves.items()}

    def _embedded(self, name: str, sounds: np.ndarray) -> np.ndarray:
        if name == _MODEL:
            return self.model.embed(list(sounds), self.sample_rate)
        rate = self._baseline.sample_rate
        return self._baseline([read.prepare(sound, self.sample_rate, rate) for sound in sounds])


@lru_cache
def start_deltas(voice: str) -> dict[str, float | str]:
    """δ of every group with which a voice starts: that of the recipe which was made for it."""
    families: Mapping[str, Any] = Recipe.load(_FAMILIES).sections["views"]["families"]
    for family in families.values():
        if family.get("voice", {}).get("name") == voice:
            return group_deltas(family["delta"])
    return group_deltas(Recipe.load(_OF_VOICE.get(voice, _RECIPE)).sections["views"]["delta"])


def _few(name: str, known: Mapping[str, int]) -> str:
    """The nearest of many knobs."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return f"it has {len(known)}, such as {next(iter(known))}."
