"""Python processes that find some of the installed packages missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

FOR_FILES = ("librosa", "soundfile", "soxr", "pooch", "platformdirs", "matplotlib", "requests", "onnx", "pyarrow")
"""Packages that a training on synthetic sounds has to do without."""


def hide_packages(folder: Path, names: Sequence[str]) -> None:
    """Makes a folder that, at the front of ``PYTHONPATH``, hides packages: imports, find_spec and metadata fail.

    Args:
        folder: an existing folder; ``sitecustomize.py`` is written there.
        names: top-level names of the packages.
    """
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "class Bare(PathFinder):\n"
        "    @classmethod\n"
        "    def find_spec(cls, name, path=None, target=None):\n"
        f"        missing = name.partition('.')[0] in {tuple(names)!r}\n"
        "        return None if missing else super().find_spec(name, path, target)\n"
        "    @classmethod\n"
        "    def find_distributions(cls, context):\n"
        f"        return [] if context.name in {tuple(names)!r} else super().find_distributions(context)\n"
        "sys.meta_path[sys.meta_path.index(PathFinder)] = Bare\n"
    )
