"""Many files to answers, decoded ahead, however long one of them is."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from soundalike.apps.classifier.answer import Answer
from soundalike.apps.classifier.taught import LONG, SHARE, Taught
from soundalike.audio import read
from soundalike.core.errors import AudioError

_AT_ONCE = 16
_WORKERS = 2


def classify_files(
    taught: Taught, files: Sequence[Path], none_of_these: float = SHARE
) -> Iterator[tuple[Path, Answer | AudioError]]:
    """What each file is, or why it cannot be told, in their order.

    Args:
        taught: the classifier.
        files: of any length; a long one is heard piece by piece.
        none_of_these: part of the taught sounds that may be called so; 0 turns it off.

    Warns:
        UserWarning: a file is so long that a time line would say more; or it ends too early.
    """
    rate = taught.model.sample_rate

    def begin(path: Path) -> read.Decoded | AudioError:
        try:
            return read.decode(path, [rate], LONG + 1)
        except AudioError as error:
            return error

    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="decode") as pool:
        for start in range(0, len(files), _AT_ONCE):
            some = files[start : start + _AT_ONCE]
            begun = list(pool.map(begin, some))
            short = {
                row: clip.waveforms[rate]
                for row, clip in enumerate(begun)
                if isinstance(clip, read.Decoded) and len(clip.waveforms[rate]) <= LONG * rate
            }
            answers = _together(taught, short, none_of_these)
            for row, (path, clip) in enumerate(zip(some, begun, strict=True)):
                if isinstance(clip, AudioError):
                    yield path, clip
                elif row in short:
                    if clip.note:
                        warnings.warn(f"{path}: {clip.note}", read.TruncatedAudioWarning, stacklevel=2)
                    yield path, answers[row]
                else:
                    warnings.warn(
                        f"{path}: longer than {LONG:.0f} s and one label for all of it; a time line (--every 0.5) "
                        "says what is where.",
                        stacklevel=2,
                    )
                    yield path, _alone(taught, path, none_of_these)


def _together(
    taught: Taught, waveforms: dict[int, np.ndarray], none_of_these: float
) -> dict[int, Answer | AudioError]:
    try:
        found = taught.answers(list(waveforms.values()), none_of_these)
        return dict(zip(waveforms, found, strict=True))
    except AudioError as error:
        if len(waveforms) == 1:
            return dict.fromkeys(waveforms, error)
        # one of them is refused: alone, each can only fail for itself
        alone = [_together(taught, {row: waveform}, none_of_these) for row, waveform in waveforms.items()]
        return {row: answer for result in alone for row, answer in result.items()}


def _alone(taught: Taught, path: Path, none_of_these: float) -> Answer | AudioError:
    try:
        return taught.classify_file(path, none_of_these)
    except AudioError as error:
        return error
