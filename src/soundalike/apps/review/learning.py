"""The classifier that learns from labels as they come, and what it takes all other sounds for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.apps.classifier import SoundClassifier, TrainingReport, training_set
from soundalike.apps.classifier.teaching import fit
from soundalike.apps.review.features import Features
from soundalike.apps.review.labels import identified
from soundalike.audio.segment import Sound
from soundalike.core.errors import SoundalikeError


@dataclass(frozen=True, eq=False)
class Learned:
    """What is known after some labels.

    Attributes:
        labels: how many sounds were learned from.
        report: of the classifier that learned from them; None where there is none yet.
        guide: the classifier that the queue goes by: the one of the report, or the one that was there before,
            whichever tells more of the labelled sounds right; None where there is none.
        before: share of the labelled sounds that the classifier that was there before tells right; None where it
            cannot be said.
        problem: why nothing was learned, a sentence; empty otherwise.
    """

    labels: int = 0
    report: TrainingReport | None = None
    guide: SoundClassifier | None = None
    before: float | None = None
    problem: str = ""


def learn(table: Path, labels: Mapping[Sound, str], features: Features, taught: SoundClassifier | None) -> Learned:
    """Learns from the labels of a table what ``soundalike teach`` would, from features that are there already.

    Args:
        table: the labels.
        labels: those of them of which there are features.
        features: of the sounds.
        taught: a classifier that was there before.
    """
    before = _told_right(labels, features, taught)
    if len(set(labels.values())) < 2:
        return Learned(len(labels), None, taught, before)
    try:
        clips = training_set.read(table)
        sounds = [identified(sound) for sound in clips.paths]
        rows = np.array([row for row, sound in enumerate(sounds) if sound in features], int)
        clips = clips.select(rows)
        report = fit(clips, features.of(sounds[row] for row in rows), features.encoder, features.window)
    except SoundalikeError as error:
        return Learned(len(labels), None, taught, before, str(error))
    accuracy = report.estimate.accuracy if report.estimate else 0.0
    ahead = before is None or accuracy >= before
    return Learned(len(rows), report, report.classifier if ahead else taught, before)


def _told_right(labels: Mapping[Sound, str], features: Features, taught: SoundClassifier | None) -> float | None:
    """The share of the labelled sounds that a classifier tells right."""
    if taught is None or not labels:
        return None
    found = taught.class_probabilities(features.embeddings(labels)).argmax(1)
    return float(
        np.mean([taught.classes[place] == label for place, label in zip(found, labels.values(), strict=True)])
    )


def progress(learned: Learned, known: Sequence[str]) -> dict[str, Any]:
    """Accuracy by cross-validation, over all and of each class, as plain data for a page.

    Args:
        learned: what is known.
        known: the classes.
    """
    report = learned.report
    estimate = None if report is None else report.estimate
    found: dict[str, Any] = {"accuracy": None, "recall": dict.fromkeys(known), "before": learned.before}
    if report is not None and estimate is not None:
        found["accuracy"] = {
            "value": estimate.accuracy,
            "std": estimate.std,
            "chance": estimate.chance,
            "tested": estimate.tested,
            "how": estimate.how,
        }
        for row, label in enumerate(report.classifier.classes):
            tested = sum(estimate.confusion[row])
            found["recall"][label] = estimate.confusion[row][row] / tested if tested else None
    return found | {
        "warnings": [] if report is None else report.warnings,
        "problem": learned.problem,
        "learned": learned.labels,
        "by": "" if learned.guide is None else "labels" if report and learned.guide is report.classifier else "before",
    }
