"""What a classifier computes of sounds before it decides, kept as it comes, so that an interrupted run goes on."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from soundalike import __version__
from soundalike.apps.classifier.classifier import SoundClassifier
from soundalike.audio import read
from soundalike.audio.decoding import CUT_SHORT
from soundalike.audio.segment import Segment, Sound
from soundalike.audio.stream import LongSound
from soundalike.audio.windows import windows
from soundalike.model.journal import Entry, Journal, key_of

_SECONDS_AT_ONCE = 60.0  # of windows that are embedded together
_WINDOWS_AT_ONCE = 64
_STRETCH = 300.0  # seconds of a recording that are kept together
_WAITING = 5.0  # seconds for which what was computed may wait until it is written


class Scores:
    """A classifier as `embed_files` takes it: the rows of `SoundClassifier.scores`, of sounds of any length."""

    takes_long_sounds = True

    def __init__(self, classifier: SoundClassifier) -> None:
        self.classifier = classifier

    @property
    def sample_rate(self) -> int:
        """Samples a second of the waveforms that it takes."""
        return self.classifier.model.sample_rate

    def __call__(self, waveforms: Sequence[np.ndarray | LongSound]) -> np.ndarray:
        """Rows (n, 3 + classes) of waveforms: their seconds come first."""
        seconds = np.array([[len(sound) / self.sample_rate] for sound in waveforms])
        return np.hstack([seconds, self.classifier.scores(waveforms)]).astype(np.float32)


def journal_beside(out: Path, taught: Path, what: str = "") -> Journal:
    """The journal of a run of ``soundalike classify``.

    Args:
        out: the file that it writes.
        taught: file of the classifier.
        what: else the scores depend on.
    """
    contents = hashlib.sha256(taught.read_bytes()).hexdigest()
    return Journal(out, f"classify, soundalike {__version__}, {contents}, {what}")


class KeptScores:
    """Scores of the windows of recordings, stretch by stretch, in a journal.

    Args:
        journal: where they are.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal, self.before = journal, journal.kept()
        self._waiting: dict[Sound, Entry] = {}
        self._stamps: dict[Sound, str] = {}
        self._since = time.monotonic()

    def find(self, stretch: Segment) -> Entry | None:
        """What was computed of a stretch before."""
        return self.before.get(key_of(stretch))

    def add(self, stretch: Segment, entry: Entry, stamp: str) -> None:
        """Keeps what was computed of a stretch of a file that had this stamp before it was read."""
        self._waiting[stretch], self._stamps[stretch] = entry, stamp
        if time.monotonic() - self._since > _WAITING:
            self.flush()

    def flush(self) -> None:
        """Writes what waits."""
        self.journal.add(self._waiting, self._stamps)
        self._waiting, self._stamps, self._since = {}, {}, time.monotonic()


class WindowScores:
    """The scores of a window around each of many moments of a recording, in constant memory.

    Attributes:
        first: where the sound begins in its file, in seconds.
        total: after a pass, the seconds of the recording.
        note: after a pass, what was wrong with a file that could be used all the same, otherwise None.

    Args:
        classifier: what computes them.
        sound: file of the recording, or a segment of one.
        every: seconds from one moment to the next.
        window: seconds of a window.
        kept: where what was computed is kept and found again.
        progress: called with the number of seconds that were classified since the last call.
    """

    def __init__(
        self,
        classifier: SoundClassifier,
        sound: Sound,
        every: float,
        window: float,
        kept: KeptScores | None,
        progress: Callable[[float], None],
    ) -> None:
        self.classifier, self.sound, self.every, self.window = classifier, sound, every, window
        self.first = sound.start if isinstance(sound, Segment) else 0.0
        self.kept, self.progress = kept, progress
        # even, as what is left out before, so that halves are rounded alike wherever a pass begins
        self.stretch = 2 * max(1, round(_STRETCH / every / 2))
        self.total = 0.0
        self.note: str | None = None

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        """Moments in seconds from where the sound begins, and rows of `SoundClassifier.scores`."""
        stamp = key_of(self.sound)[1]
        number = 0
        while (entry := self._before(number)) is not None:
            rows = entry.vector[1:].reshape(-1, self.classifier.score_size)
            yield from self._timed(number, rows)
            self.progress(len(rows) * self.every)
            number += len(rows)
            if len(rows) < self.stretch:
                self.total, self.note = float(entry.vector[0]), entry.note
                return
        lead = min(number, 2 * math.ceil((self.window / 2 / self.every + 1) / 2))
        blocks = read.Blocks(self.sound, self.classifier.model.sample_rate, skip=(number - lead) * self.every)
        rate = self.classifier.model.sample_rate
        around = islice(windows(blocks, rate, self.every, self.window), lead, None)
        at_once = max(1, min(_WINDOWS_AT_ONCE, int(_SECONDS_AT_ONCE / self.window / self.classifier.model.speed)))
        held: list[np.ndarray] = []
        first = number
        while lot := [waveform for _, waveform in islice(around, min(at_once, self.stretch - (number - first)))]:
            rows = self.classifier.scores(lot)
            yield from self._timed(number, rows)
            self.progress(len(rows) * self.every)
            held.append(rows)
            number += len(rows)
            if number - first == self.stretch:
                self._keep(first, held, -1.0, None, stamp)
                held, first = [], number
        self.total = blocks.skip + blocks.total / rate
        self.note = blocks.note if not blocks.skip or CUT_SHORT in (blocks.note or "") else None
        self._keep(first, held, self.total, self.note, stamp)

    def _timed(self, number: int, rows: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
        for place, row in enumerate(rows, number):
            yield (place + 0.5) * self.every, row

    def _place(self, number: int) -> Segment:
        """The stretch that begins with a moment."""
        start = number * self.every
        if isinstance(self.sound, Segment):  # by its end, too: segments may overlap
            return replace(self.sound, start=self.sound.start + start, end=self.sound.end + number)
        return Segment(self.sound, start, start + self.stretch * self.every)

    def _before(self, number: int) -> Entry | None:
        return None if self.kept is None else self.kept.find(self._place(number))

    def _keep(self, number: int, held: Sequence[np.ndarray], total: float, note: str | None, stamp: str) -> None:
        if self.kept is not None:
            entry = Entry(np.concatenate([[total], *(rows.ravel() for rows in held)]), note)
            self.kept.add(self._place(number), entry, stamp)
