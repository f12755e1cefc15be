"""Made-up recordings that several test files train on: tones, a folder for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from soundalike.data.training_clips import RecordingSettings, TrainingClips

RATE = 16_000
PITCHES = {"high": 1760.0, "low": 220.0, "mid": 660.0}


def tone(hertz: float, seconds: float, seed: int) -> np.ndarray:
    """A tone in a little noise, of a phase of its own, so that no two moments of it are alike."""
    draw = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    clean = 0.5 * np.sin(2 * np.pi * (hertz * time + draw.uniform()))
    return (clean + 0.05 * draw.standard_normal(len(time))).astype(np.float32)


def write_folder(folder: Path, each: int = 6, seconds: tuple[float, ...] = (0.4, 0.3, 0.5)) -> Path:
    """``each`` tones of every pitch, in a sub-folder for each; their lengths take turns."""
    for label, (name, hertz) in enumerate(PITCHES.items()):
        (folder / name).mkdir(parents=True)
        for take in range(each):
            sound = tone(hertz, seconds[take % len(seconds)], 100 * label + take)
            soundfile.write(folder / name / f"{chr(97 + take)}.wav", sound, RATE)
    return folder


def open_folder(folder: Path, **settings: Any) -> TrainingClips:
    """The clips of such a folder, decoded; every one of them, where the settings say nothing else."""
    wanted = {"task": "folder", "fold": 0, **settings}
    return RecordingSettings(data=str(folder), **wanted).open(RATE, progress=False)
