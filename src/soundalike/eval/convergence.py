"""How an encoder gets better while it is trained: kept models, and a probe on small tasks, every so many steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

from soundalike.core.errors import SoundalikeError
from soundalike.core.figures import save_figure
from soundalike.core.files import make_folder
from soundalike.data.leakage import fingerprints, unheard
from soundalike.data.table_writer import open_table
from soundalike.data.tables import read_table
from soundalike.eval.probe import PROBES, score
from soundalike.model.embed_files import embed_files
from soundalike.model.model import SoundModel
from soundalike.train.pretrain import summary
from soundalike.train.step import Learner

if TYPE_CHECKING:
    from soundalike.data.datasets import Dataset

KEPT, TABLE, FIGURE = "kept", "convergence.csv", "convergence.png"
_COLUMNS = ("step", "seconds", "task", "probe", "score")


class Convergence(Callback):
    """Keeps the model every so many steps, and writes how probes read it.

    Models go to ``kept/step-00001000.safetensors``, scores to ``convergence.csv``, a curve to ``convergence.png``. A
    kept model embeds; a head that tells classes apart is in the run's last model alone. A run that goes on from a
    checkpoint replaces what was written of later steps. The time of probing counts as the run's, where its length is
    in minutes.

    Args:
        out: the run's folder.
        every: steps from one to the next, at least 1; the untrained encoder, step 0, is read as well.
        tasks: what to probe on; of one whose recordings the run hears, the fold that it holds out.
        keep: whether models are kept.

    Raises:
        SoundalikeError: ``every`` is below 1.
    """

    def __init__(self, out: Path, every: int, tasks: Sequence[Dataset] = (), keep: bool = True) -> None:
        if every < 1:
            raise SoundalikeError(f"--keep is {every}: give a number of steps from 1.")
        self.out, self.every, self.tasks, self.keep = out, every, list(tasks), keep
        self.rows: list[dict[str, str]] = []

    def on_train_start(self, trainer: Trainer, learner: Learner) -> None:
        """Takes up what an earlier sitting wrote, and reads the untrained encoder."""
        if not trainer.is_global_zero:
            return
        if (self.out / TABLE).is_file():
            before = read_table(self.out / TABLE, _COLUMNS, empty=True).rows()
            self.rows = [row for row in before if int(row["step"]) <= trainer.global_step]
        sources = (learner.views, *getattr(learner.views, "sources", {}).values())
        paths = [path for views in sources if hasattr(views, "clips") for path in views.clips.heard_paths]
        self.tasks = [unheard(task, fingerprints(paths)) for task in self.tasks]
        if trainer.global_step == 0:
            self._read(trainer, learner)

    def on_train_batch_end(self, trainer: Trainer, learner: Learner, *_: Any) -> None:
        """Keeps and probes where a step is due."""
        if trainer.is_global_zero and trainer.global_step % self.every == 0:
            self._read(trainer, learner)

    def on_train_end(self, trainer: Trainer, learner: Learner) -> None:
        """Probes what was trained since the last time."""
        if trainer.is_global_zero and trainer.global_step % self.every:
            self._read(trainer, learner)

    def _read(self, trainer: Trainer, learner: Learner) -> None:
        step = trainer.global_step
        # a model of its own: one of the learner's parts would leave them in evaluation mode
        model = SoundModel(learner.recipe, training=summary(trainer, learner))
        model.encoder.load_state_dict(learner.encoder.state_dict())
        if self.keep and step:
            make_folder(self.out / KEPT)
            model.save(self.out / KEPT / f"step-{step:08}.safetensors")
        if not self.tasks:
            return
        model.to(learner.device)
        seconds = learner.clock.seconds()
        self.rows = [row for row in self.rows if int(row["step"]) < step]
        for task in self.tasks:
            embedded = embed_files(task.sounds, {"model": model})
            if not embedded.paths:
                raise SoundalikeError(f"{task.name}: none of its clips could be embedded, so it cannot be probed.")
            found = score(embedded.vectors["model"], task.select(embedded.rows))
            for probe in PROBES:
                cells = (str(step), f"{seconds:.1f}", task.name, probe, f"{found.probes[probe].mean:.4f}")
                self.rows.append(dict(zip(_COLUMNS, cells, strict=True)))
        with open_table(self.out / TABLE, _COLUMNS, whole=True) as table:
            for row in self.rows:
                table.write([row[column] for column in _COLUMNS])
        draw(self.rows, self.out / FIGURE)


def draw(rows: Sequence[dict[str, str]], path: Path) -> None:
    """Scores against steps, a panel for each task; nothing where matplotlib is not installed.

    Args:
        rows: of ``convergence.csv``.
        path: PNG file to write.
    """
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        return
    from soundalike.eval.study.figure import COLOURS, panels

    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure, axes = panels(len(tasks))
    for axis, task in zip(axes, tasks, strict=True):
        for colour, probe in zip(COLOURS, PROBES, strict=False):
            own = [row for row in rows if (row["task"], row["probe"]) == (task, probe)]
            points = [(int(row["step"]), 100 * float(row["score"])) for row in own]
            steps, scores = np.array(points).T
            axis.plot(steps, scores, color=colour, marker="o", markersize=3, label=probe)
        axis.set_title(task, size=10, parse_math=False)
        axis.set_xlabel("step")
        axis.set_ylabel("%")
        axis.grid(alpha=0.25)
        axis.legend(fontsize=8, frameon=False)
    save_figure(figure, path)
