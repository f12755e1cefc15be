"""Waveforms as the bytes of an audio file."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np


def encoded(samples: np.ndarray, sample_rate: int, kind: Literal["WAV", "MP3"] = "WAV") -> bytes:
    """The bytes of an audio file.

    Args:
        samples: mono waveform (samples,), in [-1, 1]; what lies beyond is clipped.
        sample_rate: of the waveform, in Hz.
        kind: format of the file: WAV of 16 bits, or MP3.
    """
    import soundfile

    stream = io.BytesIO()
    soundfile.write(stream, samples, sample_rate, format=kind, subtype={"WAV": "PCM_16", "MP3": None}[kind])
    return stream.getvalue()
