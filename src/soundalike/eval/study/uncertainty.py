"""Causal uncertainty: how unsure a classifier is of what it hears, at each δ and of recordings.

Cherep and Singh 2025 (arXiv 2406.05923), analyses: the entropy of a classifier's probabilities.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from soundalike.core.errors import SoundalikeError
from soundalike.core.files import make_folder, write_whole
from soundalike.eval.study.report import page, paragraph, table

if TYPE_CHECKING:
    from soundalike.synth import Synthesizer

TABLE, REPORT = "uncertainty.json", "report.html"
_AT_ONCE = 64  # sounds rendered and classified together
Classify = Callable[[list[np.ndarray]], np.ndarray]
"""From waveforms to the probabilities of the classes, (n, classes)."""


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Entropy of each row in bits, (n,): 0 where one class is certain, log2 of their number where all are alike.

    Args:
        probabilities: ``(n, classes)``; rows that do not sum to 1 are scaled to it.
    """
    p = probabilities / np.maximum(probabilities.sum(1, keepdims=True), 1e-12)
    return np.asarray(-(p * np.log2(np.maximum(p, 1e-12))).sum(1))


def measure(
    voice: Synthesizer,
    classify: Classify,
    deltas: Sequence[float],
    count: int = 512,
    uniform_in: str = "units",
    noise: str = "view",
    seed: int = 0,
) -> dict[float, dict[str, float]]:
    """Entropy of a classifier's answers to first views at each δ, and whether both views of a pair get one answer.

    Args:
        voice: what renders.
        classify: the classifier.
        deltas: sizes of the nudges, of all knobs alike.
        count: how many pairs, at least 1.
        uniform_in: as `Doppelgangers` takes it.
        noise: as `Doppelgangers` takes it.
        seed: which patches.

    Returns:
        δ to ``bits`` and ``bits_std``, mean and standard deviation of the entropy over sounds, and ``agreement``, the
        part of the pairs of which both views are given one class.

    Raises:
        SoundalikeError: a number is out of its range.
    """
    from soundalike.views import Doppelgangers

    if count < 1:
        raise SoundalikeError(f"count is {count}: give at least 1 pair.")
    found = {}
    for delta in deltas:
        pairs = Doppelgangers(voice, delta, uniform_in, noise)
        answers: list[list[np.ndarray]] = [[], []]
        for number in torch.arange(count).split(_AT_ONCE):
            with torch.no_grad():
                batch = pairs.batch(seed, number)
            for side, sounds in enumerate((batch.first, batch.second)):
                answers[side].append(classify(list(sounds.numpy())))
        first, second = (np.concatenate(side) for side in answers)
        bits = entropy(first)
        agreement = float((first.argmax(1) == second.argmax(1)).mean())
        found[float(delta)] = {"bits": float(bits.mean()), "bits_std": float(bits.std()), "agreement": agreement}
    return found


def write(found: Mapping[str, Mapping[str, Mapping[str, float]]], out: str | Path, about: str) -> None:
    """Writes ``uncertainty.json`` and ``report.html``.

    Args:
        found: voice, or folder of recordings, to δ (or ``recordings``) to what `measure` returned.
        out: folder for the files.
        about: a sentence on what was measured.
    """
    out = make_folder(Path(out))
    write_whole(out / TABLE, json.dumps({"about": about, "uncertainty": found}, indent=1) + "\n", "the table")
    head = ("sounds", "δ", "entropy, bits", "same class in both views")
    sections = [paragraph(about, soft=True), table(head, rows(found), lead=2)]
    write_whole(out / REPORT, page("Causal uncertainty", sections), "the report")


def rows(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[list[str]]:
    """The table: sounds, δ, entropy ± deviation, agreement."""
    return [
        [
            source,
            delta,
            f"{numbers['bits']:.3f} ± {numbers['bits_std']:.3f}",
            f"{100 * numbers['agreement']:.1f} %" if "agreement" in numbers else "–",
        ]
        for source, by_delta in found.items()
        for delta, numbers in by_delta.items()
    ]
