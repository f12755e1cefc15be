"""Training for the minutes that are left, and the files that come of it: a model, its pieces, the loss curve."""

from __future__ import annotations

import csv
import math
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

from benchmarks.gpu.agreement import small
from benchmarks.gpu.pieces import join, split
from benchmarks.gpu.worker import Context
from soundalike.core.errors import SoundalikeError
from soundalike.model.fit_compact import with_compact
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe
from soundalike.train.checkpoint import CHECKPOINT
from soundalike.train.pretrain import MODEL, RECIPE, pretrain
from soundalike.train.step import Learner

RUN, PIECES, LOSS = "run", "pieces", "loss.csv"
"""Of a session's folder: where the run works, what is to be brought back of it, and the loss curve."""
CHECKPOINT_SECONDS = 60.0
LOSS_EVERY = 10  # steps; reading the loss waits for the device
SMALL_STEPS = 12


def train(context: Context) -> dict[str, Any]:
    """Trains the recipe for the time that is left."""
    run = context.folder / RUN
    earlier = 0.0
    if context.settings.resume is not None:
        earlier = _restore(Path(context.settings.resume), run)
        recipe = Recipe.load(run / RECIPE)
    else:
        recipe = Recipe.load(context.settings.train)
        if context.settings.small:
            recipe = recipe.override(small(recipe) | {"batch_size": 8})
        batch = _fitting(context, recipe)
        recipe = recipe.override({"batch_size": batch, "validate_every": 0, "checkpoint_every": 0})
    left = context.left()
    if left < 5.0:
        raise RuntimeError(f"only {left:.0f} s are left: no training was begun")
    minutes = context.settings.planned or (earlier + left) / 60.0
    length: dict[str, Any] = {"minutes": minutes}
    if context.settings.small:
        length = {"steps": SMALL_STEPS + (0 if not earlier else _steps(run))}
    recipe = recipe.override(length | {"compile": "never" if context.settings.small else "always"})
    # the engine's clock starts after the rendering was compiled: the end of the session counts all the same
    alarm = threading.Timer(left, os.kill, (os.getpid(), signal.SIGTERM))
    alarm.daemon = True
    alarm.start()
    try:
        _pretrain(context, recipe, run, bool(earlier))
    finally:
        alarm.cancel()
        if (run / CHECKPOINT).is_file():
            _bring_back(run, context.folder)
    training = SoundModel.load(run / MODEL).training
    return {"recipe": recipe.name, "planned_minutes": minutes, "earlier_seconds": earlier, **training}


def _pretrain(context: Context, recipe: Recipe, run: Path, resume: bool) -> None:
    """Trains, with smaller batches where the recipe's do not fit into memory."""
    for attempt in range(3):
        batch = recipe.training.batch_size >> attempt
        try:
            pretrain(
                recipe.override({"batch_size": batch}),
                run,
                resume,
                context.settings.device,
                callbacks=[Watch(context.folder)],
            )
        except torch.OutOfMemoryError:
            if resume or attempt == 2:  # a resumed run keeps its batches
                raise
            print(f"{batch} pairs do not fit into memory: half as many are tried", flush=True)
            shutil.rmtree(run, ignore_errors=True)
        else:
            return


def model(context: Context) -> dict[str, Any]:
    """The model in half precision, in pieces; that of the last checkpoint where the training never came to its end."""
    run = context.folder / RUN
    if not (run / MODEL).is_file():
        if not (run / CHECKPOINT).is_file():
            raise SoundalikeError("there is no model: the training left no checkpoint.")
        # a run whose time is up writes its model at once
        ended = Recipe.load(run / RECIPE).override({"minutes": 1e-6, "compile": "never"})
        pretrain(ended, run, resume=True, device=context.settings.device, quiet=True)
    half = context.folder / RUN / "half.safetensors"
    loaded = SoundModel.load(run / MODEL)
    loaded.save(half, half=True)
    return _pieces(half, context.folder, loaded)


