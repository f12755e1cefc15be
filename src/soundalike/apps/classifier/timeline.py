"""A long recording as a time line of events, in constant memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np

from soundalike.apps.classifier.answer import NONE, Answer
from soundalike.apps.classifier.taught import SHARE, Taught
from soundalike.audio import read
from soundalike.audio.windows import windows

_SECONDS_AT_ONCE = 60.0  # of windows that are heard together
_MOST_AT_ONCE = 64


@dataclass(frozen=True)
class Event:
    """Something that was heard in a recording.

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
    taught: Taught,
    path: str | Path,
    every: float = 0.5,
    window: float | None = None,
    none_of_these: float = SHARE,
    everything: bool = False,
    heard: Callable[[float], None] = lambda seconds: None,
) -> Iterator[Event]:
    """What happens in a recording of any length.

    A window is heard around a moment every so often, and stands for the time up to half way to the next ones. Windows
    that follow on with one label are one event. Where windows overlap by half or more, one that disagrees with both
    of its neighbours is taken for what one of them is.

    Args:
        taught: the classifier.
        path: of the recording.
        every: seconds from one moment to the next.
        window: seconds of a window; as it was taught where not given.
        none_of_these: part of the taught sounds that may be called so; 0 turns it off.
        everything: whether the stretches between the events are events, too, labelled ``NONE``.
        heard: called with the number of seconds that were heard since the last call.

    Raises:
        AudioError: the file cannot be read, maybe only after some events.
        SoundalikeError: ``every`` or ``window`` is not above 0.

    Warns:
        TruncatedAudioWarning: at the end, if the file ends too early.
    """
    seconds = taught.window if window is None else window
    blocks = read.Blocks(path, taught.model.sample_rate)
    total = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal total
        for block in blocks:
            total += len(block)
            yield block

    around = windows(counted(), taught.model.sample_rate, every, seconds)
    answers = _answers(taught, around, every, seconds, none_of_these, heard)
    if 2 * every <= seconds:
        answers = smoothed(answers)
    waiting: Event | None = None  # the last one lasts until the recording ends, which is within half a step of it
    for event in merged(answers, every):
        if waiting is not None and (everything or waiting.label != NONE):
            yield waiting
        waiting = event
    if waiting is not None and (everything or waiting.label != NONE):
        yield replace(waiting, end=max(total / taught.model.sample_rate, waiting.start))
    if blocks.note:
        warnings.warn(f"{path}: {blocks.note}", read.TruncatedAudioWarning, stacklevel=2)


def _answers(
    taught: Taught,
    around: Iterator[tuple[float, np.ndarray]],
    every: float,
    seconds: float,
    none_of_these: float,
    heard: Callable[[float], None],
) -> Iterator[tuple[float, Answer]]:
    at_once = max(1, min(_MOST_AT_ONCE, int(_SECONDS_AT_ONCE / seconds)))
    while lot := list(islice(around, at_once)):
        found = taught.answers([waveform for _, waveform in lot], none_of_these, window=True)
        heard(len(lot) * every)
        yield from ((moment, answer) for (moment, _), answer in zip(lot, found, strict=True))


def smoothed(answers: Iterable[tuple[float, Answer]]) -> Iterator[tuple[float, Answer]]:
    """The answers without labels of a single window, where a sound of any length would be heard in two or more.

    Such a window takes the label of one of its neighbours: of the likelier where both are one of the classes.
    """
    before: Answer | None = None
    here: tuple[float, Answer] | None = None
    for after in chain(answers, [None]):
        if here is not None:
            moment, answer = here
            if before is not None and after is not None and answer.label not in (before.label, after[1].label):
                yield moment, max(before, after[1], key=lambda neighbour: neighbour.probability or 0.0)
            else:
                yield here
            before = answer
        here = after


def merged(answers: Iterable[tuple[float, Answer]], every: float) -> Iterator[Event]:
    """Runs of one label as events.

    Args:
        answers: (moment in seconds, what is heard there), in order.
        every: seconds from one moment to the next.
    """
    label: str | None = None
    begin, end, total, known = 0.0, 0.0, 0.0, 0  # of the run: not its answers, of which a night has a hundred thousand
    for moment, answer in chain(answers, [(0.0, None)]):
        if label is not None and (answer is None or answer.label != label):
            yield Event(max(0.0, begin - every / 2), end + every / 2, label, total / known if known else None)
            label = None
        if answer is None:
            return
        if label is None:
            label, begin, total, known = answer.label, moment, 0.0, 0
        end = moment
        if answer.probability is not None:
            total, known = total + answer.probability, known + 1
