"""Every augmentation of one recording as files to hear, to read and to look at."""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from soundalike.apps.render.patches import picture_frontend
from soundalike.audio import read
from soundalike.audio.write import encoded
from soundalike.core import random
from soundalike.core.errors import SoundalikeError, nearest
from soundalike.core.figures import save_figure
from soundalike.core.files import make_folder, write_whole
from soundalike.views.augment import AUGMENTATIONS, Augmentation, Compose
from soundalike.views.augment.fade import SHAPES
from soundalike.views.augment.noise import COLOURS

SECONDS = 10.0
"""What is used of a file, from its beginning."""
_TICKS = (250, 1000, 4000)  # Hz


@dataclass(frozen=True)
class _Draw:
    """One augmentation's draws.

    Attributes:
        words: what was drawn, a line for each draw.
        values: the same as plain numbers.
        sounds: ``(count, samples)``, or None of an augmentation of spectrograms.
        pictures: ``(count, frames, bands)``.
    """

    words: list[str]
    values: list[dict[str, Any]]
    sounds: Tensor | None
    pictures: Tensor


def render_augmentations(
    path: str | Path,
    out: str | Path,
    names: Sequence[str] | None = None,
    count: int = 3,
    seed: int = 0,
    sample_rate: int = 16000,
) -> list[Path]:
    """Writes what each augmentation makes of a recording, each drawn a few times with its default ranges.

    The folder gets ``original.wav``, ``NAME-1.wav`` and so on for every augmentation of waveforms,
    ``augmentations.json`` with what was drawn, and ``augmentations.png`` with a row of spectrograms for each
    augmentation. Those of spectrograms can be seen there and not heard.

    An augmentation can be louder than a wav file may be. Where one is, all sounds are turned down alike, so that none
    is clipped by file or player and their loudness can still be compared; the file of draws says by how much.

    Args:
        path: an audio file; its first 10 s are used.
        out: folder for the files; made where it is missing.
        names: which augmentations, of `AUGMENTATIONS`; all of them where not given.
        count: how often each is drawn, at least 1.
        seed: of the draws, from 0 to 2**32 - 1; those of one augmentation do not depend on which others are named.
        sample_rate: in Hz.

    Returns:
        Paths of the files, pictures and tables last.

    Raises:
        AudioError: the file cannot be read.
        SoundalikeError: a name is unknown, a number is out of its range, or the folder cannot be written.
    """
    if count < 1:
        raise SoundalikeError(f"count is {count}: give at least 1.")
    if not 0 <= seed < 1 << 32:
        raise SoundalikeError(f"seed is {seed}: give a whole number from 0 to {(1 << 32) - 1}.")
    chosen = tuple(dict.fromkeys(names or AUGMENTATIONS))
    for name in chosen:
        if name not in AUGMENTATIONS:
            raise SoundalikeError(f"unknown augmentation {name!r}: {nearest(name, AUGMENTATIONS)}")
    most = round(SECONDS * sample_rate)
    waveform = read.load(path, sample_rate, SECONDS + 0.1)
    original = torch.from_numpy(waveform[:most])
    out = make_folder(Path(out))
    with torch.no_grad():
        draws = {name: _drawn(name, original, count, seed, sample_rate) for name in chosen}
    sounds = {"original": original}
    for name, draw in draws.items():
        if draw.sounds is not None:
            sounds |= {f"{name}-{i}": sound for i, sound in enumerate(draw.sounds, 1)}
    gain = 1 / max(1.0, *(float(sound.abs().max()) for sound in sounds.values()))
    written = []
    for name, sound in sounds.items():
        file = out / f"{name}.wav"
        write_whole(file, encoded((gain * sound).numpy(), sample_rate), "the sound", sync=False)
        written.append(file)
    shown = Path(path).name.encode("utf-8", "backslashreplace").decode()
    table = {
        "file": shown,
        "used": f"the first {SECONDS:g} s" if len(waveform) > most else "the whole file",
        "seconds": len(original) / sample_rate,
        "sample_rate": sample_rate,
        "seed": seed,
        "gain": gain,
        "augmentations": {
            name: [
                {"file": None if draw.sounds is None else f"{name}-{i}.wav", "words": words, "drawn": values}
                for i, (words, values) in enumerate(zip(draw.words, draw.values, strict=True), 1)
            ]
            for name, draw in draws.items()
        },
    }
    write_whole(out / "augmentations.json", json.dumps(table, indent=1, ensure_ascii=False), "the table")
    title = f"{shown}, {table['used']}" if len(waveform) > most else shown
    _draw(title, _pictures(original[None], original, sample_rate)[0], draws, sample_rate, out / "augmentations.png")
    return [*written, out / "augmentations.json", out / "augmentations.png"]


def _drawn(name: str, original: Tensor, count: int, seed: int, sample_rate: int) -> _Draw:
    """An augmentation, drawn ``count`` times and applied to a recording ``(samples,)``."""
    augmentation = Compose([{"name": name, "p": 1.0}], sample_rate).members[0]
    assert isinstance(augmentation, Augmentation)
    # by name and not by place, so that another augmentation in the list changes no draw
    keys = random.keys(seed, torch.arange(count), stream=zlib.crc32(name.encode()) >> 1)
    uniform = random.uniform(keys, augmentation.numbers)
    sounds = None
    if augmentation.axes == 2:
        drawn = augmentation.draw(count, len(original), uniform=uniform)
        sounds = augmentation.apply(original.expand(count, -1), drawn)
        pictures = _pictures(sounds, original, sample_rate)
    else:
        before = _pictures(original[None], original, sample_rate)[:, None].expand(count, -1, -1, -1)
        drawn = augmentation.draw(count, (before.shape[2], before.shape[3]), uniform=uniform)
        pictures = augmentation.apply(before, drawn)[:, 0]
    values = [
        {key: _plain(value[i]) for key, value in drawn.items() if key not in ("apply", "seed")} for i in range(count)
    ]
    return _Draw([_in_words(name, row, sample_rate) for row in values], values, sounds, pictures)


