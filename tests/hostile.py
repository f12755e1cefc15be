"""Files of the package's own formats that are whole, and yet hold what none of them does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from soundalike.model.file import sealed

Change = Callable[[dict[str, Any], dict[str, Tensor]], Any]


def changed(source: Path, out: Path, change: Change) -> Path:
    """Writes a copy of a model's file with something else in it, and the right checksum.

    Args:
        source: of a model.
        out: file to write.
        change: takes the header, whose JSON texts are parsed, and the tensors by name, and changes them.
    """
    with safe_open(source, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = {name: _parsed(text) for name, text in file.metadata().items()}
    change(header, tensors)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in header.items()}
    out.write_bytes(sealed(tensors, texts))
    return out


def _parsed(text: str) -> Any:
    return json.loads(text) if text[:1] in ("{", "[") else text


def setting(section: str, **values: Any) -> Change:
    """A change of a model's recipe."""
    return lambda header, tensors: header["recipe"]["sections"][section].update(values)


def said(header_name: str, **values: Any) -> Change:
    """A change of an entry of the header."""
    return lambda header, tensors: header[header_name].update(values)


def tensor(name: str, value: Callable[[Tensor], Tensor]) -> Change:
    """A change of one tensor."""

    def change(header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        tensors[name] = value(tensors[name]).contiguous()

    return change


def first(value: float) -> Callable[[Tensor], Tensor]:
    """Another first number."""

    def change(values: Tensor) -> Tensor:
        values = values.clone()
        values.view(-1)[0] = value
        return values

    return change


WHOLE: Callable[[Tensor], Tensor] = lambda values: values.round().to(torch.int32)  # noqa: E731
COMPLEX: Callable[[Tensor], Tensor] = lambda values: values.to(torch.complex64)  # noqa: E731
