"""The class ``_silence_`` of Speech Commands: one-second cuts of its background recordings, as files."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundalike.audio.read import load
from soundalike.audio.write import encoded
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.core.files import cache_folder, make_folder, write_whole
from soundalike.data.datasets.listing import audio_in

BACKGROUND = "_background_noise_"
_HEADER = 44  # bytes in front of the samples of such a file
RATE = 16_000  # Hz, of the recordings and of the cuts, which are as long as a clip: one second
_STRETCHES = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}


@dataclass(frozen=True)
class Cut:
    """A second of a background recording, as a file.

    Attributes:
        path: a 16-bit WAV file at 16 kHz.
        split: which part of the data set it belongs to.
        group: the stretch that it was cut from; cuts of one stretch overlap.
    """

    path: Path
    split: str
    group: str


def cuts(folder: Path, wanted: Mapping[str, int]) -> tuple[list[Cut], list[str]]:
    """Cuts of the recordings in ``_background_noise_``, made once and kept in the user's cache folder.

    The published data set says how many clips of silence to test on, but not which second of which recording. Six
    recordings of a minute or more, each with a noise of its own, are too few to give some to each part. So each
    recording is divided: its first 80 % serve for training, the next 10 % for validation and the last 10 % for
    testing. No sample is in two parts. Within a stretch the cuts begin at even distances, and overlap where more are
    wanted than seconds are there. They are as loud as the recordings.

    The files lie in ``prepared/speech-commands-silence/<key>`` of SOUNDALIKE_CACHE or the system's cache folder. The
    key is a hash of the recordings' contents and of what is wanted, so another source makes other files.

    Args:
        folder: of the data set.
        wanted: part (train, validation, test) -> how many cuts. Fewer come of it where the stretches of a part are
            shorter than a second.

    Returns:
        The cuts, and the names of the recordings that could not be read.

    Raises:
        SoundalikeError: the cache folder cannot be written to.
    """
    sources = audio_in(folder / BACKGROUND)
    if not sources or not any(wanted.values()):
        return [], []
    recordings, broken = {}, []
    key = hashlib.sha256(repr((1, _STRETCHES, sorted(wanted.items()))).encode())
    for source in sources:
        try:
            recordings[source.name] = np.round(load(source, RATE) * 32768.0).clip(-32768, 32767).astype(np.int16)
        except AudioError:
            broken.append(source.name)
            continue
        key.update(source.name.encode(errors="surrogateescape"))
        key.update(recordings[source.name].tobytes())
    place = cache_folder() / "prepared" / "speech-commands-silence" / key.hexdigest()[:16]
    found = []
    for split, count in wanted.items():
        lengths = {name: len(recording) for name, recording in recordings.items()}
        for number, (name, start) in enumerate(_starts(lengths, *_STRETCHES[split], count)):
            path = place / f"{split}_{number:05}_{Path(name).stem}.wav"
            found.append((Cut(path, split, f"{name} {split}"), recordings[name][start : start + RATE]))
    # sizes too: after a power cut a file may be there and empty
    there = {file.name: file.stat().st_size for file in os.scandir(place)} if place.is_dir() else {}
    lacking = [(cut, samples) for cut, samples in found if there.get(cut.path.name) != _HEADER + samples.nbytes]
    if lacking:
        make_folder(place)
    try:
        for cut, samples in lacking:
            # not synchronised, since there are thousands: one that a power cut has emptied is made again, by its size
            write_whole(cut.path, encoded(samples, RATE), None, sync=False)
    except OSError as error:
        raise SoundalikeError(
            f"{place}: the cuts of {BACKGROUND} cannot be written there ({error.strerror or error}); make room, or "
            "set SOUNDALIKE_CACHE to another folder."
        ) from error
    return [cut for cut, _ in found], broken


def _starts(lengths: Mapping[str, int], first: float, last: float, count: int) -> list[tuple[str, int]]:
    """Where to cut: at most ``count`` seconds that begin at even distances in one stretch of every recording.

    Args:
        lengths: recording -> its length in samples.
        first: where the stretch begins, as a fraction of the recording.
        last: where it ends.
        count: how many cuts.

    Returns:
        Recording and first sample of each cut.
    """
    spans = []  # recording, first possible beginning, how many there are
    for name, length in lengths.items():
        begin, end = math.ceil(first * length), math.floor(last * length)
        if end - begin >= RATE:
            spans.append((name, begin, end - begin - RATE + 1))
    total = sum(size for _, _, size in spans)
    chosen = np.arange(min(count, total)) * total // max(1, min(count, total))
    result = []
    passed = 0
    for name, begin, size in spans:
        inside = chosen[(chosen >= passed) & (chosen < passed + size)] - passed
        result += [(name, begin + int(start)) for start in inside]
        passed += size
    return result
