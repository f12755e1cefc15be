"""Predictions for many files, and a long recording as a time line of events, in constant memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from soundalike.apps.classifier.classifier import LONG, NONE, SHARE, Prediction, SoundClassifier
from soundalike.apps.classifier.overlapping import LEAST
from soundalike.apps.classifier.scores import KeptScores, Scores, WindowScores
from soundalike.audio import read
from soundalike.audio.background import Failure
from soundalike.audio.segment import Segment, Sound, as_sound
from soundalike.model.embed_files import embed_each
from soundalike.model.journal import Journal


@dataclass(frozen=True)
class Event:
    """A stretch of a recording with one label.

    Attributes:
        start: in seconds.
        end: in seconds.
        label: its class, or ``NONE``.
        probability: mean over its windows; None where it is none of these.
    """

    start: float
    end: float
    label: str
    probability: float | None


def time_line(
    classifier: SoundClassifier,
    path: str | Path | Segment,
    every: float = 0.5,
    window: float | None = None,
    none_of_these: float = SHARE,
    everything: bool = False,
    progress: Callable[[float], None] = lambda seconds: None,
    kept: KeptScores | None = None,
    least: Mapping[str, float] | None = None,
) -> Iterator[Event]:
    """What happens in a recording of any length.

    A window around a moment every ``every`` seconds is classified, and stands for the time up to half way to the next
    ones. Windows that follow on with one label are one event. Where windows overlap by half or more, one whose label
    neither of its neighbours has takes the label of one of them. Where several classes may be heard at once, each has
    events of its own, and they come when the recording has ended.

    Args:
        classifier: what names its sounds.
        path: file of the recording, or a segment of one; times count from the beginning of the file.
        every: seconds from one moment to the next.
        window: seconds of a window; the classifier's own where not given.
        none_of_these: share of sounds of the classes that may be called ``NONE``; 0 turns rejection off.
        everything: whether the stretches between the events are events, too, labelled ``NONE``.
        progress: called with the number of seconds that were classified since the last call.
        kept: where what was computed is kept and found again.
        least: the probability from which a class is heard in a window, where several may be at once; 0.5 of one that
            is not given.

    Raises:
        AudioError: the file cannot be read, maybe only after some events.
        SoundalikeError: ``every`` or ``window`` is not above 0.

    Warns:
        TruncatedAudioWarning: at the end, if the file ends too early.
    """
    seconds = classifier.window if window is None else window
    scores = WindowScores(classifier, as_sound(path), every, seconds, kept, progress)
    if classifier.overlap:
        yield from _overlapping(classifier, scores, none_of_these, everything, least or {})
        read.warn(path, scores.note, stacklevel=3)
        return
    predictions: Iterator[tuple[float, Prediction]]
    predictions = ((moment, classifier.prediction(row, none_of_these, window=True)) for moment, row in scores)
    if 2 * every <= seconds:
        predictions = smoothed(predictions)
    waiting: Event | None = None  # the last one lasts until the recording ends, which is within half a step of it
    first = scores.first
    for event in merged(predictions, every):
        event = replace(event, start=event.start + first, end=event.end + first)
        if waiting is not None and (everything or waiting.label != NONE):
            yield waiting
        waiting = event
    if waiting is not None and (everything or waiting.label != NONE):
        yield replace(waiting, end=max(first + scores.total, waiting.start))
    read.warn(path, scores.note, stacklevel=3)


def _overlapping(
    classifier: SoundClassifier,
    scores: WindowScores,
    none_of_these: float,
    everything: bool,
    least: Mapping[str, float],
) -> Iterator[Event]:
    """The events of each class by itself, in order of time."""
    moments: list[float] = []
    rows: list[np.ndarray] = []  # probabilities of each window, 0 where nothing is heard: a few MB of a night
    for moment, row in scores:
        heard = classifier.is_heard(row, none_of_these, window=True)
        moments.append(moment)
        rows.append(classifier.probabilities(row).astype(np.float32) * heard)
    table = np.array(rows).reshape(len(rows), len(classifier.classes))
    limits = np.array([max(least.get(label, LEAST), 1e-6) for label in classifier.classes])
    present = table >= limits
    lines: list[tuple[str, np.ndarray, np.ndarray]] = [
        (label, present[:, place], table[:, place]) for place, label in enumerate(classifier.classes)
    ]
    if everything:
        lines.append((NONE, np.logical_not(present.any(axis=1)), np.zeros(len(table))))
    events = []
    for label, here, values in lines:
        known = (label, NONE) if label != NONE else ("", NONE)
        predictions: Iterable[tuple[float, Prediction]] = [
            (moment, Prediction(known[0] if on else NONE, float(value) if on else None, None, {}))
            for moment, on, value in zip(moments, here.tolist(), values, strict=True)
        ]
        if 2 * scores.every <= scores.window:
            predictions = smoothed(predictions)
        for event in merged(predictions, scores.every):
            if event.label == known[0]:
                end = scores.total if event.end > moments[-1] else event.end
                probability = event.probability if label != NONE else None
                events.append(Event(scores.first + event.start, scores.first + end, label, probability))
    yield from sorted(events, key=lambda event: (event.start, event.end, event.label))


def smoothed(predictions: Iterable[tuple[float, Prediction]]) -> Iterator[tuple[float, Prediction]]:
    """The predictions without labels of a single window, where a sound of any length would be in two or more.

    Such a window takes the label of one of its neighbours: of the likelier where both are one of the classes.
    """
    before: Prediction | None = None
    here: tuple[float, Prediction] | None = None
    for after in chain(predictions, [None]):
        if here is not None:
            moment, prediction = here
            if before is not None and after is not None and prediction.label not in (before.label, after[1].label):
                yield moment, max(before, after[1], key=lambda neighbour: neighbour.probability or 0.0)
            else:
                yield here
            before = prediction
        here = after


def merged(predictions: Iterable[tuple[float, Prediction]], every: float) -> Iterator[Event]:
    """Runs of one label as events.

    Args:
        predictions: (moment in seconds, prediction there), in order.
        every: seconds from one moment to the next.
    """
    label: str | None = None
    begin, end, total, known = (
        0.0,
        0.0,
        0.0,
        0,
    )  # of the run: not its predictions, of which a night has a hundred thousand
    for moment, prediction in chain(predictions, [(0.0, None)]):
        if label is not None and (prediction is None or prediction.label != label):
            yield Event(max(0.0, begin - every / 2), end + every / 2, label, total / known if known else None)
            label = None
        if prediction is None:
            return
        if label is None:
            label, begin, total, known = prediction.label, moment, 0.0, 0
        end = moment
        if prediction.probability is not None:
            total, known = total + prediction.probability, known + 1


def classify_files(
    classifier: SoundClassifier,
    files: Sequence[Sound],
    none_of_these: float = SHARE,
    journal: Journal | None = None,
    progress: bool = False,
) -> Iterator[tuple[Sound, Prediction | Failure]]:
    """The prediction for each file, or what was wrong with it, in their order.

    Args:
        classifier: what names its sounds.
        files: files or segments of any length; a long one is embedded piece by piece.
        none_of_these: share of sounds of the classes that may be called ``NONE``; 0 turns rejection off.
        journal: where what is computed is kept as it comes, and found again.
        progress: whether to show progress, with rate and time left, on stderr.

    Warns:
        UserWarning: a file is so long that a time line would say more; or it ends too early.
    """
    outcomes = embed_each(
        files,
        {"classifier": Scores(classifier)},
        progress=progress,
        journal=journal,
        what=("classifying", "classified"),
    )
    for path, outcome in zip(files, outcomes, strict=True):
        if isinstance(outcome, Failure):
            yield path, outcome
            continue
        seconds, *scores = outcome.vectors["classifier"]
        read.warn(path, outcome.note, stacklevel=3)
        if seconds > LONG:
            warnings.warn(
                f"{path}: longer than {LONG:.0f} s and one label for all of it; a time line (--every 0.5) says what "
                "is where.",
                stacklevel=2,
            )
        yield path, classifier.prediction(np.array(scores, np.float64), none_of_these)
