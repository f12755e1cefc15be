"""Synthesizers: a patch, a tensor of knob positions, becomes a waveform."""

from soundalike.synth.parameter import GROUPS, ParameterSpec
from soundalike.synth.synthesizer import Synthesizer
from soundalike.synth.voice import VOICES, Parametric, Voice, VoiceFM

__all__ = ["GROUPS", "VOICES", "ParameterSpec", "Parametric", "Synthesizer", "Voice", "VoiceFM"]
