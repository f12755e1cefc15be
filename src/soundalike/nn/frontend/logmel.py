"""The log-mel spectrogram of VGGish."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor
from torch.nn import functional

from soundalike.core.errors import SoundalikeError
from soundalike.nn.frontend.base import FrontEnd, check_sizes, checked_level
from soundalike.nn.frontend.mel import mel_filters


class LogMel(FrontEnd):
    """The log-mel spectrogram of VGGish: magnitudes, HTK mel bands, log(x + offset).

    Frames are not centred and nothing is padded at the edges, so one second at 16 kHz gives 98 frames, of
    which a training clip keeps the first 96. Computed in float32 also under autocast; differentiable.

    Source: Hershey et al. 2017, "CNN architectures for large-scale audio classification" (arXiv
    1609.09430), with the constants of the published VGGish model.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        window: float = 0.025,
        hop: float = 0.010,
        fft: int = 512,
        bands: int = 64,
        minimum_hz: float = 125.0,
        maximum_hz: float = 7500.0,
        offset: float = 0.01,
        frames: int | None = 96,
        silence_is_zero: bool = False,
        level: str = "as-is",
    ) -> None:
        """Build the window and the filter bank.

        Args:
            sample_rate: in Hz.
            window: length of the Hann window, in seconds.
            hop: from one frame to the next, in seconds.
            fft: points of the Fourier transform; the window is zero-padded to it.
            bands: number of mel bands.
            minimum_hz: lower edge of the lowest band.
            maximum_hz: upper edge of the highest band, at most half the sample rate.
            offset: added before the logarithm; silence is log(offset).
            frames: length of a training clip; None for clips of any length.
            silence_is_zero: subtract log(offset), so that silence is 0, which is what convolutions pad with. VGGish
                does not: there, the edge of a clip looks like a loud sound.
            level: ``as-is``, or ``peak`` to scale every clip to a peak of 1, so that how loud a recording was made
                does not matter.

        Raises:
            SoundalikeError: a value outside its range.
        """
        super().__init__()
        self.sample_rate = sample_rate
        self.channels = 1
        self.bands = bands
        self.window_samples = round(window * sample_rate)
        self.hop_samples = round(hop * sample_rate)
        self.frames = frames
        self.fft = fft
        self.offset = offset
        self.silence = math.log(offset) if silence_is_zero and offset > 0 else 0.0
        for name, value, least in (
            ("sample_rate", sample_rate, "1 Hz"),
            ("window", self.window_samples, "one sample"),
            ("hop", self.hop_samples, "one sample"),
            ("bands", bands, "1"),
            ("frames", 1 if frames is None else frames, "1, or leave it empty for clips of any length"),
        ):
            if value < 1:
                raise SoundalikeError(f"logmel: {name} is too small; give at least {least}.")
        if fft < self.window_samples:
            raise SoundalikeError(
                f"logmel: fft is {fft}, shorter than the window of {self.window_samples} samples; "
                f"raise fft or shorten window."
            )
        if not 0 <= minimum_hz < maximum_hz <= sample_rate / 2:
            raise SoundalikeError(
                f"logmel: minimum_hz {minimum_hz:g} and maximum_hz {maximum_hz:g} must rise and lie between "
                f"0 and half the sample rate, {sample_rate / 2:g}."
            )
        self.level = checked_level("logmel", level)
        if not offset > 0:
            raise SoundalikeError(f"logmel: offset is {offset:g}; it must be above 0, or silence has no logarithm.")
        check_sizes("logmel", self, fft)
        hann = torch.hann_window(self.window_samples, periodic=True, dtype=torch.float64)
        # The window starts its frame and the rest of the transform is zeros: stft would centre a short
        # window.
        hann = functional.pad(hann, (0, fft - self.window_samples))
        filters = mel_filters(sample_rate, fft, bands, minimum_hz, maximum_hz)
        empty = int((filters.sum(0) == 0).sum())
        if empty:
            warnings.warn(
                f"logmel: {empty} of {bands} mel bands are narrower than the bins of a {fft}-point transform "
                f"and stay silent; lower bands or raise fft",
                stacklevel=2,
            )
        self.register_buffer("window", hann.float(), persistent=False)
        self.register_buffer("filters", filters.float(), persistent=False)  # (fft // 2 + 1, bands)

    def features(self, waveform: Tensor) -> Tensor:
        """Log-mel spectrograms ``(n, 1, T, bands)`` of waveforms ``(n, samples)`` of at least one window."""
        precision = torch.promote_types(self.window.dtype, torch.float32)  # a half-precision FFT would not do
        with torch.autocast(waveform.device.type, enabled=False):
            padded = functional.pad(waveform.to(precision), (0, self.fft - self.window_samples))
            spectrum = torch.stft(
                padded,
                self.fft,
                hop_length=self.hop_samples,
                window=self.window.to(precision),
                center=False,
                return_complex=True,
            )  # (n, fft // 2 + 1, T)
            # a third of the time of abs(), which guards against overflow; 1e-20 keeps the gradient of silence finite
            real, imaginary = torch.view_as_real(spectrum).square().unbind(3)
            magnitude = (real + imaginary + 1e-20).sqrt()
            mel = magnitude.transpose(1, 2) @ self.filters.to(precision)  # (n, T, bands)
            return (torch.log(mel + self.offset) - self.silence).unsqueeze(1)  # (n, 1, T, bands)
