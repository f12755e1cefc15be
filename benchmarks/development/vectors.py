"""Embeddings of a set's recordings: the full one, the compact one, and statistics of the last stage alone."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.development.sets import DevelopmentSet
from soundalike.audio.cache import Recordings
from soundalike.core.errors import SoundalikeError
from soundalike.core.files import replacing
from soundalike.eval.probe import LogMelStatistics
from soundalike.model.compact import SIZE, Compact
from soundalike.model.fit_compact import SOUNDS, synthetic_sounds, with_compact
from soundalike.model.model import SoundModel
from soundalike.nn.pooling import Stages

FULL, COMPACT, LAST_STAGE = EMBEDDINGS = ("full", "compact", "last stage")
Model = SoundModel | LogMelStatistics
_AT_ONCE = 64  # recordings that are held in memory together


class VectorCache:
    """A folder that keeps embeddings of models which many readings compare with.

    A file is found again by the set's clips, the recipe, and what the model makes of a few fixed sounds: so a change
    of the weights, of the network or of the voice's sound makes a new one. What it cannot see is a change of how the
    compact embedding is fitted; remove the folder then.

    Args:
        folder: the folder; it is made when the first embeddings are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: str) -> dict[str, np.ndarray] | None:
        """The embeddings kept under a key, by name; None where there are none."""
        path = self._path(key)
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def keep(self, key: str, vectors: dict[str, np.ndarray]) -> None:
        """Keeps embeddings under a key.

        Raises:
            SoundalikeError: the folder cannot be written.
        """
        with replacing(self._path(key), "embeddings") as partial, partial.open("wb") as stream:
            np.savez(stream, **vectors)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npz"


class Embeddings:
    """What is read of one model: its embeddings of a set, by name.

    Args:
        model: the model, or the log-mel baseline, which has its full embedding alone.
        wanted: which of ``EMBEDDINGS``; those that the model cannot have are left out.
        sounds: number of synthetic sounds that a compact embedding is fitted to, where the model has none.
        cache: where its embeddings are kept; None to compute them always.
        progress: whether to show the progress of fitting on stderr.
    """

    def __init__(
        self,
        model: Model,
        wanted: Sequence[str] = EMBEDDINGS,
        sounds: int = SOUNDS,
        cache: VectorCache | None = None,
        progress: bool = False,
    ) -> None:
        self._model = model.full() if isinstance(model, SoundModel) else model
        self._sounds, self._cache, self._progress = sounds, cache, progress
        able = [FULL]
        if isinstance(self._model, SoundModel):
            able = [FULL, LAST_STAGE]
            if self._model.compact is not None or self._model.recipe.synthetic_alone() is not None:
                able = list(EMBEDDINGS)
        self.names = [name for name in EMBEDDINGS if name in able and name in wanted]
        self._compact: Compact | None = None
        self._seen = "" if cache is None else _fingerprint(self._model, self.names, sounds)

    def __call__(self, part: DevelopmentSet) -> dict[str, np.ndarray]:
        """Embeddings (n, numbers) of the n recordings of a set, float32, by name."""
        key = self._key(part)
        found = None if self._cache is None else self._cache.find(key)
        if found is None:
            found = self._computed(part.recordings)
            if self._cache is not None:
                self._cache.keep(key, found)
        return found

    def _key(self, part: DevelopmentSet) -> str:
        clips = list(zip([path.name for path in part.dataset.paths], part.recordings.lengths.tolist(), strict=True))
        digest = hashlib.sha256(json.dumps([self._seen, clips]).encode()).hexdigest()
        return f"{part.name}-{digest[:16]}"

    def _computed(self, recordings: Recordings) -> dict[str, np.ndarray]:
        full = _embedded(self._model, recordings)
        found = {FULL: full}
        if COMPACT in self.names:
            found[COMPACT] = self._fitted()(full)
        if LAST_STAGE in self.names:
            found[LAST_STAGE] = _last_stage(self._model, recordings, full)
        return {name: found[name] for name in self.names}

    def _fitted(self) -> Compact:
        """The model's own map to a compact embedding, or one that is fitted as `soundalike compact` does it."""
        if self._compact is None:
            model = self._model
            assert isinstance(model, SoundModel)
            compact = model.compact
            if compact is None:
                size = min(SIZE, model.size)
                compact = with_compact(model, size, self._sounds, progress=self._progress).compact
            assert compact is not None
            self._compact = compact.first(min(SIZE, compact.size))
        return self._compact


def _embedded(model: Model, recordings: Recordings) -> np.ndarray:
    """Embeddings (n, D) of all recordings; those of one length are next to each other and computed together."""
    order = np.argsort(recordings.lengths, kind="stable")
    lots = [order[start : start + _AT_ONCE] for start in range(0, len(order), _AT_ONCE)]
    vectors = np.concatenate([model([recordings.read(int(clip)) for clip in lot]) for lot in lots])
    result = np.empty_like(vectors)
    result[order] = vectors
    return result


def _last_stage(model: Model, recordings: Recordings, full: np.ndarray) -> np.ndarray:
    """Mean and deviation over time of the last stage's channels and bands, (n, 2 * channels * bands)."""
    assert isinstance(model, SoundModel)
    if not isinstance(model.readout, Stages):
        model = copy.copy(model)
        model.readout = Stages(bands=None)
        full = _embedded(model, recordings)
    return full[:, -model.readout.blocks(model.frontend, model.encoder)[-1] :]


def _fingerprint(model: Model, names: Sequence[str], sounds: int) -> str:
    """What tells a model and the voice that its compact embedding is fitted to from all others."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, model.sample_rate).astype(np.float32)  # 1 s
    heard, recipe = [noise], {}
    if isinstance(model, SoundModel):
        recipe = model.recipe.to_dict()
        if COMPACT in names:
            heard += list(next(synthetic_sounds(model.recipe, 2)))
    digest = hashlib.sha256(json.dumps([type(model).__name__, list(names), sounds, recipe]).encode())
    digest.update(model(heard).tobytes())
    return digest.hexdigest()


def check_embeddings(names: Sequence[str]) -> None:
    """Refuses names that are not of ``EMBEDDINGS``.

    Raises:
        SoundalikeError: a name is unknown, or there is none.
    """
    unknown = [name for name in names if name not in EMBEDDINGS]
    if unknown or not names:
        what = repr(unknown[0]) if unknown else "none"
        raise SoundalikeError(f"unknown embedding {what}: give some of {', '.join(EMBEDDINGS)}.")
