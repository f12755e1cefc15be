"""Embeddings of many moments of a sound: the encoder hears it once, and statistics are read in windows around each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.nn.pooling import Stages
from soundalike.nn.quarter_tones import QuarterTones

if TYPE_CHECKING:
    from soundalike.model.model import SoundModel

EVERY = 0.05
WINDOW = 0.5
_SECONDS_AT_ONCE = 120.0  # of sound that goes through the encoder at once, over all sounds: bounds memory only
_LEAST_VARIANCE = 1e-12  # as the read-out of whole clips has it


class _Windows(NamedTuple):
    """Windows of several moments, in seconds from the start of the sound: float64 (T,) each, none of them empty."""

    starts: Tensor
    stops: Tensor


class _Steps(NamedTuple):
    """Where the steps of a sequence stand in time, in samples: the centre of the first, and the way to the next."""

    centre: float
    spacing: float

    def place(self, samples: float) -> float:
        """The step that stands there, between two of them a fraction."""
        return (samples - self.centre) / self.spacing


def timestamp_embeddings(
    model: SoundModel, waveform: Tensor, every: float = EVERY, seconds: float = WINDOW
) -> tuple[Tensor, Tensor]:
    """Embeddings of what is heard around each of many moments, of sounds of equal length.

    With the read-out ``stages`` the encoder runs over the whole sound once, and its mean and deviation are taken over
    each window: each step of a stage counts with that part of its time that lies in the window. A vector means what an
    embedding of the window by itself does, but for two things: the encoder hears what is next to the window too, and
    a front end of level ``peak`` scales the sound as a whole. Other read-outs embed the windows one by one.

    Args:
        model: that hears.
        waveform: ``(n, samples)``, in [-1, 1], at the model's sample rate.
        every: seconds from one moment to the next; the first is at half of it.
        seconds: length of the window around each moment, cut off at the ends of the sound.

    Returns:
        Embeddings ``(n, moments, size)``, float32, on the model's device, and the moments in seconds, ``(moments,)``,
        float64, on the CPU: as `SoundModel.windows` has them.

    Raises:
        SoundalikeError: a length of time is not above 0, or the input is not a batch of waveforms.
        AudioError: the waveforms are empty.
    """
    for name, value in (("every", every), ("seconds", seconds)):
        if not 0 < value < math.inf:
            raise SoundalikeError(f"timestamps: {name} is {value:g} s; it must be above 0.")
    if waveform.ndim != 2 or not waveform.is_floating_point():
        raise SoundalikeError(
            f"timestamps: waveforms are floating-point numbers of shape (n, samples), not {waveform.dtype} of shape "
            f"{tuple(waveform.shape)}."
        )
    if waveform.shape[1] == 0:
        raise AudioError("the waveform is empty.")
    if model.speed != 1:
        raise SoundalikeError("timestamps: the model hears sounds slowed down; give one that hears them as they are.")
    waveform = waveform.to(model.device, torch.float32)
    count = max(1, round(waveform.shape[1] / (every * model.sample_rate)))
    moments = (torch.arange(count, dtype=torch.float64) + 0.5) * every
    result = torch.zeros(len(waveform), count, model.size, device=model.device)
    if not isinstance(model.readout, Stages):
        window = max(seconds, model.frontend.clip_samples / model.sample_rate)  # shorter ones would end in silence
        for row, sound in enumerate(waveform):
            result[row] = torch.from_numpy(model.windows(sound.cpu().numpy(), every, window)[1])
        return result, moments
    length = min(waveform.shape[1] / model.sample_rate, model.readout.chunk)
    at_once = max(1, int(_SECONDS_AT_ONCE / length))
    per_chunk = max(1, int(model.readout.chunk / every))
    with torch.no_grad():  # not inference_mode: whoever trains on the result needs it in a graph
        for row in range(0, len(waveform), at_once):
            sounds = waveform[row : row + at_once]
            prepared = model.frontend.prepared(sounds, model.readout.least_samples(model.frontend))
            for first in range(0, count, per_chunk):
                end = prepared.shape[1] / model.sample_rate
                some = moments[first : first + per_chunk].clamp(max=end)
                windows = _Windows((some - seconds / 2).clamp(min=0.0), (some + seconds / 2).clamp(max=end))
                vectors = _read(model, model.readout, prepared, windows)
                if model.projection is not None:
                    compact = model.projected(vectors.flatten(0, 1))
                    vectors = torch.from_numpy(compact).unflatten(0, vectors.shape[:2])
                result[row : row + at_once, first : first + per_chunk] = vectors
    if not bool(torch.isfinite(result).all()):
        raise AudioError("its embeddings are not finite: the model's weights are no trained model's.")
    return result, moments


def _read(model: SoundModel, readout: Stages, waveform: Tensor, windows: _Windows) -> Tensor:
    """Embeddings (n, T, size) of the windows, in the order of numbers that the read-out of whole clips has."""
    frontend, encoder = model.frontend, model.encoder
    hop, length = frontend.hop_samples, frontend.window_samples
    begin, end = (float(side) * frontend.sample_rate for side in (windows.starts[0], windows.stops[-1]))
    frames = _Steps(length / 2, hop)
    grid = encoder.strides[-1]
    margin = math.ceil(encoder.reach / grid) * grid + grid  # what the encoder hears, and half a step of the last stage
    count = 1 + (waveform.shape[1] - length) // hop
    left = max(0, math.floor(frames.place(begin) / grid) * grid - margin)  # every stage has a step there
    right = min(count, math.ceil(frames.place(end)) + margin)
    left = min(left, max(0, math.floor((right - margin) / grid) * grid))  # the last window may lie behind all frames
    features = frontend.features(waveform[:, left * hop : (right - 1) * hop + length])

    def statistics(values: Tensor, centre: float, spacing: float) -> tuple[Tensor, Tensor]:
        return _statistics(values, _Steps(centre, spacing), windows, frontend.sample_rate)

    parts: list[Tensor] = []
    if readout.quarter_tones:
        values, steps = _tones(frontend.sample_rate, waveform, begin, end)
        parts += statistics(values, *steps)
    origin = left * hop + length / 2
    if readout.features:
        levels = features.float()
        parts += statistics(levels, origin, hop)
        parts.append(statistics(levels.diff(dim=2), origin + hop / 2, hop)[1])
    for stride, output in zip(encoder.strides, encoder.stages(features), strict=True):
        parts += statistics(readout.banded(output), origin, stride * hop)
    return torch.cat(parts, dim=1).transpose(1, 2)


def _tones(sample_rate: int, waveform: Tensor, begin: float, end: float) -> tuple[Tensor, _Steps]:
    """Quarter tones (n, tones, frames) from one sample to another, and where their frames stand."""
    tones = QuarterTones(sample_rate).to(waveform.device)
    steps = _Steps(tones.length / 2, tones.hop)
    count = 1 + max(0, waveform.shape[1] - tones.length) // tones.hop
    left = min(max(0, math.floor(steps.place(begin)) - 1), count - 1)
    right = max(left + 1, min(count, math.ceil(steps.place(end)) + 2))
    part = waveform[:, left * tones.hop : (right - 1) * tones.hop + tones.length]
    return tones(part).transpose(1, 2), _Steps(left * tones.hop + tones.length / 2, tones.hop)


def _statistics(values: Tensor, steps: _Steps, windows: _Windows, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over windows of a sequence that holds each value for the time nearest to its step.

    The time before the first step is the first one's, and that after the last one the last one's.

    Args:
        values: ``(n, channels, S)`` or ``(n, channels, S, bands)``.
        steps: where the S steps stand.
        windows: T of them.
        sample_rate: samples a second of ``steps``.

    Returns:
        Each ``(n, channels * bands, T)``, float32.
    """
    flat = values.movedim(2, -1).flatten(1, -2)  # (n, channels * bands, S)
    # A sum over a chunk of which two are subtracted, and of squares: in float32, centred or not, what is left of a
    # quiet window within a loud chunk would be rounding errors. Apple's GPUs have no float64.
    flat = (flat.cpu() if flat.device.type == "mps" else flat).double()
    centre = flat.mean(2, keepdim=True)
    flat = flat - centre
    begin, end = (
        ((side * sample_rate - steps.centre) / steps.spacing + 0.5).to(flat.device)
        for side in (windows.starts, windows.stops)
    )
    mean = (_integral(flat, end) - _integral(flat, begin)) / (end - begin)
    squares = flat.square()
    square = (_integral(squares, end) - _integral(squares, begin)) / (end - begin)
    deviation = (square - mean.square()).clamp_min(_LEAST_VARIANCE).sqrt()
    return (mean + centre).float().to(values.device), deviation.float().to(values.device)


def _integral(values: Tensor, places: Tensor) -> Tensor:
    """Integrals (n, K, T) from 0 to each place of what is ``values[:, :, i]`` from i to i + 1, (n, K, S)."""
    whole = places.floor().long().clamp(0, values.shape[2] - 1)
    before = (values.cumsum(2) - values)[:, :, whole]
    return before + values[:, :, whole] * (places - whole)
