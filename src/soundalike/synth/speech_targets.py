"""What is known of a mouth's sounds: what is said at each step, and who says it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from soundalike.synth.gestures import Gestures
from soundalike.synth.glottis import Speaker, melody
from soundalike.synth.resonance import Frames
from soundalike.synth.scene_targets import BANDS, SceneTargets
from soundalike.synth.segments import KINDS, SILENCE, Utterance
from soundalike.synth.targets import STEP_SECONDS, Target, TargetSpec, step_count, step_middles

_LOOKS = 5  # at each step, evenly spread over it
_VOICED, _NOISY = 0.02, 0.02  # amplitudes from which on there is voice or noise, against a stressed vowel's
_FLOOR_DB = -60.0

LEVELS = TargetSpec("levels", "dB", size=BANDS, centre=-35.0, spread=20.0)
"""Energy in bands without background, room and equaliser, against the loudest step; at least -60 dB."""
F0 = TargetSpec("f0", "log2 Hz", centre=7.8, spread=1.0, where="it has a pitch")
"""Fundamental frequency, the same target of every voice that has one."""
SPECS = (
    TargetSpec("kind", classes=KINDS),
    TargetSpec("f1", "log2 Hz", centre=8.7, spread=0.5, where="something is said"),
    TargetSpec("f2", "log2 Hz", centre=10.4, spread=0.5, where="something is said"),
    TargetSpec("f3", "log2 Hz", centre=11.3, spread=0.2, where="something is said"),
    TargetSpec("voicing", centre=0.5, spread=0.5),
    F0,
    TargetSpec("noise", "log2 Hz", centre=11.5, spread=0.8, where="there is noise of the mouth"),
    TargetSpec("tract", "cm", "sound", centre=17.0, spread=2.3, where="anything is said"),
    TargetSpec("pitch", "log2 Hz", "sound", centre=7.3, spread=0.7, where="anything is voiced"),
    TargetSpec("breath", "dB", "sound", centre=-26.0, spread=11.0, where="anything is voiced"),
    TargetSpec("brightness", "log2 Hz", "sound", centre=10.8, spread=1.2, where="anything is voiced"),
)


class SpeechTargets(nn.Module):
    """Computes the targets of utterances.

    Args:
        frames: of the sounds.
        seconds: length of a sound.
    """

    looks: Tensor
    bands: Tensor
    steps: Tensor

    def __init__(self, frames: Frames, seconds: float) -> None:
        super().__init__()
        self.seconds, self.count = seconds, step_count(seconds)
        apart = STEP_SECONDS * ((torch.arange(_LOOKS) + 0.5) / _LOOKS - 0.5)
        looks = (step_middles(seconds)[:, None] + apart).flatten()
        self.register_buffer("looks", looks, persistent=False)  # seconds, (steps looks,)
        bands = SceneTargets(frames, seconds, 1.0)
        self.register_buffer("bands", bands.bands.repeat_interleave(2, dim=0), persistent=False)  # (2 bins, BANDS)
        self.register_buffer("steps", bands.steps, persistent=False)  # (steps, frames)

    def known(self, said: Utterance, speaker: Speaker, units: Tensor) -> dict[str, Target]:
        """All targets but the levels.

        Args:
            said: what is said, n times.
            speaker: who has which knobs.
            units: (n, size) of the voice.
        """
        time, knob = self.looks.to(units), speaker.named(units)
        gestures, manner = Gestures.of(said), speaker.manner(units)
        kinds = _kinds(said, time)  # (n, KINDS, looks of all steps)
        spoken = 1.0 - kinds[:, SILENCE]
        voice, _, noise = gestures.amplitudes(time)
        voiced, noisy = (voice * manner.voice >= _VOICED).to(units), (noise >= _NOISY).to(units)
        pitch = (melody(manner, time, self.seconds) - 69.0) / 12.0 + math.log2(440.0)
        formants, (centre, _) = gestures.tongue(time, knob["overlap"]), gestures.passage(time)
        something, share, hissing = (self._mean(each) for each in (spoken, voiced, noisy))
        numbers = {
            **{f"f{i}": self._where(each, spoken) for i, each in enumerate(formants.unbind(1), start=1)},
            "voicing": share,
            "f0": self._where(pitch, voiced),
            "noise": self._where(centre, noisy),
        }
        always = torch.ones_like(something, dtype=torch.bool)
        masks = {f"f{i}": something > 0.0 for i in (1, 2, 3)}
        masks |= {"voicing": always, "f0": share > 0.5, "noise": hissing > 0.0}
        targets = {"kind": Target(self._mean(kinds).argmax(1), always)}
        targets |= {name: Target(number[..., None], masks[name]) for name, number in numbers.items()}
        anything, any_voice = (spoken.amax(1) > 0.0, voiced.amax(1) > 0.0)
        mean = (pitch * voiced).sum(1) / voiced.sum(1).clamp(min=1.0)
        targets["tract"] = Target(knob["tract"], anything)
        targets["pitch"] = Target(mean[:, None], any_voice)
        targets |= {name: Target(knob[name], any_voice) for name in ("breath", "brightness")}
        return targets

    def levels(self, spectra: Tensor, opened: Tensor) -> Tensor:
        """The levels, (n, steps, BANDS).

        Args:
            spectra: of what comes to the lips, (n, frames, 2 bins).
            opened: energy that the lips let out of each frame, at most 1, (n, frames).
        """
        energy = self.steps @ ((spectra.square() @ self.bands) * opened[..., None])  # (n, steps, BANDS)
        most = energy.sum(2).amax(1).clamp(min=1e-12)[:, None, None]
        return 10.0 * torch.log10(energy / most + 10.0 ** (_FLOOR_DB / 10.0))

    def _mean(self, looks: Tensor) -> Tensor:
        """Of every step, (…, steps looks) -> (…, steps)."""
        return looks.unflatten(-1, (self.count, _LOOKS)).mean(-1)

    def _where(self, looks: Tensor, weight: Tensor) -> Tensor:
        """Mean over what counts of every step, (n, steps looks) each -> (n, steps)."""
        return self._mean(looks * weight) / self._mean(weight).clamp(min=1e-6)


def _kinds(said: Utterance, time: Tensor) -> Tensor:
    """Which kind is said, (n, KINDS, times), 1 for the one and 0 for the others."""
    here = (time >= said.start[..., None]) & (time < said.end[..., None])  # (n, segments, times)
    kind = (here * said.kind[..., None]).sum(1)
    return nn.functional.one_hot(kind, len(KINDS)).transpose(1, 2).to(said.level)
