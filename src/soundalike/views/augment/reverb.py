"""Convolution with the impulse response of a room or a device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from soundalike.core import random
from soundalike.core.errors import SoundalikeError
from soundalike.views.augment.augmentation import (
    Augmentation,
    Drawn,
    Range,
    between,
    check_count,
    check_range,
    chunks,
    fast_length,
    seeds,
    whole,
)


class ImpulseResponse(Augmentation):
    """Convolves a sound with an impulse response, and cuts it to its length.

    A response of the user's is drawn for each sound, scaled to an energy of 1. Without any, a response is made for
    each sound: the direct sound, then white noise that dies away by 60 dB in the time drawn.

    Args:
        sample_rate: in Hz.
        responses: a file or folder of recordings, or a list of them, or of waveforms at ``sample_rate``; a tensor
            ``(count, samples)`` will do. Not given: made on the spot.
        decay_seconds: the time in which a made response dies away by 60 dB, drawn uniformly.
        direct_db: a made response's energy of direct sound over that of the rest, in decibels, drawn uniformly.
        p: the chance that a sound is changed.

    Raises:
        SoundalikeError: a number is out of its range, or a response is silent or no waveform.
    """

    drawn_numbers = 5
    responses: Tensor | None

    def __init__(
        self,
        sample_rate: int = 16000,
        responses: Any = None,
        decay_seconds: Range = (0.1, 1.0),
        direct_db: Range = (0.0, 12.0),
        p: float = 0.5,
    ) -> None:
        super().__init__(p)
        self.sample_rate = check_count("sample_rate", sample_rate, 1)
        self.decay_seconds = check_range("decay_seconds", decay_seconds, 1e-3, 60.0, " s")
        self.direct_db = check_range("direct_db", direct_db, -100.0, 100.0, " dB")
        bank = None if responses is None else _bank(responses, self.sample_rate)
        self.register_buffer("responses", bank, persistent=False)

    def _values(self, u: Tensor, size: int) -> Drawn:
        if self.responses is not None:
            return {"response": whole(u[:, 0], len(self.responses))}
        return {
            "decay_seconds": between(u[:, 1], self.decay_seconds),
            "direct_db": between(u[:, 2], self.direct_db),
            "seed": seeds(u[:, 3:5]),
        }

    def _transform(self, audio: Tensor, drawn: Drawn) -> Tensor:
        samples = audio.shape[1]
        length = fast_length(2 * samples - 1)
        parts = []
        for rows in chunks(len(audio), length):
            response = self._responses({key: value[rows] for key, value in drawn.items()}, samples).to(audio)
            spectrum = torch.fft.rfft(audio[rows], length) * torch.fft.rfft(response, length)
            parts.append(torch.fft.irfft(spectrum, length)[:, :samples])
        return torch.cat(parts)

    def _responses(self, drawn: Drawn, samples: int) -> Tensor:
        """A response (n, at most samples) for each sound."""
        if self.responses is not None:
            return self.responses.to(drawn["response"].device)[drawn["response"], :samples]
        # one sequence of noise for each seed, whatever the clip's length
        longest = math.ceil(self.decay_seconds[1] * self.sample_rate)
        seconds = torch.arange(min(samples, longest), device=drawn["seed"].device) / self.sample_rate
        fall = torch.exp(seconds * (-math.log(1e3) / drawn["decay_seconds"][:, None].float()))
        tail = random.noise(drawn["seed"], len(seconds)) * fall
        tail[:, 0] = 0.0
        # the whole tail's expected energy (a uniform number's variance is 1/3), also where the clip cuts it off
        energy = drawn["decay_seconds"].float() * self.sample_rate / (3.0 * 2.0 * math.log(1e3))
        direct = 10.0 ** (drawn["direct_db"].float() / 10.0)
        tail *= (1.0 / (energy * (1.0 + direct))).sqrt()[:, None]
        tail[:, 0] = (direct / (1.0 + direct)).sqrt()
        return tail


def _bank(responses: Any, sample_rate: int) -> Tensor:
    """The user's responses, padded to the length of the longest, (count, samples)."""
    waveforms = [_waveform(response, where) for where, response in _listed(responses, sample_rate)]
    if not waveforms:
        raise SoundalikeError("responses is empty: give an impulse response, or leave it out to have them made.")
    bank = torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True)
    return bank


def _listed(responses: Any, sample_rate: int) -> list[tuple[str, Any]]:
    """Each response with the name that a message gives it."""
    from pathlib import Path

    from soundalike.audio import read

    if isinstance(responses, str | Path):
        responses = [responses]
    if not isinstance(responses, Sequence | Tensor) and not hasattr(responses, "__array__"):
        raise SoundalikeError(f"responses is {responses!r}: give files, a folder, or a list of waveforms.")
    listed: list[tuple[str, Any]] = []
    for position, response in enumerate(responses):
        if isinstance(response, str | Path):
            listed += [(str(path), read.load(path, sample_rate)) for path in read.find(response)]
        else:
            listed.append((f"responses[{position}]", response))
    return listed


def _waveform(response: Any, where: str) -> Tensor:
    """A response as float32 (samples,) with an energy of 1."""
    try:
        waveform = torch.as_tensor(response, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise SoundalikeError(f"{where}: not a waveform; give numbers, samples one after the other.") from None
    energy = waveform.double().square().sum()
    if waveform.dim() != 1 or not torch.isfinite(energy) or energy <= 0.0:
        raise SoundalikeError(f"{where}: not an impulse response; give one axis of finite samples, not all zero.")
    return (waveform / energy.sqrt()).float()
