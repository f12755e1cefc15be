"""What the tests of CLAR's studies share: a small data set, a small recipe, and looks at what a study has written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from soundalike.model.recipe import Recipe

CLASSES, CLIPS_A_CLASS = ("high", "low", "noise"), 6


def write_clips(folder: Path) -> Path:
    """A folder of three classes of short sounds."""
    rng = np.random.default_rng(0)
    time = np.arange(4800) / 16_000
    for label in CLASSES:
        (folder / label).mkdir()
        for name in "abcdef"[:CLIPS_A_CLASS]:
            hertz = rng.uniform(200, 400) * (4 if label == "high" else 1)
            sound = rng.uniform(-1, 1, len(time)) if label == "noise" else np.sin(2 * np.pi * hertz * time)
            soundfile.write(folder / label / f"{name}.wav", 0.5 * sound, 16_000)
    return folder


def small_recipe() -> Recipe:
    """``clar``, made so small that two steps take a moment."""
    return Recipe.load("clar").override(
        {
            "seconds": 0.3,
            "encoder.width": 8,
            "encoder.size": 16,
            "head.hidden": 16,
            "head.size": 8,
            "batch_size": 8,
            "steps": 2,
            "optimizer": "adamw",
            "learning_rate": 0.01,
            "precision": "fp32",
        }
    )


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("this has been done before")


def is_picture(path: Path) -> bool:
    """Whether a PNG file is there and not of one colour."""
    from matplotlib.image import imread

    return float(imread(path)[..., :3].std()) > 0.02


def rows_of(page: Path) -> list[list[str]]:
    """Every row of every table of a page."""
    html = page.read_text(encoding="utf-8")
    return [re.findall(r"<t[dh][^>]*>([^<]*)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", html)]
