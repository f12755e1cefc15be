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

from soundalike.apps.search.duplicates import Group, groups, overlap
from soundalike.apps.search.similarity import Standardised
from soundalike.apps.search.store import Entry, Maker, Store, sound_of, stored
from soundalike.apps.search.update import Source, Updated, digest, update
from soundalike.audio.background import Failure
from soundalike.audio.segment import Segment, Sound, file_of, span_of
from soundalike.core.errors import AudioError, SoundalikeError

if TYPE_CHECKING:
    from soundalike.model.model import SoundModel


@dataclass(frozen=True)
class Found:
    """A sound of an index, and how near it is to what was searched for.

    Attributes:
        sound: its file, or a segment of it; its name within the folder alone where the folder is no longer where it
            was indexed.
        similarity: from -1 to 1, which is the same sound.
        identical: whether it has the same contents as the query, and is the same part of them.
    """

    sound: Sound
    similarity: float
    identical: bool = False

    @property
    def path(self) -> Path:
        """Its file."""
        return file_of(self.sound)


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
        if model is not None and model.speed == 1:
            model = model.slowed(store.settings.speed)
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
        source: str | Path | Source,
        out: str | Path,
        model: SoundModel | None = None,
        name: str | Path | None = None,
        progress: bool = False,
        every: float | None = None,
        window: float | None = None,
    ) -> tuple[Index, Updated]:
        """Makes an index of a folder or a table, or brings it up to date. Only what is new or changed is embedded.

        Args:
            source: a folder, searched for audio files, and so are the folders below it; or a table of files and
                segments.
            out: the index's file.
            model: that embeds them; the one that ships with the package where not given.
            name: of the model, or its path, by which `load` finds it again.
            progress: whether to show progress, with rate and time left, on stderr.
            every: seconds from one moment of a recording to the next, each of which is a sound of the index; whole
                files and segments where not given.
            window: seconds that are heard around each moment; ``every``, and 1 s at least, where not given.

        Returns:
            The index, and what was done.

        Raises:
            SoundalikeError: as `update.update`.
        """
        import soundalike

        told = "" if model is not None and name is None else lasting(name)
        if model is None:
            model = soundalike.load(name)
        updated = update(source, out, model, Maker(told, fingerprint(model)), progress, every, window)
        return cls.load(out, model), updated

    def __len__(self) -> int:
        return len(self.store)

    @property
    def failures(self) -> list[Failure]:
        """Files of the folder that are not in the index, and why."""
        folder = self.store.place
        return [Failure(sound_of(folder, each), each.reason) for each in self.store.broken]

    @property
    def paths(self) -> list[Path]:
        """The file of each sound of the index."""
        return [file_of(sound) for sound in self.sounds]

    @property
    def sounds(self) -> list[Sound]:
        """What the index holds: files, segments, or moments of recordings."""
        folder = self.store.place
        return [sound_of(folder, entry) for entry in self.store.entries]

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
                model = soundalike.load(told, self._device).slowed(self.store.settings.speed)
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

    def search(
        self, query: str | Path | Segment | np.ndarray, count: int = 10, sample_rate: int | None = None
    ) -> list[Found]:
        """The sounds nearest to one.

        Args:
            query: path of an audio file, a segment of one, or a waveform (samples,).
            count: how many, 1 or more.
            sample_rate: of a waveform, in Hz; the model's where not given.

        Returns:
            At most ``count``, the nearest first; files with the same contents before all others. Of moments that
            overlap, the nearest alone.

        Raises:
            AudioError: the query cannot be read, or its embedding is not finite.
            SoundalikeError: count is below 1, or the index's model is not there.
        """
        same = None
        if isinstance(query, str | Path | Segment):
            vector = self.model.embed(query)
            with contextlib.suppress(OSError):
                same = (digest(file_of(query)), *span_of(query))
            return self.nearest(vector, count, same)
        return self.nearest(self.model.embed(query, sample_rate), count)

    def nearest(
        self,
        vector: np.ndarray,
        count: int = 10,
        contents: tuple[str, float | None, float | None] | None = None,
    ) -> list[Found]:
        """The sounds nearest to an embedding by the index's model.

        Args:
            vector: (D,).
            count: how many, 1 or more.
            contents: `update.digest` of the file that it is of, and start and end in seconds where it is of a part.

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
        entries = self.store.entries
        identical = np.array([(each.digest, each.start, each.end) == contents for each in entries], bool)
        kept: list[int] = []
        spans: dict[str, list[Entry]] = {}  # of what is kept, by file
        for row in np.lexsort((-similarity, ~identical)).tolist():
            own = spans.setdefault(entries[row].name, [])
            if self.store.settings.every is None or not any(overlap(entries[row], other) for other in own):
                kept.append(row)
                own.append(entries[row])
            if len(kept) == count:
                break
        folder = self.store.place
        return [Found(sound_of(folder, entries[row]), float(similarity[row]), bool(identical[row])) for row in kept]

    def duplicates(self, threshold: float | None = None, progress: bool = False) -> list[Group]:
        """Groups of sounds that are the same recording: copied, encoded again, louder, resampled or cut a little.

        As `duplicates.groups`.
        """
        return groups(self.store, self._standardised, threshold, progress)


def fingerprint(model: SoundModel) -> str:
    """What tells the embeddings of a model from those of any other: of its weights and of how it is read out."""
    sections = model.recipe.sections
    parts: dict[str, Any] = {part: sections[part] for part in ("frontend", "encoder", "readout")}
    if model.speed != 1:
        parts["speed"] = model.speed
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
