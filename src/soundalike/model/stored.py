"""What a model's file says, compared with what it holds, before any memory is taken for a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from soundalike.model.compact import Compact
from soundalike.model.file import check_numbers, check_tensors
from soundalike.model.parts import ModelParts
from soundalike.model.recipe import Recipe

HEAD, COMPACT, HEARD = "head.", "compact.", "recordings.heard"
"""In a file: before the names of the head's weights and of those of the compact embedding; what was heard."""

INCONSISTENT = (LookupError, AttributeError, ArithmeticError, TypeError, ValueError, RuntimeError)
"""What comes of plain data that is not of the kind, the shape or the size that it should be; recursion is among it."""


def model_arguments(
    header: Mapping[str, str], tensors: Mapping[str, Tensor]
) -> tuple[Recipe, ModelParts, dict[str, Any], list[str], np.ndarray, Compact | None]:
    """What `SoundModel` takes, out of a file.

    A header may ask for any size. So encoder and head are made without weights first, which takes no memory, and get
    some only where the tensors of the file have the very shapes that the recipe says.

    Args:
        header: text by name.
        tensors: by name, of the model alone.

    Returns:
        The arguments in their order.

    Raises:
        SoundalikeError: the recipe is none, or its parts do not fit together.
        ValueError: header and tensors do not fit together, or a number is not finite or of another kind.
        LookupError: something is missing.
        TypeError: something is of another kind.
    """
    training, classes = json.loads(header["training"]), json.loads(header.get("classes", "[]"))
    made = json.loads(header.get("compact", "{}"))
    if not isinstance(training, dict) or not isinstance(made, dict):
        raise ValueError("what it says of its training is none")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError("its classes are no names")
    if len({*classes}) < len(classes):
        raise ValueError("two of its classes have the same name")
    weights = dict(tensors)
    heard = weights.pop(HEARD, torch.zeros(0, dtype=torch.int64))
    check_numbers(HEARD, heard, torch.int64)
    of_compact = {name: weights.pop(name) for name in list(weights) if name.startswith(COMPACT)}
    for name, tensor in of_compact.items():
        check_numbers(name, tensor)
    recipe = Recipe.from_dict(json.loads(header["recipe"]))
    parts = recipe.build_model(classes=len(classes) or None, weights=False)
    if classes and (parts.head is None or not parts.head.classes):
        raise ValueError("it has classes, and no head that tells them apart")
    modules = {"": parts.encoder, **({HEAD: parts.head} if parts.head is not None else {})}
    expected = {f"{before}{name}": t for before, part in modules.items() for name, t in part.state_dict().items()}
    check_tensors(weights, expected)
    for before, part in modules.items():
        part.to_empty(device="cpu")
        part.load_state_dict({name: weights[f"{before}{name}"] for name in part.state_dict()})
    arrays = {name.removeprefix(COMPACT): tensor.float().numpy() for name, tensor in of_compact.items()}
    return recipe, parts, training, classes, heard.numpy(), Compact(**arrays, made=made) if arrays else None
