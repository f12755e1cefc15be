"""How a download shows itself: bytes, rate and time left."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from soundalike.core.terminal import shown
from soundalike.data.download.catalogue import amount

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_EVERY = 30.0
"""Seconds between two lines where stderr is no terminal."""


class Display:
    """A bar on a terminal's stderr, or a line now and then in a log. A context manager."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._what = ""
        self._total: int | None = None
        self._first = self._done = 0
        self._started = self._last_line = time.monotonic()

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._close()

    def start(self, what: str, total: int | None, done: int = 0) -> None:
        """Begins with a step.

        Args:
            what: its name.
            total: bytes in all, where that is known.
            done: bytes that need not be done any more.
        """
        self._close()
        self._what, self._total, self._first, self._done = what, total, done, done
        self._started = self._last_line = time.monotonic()
        if self._console.is_terminal:
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )

            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console, redirect_stdout=False)
            self._task = self._bar.add_task(what, total=total, completed=done)
            self._bar.start()

    def show(self, done: int) -> None:
        """So many bytes of the step are done now."""
        self._done = done
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done)
        elif time.monotonic() - self._last_line > LINE_EVERY:
            self._last_line = time.monotonic()
            self.say(self._line())

    def say(self, sentence: str) -> None:
        """A line that stays."""
        self._console.print(shown(sentence), highlight=False, markup=False, soft_wrap=True)

    def _line(self) -> str:
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = (self._done - self._first) / seconds
        text = f"{self._what}: {amount(self._done)}"
        if self._total is None:
            return f"{text}  {amount(rate)}/s"
        left = (self._total - self._done) / rate if rate > 0 else 0.0
        minutes, left = divmod(round(max(left, 0.0)), 60)
        share = 100 * self._done / max(self._total, 1)
        return f"{text} of {amount(self._total)} ({share:.0f} %)  {amount(rate)}/s  {minutes}:{left:02d} left"

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
