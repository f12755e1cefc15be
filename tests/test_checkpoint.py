"""Checkpoints that cannot be taken up: each is one sentence, before a step is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from soundalike.core.errors import SoundalikeError
from soundalike.model.recipe import Recipe
from soundalike.train.checkpoint import CHECKPOINT, SafeCheckpoints, sealed
from soundalike.train.pretrain import RECIPE, pretrain
from soundalike.train.step import Learner


def entry(*place: Any, value: Any) -> Callable[[dict[str, Any]], Any]:
    """A change of one entry of a checkpoint."""

    def change(checkpoint: dict[str, Any]) -> None:
        inner: Any = checkpoint
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value

    return change


def gone(*place: Any) -> Callable[[dict[str, Any]], Any]:
    """A change that takes one entry out."""

    def change(checkpoint: dict[str, Any]) -> None:
        inner: Any = checkpoint
        for name in place[:-1]:
            inner = inner[name]
        del inner[place[-1]]

    return change


STATE = ("optimizer_states", 0, "state", 0, "exp_avg")
GROUP = ("optimizer_states", 0, "param_groups", 0)
STEP = ("loops", "fit_loop", "epoch_loop.automatic_optimization.optim_progress", "optimizer", "step", "total")


@pytest.fixture(scope="module")
def learner(tiny: Recipe) -> Learner:
    return Learner(tiny)


def test_one_that_is_whole_is_taken_up(run: Path, learner: Learner) -> None:
    checkpoint = SafeCheckpoints(learner).load_checkpoint(run / CHECKPOINT, weights_only=True)
    assert checkpoint["global_step"] == 6


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (gone("state_dict"), r"KeyError: 'state_dict'"),
        (gone("optimizer_states"), r"KeyError: 'optimizer_states'"),
        (gone("global_step"), r"KeyError"),
        (gone("loops"), r"KeyError"),
        (gone("soundalike"), r"KeyError"),
        (gone(*STEP[:3]), r"KeyError"),
        (gone("state_dict", "encoder.linear.bias"), r"the tensor 'encoder.linear.bias' is missing"),
        (entry("state_dict", "more", value=torch.ones(1)), r"the tensor 'more' is not one of its parts"),
        (entry("state_dict", "encoder.linear.bias", value=torch.ones(3)), r"the tensor .* has the shape \(3,\)"),
        (entry("state_dict", "encoder.linear.bias", value=torch.ones(16).int()), r"the tensor .* kind torch.int32"),
        (entry("state_dict", "encoder.linear.bias", value=torch.full((16,), torch.nan)), r"the tensor .* not finite"),
        (entry("state_dict", "encoder.linear.bias", value=3.0), r"its weights are none"),
        (entry("state_dict", value=[1, 2]), r"its weights are none"),
        (entry("optimizer_states", value=[]), r"it has no optimiser, or several"),
        (entry("optimizer_states", value={}), r"it has no optimiser, or several"),
        (entry("optimizer_states", 0, "param_groups", value=[]), r"its optimiser has 0 groups of weights, not 1"),
        (entry(*GROUP, "params", value=[0, 1]), r"its optimiser has other weights"),
        (entry(*GROUP, "lr", value=float("nan")), r"its learning rate is nan"),
        (entry(*GROUP, "lr", value="fast"), r"could not convert string to float"),
        (entry(*GROUP, "weight_decay", value=0.5), r"its optimiser has weight_decay 0.5, and the recipe says 0.01"),
        (entry(*STATE, value=torch.ones(3)), r"its optimiser's exp_avg has the shape \(3,\)"),
        (entry(*STATE, value=torch.full((8, 1, 7, 7), torch.inf)), r"its optimiser's exp_avg is no finite number"),
        (entry(*STATE, value="x"), r"its optimiser's exp_avg is no finite number"),
        (entry("optimizer_states", 0, "state", 999, value={}), r"its optimiser has a weight 999"),
        (entry("optimizer_states", 0, "state", value=[]), r"AttributeError"),
        (entry("global_step", value=-1), r"its global_step is -1"),
        (entry("global_step", value="6"), r"its global_step is '6'"),
        (entry("global_step", value=7), r"its optimiser took 6 steps, and it is at step 7"),
        (entry("global_step", value=10**30), r"its global_step is 1000"),
        (entry(*STEP, "completed", value=None), r"its completed is None"),
        (entry("loops", "fit_loop", "epoch_progress", "total", "ready", value=-3), r"its ready is -3"),
        (entry("soundalike", "seconds", value=-1.0), r"its seconds are -1"),
        (entry("soundalike", "seconds", value=[]), r"its seconds is \[\]"),
        (entry("soundalike", "metrics", value={"loss": "low"}), r"its loss is 'low'"),
        (entry("soundalike", "metrics", value=3), r"TypeError"),
        (entry("soundalike", value=None), r"TypeError"),
    ],
)
def test_inconsistent_ones(
    run: Path, tmp_path: Path, learner: Learner, change: Callable[[dict[str, Any]], Any], why: str
) -> None:
    checkpoint = torch.load(run / CHECKPOINT, weights_only=True)
    change(checkpoint)
    (tmp_path / CHECKPOINT).write_bytes(sealed(checkpoint))
    said = rf"checkpoint\.ckpt: not a checkpoint of this run \({why}.*\); delete it to start the run again"
    with pytest.raises(SoundalikeError, match=said):
        SafeCheckpoints(learner).load_checkpoint(tmp_path / CHECKPOINT, weights_only=True)


def test_one_with_another_checksum(run: Path, tmp_path: Path, learner: Learner) -> None:
    content = bytearray((run / CHECKPOINT).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / CHECKPOINT).write_bytes(content)
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["global_step"] == 6, "PyTorch does not notice"
    with pytest.raises(SoundalikeError, match="not a checkpoint, or cut short"):
        SafeCheckpoints(learner).load_checkpoint(tmp_path / CHECKPOINT, weights_only=True)


@pytest.mark.parametrize("content", [[1, 2], {}, "text", 3], ids=str)
def test_what_is_none_at_all(tmp_path: Path, learner: Learner, content: Any) -> None:
    torch.save(content, tmp_path / CHECKPOINT)
    with pytest.raises(SoundalikeError, match=r"checkpoint\.ckpt: not a checkpoint"):
        SafeCheckpoints(learner).load_checkpoint(tmp_path / CHECKPOINT, weights_only=True)


@pytest.mark.parametrize(
    "change",
    [
        gone("pytorch-lightning_version"),
        entry("pytorch-lightning_version", value=7),
        entry("loops", "fit_loop", "epoch_progress", value={}),
        gone("loops", "fit_loop", "epoch_loop.batch_progress"),
        gone("lr_schedulers"),
        entry("callbacks", value=3),
        entry("optimizer_states", 0, "state", 0, "exp_avg", value=torch.ones(2)),
    ],
)
def test_a_run_either_goes_on_from_one_or_says_why_not(
    tiny: Recipe, run: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    checkpoint = torch.load(run / CHECKPOINT, weights_only=True)
    change(checkpoint)
    (tmp_path / CHECKPOINT).write_bytes(sealed(checkpoint))
    (tmp_path / RECIPE).write_text(tiny.to_yaml(), encoding="utf-8")
    said = ""
    try:
        pretrain(tiny, tmp_path, resume=True, device="cpu", quiet=True)
    except SoundalikeError as error:
        said = str(error)
    if said:
        assert said.startswith(f"{tmp_path / CHECKPOINT}: not a checkpoint")
    else:
        assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["global_step"] == 6
