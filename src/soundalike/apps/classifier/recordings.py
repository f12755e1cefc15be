"""Predictions for many files, and a long recording as a time line of events, in constant memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np

from soundalike.apps.classifier.classifier import LONG, NONE, SHARE, Prediction, SoundClassifier
from soundalike.audio import read
from soundalike.audio.segment import Segment, Sound
from soundalike.audio.windows import windows
from soundalike.core.errors import AudioError

_SECONDS_AT_ONCE = 60.0  # of windows that are embedded together
_FILES_AT_ONCE = 16
_WORKERS = 2
_WINDOWS_AT_ONCE = 64


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
) -> Iterator[Event]:
    """What happens in a recording of any length.

    A window around a moment every ``every`` seconds is classified, and stands for the time up to half way to the next
    ones. Windows that follow on with one label are one event. Where windows overlap by half or more, one whose label
    neither of its neighbours has takes the label of one of them.

    Args:
        classifier: what names its sounds.
        path: file of the recording, or a segment of one; times count from the beginning of the file.
        every: seconds from one moment to the next.
        window: seconds of a window; the classifier's own where not given.
        none_of_these: share of sounds of the classes that may be called ``NONE``; 0 turns rejection off.
        everything: whether the stretches between the events are events, too, labelled ``NONE``.
        progress: called with the number of seconds that were classified since the last call.

    Raises:
        AudioError: the file cannot be read, maybe only after some events.
        SoundalikeError: ``every`` or ``window`` is not above 0.

    Warns:
        TruncatedAudioWarning: at the end, if the file ends too early.
    """
    seconds = classifier.window if window is None else window
    blocks = read.Blocks(path, classifier.model.sample_rate)
    total = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal total
        for block in blocks:
            total += len(block)
            yield block

    around = windows(counted(), classifier.model.sample_rate, every, seconds)
    predictions = _predictions(classifier, around, every, seconds, none_of_these, progress)
    if 2 * every <= seconds:
        predictions = smoothed(predictions)
    waiting: Event | None = None  # the last one lasts until the recording ends, which is within half a step of it
    first = path.start if isinstance(path, Segment) else 0.0
    for event in merged(predictions, every):
        event = replace(event, start=event.start + first, end=event.end + first)
        if waiting is not None and (everything or waiting.label != NONE):
            yield waiting
        waiting = event
    if waiting is not None and (everything or waiting.label != NONE):
        yield replace(waiting, end=max(first + total / classifier.model.sample_rate, waiting.start))
    read.warn(path, blocks.note, stacklevel=3)


def _predictions(
    classifier: SoundClassifier,
    around: Iterator[tuple[float, np.ndarray]],
    every: float,
    seconds: float,
    none_of_these: float,
    progress: Callable[[float], None],
) -> Iterator[tuple[float, Prediction]]:
    at_once = max(1, min(_WINDOWS_AT_ONCE, int(_SECONDS_AT_ONCE / seconds)))
    while lot := list(islice(around, at_once)):
        found = classifier.predict_many([waveform for _, waveform in lot], none_of_these, window=True)
        progress(len(lot) * every)
        yield from ((moment, prediction) for (moment, _), prediction in zip(lot, found, strict=True))


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
    classifier: SoundClassifier, files: Sequence[Sound], none_of_these: float = SHARE
) -> Iterator[tuple[Sound, Prediction | AudioError]]:
    """The prediction for each file, or the error that it raised, in their order.

    Args:
        classifier: what names its sounds.
        files: files or segments of any length; a long one is embedded piece by piece.
        none_of_these: share of sounds of the classes that may be called ``NONE``; 0 turns rejection off.

    Warns:
        UserWarning: a file is so long that a time line would say more; or it ends too early.
    """
    rate = classifier.model.sample_rate

    def begin(path: Sound) -> read.Decoded | AudioError:
        try:
            return read.decode(path, [rate], LONG + 1)
        except AudioError as error:
            return error

    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="decode") as pool:
        for start in range(0, len(files), _FILES_AT_ONCE):
            some = files[start : start + _FILES_AT_ONCE]
            begun = list(pool.map(begin, some))
            short = {
                row: clip.waveforms[rate]
                for row, clip in enumerate(begun)
                if isinstance(clip, read.Decoded) and len(clip.waveforms[rate]) <= LONG * rate
            }
            predictions = _together(classifier, short, none_of_these)
            for row, (path, clip) in enumerate(zip(some, begun, strict=True)):
                if isinstance(clip, AudioError):
                    yield path, clip
                elif row in short:
                    read.warn(path, clip.note, stacklevel=3)
                    yield path, predictions[row]
                else:
                    warnings.warn(
                        f"{path}: longer than {LONG:.0f} s and one label for all of it; a time line (--every 0.5) "
                        "says what is where.",
                        stacklevel=2,
                    )
                    yield path, _alone(classifier, path, none_of_these)


def _together(
    classifier: SoundClassifier, waveforms: dict[int, np.ndarray], none_of_these: float
) -> dict[int, Prediction | AudioError]:
    try:
        found = classifier.predict_many(list(waveforms.values()), none_of_these)
        return dict(zip(waveforms, found, strict=True))
    except AudioError as error:
        if len(waveforms) == 1:
            return dict.fromkeys(waveforms, error)
        # one of them is refused: alone, each can only fail for itself
        alone = [_together(classifier, {row: waveform}, none_of_these) for row, waveform in waveforms.items()]
        return {row: prediction for result in alone for row, prediction in result.items()}


def _alone(classifier: SoundClassifier, path: Sound, none_of_these: float) -> Prediction | AudioError:
    try:
        return classifier.classify_file(path, none_of_these)
    except AudioError as error:
        return error
