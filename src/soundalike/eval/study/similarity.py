"""How alike the two views of a pair are to an encoder, against δ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from soundalike.audio import read
from soundalike.core.errors import SoundalikeError
from soundalike.core.figures import save_figure
from soundalike.core.files import make_folder, write_whole
from soundalike.eval.study.report import page, paragraph, picture, table

if TYPE_CHECKING:
    from soundalike.model.embed_files import Embedder
    from soundalike.synth import Synthesizer

TABLE, FIGURE, REPORT = "similarity.json", "similarity.png", "report.html"
_AT_ONCE = 64  # sounds rendered and embedded together


def compare(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Cosine similarity of pairs beside that of all others, after the mean of all sounds is taken away.

    Args:
        first: embeddings of every first view, (n, D), n at least 2.
        second: of every second view, (n, D); row i belongs to row i.

    Returns:
        ``pairs`` and ``pairs_std``, mean and standard deviation over pairs; ``others`` and ``others_std``, the same
        over first and second views that do not belong together; ``auc``, the chance that a pair is more alike than
        two that do not belong together (0.5 where the encoder cannot tell).
    """
    mean = np.concatenate((first, second)).mean(0, dtype=np.float64)
    a, b = (_unit(side - mean) for side in (first, second))
    cosine = a @ b.T  # (n, n)
    mine = np.eye(len(a), dtype=bool)
    pairs, others = cosine[mine], np.sort(cosine[~mine])
    # ties count half, so that equal embeddings give 0.5
    below = 0.5 * (np.searchsorted(others, pairs, "left") + np.searchsorted(others, pairs, "right"))
    return {
        "pairs": float(pairs.mean()),
        "pairs_std": float(pairs.std()),
        "others": float(others.mean()),
        "others_std": float(others.std()),
        "auc": float((below / len(others)).mean()),
    }


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12))


def measure(
    voice: Synthesizer,
    embedders: Mapping[str, Embedder],
    deltas: Sequence[float],
    count: int = 512,
    uniform_in: str = "units",
    noise: str = "view",
    seed: int = 0,
) -> dict[str, dict[float, dict[str, float]]]:
    """`compare` for each encoder and δ, on the same patches.

    Args:
        voice: what renders.
        embedders: name to embedder.
        deltas: sizes of the nudges, of all knobs alike.
        count: how many pairs, at least 2.
        uniform_in: as `Doppelgangers` takes it.
        noise: as `Doppelgangers` takes it.
        seed: which patches.

    Returns:
        Encoder to δ to numbers.

    Raises:
        SoundalikeError: a number is out of its range.
    """
    from soundalike.views import Doppelgangers

    if count < 2:
        raise SoundalikeError(f"count is {count}: give at least 2 pairs.")
    if not deltas:
        raise SoundalikeError("no delta is given: give at least one number above 0 and at most 1.")
    views = {float(delta): Doppelgangers(voice, delta, uniform_in, noise) for delta in deltas}  # checks each δ
    found: dict[str, dict[float, dict[str, float]]] = {name: {} for name in embedders}
    for delta, pairs in views.items():
        sides: dict[str, list[list[np.ndarray]]] = {name: [[], []] for name in embedders}
        for number in torch.arange(count).split(_AT_ONCE):
            with torch.no_grad():
                pair = pairs.batch(seed, number)
            for side, sounds in enumerate((pair.first, pair.second)):
                for name, embedder in embedders.items():
                    heard = [read.prepare(sound, voice.sample_rate, embedder.sample_rate) for sound in sounds.numpy()]
                    sides[name][side].append(embedder(heard))
        for name, (first, second) in sides.items():
            found[name][delta] = compare(np.concatenate(first), np.concatenate(second))
    return found


def write(found: Mapping[str, Mapping[str, Mapping[float, Mapping[str, float]]]], out: str | Path, about: str) -> None:
    """Writes ``similarity.json``, ``similarity.png`` and ``report.html``.

    Args:
        found: voice to what `measure` returned.
        out: folder for the files.
        about: a sentence on what was measured.
    """
    out = make_folder(Path(out))
    write_whole(out / TABLE, json.dumps({"about": about, "similarity": found}, indent=1) + "\n", "the table")
    _draw(found, out / FIGURE)
    head = ("voice", "heard by", "δ", "pairs", "others", "AUC")
    caption = "Cosine similarity of pairs (dashed: of others), and how surely pairs are told from others."
    sections = [paragraph(about, soft=True), picture(out / FIGURE, caption), table(head, rows(found), lead=2)]
    html = page("Similarity of pairs against δ", sections)
    write_whole(out / REPORT, html, "the report")


def rows(found: Mapping[str, Mapping[str, Mapping[float, Mapping[str, float]]]]) -> list[list[str]]:
    """The table: voice, encoder, δ, mean ± deviation of pairs and of others, AUC."""
    return [
        [
            voice,
            name,
            f"{delta:g}",
            f"{numbers['pairs']:.3f} ± {numbers['pairs_std']:.3f}",
            f"{numbers['others']:.3f} ± {numbers['others_std']:.3f}",
            f"{numbers['auc']:.3f}",
        ]
        for voice, by_name in found.items()
        for name, by_delta in by_name.items()
        for delta, numbers in by_delta.items()
    ]


def _draw(found: Mapping[str, Mapping[str, Mapping[float, Mapping[str, float]]]], path: Path) -> None:
    """A row for each voice: similarity on the left, AUC on the right."""
    from soundalike.eval.study.figure import COLOURS, panels

    figure, axes = panels(2 * len(found), columns=2, width=5.0)
    for row, (voice, by_name) in enumerate(found.items()):
        cosine, auc = axes[2 * row : 2 * row + 2]
        for colour, (name, by_delta) in zip(COLOURS, by_name.items(), strict=False):
            deltas = sorted(by_delta)
            values: dict[str, Any] = {
                key: np.array([by_delta[delta][key] for delta in deltas]) for key in by_delta[deltas[0]]
            }
            low, high = values["pairs"] - values["pairs_std"], values["pairs"] + values["pairs_std"]
            cosine.plot(deltas, values["pairs"], color=colour, marker="o", markersize=4, label=name)
            cosine.fill_between(deltas, low, high, color=colour, alpha=0.12, linewidth=0)
            cosine.plot(deltas, values["others"], color=colour, linestyle="--", linewidth=1)
            auc.plot(deltas, values["auc"], color=colour, marker="o", markersize=4, label=name)
        auc.axhline(0.5, color="#a8a8a8", linewidth=1)
        for axis, label in ((cosine, "cosine similarity"), (auc, "AUC, pairs against others")):
            axis.set_xscale("log")
            axis.set_xticks(deltas, [f"{delta:g}" for delta in deltas])
            axis.minorticks_off()
            axis.set_xlabel("δ")
            axis.set_ylabel(label)
            axis.set_title(voice, size=10)
            axis.grid(alpha=0.25)
        cosine.legend(fontsize=8, frameon=False)
    save_figure(figure, path)
