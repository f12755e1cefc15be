"""Words for a mouth to say in a quiet place, and what is measured of how they sound."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from soundalike.synth import Mouth
from turning import turned

RATE = 16_000
CONSONANTS = {"none": 0.1, "fricative": 0.33, "stop": 0.58, "nasal": 0.78, "glide": 0.92}  # of odd segments
VOWELS = {"none": 0.05, "vowel": 0.55}  # of even ones
PLAIN = {
    "word.onset": 0.0,
    "speaker.tract": 17.5, "speaker.pitch": 0.0, "speaker.slope": 0.0, "speaker.wave.depth": 0.0,
    "speaker.jitter": 0.0, "speaker.shimmer": 0.0, "speaker.breath": -45.0, "speaker.whisper": 0.0,
    "speaker.brightness": 13.0, "speaker.damping": 0.0, "speaker.rate": 0.0, "speaker.variability": 0.0,
    "place.tilt": 0.0, "place.low_cut": math.log2(20.0), "place.high_cut": math.log2(24_000.0),
    "place.band_1.gain": 0.0, "place.band_2.gain": 0.0, "place.echo.level": -40.0, "place.room.level": -45.0,
    "place.distance": -1.0, "place.background.level": -55.0, "place.level": 0.0,
}  # fmt: skip


def word(mouth: Mouth, *kinds: str, **units: float) -> Tensor:
    """The patch (1, size) of some segments, the first of which is a consonant or none; ``__`` stands for a dot."""
    for i in range(mouth.count):
        kind = kinds[i] if i < len(kinds) else "none"
        units[f"segment_{i + 1}__kind"] = (VOWELS if i % 2 else CONSONANTS)[kind]
    plain = {name.replace(".", "__"): value for name, value in PLAIN.items()}
    plain |= {"word__segments": mouth.count + 0.5}
    return turned(mouth, torch.full((1, mouth.size), 0.5), **(plain | units))


def power(sound: Tensor, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Hz and mean power between two times in s, of sounds (n, samples), smoothed over 100 Hz."""
    part = sound[:, int(start * RATE) : int(end * RATE)].double()
    spectrum = torch.fft.rfft(part * torch.hann_window(part.shape[1], dtype=part.dtype)).abs().square().mean(0).numpy()
    hertz = np.fft.rfftfreq(part.shape[1], 1 / RATE)
    width = max(1, int(100 / hertz[1]))
    return hertz, np.convolve(spectrum, np.ones(width) / width, mode="same")


def peak(sound: Tensor, start: float, end: float, low: float, high: float) -> float:
    """Hz at which the power is greatest, between two frequencies."""
    hertz, spectrum = power(sound, start, end)
    inside = (hertz >= low) & (hertz <= high)
    return float(hertz[inside][spectrum[inside].argmax()])


def formants(sound: Tensor, start: float, end: float, order: int = 18) -> list[float]:
    """Hz of the resonances between two times in s, by linear prediction (autocorrelation method) of one sound."""
    part = sound[int(start * RATE) : int(end * RATE)].double().numpy()
    part = np.append(part[0], part[1:] - 0.97 * part[:-1]) * np.hamming(len(part))
    correlation = np.correlate(part, part, mode="full")[len(part) - 1 :][: order + 1]
    matrix = correlation[np.abs(np.subtract.outer(np.arange(order), np.arange(order)))]
    roots = np.roots(np.append(1.0, -np.linalg.solve(matrix, correlation[1:])))
    roots = roots[roots.imag > 0]
    hertz, width = np.angle(roots) * RATE / (2 * np.pi), -np.log(np.abs(roots)) * RATE / np.pi
    return sorted(hertz[(hertz > 150) & (width < 500)].tolist())


def pitch(sound: Tensor, start: float, end: float) -> float:
    """Hz of the voice between two times in s, by the autocorrelation of one sound."""
    part = sound[int(start * RATE) : int(end * RATE)].double().numpy()
    correlation = np.correlate(part, part, mode="full")[len(part) - 1 :]
    correlation = correlation / (len(part) - np.arange(len(part)))
    lags = np.arange(RATE // 600, RATE // 50)
    best = lags[correlation[lags] > 0.9 * correlation[lags].max()][0]
    while correlation[best + 1] > correlation[best]:
        best += 1
    before, here, after = correlation[best - 1 : best + 2]
    return RATE / (best + 0.5 * (before - after) / (before - 2 * here + after))


def decibels(sound: Tensor, start: float, end: float) -> float:
    """Mean square of one sound between two times in s, in dB."""
    return 10 * math.log10(float(sound[int(start * RATE) : int(end * RATE)].square().mean()) + 1e-12)
