"""The waveform itself."""

from __future__ import annotations

from torch import Tensor

from soundalike.core.errors import SoundalikeError
from soundalike.nn.frontend.base import FrontEnd, check_sizes, checked_level


class Raw(FrontEnd):
    """The waveform itself, for an encoder in one dimension: every sample is a frame.

    Source: Al-Tahan & Mohsenzadeh 2021, "CLAR: Contrastive learning of auditory representations" (arXiv
    2010.09542), whose encoder of waveforms is a ResNet-18 in one dimension.
    """

    def __init__(self, sample_rate: int = 16000, seconds: float | None = 1.0, level: str = "as-is") -> None:
        """Choose the length of a training clip.

        Args:
            sample_rate: in Hz.
            seconds: length of a training clip; None for clips of any length.
            level: ``as-is``, or ``peak`` to scale every clip to a peak of 1, so that how loud a recording was made
                does not matter.

        Raises:
            SoundalikeError: a value outside its range.
        """
        super().__init__()
        if sample_rate < 1:
            raise SoundalikeError(f"raw: sample_rate is {sample_rate}; give at least 1 Hz.")
        if seconds is not None and not seconds * sample_rate >= 1:
            raise SoundalikeError(
                f"raw: seconds is {seconds:g}, less than one sample; "
                f"raise it, or leave it empty for clips of any length."
            )
        self.sample_rate = sample_rate
        self.channels = 1
        self.bands = None
        self.window_samples = self.hop_samples = 1
        self.frames = None if seconds is None else round(seconds * sample_rate)
        check_sizes("raw", self)
        self.level = checked_level("raw", level)

    def features(self, waveform: Tensor) -> Tensor:
        """``(n, 1, samples)`` of waveforms ``(n, samples)``."""
        return waveform.unsqueeze(1)
