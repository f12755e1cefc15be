"""A training run in a folder of its own: started, watched, interrupted, resumed and finished."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import platform
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from soundalike.core.device import choose_device, engine_precision, is_first_process, processes_here, ranks
from soundalike.core.errors import SoundalikeError
from soundalike.core.files import FULL, holds_parts_alone, make_folder, remove_parts, write_whole
from soundalike.core.memory import keep_freed_memory
from soundalike.data.leakage import fingerprints
from soundalike.data.training_clips import TrainingClips, heard_clips
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe
from soundalike.model.stored import INCONSISTENT
from soundalike.nn.loss import Supervised
from soundalike.train.callbacks import Checkpoints, CompiledRendering, PairExamples, Stop
from soundalike.train.checkpoint import CHECKPOINT, SafeCheckpoints, not_of_this_run
from soundalike.train.progress import TrainingProgress
from soundalike.train.step import Learner

MODEL, RECIPE, CLIPS = "model.safetensors", "recipe.yaml", "clips.csv"
TIMING = "logs/timing.json"
"""How long a run took: apart from its model, which is the same file where the run is."""


def pretrain(
    recipe: Recipe,
    out: str | Path,
    resume: bool = False,
    device: str = "auto",
    quiet: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Trains the encoder of a recipe on synthetic sounds, on recordings, or on both.

    The folder gets ``recipe.yaml`` (the recipe as it ran), ``checkpoint.ckpt`` (where the run stands), ``logs`` (CSV
    and TensorBoard, and how long it took), ``clips.csv`` (the recordings that were heard and the labels that were
    seen) and, at the end, after Ctrl-C or when the time is up, ``model.safetensors``.

    Args:
        recipe: what to train, and how.
        out: the run's folder; it must not hold another run.
        resume: go on with the run that the folder holds, with the very sounds that it would have met.
        device: ``auto``, ``cpu`` or ``cuda``; ``cuda`` takes every GPU.
        quiet: no progress display.
        callbacks: further callbacks of the engine, which are called after the run's own.

    Returns:
        Path of the model.

    Raises:
        SoundalikeError: the recipe, the folder or the device does not allow it, or the training diverges.
    """
    out, device = Path(out), choose_device(device)
    keep_freed_memory()
    if recipe.recordings is not None and recipe.recordings.data is not None:
        # the run can then be resumed from any folder
        recipe = recipe.override({"recordings.data": str(Path(recipe.recordings.data).absolute())})
    recordings, clips, before = recipe.recordings, None, np.zeros(0, np.int64)
    start = None if recipe.training.start is None else SoundModel.load(recipe.training.start)
    # what is wrong with the recipe is said before the folder is looked at, and before recordings are decoded
    recipe.build()
    if start is not None:
        _check_start(start, recipe)
        before = start.heard
    checkpoint = _check_folder(recipe, out, resume)
    if recordings is not None:
        clips = recordings.open(recipe.sections["frontend"]["sample_rate"], not quiet and is_first_process())
        _check_held_out(clips, before)
        if checkpoint is not None and is_first_process():
            _check_clips(out, clips)
    learner = Learner(recipe, clips)
    if not quiet and is_first_process() and not isinstance(learner.objective, Supervised):  # which contrasts nothing
        _note_repeats(learner, ranks(device))
        _note_identical(learner)
    if start is not None and checkpoint is None:
        learner.encoder.load_state_dict(start.encoder.state_dict())
    if is_first_process():
        remove_parts(make_folder(out))  # of a run that was killed, or for which the disk was too full
        write_whole(out / RECIPE, recipe.to_yaml(), "the recipe")
        if clips is not None:
            clips.record(out / CLIPS)
    stop = Stop()
    display = [] if quiet else [TrainingProgress()]
    checkpoints = Checkpoints(out)
    own = [checkpoints, stop, PairExamples(), CompiledRendering(quiet), *display]
    with _free_on_failure(out), _quiet_engine(), stop.listening():
        trainer = _trainer(learner, out, device, [*own, *callbacks])
        try:
            trainer.fit(learner, Numbers(), Numbers(), ckpt_path=checkpoint, weights_only=True)
        except SystemExit:  # what the engine makes of a second Ctrl-C
            raise KeyboardInterrupt from None
        except INCONSISTENT as error:
            if checkpoint is None or checkpoints.began:
                raise
            raise not_of_this_run(checkpoint, error) from error
    if trainer.is_global_zero:
        # after the engine, which does nothing where a run was killed between its last checkpoint and its model
        classes = () if clips is None else clips.classes
        heard = before if clips is None else np.concatenate((before, fingerprints(clips.heard_paths)))
        SoundModel(recipe, learner.parts, summary(trainer, learner), classes, heard).save(out / MODEL)
        write_whole(out / TIMING, json.dumps(_timing(trainer, learner)) + "\n", "how long the run took")
    return out / MODEL


