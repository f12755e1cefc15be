"""Figures in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.core.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: Figure, path: Path, dpi: int = 120) -> None:
    """Writes a figure as a PNG file, whole or not at all.

    Args:
        figure: the figure.
        path: file to write.
        dpi: dots per inch of the figure's size.

    Raises:
        SoundalikeError: it cannot be written.
    """
    with replacing(path, "the figure") as partial:
        figure.savefig(partial, dpi=dpi, format="png")
