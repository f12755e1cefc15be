"""A scikit-learn transformer from sounds to embeddings, to stand first in a pipeline."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import issparse  # type: ignore[import-untyped]
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags, check_array

from soundalike.audio.arrays import LEAST_OF_MANY, meaning, prepared, with_rate
from soundalike.core.errors import AudioError, SoundalikeError, nearest
from soundalike.data.tables import column_names

if TYPE_CHECKING:
    from soundalike.model.model import SoundModel

ON_ERROR = ("nan", "raise")
_AT_ONCE = 64  # waveforms that are prepared before they are embedded
_NAMED = 3  # broken sounds that a message names


class SoundInputError(AudioError, ValueError):
    """What cannot be embedded. scikit-learn expects a ``ValueError`` of data that an estimator refuses."""


class SoundEmbedder(TransformerMixin, BaseEstimator):
    """Sounds to embeddings, with nothing to fit::

        make_pipeline(SoundEmbedder(), StandardScaler(), LogisticRegression()).fit(paths, labels)

    The model is loaded when it is first needed, once in a process, and a pickle of the transformer does not hold it.
    A search over what comes after the embedding embeds anew for every candidate and fold, unless the pipeline has a
    ``memory``.

    Args:
        model: a ``.safetensors`` file that ``soundalike`` wrote, the folder of a run, the name of a shipped model, or
            a `SoundModel`; the model that ships with the package where not given.
        sample_rate: of waveforms, in Hz; the model's own where not given. Files bring their own.
        on_error: ``raise``, or ``nan`` to give sounds that cannot be embedded a row of NaN and a warning.
        device: where the model computes, such as ``cpu`` or ``cuda``; of a `SoundModel`, where it is.
    """

    def __init__(
        self,
        model: str | Path | SoundModel | None = None,
        sample_rate: int | None = None,
        on_error: str = "raise",
        device: str = "cpu",
    ) -> None:
        self.model = model
        self.sample_rate = sample_rate
        self.on_error = on_error
        self.device = device

    def fit(self, X: Any, y: Any = None) -> SoundEmbedder:
        """Checks the parameters and that ``X`` holds sounds; loads no model and opens no sound.

        Args:
            X: as `transform` takes it.
            y: ignored.

        Raises:
            SoundalikeError: a parameter cannot be used.
            SoundInputError: ``X`` is no collection of sounds.
        """
        self._check()
        self.samples_ = None
        sounds = _sounds(X, least=1, finite=self.on_error == "raise")
        if isinstance(sounds, np.ndarray):
            self.samples_ = sounds.shape[1]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The embeddings.

        Args:
            X: n sounds: a list, array, Series or one column of a DataFrame of paths; or a list of what
                `SoundModel.embed` takes for one sound. Or an array ``(n, samples)``: of more than 8 sounds, since
                fewer rows are the channels of one sound, unless `fit` had an array of as many columns. Floats lie in
                [-1, 1]; integers are scaled by their full range.

        Returns:
            ``(n, size)``, float32.

        Raises:
            SoundInputError: ``X`` is no collection of sounds, or sounds in it cannot be embedded and ``on_error`` is
                ``raise``. All are tried first.

        Warns:
            UserWarning: sounds could not be embedded, or are cut short.
        """
        self._check()
        sounds = list(_sounds(X, samples=getattr(self, "samples_", None)))
        model = self._loaded()
        result = np.full((len(sounds), model.size), np.nan, np.float32)
        files = [row for row, sound in enumerate(sounds) if isinstance(sound, str | os.PathLike)]
        given = sorted(set(range(len(sounds))) - set(files))
        broken = {**self._embed_files(model, sounds, files, result), **self._embed(model, sounds, given, result)}
        if broken:
            reasons = [broken[row] for row in sorted(broken)]
            more = f", and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
            told = f"{len(reasons)} of {len(sounds)} sounds cannot be embedded: {'; '.join(reasons[:_NAMED])}{more}"
            if self.on_error == "raise":
                raise SoundInputError(f"{told}. Leave them out, or choose on_error='nan'.")
            warnings.warn(f"{told}. Their rows are NaN.", stacklevel=2)
        return result

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """``e0``, ``e1`` and so on, a name for each number of an embedding, as strings in an array of objects.

        Args:
            input_features: ignored: what comes in is sounds.
        """
        return np.array(column_names(self._loaded().size), dtype=object)

    def __sklearn_tags__(self) -> Tags:
        """What scikit-learn needs to know of it."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.input_tags.allow_nan = False
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _check(self) -> None:
        from soundalike.audio.read import check_rate
        from soundalike.model import shipped
        from soundalike.model.model import SoundModel

        if self.on_error not in ON_ERROR:
            raise SoundalikeError(f"on_error is {self.on_error!r}; {nearest(str(self.on_error), ON_ERROR)}")
        if self.sample_rate is not None:
            check_rate(self.sample_rate)
        if not isinstance(self.model, SoundModel) and not shipped.find(self.model).exists():
            raise SoundalikeError(
                f"{self.model}: no such model; give a model file, the folder of a run or the name of a shipped model."
            )

    def _loaded(self) -> SoundModel:
        from soundalike.model import shipped
        from soundalike.model.model import SoundModel

        if isinstance(self.model, SoundModel):
            return self.model
        path = shipped.find(self.model)
        file = path / "model.safetensors" if path.is_dir() else path
        changed = file.stat().st_mtime_ns if file.is_file() else 0
        return _load(file.absolute() if file.is_file() else path, changed, self.device)

    def _embed_files(
        self, model: SoundModel, sounds: Sequence[Any], rows: Sequence[int], result: np.ndarray
    ) -> dict[int, str]:
        """Fills in the rows of files; row -> why, of those that are broken."""
        from soundalike.model.embed_files import embed_files

        embedded = embed_files([os.fspath(sounds[row]) for row in rows], {"model": model})
        for note in embedded.notes:
            warnings.warn(f"{note.path}: {note.reason}", stacklevel=3)
        done = {rows[place] for place in embedded.rows}
        if done:
            result[sorted(done)] = embedded.vectors["model"]
        missing = [row for row in rows if row not in done]
        return {
            row: f"{failure.path} ({failure.reason.rstrip('.')})"
            for row, failure in zip(missing, embedded.failures, strict=True)
        }

    def _embed(
        self, model: SoundModel, sounds: Sequence[Any], rows: Sequence[int], result: np.ndarray
    ) -> dict[int, str]:
        """Fills in the rows of waveforms; row -> why, of those that are broken."""
        broken: dict[int, str] = {}
        for first in range(0, len(rows), _AT_ONCE):
            ready: dict[int, np.ndarray] = {}
            for row in rows[first : first + _AT_ONCE]:
                try:
                    ready[row] = prepared(sounds[row], model.sample_rate, self.sample_rate, stacklevel=4)
                except AudioError as error:
                    broken[row] = f"sound {row} ({str(error).rstrip('.')})"
            if ready:
                result[list(ready)] = model(list(ready.values()))
        return broken


@functools.lru_cache(maxsize=4)  # so that a grid of models is loaded once, and a long one does not fill the memory
def _load(path: Path, changed: int, device: str) -> SoundModel:
    """A model, as long as its file is the one that it was when it was loaded."""
    import soundalike

    return soundalike.load(path, device)


def _sounds(X: Any, least: int = 0, finite: bool = False, samples: int | None = None) -> Sequence[Any] | np.ndarray:
    """A sequence with one path or waveform for each sound.

    Args:
        X: what a person gave.
        least: how many there have to be.
        finite: whether an array of waveforms may hold no NaN; a list of them is not looked into.
        samples: columns of the array that a transformer was fitted to, if it was to one.
    """
    if isinstance(X, str | os.PathLike):
        raise SoundInputError(f"{os.fspath(X)!r} is one path; give a list of paths.")
    if hasattr(X, "to_numpy"):  # pandas
        X = X.to_numpy()
    elif hasattr(X, "detach") and hasattr(X, "ndim"):  # PyTorch
        X = X.detach().cpu().numpy()
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1] == 1 and X.dtype.kind in "OUT":
        X = X[:, 0]  # a column of a table
    if isinstance(X, np.ndarray) and X.ndim == 1 and X.dtype.kind in "OUT":
        X = X.tolist()
    if hasattr(X, "__array__") or issparse(X):
        rows = _waveforms(X, least, finite)
        _check_rows(rows.shape, samples)
        return rows
    if with_rate(X) is not None:
        raise SoundInputError("X is one sound, a waveform and its sample rate; give a list of sounds: [X].")
    if not isinstance(X, Iterable) or isinstance(X, dict | bytes) or hasattr(X, "read"):
        raise SoundInputError(f"X is of type {type(X).__name__}; give a list or array of paths or waveforms.")
    sounds = list(X)
    if sounds and all(np.isscalar(sound) and not isinstance(sound, str) for sound in sounds):
        raise SoundInputError("X is one list of numbers; give a list of waveforms: one sound is [X].")
    if len(sounds) < least:
        raise SoundInputError("X is empty; give at least one sound.")
    return sounds


def _waveforms(X: Any, least: int, finite: bool) -> np.ndarray:
    """An array (n, samples), as scikit-learn checks it."""
    try:
        return check_array(
            X,
            dtype=np.float64 if getattr(getattr(X, "dtype", None), "kind", None) == "O" else None,
            ensure_all_finite=finite,
            ensure_min_samples=least,
            input_name="X",
        )
    except (TypeError, ValueError) as error:
        raise SoundInputError(f"X is no array of waveforms (n, samples), nor of n paths: {error}") from None


def _check_rows(shape: tuple[int, ...], samples: int | None) -> None:
    """Makes sure that the rows of an array are sounds, and not the channels of one, nor its samples.

    Args:
        shape: of the array.
        samples: columns of the array that a transformer was fitted to, if it was to one.

    Raises:
        SoundInputError: they may be.
    """
    # what is too short to be a sound either way is scikit-learn's samples and features
    if shape[0] <= 1 or shape[1] == samples or max(shape) < LEAST_OF_MANY:
        return
    try:
        kind = meaning(shape)
    except AudioError:
        kind = "mono"
    if kind != "sounds":
        raise SoundInputError(
            f"X has shape {shape}, which may be one sound with channels, or several sounds; give a list of sounds: "
            "[X] for one, list(X) where each row is one."
        )
