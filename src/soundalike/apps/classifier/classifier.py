"""The sound classifier: an encoder, a linear probe and a rejection threshold, in one file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch

from soundalike.apps.classifier.distance import Distance, threshold
from soundalike.apps.classifier.overlapping import LEAST
from soundalike.apps.classifier.waveform import level, trimmed
from soundalike.audio import read
from soundalike.audio.arrays import prepared, several, waveforms_of
from soundalike.audio.segment import Segment
from soundalike.audio.stream import LongSound, open_sound
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.eval.probe.linear import LinearProbe
from soundalike.model import file
from soundalike.model.model import SoundModel
from soundalike.model.stored import INCONSISTENT

HEADER = "classifier"
"""Key of the header, and prefix of the tensors, under which a model's file holds a classifier."""
SHARE = 0.05
"""Share of new sounds of the taught classes that may be called none of these, unless another is asked for."""
LONG = 60.0
"""Seconds beyond which a sound is embedded piece by piece and not at once."""
_PIECE = 30.0  # seconds
_FORMAT, _OVERLAPPING = 2, 3  # the latter of classes that may be heard at once, which the former would not know
_QUIETER = 30.0  # dB below the quietest class, from where on a sound is too quiet to be classified
_TENSORS = ("mean", "scale", "weights", "bias", "axes", "centres", "distances", "window_distances")


NONE = "none of these"
"""The label of a sound that is far from all classes."""


