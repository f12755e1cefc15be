"""Masks on spectrograms."""

from __future__ import annotations

import torch
from torch import Tensor

from soundalike.views.augment.augmentation import Augmentation, Drawn, check_count, check_number, whole


class SpecAugment(Augmentation):
    """Masks bands of frequencies and stretches of frames of a spectrogram, the same in all channels.

    Each mask's width is uniform from 0 to the widest, its place uniform. Masks may overlap; those of the defaults
    hide seven cells of ten of 96 frames and 64 bands.

    Args:
        time_masks: how many stretches of frames.
        time_width: the widest, in frames.
        band_masks: how many bands of frequencies.
        band_width: the widest, in bands.
        fill: what masked values become: a number, or ``mean`` for the mean of the sound's spectrogram.
        time_part: the part of all frames that one stretch hides at most, in [0, 1].
        band_part: the part of all bands that one band of frequencies hides at most, in [0, 1].
        p: the chance that a sound is changed.

    Source:
        Park et al., "SpecAugment", Interspeech 2019, arXiv 1904.08779, without its warping of time, but with its limit
        on the part of a time mask (its p); numbers, widths and p = 0.4 of Cherep and Singh's configuration, arXiv
        2406.05923, in which p limits time and band masks alike and each sound is masked.
    """

    axes = 4

    def __init__(
        self,
        time_masks: int = 4,
        time_width: int = 40,
        band_masks: int = 2,
        band_width: int = 20,
        fill: float | str = "mean",
        time_part: float = 0.4,
        band_part: float = 0.4,
        p: float = 1.0,
    ) -> None:
        super().__init__(p)
        self.time_masks, self.time_width = check_count("time_masks", time_masks), check_count("time_width", time_width)
        self.band_masks, self.band_width = check_count("band_masks", band_masks), check_count("band_width", band_width)
        self.fill = None if fill == "mean" else check_number("fill", fill, -1e6, 1e6)
        self.time_part = check_number("time_part", time_part, 0.0, 1.0)
        self.band_part = check_number("band_part", band_part, 0.0, 1.0)
        self.drawn_numbers = 2 * (self.time_masks + self.band_masks)

    def _values(self, u: Tensor, size: tuple[int, int]) -> Drawn:
        frames, bands = size
        split = 2 * self.time_masks
        time_start, time_width = _placed(u[:, :split], min(self.time_width, int(frames * self.time_part)), frames)
        band_start, band_width = _placed(u[:, split:], min(self.band_width, int(bands * self.band_part)), bands)
        return {
            "time_start": time_start,  # (n, time_masks), frames
            "time_width": time_width,
            "band_start": band_start,  # (n, band_masks), bands
            "band_width": band_width,
        }

    def _transform(self, audio: Tensor, drawn: Drawn) -> Tensor:
        time = _covered(drawn["time_start"], drawn["time_width"], audio.shape[2])
        band = _covered(drawn["band_start"], drawn["band_width"], audio.shape[3])
        hidden = (time[:, :, None] | band[:, None, :])[:, None]  # (n, 1, frames, bands)
        if self.fill is None:
            return torch.where(hidden, audio.mean(dim=(1, 2, 3), keepdim=True), audio)
        return audio.masked_fill(hidden, self.fill)


class SpectrogramMask(SpecAugment):
    """Masks one band of frequencies and one stretch of frames of a spectrogram.

    Args:
        time_width: the widest stretch, in frames.
        band_width: the widest band, in bands.
        fill: as in `SpecAugment`.
        time_part: the part of all frames that the stretch hides at most, in [0, 1].
        p: the chance that a sound is changed.

    Source:
        Cherep and Singh's configuration, arXiv 2406.05923, whose p = 0.2 limits the stretch of frames alone. It fills
        with 0, which in its log-mel spectrogram is loud; here the fill is the mean, and ``fill: 0`` gives theirs.
    """

    def __init__(
        self,
        time_width: int = 40,
        band_width: int = 40,
        fill: float | str = "mean",
        time_part: float = 0.2,
        p: float = 1.0,
    ) -> None:
        super().__init__(1, time_width, 1, band_width, fill, time_part, 1.0, p)


def _placed(u: Tensor, widest: int, length: int) -> tuple[Tensor, Tensor]:
    """Starts and widths (n, masks) from uniform numbers (n, 2 · masks)."""
    for_width, for_start = u.unflatten(1, (2, u.shape[1] // 2)).unbind(1)
    width = whole(for_width, min(widest, length) + 1)
    return whole(for_start, length - width + 1), width


def _covered(start: Tensor, width: Tensor, length: int) -> Tensor:
    """Which of ``length`` positions lie in a mask of a sound, bool (n, length)."""
    position = torch.arange(length, device=start.device)[:, None]
    return ((position >= start[:, None]) & (position < (start + width)[:, None])).any(dim=2)
