"""A sound of any length as windows around many moments, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from soundalike.core.errors import SoundalikeError

if TYPE_CHECKING:
    from soundalike.model.embed_files import Embedder

_WINDOWS_AT_ONCE = 64
_SECONDS_AT_ONCE = 300.0  # of windows


def embed(
    embedder: Embedder, blocks: Iterable[np.ndarray], every: float, seconds: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Embeddings of what is heard around each of many moments, lot by lot.

    Args:
        embedder: of waveforms.
        blocks: the sound, as `windows` takes it, at the embedder's sample rate.
        every: seconds from one moment to the next.
        seconds: length of a window.

    Returns:
        Iterator over moments in seconds (k,), float64, and their embeddings (k, D).

    Raises:
        SoundalikeError: if ``every`` or ``seconds`` is not above 0.
    """
    around = windows(blocks, embedder.sample_rate, every, seconds)
    heard = seconds * getattr(embedder, "speed", 1.0)  # of a model that hears sounds slowed down
    at_once = max(1, min(_WINDOWS_AT_ONCE, int(_SECONDS_AT_ONCE / heard)))
    while lot := list(islice(around, at_once)):
        yield np.array([moment for moment, _ in lot]), embedder([window for _, window in lot])


def windows(
    blocks: Iterable[np.ndarray], sample_rate: int, every: float, seconds: float
) -> Iterator[tuple[float, np.ndarray]]:
    """What is heard around each of many moments of one sound.

    The first moment is at half of ``every``, and there is at least one. Beyond the ends of the sound lies nothing: a
    window that reaches there is moved inwards, and a sound shorter than a window is one. Where a sound is cut into
    blocks makes no difference.

    Args:
        blocks: the sound, mono waveforms (samples,) that follow on.
        sample_rate: of them, in Hz.
        every: seconds from one moment to the next.
        seconds: length of a window.

    Returns:
        Iterator over a moment in seconds and the window around it.

    Raises:
        SoundalikeError: if ``every`` or ``seconds`` is not above 0.
    """
    for name, value in (("every", every), ("seconds", seconds)):
        if not 0 < value < float("inf"):
            raise SoundalikeError(f"{name} is {value:g} s: it must be above 0.")
    return _windows(blocks, sample_rate, every, max(1, round(seconds * sample_rate)))


def _windows(
    blocks: Iterable[np.ndarray], sample_rate: int, every: float, length: int
) -> Iterator[tuple[float, np.ndarray]]:
    step = every * sample_rate
    held, begin, number = np.zeros(0, np.float32), 0, 0  # held is the sound from sample `begin` on

    def window(total: int) -> tuple[float, np.ndarray]:
        moment = (number + 0.5) * every
        start = min(max(round(moment * sample_rate - length / 2), 0), max(0, total - length))
        return moment, held[start - begin : start - begin + length].copy()

    for block in blocks:
        held = np.concatenate([held, block])
        known = begin + len(held)
        # a window that ends before the sound does, however long that may be, lies where it lies
        while max((number + 0.5) * step - length / 2, 0) + length + 2 <= known and (number + 1) * step <= known:
            yield window(known)
            number += 1
        needed = max(0, min(int((number + 0.5) * step - length / 2) - 1, known - length))
        held, begin = held[max(0, needed - begin) :], max(begin, needed)
    total = begin + len(held)
    while number < max(1, round(total / step)):
        yield window(total)
        number += 1