@dataclass(frozen=True)
class Prediction:
    """What a classifier predicts for one sound.

    Attributes:
        label: its class, or ``NONE``.
        probability: of the class; None where it is none of these.
        distance: from the training set; beyond 1 it is none of these, unless that was asked for otherwise. None of a
            sound that is too quiet to be classified, and where rejection is not calibrated.
        probabilities: of every class if it is one of them, the largest first; empty where it is too quiet.
        labels: all classes that are heard, the most probable first: ``label`` alone unless several may be at once.
    """

    label: str
    probability: float | None
    distance: float | None
    probabilities: dict[str, float]
    labels: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether it is one of the classes."""
        return self.probability is not None


@dataclass(frozen=True, eq=False)
class SoundClassifier:
    """A classifier on a frozen encoder.

    Attributes:
        model: the encoder.
        probe: the classifier of its embeddings.
        distance: of an embedding from the training set.
        temperature: what logits are divided by, so that probabilities are right.
        distances: what `calibrate` made of the training clips', sorted, (n,); empty where rejection is not calibrated.
        window_distances: of windows of them, sorted, (m,).
        quietest: level of a usual clip of the quietest class, in dB of full scale.
        window: seconds of a window in a time line.
        about: the clips of each class, the estimate and the warnings, as plain data.
        overlap: whether several classes may be heard at once: each has a probability of its own then.
    """

    model: SoundModel
    probe: LinearProbe
    distance: Distance
    temperature: float
    distances: np.ndarray
    window_distances: np.ndarray
    quietest: float
    window: float
    about: dict[str, Any]
    overlap: bool = False

    @property
    def classes(self) -> list[str]:
        """The labels that it can predict, besides ``NONE``."""
        return [str(label) for label in self.probe.classes]

    @property
    def calibrated(self) -> bool:
        """Whether sounds that are far from all classes are called ``NONE``; else only those that are too quiet."""
        return len(self.distances) > 0

    @property
    def quiet_limit(self) -> float:
        """The level in dB below which a sound is none of these, whatever it is."""
        return self.quietest - _QUIETER

    @overload
    def classify(
        self,
        sound: str | os.PathLike[str] | Segment | np.ndarray | torch.Tensor | tuple[Any, float],
        sample_rate: float | None = None,
        none_of_these: float = SHARE,
    ) -> Prediction: ...

    @overload
    def classify(
        self, sound: list[Any] | Iterator[Any], sample_rate: float | None = None, none_of_these: float = SHARE
    ) -> list[Prediction]: ...

    def classify(
        self, sound: Any, sample_rate: float | None = None, none_of_these: float = SHARE
    ) -> Prediction | list[Prediction]:
        """The prediction for one sound, or for each of several.

        Args:
            sound: what `SoundModel.embed` takes: the path of an audio file, a `Segment` of one, a waveform (samples,)
                or with at most 8 channels, a pair of a waveform and its rate; or a list of such.
            sample_rate: of waveforms, in Hz; the encoder's own where not given.
            none_of_these: share of sounds of the classes that may be called ``NONE``; 0 turns rejection off.

        Returns:
            A `Prediction` of one sound, a list of them of several.

        Raises:
            AudioError: a sound is empty, not finite, or cannot be read; or an array can be taken for several things.
            SoundalikeError: ``none_of_these`` is not in [0, 1).

        Warns:
            SoundWarning: a sound is used though it is not whole, silent, above what is heard, or its channels cancel.
        """
        sounds = several(sound)
        if sounds is None:
            return self._classify(sound, sample_rate, none_of_these)
        return [self._classify(each, sample_rate, none_of_these, row) for row, each in enumerate(sounds)]

    def _classify(
        self, sound: Any, sample_rate: float | None, none_of_these: float, row: int | None = None
    ) -> Prediction:
        """The prediction for one sound; ``row`` is its place among several."""
        if isinstance(sound, str | os.PathLike | Segment):
            return self.classify_file(sound if isinstance(sound, Segment) else os.fspath(sound), none_of_these)
        waveform = prepared(sound, self.model.sample_rate, sample_rate, row, stacklevel=4)
        return self.predict_many([waveform], none_of_these)[0]

    def classify_file(self, path: str | Path | Segment, none_of_these: float = SHARE) -> Prediction:
        """The prediction for one audio file, or a segment of one, of any length, in constant memory: as `classify`.

        Warns:
            TruncatedAudioWarning: if the file ends too early.
        """
        sound, note = open_sound(path, self.model.sample_rate)
        prediction = self.prediction(self.scores([sound])[0], none_of_these)
        read.warn(path, note, stacklevel=3)
        return prediction

    def predict_many(
        self, waveforms: Sequence[np.ndarray], none_of_these: float = SHARE, window: bool = False
    ) -> list[Prediction]:
        """The predictions for several sounds.

        Args:
            waveforms: mono, float32, (samples,) each, at the encoder's sample rate.
            none_of_these: share of sounds of the classes that may be called ``NONE``; 0 turns rejection off.
            window: whether they are windows of a longer sound.

        Returns:
            A prediction for each.

        Raises:
            AudioError: an embedding is not finite.
            SoundalikeError: ``none_of_these`` is not in [0, 1).
        """
        return [self.prediction(row, none_of_these, window) for row in self.scores(waveforms_of(waveforms))]

    @property
    def score_size(self) -> int:
        """Length of a row of `scores`."""
        return 2 + len(self.classes)

    def scores(self, sounds: Sequence[np.ndarray | LongSound]) -> np.ndarray:
        """What predictions are made of: rows (n, 2 + classes), float64.

        A row holds 1 where the sound is audible, otherwise 0 and zeros; its distance from the training set; and a
        logit for each class. Those of a sound of more than a minute are the mean of its pieces', and the distance is
        their median.

        Args:
            sounds: mono, float32, (samples,) each, at the encoder's sample rate; or files that are read meanwhile.

        Raises:
            AudioError: an embedding is not finite.
        """
        rows = np.zeros((len(sounds), self.score_size))
        short = [
            row
            for row, sound in enumerate(sounds)
            if isinstance(sound, np.ndarray) and len(sound) <= LONG * self.model.heard_rate
        ]
        audible = [row for row in short if level(sounds[row]) >= self.quiet_limit]  # type: ignore[arg-type]
        if audible:
            vectors = self._embed([sounds[row] for row in audible])  # type: ignore[misc]
            rows[audible] = np.column_stack([np.ones(len(audible)), self.distance(vectors), self._logits(vectors)])
        for row in set(range(len(sounds))) - set(short):
            pieces = np.array([own for piece in self._pieces(sounds[row]) for own in self.scores([piece]) if own[0]])
            if len(pieces):
                rows[row] = pieces.mean(0)
                rows[row, 1] = np.median(pieces[:, 1])
        return rows

    def _pieces(self, sound: np.ndarray | LongSound) -> Iterator[np.ndarray]:
        size = round(_PIECE * self.model.heard_rate)
        for first in range(0, len(sound), size):
            piece = sound[first : first + size] if isinstance(sound, np.ndarray) else sound.read(first, first + size)
            # what is left at the end may be shorter
            if len(piece) >= min(self.window * self.model.sample_rate, size):
                yield piece

    def _embed(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        vectors = self.model([trimmed(waveform, self.model.heard_rate) for waveform in waveforms])
        if not np.isfinite(vectors).all():
            raise AudioError("its embedding is not finite.")
        return vectors

    def _logits(self, vectors: np.ndarray) -> np.ndarray:
        return self.probe.logits(vectors) / self.temperature

    def class_probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Probabilities of the classes (n, classes) for embeddings (n, D) of sounds that are taken for one of them."""
        return self._of_logits(self._logits(vectors))

    def prediction(self, scores: np.ndarray, none_of_these: float = SHARE, window: bool = False) -> Prediction:
        """The prediction that a row of `scores` makes.

        Args:
            scores: (2 + classes,).
            none_of_these: share of sounds of the classes that may be called ``NONE``; 0 turns rejection off.
            window: whether they are of a window of a longer sound.

        Raises:
            SoundalikeError: ``none_of_these`` is not in [0, 1).
        """
        distance, near = self._nearness(scores, none_of_these, window)
        if not scores[0]:
            return Prediction(NONE, None, None, {})
        probabilities = self.probabilities(scores)
        order = np.argsort(-probabilities, kind="stable")
        named = {self.classes[place]: float(probabilities[place]) for place in order}
        heard = [label for label, p in named.items() if p >= LEAST] if self.overlap else list(named)[:1]
        if not near or not heard:
            return Prediction(NONE, None, distance, named)
        return Prediction(heard[0], named[heard[0]], distance, named, tuple(heard))

    def is_heard(self, scores: np.ndarray, none_of_these: float = SHARE, window: bool = False) -> bool:
        """Whether a sound is loud enough to be any class, and near enough to the classes: as `prediction` takes it."""
        return bool(scores[0]) and self._nearness(scores, none_of_these, window)[1]

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Of each class, (classes,), if a sound is one of them: of a row of `scores`."""
        return self._of_logits(scores[2:])

    def _of_logits(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities of the classes, in the last dimension."""
        if self.overlap:
            return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return exponentials / exponentials.sum(axis=-1, keepdims=True)

    def _nearness(self, scores: np.ndarray, none_of_these: float, window: bool) -> tuple[float | None, bool]:
        """The distance in parts of the usual limit, None where none is known; and whether it is below what is asked.

        Raises:
            SoundalikeError: ``none_of_these`` is not in [0, 1).
        """
        if not 0 <= none_of_these < 1:
            raise SoundalikeError(f"none_of_these is {none_of_these:g}: give a part from 0 to below 1.")
        usual = self.window_distances if window and len(self.window_distances) else self.distances
        if not len(usual):
            return None, True
        far = float(scores[1])
        return far / threshold(usual, SHARE), none_of_these == 0 or far <= threshold(usual, none_of_these)

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
            "window_distances": self.window_distances,
        }
        beside = {
            f"{HEADER}.{name}": torch.from_numpy(np.ascontiguousarray(array, np.float32))
            for name, array in arrays.items()
        }
        header = {
            "format": _OVERLAPPING if self.overlap else _FORMAT,
            "classes": self.classes,
            "temperature": self.temperature,
            "strength": self.probe.strength,
            "quietest": self.quietest,
            "window": self.window,
            "report": self.about,
        }
        self.model.save(path, half=True, beside=beside, header={HEADER: json.dumps(header)})

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> SoundClassifier:
        """The classifier in a file that ``soundalike teach`` wrote.

        Args:
            path: the file.
            device: where its encoder shall compute.

        Raises:
            SoundalikeError: there is no such file, or it is no model, or one without a classifier.
        """
        contents = file.read(path)
        model = SoundModel.of(contents, device)
        if Path(path).is_dir():
            raise SoundalikeError(f"{path}: the folder of a run; give a file that soundalike teach wrote.")
        if HEADER not in contents.header:
            raise SoundalikeError(
                f"{path}: a model without a classifier; soundalike teach FOLDER --out FILE makes one."
            )
        try:
            return _classifier(cls, model, json.loads(contents.header[HEADER]), contents.beside)
        except (SoundalikeError, *INCONSISTENT) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise SoundalikeError(
                f"{path}: its classifier is not one that this version can use ({reason}); teach it anew."
            ) from None


