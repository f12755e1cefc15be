"""Patches and their doppelgängers as files to hear, to read and to look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from soundalike.audio.write import encoded
from soundalike.core.errors import SoundalikeError
from soundalike.core.figures import save_figure
from soundalike.core.files import make_folder, write_whole
from soundalike.nn.frontend import LogMel
from soundalike.synth import VOICES, Synthesizer
from soundalike.views import Doppelgangers


def render(
    voice: Synthesizer,
    out: str | Path,
    count: int = 4,
    deltas: Sequence[float] = (0.05, 0.1, 0.25, 0.5),
    seed: int = 0,
    uniform_in: str = "units",
) -> list[Path]:
    """Writes random patches and both of their doppelgängers at each δ.

    The folder gets a wav file for every sound, ``patches.json`` with all that it takes to render them again, and
    ``spectrograms.png``. One patch keeps its noise and the directions of its nudges through all δ, so that what
    changes is δ alone.

    Args:
        voice: what renders.
        out: folder for the files; made where it is missing.
        count: how many patches, at least 1.
        deltas: sizes of the nudges, each in (0, 1].
        seed: which patches, from 0 to 2**32 - 1.
        uniform_in: ``units`` or ``knobs``, as in `Synthesizer.spread`.

    Returns:
        Paths of the files, pictures and tables last.

    Raises:
        SoundalikeError: a number is out of its range, or the folder cannot be written.
    """
    if count < 1:
        raise SoundalikeError(f"count is {count}: give at least 1.")
    if not deltas:
        raise SoundalikeError("no delta is given: give at least one number above 0 and at most 1.")
    if not 0 <= seed < 1 << 32:
        raise SoundalikeError(f"seed is {seed}: give a whole number from 0 to {(1 << 32) - 1}.")
    pairs = {delta: Doppelgangers(voice, delta, uniform_in, noise="pair") for delta in deltas}  # checks each δ
    out, number = make_folder(Path(out)), torch.arange(count)
    with torch.no_grad():
        theta = next(iter(pairs.values())).theta(seed, number)
        patches = {"theta": theta}
        for delta, views in pairs.items():
            first, second = views.patches(seed, number)
            patches |= {f"delta-{delta:g}-first": first, f"delta-{delta:g}-second": second}
        noise_seeds = number + seed
        sounds = {name: voice(patch, noise_seed=noise_seeds) for name, patch in patches.items()}
    written = []
    for i in range(count):
        for name, sound in sounds.items():
            path = out / f"patch-{i}-{name}.wav"
            write_whole(path, encoded(sound[i].numpy(), voice.sample_rate), "the sound", sync=False)
            written.append(path)
    table = {
        "voice": next((name for name, kind in VOICES.items() if type(voice) is kind), type(voice).__name__),
        "sample_rate": voice.sample_rate,
        "seconds": voice.seconds,
        "seed": seed,
        "uniform_in": uniform_in,
        "noise_seeds": noise_seeds.tolist(),
        "patches": [{name: _knobs(voice, patch[i]) for name, patch in patches.items()} for i in range(count)],
    }
    write_whole(out / "patches.json", json.dumps(table, indent=1), "the table")
    _draw(sounds, voice.sample_rate, out / "spectrograms.png")
    return [*written, out / "patches.json", out / "spectrograms.png"]


def _knobs(voice: Synthesizer, patch: Tensor) -> dict[str, dict[str, Any]]:
    units = voice.to_units(patch[None])[0]
    return {
        # nine digits tell every float32 from its neighbours: the same knobs, and so the same sound
        spec.name: {"knob": float(f"{knob:.9g}"), "value": round(float(value), 6), "unit": spec.unit}
        for spec, knob, value in zip(voice.specs, patch, units, strict=True)
    }


def _draw(sounds: dict[str, Tensor], sample_rate: int, path: Path) -> None:
    """A row for each patch, a column for each of its renderings."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    frontend = picture_frontend(sample_rate)
    count = len(next(iter(sounds.values())))
    figure = Figure(figsize=(1.6 * len(sounds) + 1.0, 1.5 * count + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.atleast_2d(figure.subplots(count, len(sounds), sharex=True, sharey=True, squeeze=False))
    for column, (name, sound) in enumerate(sounds.items()):
        spectrograms = frontend.whole(sound)[:, 0]  # (count, T, 64)
        axes[0, column].set_title("θ" if name == "theta" else name.replace("delta-", "δ ").replace("-", "\n"), size=9)
        for row in range(count):
            axes[row, column].imshow(
                spectrograms[row].T,
                origin="lower",
                aspect="auto",
                cmap="magma",
                extent=(0, sound.shape[1] / sample_rate, 0, spectrograms.shape[2]),
            )
            axes[row, column].set_yticks([])
    for row in range(count):
        axes[row, 0].set_ylabel(f"patch {row}\nmel band", size=8)
    for column in range(len(sounds)):
        axes[-1, column].set_xlabel("s", size=8)
    save_figure(figure, path, 110)


def picture_frontend(sample_rate: int) -> LogMel:
    """The front end whose spectrograms are drawn: silence is 0, and its transform is long enough for any rate.

    Args:
        sample_rate: in Hz.
    """
    fft = 1 << (max(512, round(0.025 * sample_rate)) - 1).bit_length()
    return LogMel(sample_rate=sample_rate, fft=fft, maximum_hz=min(7500.0, sample_rate / 2), silence_is_zero=True)
