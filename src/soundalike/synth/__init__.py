"""Synthesizers: a patch, a tensor of knob positions, becomes a waveform."""

from soundalike.synth.body import Body
from soundalike.synth.mouth import Mouth
from soundalike.synth.parameter import GROUPS, ParameterSpec
from soundalike.synth.scene import Scene
from soundalike.synth.synthesizer import Synthesizer
from soundalike.synth.texture import Texture
from soundalike.synth.voice import INSTRUMENTS, Parametric, Voice, VoiceFM

__all__ = [
    "GROUPS",
    "VOICES",
    "Body",
    "Mouth",
    "ParameterSpec",
    "Parametric",
    "Scene",
    "Synthesizer",
    "Texture",
    "Voice",
    "VoiceFM",
]

VOICES: dict[str, type[Synthesizer]] = {
    **INSTRUMENTS,
    "scene": Scene,
    "mouth": Mouth,
    "body": Body,
    "texture": Texture,
}
"""Voices by the name that recipes and commands use."""
