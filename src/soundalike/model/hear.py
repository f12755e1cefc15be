"""The HEAR API: the common interface by which audio embeddings are evaluated, ``--model soundalike.model.hear``.

Source: Turian et al. 2022, "HEAR: Holistic Evaluation of Audio Representations" (arXiv 2203.03022), and the common
API at hearbenchmark.com.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import soundalike
from soundalike.audio.arrays import FEW
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.model.frames import timestamp_embeddings
from soundalike.model.model import SoundModel


class HearModel(nn.Module):
    """A model as the HEAR API wants it: a module that a device can be chosen for.

    Attributes:
        sample_rate: of the audio that it takes, in Hz.
        scene_embedding_size: length of an embedding of a whole sound.
        timestamp_embedding_size: length of an embedding of a moment.
    """

    def __init__(self, model: SoundModel) -> None:
        super().__init__()
        self.frontend, self.encoder = model.frontend, model.encoder
        self.model = model
        self.sample_rate: int = int(model.sample_rate)
        self.scene_embedding_size: int = int(model.size)
        self.timestamp_embedding_size: int = int(model.size)
        self.eval()

    def train(self, mode: bool = True) -> HearModel:
        """Stays in evaluation mode: in the other one, an embedding would depend on what is embedded beside it."""
        super().train(False)
        return self

    def forward(self, audio: Tensor) -> Tensor:
        """Scene embeddings, as `get_scene_embeddings`."""
        return get_scene_embeddings(audio, self)


def load_model(model_file_path: str = "") -> HearModel:
    """The model to be evaluated.

    Args:
        model_file_path: a ``.safetensors`` file that ``soundalike`` wrote, the folder of a run, or the name of a
            shipped model; where empty, the model that ships with the package.

    Returns:
        It, on the CPU; ``.to`` moves it.

    Raises:
        SoundalikeError: there is no such file, or it is not a model or not whole.
    """
    return HearModel(soundalike.load(model_file_path or None))


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """One embedding of each whole sound.

    Args:
        audio: ``(n_sounds, n_samples)``, in [-1, 1], at ``model.sample_rate``. The API says that these are mono
            sounds, however few: those of a sound with channels are mixed before.
        model: what `load_model` gave.

    Returns:
        ``(n_sounds, model.scene_embedding_size)``, float32, on the model's device.

    Raises:
        SoundalikeError: the audio is not a batch of waveforms, or the model is another.
        AudioError: the audio is empty or not finite.
    """
    audio = _checked(audio, model)
    return torch.from_numpy(model.model(list(audio.cpu().numpy()))).to(audio.device)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Embeddings of each sound at moments 50 ms apart, of the half second around each.

    Args:
        audio: ``(n_sounds, n_samples)``, in [-1, 1], at ``model.sample_rate``.
        model: what `load_model` gave.

    Returns:
        Embeddings ``(n_sounds, n_timestamps, model.timestamp_embedding_size)``, and the moments in milliseconds from
        the start of the sound ``(n_sounds, n_timestamps)``; both float32, on the model's device.

    Raises:
        SoundalikeError: the audio is not a batch of waveforms, or the model is another.
        AudioError: the audio is empty or not finite.
    """
    audio = _checked(audio, model)
    embeddings, moments = timestamp_embeddings(model.model, audio)
    return embeddings, (1000.0 * moments).float().to(audio.device).repeat(len(audio), 1)


def _checked(audio: Tensor, model: HearModel) -> Tensor:
    """The audio on the device of the model."""
    if not isinstance(model, HearModel):
        raise SoundalikeError(
            f"{type(model).__name__} is not a model of soundalike.model.hear: give what load_model gave."
        )
    if not isinstance(audio, Tensor) or audio.ndim != 2 or not audio.is_floating_point():
        shape = tuple(getattr(audio, "shape", ()))
        raise SoundalikeError(
            f"the audio is of type {getattr(audio, 'dtype', type(audio).__name__)} and shape {shape}: give a "
            f"floating-point tensor (n_sounds, n_samples)."
        )
    if len(audio) > FEW >= audio.shape[1] > 1:
        raise SoundalikeError(
            f"the audio has shape {tuple(audio.shape)}, which is one sound with {audio.shape[1]} channels: give a "
            f"tensor (n_sounds, n_samples), as audio.mean(1)[None]."
        )
    if audio.shape[1] == 0:
        raise AudioError("the audio is empty: give at least one sample a sound.")
    finite = audio.isfinite().all(1)
    if not finite.all():
        raise AudioError(f"sound {int((~finite).nonzero()[0])}: the audio holds NaN or infinite samples.")
    return audio.to(model.model.device, torch.float32)
