"""How a long run shows itself: loss, pairs a second and time left."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

from soundalike.train.step import Learner

LINE_EVERY = 30.0
"""Seconds between two lines where the output is no terminal."""


class TrainingProgress(Callback):
    """A progress bar on a terminal's stderr, or a line now and then in a log."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def on_train_start(self, trainer: Trainer, learner: Learner) -> None:
        """Starts the bar."""
        self._task = self._bar.add_task("starting", total=1.0)
        self._first_step, self._first_progress = trainer.global_step, learner.progress()
        self._started = self._last_line = time.monotonic()
        self._smooth_loss: float | None = None
        self._bar.start()

    def on_train_batch_end(self, trainer: Trainer, learner: Learner, outputs: Any, *_: Any) -> None:
        """Moves the bar."""
        loss = float(outputs["loss"]) if trainer.global_step % 10 == 0 or self._smooth_loss is None else None
        if loss is not None:  # reading a loss waits for the GPU, so not at every step
            self._smooth_loss = loss if self._smooth_loss is None else 0.7 * self._smooth_loss + 0.3 * loss
        now, progress = time.monotonic(), learner.progress()
        seconds = now - self._started
        pairs = (trainer.global_step - self._first_step) * learner.training_settings.batch_size * trainer.world_size
        done = progress - self._first_progress
        left = seconds / done * (1.0 - progress) if done > 0 else float("inf")
        text = (
            f"step {trainer.global_step}  loss {self._smooth_loss:.3f}  {pairs / max(seconds, 1e-9):.1f} pairs/s"
            f"  {_clock_text(left)} left"
        )
        self._bar.update(self._task, completed=progress, description=text)
        if not self._console.is_terminal and (now - self._last_line > LINE_EVERY or progress >= 1.0):
            self._last_line = now
            self._console.print(f"{100 * progress:3.0f} %  {text}", highlight=False)

    def on_train_end(self, trainer: Trainer, learner: Learner) -> None:
        """Ends the bar."""
        self._bar.stop()

    def on_exception(self, trainer: Trainer, learner: Learner, exception: BaseException) -> None:
        """Ends the bar."""
        self._bar.stop()


def _clock_text(seconds: float) -> str:
    if seconds == float("inf"):
        return "?"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
