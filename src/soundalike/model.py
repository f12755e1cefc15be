"""What a person holds: a front end, an encoder and a read-out, in one file, from waveform to embedding."""

from __future__ import annotations

import json
import numbers
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from soundalike import audio
from soundalike.errors import AudioError, SoundalikeError
from soundalike.readout import Pooled
from soundalike.recipe import Parts, Recipe

FORMAT = "soundalike-1"
_HEAD, _HEARD = "head.", "recordings.heard"  # in a file: before the names of the head's weights; what was heard
_AT_ONCE = 64  # sounds of a list that are decoded before they are embedded


class SoundModel:
    """A trained encoder, ready to embed sounds of any length.

    Args:
        recipe: how it was made.
        parts: its parts; built from the recipe, with random weights, where not given.
        training: summary of the training, plain data; empty for an untrained model.
        classes: names of the classes that its head tells apart, where it was trained with labels.
        heard: `heard.fingerprints` of the recordings that it was trained on, int64 (k,), in all of its trainings.
    """

    def __init__(
        self,
        recipe: Recipe,
        parts: Parts | None = None,
        training: dict[str, Any] | None = None,
        classes: Sequence[str] = (),
        heard: np.ndarray | None = None,
    ) -> None:
        parts = recipe.build(classes=len(classes) or None) if parts is None else parts
        self.recipe, self.training = recipe, dict(training or {})
        self.head = parts.head.eval() if parts.head is not None and parts.head.classes else None
        self.classes = list(classes) if self.head is not None else []
        self.heard = np.zeros(0, np.int64) if heard is None else np.unique(heard)
        self.frontend, self.encoder, self.readout = parts.frontend.eval(), parts.encoder.eval(), parts.readout

    @property
    def sample_rate(self) -> int:
        """Samples a second that the encoder hears; other rates are resampled to it."""
        return self.frontend.sample_rate

    @property
    def size(self) -> int:
        """Length of an embedding."""
        return self.readout.size(self.frontend, self.encoder)

    @property
    def device(self) -> torch.device:
        """Where the encoder computes."""
        return next(self.encoder.parameters()).device

    def to(self, device: torch.device | str) -> SoundModel:
        """Moves the model to a device, in place.

        Raises:
            SoundalikeError: there is no such device here.
        """
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError):  # the latter where PyTorch was built without it
            raise SoundalikeError(
                f"device {str(device)!r}: PyTorch cannot use it here; give 'cpu', or 'cuda' where there is a GPU."
            ) from None
        self.frontend.to(device)
        self.encoder.to(device)
        if self.head is not None:
            self.head.to(device)
        return self

    def untrained(self, seed: int = 0) -> SoundModel:
        """The same architecture and read-out with fresh random weights: the honest floor of any evaluation."""
        return SoundModel(self.recipe, self.recipe.build(seed)).to(self.device)

    def embed(
        self, sound: str | Path | np.ndarray | Tensor | Sequence[Any], sample_rate: int | None = None
    ) -> np.ndarray:
        """Embeddings of one sound or several.

        Args:
            sound: path of an audio file; a waveform (samples,), as array, tensor or list of numbers; a batch of
                waveforms (n, samples); or a list of paths and waveforms, of any lengths. Floats lie in [-1, 1];
                integers are scaled by their full range.
            sample_rate: of the waveforms, in Hz; the model's own where not given. Files bring their own.

        Returns:
            (size,) for a path or one waveform, (n, size) for several. float32.

        Raises:
            AudioError: a sound is empty, not finite, or cannot be read.
        """
        if isinstance(sound, str | Path):
            return self([audio.load(sound, self.sample_rate)])[0]
        rate = self.sample_rate if sample_rate is None else sample_rate
        if isinstance(sound, np.ndarray | Tensor):
            if sound.ndim == 2:
                return self._several(sound, rate)
            return self([audio.prepare(sound, rate, self.sample_rate)])[0]
        if not isinstance(sound, list | tuple):
            raise AudioError(f"{type(sound).__name__} is not a sound; give a path, an array, a tensor or a list.")
        if sound and all(isinstance(item, numbers.Real) for item in sound):
            return self([audio.prepare(np.asarray(sound, np.float32), rate, self.sample_rate)])[0]
        return self._several(sound, rate)

    def _several(self, sounds: Any, sample_rate: float) -> np.ndarray:
        parts = [np.zeros((0, self.size), np.float32)]
        for start in range(0, len(sounds), _AT_ONCE):
            some = sounds[start : start + _AT_ONCE]
            parts.append(self([self._prepared(sound, sample_rate, start + i) for i, sound in enumerate(some)]))
        return np.concatenate(parts)

    def _prepared(self, sound: Any, sample_rate: float, row: int) -> np.ndarray:
        """One sound of several as a waveform at the model's rate."""
        if isinstance(sound, str | Path):
            return audio.load(sound, self.sample_rate)
        try:
            if np.ndim(sound) > 1:  # channels and batch would look alike
                raise AudioError(f"the waveform has shape {tuple(np.shape(sound))}; give (samples,).")
            return audio.prepare(sound, sample_rate, self.sample_rate)
        except AudioError as error:
            raise AudioError(f"sound {row}: {error}") from None

    def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings of waveforms at the model's sample rate.

        Args:
            waveforms: mono, float32, (samples,) each, of any lengths.

        Returns:
            (n, size), float32.
        """
        result = np.zeros((len(waveforms), self.size), np.float32)
        for rows, sounds in self._by_length(waveforms, self.readout.least_samples(self.frontend)):
            with torch.inference_mode():
                result[rows] = self.readout(self.frontend, self.encoder, sounds).cpu().numpy()
        return result

    def classify(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
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
        return result

    def _by_length(self, waveforms: Sequence[np.ndarray], least: int) -> Iterator[tuple[list[int], Tensor]]:
        """Rows of one length each and their sounds (k, samples) on the device, padded to ``least`` samples."""
        lengths = [max(len(waveform), least) for waveform in waveforms]
        for length in sorted(set(lengths)):
            rows = [row for row, own in enumerate(lengths) if own == length]
            batch = np.zeros((len(rows), length), np.float32)
            for place, row in enumerate(rows):
                batch[place, : len(waveforms[row])] = waveforms[row]
            yield rows, torch.from_numpy(batch).to(self.device)

    def save(self, path: str | Path) -> None:
        """Writes the model as one ``.safetensors`` file, recipe and training summary in its header.

        Raises:
            SoundalikeError: the file cannot be written.
        """
        from safetensors.torch import save

        import soundalike

        path = Path(path)
        header = {
            "format": FORMAT,
            "version": soundalike.__version__,
            "recipe": json.dumps(self.recipe.to_dict()),
            "training": json.dumps(self.training),
            **({"classes": json.dumps(self.classes)} if self.head is not None else {}),
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self._state().items()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(path.name + ".part")
            partial.write_bytes(save(tensors, header))
            os.replace(partial, path)  # a model is there whole or not at all
        except OSError as error:
            raise SoundalikeError(
                f"{path}: the model cannot be written there ({error.strerror}); give another place."
            ) from None

    def _state(self) -> dict[str, Tensor]:
        """Every weight by its name in the file."""
        head = {} if self.head is None else self.head.state_dict()
        heard = {_HEARD: torch.from_numpy(self.heard)} if len(self.heard) else {}
        return {**self.encoder.state_dict(), **{f"{_HEAD}{name}": tensor for name, tensor in head.items()}, **heard}

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> SoundModel:
        """The model in a ``.safetensors`` file, or in the run folder that holds ``model.safetensors``.

        Args:
            path: the file or folder.
            device: where it shall compute.

        Raises:
            SoundalikeError: there is no such file, or it is not a model or not whole.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        if path.is_dir():
            if not (path / "model.safetensors").is_file():
                raise SoundalikeError(
                    f"{path}: a folder without model.safetensors; give a model file, or the folder of a run."
                )
            path = path / "model.safetensors"
        if not path.is_file():
            raise SoundalikeError(
                f"{path}: no such model file; give one that soundalike pretrain wrote, or the folder of its run."
            )
        try:
            with safe_open(path, "pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError):
            raise SoundalikeError(
                f"{path}: not a model, or cut short; give a .safetensors file that soundalike wrote."
            ) from None
        if not header.get("format", "").startswith("soundalike-"):
            raise SoundalikeError(
                f"{path}: a .safetensors file, but not one that soundalike wrote; give another file."
            )
        if header["format"] != FORMAT:
            raise SoundalikeError(
                f"{path}: of format {header['format']}, which this version does not know; update soundalike."
            )
        heard = tensors.pop(_HEARD, None)
        try:
            model = cls(
                Recipe.from_dict(json.loads(header["recipe"])),
                training=json.loads(header["training"]),
                classes=json.loads(header.get("classes", "[]")),
                heard=None if heard is None else heard.numpy(),
            )
            of_head = {name.removeprefix(_HEAD): t for name, t in tensors.items() if name.startswith(_HEAD)}
            model.encoder.load_state_dict({name: t for name, t in tensors.items() if not name.startswith(_HEAD)})
            if model.head is not None:
                model.head.load_state_dict(of_head)
        except (SoundalikeError, LookupError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[-1].strip().rstrip(".")
            raise SoundalikeError(
                f"{path}: not a model that this version can load ({reason}); give another."
            ) from None
        return model.to(device)
