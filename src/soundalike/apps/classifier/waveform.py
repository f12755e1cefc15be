"""A waveform's level, the part of it that is audible, and its loudest window."""

from __future__ import annotations

import numpy as np

SILENCE = -200.0  # dB, of nothing at all
FRAME = 0.02
"""Seconds of a frame whose loudness is looked at."""
AUDIBLE = 40.0
"""dB below the loudest frame, from where on what comes before and after a sound is taken for quiet.

On synthetic words, notes, drums and events of games (ten clips a class), 0.3 s of quiet before every clip cost 8 to 28
points without trimming and 0 to 6 with it; clips without quiet lost nothing. 30 and 50 dB did as well.
"""


def level(waveform: np.ndarray) -> float:
    """Root mean square of a waveform in dB of full scale; ``SILENCE`` of nothing at all."""
    square = float(np.mean(np.square(waveform, dtype=np.float64))) if len(waveform) else 0.0
    return max(SILENCE, 10 * float(np.log10(max(square, 1e-30))))


def trimmed(waveform: np.ndarray, sample_rate: float) -> np.ndarray:
    """A waveform without the quiet before and after its sound, but for a frame of it.

    An embedding is statistics over time: of quiet, too, where a clip or a window has some, though a dog that barks
    a moment later is the same dog.

    Args:
        waveform: (samples,).
        sample_rate: in Hz.

    Returns:
        A part of it, from the frame before the first to the one after the last that is within 40 dB of the loudest.
    """
    size = max(1, round(FRAME * sample_rate))
    starts = np.arange(0, len(waveform), size)
    if len(starts) < 2:
        return waveform
    energy = np.add.reduceat(np.square(waveform, dtype=np.float64), starts)
    audible = np.flatnonzero(energy >= energy.max() * 10 ** (-AUDIBLE / 10))
    return waveform[max(0, audible[0] - 1) * size : (audible[-1] + 2) * size]


def loudest(waveform: np.ndarray, samples: int) -> np.ndarray:
    """The loudest of the windows of a waveform that are a quarter of their length apart.

    Args:
        waveform: (n,).
        samples: length of a window, at most n.
    """
    energy = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
    starts = np.arange(0, len(waveform) - samples + 1, max(1, samples // 4))
    start = int(starts[(energy[starts + samples] - energy[starts]).argmax()])
    return waveform[start : start + samples]
