"""What a person holds: a front end, an encoder and a read-out, in one file, from waveform to embedding."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from soundalike import audio
from soundalike.errors import SoundalikeError
from soundalike.recipe import Parts, Recipe

FORMAT = "soundalike-1"


class SoundModel:
    """A trained encoder, ready to embed sounds of any length.

    Args:
        recipe: how it was made.
        parts: its parts; built from the recipe, with random weights, where not given.
        training: summary of the training, plain data; empty for an untrained model.
    """

    def __init__(self, recipe: Recipe, parts: Parts | None = None, training: dict[str, Any] | None = None) -> None:
        parts = recipe.build() if parts is None else parts
        self.recipe, self.training = recipe, dict(training or {})
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
        """Moves the model to a device, in place."""
        self.frontend.to(device)
        self.encoder.to(device)
        return self

    def untrained(self, seed: int = 0) -> SoundModel:
        """The same architecture and read-out with fresh random weights: the honest floor of any evaluation."""
        return SoundModel(self.recipe, self.recipe.build(seed))

    def embed(
        self, sound: str | Path | np.ndarray | Tensor | Sequence[Any], sample_rate: int | None = None
    ) -> np.ndarray:
        """Embeddings of one sound or several.

        Args:
            sound: path of an audio file; a waveform (samples,); a batch of waveforms (n, samples), numbers in
                [-1, 1]; or a list of any of these, of any lengths.
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
                return self([audio.prepare(row, rate, self.sample_rate) for row in sound])
            return self([audio.prepare(sound, rate, self.sample_rate)])[0]
        if not sound:
            return np.zeros((0, self.size), np.float32)
        if all(isinstance(item, int | float) for item in sound):
            return self([audio.prepare(np.asarray(sound, np.float32), rate, self.sample_rate)])[0]
        return np.stack([self.embed(item, rate) for item in sound])

    def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings of waveforms at the model's sample rate.

        Args:
            waveforms: mono, float32, (samples,) each, of any lengths.

        Returns:
            (n, size), float32.
        """
        result = np.zeros((len(waveforms), self.size), np.float32)
        # Short clips are padded to a training clip, so most of a folder of short sounds is of one length.
        lengths = [max(len(waveform), self.frontend.clip_samples) for waveform in waveforms]
        for length in sorted(set(lengths)):
            rows = [row for row, own in enumerate(lengths) if own == length]
            batch = np.zeros((len(rows), length), np.float32)
            for place, row in enumerate(rows):
                batch[place, : len(waveforms[row])] = waveforms[row]
            with torch.inference_mode():
                sounds = torch.from_numpy(batch).to(self.device)
                result[rows] = self.readout(self.frontend, self.encoder, sounds).cpu().numpy()
        return result

    def save(self, path: str | Path) -> None:
        """Writes the model as one ``.safetensors`` file, recipe and training summary in its header.

        Raises:
            SoundalikeError: the file cannot be written.
        """
        from safetensors.torch import save_file

        import soundalike

        path = Path(path)
        header = {
            "format": FORMAT,
            "version": soundalike.__version__,
            "recipe": json.dumps(self.recipe.to_dict()),
            "training": json.dumps(self.training),
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.encoder.state_dict().items()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(path.name + ".part")
            save_file(tensors, partial, header)
            os.replace(partial, path)  # a model is there whole or not at all
        except OSError as error:
            raise SoundalikeError(f"{path}: the model cannot be written there ({error.strerror}).") from None

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
                raise SoundalikeError(f"{path}: a folder without model.safetensors; give a model file.")
            path = path / "model.safetensors"
        if not path.is_file():
            raise SoundalikeError(f"{path}: no such model file.")
        try:
            with safe_open(path, "pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError) as error:
            raise SoundalikeError(
                f"{path}: not a model, or cut short ({error}); give a .safetensors file that soundalike wrote."
            ) from None
        if not header.get("format", "").startswith("soundalike-"):
            raise SoundalikeError(f"{path}: a .safetensors file, but not one that soundalike wrote.")
        if header["format"] != FORMAT:
            raise SoundalikeError(f"{path}: of format {header['format']}, newer than {FORMAT}: update soundalike.")
        try:
            model = cls(Recipe.from_dict(json.loads(header["recipe"])), training=json.loads(header["training"]))
            model.encoder.load_state_dict(tensors)
        except (KeyError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise SoundalikeError(f"{path}: header and weights do not fit each other ({reason}).") from None
        return model.to(device)
