"""From nothing to a classifier: accuracy against labels given, the least sure sounds first and at random.

    python -m benchmarks.review --data DIR --cache FILE.npz --out FOLDER

Simulated people label as `soundalike review` asks them, and err now and then. Of each data set one fold is tested and
never shown; the queue is sorted anew after every few labels. The last row is one of 2,000 recordings of which four
digits are wanted and the others are none of them. The embeddings of the shipped model are computed once and cached.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundalike.apps.classifier.waveform import trimmed
from soundalike.apps.review.labels import NONE
from soundalike.apps.review.queue import kinds, ordered, units
from soundalike.core.figures import save_figure
from soundalike.data import datasets
from soundalike.eval.probe import fit_linear, single_threaded_and_quiet
from soundalike.model.embed_files import embed_files
from soundalike.model.model import SoundModel

SETS = {
    "ESC-10": ("esc10", "ESC-10"),
    "spoken digits, unseen speaker": ("fsdd", "free-spoken-digit-dataset"),
    "ten instruments": ("folder", "instruments10"),
}
"""Name -> task and folder."""
FOUR = "four digits among 2,000 recordings"
WANTED, AMONG = ("0", "1", "2", "3"), 2000
LABELS = (*range(5, 60, 5), *range(60, 121, 20))
"""Numbers of labels after which the classifier learns anew."""
ORDERS = ("unsure", "random")
ERRORS = 0.05
"""Share of labels that are wrong, each another class at random."""
FOLDS = 3


@dataclass(frozen=True, eq=False)
class Sounds:
    """Embeddings (n, D), labels (n,), and divisions into what is labelled and what is tested, as rows."""

    vectors: np.ndarray
    labels: np.ndarray
    parts: list[tuple[np.ndarray, np.ndarray]]


def simulate(
    vectors: np.ndarray,
    labels: np.ndarray,
    test: tuple[np.ndarray, np.ndarray],
    order: str,
    steps: Sequence[int] = LABELS,
    errors: float = ERRORS,
    seed: int = 0,
) -> list[float]:
    """Accuracy after so many labels.

    Args:
        vectors: embeddings of the sounds that are shown, (n, D).
        labels: their right labels, (n,).
        test: embeddings and labels of others.
        order: one of `queue.ORDERS`.
        steps: numbers of labels, rising; those above n are left out.
        errors: share of labels that a person gets wrong.
        seed: of the errors, and of the random order.

    Returns:
        Balanced accuracy on the test sounds after each step, where classes that nobody named are told wrong.
    """
    draw, unit, classes = np.random.default_rng(seed), units(vectors), np.unique(labels)
    given = np.full(len(labels), "", dtype=labels.dtype)
    probabilities, first, found = None, kinds(unit, seed=seed), list[float]()
    for step in steps:
        if step > len(labels):
            break
        most = step - int((given != "").sum())
        asked = ordered(order, unit, given != "", probabilities, first=first, most=most, seed=seed)
        for row in asked:
            wrong = classes[classes != labels[row]]
            given[row] = draw.choice(wrong) if draw.random() < errors else labels[row]
        known = np.flatnonzero(given != "")
        if len(np.unique(given[known])) < 2:
            found.append(1 / len(classes))
            continue
        with single_threaded_and_quiet():
            probe = fit_linear(vectors[known], given[known], groups=known)
        logits = probe.logits(vectors)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        right = probe.predict(test[0]) == test[1]
        found.append(float(np.mean([right[test[1] == label].mean() for label in np.unique(test[1])])))
    return found


def measure(sounds: Sounds, steps: Sequence[int] = LABELS) -> dict[str, np.ndarray]:
    """Order -> accuracies (parts, steps)."""
    return {
        order: np.array(
            [
                simulate(
                    sounds.vectors[pool],
                    sounds.labels[pool],
                    (sounds.vectors[test], sounds.labels[test]),
                    order,
                    steps,
                    seed=number,
                )
                for number, (pool, test) in enumerate(sounds.parts)
            ]
        )
        for order in ORDERS
    }


def table(results: dict[str, dict[str, np.ndarray]], steps: Sequence[int] = LABELS) -> str:
    """The table in Markdown, accuracies in %."""
    shown = [step for step in (10, 20, 40, 60, 120) if step in steps]
    lines = ["| sounds | order | " + " | ".join(f"{step} labels" for step in shown) + " |"]
    lines.append("| --- | --- |" + " ---: |" * len(shown))
    for name, orders in results.items():
        for order, scores in orders.items():
            called = "least sure first" if order == "unsure" else "at random"
            cells = [f"{100 * scores[:, steps.index(step)].mean():.1f}" for step in shown]
            lines.append(f"| {name} | {called} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(results: dict[str, dict[str, np.ndarray]], out: Path, steps: Sequence[int] = LABELS) -> None:
    """The figure: a plot for each data set."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(results), figsize=(3.1 * len(results), 3.1), sharey=True)
    for axis, (name, orders) in zip(np.atleast_1d(axes), results.items(), strict=True):
        for (order, scores), colour in zip(orders.items(), ("#2563c8", "#8a94a3"), strict=True):
            called = "least sure first" if order == "unsure" else "at random"
            mean, std = 100 * scores.mean(0), 100 * scores.std(0)
            axis.plot(steps[: len(mean)], mean, color=colour, label=called)
            axis.fill_between(steps[: len(mean)], mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
        axis.set(title=name, xlabel="labels given", ylim=(0, 100))
        axis.title.set_fontsize(9)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    np.atleast_1d(axes)[0].set_ylabel("accuracy, %")
    np.atleast_1d(axes)[0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    save_figure(figure, out, dpi=110)
    pyplot.close(figure)


class _Trimmed:
    """An embedder of sounds as a classifier hears them, without the quiet before and after."""

    def __init__(self, model: SoundModel) -> None:
        self.model, self.sample_rate = model, model.sample_rate

    def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        return self.model([trimmed(waveform, self.sample_rate) for waveform in waveforms])


def read(name: str, data: Path, kept: dict[str, np.ndarray], model: SoundModel) -> Sounds:
    """The sounds of a row; embeddings that are not kept yet are computed."""
    task, folder = SETS.get(name, SETS["spoken digits, unseen speaker"])
    dataset = datasets.read(task, data / folder)
    if folder not in kept:
        kept[folder] = embed_files(dataset.sounds, {"model": _Trimmed(model)}, progress=True).vectors["model"]
    if name == FOUR:
        order = np.random.default_rng(0).permutation(len(dataset.labels))
        labels = np.where(np.isin(dataset.labels, WANTED), dataset.labels, NONE)
        return Sounds(kept[folder], labels, [(order[:AMONG], order[AMONG:])] * FOLDS)
    parts = [(split.train, split.test) for split in dataset.splits()]
    return Sounds(kept[folder], dataset.labels, parts[:FOLDS])


def main() -> None:
    """Prints the table and writes it, with the figure where matplotlib is installed."""
    import soundalike

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the data sets")
    parser.add_argument("--cache", type=Path, required=True, help="file for the embeddings, .npz")
    parser.add_argument("--out", type=Path, required=True, help="folder for the table and the figure")
    options = parser.parse_args()
    kept = dict(np.load(options.cache)) if options.cache.exists() else {}
    model, results = soundalike.load(), {}
    for name in (*SETS, FOUR):
        sounds = read(name, options.data, kept, model)
        np.savez(options.cache, **kept)
        results[name] = measure(sounds)
        print(table({name: results[name]}), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "review.md").write_text(table(results) + "\n", encoding="utf-8")
    try:
        draw(results, options.out / "review.png")
    except ImportError:
        print("no figure: matplotlib is not installed")


if __name__ == "__main__":
    main()