def _pictures(sounds: Tensor, original: Tensor, sample_rate: int) -> Tensor:
    """Log-mel spectrograms ``(n, frames, bands)`` of sounds ``(n, samples)``; silence is 0.

    All are scaled by the peak of the original ``(samples,)``, or a quiet recording would look like silence.
    """
    peak = original.abs().max().clamp(min=1e-4)
    return picture_frontend(sample_rate).whole(sounds / peak)[:, 0]


def _plain(value: Tensor) -> Any:
    plain = value.tolist()
    return round(plain, 6) if isinstance(plain, float) else plain


def _in_words(name: str, drawn: dict[str, Any], sample_rate: int) -> str:
    """What was drawn for one sound, in a few words."""
    words = _WORDS.get(name)
    if words is None:
        return ", ".join(f"{key.replace('_', ' ')} {_number(value)}" for key, value in drawn.items())
    seconds = {key: drawn[key] / sample_rate for key in _IN_SAMPLES.get(name, ())}
    return words(drawn | seconds)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _hertz(value: float) -> str:
    return f"{value:.0f} Hz" if value < 1000 else f"{value / 1000:.2g} kHz"


def _masks(drawn: dict[str, Any]) -> str:
    """Widths of the masks that hide anything."""
    words = [
        f"{' + '.join(map(str, widths))} {unit}"
        for key, unit in (("time_width", "frames"), ("band_width", "bands"))
        if (widths := [width for width in drawn[key] if width])
    ]
    return ", ".join(words) or "nothing hidden"


_IN_SAMPLES = {"fade": ("fade_in", "fade_out"), "time-mask": ("start", "length"), "time-shift": ("shift",)}
"""What is drawn in samples and told in seconds."""
_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "pitch-shift": lambda d: f"{_signed(d['semitones'])} semitones",
    "fade": lambda d: f"in {d['fade_in']:.2f} s, out {d['fade_out']:.2f} s, {SHAPES[d['shape']]}",
    "noise": lambda d: f"{COLOURS[d['colour']]} noise, SNR {d['snr_db']:.0f} dB",
    "time-mask": lambda d: f"{d['length']:.2f} s of {'noise' if d['noise'] else 'silence'} at {d['start']:.2f} s",
    "time-shift": lambda d: f"{abs(d['shift']):.2f} s {'earlier' if d['shift'] < 0 else 'later'}",
    "time-stretch": lambda d: f"{d['rate']:.2f} times as fast",
    "high-pass": lambda d: f"from {_hertz(d['cutoff'])}",
    "low-pass": lambda d: f"up to {_hertz(d['cutoff'])}",
    "impulse-response": lambda d: f"decay {d['decay_seconds']:.2f} s, direct {_signed(d['direct_db'])} dB",
    "spec-augment": _masks,
    "spectrogram-mask": _masks,
}


def _draw(title: str, original: Tensor, draws: dict[str, _Draw], sample_rate: int, path: Path) -> None:
    """A row for each augmentation: the original, then its draws, all on one scale of loudness."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    frontend = picture_frontend(sample_rate)
    count = len(next(iter(draws.values())).words)
    seconds = frontend.hop_samples * len(original) / sample_rate
    loudest = max(float(original.max()), *(float(draw.pictures.max()) for draw in draws.values()), 1e-3)
    columns, rows = count + 1, len(draws)
    width, height = 3.1 * columns + 1.0, 1.4 * rows + 0.9  # inches
    figure = Figure(figsize=(width, height))  # with margins of its own: computing a layout takes seconds
    FigureCanvasAgg(figure)
    figure.suptitle(title, size=11, y=1 - 0.15 / height, va="top", parse_math=False)
    margins = {"left": 0.95 / width, "right": 1 - 0.1 / width, "bottom": 0.45 / height, "top": 1 - 0.6 / height}
    axes = figure.subplots(
        rows, columns, sharex=True, sharey=True, squeeze=False, gridspec_kw={**margins, "wspace": 0.05, "hspace": 0.32}
    )
    for row, (name, draw) in zip(axes, draws.items(), strict=True):
        row[0].yaxis.set_label_coords(-0.55 / 3.0, 0.5)
        row[0].set_ylabel(name.replace("-", "\n"), size=10, weight="bold")
        titles = ["original", *draw.words]
        for axis, words, picture in zip(row, titles, [original, *draw.pictures], strict=True):
            axis.set_title(words, size=9, parse_math=False)
            axis.imshow(
                picture.T,
                origin="lower",
                aspect="auto",
                cmap="magma",
                vmin=0.0,
                vmax=loudest,
                extent=(0, seconds, -0.5, picture.shape[1] - 0.5),
            )
            axis.tick_params(labelsize=8)
    bands = (frontend.filters * torch.arange(len(frontend.filters))[:, None]).sum(0) / frontend.filters.sum(0)
    centres = bands.numpy() * sample_rate / frontend.fft  # Hz
    ticks = [hertz for hertz in _TICKS if centres[0] <= hertz <= centres[-1]]
    axes[0, 0].set_yticks(np.interp(ticks, centres, np.arange(len(centres))), [_hertz(hertz) for hertz in ticks])
    for axis in axes[-1]:
        axis.set_xlabel("s", size=9)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a file name may be in any script
        save_figure(figure, path, 100)
