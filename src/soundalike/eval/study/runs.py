"""The runs of a study in its folder: each is trained and scored once, whatever interrupts it."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from soundalike.core.errors import SoundalikeError
from soundalike.core.files import holds_parts_alone, make_folder, write_whole
from soundalike.model.recipe import Recipe

STUDY, RUNS, FAILURE = "study.json", "runs", "failure.txt"
_ROUNDING = 0.1  # seconds to which a model's record of its training is rounded


@dataclass(frozen=True)
class Run:
    """One setting of a study.

    Args:
        levels: factor to level, such as ``{"delta": 0.25, "seed": 0}``; what tells runs apart.
        overrides: what `Recipe.override` takes.
        share: of the budget, beside those of the other runs.
        after: slug of the run whose encoder this one starts from; it comes earlier.
    """

    levels: dict[str, str | int | float]
    overrides: dict[str, Any]
    share: float = 1.0
    after: str | None = None

    @property
    def slug(self) -> str:
        """Name of the run's folder."""
        return "_".join(re.sub(r"[^\w.-]+", "-", f"{factor}-{level}") for factor, level in self.levels.items())

    @property
    def title(self) -> str:
        """The levels as a person reads them."""
        return ", ".join(f"{factor} {level}" for factor, level in self.levels.items())


class StudyFolder:
    """The folder of a study: its runs, and the records of those that are finished.

    ``study.json`` in the study's folder holds the definition, the budget and every finished run; it is replaced as
    a whole after each one. A run trains in ``runs/SLUG``, as any run does.

    Args:
        out: folder of the study; the same folder again goes on with it.
        name: name of the study.
        recipe: what the runs' overrides change.
        runs: the settings, seeds included, each with levels of its own.
        minutes: of training, over all runs: each gets a part in proportion to its share. None leaves each run the
            recipe's length.
        definition: whatever else makes two studies comparable, as plain data.

    Raises:
        SoundalikeError: a setting does not fit the recipe, or the folder holds another study.
    """

    def __init__(
        self,
        out: str | Path,
        name: str,
        recipe: Recipe,
        runs: Sequence[Run],
        minutes: float | None = None,
        definition: Mapping[str, Any] | None = None,
    ) -> None:
        self.out, self.runs = Path(out), list(runs)
        slugs = [run.slug for run in self.runs]
        if not slugs or len({*slugs}) < len(slugs):
            raise SoundalikeError(f"study {name}: give at least one run, and each of them once.")
        if minutes is not None and not 0 < minutes < float("inf"):
            raise SoundalikeError(f"study {name}: its budget is {minutes!r} minutes; give a number above 0.")
        for number, run in enumerate(self.runs):
            if not 0 < run.share < float("inf"):
                raise SoundalikeError(f"study {name}: the share of {run.title} is {run.share!r}; give one above 0.")
            if run.after is not None and run.after not in slugs[:number]:
                raise SoundalikeError(f"study {name}: {run.title} starts from {run.after}, which is no earlier run.")
        each = None if minutes is None else minutes / sum(run.share for run in self.runs)  # of a share of 1
        self.recipes = {run.slug: recipe.override(self._settings(run, each)) for run in self.runs}
        asked = {
            "study": name,
            "recipe": recipe.to_dict(),
            "runs": [asdict(run) for run in self.runs],
            "budget_minutes": minutes,
            "minutes_per_run": each,
            **(definition or {}),
        }
        asked = json.loads(json.dumps(asked))  # as it will be read again
        self.state: dict[str, Any] = self._recorded(asked) or {"definition": asked, "finished": {}, "extra": {}}

    def _settings(self, run: Run, each: float | None) -> dict[str, Any]:
        """What makes the study's recipe the run's."""
        length = {} if each is None else {"minutes": each * run.share}
        # absolute, so that a run that is broken off goes on from any folder; no part of the definition
        start = {} if run.after is None else {"training.start": str(self._model(run.after).absolute())}
        return {**length, **run.overrides, **start}

    def _model(self, slug: str) -> Path:
        """The model file of a run."""
        from soundalike.train.pretrain import MODEL

        return self.out / RUNS / slug / MODEL

    def _recorded(self, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        path = self.out / STUDY
        if not path.exists():
            if self.out.is_dir() and not holds_parts_alone(self.out):
                raise SoundalikeError(f"{self.out}: not empty and not a study; give a new folder.")
            return None
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            before = state["definition"]
            complete = isinstance(state["finished"], dict) and isinstance(state["extra"], dict)
        except (OSError, ValueError, KeyError, TypeError):
            complete = False
        if not complete:
            raise SoundalikeError(f"{path}: not a study that can be read; give another folder.")
        # a key that a newer version of the recipe has, and that says nothing here, makes no other study
        before, asked = _said(before), _said(asked)
        for key in {**before, **asked}:
            if before.get(key) != asked.get(key):
                raise SoundalikeError(
                    f"{self.out}: holds a study with other {key} ({_difference(before.get(key), asked.get(key))}): "
                    f"repeat the command that began it, or give another folder."
                )
        return dict(state)

    def save(self) -> None:
        """Writes ``study.json``, whole or not at all."""
        write_whole(self.out / STUDY, json.dumps(self.state, indent=1) + "\n", "the study")

    def extra(self, key: str, compute: Callable[[], Any]) -> Any:
        """A result that belongs to no run, such as a baseline: computed once, kept in ``study.json``."""
        if key not in self.state["extra"]:
            self.state["extra"][key] = compute()
            self.save()
        return self.state["extra"][key]

    @property
    def finished(self) -> list[tuple[Run, dict[str, Any]]]:
        """Every finished run and its record."""
        done = self.state["finished"]
        return [(run, done[run.slug]) for run in self.runs if run.slug in done]

    def run(
        self, score: Callable[[Path, Run], Any], device: str = "auto", quiet: bool = False
    ) -> list[tuple[Run, str]]:
        """Trains and scores what is left.

        Args:
            score: function from a model file and its run to plain data.
            device: as `pretrain` takes it.
            quiet: no progress lines.

        Returns:
            The runs that failed, each with a sentence. They are tried again when the study goes on.

        Raises:
            KeyboardInterrupt: after Ctrl-C; what is finished is kept, and the run goes on the next time.
            SoundalikeError: there are several GPUs to train on: each would need a process that runs this study too.
        """
        if device != "cpu" and torch.cuda.device_count() > 1:
            raise SoundalikeError(
                "a study trains on one GPU: choose it with CUDA_VISIBLE_DEVICES, or give --device cpu."
            )
        self.save()
        left = [run for run in self.runs if run.slug not in self.state["finished"]]
        failed: list[tuple[Run, str]] = []
        spent = 0.0
        for number, run in enumerate(left):
            if not quiet:
                done = len(self.runs) - len(left) + number
                so_far = f"{done} of {len(self.runs)} runs done{self._time(number, left, spent)}"
                print(f"{so_far}: {run.title}", file=sys.stderr, flush=True)
            started = time.monotonic()
            try:
                self.state["finished"][run.slug] = self._run(run, score, device, started)
                self.save()
            except Exception as error:  # whatever it is, it must not cost the other runs
                folder = make_folder(self.out / RUNS)
                write_whole(folder / f"{run.slug}.{FAILURE}", traceback.format_exc(), "why a run failed")
                told = str(error) if isinstance(error, SoundalikeError) else f"{type(error).__name__}: {error}"
                failed.append((run, " ".join(told.split())))
            spent += time.monotonic() - started
        return failed

    def _time(self, number: int, left: Sequence[Run], spent: float) -> str:
        """What the runs that are left will take, going by those of this sitting or else by the budget."""
        each = self.state["definition"]["minutes_per_run"]
        if not number and each is None:
            return ""
        a_share = spent / sum(run.share for run in left[:number]) if number else 60.0 * each
        seconds = a_share * sum(run.share for run in left[number:])
        hours, minutes = divmod(round(seconds / 60), 60)
        return f", {hours} h {minutes} min left" if hours else f", {minutes} min left"

    def _run(self, run: Run, score: Callable[[Path, Run], Any], device: str, started: float) -> dict[str, Any]:
        from soundalike.model.model import SoundModel
        from soundalike.train.checkpoint import CHECKPOINT
        from soundalike.train.pretrain import RECIPE, pretrain, timing

        if run.after is not None and run.after not in self.state["finished"]:
            former = next(other for other in self.runs if other.slug == run.after)
            raise SoundalikeError(f"it starts from the run {former.title}, which has failed and has to run first.")
        recipe, folder = self.recipes[run.slug], self.out / RUNS / run.slug
        if folder.is_dir() and not ((folder / RECIPE).is_file() and (folder / CHECKPOINT).is_file()):
            shutil.rmtree(folder)  # broken off before there was anything to go on from
        model = self._model(run.slug)
        trained = {**SoundModel.load(model).training, **timing(folder)} if model.is_file() else {}
        if not _complete(recipe, trained):
            pretrain(recipe, folder, resume=folder.is_dir(), device=device, quiet=True)
            trained = {**SoundModel.load(model).training, **timing(folder)}
            if not _complete(recipe, trained):  # pretrain takes Ctrl-C as a wish for an early model
                raise KeyboardInterrupt
        return {
            "levels": run.levels,
            "folder": f"{RUNS}/{run.slug}",
            "trained": trained,
            "scores": score(model, run),
            "seconds": round(time.monotonic() - started, 1),
        }


def _complete(recipe: Recipe, trained: Mapping[str, Any]) -> bool:
    """Whether a training was as long as the recipe says."""
    if not trained:
        return False
    steps, seconds = int(trained["steps"]), float(trained.get("seconds", 0.0)) + _ROUNDING
    settings = recipe.training.counted(trained.get("recordings"))
    return settings.progress(steps, seconds, int(trained["devices"])) >= 1.0


def _said(plain: Any) -> Any:
    """Plain data without the keys whose value is null."""
    if isinstance(plain, dict):
        return {key: _said(value) for key, value in plain.items() if value is not None}
    return [_said(value) for value in plain] if isinstance(plain, list) else plain


def _difference(before: Any, now: Any) -> str:
    """The first difference of two pieces of plain data, in a few words."""
    if isinstance(before, dict) and isinstance(now, dict):
        key = next(key for key in {**before, **now} if before.get(key) != now.get(key))
        return f"{key}: {_difference(before.get(key), now.get(key))}"
    if isinstance(before, list) and isinstance(now, list):
        if len(before) != len(now):
            return f"{len(before)} of them, not {len(now)}"
        return _difference(*next(pair for pair in zip(before, now, strict=True) if pair[0] != pair[1]))
    return f"{before!r}, not {now!r}"