def _note_repeats(learner: Learner, count: int) -> None:
    """Says where a batch is larger than the set of recordings that it shows."""
    pairs, clips = learner.training_settings.batch_size * count, learner.views.pairs_per_epoch
    if clips is not None and pairs > clips:
        print(
            f"note: a batch of {pairs} pairs shows a clip more than once, since {clips} pairs show them all; pairs of "
            f"one clip are not driven apart. --batch-size {max(2, clips // count)} shows each once at most.",
            file=sys.stderr,
        )


def _note_identical(learner: Learner) -> None:
    """Says where some pairs are two identical views, from which nothing is learned."""
    share = learner.views.identical_share
    if share >= 0.005:
        print(
            f"note: about {100 * share:.0f} % of pairs are two identical views, since no augmentation changes them "
            "(identical in the logs); --views.at_least_one true changes one.",
            file=sys.stderr,
        )


def _check_held_out(clips: TrainingClips, before: np.ndarray) -> None:
    """Makes sure that what a run holds out was not heard in the training that it goes on from."""
    known = np.isin(fingerprints(clips.held_out), before[before != 0])
    if known.any():
        first = clips.held_out[int(known.argmax())]
        raise SoundalikeError(
            f"the model has heard {int(known.sum())} of the {len(known)} clips that this run holds out in its own "
            f"training, such as {first}: give the --fold that was held out there, or another model."
        )


def _check_clips(out: Path, clips: TrainingClips) -> None:
    """Makes sure that a resumed run hears what it heard before, under the same labels.

    A clip more or less would put all in another order, and a class more or less would number them anew.
    """
    record = out / CLIPS
    if not record.is_file():
        return
    current = record.with_name(f".now-{CLIPS}")
    clips.record(current)
    before, now = heard_clips(record), heard_clips(current)
    current.unlink()
    if before != now:
        changed = sorted({*before} ^ {*now}) or sorted(now)
        raise SoundalikeError(
            f"{out}: its run heard {len(before)} clips, and now there are {len(now)} ({changed[0][0]} is new, gone or "
            f"labelled otherwise): put them back, or start a new run."
        )


def _check_start(start: SoundModel, recipe: Recipe) -> None:
    """Makes sure that a run can go on from the weights of a model."""
    for section in ("frontend", "encoder"):
        theirs, ours = start.recipe.sections[section], recipe.sections[section]
        differing = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
        if differing:
            key = sorted(differing)[0]
            raise SoundalikeError(
                f"training.start is {recipe.training.start}, whose {section}.{key} is {theirs.get(key)!r}; this "
                f"recipe's is {ours.get(key)!r}, and a run goes on with the same front end and encoder only."
            )


