"""How far synthetic sounds are from recordings, as a whole: the Fréchet distance of their embeddings.

Kilgour et al., "Fréchet Audio Distance", Interspeech 2019, arXiv 1812.08466, with any embedder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from soundalike.audio import read
from soundalike.core.errors import SoundalikeError
from soundalike.core.files import make_folder, write_whole
from soundalike.eval.study.report import page, paragraph, table
from soundalike.eval.study.scoring import some_files

if TYPE_CHECKING:
    from soundalike.model.embed_files import Embedder
    from soundalike.model.recipe import Recipe

TABLE, REPORT = "frechet.json", "report.html"
_AT_ONCE = 64  # sounds rendered and embedded together


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """The Fréchet distance of two sets, each taken as a normal distribution.

    ``|m - n|² + tr(A + B - 2 (AB)^½)`` of means m, n and covariances A, B. The trace of the root is the sum of the
    singular values of the product of both centred sets, so that sets of fewer sounds than numbers have a distance too;
    it is too large then, and comparable between sets of one size only.

    Args:
        first: embeddings, (n, D), n at least 2.
        second: embeddings, (m, D).

    Returns:
        0 for equal sets, in the square of the embedding's unit.

    Raises:
        SoundalikeError: a set has fewer than 2 sounds, or they differ in width.
    """
    if min(len(first), len(second)) < 2 or first.shape[1] != second.shape[1]:
        raise SoundalikeError(f"sets of shapes {first.shape} and {second.shape} have no Fréchet distance.")
    means: list[np.ndarray] = []
    centred: list[np.ndarray] = []
    for one in (first, second):
        one = one.astype(np.float64)
        means.append(one.mean(0))
        # the triangle has the covariance of the set, and no more rows than columns
        centred.append(np.asarray(np.linalg.qr((one - means[-1]) / np.sqrt(len(one) - 1), mode="r")))
    root = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    traces = sum(float(np.square(each).sum()) for each in centred)
    return float(max(0.0, np.square(means[0] - means[1]).sum() + traces - 2 * root))


def of_recipe(recipe: Recipe, embedders: Mapping[str, Embedder], count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Embeddings of the first views that a recipe trains with, by embedder, (count, D) each."""
    views = recipe.build().views
    if views is None or not views.voices:
        raise SoundalikeError(f"the recipe {recipe.name} has no voice; give one that has, such as doppelgangers-cpu.")
    rate = views.voices[0].sample_rate
    found: dict[str, list[np.ndarray]] = {name: [] for name in embedders}
    for number in torch.arange(count).split(_AT_ONCE):
        with torch.no_grad():
            rendered = views.batch(seed, number).first.numpy()
        for name, embedder in embedders.items():
            found[name].append(embedder([read.prepare(sound, rate, embedder.sample_rate) for sound in rendered]))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def of_folder(
    folder: str | Path, embedders: Mapping[str, Embedder], count: int, seed: int = 0
) -> tuple[dict[str, np.ndarray], list[tuple[str, str]]]:
    """Embeddings of at most so many recordings of a folder, drawn at random, and the files that were left out."""
    from soundalike.model.embed_files import embed_files

    embedded = embed_files(some_files(folder, count, seed), embedders)
    if len(embedded.paths) < 2:
        raise SoundalikeError(f"{folder}: {len(embedded.paths)} of its sounds can be embedded; give at least 2.")
    return embedded.vectors, [(str(failure.path), failure.reason) for failure in embedded.failures]


def compare(
    sources: Mapping[str, Mapping[str, np.ndarray]], targets: Sequence[str]
) -> dict[str, dict[str, dict[str, float]]]:
    """Distances of every source from the targets, by embedder.

    All sets have the size of the smallest, the first of each, and embeddings are scaled by the standard deviation of
    each number over all sets, so that no unit of an embedding counts more than another.

    Args:
        sources: name to embedder to embeddings.
        targets: names of those that the others are compared with.

    Returns:
        Embedder to source to target to distance, divided by the width of the embedding.
    """
    count = min(len(vectors) for of in sources.values() for vectors in of.values())
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in next(iter(sources.values())):
        sets = {source: of[name][:count] for source, of in sources.items()}
        spread = np.concatenate(list(sets.values())).std(0, dtype=np.float64)
        scaled = {source: one[:, spread > 0] / spread[spread > 0] for source, one in sets.items()}
        width = max(1, int((spread > 0).sum()))
        found[name] = {
            source: {target: distance(one, scaled[target]) / width for target in targets if target != source}
            for source, one in scaled.items()
        }
    return found


def write(found: Mapping[str, Mapping[str, Mapping[str, float]]], out: str | Path, about: str) -> None:
    """Writes ``frechet.json`` and ``report.html``.

    Args:
        found: what `compare` returned.
        out: folder for the files.
        about: a sentence on what was measured.
    """
    out = make_folder(Path(out))
    write_whole(out / TABLE, json.dumps({"about": about, "distance": found}, indent=1) + "\n", "the table")
    sections = [paragraph(about, soft=True), table(("heard by", "sounds", "from", "distance"), rows(found), lead=3)]
    write_whole(out / REPORT, page("Fréchet distance of sets of sounds", sections), "the report")


def rows(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[list[str]]:
    """The table: embedder, source, target, distance."""
    return [
        [name, source, target, f"{value:.4f}"]
        for name, by_source in found.items()
        for source, by_target in by_source.items()
        for target, value in by_target.items()
    ]
