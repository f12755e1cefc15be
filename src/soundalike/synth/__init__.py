"""Synthesizers: a patch, a tensor of knob positions, becomes a waveform."""

from soundalike.synth.parameter import GROUPS, ParameterSpec
from soundalike.synth.scene import Scene
from soundalike.synth.synthesizer import Synthesizer
from soundalike.synth.voice import INSTRUMENTS, Parametric, Voice, VoiceFM

__all__ = ["GROUPS", "VOICES", "ParameterSpec", "Parametric", "Scene", "Synthesizer", "Voice", "VoiceFM"]

VOICES: dict[str, type[Synthesizer]] = {**INSTRUMENTS, "scene": Scene}
"""Voices by the name that recipes and commands use."""
