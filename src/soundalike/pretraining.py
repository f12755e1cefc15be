"""A training run in a folder of its own: started, watched, interrupted, resumed and finished."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import platform
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from soundalike.compilation import CompilationError
from soundalike.errors import SoundalikeError, nearest
from soundalike.learner import Learner
from soundalike.memory import keep_freed_memory
from soundalike.model import SoundModel
from soundalike.output import make_folder
from soundalike.progress import TrainingProgress
from soundalike.recipe import Recipe
from soundalike.recordings import TrainingClips, check_fold, heard_paths
from soundalike.synth.synthesizer import COMPILED_ROWS
from soundalike.training import Training

MODEL, RECIPE, CHECKPOINT, CLIPS = "model.safetensors", "recipe.yaml", "checkpoint.ckpt", "clips.csv"


def pretrain(recipe: Recipe, out: str | Path, resume: bool = False, device: str = "auto", quiet: bool = False) -> Path:
    """Trains the encoder of a recipe on synthetic sounds, on recordings, or on both.

    The folder gets ``recipe.yaml`` (the recipe as it ran), ``checkpoint.ckpt`` (where the run stands), ``logs``
    (CSV and TensorBoard), ``clips.csv`` (the recordings that were heard and the labels that were seen) and, at the
    end, after Ctrl-C or when the time is up, ``model.safetensors``.

    Args:
        recipe: what to train, and how.
        out: the run's folder; it must not hold another run.
        resume: go on with the run that the folder holds, with the very sounds that it would have met.
        device: ``auto``, ``cpu`` or ``cuda``; ``cuda`` takes every GPU.
        quiet: no progress display.

    Returns:
        Path of the model.

    Raises:
        SoundalikeError: the recipe, the folder or the device does not allow it, or the training diverges.
    """
    out, device = Path(out), _device(device)
    keep_freed_memory()
    recordings = recipe.recordings
    if recordings is not None and recordings.data is not None:
        # what a model has heard is known by where it lies, from whichever folder it is asked
        recipe = recipe.override({"recordings.data": str(Path(recordings.data).absolute())})
    if recordings is None:
        learner, clips = Learner(recipe), None  # says what is wrong with the recipe before the folder is looked at
        checkpoint = _check_folder(recipe, out, resume)
    else:
        checkpoint = _check_folder(recipe, out, resume)
        clips = recordings.open(recipe.sections["frontend"]["sample_rate"], not quiet and _is_first_process())
        learner = Learner(recipe, clips)
        if checkpoint is not None and _is_first_process():
            _check_clips(out, clips)
    if checkpoint is None and recipe.training.start is not None:
        _start_from(recipe.training.start, learner)
    if _is_first_process():
        partial = make_folder(out) / f"{RECIPE}.part"
        partial.write_text(recipe.to_yaml(), encoding="utf-8")
        os.replace(partial, out / RECIPE)
        if clips is not None:
            clips.record(out / CLIPS)
    stop = Stop()
    display = [] if quiet else [TrainingProgress()]
    callbacks = [Checkpoints(out), stop, PairExamples(), CompiledRendering(quiet), *display]
    with _free_on_failure(out), _quiet_engine(), stop.listening():
        trainer = _trainer(learner.training_settings, out, device, callbacks)
        try:
            trainer.fit(learner, Numbers(), Numbers(), ckpt_path=checkpoint, weights_only=True)
        except SystemExit:  # what the engine makes of a second Ctrl-C
            raise KeyboardInterrupt from None
    if trainer.is_global_zero:
        # after the engine, which does nothing where a run was killed between its last checkpoint and its model
        classes = () if clips is None else clips.classes
        SoundModel(recipe, learner.parts, summary(trainer, learner), classes).save(out / MODEL)
    return out / MODEL


def _check_clips(out: Path, clips: TrainingClips) -> None:
    """Makes sure that a resumed run hears what it heard before: a clip more or less would put all in another order."""
    before, now = heard_paths(out / CLIPS) if (out / CLIPS).is_file() else [], clips.heard_paths
    if before and before != now:
        differing = sorted({*before} ^ {*now}) or now
        raise SoundalikeError(
            f"{out}: its run heard {len(before)} clips, and now there are {len(now)} ({differing[0]} is new or gone): "
            f"put them back, or start a new run."
        )


def _start_from(path: str, learner: Learner) -> None:
    """Gives the encoder the weights of a model."""
    model = SoundModel.load(path)
    check_fold(model.recipe.recordings if model.training else None, learner.recipe.recordings)
    for section in ("frontend", "encoder"):
        theirs, ours = model.recipe.sections[section], learner.recipe.sections[section]
        differing = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
        if differing:
            key = sorted(differing)[0]
            raise SoundalikeError(
                f"training.start is {path}, whose {section}.{key} is {theirs.get(key)!r}; this recipe's is "
                f"{ours.get(key)!r}, and a run goes on with the same front end and encoder only."
            )
    learner.encoder.load_state_dict(model.encoder.state_dict())


def _trainer(settings: Training, out: Path, device: str, callbacks: list[Callback]) -> Trainer:
    steps = settings.total_steps(_ranks(device))
    options: dict[str, Any] = {
        "accelerator": {"cpu": "cpu", "cuda": "gpu"}[device],
        "devices": 1 if device == "cpu" else "auto",
        "precision": engine_precision(settings.precision, device),
        "max_epochs": -1,  # sounds that never repeat have no epochs; a sitting counts as one
        "max_steps": steps or -1,
        "logger": [kind(out, "logs", _sitting(out)) for kind in (CSVLogger, TensorBoardLogger)],
        "log_every_n_steps": min(10, max(1, (steps or 100) // 10)),
        "callbacks": callbacks,
        "plugins": [SafeCheckpoints()],
        "enable_checkpointing": False,  # Checkpoints writes them
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "limit_val_batches": 0,
    }
    if settings.validate_every:
        options["limit_val_batches"] = max(1, settings.validation_pairs // settings.batch_size)
        options |= {"val_check_interval": settings.validate_every, "check_val_every_n_epoch": None}
        options["num_sanity_val_steps"] = 0
    return Trainer(default_root_dir=out, **options)


def _check_folder(recipe: Recipe, out: Path, resume: bool) -> Path | None:
    """The checkpoint to go on from, or None for a start from nothing."""
    if not _is_first_process():  # the first one has checked, and has begun to write
        return out / CHECKPOINT if resume and (out / CHECKPOINT).is_file() else None
    if out.exists() and not out.is_dir():
        raise SoundalikeError(f"{out}: a file; give a folder for the run.")
    holds = [name for name in (RECIPE, CHECKPOINT, MODEL) if (out / name).exists()]
    if not resume:
        if holds:
            raise SoundalikeError(f"{out}: holds a run already ({holds[0]}); give another folder, or --resume it.")
        if out.is_dir() and any(out.iterdir()):
            raise SoundalikeError(f"{out}: not empty and not a run; give a new folder.")
        return None
    if RECIPE not in holds:
        raise SoundalikeError(f"{out}: holds no run to resume ({RECIPE} is missing).")
    before = Recipe.load(out / RECIPE)
    for section in {**before.sections, **recipe.sections}:
        values = before.sections.get(section, {})
        if section == "training":
            differing = before.training.differences(recipe.training)
        else:
            now = recipe.sections.get(section, {})
            differing = [key for key in {**values, **now} if values.get(key) != now.get(key)]
        if differing:
            key = sorted(differing)[0]
            asked = recipe.sections.get(section, {}).get(key)
            raise SoundalikeError(
                f"{out}: its run has {section}.{key} {values.get(key)!r}, not {asked!r}; a resumed run may change its "
                f"length only."
            )
    return out / CHECKPOINT if CHECKPOINT in holds else None


class Numbers:
    """Batches without end: the numbers 0, 1, 2 …"""

    def __iter__(self) -> Iterator[int]:
        """From 0, every time."""
        return itertools.count()


class Checkpoints(Callback):
    """Writes where the run stands, every so many steps and at the end.

    Args:
        out: the run's folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._loss = torch.zeros(())

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


