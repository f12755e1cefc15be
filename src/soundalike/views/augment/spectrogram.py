"""Masks on spectrograms."""

from __future__ import annotations

import torch
from torch import Tensor

from soundalike.views.augment.augmentation import Augmentation, Drawn, check_count, check_number, whole


class SpecAugment(Augmentation):
    """Masks bands of frequencies and stretches of frames of a spectrogram, the same in all channels.

    Each mask's width is uniform from 0 to the widest, its place uniform.

    Args:
        time_masks: how many stretches of frames.
        time_width: the widest, in frames.
        band_masks: how many bands of frequencies.
        band_width: the widest, in bands.
        fill: what masked values become.
        p: the chance that a sound is changed.

    Source:
        Park et al., "SpecAugment", Interspeech 2019, arXiv 1904.08779, without its warping of time; numbers and
        widths of Cherep and Singh, arXiv 2406.05923.
    """

    axes = 4

    def __init__(
        self,
        time_masks: int = 4,
        time_width: int = 40,
        band_masks: int = 2,
        band_width: int = 20,
        fill: float = 0.0,
        p: float = 0.4,
    ) -> None:
        super().__init__(p)
        self.time_masks, self.time_width = check_count("time_masks", time_masks), check_count("time_width", time_width)
        self.band_masks, self.band_width = check_count("band_masks", band_masks), check_count("band_width", band_width)
        self.fill = check_number("fill", fill, -1e6, 1e6)
        self.drawn_numbers = 2 * (self.time_masks + self.band_masks)

    def _values(self, u: Tensor, size: tuple[int, int]) -> Drawn:
        frames, bands = size
        split = 2 * self.time_masks
        time_start, time_width = _placed(u[:, :split], self.time_width, frames)
        band_start, band_width = _placed(u[:, split:], self.band_width, bands)
        return {
            "time_start": time_start,  # (n, time_masks), frames
            "time_width": time_width,
            "band_start": band_start,  # (n, band_masks), bands
            "band_width": band_width,
        }

    def _transform(self, audio: Tensor, drawn: Drawn) -> Tensor:
        time = _covered(drawn["time_start"], drawn["time_width"], audio.shape[2])
        band = _covered(drawn["band_start"], drawn["band_width"], audio.shape[3])
        return audio.masked_fill((time[:, :, None] | band[:, None, :])[:, None], self.fill)


class SpectrogramMask(SpecAugment):
    """Masks one band of frequencies and one stretch of frames of a spectrogram.

    Args:
        time_width: the widest stretch, in frames.
        band_width: the widest band, in bands.
        fill: what masked values become.
        p: the chance that a sound is changed.

    Source:
        Cherep and Singh, arXiv 2406.05923.
    """

    def __init__(self, time_width: int = 40, band_width: int = 40, fill: float = 0.0, p: float = 0.2) -> None:
        super().__init__(1, time_width, 1, band_width, fill, p)


def _placed(u: Tensor, widest: int, length: int) -> tuple[Tensor, Tensor]:
    """Starts and widths (n, masks) from uniform numbers (n, 2 · masks)."""
    for_width, for_start = u.unflatten(1, (2, u.shape[1] // 2)).unbind(1)
    width = whole(for_width, min(widest, length) + 1)
    return whole(for_start, length - width + 1), width


def _covered(start: Tensor, width: Tensor, length: int) -> Tensor:
    """Which of ``length`` positions lie in a mask of a sound, bool (n, length)."""
    position = torch.arange(length, device=start.device)[:, None]
    return ((position >= start[:, None]) & (position < (start + width)[:, None])).any(dim=2)
