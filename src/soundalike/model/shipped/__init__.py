"""Models that ship with the package: loaded by name, offline, without a download."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from soundalike.core.errors import SoundalikeError, nearest

DEFAULT = "ears"


@dataclass(frozen=True)
class Shipped:
    """A model in the package.

    Attributes:
        name: what it is loaded by.
        summary: what it is, in one line.
        sha256: of its file, as its model card has it.
    """

    name: str
    summary: str
    sha256: str

    @property
    def path(self) -> Path:
        """Its file."""
        return Path(__file__).parent / f"{self.name}.safetensors"

    @property
    def size(self) -> int:
        """Of its file, in bytes."""
        return self.path.stat().st_size

    def whole(self) -> bool:
        """Whether its file is there and is the one that the card describes."""
        return self.path.is_file() and hashlib.sha256(self.path.read_bytes()).hexdigest() == self.sha256


SHIPPED = (
    Shipped(
        "ears",
        "half an hour of three families of synthetic sounds: mouths, bodies and textures",
        "576e0b95c5ca94f59deccbd255a8b8bac0a7e8aeca9d3dade99027e3771c165f",
    ),
)
"""What there is; the first is what `soundalike.load` gives without an argument."""


def shipped(name: str = DEFAULT) -> Shipped:
    """The model of that name.

    Raises:
        SoundalikeError: there is none.
    """
    for model in SHIPPED:
        if model.name == name:
            return model
    raise SoundalikeError(f"no model is called {name!r}: {nearest(name, [model.name for model in SHIPPED])}")


def find(model: str | Path | None) -> Path:
    """Where a model lies that was asked for by path, by the name of a shipped one, or not at all.

    A file or folder of that name comes first: ``ears`` is the shipped model where nothing else is called so.
    """
    if model is None:
        return shipped().path
    if not Path(model).exists() and str(model) in {each.name for each in SHIPPED}:
        return shipped(str(model)).path
    return Path(model)
