"""What a compact embedding loses, in each way of making it, on the development set that `build.py` makes.

    python benchmarks/development/compact.py DEVELOPMENT_SET MODEL [--sounds 4096]

Every map is fitted to embeddings of synthetic sounds alone. Scores are means over the tasks: the ridge classifier of
`score.py`, which standardises, and 5 nearest neighbours by cosine, with and without standardising on training folds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.linalg import eigh
from score import TASKS, accuracy, neighbours, read

import soundalike
from soundalike.model.fit_compact import synthetic_sounds

SIZES = (512, 1024)
Map = Callable[[np.ndarray], np.ndarray]


def maps(vectors: np.ndarray, blocks: list[int]) -> Iterator[tuple[str, Map]]:
    """Names and maps from embeddings (n, D) to what is scored."""
    mean, deviation = vectors.mean(0), vectors.std(0) + 1e-9
    standard = (vectors - mean) / deviation
    yield "full", lambda x: x
    yield "full, standardised on synthetic sounds", lambda x: (x - mean) / deviation
    shares = np.repeat(np.sqrt(vectors.shape[1] / len(blocks) / np.array(blocks)), blocks).astype(np.float32)
    yield "full, blocks alike", lambda x: (x - mean) / deviation * shares
    rng = np.random.default_rng(0)
    for size in SIZES:
        drawn = rng.standard_normal((vectors.shape[1], size)).astype(np.float32)
        yield f"random projection, {size}", lambda x, drawn=drawn: (x - mean) / deviation @ drawn
    for name, power in (("", 0.0), (", blocks half alike", 0.5), (", blocks alike", 1.0)):
        weight = shares**power / deviation
        variance, components = principal(standard * shares**power, max(SIZES))
        for size in SIZES:
            for whitening in (0.0, 0.25, 0.5):
                directions = components[:, :size] * variance[:size] ** -whitening
                yield (
                    f"PCA, {size}{name}, whitening {whitening:g}",
                    lambda x, weight=weight, directions=directions: (x - mean) * weight @ directions,
                )
    ends = np.cumsum(blocks)
    for size in SIZES:
        parts = []
        for number, (length, end) in enumerate(zip(blocks, ends, strict=True)):
            count = size // len(blocks) + (number < size % len(blocks))
            variance, components = principal(standard[:, end - length : end], min(count, length))
            parts.append((slice(end - length, end), components / np.sqrt(variance.sum())))
        yield (
            f"PCA of each block, {size}",
            lambda x, parts=parts: np.concatenate(
                [((x - mean) / deviation)[:, place] @ directions for place, directions in parts], axis=1
            ),
        )


def principal(rows: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Variances (size,) and directions (D, size) of the first principal components."""
    count, width = rows.shape
    rows = rows - rows.mean(0)
    products = rows @ rows.T if count <= width else rows.T @ rows
    sums, vectors = eigh(products, subset_by_index=(len(products) - size, len(products) - 1))
    sums, vectors = sums[::-1], vectors[:, ::-1]
    return sums / count, (rows.T @ vectors / np.sqrt(sums) if count <= width else vectors).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description="Scores ways of making an embedding compact.")
    parser.add_argument("folder", type=Path, help="what build.py made")
    parser.add_argument("model", type=Path, help="model file, or folder of a run")
    parser.add_argument("--sounds", type=int, default=4096, help="synthetic sounds that maps are fitted to")
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    options = parser.parse_args()
    model = soundalike.load(options.model)
    sets = {}
    for task in options.tasks:
        sounds, labels, folds = read(options.folder, task)
        sets[task] = model.embed(sounds), labels, folds
    vectors = np.concatenate(
        [model(list(sounds)) for sounds in synthetic_sounds(model.recipe, options.sounds, progress=True)]
    )
    print(
        "| embedding |", " | ".join(f"ridge: {task}" for task in sets), "| ridge | neighbours | standardised first |"
    )
    print("|---|" + "---|" * (len(sets) + 3))
    for name, project in maps(vectors, model.readout.blocks(model.frontend, model.encoder)):
        projected = {task: (project(x).astype(np.float32), labels, folds) for task, (x, labels, folds) in sets.items()}
        ridge = [accuracy(*parts) for parts in projected.values()]
        near = [np.mean([neighbours(*parts, how) for parts in projected.values()]) for how in (False, True)]
        print(f"| {name} |", " | ".join(f"{x:.1f}" for x in [*ridge, np.mean(ridge), *near]), "|", flush=True)


if __name__ == "__main__":
    main()
