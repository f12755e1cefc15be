"""A few seconds of each of many files, as MP3 that every browser plays."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundalike.audio import read as audio
from soundalike.audio.background import Failure, failure, file_progress
from soundalike.audio.segment import Segment, Sound, as_sound
from soundalike.audio.write import encoded
from soundalike.core.errors import AudioError, SoundalikeError

RATE = 16_000  # Hz
SECONDS = 3.0
MOST_SECONDS = 60.0
MOST_BYTES = 60_000_000
"""Of all excerpts of a page together, in base64: what a browser opens within a second or two."""
_LEAST_SECONDS = 1.0  # shorter ones tell too little of a sound: then the files themselves are played
_SEARCHED = 10.0  # seconds of a file in which its sound has to begin, or its very beginning is taken
_AUDIBLE, _BEFORE = 0.02, 0.05  # part of the peak at which a sound begins; seconds that are kept before it
_FADE = 0.01  # seconds, where a sound is cut
_SAMPLE = 48  # files by which the size of all is estimated


@dataclass(frozen=True)
class Excerpts:
    """What is heard of sounds.

    Attributes:
        clips: MP3 of each, or nothing where it could not be read; no clip at all where files are linked to.
        lengths: of each whole file in seconds, None where it is not known.
        seconds: the most that is heard of each; 0 where files are linked to.
        linked: whether the files themselves shall be played, because excerpts would be too much.
        failures: files that could not be read, and why.
    """

    clips: list[bytes]
    lengths: list[float | None]
    seconds: float
    linked: bool
    failures: list[Failure]


def excerpts(
    paths: Sequence[str | Path | Segment],
    seconds: float = SECONDS,
    most_bytes: int = MOST_BYTES,
    link: bool = False,
    progress: bool = False,
) -> Excerpts:
    """The first audible seconds of each file.

    Args:
        paths: the files, or segments of files.
        seconds: of each file, above 0 and at most 60. Fewer are taken where all would be more than ``most_bytes``;
            where it would come down to less than 1 s, the page has to link to the files.
        most_bytes: of all, in base64.
        link: take none, and let the page link to the files.
        progress: whether to show progress on stderr.

    Raises:
        SoundalikeError: ``seconds`` is out of its range.
    """
    if not 0 < seconds <= MOST_SECONDS:
        raise SoundalikeError(f"seconds is {seconds:g}: give a number above 0, and at most {MOST_SECONDS:g}.")
    files = [as_sound(path) for path in paths]
    if not link:
        some = [files[row] for row in np.linspace(0, len(files) - 1, min(_SAMPLE, len(files))).astype(int)]
        expected = len(files) * np.mean([_size(file, seconds) for file in some]) if len(files) > _SAMPLE else 0
        if expected > most_bytes:
            shorter = np.floor(10 * seconds * 0.9 * most_bytes / expected) / 10
            link, seconds = bool(shorter < min(_LEAST_SECONDS, seconds)), float(shorter)
    if link:
        lengths = [audio.duration(file) for file in files]
        return Excerpts([], lengths, 0.0, True, [])
    outcomes = _all(files, seconds, progress)
    return Excerpts(
        clips=[b"" if isinstance(outcome, AudioError) else outcome[0] for outcome in outcomes],
        lengths=[None if isinstance(outcome, AudioError) else outcome[1] for outcome in outcomes],
        seconds=seconds,
        linked=False,
        failures=[
            failure(file, outcome)
            for file, outcome in zip(files, outcomes, strict=True)
            if isinstance(outcome, AudioError)
        ],
    )


def excerpt(path: str | Path | Segment, seconds: float = SECONDS) -> tuple[bytes, float | None]:
    """The first audible seconds of a file, and its length.

    Args:
        path: any audio file, or a segment of one.
        seconds: how many.

    Returns:
        MP3 (16 kHz, mono), and the length of the whole file in seconds, None where it is not known.

    Raises:
        AudioError: the file cannot be read.
    """
    read = seconds + _SEARCHED
    waveform = audio.decode(path, [RATE], read).waveforms[RATE]
    length = len(waveform) / RATE if len(waveform) < int(read * RATE) else audio.duration(path)
    level = np.abs(waveform)
    peak, most = float(level.max()), round(seconds * RATE)
    begin = max(0, int(np.argmax(level >= _AUDIBLE * peak)) - round(_BEFORE * RATE))
    begin = min(begin, max(0, len(waveform) - most))  # a late sound does not make it shorter
    clip = waveform[begin : begin + most] / max(1.0, peak)
    if begin + most < len(waveform):
        fade = min(len(clip), round(_FADE * RATE))
        clip[len(clip) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    if len(clip) < RATE // 10:  # less than a frame or two of MP3 is nothing to some decoders
        clip = np.pad(clip, (0, RATE // 10 - len(clip)))
    return encoded(clip, RATE, "MP3"), length


def _all(files: Sequence[Sound], seconds: float, progress: bool) -> list[tuple[bytes, float | None] | AudioError]:
    stopped = threading.Event()

    def one(file: Sound) -> tuple[bytes, float | None] | AudioError:
        if stopped.is_set():
            return AudioError("stopped.")
        try:
            return excerpt(file, seconds)
        except AudioError as error:
            return error

    found = []
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="excerpt")
    try:
        with file_progress(len(files), progress, "excerpts") as advance:
            for outcome in pool.map(one, files):
                found.append(outcome)
                advance(1)
    finally:  # not waiting lets Ctrl-C through at once
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
    return found


def _size(file: Sound, seconds: float) -> int:
    try:
        return len(base64.b64encode(excerpt(file, seconds)[0]))
    except AudioError:
        return 0
