"""Scores models on the development set that `build.py` makes: what settings are chosen by.

    python benchmarks/development/score.py DEVELOPMENT_SET MODEL [MODEL ...]

A ridge classifier on standardised embeddings, four folds by group (the part of a file's name before its last ``-``:
voice, instrument, pitch or kit; each event is a group of its own), regularised by what its training folds say. It is
many times as fast as the linear probe of ``soundalike evaluate`` and serves for choosing only. Below it the same for
nearest neighbours by cosine, standardised as ``soundalike evaluate`` does. Both baselines come first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from sklearn.linear_model import RidgeClassifierCV
from sklearn.model_selection import StratifiedGroupKFold

import soundalike
from soundalike.eval.probe.baseline import LogMelStatistics
from soundalike.eval.probe.knn import predict_knn

TASKS = ("events", "words", "notes", "pitches", "drums")
Embedder = Callable[[Sequence[np.ndarray]], np.ndarray]


def read(folder: Path, task: str) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Sounds of a task, their labels and the fold, from 1 to 4, in which each is tested."""
    files = sorted((folder / task).glob("*/*.wav"))
    labels = np.array([file.parent.name for file in files])
    groups = [file.name if task == "events" else file.name.rsplit("-", 1)[0] for file in files]
    folds = np.zeros(len(files), int)
    splitter = StratifiedGroupKFold(4, shuffle=True, random_state=0)
    for number, (_, test) in enumerate(splitter.split(labels, labels, groups), start=1):
        folds[test] = number
    return [soundfile.read(file, dtype="float32")[0] for file in files], labels, folds


def accuracy(vectors: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> float:
    """Mean accuracy over the folds, in %."""
    scores = []
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        mean, deviation = vectors[train].mean(0), vectors[train].std(0) + 1e-6
        scaled = np.clip((vectors - mean) / deviation, -10, 10).astype(np.float64) / np.sqrt(vectors.shape[1])
        probe = RidgeClassifierCV(alphas=10.0 ** np.arange(-3, 1.6, 0.5)).fit(scaled[train], labels[train])
        scores.append(np.mean(probe.predict(scaled[test]) == labels[test]))
    return 100 * float(np.mean(scores))


def neighbours(vectors: np.ndarray, labels: np.ndarray, folds: np.ndarray, standardise: bool) -> float:
    """Mean accuracy of nearest neighbours over the folds, in %."""
    scores = []
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        predicted = predict_knn(vectors[train], labels[train], vectors[test], standardise=standardise)
        scores.append(np.mean(predicted == labels[test]))
    return 100 * float(np.mean(scores))


def main() -> None:
    parser = argparse.ArgumentParser(description="Scores models on the development set.")
    parser.add_argument("folder", type=Path, help="what build.py made")
    parser.add_argument("models", nargs="+", type=Path, help="model files, or folders of runs")
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    options = parser.parse_args()
    trained = {str(path): soundalike.load(path) for path in options.models}
    embedders: dict[str, Embedder] = {"log-mel statistics": LogMelStatistics()}
    for name, model in trained.items():
        embedders |= {f"untrained {name}": model.untrained(0), name: model}
    sets = {task: read(options.folder, task) for task in options.tasks}
    near = []
    print_row("ridge", [*options.tasks, "mean"])
    print_row("---", ["---"] * (len(options.tasks) + 1))
    for name, embed in embedders.items():
        vectors = [(embed(sounds), labels, folds) for sounds, labels, folds in sets.values()]
        print_scores(name, [accuracy(*parts) for parts in vectors])
        near.append((name, [neighbours(*parts, standardise=True) for parts in vectors]))
    print_row("neighbours", [""] * (len(options.tasks) + 1))
    for name, scores in near:
        print_scores(name, scores)


def print_scores(name: str, scores: Sequence[float]) -> None:
    """A row of percentages and their mean."""
    print_row(name, [f"{score:.1f}" for score in [*scores, np.mean(scores)]])


def print_row(name: str, cells: Sequence[str]) -> None:
    """A row of a table in Markdown."""
    print(f"| {name} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
