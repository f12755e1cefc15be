"""What happens beside a training: checkpoints, its end, examples to look at, and compiling the renderer first."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from soundalike.core.compile import CompilationError
from soundalike.core.device import is_first_process
from soundalike.core.errors import SoundalikeError
from soundalike.train.checkpoint import CHECKPOINT
from soundalike.train.step import Learner


class Checkpoints(Callback):
    """Writes where the run stands, every so many steps and at the end.

    Args:
        out: the run's folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.began = False
        self._loss = torch.zeros(())

    def on_train_start(self, trainer: Trainer, learner: Learner) -> None:
        """Notes that the run has begun: what fails from now on is not the checkpoint that it was taken up from."""
        self.began = True

    def on_train_batch_end(self, trainer: Trainer, learner: Learner, outputs: Any, *_: Any) -> None:
        """Writes a checkpoint where one is due."""
        self._loss = outputs["loss"]
        every = learner.training_settings.checkpoint_every
        if every and trainer.global_step % every == 0:
            self._write(trainer)

    def on_train_end(self, trainer: Trainer, learner: Learner) -> None:
        """Writes the last checkpoint."""
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        if not torch.isfinite(self._loss):  # the checkpoint before is worth more
            raise SoundalikeError(
                f"{self.out}: the loss is {float(self._loss)} at step {trainer.global_step}; "
                f"start again with a lower training.learning_rate."
            )
        trainer.save_checkpoint(self.out / CHECKPOINT)


class Stop(Callback):
    """Ends the run after its step, by Ctrl-C, by SIGTERM, or when its minutes are over, of all sittings."""

    def __init__(self) -> None:
        self._told = False
        self._before: dict[signal.Signals, Any] = {}

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hears the signals. A second one ends the run at once, without a model."""
        if threading.current_thread() is threading.main_thread():  # signals reach no other
            self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self._listen()
        try:
            yield
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _listen(self) -> None:
        for number in self._before:
            signal.signal(number, self._tell)

    def _tell(self, number: int, frame: Any) -> None:
        self._told = True
        signal.signal(number, self._before[signal.Signals(number)])

    def on_train_start(self, trainer: Trainer, learner: Learner) -> None:
        """Stops a run that was over before it went on."""
        if not self._told:
            self._listen()  # again: the engine has put a handler in place that ends a run without a model
        self._look(trainer, learner)

    def on_train_batch_end(self, trainer: Trainer, learner: Learner, *_: Any) -> None:
        """Looks at the clock."""
        self._look(trainer, learner)

    def _look(self, trainer: Trainer, learner: Learner) -> None:
        minutes = learner.training_settings.minutes
        over = self._told or (minutes is not None and learner.clock.seconds() >= 60.0 * minutes)
        if trainer.strategy.reduce_boolean_decision(over, all=False):  # every rank ends if one does
            trainer.should_stop = True


class PairExamples(Callback):
    """Puts a few pairs into TensorBoard, to hear and to see.

    Args:
        count: how many pairs.
    """

    def __init__(self, count: int = 4) -> None:
        self.count = count

    @torch.no_grad()
    def on_train_start(self, trainer: Trainer, learner: Learner) -> None:
        """Renders the first pairs of the run."""
        board = next((logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)), None)
        if not trainer.is_global_zero or board is None or trainer.global_step:
            return
        pair = learner.views.batch(learner.training_settings.seed, torch.arange(self.count))
        features = [learner.frontend(view).cpu() for view in (pair.first, pair.second)]  # (count, 1, 96, 64)
        rate = learner.frontend.sample_rate
        for i in range(self.count):
            for view, sound in zip(("first", "second"), (pair.first, pair.second), strict=True):
                heard = sound[i].cpu() / sound[i].abs().max().clamp(min=1.0)  # augmented sounds may be louder than 1
                board.experiment.add_audio(f"pair_{i}/{view}", heard, sample_rate=rate)
            if features[0].ndim != 4:  # a waveform is no picture
                continue
            both = torch.cat([spectrogram[i, 0].T.flip(0) for spectrogram in features], dim=1)  # (64, 192)
            low, high = both.min(), both.max()
            board.experiment.add_image(f"pair_{i}", ((both - low) / (high - low).clamp(min=1e-6))[None])


class CompiledRendering(Callback):
    """Compiles the voice before the first step, where the run is long enough to gain by it.

    Args:
        quiet: says nothing of it.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def on_train_start(self, trainer: Trainer, learner: Learner) -> None:
        """Compiles, or says in one line why not."""
        if not learner.views.voices or not learner.training_settings.compiles(trainer.world_size):
            return
        self._say("compiling the renderer: half a minute, or seconds where it was done before …")
        try:
            self._say(f"compiled in {compile_rendering(learner):.0f} s")
        except CompilationError as error:
            self._say(f"the renderer stays as it is, which is slower and else the same: {error}")

    def _say(self, line: str) -> None:
        if not self.quiet and is_first_process():
            print(line, file=sys.stderr)


def compile_rendering(learner: Learner) -> float:
    """Compiles what renders the sounds of a learner, for its batch size and device.

    Args:
        learner: of a recipe with a voice.

    Returns:
        Seconds that it took.

    Raises:
        CompilationError: there is no compiler, or it does not work.
    """
    rows = 2 * min(learner.training_settings.batch_size, learner.pairs_at_once)
    predicts = learner.prediction is not None
    return sum(voice.compile_rendering(rows, predicts and bool(voice.target_specs)) for voice in learner.views.voices)