def summary(trainer: Trainer, learner: Learner) -> dict[str, Any]:
    """What a model says of its training."""
    pairs = trainer.global_step * learner.training_settings.batch_size * trainer.world_size
    seconds = learner.clock.seconds()
    return {
        "steps": trainer.global_step,
        "pairs": pairs,
        "seconds": round(seconds, 1),
        "recordings": learner.views.pairs_a_round,
        "pairs_per_second": round(pairs / seconds, 1) if seconds else None,
        "devices": trainer.world_size,
        "device": torch.cuda.get_device_name() if learner.device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "precision": str(trainer.precision),
        "torch": torch.__version__,
        **{key: float(f"{value:.5g}") for key, value in learner.metrics().items()},
    }


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
        pair = learner.views.numbered(learner.training_settings.seed, torch.arange(self.count))
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
        voice = getattr(learner.views, "voice", None)
        if voice is None or not learner.training_settings.compiles(trainer.world_size):
            return
        self._say("compiling the renderer: half a minute, or seconds where it was done before …")
        rows = COMPILED_ROWS if learner.device.type == "cpu" else 2 * learner.training_settings.batch_size
        try:
            self._say(f"compiled in {voice.compile_halves(rows):.0f} s")
        except CompilationError as error:
            self._say(f"the renderer stays as it is, which is slower and else the same: {error}")

    def _say(self, line: str) -> None:
        if not self.quiet and _is_first_process():
            print(line, file=sys.stderr)