def _trainer(learner: Learner, out: Path, device: str, callbacks: list[Callback]) -> Trainer:
    settings = learner.training_settings
    steps = settings.total_steps(ranks(device))
    options: dict[str, Any] = {
        "accelerator": {"cpu": "cpu", "cuda": "gpu"}[device],
        "devices": processes_here() if device == "cpu" else "auto",
        "precision": engine_precision(settings.precision, device),
        "max_epochs": -1,  # sounds that never repeat have no epochs; a sitting counts as one
        "max_steps": steps or -1,
        "logger": [kind(out, "logs", _sitting(out)) for kind in (CSVLogger, TensorBoardLogger)],
        "log_every_n_steps": min(10, max(1, (steps or 100) // 10)),
        "callbacks": callbacks,
        "plugins": [SafeCheckpoints(learner)],
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
    if not is_first_process():  # the first one has checked, and has begun to write
        return out / CHECKPOINT if resume and (out / CHECKPOINT).is_file() else None
    if out.exists() and not out.is_dir():
        raise SoundalikeError(f"{out}: a file; give a folder for the run.")
    holds = [name for name in (RECIPE, CHECKPOINT, MODEL) if (out / name).exists()]
    if not resume:
        if holds:
            raise SoundalikeError(f"{out}: holds a run already ({holds[0]}); give another folder, or --resume it.")
        if out.is_dir() and not _begun(out):
            raise SoundalikeError(f"{out}: not empty and not a run; give a new folder.")
        return None
    if RECIPE not in holds:
        if not holds and out.is_dir() and any(out.iterdir()) and _begun(out):
            return None  # nothing to go on from, and nothing to lose
        raise SoundalikeError(f"{out}: holds no run to resume ({RECIPE} is missing); start it without --resume.")
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


def summary(trainer: Trainer, learner: Learner) -> dict[str, Any]:
    """What a model says of its training: nothing that differs where the same run is made again."""
    return {
        "steps": trainer.global_step,
        "pairs": _pairs(trainer, learner),
        "recordings": learner.views.pairs_per_epoch,
        "devices": trainer.world_size,
        "device": torch.cuda.get_device_name() if learner.device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "precision": str(trainer.precision),
        "torch": torch.__version__,
        **{key: float(f"{value:.5g}") for key, value in learner.metrics().items()},
    }


def timing(out: Path) -> dict[str, float]:
    """How long the run in a folder took, over all sittings: ``seconds`` and ``pairs_per_second``; empty if unknown."""
    try:
        found = json.loads((out / TIMING).read_text(encoding="utf-8"))
        return {name: float(found[name]) for name in ("seconds", "pairs_per_second")}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _timing(trainer: Trainer, learner: Learner) -> dict[str, float]:
    seconds = learner.clock.seconds()
    rate = _pairs(trainer, learner) / seconds if seconds else 0.0
    return {"seconds": round(seconds, 1), "pairs_per_second": round(rate, 1)}


def _pairs(trainer: Trainer, learner: Learner) -> int:
    return int(trainer.global_step * learner.training_settings.batch_size * trainer.world_size)


def _sitting(out: Path) -> str:
    """Name of this sitting's logs: a resumed run keeps those of the sittings before."""
    return f"sitting-{len(list(out.glob('logs/sitting-*'))) + 1}"


def _begun(out: Path) -> bool:
    """Whether a folder holds nothing but what a run leaves that could not even write its recipe or a checkpoint."""
    return holds_parts_alone(out, ("logs", CLIPS))


@contextlib.contextmanager
def _free_on_failure(out: Path) -> Iterator[None]:
    """Leaves the folder free for another try where a run fails before its first checkpoint."""
    try:
        yield
    except Exception as error:
        if is_first_process() and not (out / CHECKPOINT).exists():
            for name in (RECIPE, CLIPS):
                (out / name).unlink(missing_ok=True)
            shutil.rmtree(out / "logs", ignore_errors=True)
        if isinstance(error, OSError) and error.errno in FULL:  # from the logs, which name no file
            raise SoundalikeError(
                f"{error.filename or out}: the run cannot write there ({error.strerror}); make room there, and "
                "start it again."
            ) from None
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
