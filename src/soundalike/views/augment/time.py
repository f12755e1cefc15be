"""Changes of when things happen: a masked segment, a circular shift."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.views.augment.augmentation import Augmentation, Drawn, beyond_numpy, check_number, seeds, whole
from soundalike.views.augment.noise import normal_noise

FILLS = ("constant", "noise", "mixed")


class TimeMask(Augmentation):
    """Replaces one segment at a random place by normal noise or by a constant.

    Its length is uniform from one sample to ``fraction`` of the clip. Noise is as loud as what it replaces.

    Args:
        fraction: the longest segment as a fraction of the clip, in [0, 1].
        fill: ``noise``, ``constant``, or ``mixed`` for either with the same chance.
        constant: the constant.
        p: the chance that a sound is changed.

    Source:
        Al-Tahan and Mohsenzadeh, "CLAR", AISTATS 2021, arXiv 2010.09542.
    """

    drawn_numbers = 5

    def __init__(self, fraction: float = 0.125, fill: str = "mixed", constant: float = 0.0, p: float = 0.5) -> None:
        super().__init__(p)
        self.fraction = check_number("fraction", fraction, 0.0, 1.0)
        self.constant = check_number("constant", constant, -1e6, 1e6)
        if fill not in FILLS:
            raise SoundalikeError(f"fill is {fill!r}: {nearest(str(fill), FILLS)}")
        self.fill = fill

    def _values(self, u: Tensor, size: int) -> Drawn:
        longest = int(self.fraction * size)
        length = whole(u[:, 0], longest) + 1 if longest else torch.zeros_like(u[:, 0], dtype=torch.int64)
        noise = u[:, 2] < {"constant": 0.0, "noise": 1.0, "mixed": 0.5}[self.fill]
        return {
            "start": whole(u[:, 1], size - length + 1),  # samples
            "length": length,
            "noise": noise,  # whether it is filled with noise
            "seed": seeds(u[:, 3:5]),
        }

    def _transform(self, audio: Tensor, drawn: Drawn) -> Tensor:
        longest = int(self.fraction * audio.shape[1])
        if longest == 0:
            return audio.clone()
        if beyond_numpy(audio):
            return self._at_once(audio, drawn, longest)
        masked = audio.clone()
        rows = drawn["noise"].nonzero()[:, 0]
        noises = iter(self._noise(drawn["seed"][rows], longest).to(audio.dtype).numpy())
        values = (drawn[key].tolist() for key in ("start", "length", "noise"))
        for sound, start, length, noisy in zip(masked.numpy(), *values, strict=True):
            segment = sound[start : start + length]
            if noisy:
                loudness = math.sqrt(np.dot(segment, segment) / length)
                np.multiply(next(noises)[:length], loudness, out=segment)
            else:
                segment[:] = self.constant
        return masked

    def _at_once(self, audio: Tensor, drawn: Drawn, longest: int) -> Tensor:
        """All sounds masked by the same few operations."""
        length = drawn["length"][:, None]
        # shorter segments repeat their last sample's position, so that all rows write equally many
        offset = torch.minimum(torch.arange(longest, device=audio.device), length - 1)  # (n, longest)
        position = drawn["start"][:, None] + offset
        covered = audio.gather(1, position) * (torch.arange(longest, device=audio.device) < length)
        loudness = torch.linalg.vector_norm(covered, dim=1, keepdim=True) / length.sqrt()
        noise = self._noise(drawn["seed"], longest).to(audio.dtype) * loudness
        return audio.scatter(1, position, torch.where(drawn["noise"][:, None], noise.gather(1, offset), self.constant))

    def _noise(self, seed: Tensor, longest: int) -> Tensor:
        return normal_noise(seed.int(), longest)


class TimeShift(Augmentation):
    """Shifts a sound circularly: what leaves at one end comes in at the other.

    Args:
        fraction: the longest shift in either direction as a fraction of the clip, in [0, 1].
        p: the chance that a sound is changed.

    Source:
        Al-Tahan and Mohsenzadeh, "CLAR", AISTATS 2021, arXiv 2010.09542.
    """

    drawn_numbers = 1

    def __init__(self, fraction: float = 0.5, p: float = 0.5) -> None:
        super().__init__(p)
        self.fraction = check_number("fraction", fraction, 0.0, 1.0)

    def _values(self, u: Tensor, size: int) -> Drawn:
        longest = int(self.fraction * size)
        return {"shift": whole(u[:, 0], 2 * longest + 1) - longest}  # samples, later where positive

    def _transform(self, audio: Tensor, drawn: Drawn) -> Tensor:
        samples = audio.shape[1]
        cut = (-drawn["shift"]) % samples  # the sample that comes first
        if beyond_numpy(audio):
            return audio.gather(1, (cut[:, None] + torch.arange(samples, device=audio.device)) % samples)
        shifted = torch.empty_like(audio, memory_format=torch.contiguous_format)
        for sound, first, into in zip(audio.numpy(), cut.tolist(), shifted.numpy(), strict=True):
            into[: samples - first] = sound[first:]
            into[samples - first :] = sound[:first]
        return shifted