class SafeCheckpoints(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all, so that a run killed while writing keeps the one before."""

    def load_checkpoint(self, path: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Reads a checkpoint, or says which file is none."""
        try:
            checkpoint: dict[str, Any] = super().load_checkpoint(path, *arguments, **options)
        except Exception as error:  # a damaged file makes torch raise many things
            raise SoundalikeError(
                f"{path}: not a checkpoint, or cut short; delete it to start the run again from the beginning."
            ) from error
        return checkpoint

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes beside the old checkpoint, then replaces it."""
        partial = Path(f"{path}.part")
        super().save_checkpoint(checkpoint, partial, storage_options)
        os.replace(partial, path)


def _is_first_process() -> bool:
    """Whether this is the process that a person started, and not one that the engine started for another GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0


def _device(wanted: str) -> str:
    """``cpu`` or ``cuda``."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise SoundalikeError(f"unknown device {wanted!r}: {nearest(wanted, ('auto', 'cpu', 'cuda'))}")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SoundalikeError("device 'cuda': PyTorch finds no GPU here; give 'cpu' or 'auto'.")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def _ranks(device: str) -> int:
    return 1 if device == "cpu" else max(1, torch.cuda.device_count()) * int(os.environ.get("NNODES", "1"))


def engine_precision(wanted: str, device: str) -> str:
    """The engine's name of a precision: of ``auto``, bf16 where the device computes with it."""
    if wanted == "auto":
        on_gpu = device == "cuda"
        has = torch.cuda.is_bf16_supported() if on_gpu else bool(torch.cpu.get_capabilities().get("avx512_bf16"))
        wanted = "bf16" if has else "fp32"
    return {"fp32": "32-true", "bf16": "bf16-mixed"}[wanted]


def _sitting(out: Path) -> str:
    """Name of this sitting's logs: a resumed run keeps those of the sittings before."""
    return f"sitting-{len(list(out.glob('logs/sitting-*'))) + 1}"


@contextlib.contextmanager
def _free_on_failure(out: Path) -> Iterator[None]:
    """Leaves the folder free for another try where a run fails before its first checkpoint."""
    try:
        yield
    except Exception:
        if _is_first_process() and not (out / CHECKPOINT).exists():
            (out / RECIPE).unlink(missing_ok=True)
            shutil.rmtree(out / "logs", ignore_errors=True)
        raise


@contextlib.contextmanager
def _quiet_engine() -> Iterator[None]:
    """Without the engine's remarks on hardware and data loaders, which say nothing about a run."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", module="torch.utils.data")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