def _classifier(
    kind: type[SoundClassifier], model: SoundModel, header: dict[str, Any], beside: dict[str, torch.Tensor]
) -> SoundClassifier:
    """A classifier out of what a file has of it.

    Raises:
        ValueError: its parts do not fit together, or a number is not finite or out of its range.
        LookupError: a part is missing.
        TypeError: a part is of another kind.
    """
    if header["format"] not in (_FORMAT, _OVERLAPPING):
        raise ValueError(f"format {header['format']}")
    overlap = header["format"] == _OVERLAPPING
    classes, tensors = header["classes"], {name: beside[f"{HEADER}.{name}"] for name in _TENSORS}
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError("its classes are no names")
    if len(classes) < 2 or len({*classes}) < len(classes):
        raise ValueError(f"it has {len({*classes})} classes of {len(classes)} names, and needs two or more")
    if not isinstance(header["report"], dict):
        raise ValueError("its report is none")
    for name, tensor in tensors.items():
        file.check_numbers(name, tensor)
    axes = tensors["axes"].shape[-1]
    shapes = {
        "mean": (model.size,),
        "scale": (model.size,),
        "weights": (model.size, len(classes)),
        "bias": (len(classes),),
        "axes": (model.size, axes),
        "centres": (max(1, len(tensors["centres"])) if overlap else len(classes), axes),
        "distances": (len(tensors["distances"]),),
        "window_distances": (len(tensors["window_distances"]),),
    }
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise ValueError(
                f"{name} has the shape {tuple(tensors[name].shape)}, and {len(classes)} classes and embeddings of "
                f"{model.size} numbers make it {shape}"
            )
    numbers = {name: float(header[name]) for name in ("strength", "temperature", "quietest", "window")}
    for name, value in numbers.items():
        if not math.isfinite(value) or (name in ("temperature", "window") and value <= 0):
            raise ValueError(f"its {name} is {value:g}")
    arrays = {name: tensor.float().numpy() for name, tensor in tensors.items()}
    for name in ("distances", "window_distances"):
        if (np.diff(arrays[name]) < 0).any():
            raise ValueError(f"its {name} are not sorted")
    probe = LinearProbe(
        classes=np.array(classes, dtype=str),
        mean=arrays["mean"],
        scale=arrays["scale"],
        weights=arrays["weights"],
        bias=arrays["bias"],
        strength=numbers["strength"],
        converged=True,
    )
    return kind(
        model,
        probe,
        Distance(probe, arrays["axes"], arrays["centres"]),
        numbers["temperature"],
        arrays["distances"],
        arrays["window_distances"],
        numbers["quietest"],
        numbers["window"],
        header["report"],
        overlap,
    )


def is_taught(path: str | Path) -> bool:
    """Whether a model's file holds a classifier, and not an encoder alone; False of what is no file.

    Raises:
        SoundalikeError: it is no model that can be read.
    """
    return Path(path).is_file() and HEADER in file.read(Path(path)).header


def load_classifier(path: str | Path, device: str = "cpu") -> SoundClassifier:
    """The classifier in a file that ``soundalike teach`` wrote: as `SoundClassifier.load`."""
    return SoundClassifier.load(path, device)
