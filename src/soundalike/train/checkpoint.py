"""The file of a run's state: written whole or not at all, and compared with the run before it is taken up again."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from soundalike.core.errors import SoundalikeError
from soundalike.core.files import write_whole
from soundalike.model.file import check_tensors
from soundalike.model.stored import INCONSISTENT
from soundalike.train.step import Learner

CHECKPOINT = "checkpoint.ckpt"
_TRAILER = len("\nchecksum 01234567\n")
_STEPS = ("fit_loop", "epoch_loop.automatic_optimization.optim_progress", "optimizer", "step", "total", "completed")
# of an optimiser's groups, what the recipe says; the learning rate changes with every step
_SETTINGS = ("momentum", "dampening", "nesterov", "weight_decay", "betas", "eps", "adapt")


class SafeCheckpoints(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all, so that a run killed while writing keeps the one before.

    Args:
        learner: of the run, which a checkpoint has to fit.
    """

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.learner = learner

    def load_checkpoint(self, path: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Reads a checkpoint, onto the CPU and without running any code in it.

        Raises:
            SoundalikeError: it is none, it is damaged, or it is of another run.
        """
        try:
            content = Path(path).read_bytes()
            if content[-_TRAILER:] != _trailer(memoryview(content)[:-_TRAILER]):
                raise ValueError("another checksum")
            checkpoint: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file makes torch raise many things
            raise SoundalikeError(
                f"{path}: not a checkpoint, or cut short; delete it to start the run again from the beginning."
            ) from error
        try:
            _check(checkpoint, self.learner)
        except INCONSISTENT as error:
            raise not_of_this_run(path, error) from None
        return dict(checkpoint)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes beside the old checkpoint, then replaces it."""
        # not through the engine, which goes by way of a temporary folder, nor straight into a file, since PyTorch
        # says of a full disk only that something failed
        write_whole(Path(path), sealed(checkpoint), "the checkpoint")


def sealed(checkpoint: Mapping[str, Any]) -> bytes:
    """The bytes of a checkpoint's file: as PyTorch writes it, and a checksum behind.

    PyTorch reads weights of which a bit has changed without a word. It does not mind what follows.

    Args:
        checkpoint: as the engine makes it.
    """
    content = io.BytesIO()
    torch.save(dict(checkpoint), content)
    return content.getvalue() + _trailer(content.getbuffer())


def _trailer(content: bytes | memoryview) -> bytes:
    return b"\nchecksum %08x\n" % zlib.crc32(content)


def not_of_this_run(path: Any, error: Exception) -> SoundalikeError:
    """The sentence for a checkpoint that a run cannot be taken up from.

    Args:
        path: of the file.
        error: what was raised.
    """
    reason = (str(error).splitlines() or [""])[0].strip().rstrip(".")
    if not isinstance(error, ValueError):  # what was looked for alone says nothing
        reason = f"{type(error).__name__}: {reason}"
    return SoundalikeError(
        f"{path}: not a checkpoint of this run ({reason}); delete it to start the run again from the beginning."
    )


def _check(checkpoint: Any, learner: Learner) -> None:
    """Makes sure that a checkpoint has what a run takes up, in its kinds and shapes.

    Raises:
        ValueError: something differs.
        LookupError: something is missing.
        TypeError: something is of another kind.
    """
    if not isinstance(checkpoint, dict):
        raise ValueError(f"it holds a {type(checkpoint).__name__}")
    weights = checkpoint["state_dict"]
    if not isinstance(weights, Mapping) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise ValueError("its weights are none")
    check_tensors(weights, learner.state_dict())
    steps = _count(checkpoint["global_step"], "global_step")
    _count(checkpoint["epoch"], "epoch")
    _check_loops(checkpoint["loops"], "loops")
    done: Any = checkpoint["loops"]
    for name in _STEPS:
        done = done[name]
    if done != steps:
        raise ValueError(f"its optimiser took {done} steps, and it is at step {steps}")
    told = checkpoint["soundalike"]
    numbers = {"seconds": told["seconds"], **dict(told["metrics"])}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"its {name} is {value!r:.100}")
    if not 0 <= numbers["seconds"] < math.inf:
        raise ValueError(f"its seconds are {numbers['seconds']}")
    optimisers = checkpoint["optimizer_states"]
    if not isinstance(optimisers, list) or len(optimisers) != 1:
        raise ValueError("it has no optimiser, or several")
    _check_optimiser(optimisers[0], learner.configure_optimizers())


def _count(value: Any, name: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"its {name} is {value!r:.100}")
    return value


def _check_loops(value: Any, name: str) -> None:
    """Makes sure that what the engine counts are counts."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_loops(inner, str(key))
    elif not isinstance(value, bool):
        _count(value, name)


def _check_optimiser(state: Any, fresh: torch.optim.Optimizer) -> None:
    expected = fresh.state_dict()["param_groups"]
    if len(state["param_groups"]) != len(expected):
        raise ValueError(f"its optimiser has {len(state['param_groups'])} groups of weights, not {len(expected)}")
    for group, wanted in zip(state["param_groups"], expected, strict=True):
        if list(group["params"]) != list(wanted["params"]):
            raise ValueError("its optimiser has other weights")
        if isinstance(group["lr"], bool) or not 0 <= float(group["lr"]) < math.inf:
            raise ValueError(f"its learning rate is {group['lr']!r:.100}")
        for name in _SETTINGS:
            value, other = (_plain(each.get(name)) for each in (group, wanted))
            if value != other:
                raise ValueError(f"its optimiser has {name} {value!r:.100}, and the recipe says {other!r}")
    weights = [weight for group in fresh.param_groups for weight in group["params"]]
    for number, of_weight in state["state"].items():
        if type(number) is not int or not 0 <= number < len(weights):
            raise ValueError(f"its optimiser has a weight {number!r:.100}")
        for name, value in of_weight.items():
            if value is None:
                continue
            if not isinstance(value, Tensor) or not value.is_floating_point() or not torch.isfinite(value).all():
                raise ValueError(f"its optimiser's {name} is no finite number")
            if value.ndim and value.shape != weights[number].shape:
                raise ValueError(f"its optimiser's {name} has the shape {tuple(value.shape)}")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
