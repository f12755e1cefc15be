"""What every front end offers."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from soundalike.core.errors import SoundalikeError, nearest

LEVELS = ("as-is", "peak")
QUIETEST_PEAK = 1e-4
MOST_RATE, MOST_FFT, MOST_BANDS, MOST_HOP, MOST_CLIP = 1_000_000, 1 << 15, 512, 1.0, 600.0
"""Limits of what a recipe may ask for, far beyond what is of use: it may be somebody else's, or a damaged file's."""


class FrontEnd(nn.Module):
    """What every front end offers: features of a training clip or of a whole clip, time on the third axis.

    A subclass sets the attributes below and writes ``features``. Frame ``i`` depends on the samples from
    ``i * hop_samples`` to ``i * hop_samples + window_samples`` alone, so a long clip can be cut anywhere.

    Attributes:
        sample_rate: samples per second that the front end expects.
        channels: input channels of the encoder that fits.
        bands: size of the frequency axis; None where there is none.
        window_samples: samples that one frame depends on.
        hop_samples: samples from one frame to the next.
        frames: frames of a training clip; None where a training clip is of any length.
        level: ``as-is``, or ``peak`` for clips that are scaled to a peak of 1 first.
    """

    sample_rate: int
    channels: int
    bands: int | None
    window_samples: int
    hop_samples: int
    frames: int | None
    level: str = "as-is"

    @property
    def clip_samples(self) -> int:
        """Samples that a training clip needs to have; a shorter one is filled up with zeros on the right."""
        return self.window_samples + ((self.frames or 1) - 1) * self.hop_samples

    def frame_count(self, samples: int) -> int:
        """How many frames ``whole`` makes of a clip of so many samples."""
        return 1 + (max(samples, self.clip_samples) - self.window_samples) // self.hop_samples

    def forward(self, waveform: Tensor) -> Tensor:
        """The features of one training clip each: the first ``frames`` frames; what follows is cut off.

        Args:
            waveform: ``(n, samples)``, in [-1, 1]; fewer than ``clip_samples`` are zero-padded on the right.

        Returns:
            ``(n, channels, frames, bands)``, or ``(n, channels, frames)`` where there is no frequency axis.

        Raises:
            SoundalikeError: the input is not a batch of waveforms.
        """
        return self.whole(waveform if self.frames is None else waveform[..., : self.clip_samples])

    def whole(self, waveform: Tensor) -> Tensor:
        """The features of clips of any length, uncut.

        Args:
            waveform: ``(n, samples)``, in [-1, 1]; fewer than ``clip_samples`` are zero-padded on the right.

        Returns:
            ``(n, channels, frame_count(samples), bands)``, or without the last axis.

        Raises:
            SoundalikeError: the input is not a batch of waveforms.
        """
        return self.features(self.prepared(waveform))

    def prepared(self, waveform: Tensor, least: int | None = None) -> Tensor:
        """Waveforms ready for ``features``: checked, scaled by their peak where ``level`` says so, not too short.

        Args:
            waveform: ``(n, samples)``.
            least: samples to which a shorter clip is zero-padded on the right; a training clip where not given.

        Returns:
            ``(n, max(samples, least))``.

        Raises:
            SoundalikeError: the input is not a batch of waveforms.
        """
        if waveform.ndim != 2 or not waveform.is_floating_point():
            raise SoundalikeError(
                f"a front end takes floating-point waveforms of shape (n, samples), not {waveform.dtype} of "
                f"shape {tuple(waveform.shape)}; mix channels down and scale integers to [-1, 1] first."
            )
        if self.level == "peak":
            # what is quieter than 16-bit noise is silence, not a sound to be amplified
            waveform = waveform / waveform.abs().amax(dim=1, keepdim=True).clamp(min=QUIETEST_PEAK)
        missing = (self.clip_samples if least is None else least) - waveform.shape[1]
        return functional.pad(waveform, (0, missing)) if missing > 0 else waveform

    def features(self, waveform: Tensor) -> Tensor:
        """The features of waveforms that are at least one training clip long."""
        raise NotImplementedError


def check_sizes(part: str, frontend: FrontEnd, fft: int = 0) -> None:
    """Makes sure that a front end takes neither a memory nor a time without end.

    Args:
        part: its name, for the sentence.
        frontend: with its attributes set.
        fft: points of its Fourier transform.

    Raises:
        SoundalikeError: a size is beyond its limit.
    """
    for name, value, most in (
        ("sample_rate", frontend.sample_rate, MOST_RATE),
        ("fft", fft, MOST_FFT),
        ("bands", frontend.bands or 1, MOST_BANDS),
        ("the length from frame to frame", frontend.hop_samples / frontend.sample_rate, MOST_HOP),
        ("the length of a training clip", frontend.clip_samples / frontend.sample_rate, MOST_CLIP),
    ):
        if value > most:
            unit = " s" if "length" in name else ""
            raise SoundalikeError(f"{part}: {name} is {value:g}{unit}; it must be at most {most:g}{unit}.")


def checked_level(part: str, level: str) -> str:
    """The level where it is one of `LEVELS`.

    Raises:
        SoundalikeError: it is another word.
    """
    if level not in LEVELS:
        raise SoundalikeError(f"{part}: level is {level!r}; {nearest(str(level), LEVELS)}")
    return level
