"""The file of a model: named tensors and a header, there whole or not at all. No pickle is ever loaded.

It is a ``.safetensors`` file, whose header has a checksum of all that is in it: a weight that has changed on a disk or
on its way is not heard as a slightly other model. The same contents give the same file, byte for byte.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from soundalike.core.errors import SoundalikeError
from soundalike.core.files import write_whole

FORMAT = "soundalike-2"
_WITHOUT_CHECKSUM = "soundalike-1"  # the format before, which is read as well
BESIDE = "beside."
"""Before the names of tensors in a model's file that are not the model's: those of a sound classifier, say."""
_METADATA, _CHECKSUM = "__metadata__", "checksum"


class Contents(NamedTuple):
    """What is in a model's file.

    Attributes:
        path: of the file.
        header: text by name.
        tensors: of the model, by name.
        beside: of others, by name without ``BESIDE``.
    """

    path: Path
    header: dict[str, str]
    tensors: dict[str, Tensor]
    beside: dict[str, Tensor]


def write(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Writes a model's file.

    Args:
        path: file to write; its folder is made.
        tensors: contiguous, on the CPU.
        header: text by name; the format, this version and a checksum are added.

    Raises:
        SoundalikeError: the file cannot be written.
    """
    import soundalike

    content = sealed(tensors, {**header, "format": FORMAT, "version": soundalike.__version__})
    write_whole(Path(path), content, "the model")


def sealed(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> bytes:
    """The bytes of a ``.safetensors`` file with a checksum in its header.

    Args:
        tensors: contiguous, on the CPU.
        header: text by name.

    Returns:
        The same for the same contents. safetensors alone would write the names of the header in an order that differs
        from one process to the next.
    """
    from safetensors.torch import save

    head, numbers = _split(save(dict(tensors)))
    head[_METADATA] = {name: text for name, text in header.items() if name != _CHECKSUM}
    head[_METADATA][_CHECKSUM] = _checksum(head, numbers)
    text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join((len(text).to_bytes(8, "little"), text, numbers))


def read(path: str | Path) -> Contents:
    """Reads a model's file.

    Args:
        path: of the file, or of the run folder that holds ``model.safetensors``.

    Returns:
        What is in it.

    Raises:
        SoundalikeError: there is no such file, or it is not a model's or not whole.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(path)
    if path.is_dir():
        if not (path / "model.safetensors").is_file():
            raise SoundalikeError(
                f"{path}: a folder without model.safetensors; give a model file, or the folder of a run."
            )
        path = path / "model.safetensors"
    if not path.is_file():
        raise SoundalikeError(
            f"{path}: no such model file; give one that soundalike wrote, the folder of a run, or a name that "
            "soundalike models lists."
        )
    damaged = SoundalikeError(f"{path}: not a model, or cut short; give a .safetensors file that soundalike wrote.")
    try:
        content = path.read_bytes()
        head, numbers = _split(content)
    except (OSError, ValueError, RecursionError):
        raise damaged from None
    header = head.get(_METADATA)
    if not isinstance(header, dict) or not all(isinstance(text, str) for text in header.values()):
        header = {}
    made = header.get("format", "")
    if not made.startswith("soundalike-"):
        raise SoundalikeError(f"{path}: a .safetensors file, but not one that soundalike wrote; give another file.")
    if made.startswith("soundalike-index-"):
        raise SoundalikeError(f"{path}: an index; give a model, and search the index with soundalike search --index.")
    if made not in (FORMAT, _WITHOUT_CHECKSUM):
        raise SoundalikeError(f"{path}: of format {made}, which this version does not know; update soundalike.")
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RuntimeError):
        raise damaged from None
    if _CHECKSUM in header or made == FORMAT:
        checksum = header.pop(_CHECKSUM, "")
        if checksum != _checksum(head, numbers):
            raise SoundalikeError(f"{path}: damaged, since its checksum is another; give a copy that is whole.")
    return Contents(
        path,
        header,
        {name: tensor for name, tensor in tensors.items() if not name.startswith(BESIDE)},
        {name.removeprefix(BESIDE): tensor for name, tensor in tensors.items() if name.startswith(BESIDE)},
    )


def check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Makes sure that weights are the ones that are needed, before any memory is taken for them.

    Args:
        found: tensors of a file, by name.
        expected: tensors, which may have shapes alone, by name.

    Raises:
        ValueError: a name, a shape or a kind of number differs, or a number is not finite.
    """
    for name in sorted({*found} ^ {*expected}):
        raise ValueError(f"the tensor {name[:100]!r} is {'missing' if name in expected else 'not one of its parts'}")
    for name, tensor in found.items():
        wanted = expected[name]
        if tensor.shape != wanted.shape:
            raise ValueError(
                f"the tensor {name!r} has the shape {tuple(tensor.shape)}, and its recipe says {tuple(wanted.shape)}"
            )
        check_numbers(name, tensor, wanted.dtype)


def check_numbers(name: str, tensor: Tensor, kind: torch.dtype = torch.float32) -> None:
    """Makes sure that a tensor holds finite numbers of a kind.

    Args:
        name: of the tensor, for the sentence.
        tensor: any.
        kind: what it is to be; floating-point numbers may have other lengths.

    Raises:
        ValueError: it holds others, such as whole or complex numbers, or one that is not finite.
    """
    if tensor.dtype != kind and not (tensor.is_floating_point() and kind.is_floating_point):
        raise ValueError(f"the tensor {name!r} holds numbers of the kind {tensor.dtype}, not {kind}")
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"the tensor {name!r} holds numbers that are not finite")


def _split(content: bytes) -> tuple[dict[str, Any], memoryview]:
    """The header of a ``.safetensors`` file, and what follows it."""
    end = 8 + int.from_bytes(content[:8], "little")
    if len(content) < 8 or end > len(content):
        raise ValueError("shorter than its header")
    head = json.loads(content[8:end])
    if not isinstance(head, dict):
        raise ValueError("without names")
    return head, memoryview(content)[end:]


def _checksum(head: Mapping[str, Any], numbers: memoryview) -> str:
    """Of everything in a file but for the checksum itself."""
    text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    return f"{zlib.crc32(numbers, zlib.crc32(text)):08x}"
