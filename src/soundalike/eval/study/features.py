"""Features of a waveform's spectrum and of its course in time, one number each for a whole sound."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

RATE = 16_000
"""Samples a second of what the features are computed of."""
_WINDOW, _HOP, _SHORT = 1024, 160, 400  # samples: 64 ms for spectra, every 10 ms, 25 ms for levels
_QUIET = 40.0  # dB below the loudest frame from which on a frame counts as silent, and has no spectrum of interest
_FLOOR = -80.0  # dB below the loudest frame: no level is taken to be lower
_PEAK = 40.0  # dB below a frame's strongest bin down to which a local maximum counts as a partial

FEATURES = {
    "centroid": "spectral centroid, Hz",
    "rolloff": "rolloff, 85 % of the energy, Hz",
    "slope": "spectral slope, dB/octave",
    "flatness": "spectral flatness",
    "flux": "spectral flux",
    "complexity": "complexity, peaks a frame",
    "aperiodicity": "aperiodicity",
    "modulation": "modulation centroid, Hz",
    "silence": "share of silent frames",
    "dynamics": "dynamic range, dB",
}
"""Every feature and what it is called in a figure."""


def features(waveform: np.ndarray) -> dict[str, float]:
    """The features of a sound.

    - ``centroid``: mean frequency, weighted with energy, in Hz; mean over the frames that are not silent.
    - ``rolloff``: frequency below which 85 % of the energy lies, in Hz; the same mean.
    - ``slope``: of the mean spectrum's level against the logarithm of frequency, 100 Hz to 7.5 kHz, in third octaves
      that count alike; dB for each octave.
    - ``flatness``: geometric over arithmetic mean of the power spectrum, in [0, 1]; the same mean.
    - ``flux``: half the sum of what changes from one frame's magnitude spectrum, scaled to a sum of 1, to the next
      one's 10 ms later, in [0, 1]; mean over pairs of frames that are not silent.
    - ``complexity``: local maxima of the spectrum within 40 dB of its highest bin; the same mean.
    - ``aperiodicity``: 1 minus the highest autocorrelation of a frame at lags of 1 to 20 ms, in [0, 1]; near 0 for a
      steady harmonic sound, and higher for noise and for partials that are no multiples of one frequency.
    - ``modulation``: centroid of the spectrum of the envelope, 0.5 to 32 Hz, in Hz.
    - ``silence``: share of frames 40 dB or more below the loudest one.
    - ``dynamics``: from the 10th to the 95th percentile of the frames' level, in dB.

    Args:
        waveform: mono (samples,) at `RATE`.

    Returns:
        A number for each of `FEATURES`; not a number where a sound has none, as the centroid of digital silence.
    """
    waveform = np.asarray(waveform, dtype=np.float64)
    frames = _frames(np.pad(waveform, (_WINDOW // 2, _WINDOW // 2)), _WINDOW)  # (T, 1024)
    short = _frames(np.pad(waveform, (_SHORT // 2, _SHORT // 2)), _SHORT)  # (T + a few, 400)
    energy = (short**2).mean(1)
    loudest = energy.max()
    if loudest <= 0.0:
        return {**dict.fromkeys(FEATURES, float("nan")), "silence": 1.0, "dynamics": 0.0}
    level = np.maximum(10.0 * np.log10(np.maximum(energy / loudest, 1e-30)), _FLOOR)
    low, high = np.percentile(level, (10, 95))
    sounding = (level > -_QUIET)[: len(frames)]
    found = {"silence": float((level <= -_QUIET).mean()), "dynamics": float(high - low)}
    return {**_spectral(frames, sounding), "modulation": _modulation(np.sqrt(energy)), **found}


def _frames(waveform: np.ndarray, length: int) -> np.ndarray:
    padded = np.pad(waveform, (0, max(0, length - len(waveform))))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::_HOP]


def _spectral(frames: np.ndarray, sounding: np.ndarray) -> dict[str, float]:
    spectrum = np.fft.rfft(frames * np.hanning(_WINDOW), axis=1)  # (T, 513)
    power = spectrum.real**2 + spectrum.imag**2
    sounding = sounding & (power.sum(1) > 0.0)
    names = ("centroid", "rolloff", "slope", "flatness", "flux", "complexity", "aperiodicity")
    if not sounding.any():
        return dict.fromkeys(names, float("nan"))
    frequency = np.fft.rfftfreq(_WINDOW, 1.0 / RATE)
    heard = power[sounding]
    total = heard.sum(1)
    reached = np.cumsum(heard, axis=1) >= 0.85 * total[:, None]
    inside = heard[:, 1:-1] + 1e-12 * total[:, None]
    maxima = (heard[:, 1:-1] > heard[:, :-2]) & (heard[:, 1:-1] >= heard[:, 2:])
    strong = heard[:, 1:-1] > heard.max(1, keepdims=True) * 10.0 ** (-_PEAK / 10.0)
    magnitude = np.sqrt(power)
    magnitude = magnitude / np.maximum(magnitude.sum(1, keepdims=True), 1e-12)
    both = sounding[1:] & sounding[:-1]
    change = 0.5 * np.abs(np.diff(magnitude, axis=0)).sum(1)
    return {
        "centroid": float((heard @ frequency / total).mean()),
        "rolloff": float(frequency[reached.argmax(1)].mean()),
        "slope": _slope(heard.mean(0), frequency),
        "flatness": float((np.exp(np.log(inside).mean(1)) / inside.mean(1)).mean()),
        "flux": float(change[both].mean()) if both.any() else float("nan"),
        "complexity": float((maxima & strong).sum(1).mean()),
        "aperiodicity": _aperiodicity(frames[sounding]),
    }


def _slope(power: np.ndarray, frequency: np.ndarray) -> float:
    edges = 100.0 * 2.0 ** (np.arange(20) / 3.0)
    edges = edges[edges <= 7_500.0]
    bands = [(frequency >= low) & (frequency < high) for low, high in pairwise(edges)]
    kept = [band for band in bands if band.any()]
    density = np.array([power[band].mean() for band in kept])
    octaves = np.array([np.log2(frequency[band].mean()) for band in kept])
    level = np.maximum(10.0 * np.log10(np.maximum(density / density.max(), 1e-30)), _FLOOR)
    return float(np.polyfit(octaves, level, 1)[0])


def _aperiodicity(frames: np.ndarray) -> float:
    length = frames.shape[1]
    centred = frames - frames.mean(1, keepdims=True)
    spectrum = np.fft.rfft(centred, 2 * length, axis=1)
    product = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, axis=1)[:, :length]  # sums of x(t) · x(t + lag)
    square = np.cumsum(centred**2, axis=1)
    lags = np.arange(RATE // 1000, RATE // 50)
    # energies of the two parts that overlap, so that a periodic frame reaches 1 at any lag
    before, after = square[:, length - 1 - lags], square[:, -1:] - square[:, lags - 1]
    correlation = product[:, lags] / np.maximum(np.sqrt(np.maximum(before * after, 0.0)), 1e-12)
    return float(1.0 - np.clip(correlation.max(1), 0.0, 1.0).mean())


def _modulation(envelope: np.ndarray) -> float:
    rate = RATE / _HOP
    length = max(len(envelope), round(4 * rate))  # padded, so that a short sound has bins below 1 Hz
    power = np.abs(np.fft.rfft((envelope - envelope.mean()) * np.hanning(len(envelope)), length)) ** 2
    frequency = np.fft.rfftfreq(length, 1.0 / rate)
    chosen = (frequency >= 0.5) & (frequency <= 32.0)
    total = power[chosen].sum()
    return float(power[chosen] @ frequency[chosen] / total) if total > 1e-20 else float("nan")
