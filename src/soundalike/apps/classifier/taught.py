"""A classifier that was taught: an encoder, and what was learned of a few sounds, in one file."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from soundalike.apps.classifier.answer import NONE, Answer
from soundalike.apps.classifier.distance import Distance
from soundalike.apps.classifier.waveform import level, trimmed
from soundalike.audio import read
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.eval.probe.linear import LinearProbe
from soundalike.model.file import BESIDE
from soundalike.model.model import SoundModel

HEADER = "taught"
"""Where a model's file says that somebody taught it."""
SHARE = 0.05
"""Part of the taught sounds that would be called none of these if they were new: the outermost ones."""
LONG = 60.0
"""Seconds beyond which a sound is heard piece by piece and not at once."""
_PIECE = 30.0  # seconds
_FORMAT = 1
_QUIETER = 30.0  # dB below the quietest class, from where on a sound is too quiet to be heard
_TENSORS = ("mean", "scale", "weights", "bias", "axes", "centres", "distances", "piece_distances")


@dataclass(frozen=True, eq=False)
class Taught:
    """A classifier on a frozen encoder.

    Attributes:
        model: the encoder.
        probe: the classifier of its embeddings.
        distance: how far an embedding is from the taught ones.
        temperature: what logits are divided by, so that probabilities are right.
        distances: of taught clips while they were held out, sorted, (n,); empty where none could be.
        piece_distances: of windows of them, sorted, (m,).
        quietest: level of a usual clip of the quietest class, in dB of full scale.
        window: seconds of a window in a time line.
        about: the clips of each class, the estimate and the warnings, as plain data.
    """

    model: SoundModel
    probe: LinearProbe
    distance: Distance
    temperature: float
    distances: np.ndarray
    piece_distances: np.ndarray
    quietest: float
    window: float
    about: dict[str, Any]

    @property
    def classes(self) -> list[str]:
        """The labels that it can answer, besides ``NONE``."""
        return [str(label) for label in self.probe.classes]

    @property
    def faintest(self) -> float:
        """The level in dB below which a sound is none of these, whatever it is."""
        return self.quietest - _QUIETER

    def classify(self, sound: Any, sample_rate: int | None = None, none_of_these: float = SHARE) -> Answer:
        """What one sound is.

        Args:
            sound: path of an audio file, or a waveform (samples,), as `SoundModel.embed` takes it.
            sample_rate: of a waveform, in Hz; the encoder's own where not given.
            none_of_these: part of the taught sounds that may be called so; 0 turns it off.

        Raises:
            AudioError: the sound is empty, not finite, or cannot be read.
            SoundalikeError: ``none_of_these`` is not in [0, 1).
        """
        if isinstance(sound, str | Path):
            return self.classify_file(sound, none_of_these)
        rate = self.model.sample_rate if sample_rate is None else sample_rate
        return self.answers([read.prepare(sound, rate, self.model.sample_rate)], none_of_these)[0]

    def classify_file(self, path: str | Path, none_of_these: float = SHARE) -> Answer:
        """What one audio file is, of any length, in constant memory: as `classify`.

        Warns:
            TruncatedAudioWarning: if the file ends too early.
        """
        blocks = read.Blocks(path, self.model.sample_rate, _PIECE)
        kept: list[np.ndarray] = []
        pieces = iter(blocks)
        answer = None
        for piece in pieces:
            kept.append(piece)
            if sum(map(len, kept)) > LONG * self.model.sample_rate:
                answer = self._long(kept, pieces, none_of_these)
                break
        if answer is None:
            answer = self.answers([np.concatenate(kept)], none_of_these)[0]
        if blocks.note:
            warnings.warn(f"{path}: {blocks.note}", read.TruncatedAudioWarning, stacklevel=2)
        return answer

    def _long(self, first: Sequence[np.ndarray], rest: Iterable[np.ndarray], none_of_these: float) -> Answer:
        """One answer for a long sound: the mean of what its pieces are."""

        def all_of_it() -> Iterator[np.ndarray]:
            yield from first
            yield from rest

        logits, distances = [], []
        least = min(self.window, _PIECE) * self.model.sample_rate  # what is left at the end may be shorter
        for piece in all_of_it():
            if level(piece) >= self.faintest and len(piece) >= least:
                vector = self._heard([piece])
                logits.append(self._logits(vector)[0])
                distances.append(self.distance(vector)[0])
        if not logits:
            return self._answer(np.zeros(len(self.classes)), None, none_of_these, self.distances)
        return self._answer(np.mean(logits, 0), float(np.median(distances)), none_of_these, self.distances)

    def answers(
        self, waveforms: Sequence[np.ndarray], none_of_these: float = SHARE, window: bool = False
    ) -> list[Answer]:
        """What sounds are.

        Args:
            waveforms: mono, float32, (samples,) each, at the encoder's sample rate.
            none_of_these: part of the taught sounds that may be called so; 0 turns it off.
            window: whether they are windows of a longer sound.

        Returns:
            An answer for each.

        Raises:
            AudioError: an embedding is not finite.
            SoundalikeError: ``none_of_these`` is not in [0, 1).
        """
        usual = self.piece_distances if window and len(self.piece_distances) else self.distances
        heard = [row for row, waveform in enumerate(waveforms) if level(waveform) >= self.faintest]
        vectors = self._heard([waveforms[row] for row in heard])
        nothing = self._answer(np.zeros(len(self.classes)), None, none_of_these, usual)
        found = [nothing] * len(waveforms)
        if heard:
            for row, logits, far in zip(heard, self._logits(vectors), self.distance(vectors), strict=True):
                found[row] = self._answer(logits, float(far), none_of_these, usual)
        return found

    def _heard(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        vectors = self.model([trimmed(waveform, self.model.sample_rate) for waveform in waveforms])
        if not np.isfinite(vectors).all():
            raise AudioError("its embedding is not finite.")
        return vectors

    def _logits(self, vectors: np.ndarray) -> np.ndarray:
        return self.probe.logits(vectors) / self.temperature

    def _answer(self, logits: np.ndarray, far: float | None, none_of_these: float, usual: np.ndarray) -> Answer:
        if not 0 <= none_of_these < 1:
            raise SoundalikeError(f"none_of_these is {none_of_these:g}: give a part from 0 to below 1.")
        if far is None:
            return Answer(NONE, None, None, {})
        exponentials = np.exp(logits - logits.max())
        probabilities = exponentials / exponentials.sum()
        order = np.argsort(-probabilities, kind="stable")
        named = {self.classes[place]: float(probabilities[place]) for place in order}
        best = next(iter(named))
        if not len(usual):  # nothing was ever held out: there is nothing to judge a distance by
            return Answer(best, named[best], 0.0, named)
        distance = far / max(float(np.quantile(usual, 1 - SHARE)), 1e-12)
        if none_of_these > 0 and far > np.quantile(usual, 1 - none_of_these):
            return Answer(NONE, None, distance, named)
        return Answer(best, named[best], distance, named)

    def save(self, path: str | Path) -> None:
        """Writes encoder and classifier as one ``.safetensors`` file.

        Raises:
            SoundalikeError: the file cannot be written.
        """
        arrays = {
            "mean": self.probe.mean,
            "scale": self.probe.scale,
            "weights": self.probe.weights,
            "bias": self.probe.bias,
            "axes": self.distance.axes,
            "centres": self.distance.centres,
            "distances": self.distances,
            "piece_distances": self.piece_distances,
        }
        beside = {
            f"{HEADER}.{name}": torch.from_numpy(np.ascontiguousarray(array, np.float32))
            for name, array in arrays.items()
        }
        header = {
            "format": _FORMAT,
            "classes": self.classes,
            "temperature": self.temperature,
            "strength": self.probe.strength,
            "quietest": self.quietest,
            "window": self.window,
            "about": self.about,
        }
        self.model.save(path, half=True, beside=beside, header={HEADER: json.dumps(header)})

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Taught:
        """The classifier in a file that ``soundalike teach`` wrote.

        Args:
            path: the file.
            device: where its encoder shall compute.

        Raises:
            SoundalikeError: there is no such file, or it is no model, or one without a classifier.
        """
        from safetensors import safe_open

        path = Path(path)
        model = SoundModel.load(path, device)
        if path.is_dir():
            raise SoundalikeError(f"{path}: the folder of a run; give a file that soundalike teach wrote.")
        with safe_open(path, "np") as file:
            told = (file.metadata() or {}).get(HEADER)
            if told is None:
                raise SoundalikeError(
                    f"{path}: a model without a classifier; soundalike teach FOLDER --out FILE makes one."
                )
            names = {name: f"{BESIDE}{HEADER}.{name}" for name in _TENSORS}
            try:
                arrays = {name: file.get_tensor(key) for name, key in names.items()}
                header = json.loads(told)
                if header["format"] != _FORMAT:
                    raise ValueError(f"format {header['format']}")
                probe = LinearProbe(
                    classes=np.array(header["classes"], dtype=str),
                    mean=arrays["mean"],
                    scale=arrays["scale"],
                    weights=arrays["weights"],
                    bias=arrays["bias"],
                    strength=float(header["strength"]),
                    converged=True,
                )
                return cls(
                    model,
                    probe,
                    Distance(*(arrays[name] for name in ("mean", "scale", "axes", "centres"))),
                    float(header["temperature"]),
                    arrays["distances"],
                    arrays["piece_distances"],
                    float(header["quietest"]),
                    float(header["window"]),
                    header["about"],
                )
            except Exception as error:  # safetensors raises its own kinds
                raise SoundalikeError(
                    f"{path}: its classifier is not one that this version can use ({error}); teach it anew."
                ) from None


def load_taught(path: str | Path, device: str = "cpu") -> Taught:
    """The classifier in a file that ``soundalike teach`` wrote: as `Taught.load`."""
    return Taught.load(path, device)
