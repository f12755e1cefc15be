"""The baselines: what every evaluation is held against, because on small sets they are strong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from soundalike.model.embed_files import Embedder

LOG_MEL_STATISTICS = "log-mel statistics"
UNTRAINED_ENCODER = "untrained encoder"
BASELINES = (LOG_MEL_STATISTICS, UNTRAINED_ENCODER)


def with_baselines(models: Mapping[str, Embedder], *, seed: int = 0) -> dict[str, Embedder]:
    """Models and their baselines, ready for ``evaluate``.

    Args:
        models: what to evaluate, by its name in tables.
        seed: of the untrained encoders' weights.

    Returns:
        Name to embedder: the models, the log-mel statistics, and an untrained encoder for each kind of encoder and
        read-out among those of the models that are ours.
    """
    from soundalike.model.model import SoundModel

    kinds: dict[str, tuple[str, SoundModel]] = {}
    for name, model in models.items():
        if isinstance(model, SoundModel):
            sections = model.recipe.sections
            parts = {part: sections.get(part) for part in ("frontend", "encoder", "readout")}
            kinds.setdefault(repr(parts), (name, model))  # none has a compact embedding
    named = {
        UNTRAINED_ENCODER if len(kinds) == 1 else f"{UNTRAINED_ENCODER} of {name}": model.untrained(seed)
        for name, model in kinds.values()
    }
    return {**models, LOG_MEL_STATISTICS: LogMelStatistics(), **named}


def is_baseline(name: str) -> bool:
    """Whether a representation is a baseline by its name, as `with_baselines` gives it."""
    return name == LOG_MEL_STATISTICS or name.startswith(UNTRAINED_ENCODER)


class LogMelStatistics:
    """An embedder that learns nothing: 3 × 64 statistics of the VGGish log-mel spectrogram of a whole clip.

    They are, of each band, the mean and the standard deviation over time, and the standard deviation of the
    change from one frame to the next.

    Attributes:
        sample_rate: samples per second that it expects.
    """

    def __init__(self) -> None:
        from soundalike.nn.frontend import LogMel

        self._log_mel = LogMel(frames=2)  # shorter clips are padded to two frames, the fewest with a change
        self.sample_rate = self._log_mel.sample_rate

    def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Embed whole clips.

        Args:
            waveforms: mono float32 waveforms of any lengths, in [-1, 1].

        Returns:
            float32, ``(n, 192)``.
        """
        import torch

        embeddings = np.empty((len(waveforms), 3 * (self._log_mel.bands or 0)), dtype=np.float32)
        lengths = np.array([len(waveform) for waveform in waveforms])
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length).tolist()
            batch = torch.from_numpy(np.stack([waveforms[row] for row in rows]).astype(np.float32, copy=False))
            with torch.no_grad():
                spectrogram = self._log_mel.whole(batch)[:, 0].double()  # (n, T, 64)
                change = spectrogram.diff(dim=1)  # (n, T - 1, 64)
                parts = [spectrogram.mean(1), spectrogram.std(1, correction=0), change.std(1, correction=0)]
                embeddings[rows] = torch.cat(parts, dim=1).float().numpy()
        return embeddings
