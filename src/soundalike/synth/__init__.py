"""Synthesizers: a patch, a tensor of knob positions, becomes a waveform."""

from soundalike.synth.mouth import Mouth
from soundalike.synth.parameter import GROUPS, ParameterSpec
from soundalike.synth.scene import Scene
from soundalike.synth.synthesizer import Synthesizer
from soundalike.synth.voice import INSTRUMENTS, Parametric, Voice, VoiceFM

__all__ = ["GROUPS", "VOICES", "Mouth", "ParameterSpec", "Parametric", "Scene", "Synthesizer", "Voice", "VoiceFM"]

VOICES: dict[str, type[Synthesizer]] = {**INSTRUMENTS, "scene": Scene, "mouth": Mouth}
"""Voices by the name that recipes and commands use."""
