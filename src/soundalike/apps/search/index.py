"""An index of sounds: the nearest to one, and those that are the same recording."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundalike.apps.search.duplicates import Group, groups
from soundalike.apps.search.similarity import Standardised
from soundalike.apps.search.store import Maker, Store, stored
from soundalike.apps.search.update import Updated, digest, update
from soundalike.audio.background import Failure
from soundalike.core.errors import AudioError, SoundalikeError

if TYPE_CHECKING:
    from soundalike.model.model import SoundModel


@dataclass(frozen=True)
class Found:
    """A sound of an index, and how near it is to what was searched for.

    Attributes:
        path: its file; its name within the folder alone where the folder is no longer where it was indexed.
        similarity: from -1 to 1, which is the same sound.
        identical: whether the file has the same contents as the query.
    """

    path: Path
    similarity: float
    identical: bool = False


class Index:
    """Sounds of a folder that can be searched by sound.

    Args:
        store: its file.
        model: what made it; found again by what the index says of it where not given.
        device: where that one shall compute.

    Raises:
        SoundalikeError: another model made it.
    """

    def __init__(self, store: Store, model: SoundModel | None = None, device: str = "cpu") -> None:
        self.store, self._model, self._device = store, model, device
        if model is not None:
            self._check(model)
        self._standardised = Standardised(store.statistics, len(store), store.reference)

    @classmethod
    def load(cls, path: str | Path, model: SoundModel | None = None, device: str = "cpu") -> Index:
        """The index in a file.

        Args:
            path: that `Index.update` or ``soundalike index`` wrote.
            model: what made it; found again by what the index says of it where not given.
            device: where that one shall compute.

        Raises:
            SoundalikeError: there is none, it is no index, or another model made it.
        """
        return cls(Store(path), model, device)

    @classmethod
    def update(
        cls,
        folder: str | Path,
        out: str | Path,
        model: SoundModel | None = None,
        name: str | Path | None = None,
        progress: bool = False,
    ) -> tuple[Index, Updated]:
        """Makes an index of a folder, or brings it up to date. Only what is new or changed is embedded.

        Args:
            folder: searched for audio files, and so are the folders below it.
            out: the index's file.
            model: that embeds them; the one that ships with the package where not given.
            name: of the model, or its path, by which `load` finds it again.
            progress: whether to show progress, with rate and time left, on stderr.

        Returns:
            The index, and what was done.

        Raises:
            SoundalikeError: as `update.update`.
        """
        import soundalike

        told = "" if model is not None and name is None else lasting(name)
        if model is None:
            model = soundalike.load(name)
        updated = update(folder, out, model, Maker(told, fingerprint(model)), progress)
        return cls.load(out, model), updated

    def __len__(self) -> int:
        return len(self.store)

    @property
    def failures(self) -> list[Failure]:
        """Files of the folder that are not in the index, and why."""
        return [Failure(self._path(each.name), each.reason) for each in self.store.broken]

    @property
    def paths(self) -> list[Path]:
        """Files of the index."""
        return [self._path(entry.name) for entry in self.store.entries]

    @property
    def model(self) -> SoundModel:
        """What made the index.

        Raises:
            SoundalikeError: it is no longer where it was, or is another.
        """
        if self._model is None:
            import soundalike

            told = self.store.maker.model
            if not told:
                raise SoundalikeError(f"{self.store.path}: does not say which model made it; give --model.")
            try:
                model = soundalike.load(told, self._device)
            except SoundalikeError as error:
                raise SoundalikeError(
                    f"{self.store.path}: the model that made it cannot be loaded ({str(error).rstrip('.')}); "
                    "give it with --model."
                ) from None
            self._check(model)
            self._model = model
        return self._model

    def _check(self, model: SoundModel) -> None:
        if fingerprint(model) != self.store.maker.fingerprint:
            made = f", then called {self.store.maker.model}" if self.store.maker.model else ""
            raise SoundalikeError(
                f"{self.store.path}: was made with another model{made}; give that one with --model, or make the index "
                "anew under another name."
            )

    def search(self, query: str | Path | np.ndarray, count: int = 10, sample_rate: int | None = None) -> list[Found]:
        """The sounds nearest to one.

        Args:
            query: path of an audio file, or a waveform (samples,).
            count: how many, 1 or more.
            sample_rate: of a waveform, in Hz; the model's where not given.

        Returns:
            At most ``count``, the nearest first; files with the same contents before all others.

        Raises:
            AudioError: the query cannot be read, or its embedding is not finite.
            SoundalikeError: count is below 1, or the index's model is not there.
        """
        same = None
        if isinstance(query, str | Path):
            vector = self.model.embed(query)
            with contextlib.suppress(OSError):
                same = digest(Path(query))
            return self.nearest(vector, count, same)
        return self.nearest(self.model.embed(query, sample_rate), count)

    def nearest(self, vector: np.ndarray, count: int = 10, contents: str | None = None) -> list[Found]:
        """The sounds nearest to an embedding by the index's model.

        Args:
            vector: (D,).
            count: how many, 1 or more.
            contents: `update.digest` of the file that it is of.

        Raises:
            SoundalikeError: count is below 1, or the vector is of another length.
            AudioError: the vector is not finite.
        """
        if count < 1:
            raise SoundalikeError(f"count is {count}: it must be at least 1.")
        if np.shape(vector) != (self.store.size,):
            raise SoundalikeError(
                f"{self.store.path}: of embeddings of {self.store.size} numbers; the query's has the shape "
                f"{np.shape(vector)}."
            )
        if not np.isfinite(vector).all():
            raise AudioError("the query's embedding is not finite.")
        # as the index holds it, so that a sound is exactly as near to itself as it can be
        query = self._standardised(stored(np.asarray(vector)[None]))[0]
        similarity = np.concatenate(
            [np.zeros(0, np.float32), *(self._standardised(piece) @ query for _, piece in self.store.pieces())]
        ).clip(-1, 1)
        identical = np.array([entry.digest == contents for entry in self.store.entries], bool)
        nearest = np.lexsort((-similarity, ~identical))[:count]
        return [
            Found(self._path(self.store.entries[row].name), float(similarity[row]), bool(identical[row]))
            for row in nearest
        ]

    def duplicates(self, threshold: float | None = None, progress: bool = False) -> list[Group]:
        """Groups of sounds that are the same recording: copied, encoded again, louder, resampled or cut a little.

        As `duplicates.groups`.
        """
        return groups(self.store, self._standardised, threshold, progress)

    def _path(self, name: str) -> Path:
        return path_of(self.store, name)


def path_of(store: Store, name: str) -> Path:
    """Where a sound of an index is: its name alone where the folder is no longer there."""
    return store.folder / name if store.folder.is_dir() else Path(name)


def fingerprint(model: SoundModel) -> str:
    """What tells the embeddings of a model from those of any other: of its weights and of how it is read out."""
    sections = model.recipe.sections
    parts: dict[str, Any] = {part: sections[part] for part in ("frontend", "encoder", "readout")}
    told = hashlib.sha256(json.dumps({**parts, "size": model.size}, sort_keys=True).encode())
    for name, weights in sorted(model.encoder.state_dict().items()):
        told.update(f"{name}{tuple(weights.shape)}".encode())
        told.update(weights.detach().cpu().numpy().tobytes())
    return told.hexdigest()[:32]


def lasting(name: str | Path | None) -> str:
    """A model's name that holds in any folder."""
    from soundalike.model import shipped

    if name is None:
        return shipped.DEFAULT
    found = shipped.find(name)
    return str(name) if any(found == each.path for each in shipped.SHIPPED) else os.path.abspath(found)
