"""A stretch of a recording as a file of its own, at the recording's sample rate and with its channels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.audio.contents import contents
from soundalike.audio.decoding import check_file, open_part, seeks_exactly
from soundalike.audio.quiet import quiet
from soundalike.core.errors import AudioError
from soundalike.core.files import replacing

_BLOCK = 1 << 18  # values read at a time, all channels together
_PCM = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32")  # what WAV holds of whole numbers


def cut(path: Path, start: float, end: float, out: Path) -> None:
    """Writes a stretch of a recording as WAV, with all of its channels and at its sample rate.

    Samples of whole numbers stay as they are; those of compressed files get 16 bits.

    Args:
        path: file of the recording.
        start: in seconds, 0 or more.
        end: in seconds, above ``start``; what lies beyond the end of the recording is not there.
        out: file to write; its folder must be there.

    Raises:
        AudioError: the recording cannot be read, or has nothing there.
        SoundalikeError: the file cannot be written.
    """
    import soundfile

    try:
        samples, rate, kind = _frames(path, start, end)
    except AudioError:
        raise
    except Exception as error:  # damaged files make libsndfile and soundfile raise many things
        raise AudioError(f"{path}: could not be read from {start:g} to {end:g} s ({error}).") from error
    with replacing(out, "the clip") as partial:
        soundfile.write(partial, samples, rate, format="WAV", subtype=kind)


def _frames(path: Path, start: float, end: float) -> tuple[np.ndarray, int, str]:
    """Samples (n, channels), their rate, and the subtype of a WAV file that holds them as they are."""
    check_file(path)
    pieces: list[np.ndarray] = []
    form: tuple[int, int] | None = None  # rate and channels
    kind, done = "PCM_16", 0.0  # seconds of the parts before
    for part in contents(path).parts:
        with open_part(path, part) as opened:
            file: Any = opened
            if form is not None and (file.samplerate, file.channels) != form:
                break  # a file of two kinds is cut where it changes
            rate = file.samplerate
            begin, last = (max(0, round((moment - done) * rate)) for moment in (start, end))
            place = 0
            if 0 < begin < file.frames and seeks_exactly(file):
                file.seek(begin)
                place = begin
            subtype = getattr(file, "subtype", "")
            whole = subtype in _PCM or subtype == "PCM_S8"
            kind = ("PCM_U8" if subtype == "PCM_S8" else subtype) if whole else kind
            kind = "FLOAT" if subtype in ("FLOAT", "DOUBLE") else kind
            while place < last:
                block = _read(file, min(_BLOCK // file.channels + 1, last - place), "int32" if whole else "float32")
                if not len(block):
                    break
                place += len(block)
                inside = block[max(0, len(block) - max(0, place - begin)) :]
                if len(inside):
                    pieces.append(inside)
                    form = (rate, file.channels)
            done += place / rate
        if done >= end or math.isclose(done, end):
            break
    if form is None:
        raise AudioError(f"{path}: holds nothing from {start:g} to {end:g} s.")
    return np.concatenate(pieces), form[0], kind


def _read(file: Any, count: int, kind: str) -> np.ndarray:
    with quiet():
        block: np.ndarray = file.read(int(count), dtype=kind, always_2d=True)
    return block
