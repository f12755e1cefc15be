"""Noise of three colours at a drawn signal-to-noise ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from soundalike.core import random
from soundalike.core.errors import SoundalikeError, nearest
from soundalike.views.augment.augmentation import (
    Augmentation,
    Drawn,
    Range,
    between,
    check_count,
    check_range,
    chunks,
    fast_length,
    seeds,
    whole,
)

COLOURS = ("white", "pink", "brown")
"""Noise whose power falls by 0, 3 and 6 dB in each octave."""
LOWEST_HZ = 20.0
"""Below this the slope ends: else most of brown noise would be a rumble that nobody hears."""


class NoiseInjection(Augmentation):
    """Adds noise at a drawn ratio of the sound's power to the noise's, both over the whole clip.

    Silence stays silent, and nothing is clipped.

    Args:
        sample_rate: in Hz.
        snr_db: the signal-to-noise ratio in decibels, drawn uniformly.
        colour: ``white``, ``pink`` or ``brown``, or ``mixed`` for any with the same chance.
        p: the chance that a sound is changed.

    Source:
        Al-Tahan and Mohsenzadeh, "CLAR", AISTATS 2021, arXiv 2010.09542.
    """

    drawn_numbers = 4

    def __init__(
        self, sample_rate: int = 16000, snr_db: Range = (5.0, 40.0), colour: str = "mixed", p: float = 0.5
    ) -> None:
        super().__init__(p)
        self.sample_rate = check_count("sample_rate", sample_rate, 1)
        self.snr_db = check_range("snr_db", snr_db, -100.0, 200.0, " dB")
        if colour not in (*COLOURS, "mixed"):
            raise SoundalikeError(f"colour is {colour!r}: {nearest(str(colour), (*COLOURS, 'mixed'))}")
        self.colour = colour

    def _values(self, u: Tensor, size: int) -> Drawn:
        if self.colour == "mixed":
            colour = whole(u[:, 1], len(COLOURS))
        else:
            colour = torch.full_like(u[:, 1], COLOURS.index(self.colour), dtype=torch.int64)
        return {"snr_db": between(u[:, 0], self.snr_db), "colour": colour, "seed": seeds(u[:, 2:4])}

    def _transform(self, audio: Tensor, drawn: Drawn) -> Tensor:
        samples = audio.shape[1]
        key, colour = drawn["seed"].int(), drawn["colour"]
        slopes = _slopes(samples, self.sample_rate, audio.device)
        gain = (10.0 ** (drawn["snr_db"] / -20.0)).to(audio.dtype)[:, None]
        noisy = torch.empty_like(audio)
        for rows in chunks(len(audio), 2 * samples):
            sound = audio[rows]
            noise = _white_spectrum(key[rows], slopes.shape[1]).mul_(slopes.index_select(0, colour[rows]))
            noise = torch.fft.irfft(torch.view_as_complex(noise), fast_length(samples))[:, :samples].to(audio.dtype)
            loudness = torch.linalg.vector_norm(sound, dim=1) / torch.linalg.vector_norm(noise, dim=1)
            noisy[rows] = torch.addcmul(sound, noise, gain[rows] * loudness[:, None])
        return noisy


def _slopes(samples: int, sample_rate: float, device: torch.device) -> Tensor:
    """The amplitude of each frequency bin's real and imaginary part for each of `COLOURS`, (3, bins, 2)."""
    length = fast_length(samples)
    hertz = torch.arange(length // 2 + 1, device=device) * (sample_rate / length)
    powers = -0.5 * torch.arange(len(COLOURS), device=device)  # of the frequency
    amplitude = (hertz.clamp(min=LOWEST_HZ) / LOWEST_HZ) ** powers[:, None]
    return amplitude[:, :, None].repeat(1, 1, 2)


def normal_noise(key: Tensor, samples: int) -> Tensor:
    """White noise with a standard deviation of 1, normal to within what an ear or a statistic of it tells.

    Args:
        key: any numbers, int32 (n,); what `soundalike.core.random.bits` draws from.
        samples: how many.

    Returns:
        float32 (n, samples).
    """
    if len(key) == 0:  # which a Fourier transform does not take
        return torch.empty(0, samples, device=key.device)
    length = fast_length(max(samples, 64))
    # the variance of each part is (128² - 1) / 3
    spectrum = _white_spectrum(key, length // 2 + 1).mul_((2.0 * (128**2 - 1) / 3.0) ** -0.5)
    return torch.fft.irfft(torch.view_as_complex(spectrum), length, norm="ortho")[:, :samples]


def _white_spectrum(key: Tensor, bins: int) -> Tensor:
    """Real and imaginary parts, float32 (n, bins, 2): odd numbers from -127 to 127, all equally likely."""
    # They need not be normal, nor have many values: a sample of the noise is a sum of hundreds of them. So each
    # random number is cut into four bytes, whose mean is 0 as they are odd.
    words = random.bits(key, -(-bins // 2)).bitwise_or_(0x01010101)
    return words.view(torch.int8)[:, : 2 * bins].unflatten(1, (bins, 2)).float()
