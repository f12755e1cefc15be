"""The file of a model: named tensors and a header, there whole or not at all. No pickle is ever loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from soundalike.core.errors import SoundalikeError
from soundalike.core.files import write_whole

FORMAT = "soundalike-1"
BESIDE = "beside."
"""Before the names of tensors in a model's file that are not the model's: those of a sound classifier, say."""


def write(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Writes a model's file.

    Args:
        path: of the file; its folder is made.
        tensors: contiguous, on the CPU.
        header: text by name; the format and this version are added.

    Raises:
        SoundalikeError: the file cannot be written.
    """
    from safetensors.torch import save

    import soundalike

    content = save(dict(tensors), {**header, "format": FORMAT, "version": soundalike.__version__})
    write_whole(Path(path), content, "the model")


def read(path: str | Path) -> tuple[Path, dict[str, str], dict[str, Tensor]]:
    """Reads a model's file.

    Args:
        path: of the file, or of the run folder that holds ``model.safetensors``.

    Returns:
        The file, its header, and its tensors but for those of others.

    Raises:
        SoundalikeError: there is no such file, or it is not a model's or not whole.
    """
    from safetensors import SafetensorError, safe_open

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
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            names = [name for name in file.keys() if not name.startswith(BESIDE)]  # noqa: SIM118
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError):
        raise SoundalikeError(
            f"{path}: not a model, or cut short; give a .safetensors file that soundalike wrote."
        ) from None
    if not header.get("format", "").startswith("soundalike-"):
        raise SoundalikeError(f"{path}: a .safetensors file, but not one that soundalike wrote; give another file.")
    if header["format"].startswith("soundalike-index-"):
        raise SoundalikeError(f"{path}: an index; give a model, and search the index with soundalike search --index.")
    if header["format"] != FORMAT:
        raise SoundalikeError(
            f"{path}: of format {header['format']}, which this version does not know; update soundalike."
        )
    return path, header, tensors
