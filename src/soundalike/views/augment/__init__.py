"""Augmentations: random changes that keep what a sound is, of a whole batch at once."""

from soundalike.views.augment.augmentation import Augmentation, Drawn
from soundalike.views.augment.compose import AUGMENTATIONS, Compose
from soundalike.views.augment.fade import Fade
from soundalike.views.augment.filter import HighPass, LowPass
from soundalike.views.augment.noise import NoiseInjection
from soundalike.views.augment.reverb import ImpulseResponse
from soundalike.views.augment.spectrogram import SpecAugment, SpectrogramMask
from soundalike.views.augment.stretch import PitchShift, TimeStretch
from soundalike.views.augment.time import TimeMask, TimeShift

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "Compose",
    "Drawn",
    "Fade",
    "HighPass",
    "ImpulseResponse",
    "LowPass",
    "NoiseInjection",
    "PitchShift",
    "SpecAugment",
    "SpectrogramMask",
    "TimeMask",
    "TimeShift",
    "TimeStretch",
]
