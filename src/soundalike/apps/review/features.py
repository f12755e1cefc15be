"""What a classifier learns from sounds, computed once in the background and kept for the next time."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

import soundalike
from soundalike.apps.classifier.teaching import TrainingFeatures, in_half_precision
from soundalike.apps.review.seekable import seekable
from soundalike.apps.search.index import fingerprint
from soundalike.audio.background import Failure, failure
from soundalike.audio.segment import Sound
from soundalike.core.errors import AudioError
from soundalike.core.files import cache_folder
from soundalike.model.embed_files import embed_files
from soundalike.model.journal import Entry, Journal, stamps
from soundalike.model.model import SoundModel

_AT_ONCE = 64  # sounds, after which the page knows of them


class Features:
    """The training features of sounds, by sound. Safe for several threads.

    They are kept in the folder for caches, under the name of the folder that the sounds lie in, until a file, the
    model or the window is another.

    Args:
        model: the encoder.
        window: seconds of a window of the classifier, as `teach` takes it.
        folder: whose sounds they are.
    """

    def __init__(self, model: SoundModel, window: float | None, folder: Path) -> None:
        self.encoder, self.window = in_half_precision(model), window
        self.failures: dict[Sound, Failure] = {}
        self._embedder = TrainingFeatures(self.encoder, window)
        told = f"soundalike {soundalike.__version__}, {fingerprint(self.encoder)}, {window}"
        self._journal = Journal(_kept(folder), told)
        self._rows: dict[Sound, np.ndarray] = {}
        self._lock = threading.Lock()

    def __contains__(self, sound: Sound) -> bool:
        return sound in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def recall(self, sounds: Sequence[Sound]) -> None:
        """Takes what was computed of these sounds by an earlier run."""
        found = self._journal.found(sounds)
        with self._lock:
            self._rows |= {sounds[row]: entry.vector for row, entry in found.items()}

    def compute(self, sounds: Sequence[Sound], after: Callable[[], bool] = lambda: True) -> None:
        """Computes those of sounds that are missing, some at a time.

        Args:
            sounds: which; one that cannot be read is among the ``failures`` afterwards.
            after: called after some; False ends it.
        """
        missing = [sound for sound in sounds if sound not in self._rows and sound not in self.failures]
        for start in range(0, len(missing), _AT_ONCE):
            some = missing[start : start + _AT_ONCE]
            stamped = stamps(some)
            new, failures = self._embed(some)
            with self._lock:
                self.failures |= failures
                self._rows |= new
            self._journal.add({sound: Entry(vector, None) for sound, vector in new.items()}, stamped)
            if not after():
                return

    def _embed(self, sounds: Sequence[Sound]) -> tuple[dict[Sound, np.ndarray], dict[Sound, Failure]]:
        """The features of sounds, and why others have none."""
        failures, read = dict[Sound, Failure](), dict[Sound, Sound]()  # what is read in the place of a sound -> it
        for sound in sounds:
            try:
                read[seekable(sound)] = sound
            except AudioError as error:
                failures[sound] = failure(sound, error)
        embedded = embed_files(list(read), {"model": self._embedder})
        failures |= {read[each.path]: Failure(read[each.path], each.reason) for each in embedded.failures}
        own = [read[path] for path in embedded.paths]
        return dict(zip(own, embedded.vectors["model"], strict=True)), failures

    def of(self, sounds: Iterable[Sound]) -> np.ndarray:
        """The features of sounds that are all there, (n, 3 + 2 * D)."""
        return np.stack([self._rows[sound] for sound in sounds])

    def embeddings(self, sounds: Iterable[Sound]) -> np.ndarray:
        """The embeddings of sounds that are all there, (n, D)."""
        size = self.encoder.size
        return np.stack([self._rows[sound][3 : 3 + size] for sound in sounds])


def _kept(folder: Path) -> Path:
    """Where the features of a folder's sounds are kept: beside a name that tells it from other folders."""
    told = hashlib.blake2b(os.fsencode(folder.absolute()), digest_size=8).hexdigest()
    return cache_folder() / "review" / f"{told}.features"
