"""What a person holds: a front end, an encoder and a read-out, in one file, from waveform to embedding."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from soundalike.audio import read
from soundalike.audio import windows as moments
from soundalike.audio.arrays import prepared, several, waveforms_of
from soundalike.audio.background import MOST_WAITING
from soundalike.audio.segment import Segment
from soundalike.audio.stream import LongSound, open_sound
from soundalike.core.device import best_device
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.model import file, stored
from soundalike.model.compact import SIZE, Compact
from soundalike.model.file import BESIDE
from soundalike.model.parts import ModelParts
from soundalike.model.recipe import Recipe
from soundalike.nn.pooling import Pooled, Streamed

_EXACT = ("compact.mean", "compact.scale")  # 32 bits in any file: a scale can be too large for 16
_AT_ONCE = 64  # sounds of a list that are decoded before they are embedded, fewer where they are long


class SoundModel:
    """A trained encoder, ready to embed sounds of any length.

    Args:
        recipe: how it was made.
        parts: its parts; built from the recipe, with random weights, where not given.
        training: summary of the training, plain data; empty for an untrained model.
        classes: names of the classes that its head tells apart, where it was trained with labels.
        heard: `leakage.fingerprints` of the recordings that it was trained on, int64 (k,), in all of its trainings.
        compact: from the full embedding to the compact one, where one was fitted; see `compacted`.
    """

    takes_long_sounds = True

    def __init__(
        self,
        recipe: Recipe,
        parts: ModelParts | None = None,
        training: dict[str, Any] | None = None,
        classes: Sequence[str] = (),
        heard: np.ndarray | None = None,
        compact: Compact | None = None,
    ) -> None:
        parts = recipe.build_model(classes=len(classes) or None) if parts is None else parts
        self.recipe, self.training = recipe, dict(training or {})
        self.head = parts.head.eval() if parts.head is not None and parts.head.classes else None
        self.classes = list(classes) if self.head is not None else []
        self.heard = np.zeros(0, np.int64) if heard is None else np.unique(heard)
        self.frontend, self.encoder, self.readout = parts.frontend.eval(), parts.encoder.eval(), parts.readout
        self.compact = compact
        self.projection: Compact | None = None  # what `compacted` puts behind the read-out
        self.speed = 1.0  # what `slowed` hears sounds at
        if compact is not None and compact.width != self.size:
            raise SoundalikeError(
                f"its compact embedding is of {compact.width} numbers, and its embedding has {self.size}."
            )

    @property
    def sample_rate(self) -> int:
        """Samples a second of the waveforms that it takes; other rates are resampled to it."""
        return round(self.frontend.sample_rate * self.speed)

    @property
    def heard_rate(self) -> int:
        """Samples a second that the encoder hears: `sample_rate` but for a model that is `slowed`."""
        return self.frontend.sample_rate

    @property
    def size(self) -> int:
        """Length of an embedding."""
        if self.projection is not None:
            return self.projection.size
        return self.readout.size(self.frontend, self.encoder)

    @property
    def device(self) -> torch.device:
        """Where the encoder computes."""
        return next(self.encoder.parameters()).device

    def to(self, device: torch.device | str) -> SoundModel:
        """Moves the model to a device, in place.

        Args:
            device: such as ``cpu`` or ``cuda``; ``auto`` is a GPU where PyTorch finds one.

        Raises:
            SoundalikeError: there is no such device here.
        """
        device = best_device() if device == "auto" else device
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError):  # the latter where PyTorch was built without it
            raise SoundalikeError(
                f"device {str(device)!r}: PyTorch cannot use it here; give 'cpu', or 'auto'."
            ) from None
        self.frontend.to(device)
        self.encoder.to(device)
        if self.head is not None:
            self.head.to(device)
        return self

    def untrained(self, seed: int = 0) -> SoundModel:
        """The same architecture and read-out with fresh random weights: the honest baseline of any evaluation."""
        return SoundModel(self.recipe, self.recipe.build_model(seed)).to(self.device).slowed(self.speed)

    def compacted(self, size: int = SIZE) -> SoundModel:
        """The model with the compact embedding in the place of the full one, wherever it embeds.

        It shares its parts with this one. Its file holds both embeddings, and a model that is loaded from there gives
        the compact one again.

        Args:
            size: of the compact embedding; the first numbers of a longer one are the shorter one.

        Raises:
            SoundalikeError: the model has no compact embedding, or none of that size.
        """
        if self.compact is None:
            raise SoundalikeError(
                "this model has no compact embedding: soundalike compact MODEL --out FILE writes one that has."
            )
        model = self.full()
        model.projection = self.compact.first(size)
        return model

    def slowed(self, speed: float) -> SoundModel:
        """The model that hears sounds slowed down, as bat detectors play them.

        So what lies above its range comes into it. It shares its parts with this one, and its file says so. All times
        stay those of the sounds themselves.

        Args:
            speed: how many times as slow as they are, from 0.01 to 1000; 10 brings 50 kHz to 5 kHz.

        Raises:
            SoundalikeError: ``speed`` is out of its range.
        """
        if not 0.01 <= speed <= 1000:
            raise SoundalikeError(f"speed is {speed:g}: give 0.01 to 1000, such as 10 for bats.")
        model = copy.copy(self)
        model.speed = float(speed)
        return model

    def full(self) -> SoundModel:
        """The model with the full embedding: undoes `compacted`."""
        model = copy.copy(self)
        model.projection = None
        return model

    def embed(
        self, sound: str | Path | Segment | np.ndarray | Tensor | Iterable[Any], sample_rate: float | None = None
    ) -> np.ndarray:
        """Embeddings of one sound or several.

        Args:
            sound: path of an audio file, or a `Segment` of one; a waveform (samples,), (channels, samples) or
                (samples, channels) with at most 8 channels, as array, tensor or list of numbers; a pair of a waveform
                and its sample rate, as soundfile and librosa return it; or a list of such, of any lengths, which may
                also be a pandas Series, an array of strings or a generator. An array (n, samples) of more than 8
                sounds, each longer than their number, is such a list. Floats lie in [-1, 1]; integers are scaled by
                their full range.
            sample_rate: of the waveforms, in Hz; the model's own where not given. Files and pairs bring their own.

        Returns:
            (size,) for a path or one waveform, (n, size) for several. float32.

        Raises:
            AudioError: a sound is empty, not finite, or cannot be read; or an array can be taken for several things.

        Warns:
            SoundWarning: a sound is used though it is not whole, silent, above what is heard, or its channels cancel.
        """
        sounds = several(sound)
        if sounds is None:
            return self([self._prepared(sound, sample_rate)])[0]
        parts: list[np.ndarray] = [np.zeros((0, self.size), np.float32)]
        some: list[np.ndarray | LongSound] = []
        for row, each in enumerate(sounds):
            some.append(self._prepared(each, sample_rate, row))
            if len(some) == _AT_ONCE or sum(map(len, some)) > MOST_WAITING:
                parts.append(self(some))
                some = []
        return np.concatenate([*parts, self(some)])

    def _prepared(self, sound: Any, sample_rate: float | None, row: int | None = None) -> np.ndarray | LongSound:
        """One sound as a waveform at the model's rate; ``row`` is its place among several."""
        if isinstance(sound, str | os.PathLike | Segment):
            opened, note = open_sound(sound if isinstance(sound, Segment) else os.fspath(sound), self.sample_rate)
            read.warn(sound, note, stacklevel=4)
            return opened
        return prepared(sound, self.sample_rate, sample_rate, row, stacklevel=4)

    def __call__(self, waveforms: Sequence[np.ndarray | LongSound]) -> np.ndarray:
        """Embeddings of waveforms at the model's sample rate.

        Args:
            waveforms: mono, float32, (samples,) each, of any lengths; or files that are read while they are embedded.

        Returns:
            (n, size), float32.

        Raises:
            AudioError: an embedding is not finite.
        """
        result = np.zeros((len(waveforms), self.size), np.float32)
        for rows, sounds in self._by_length(waveforms, self.readout.least_samples(self.frontend)):
            with torch.inference_mode():
                result[rows] = self.projected(self.readout(self.frontend, self.encoder, sounds))
        return _finite(result, "embedding")

    def projected(self, vectors: Tensor) -> np.ndarray:
        """What is handed out of full embeddings (n, D): they themselves, or compact ones."""
        full = vectors.cpu().numpy()
        return full if self.projection is None else self.projection(full)

    def classify(self, waveforms: Sequence[np.ndarray | LongSound]) -> np.ndarray:
        """What the head that was trained with labels says of sounds.

        A sound is heard in windows of the training clip's length, as `Pooled` cuts them; their logits are averaged.

        Args:
            waveforms: as `__call__` takes them.

        Returns:
            Probabilities of `classes`, ``(n, classes)``, float32.

        Raises:
            SoundalikeError: the model was not trained with labels.
        """
        if self.head is None:
            raise SoundalikeError("this model was trained without labels and tells no classes apart: finetune it.")
        head, encoder = self.head, self.encoder

        def logits(features: Tensor) -> Tensor:
            return head.classify(head(encoder(features)))

        windows, result = Pooled(), np.zeros((len(waveforms), head.classes), np.float32)
        for rows, sounds in self._by_length(waveforms, windows.least_samples(self.frontend)):
            with torch.inference_mode():
                result[rows] = windows(self.frontend, logits, sounds).softmax(1).cpu().numpy()
        return _finite(result, "probability")

    def windows(self, waveform: np.ndarray, every: float = 0.5, seconds: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings of what is heard around each of many moments of one sound.

        Args:
            waveform: mono, float32, (samples,), at the model's sample rate.
            every: seconds from one moment to the next; the first is at half of it.
            seconds: length of the window around each moment. Beyond the ends of the sound lies nothing: a window that
                reaches there is moved inwards, and a sound shorter than it is one window.

        Returns:
            Moments in seconds (moments,), float64, and their embeddings (moments, size), float32.
        """
        lots = list(moments.embed(self, list(waveforms_of([waveform])), every, seconds))
        return np.concatenate([lot for lot, _ in lots]), np.concatenate([vectors for _, vectors in lots])

    def along(
        self, path: str | Path, every: float = 0.5, seconds: float = 1.0
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As `windows`, of an audio file of any length: lot by lot, in constant memory.

        Args:
            path: of the file.
            every: seconds from one moment to the next; the first is at half of it.
            seconds: length of the window around each moment.

        Returns:
            Iterator over moments in seconds (k,), float64, and their embeddings (k, size), float32.

        Raises:
            AudioError: the file cannot be read, maybe only after some lots.

        Warns:
            TruncatedAudioWarning: at the end, if the file ends too early.
        """
        blocks = read.Blocks(path, self.sample_rate)
        yield from moments.embed(self, blocks, every, seconds)
        read.warn(path, blocks.note, stacklevel=3)

    def _by_length(
        self, waveforms: Sequence[np.ndarray | LongSound], least: int
    ) -> Iterator[tuple[list[int], Tensor | Streamed]]:
        """Rows of one length each and their sounds (k, samples) on the device, padded to ``least`` samples."""
        held: dict[int, np.ndarray] = {}
        for row, sound in enumerate(waveforms_of(waveforms)):
            if isinstance(sound, LongSound):
                yield [row], Streamed(sound, self.frontend, self.device)
            else:
                held[row] = sound
        for length in sorted({max(len(waveform), least) for waveform in held.values()}):
            rows = [row for row, waveform in held.items() if max(len(waveform), least) == length]
            batch = np.zeros((len(rows), length), np.float32)
            for place, row in enumerate(rows):
                batch[place, : len(held[row])] = held[row]
            yield rows, torch.from_numpy(batch).to(self.device)

    def save(
        self,
        path: str | Path,
        half: bool = False,
        beside: Mapping[str, Tensor] | None = None,
        header: Mapping[str, str] | None = None,
    ) -> None:
        """Writes the model as one ``.safetensors`` file, recipe and training summary in its header.

        Args:
            path: of the file.
            half: weights, and those of the compact embedding, in 16 bits: half the size. They are 32 bits again once
                loaded.
            beside: tensors of somebody else that shall lie in the same file, their names with ``BESIDE`` before them.
            header: what they need in the file's header.

        Raises:
            SoundalikeError: the file cannot be written.
        """
        told = {
            **(header or {}),
            "recipe": json.dumps(self.recipe.to_dict()),
            "training": json.dumps(self.training),
            **({"classes": json.dumps(self.classes)} if self.head is not None else {}),
            **({"compact": json.dumps(self.compact.made)} if self.compact is not None else {}),
            **({"embedding": str(self.size)} if self.projection is not None else {}),
            **({"speed": repr(self.speed)} if self.speed != 1 else {}),
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self._state().items()}
        if half:
            tensors = {
                name: t.half() if t.is_floating_point() and name not in _EXACT else t for name, t in tensors.items()
            }
        tensors |= {f"{BESIDE}{name}": tensor.contiguous() for name, tensor in (beside or {}).items()}
        file.write(path, tensors, told)

    def _state(self) -> dict[str, Tensor]:
        """Every weight by its name in the file."""
        head = {} if self.head is None else self.head.state_dict()
        heard = {stored.HEARD: torch.from_numpy(self.heard)} if len(self.heard) else {}
        compact = {} if self.compact is None else self.compact.arrays()
        return {
            **self.encoder.state_dict(),
            **{f"{stored.HEAD}{name}": tensor for name, tensor in head.items()},
            **{f"{stored.COMPACT}{name}": torch.from_numpy(array) for name, array in compact.items()},
            **heard,
        }

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> SoundModel:
        """The model in a ``.safetensors`` file, or in the run folder that holds ``model.safetensors``.

        Args:
            path: the file or folder.
            device: where it shall compute.

        Raises:
            SoundalikeError: there is no such file, or it is not a model or not whole.
        """
        return cls.of(file.read(path), device)

    @classmethod
    def of(cls, contents: file.Contents, device: torch.device | str = "cpu") -> SoundModel:
        """The model in what was read of a file: as `load`."""
        try:
            model = cls(*stored.model_arguments(contents.header, contents.tensors))
            if "embedding" in contents.header:
                model = model.compacted(int(contents.header["embedding"]))
            model = model.slowed(float(contents.header.get("speed", "1")))
        except (SoundalikeError, *stored.INCONSISTENT) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[-1].strip().rstrip(".")
            raise SoundalikeError(
                f"{contents.path}: not a model that this version can load ({reason}); give another."
            ) from None
        return model.to(device)


def _finite(rows: np.ndarray, what: str) -> np.ndarray:
    """The rows of what was computed of sounds, where all of their numbers are finite.

    Weights that are finite and still no trained model's, such as a negative variance, give others.
    """
    wrong = np.flatnonzero(~np.isfinite(rows).all(1))
    if len(wrong):
        which = f" (that of sound {wrong[0]}, and {len(wrong)} of {len(rows)} in all)" if len(rows) > 1 else ""
        raise AudioError(f"its {what} is not finite{which}: the model's weights are no trained model's.")
    return rows