def compact(context: Context) -> dict[str, Any]:
    """The same with its compact embedding."""
    whole = SoundModel.load(context.folder / RUN / MODEL, context.settings.device)
    size, sounds = (8, 32) if context.settings.small else (1024, 4096)
    fitted = with_compact(whole, min(size, whole.size), sounds)
    path = context.folder / RUN / "compact.safetensors"
    fitted.save(path, half=True)
    return _pieces(path, context.folder, fitted)


def pictures(context: Context) -> dict[str, Any]:
    """The loss curve as a picture."""
    with (context.folder / LOSS).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if not rows:
        raise RuntimeError("the loss curve is empty")
    try:
        import matplotlib
    except ImportError:
        return {"rows": len(rows), "picture": "none: matplotlib is not installed"}
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([float(row["pairs"]) for row in rows], [float(row["loss"]) for row in rows], linewidth=0.8)
    axes.set(xlabel="pairs", ylabel="loss", title=f"{context.settings.train}, {context.settings.device}")
    figure.savefig(context.folder / "loss.png", dpi=120)
    return {"rows": len(rows), "picture": "loss.png"}


class Watch(Callback):
    """Writes the loss curve as it comes and a checkpoint a minute, in pieces that can be brought back.

    Args:
        folder: of the session.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / LOSS
        self._last = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, learner: Learner, outputs: Any, *_: Any) -> None:  # type: ignore[override]
        """Looks at the loss now and then."""
        if trainer.global_step % LOSS_EVERY and trainer.global_step != 1:
            return
        loss = float(outputs["loss"])
        measured = {name: float(value) for name, value in trainer.callback_metrics.items() if name != "loss"}
        pairs = trainer.global_step * learner.training_settings.batch_size * trainer.world_size
        row = {"step": trainer.global_step, "pairs": pairs, "seconds": round(learner.clock.seconds(), 2)}
        row |= {"loss": f"{loss:.5g}", **{name: f"{value:.5g}" for name, value in sorted(measured.items())}}
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            if new:
                writer.writerow(row)
            writer.writerow(row.values())
        if time.monotonic() - self._last > CHECKPOINT_SECONDS and math.isfinite(loss):
            self._last = time.monotonic()
            trainer.save_checkpoint(self.folder / RUN / CHECKPOINT)
            _bring_back(self.folder / RUN, self.folder)


def _bring_back(run: Path, folder: Path) -> None:
    """Puts what a later session needs to go on into pieces."""
    split(run / CHECKPOINT, folder / PIECES)
    shutil.copyfile(run / RECIPE, folder / PIECES / RECIPE)


def _restore(earlier: Path, run: Path) -> float:
    """Makes the folder of a run out of an earlier session's pieces; returns how many seconds it has trained."""
    pieces = earlier / PIECES if (earlier / PIECES).is_dir() else earlier
    join(pieces, CHECKPOINT, run / CHECKPOINT)
    shutil.copyfile(pieces / RECIPE, run / RECIPE)
    seconds = float(_checkpoint(run)["soundalike"]["seconds"])
    return max(seconds, 1e-3)


def _steps(run: Path) -> int:
    return int(_checkpoint(run)["global_step"])


def _checkpoint(run: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(run / CHECKPOINT, map_location="cpu", weights_only=True)
    return loaded


def _fitting(context: Context, recipe: Recipe) -> int:
    """The recipe's batch, or where it was seen not to fit into memory the largest that did."""
    wanted = recipe.training.batch_size
    rows = [row for row in context.records.rows() if row["step"].startswith(f"speed: step of {recipe.name},")]
    too_large = [_batch(row) for row in rows if not row["ok"] and "OutOfMemory" in row.get("error", "")]
    if any(size <= wanted for size in too_large):
        return max([_batch(row) for row in rows if row["ok"]], default=wanted // 2)
    return wanted


def _batch(row: dict[str, Any]) -> int:
    return int(row["step"].rsplit(", ", 1)[1].split()[0])


def _pieces(path: Path, folder: Path, model: SoundModel) -> dict[str, Any]:
    pieces = split(path, folder / PIECES)
    return {
        "file": path.name,
        "mb": path.stat().st_size / 1e6,
        "pieces": [piece.name for piece in pieces],
        "join": f"cat {' '.join(piece.name for piece in pieces)} > {path.name}",
        "numbers": model.size,
    }
