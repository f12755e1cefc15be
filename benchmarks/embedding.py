"""``soundalike embed`` over a folder of 5-second clips: start-up, decoding, resampling and writing included."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.harness import Row, alternate, soundalike

CLIPS, SECONDS, SAMPLE_RATE = 400, 5, 44_100


def write_clips(folder: Path, count: int = CLIPS) -> None:
    """Writes decaying tones in noise, every one different, as 16-bit mono wav."""
    import numpy as np
    import soundfile

    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    time = np.arange(SECONDS * SAMPLE_RATE, dtype=np.float32) / SAMPLE_RATE
    for i in range(count):
        pitch, decay, level = generator.uniform((100, 1, 0.01), (2000, 5, 0.3)).astype(np.float32)
        noise = generator.standard_normal(len(time), np.float32)
        sound = np.exp(-decay * time) * (0.5 * np.sin(2 * np.pi * pitch * time) + level * noise)
        soundfile.write(folder / f"{i:04}.wav", sound.clip(-1, 1), SAMPLE_RATE, subtype="PCM_16")


def write_model(recipe: str, path: Path) -> None:
    """Writes an untrained model: its speed is that of a trained one."""
    from soundalike.model.model import SoundModel
    from soundalike.model.recipe import Recipe

    SoundModel(Recipe.load(recipe)).save(path)


def embed(name: str, recipe: str, target: float | None) -> Row:
    """Seconds of sound that the command embeds in a second."""
    with tempfile.TemporaryDirectory() as temporary:
        clips, model, out = (Path(temporary) / part for part in ("clips", "model.safetensors", "out.npz"))
        write_clips(clips)
        write_model(recipe, model)
        command = soundalike("embed", clips, "--model", model, "--out", out)
        rounds = alternate(lambda: subprocess.run(command, check=True, capture_output=True), least=3, warm_up=1)
    row = rounds.row(
        name,
        "× real time",
        CLIPS * SECONDS,
        target=target,
        bound="ours >=",
        note=f"{CLIPS} wav files of {SECONDS} s, {SAMPLE_RATE} Hz, 16 bits",
        command="soundalike embed clips --model model.safetensors --out out.npz",
    )
    return row


ROWS: dict[str, Callable[[], Row]] = {
    "embed, doppelgangers-cpu": partial(embed, "embed, doppelgangers-cpu", "doppelgangers-cpu", 300.0),
    "embed, doppelgangers": partial(embed, "embed, doppelgangers", "doppelgangers", 300.0),
}
