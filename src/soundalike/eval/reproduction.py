"""What both papers show, item by item: the command that repeats it, the paper's number and ours."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.data.tables import read_table
from soundalike.eval.study import frechet, similarity, spectra, uncertainty
from soundalike.eval.study.runs import STUDY
from soundalike.eval.study.scoring import LINEAR

TASKS, DATA, OUT, MINUTES, COUNT = "{tasks}", "{data}", "{out}", "{minutes}", "{count}"
"""What a command is filled in with: ``--task`` and ``--data`` of tasks, ``--data`` alone, a folder, two numbers."""
FIRST_TASK = "{first task}"
_DEVICE = ("--device", "{device}")


@dataclass(frozen=True)
class Item:
    """A table or figure.

    Attributes:
        key: name of its folder.
        title: what it shows.
        command: arguments of ``soundalike``; empty where nothing here runs it.
        by_hand: the command that a person gives where it does not fit a budget, such as one for a GPU.
        paper: the paper's number.
        measured: ours, where it was measured before.
        differs: what is not as in the paper.
        least: minutes of training below which it says nothing; 0 where nothing is trained.
        before: a command that has to run first, with the file that it makes.
        summary: from its folder to its numbers in a few words.
    """

    key: str
    title: str
    command: tuple[str, ...]
    paper: str
    measured: str
    differs: str
    least: float = 0.0
    by_hand: str = ""
    before: tuple[tuple[str, ...], str] | None = None
    summary: Callable[[Path], str] | None = None


def of_study(folder: Path) -> str:
    """The best setting of a study that trains, its baselines, and how many runs are finished."""
    state = json.loads((folder / STUDY).read_text(encoding="utf-8"))
    found: dict[str, list[float]] = defaultdict(list)
    for record in state["finished"].values():
        kept = {key: level for key, level in record["levels"].items() if key not in ("task", "seed")}
        name = ", ".join(f"{key} {level}" for key, level in kept.items())
        found[name] += [one["accuracy"] for one in record["scores"]["measured"] if one["reader"] == LINEAR]
    means = {name: float(np.mean(values)) for name, values in found.items() if values}
    if not means:
        return "no run is finished"
    best = max(means, key=lambda name: means[name])
    said = [f"best: {best}, {100 * means[best]:.1f} %"]
    for name, measured in state["extra"].items():
        values = [one["accuracy"] for one in measured if one["reader"] == LINEAR]
        if values:
            said.append(f"{name} {100 * float(np.mean(values)):.1f} %")
    done, runs = len(state["finished"]), len(state["definition"]["runs"])
    return "; ".join(said) + f" ({done} of {runs} runs)"


def of_similarity(folder: Path) -> str:
    """Cosine similarity of pairs at each δ, to the first encoder."""
    found = json.loads((folder / similarity.TABLE).read_text(encoding="utf-8"))["similarity"]
    voice, by_name = next(iter(found.items()))
    name, by_delta = next(iter(by_name.items()))
    return f"{voice}, {name}: " + ", ".join(f"δ {delta}: {of['pairs']:.2f}" for delta, of in by_delta.items())


def of_spectra(folder: Path) -> str:
    """Mean distance from each set of recordings."""
    found = json.loads((folder / spectra.TABLE).read_text(encoding="utf-8"))["distance"]
    return "; ".join(f"{a} – {b}: {of['mean']:.2f}" for a, others in found.items() for b, of in others.items())


def of_frechet(folder: Path) -> str:
    """Distance of synthetic sounds from each set of recordings, to the model."""
    found = json.loads((folder / frechet.TABLE).read_text(encoding="utf-8"))["distance"]
    first = next(iter(found.values()))
    source = list(first)[-1]
    return "; ".join(f"{source} – {target}: {value:.3f}" for target, value in first[source].items())


def of_uncertainty(folder: Path) -> str:
    """Entropy at each δ, and of recordings."""
    found = json.loads((folder / uncertainty.TABLE).read_text(encoding="utf-8"))["uncertainty"]
    cells = [(source, delta, of["bits"]) for source, by_delta in found.items() for delta, of in by_delta.items()]
    return "; ".join(f"{source} {delta}: {bits:.2f} bits" for source, delta, bits in cells)


def of_convergence(folder: Path) -> str:
    """The linear probe before the first step and after the last one."""
    from soundalike.eval.convergence import TABLE

    rows = [row for row in read_table(folder / TABLE, ("step", "probe", "score")).rows() if row["probe"] == "linear"]
    first, last = rows[0], rows[-1]
    return f"step {first['step']}: {100 * float(first['score']):.1f} %; step {last['step']}: " + (
        f"{100 * float(last['score']):.1f} %"
    )


def _study(name: str, *more: str) -> tuple[str, ...]:
    return ("study", name, "--out", OUT, "--budget", MINUTES, TASKS, *_DEVICE, *more)


_GPU = "for a GPU"
DOPPELGANGERS = (
    Item(
        "main",
        "Frozen encoder, linear probe, eight tasks: the best synthetic training against recordings",
        (),
        "ESC-50 58.90, UrbanSound8K 66.71, NSynth pitch 5 h 44.40, CREMA-D 48.43, FSD50K 24.12 (mAP), LibriCount "
        "58.60; VGGSound: 48.85 to 52.95 on ESC-50. VIVAE and Vocal Imitation: not known here",
        "not measured",
        "18 million pairs and VGGSound; the probe's strength is chosen on training folds",
        by_hand="soundalike pretrain --recipe doppelgangers --out RUN; soundalike evaluate RUN --task esc50 …",
    ),
    Item(
        "claim",
        "Synthetic pairs against recordings (same crop, jitter, layered), the same encoder and length",
        _study("synthetic-or-real"),
        "ESC-50: Voice δ 0.25 58.90, VGGSound with augmentations 48.85, jitter 52.95",
        "not measured",
        "minutes instead of 18 million pairs; recordings are the other tasks' (or --heard), not VGGSound",
        least=20.0,
        summary=of_study,
    ),
    Item(
        "delta",
        "δ, synthesizer and augmentation crossed; a fixed pool against fresh pairs",
        _study("doppelgangers"),
        "δ 0.25 is best on most tasks, Voice the best synthesizer",
        "[40 minutes](experiments.md#the-study-nudges-augmentation-and-a-pool-of-pairs): mean of ESC-10 and "
        "instruments 86.9 (δ 0.05), 87.0 (δ 0.25), 89.2 (δ 0.05, augmented); untrained 85.2",
        "minutes a run; pairs of `doppelgangers-cpu`, half the width, NT-Xent",
        least=15.0,
        summary=of_study,
    ),
    Item(
        "convergence",
        "Accuracy while training",
        (
            *("pretrain", "--recipe", "doppelgangers-cpu", "--out", OUT, "--minutes", MINUTES, "--resume-or-start"),
            *("--keep", "100", "--probe", FIRST_TASK, *_DEVICE, "--quiet"),
        ),
        "a curve",
        "not measured",
        "one task, minutes",
        least=1.0,
        summary=of_convergence,
    ),
    Item(
        "similarity",
        "How alike pairs are at each δ",
        ("study", "similarity", "--out", OUT, "--recipe", "doppelgangers-cpu", "--count", COUNT),
        "CLAP cosine falls with δ (a figure)",
        "log-mel, Voice: 0.87 at δ 0.01, 0.53 at 0.1, 0.24 at 0.25, 0.07 at 0.5 "
        "([figure](experiments.md#contrast-alone-at-the-published-strides))",
        "ours, or any `--embedder`, in the place of CLAP; paths in PCA are not drawn",
        summary=of_similarity,
    ),
    Item(
        "spectra",
        "Spectral features of synthetic and real sounds",
        ("study", "spectra", "--out", OUT, "--recipe", "doppelgangers-cpu", "--count", COUNT, DATA),
        "a figure: complexity, flux, inharmonicity",
        "0.69 standard deviations from ESC-10, 1.01 from digits, 0.99 from instruments",
        "ten features, Wasserstein distances",
        summary=of_spectra,
    ),
    Item(
        "uncertainty",
        "Causal uncertainty: entropy of a classifier's answers",
        ("study", "uncertainty", "--out", OUT, "--with", "{before}", "--count", COUNT, DATA),
        "an AudioSet tagger's entropy (a figure)",
        "not measured",
        "a classifier taught on the first task",
        before=(("teach", "{first data}", "--out", "{before}"), "classifier.safetensors"),
        summary=of_uncertainty,
    ),
    Item(
        "frechet",
        "Fréchet audio distance from training sounds to tasks",
        ("study", "frechet", "--out", OUT, "--recipe", "doppelgangers-cpu", "--count", COUNT, DATA),
        "a table; numbers not known here",
        "not measured",
        "embeddings of the model that ships and of log-mel statistics, standardised",
        summary=of_frechet,
    ),
)
CLAR = (
    Item(
        "augmentations",
        "Augmentations alone and in pairs",
        _study("augmentations"),
        "fade with time mask is the best pair (a figure)",
        "[one seed](clar.md#what-the-studies-vary): fade with time mask 40.0 on the digits, untrained 38.6",
        "minutes instead of 120 to 2,000 epochs; a quarter of the width",
        least=15.0,
        summary=of_study,
    ),
    Item(
        "frontends",
        "Raw waveforms against spectrograms",
        _study("frontends"),
        "spectrograms are clearly better (a table)",
        "[digits](clar.md#raw-waveforms-against-spectrograms): equal pairs 75.7 raw, 54.6 spectrogram; equal time "
        "76.2 and 87.8 (supervised)",
        "minutes; width 16; equal minutes where no --set pairs is given",
        least=15.0,
        summary=of_study,
    ),
    Item(
        "labels",
        "Supervised, self-supervised then fine-tuned, and joint training at 1, 10, 20 and 100 % of labels",
        _study("labels"),
        "joint training is best, most of all with few labels (a table)",
        "[digits, 10 %](clar.md#few-labels-supervised-two-stages-or-both-losses-at-once): supervised 78.5, "
        "two-stage 73.1, joint 53.0 (4.3 minutes a run): not the paper's order",
        "minutes; 10 and 100 % of labels unless --labels says more",
        least=20.0,
        summary=of_study,
    ),
    Item(
        "full",
        "The published runs: Speech Commands, NSynth, ESC-10, ESC-50",
        (),
        "tables; numbers not known here",
        "not measured",
        "lengths, batch sizes and epochs are options: --seconds 1 --batch-size 1024 --epochs 1020",
        by_hand="soundalike pretrain --recipe clar-joint --task speech-commands --data DIR --out RUN",
    ),
)
PAPERS: dict[str, tuple[Item, ...]] = {"doppelgangers": DOPPELGANGERS, "clar": CLAR}


def items_of(paper: str, only: Sequence[str] | None = None) -> list[Item]:
    """The items of a paper.

    Args:
        paper: one of `PAPERS`.
        only: keys of those that are wanted; None for all.

    Raises:
        SoundalikeError: there is no such paper or item.
    """
    if paper not in PAPERS:
        raise SoundalikeError(f"unknown paper {paper!r}: {nearest(paper, PAPERS)}")
    known = {item.key: item for item in PAPERS[paper]}
    for key in only or ():
        if key not in known:
            raise SoundalikeError(f"--only {key}: no item of {paper}: {nearest(key, known)}")
    return [item for item in known.values() if not only or item.key in only]


def shares(items: Sequence[Item], budget: float) -> dict[str, float]:
    """Minutes of training for each item that fits: equal parts, without those that need more than theirs.

    Args:
        items: what is wanted.
        budget: minutes over all of them.

    Returns:
        Key to minutes, of those that train and fit.
    """
    trained = [item for item in items if item.least and item.command]
    while trained and budget / len(trained) < max(item.least for item in trained):
        trained.remove(max(trained, key=lambda item: item.least))
    return {item.key: budget / len(trained) for item in trained}


def markdown(items: Sequence[Item], found: Mapping[str, tuple[str, str]] | None = None) -> str:
    """The table of a paper.

    Args:
        items: its rows.
        found: key to what was measured and with which budget; None for what was measured before.
    """
    lines = ["| what | command | paper | ours | budget | what differs |", "|---|---|---|---|---|---|"]
    for item in items:
        ours, budget = (
            item.measured,
            _GPU if item.by_hand else enough(item) if item.least else "–",
        )
        if found is not None:
            ours, budget = found.get(item.key, ("not measured", budget))
        cells = (item.title, f"`{said(item)}`", item.paper, ours, budget, item.differs)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def enough(item: Item) -> str:
    """The minutes below which an item says nothing."""
    return f"{item.least:g} minute{'' if item.least == 1 else 's'} or more"


def said(item: Item) -> str:
    """The command as a person gives it."""
    if item.by_hand:
        return item.by_hand
    words = {
        TASKS: "--task TASK --data DIR",
        DATA: "--data DIR",
        OUT: "OUT",
        MINUTES: "MINUTES",
        COUNT: "512",
        FIRST_TASK: "TASK --probe-data DIR",
        "{before}": "CLASSIFIER",
    }
    left = [word for word in item.command if word not in (*_DEVICE, "--quiet", "--resume-or-start")]
    return " ".join(["soundalike", *(words.get(word, word) for word in left)])
