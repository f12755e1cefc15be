"""Front ends: equal-length waveforms in, what the encoder sees out."""

from soundalike.frontend.base import LEVELS, FrontEnd
from soundalike.frontend.clar import ThreeChannels
from soundalike.frontend.logmel import LogMel
from soundalike.frontend.mel import mel_filters
from soundalike.frontend.raw import Raw

FRONTENDS: dict[str, type[FrontEnd]] = {"logmel": LogMel, "clar": ThreeChannels, "raw": Raw}

__all__ = ["FRONTENDS", "LEVELS", "FrontEnd", "LogMel", "Raw", "ThreeChannels", "mel_filters"]
