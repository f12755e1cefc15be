"""The three channels of CLAR: the powers of a short transform, its phases, and the powers of mel bands."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from soundalike.core.errors import SoundalikeError
from soundalike.nn.frontend.base import FrontEnd, check_sizes, checked_level
from soundalike.nn.frontend.mel import mel_filters

# Mean and standard deviation of powers in dB, phases in radians and mel powers in dB. Measured, then rounded: 256
# sounds of `Voice` have -9 ± 17 dB, 0.0 ± 1.8 and -2 ± 17 dB, recordings of ESC-10 -32 ± 26 dB, 0.0 ± 1.7 and
# -21 ± 25 dB, spoken words -45 ± 22 dB, 0.0 ± 1.8 and -32 ± 22 dB.
SCALES = ((-30.0, 25.0), (0.0, math.pi / math.sqrt(3)), (-20.0, 25.0))  # the root: of phases that are evenly spread
SILENCE = 1e-12  # power below which there is no phase: quieter than 24-bit noise
_BINS_AT_ONCE = 2**21  # of a spectrum on a CPU: measured, larger ones take twice the time for fresh memory


class ThreeChannels(FrontEnd):
    """Three spectrograms as the channels of one image: log power, phase, and log power of mel bands.

    The first two are of a Fourier transform at ``bands`` frequencies, evenly spaced up to half the sample rate; DC
    is left out. The third is of triangles that are evenly spaced in mel. All three come from one transform, longer
    than the window, so that every triangle holds a bin. The phase is that of the frame from its own first sample.

    Powers are clamped at ``floor``, about that of 16-bit noise, and the phase of silence is 0. Frames are not centred
    and nothing is padded at the edges. Computed in float32 also under autocast; differentiable.

    Normalised, each channel has a mean of about 0 and a standard deviation of about 1 over sounds of the synthesizer
    and recordings together: (power in dB + 30) / 25, phase / 1.81, (mel power in dB + 20) / 25. The constants are
    fixed, so a frame still depends on its own samples alone; they were measured with the default arguments.

    Source: Al-Tahan & Mohsenzadeh 2021, "CLAR: Contrastive learning of auditory representations" (arXiv
    2010.09542), section on the architecture: 16 ms windows, 8 ms stride, 128 frequencies. The clamp, the scale of the
    channels and what a phase is measured from are not theirs.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        window: float = 0.016,
        hop: float = 0.008,
        bands: int = 128,
        seconds: float | None = 1.0,
        fft: int = 1024,
        minimum_hz: float = 0.0,
        maximum_hz: float = 8000.0,
        floor: float = -80.0,
        normalise: bool = True,
        silence_is_zero: bool = False,
        level: str = "as-is",
    ) -> None:
        """Build the window and the filter bank.

        Args:
            sample_rate: in Hz.
            window: length of the Hann window, in seconds.
            hop: from one frame to the next, in seconds.
            bands: number of frequencies of every channel.
            seconds: length of a training clip; None for clips of any length.
            fft: points of the Fourier transform, a multiple of ``2 * bands``; the window is zero-padded to it.
            minimum_hz: lower edge of the lowest mel band.
            maximum_hz: upper edge of the highest mel band, at most half the sample rate.
            floor: the least power, in dB; that of a full-scale sine is 36 dB where the window has 256 samples.
            normalise: scale the channels to a mean of about 0 and a standard deviation of about 1. Otherwise powers
                are in dB and phases in radians.
            silence_is_zero: put the floor of the powers at 0, which is what convolutions pad with, and not their mean.
            level: ``as-is``, or ``peak`` to scale every clip to a peak of 1, so that how loud a recording was made
                does not matter.

        Raises:
            SoundalikeError: a value outside its range.
        """
        super().__init__()
        self.sample_rate = sample_rate
        self.channels = 3
        self.bands = bands
        self.window_samples = round(window * sample_rate)
        self.hop_samples = round(hop * sample_rate)
        for name, value, least in (
            ("sample_rate", sample_rate, "1 Hz"),
            ("window", self.window_samples, "one sample"),
            ("hop", self.hop_samples, "one sample"),
            ("bands", bands, "1"),
        ):
            if value < 1:
                raise SoundalikeError(f"clar: {name} is too small; give at least {least}.")
        self.frames = None
        if seconds is not None:
            self.frames = 1 + (round(seconds * sample_rate) - self.window_samples) // self.hop_samples
            if self.frames < 1:
                raise SoundalikeError(
                    f"clar: seconds is {seconds:g}, less than a window of {window:g} s; "
                    f"raise it, or leave it empty for clips of any length."
                )
        if fft < self.window_samples or fft % (2 * bands):
            raise SoundalikeError(
                f"clar: fft is {fft}; give a multiple of 2 * bands, {2 * bands}, and at least the window of "
                f"{self.window_samples} samples."
            )
        if not 0 <= minimum_hz < maximum_hz <= sample_rate / 2:
            raise SoundalikeError(
                f"clar: minimum_hz {minimum_hz:g} and maximum_hz {maximum_hz:g} must rise and lie between "
                f"0 and half the sample rate, {sample_rate / 2:g}."
            )
        if not -300 <= floor <= 0:
            raise SoundalikeError(f"clar: floor is {floor:g} dB; it must lie between -300 and 0.")
        self.level = checked_level("clar", level)
        self.fft = fft
        self.floor = floor
        self.normalise = normalise
        self.silence_is_zero = silence_is_zero
        check_sizes("clar", self, fft)
        filters = mel_filters(sample_rate, fft, bands, minimum_hz, maximum_hz)
        empty = int((filters.sum(0) == 0).sum())
        if empty:
            raise SoundalikeError(
                f"clar: {empty} of {bands} mel bands are narrower than the bins of a {fft}-point transform and would "
                f"stay silent; raise fft or lower bands."
            )
        hann = torch.hann_window(self.window_samples, periodic=True, dtype=torch.float64)
        self.register_buffer("window", hann.float(), persistent=False)
        self.register_buffer("filters", filters.float(), persistent=False)  # (fft // 2 + 1, bands)

    def features(self, waveform: Tensor) -> Tensor:
        """``(n, 3, T, bands)`` of waveforms ``(n, samples)`` of at least one window."""
        precision = torch.promote_types(self.window.dtype, torch.float32)  # a half-precision FFT would not do
        with torch.autocast(waveform.device.type, enabled=False):
            clips = waveform.to(precision)
            bins = (1 + (clips.shape[1] - self.window_samples) // self.hop_samples) * (self.fft // 2 + 1)
            at_once = max(1, _BINS_AT_ONCE // bins) if clips.device.type == "cpu" else max(1, len(clips))
            return torch.cat([self._channels(some) for some in clips.split(at_once)])

    def _channels(self, waveform: Tensor) -> Tensor:
        frames = waveform.unfold(1, self.window_samples, self.hop_samples) * self.window.to(waveform.dtype)
        spectrum = torch.view_as_real(torch.fft.rfft(frames, n=self.fft))  # (n, T, fft // 2 + 1, 2)
        real, imaginary = spectrum.unbind(3)
        power = real * real + imaginary * imaginary  # (n, T, fft // 2 + 1)
        mel = power @ self.filters.to(power.dtype)  # (n, T, bands)
        step = self.fft // (2 * self.filters.shape[1])
        real, imaginary, power = (part[..., step::step] for part in (real, imaginary, power))
        quiet = power < SILENCE  # has no phase, and no gradient of one
        phase = torch.atan2(imaginary.masked_fill(quiet, 0.0), real.masked_fill(quiet, 1.0))
        least = 10 ** (self.floor / 10)
        decibels, of_mel = (10 * part.clamp_min(least).log10() for part in (power, mel))
        channels = zip((decibels, phase, of_mel), SCALES, (True, False, True), strict=True)
        return torch.stack([self._scaled(*channel) for channel in channels], dim=1)

    def _scaled(self, channel: Tensor, scale: tuple[float, float], has_floor: bool) -> Tensor:
        mean, deviation = scale if self.normalise else (0.0, 1.0)
        return (channel - (self.floor if has_floor and self.silence_is_zero else mean)) / deviation
