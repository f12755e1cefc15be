"""Read-outs: how an embedding is read from front end and encoder, for clips of any length."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from soundalike.audio.stream import LongSound
from soundalike.core.errors import SoundalikeError
from soundalike.nn.encoder import ResNet18
from soundalike.nn.frontend import FrontEnd
from soundalike.nn.quarter_tones import QuarterTones

# Sound that goes through the encoder at once, in seconds over all clips: bounds memory, never changes a
# result.
_SECONDS_AT_ONCE = 120.0
# Clips shorter than this give the last stages of the published network less than a whole step: they are padded with
# silence to it, by networks of shorter steps too, so that any two hear the same.
_LEAST_FRAMES = 16


class Streamed:
    """A long sound as read-outs take it: in place of a batch of one waveform, read as it is sliced.

    Args:
        sound: at least as long as a read-out needs.
        frontend: whose sample rate it has, and whose level it is given.
        device: of the slices.
    """

    def __init__(self, sound: LongSound, frontend: FrontEnd, device: torch.device) -> None:
        self.sound, self.device, self.shape = sound, device, (1, len(sound))
        # what the front end does to the peak, it would do to every sample
        scaled = frontend.prepared(torch.tensor([[sound.peak]]), 1).item()
        self.divisor = sound.peak / scaled if scaled else 1.0

    def __getitem__(self, place: tuple[slice, slice]) -> Tensor:
        """The samples (1, last - first) of ``[:, first:last]``."""
        first, last, _ = place[1].indices(self.shape[1])
        return torch.from_numpy(self.sound.read(first, last) / np.float32(self.divisor))[None].to(self.device)


class ReadOut(Protocol):
    """What every read-out offers.

    A read-out leaves modes and gradients alone: put the encoder in evaluation mode and choose
    ``torch.inference_mode`` outside. In training mode the batch normalisation would make each embedding
    depend on its neighbours.
    """

    def size(self, frontend: FrontEnd, encoder: ResNet18) -> int:
        """Length of an embedding."""

    def blocks(self, frontend: FrontEnd, encoder: ResNet18) -> list[int]:
        """Lengths of the parts of an embedding, in their order: numbers of one kind each."""

    def least_samples(self, frontend: FrontEnd) -> int:
        """Length to which a shorter clip is zero-padded on the right."""

    def __call__(self, frontend: FrontEnd, encoder: ResNet18, waveform: Tensor | Streamed) -> Tensor:
        """Embeddings ``(n, size)`` of n waveforms of equal length, ``(n, samples)``, or of one that is streamed."""


class Pooled:
    """The encoder's output over windows of the training clip's length, averaged: the published read-out.

    Windows start ``hop`` seconds apart. Where more than an eighth of a window is left at the end, one more
    window is aligned to the end of the clip, so no window holds silence that is not in the sound; a shorter
    rest is left out, so a clip of the training length is one window, as in training. A clip shorter than a
    window is zero-padded on the right to one.

    Source: Cherep & Singh 2025, "Contrastive learning from synthetic audio doppelgängers" (arXiv 2406.05923).
    """

    def __init__(self, hop: float | None = None) -> None:
        """Choose the windows.

        Args:
            hop: seconds from one window to the next; None lets their frames follow on without gap or overlap.

        Raises:
            SoundalikeError: hop is not above 0.
        """
        if hop is not None and not hop > 0:
            raise SoundalikeError(f"pooled: hop is {hop:g} s; it must be above 0, or left out.")
        self.hop = hop

    def size(self, frontend: FrontEnd, encoder: ResNet18) -> int:
        """Length of an embedding: that of the encoder's output."""
        return encoder.size

    def blocks(self, frontend: FrontEnd, encoder: ResNet18) -> list[int]:
        """Lengths of the parts of an embedding: it has one."""
        return [encoder.size]

    def least_samples(self, frontend: FrontEnd) -> int:
        """Length to which a shorter clip is zero-padded on the right: one window."""
        return frontend.clip_samples

    def __call__(self, frontend: FrontEnd, encoder: Callable[[Tensor], Tensor], waveform: Tensor | Streamed) -> Tensor:
        """Read the embeddings of clips of equal length.

        Args:
            frontend: from waveforms to features.
            encoder: in evaluation mode, from features to vectors ``(n, size)``.
            waveform: ``(n, samples)``, in [-1, 1], or one that is streamed.

        Returns:
            ``(n, size)``.
        """
        if isinstance(waveform, Tensor):
            waveform = frontend.prepared(waveform)
        clips, samples = waveform.shape
        length = frontend.clip_samples
        starts = self._starts(frontend, samples)
        at_once = max(1, int(_SECONDS_AT_ONCE * frontend.sample_rate / length))
        together = max(1, at_once // max(1, clips))  # places in the clips
        outputs = []
        for place in range(0, len(starts), together):
            windows = [waveform[:, start : start + length] for start in starts[place : place + together]]
            # (windows * n, length)
            outputs += [encoder(frontend.features(part)) for part in torch.cat(windows).split(at_once)]
        return torch.cat(outputs).float().unflatten(0, (len(starts), clips)).mean(0)

    def _starts(self, frontend: FrontEnd, samples: int) -> list[int]:
        window = frontend.clip_samples
        if frontend.frames is None:
            raise SoundalikeError("pooled: the front end has no training length; set its frames.")
        if self.hop is None:
            hop = frontend.frames * frontend.hop_samples
        else:
            hop = max(1, round(self.hop * frontend.sample_rate))
        starts = list(range(0, samples - window + 1, hop))
        if samples - (starts[-1] + window) > window / 8:
            starts.append(samples - window)
        return starts


class Stages:
    """Mean and standard deviation over time of every stage's output, the whole clip at once.

    The encoder runs fully convolutionally over the clip. Along the frequency axis each stage keeps a few
    bands, averaged evenly: ``min(bands, max(2, F // 2))`` of its F, so 4, 4, 4, 2, 2 for 64 mel bands and
    the default; or all of them, 16, 16, 8, 4, 2. The embedding is, stage by stage, all means and then all
    (population) standard deviations: 5120 numbers for a ResNet-18 of width 64 whose channels double to the end, 2560
    for one of width 32, and twice as many with all bands.

    What an encoder that sees mel bands cannot tell apart can come first: the mean and the standard deviation of each
    of its features and the standard deviation of its change from frame to frame; and the mean and the standard
    deviation of each quarter tone (`QuarterTones`), so that pitch is not lost.

    Nothing is padded unless a clip is shorter than 16 frames (0.175 s of the VGGish front end), because statistics
    would include the silence; so clips of half a second are read as they are.

    Long clips are worked off in chunks that overlap by the reach of the encoder, which gives the same
    statistics.
    """

    def __init__(
        self, bands: int | None = 4, features: bool = False, quarter_tones: bool = False, chunk: float = 30.0
    ) -> None:
        """Choose the bands.

        Args:
            bands: the most frequency bands that a stage keeps; None keeps all of them.
            features: whether statistics of the front end's features come before those of the stages.
            quarter_tones: whether statistics of quarter tones come before everything else.
            chunk: seconds of a clip that go through the encoder at once; bounds memory, changes no result.

        Raises:
            SoundalikeError: a value outside its range.
        """
        if bands is not None and bands < 1:
            raise SoundalikeError(f"stages: bands is {bands}; keep at least 1, or leave it empty to keep all.")
        if not chunk > 0:
            raise SoundalikeError(f"stages: chunk is {chunk:g} s; it must be above 0.")
        self.bands = bands
        self.features = features
        self.quarter_tones = quarter_tones
        self.chunk = chunk

    def least_samples(self, frontend: FrontEnd) -> int:
        """Length to which a shorter clip is zero-padded on the right: a few frames."""
        return frontend.window_samples + (_LEAST_FRAMES - 1) * frontend.hop_samples

    def size(self, frontend: FrontEnd, encoder: ResNet18) -> int:
        """Length of an embedding: two numbers for each channel and band of each stage, three for each feature."""
        return sum(self.blocks(frontend, encoder))

    def blocks(self, frontend: FrontEnd, encoder: ResNet18) -> list[int]:
        """Lengths of the parts of an embedding: quarter tones and features, where it has them, and every stage."""
        before = [2 * QuarterTones.tones(frontend.sample_rate)] if self.quarter_tones else []
        before += [3 * frontend.channels * (frontend.bands or 1)] if self.features else []
        if frontend.bands is None:
            return before + [2 * width for width in encoder.widths]
        heights = [math.ceil(frontend.bands / stride) for stride in encoder.band_strides]
        return before + [2 * width * self.kept(height) for width, height in zip(encoder.widths, heights, strict=True)]

    def __call__(self, frontend: FrontEnd, encoder: ResNet18, waveform: Tensor | Streamed) -> Tensor:
        """Read the embeddings of clips of equal length.

        Args:
            frontend: from waveforms to features.
            encoder: in evaluation mode, from features to the outputs of its stages.
            waveform: ``(n, samples)``, in [-1, 1], or one that is streamed.

        Returns:
            ``(n, size)``.
        """
        if isinstance(waveform, Streamed):
            return self._read(frontend, encoder, waveform)
        waveform = frontend.prepared(waveform, self.least_samples(frontend))
        seconds = min(waveform.shape[1] / frontend.sample_rate, self.chunk)
        at_once = max(1, int(_SECONDS_AT_ONCE / seconds))
        return torch.cat([self._read(frontend, encoder, clips) for clips in waveform.split(at_once)])

    def _read(self, frontend: FrontEnd, encoder: ResNet18, waveform: Tensor | Streamed) -> Tensor:
        frames = 1 + (waveform.shape[1] - frontend.window_samples) // frontend.hop_samples
        grid = encoder.strides[-1]  # frames that stand at a multiple of this do so in every stage
        margin = _round_up(encoder.reach, grid)
        step = _round_up(self.chunk * frontend.sample_rate / frontend.hop_samples, grid)
        moments = [_Moments() for _ in encoder.widths]
        levels, changes = _Moments(), _Moments()  # of the features
        for start in range(0, frames, step):
            stop = min(start + step, frames)
            left, right = max(0, start - margin), min(stop + margin, frames)
            first = left * frontend.hop_samples
            last = (right - 1) * frontend.hop_samples + frontend.window_samples
            features = frontend.features(waveform[:, first:last])  # (n, channels, right - left, bands)
            if self.features:
                levels.add(features[:, :, start - left : stop - left].float())
                # the change from one chunk to the next belongs to the later one
                changes.add(features[:, :, max(start - left - 1, 0) : stop - left].float().diff(dim=2))
            outputs = encoder.stages(features)
            for stage, stride, output in zip(moments, encoder.strides, outputs, strict=True):
                begin, end = (start - left) // stride, math.ceil((stop - left) / stride)
                stage.add(self.banded(output[:, :, begin:end]))
        of_tones = self._tones(frontend, waveform) if self.quarter_tones else ()
        of_features = [*levels.read(), changes.read()[1]] if self.features else []
        return torch.cat([*of_tones, *of_features, *(part for stage in moments for part in stage.read())], dim=1)

    def _tones(self, frontend: FrontEnd, waveform: Tensor | Streamed) -> tuple[Tensor, Tensor]:
        """Mean and deviation of every quarter tone, (n, tones) each."""
        tones = QuarterTones(frontend.sample_rate).to(waveform.device)
        moments = _Moments()
        for part in tones.parts(waveform, self.chunk):
            moments.add(tones(part).transpose(1, 2))  # (n, tones, frames)
        return moments.read()

    def banded(self, output: Tensor) -> Tensor:
        """A stage's output (n, channels, T, ...) with the frequency bands that are kept, float32."""
        if output.ndim == 4:  # (n, channels, T, F)
            output = functional.adaptive_avg_pool2d(output, (output.shape[2], self.kept(output.shape[3])))
        return output.float()

    def kept(self, height: int) -> int:
        """How many frequency bands are kept of a stage's ``height``."""
        return height if self.bands is None else min(self.bands, height, max(2, height // 2))


class _Moments:
    """Mean and variance over time, merged chunk by chunk (Chan et al. 1979) so that float32 is enough."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self.square = torch.zeros(())  # the sum of squared distances from the mean

    def add(self, x: Tensor) -> None:
        """Take in ``(n, channels, T, ...)``."""
        count = x.shape[2]
        if count == 0:
            return
        variance, mean = torch.var_mean(x, dim=2, correction=0)
        square = variance * count
        if self.count == 0:
            self.count, self.mean, self.square = count, mean, square
            return
        total = self.count + count
        apart = mean - self.mean
        self.square = self.square + square + apart.square() * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total

    def read(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, each ``(n, channels * ...)``."""
        # The floor keeps the gradient of a channel that never changes at zero, where that of a root is
        # infinite.
        deviation = (self.square / self.count).clamp_min(1e-12).sqrt()
        return self.mean.flatten(1), deviation.flatten(1)


def _round_up(value: float, grid: int) -> int:
    return max(1, math.ceil(value / grid)) * grid


READOUTS: dict[str, type[Pooled] | type[Stages]] = {"pooled": Pooled, "stages": Stages}
