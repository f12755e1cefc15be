"""Refusal rates of "none of these": taught, new and foreign sounds at 2 to 20 clips a class.

    python -m benchmarks.rejection --data DIR --cache FILE.npz

Of each data set's ten classes the first seven in a shuffled order are taught and the other three are foreign. The
embeddings of the shipped model are computed once and cached.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import soundalike
from soundalike.apps.classifier import SHARE
from soundalike.apps.classifier.cross_validation import Examples, cross_validate, make_splits
from soundalike.apps.classifier.distance import calibrate, threshold
from soundalike.apps.classifier.waveform import trimmed
from soundalike.audio import read
from soundalike.data import datasets
from soundalike.model.model import SoundModel

SETS = (
    ("esc10", "ESC-10"),
    ("fsdd", "free-spoken-digit-dataset"),
    ("folder", "instruments10"),
)
COUNTS = (2, 3, 5, 10, 20)  # training clips a class
NEW, FOREIGN, TAUGHT_CLASSES = 5, 12, 7  # new clips of a taught class, clips of a foreign class, taught classes
DRAWS = 5


def embeddings(task: str, folder: Path, model: SoundModel) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (n, D) and labels (n,) of as many clips as the measurement needs, taught classes first."""
    dataset = datasets.read(task, folder)
    draw = np.random.default_rng(0)
    rows, labels = [], []
    for place, label in enumerate(draw.permutation(dataset.classes)):
        own = draw.permutation(np.flatnonzero(dataset.labels == label))
        own = own[: max(COUNTS) + NEW if place < TAUGHT_CLASSES else FOREIGN]
        rows += [dataset.paths[row] for row in own]
        labels += [f"{place} {label}"] * len(own)
    vectors = []
    for path in rows:
        waveform = read.decode(path, [model.sample_rate]).waveforms[model.sample_rate]
        vectors.append(model([trimmed(waveform, model.sample_rate)])[0])
    return np.stack(vectors), np.array(labels)


def rates(vectors: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """Refused shares of taught, new and foreign clips (3,), means over the draws, and how many draws calibrated."""
    order = np.array([int(label.split()[0]) for label in labels])
    foreign = vectors[order >= TAUGHT_CLASSES]
    found, calibrated = [], 0
    for number in range(DRAWS):
        draw = np.random.default_rng(number)
        shuffled = [draw.permutation(np.flatnonzero(order == place)) for place in range(TAUGHT_CLASSES)]
        train = np.concatenate([own[:count] for own in shuffled])
        new = np.concatenate([own[-NEW:] for own in shuffled])
        splits, groups, how = make_splits(labels[train], [("clip", [str(row) for row in train])])
        none = np.zeros(0, int)
        examples = Examples(vectors[train], vectors[none], none, labels[train], groups)
        held = cross_validate(examples, splits, how)
        _, distance = examples.fit(np.arange(len(train)))
        distances = np.zeros(0) if held is None else calibrate(held.distances, distance(vectors[train]))
        limit = threshold(distances, SHARE) if len(distances) else np.inf
        calibrated += len(distances) > 0
        found.append([(distance(part) > limit).mean() for part in (vectors[train], vectors[new], foreign)])
    return np.mean(found, 0), calibrated


def main() -> None:
    """Prints the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the data sets")
    parser.add_argument("--cache", type=Path, required=True, help="file for the embeddings, .npz")
    options = parser.parse_args()
    kept = dict(np.load(options.cache)) if options.cache.exists() else {}
    model = soundalike.load()
    print("| data set | clips a class | taught | new | foreign | calibrated draws |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for task, name in SETS:
        if f"{name}.vectors" not in kept:
            kept[f"{name}.vectors"], kept[f"{name}.labels"] = embeddings(task, options.data / name, model)
            np.savez(options.cache, **kept)
        for count in COUNTS:
            shares, calibrated = rates(kept[f"{name}.vectors"], kept[f"{name}.labels"], count)
            columns = " | ".join(f"{100 * share:.1f} %" for share in shares)
            print(f"| {name} | {count} | {columns} | {calibrated} of {DRAWS} |", flush=True)


if __name__ == "__main__":
    main()
