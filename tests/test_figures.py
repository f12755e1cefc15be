"""Figures in files."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from soundalike.core.errors import SoundalikeError
from soundalike.core.figures import save_figure


def test_a_figure_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figure.png"
    save_figure(Figure(figsize=(2, 1)), path, 50)
    before = path.read_bytes()
    assert before.startswith(b"\x89PNG")
    assert int.from_bytes(before[16:20], "big") == 100  # pixels from left to right

    class Broken(Figure):
        def savefig(self, *given: object, **options: object) -> None:
            Path(str(given[0])).write_bytes(b"half of it")
            raise OSError(28, "No space left on device")

    with pytest.raises(SoundalikeError, match=r"figure\.png: the figure cannot be written there \(No space left"):
        save_figure(Broken(), path)
    assert [each.name for each in path.parent.iterdir()] == ["figure.png"]
    assert path.read_bytes() == before
