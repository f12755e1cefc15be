"""Front ends: equal-length waveforms in, what the encoder sees out."""

from soundalike.nn.frontend.base import LEVELS, FrontEnd
from soundalike.nn.frontend.clar import ThreeChannels
from soundalike.nn.frontend.logmel import LogMel
from soundalike.nn.frontend.mel import mel_filters
from soundalike.nn.frontend.raw import Raw

FRONTENDS: dict[str, type[FrontEnd]] = {"logmel": LogMel, "clar": ThreeChannels, "raw": Raw}

__all__ = ["FRONTENDS", "LEVELS", "FrontEnd", "LogMel", "Raw", "ThreeChannels", "mel_filters"]
