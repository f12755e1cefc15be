"""Many audio files decoded in the background, in order, with broken files as outcomes like any other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from soundalike.audio.read import Decoded, decode, duration, is_long
from soundalike.audio.segment import Sound, file_of
from soundalike.core.errors import AudioError

MOST_WAITING = 10 * 60 * 16000
"""Decoded samples that may wait for whoever asked for them: 10 minutes at 16 kHz, 40 MB."""


@dataclass(frozen=True)
class Failure:
    """A file or a segment, and what is wrong with it."""

    path: Sound
    reason: str


def failure(path: Sound, error: AudioError) -> Failure:
    """What a file, or a segment of it, that could not be decoded is named with."""
    return Failure(path, str(error).removeprefix(f"{file_of(path)}: "))


def decoded_samples(clip: Decoded | AudioError) -> int:
    """Samples that an outcome holds, at all of its rates."""
    return sum(map(len, clip.waveforms.values())) if isinstance(clip, Decoded) else 0


class LookAhead:
    """Decodes files in threads, ahead of the one that is asked for, and yields (row, outcome) in order.

    At most ``count`` files are ahead, and no new one is begun while more than ``MOST_WAITING`` samples wait,
    except for the very file that is asked for: without the exception, files decoded before their turn could
    fill the room that it needs.

    Args:
        files: what to decode.
        rates: sample rates in Hz that each is wanted at.
        workers: threads.
        count: the most files ahead.
        leave_long: whether files that ``read.is_long`` are left to whoever asks: their outcome has no waveforms.
    """

    def __init__(
        self, files: Sequence[Sound], rates: Sequence[int], workers: int, count: int, leave_long: bool = False
    ) -> None:
        self.files, self.rates, self.count = files, rates, count
        self.leave_long = leave_long
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self.room = threading.Condition()
        self.waiting = 0  # samples decoded and not yet asked for
        self.asked = -1
        self.stopped = False

    def __enter__(self) -> Iterator[tuple[int, Decoded | AudioError]]:
        return self._clips()

    def __exit__(self, *exception: object) -> None:
        with self.room:
            self.stopped = True
            self.room.notify_all()
        # Not waiting lets Ctrl-C through at once; what is being decoded ends by itself.
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _clips(self) -> Iterator[tuple[int, Decoded | AudioError]]:
        rows = iter(range(len(self.files)))
        ahead = [self.pool.submit(self._decode, row) for row in islice(rows, self.count)]
        for row in range(len(self.files)):
            with self.room:
                self.asked = row
                self.room.notify_all()
            clip = ahead.pop(0).result()
            with self.room:
                self.waiting -= decoded_samples(clip)
                self.room.notify_all()
            ahead += [self.pool.submit(self._decode, following) for following in islice(rows, 1)]
            yield row, clip

    def _decode(self, row: int) -> Decoded | AudioError:
        with self.room:
            self.room.wait_for(lambda: self.stopped or row <= self.asked or self.waiting < MOST_WAITING)
        if self.stopped:
            return AudioError("stopped.")
        clip: Decoded | AudioError
        try:
            left = self.leave_long and is_long(self.files[row])
            clip = Decoded({}) if left else decode(self.files[row], self.rates)
        except AudioError as error:
            clip = error
        with self.room:
            self.waiting += decoded_samples(clip)
        return clip


@contextmanager
def file_progress(total: int, shown: bool, what: str, unit: str = "files") -> Iterator[Callable[[float], None]]:
    """A function to call with the number of files done, and a display on stderr of ``what`` is done, if ``shown``."""
    if not shown:
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.completed / task.elapsed:.1f} {unit}/s" if task.completed and task.elapsed else "")

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as display:
        task = display.add_task(what, total=total)
        yield lambda done: display.advance(task, done)


@contextmanager
def time_progress(files: Sequence[Sound], shown: bool, what: str) -> Iterator[Callable[[float], None]]:
    """A function to call with the seconds of sound done, and a display on stderr of ``what`` is done, if ``shown``."""
    if not shown:
        yield lambda seconds: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    class Heard(ProgressColumn):
        def render(self, task: Task) -> Text:
            rate = f", {task.completed / task.elapsed:.0f} times as fast as it plays" if task.elapsed else ""
            return Text(f"{task.completed / 60:.1f} min{rate}")

    columns = ("{task.description}", BarColumn(), Heard(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as display:
        task = display.add_task(what, total=sum(duration(file) or 0.0 for file in files) or None)
        yield lambda seconds: display.advance(task, seconds)
