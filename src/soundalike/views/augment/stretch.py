"""Time stretching that keeps pitch, and pitch shifting that keeps time."""

from __future__ import annotations

import torch
from torch import Tensor

from soundalike.views.augment.augmentation import Augmentation, Drawn, Range, between, check_count, check_range
from soundalike.views.augment.phase_vocoder import overlap, stretch, window_length

RAISED = (0.25, 0.5, 0.625, 0.75, 1.0, 1.125, 1.25, 1.5, 1.75, 2.0)
"""Eighths, which divide a hop, and whose Fourier transforms are quick."""
FRAMES_AT_ONCE = 1024
"""Frames whose spectra stay in a CPU's cache from one step of the phase vocoder to the next."""


class _Vocoded(Augmentation):
    """What both share: on a CPU, sounds of like rate are changed together, as few as the cache takes."""

    drawn_numbers = 1

    def __init__(self, sample_rate: int, p: float) -> None:
        super().__init__(p)
        self.sample_rate = check_count("sample_rate", sample_rate, 100)
        self.window = window_length(self.sample_rate)

    def _in_groups(self, audio: Tensor, factor: Tensor, bounds: tuple[float, float]) -> Tensor:
        """Every sound changed: ``factor`` (n,) is its stretched length as a multiple of its own."""
        samples = audio.shape[1]
        changed = torch.zeros_like(audio)
        if audio.device.type != "cpu":
            # one class for all, that of the lowest factor there may be: no value has to be waited for
            part = self._change(audio, factor, self._length(samples, bounds[1]), bounds[0])
            changed[:, : part.shape[1]] = part
            return changed
        order = factor.argsort(descending=True, stable=True)
        ordered = factor[order].tolist()
        done = 0
        while done < len(order):
            length = self._length(samples, ordered[done])
            at_once = FRAMES_AT_ONCE * self.window // (overlap(ordered[done]) * length)
            end = min(len(order), done + max(1, at_once))
            # what depends on this bound must come out the same for a sound in whichever company
            while self._class(ordered[end - 1]) != self._class(ordered[done]):
                end -= 1
            rows = order[done:end]
            part = self._change(audio.index_select(0, rows), factor[rows], length, ordered[end - 1])
            changed[:, : part.shape[1]].index_copy_(0, rows, part)
            done = end
        return changed

    def _class(self, factor: float) -> tuple[float, ...]:
        """Sounds of one class may be changed together."""
        return (overlap(factor),)

    def _length(self, samples: int, factor: float) -> int:
        """Samples of stretched sound that are needed at most."""
        return int(samples * factor) + 1

    def _change(self, audio: Tensor, factor: Tensor, length: int, least: float) -> Tensor:
        """Sounds whose factors are at least ``least`` and need at most ``length`` samples of stretched sound."""
        raise NotImplementedError


class TimeStretch(_Vocoded):
    """Plays a sound faster or slower at the pitch it has, then cuts it, or fills it with silence, to its length.

    Args:
        sample_rate: in Hz.
        rate: how many times as fast, drawn uniformly; an event at time t comes at t / rate.
        p: the chance that a sound is changed.

    Source:
        Al-Tahan and Mohsenzadeh, "CLAR", AISTATS 2021, arXiv 2010.09542.
    """

    def __init__(self, sample_rate: int = 16000, rate: Range = (0.5, 1.5), p: float = 0.5) -> None:
        super().__init__(sample_rate, p)
        self.rate = check_range("rate", rate, 0.1, 10.0)

    def _values(self, u: Tensor, size: int) -> Drawn:
        return {"rate": between(u[:, 0], self.rate)}

    def _transform(self, audio: Tensor, drawn: Drawn) -> Tensor:
        return self._in_groups(audio, 1.0 / drawn["rate"], (1.0 / self.rate[1], 1.0 / self.rate[0]))

    def _length(self, samples: int, factor: float) -> int:
        return min(samples, super()._length(samples, factor))

    def _change(self, audio: Tensor, factor: Tensor, length: int, least: float) -> Tensor:
        frames = overlap(least)
        hop = self.window // frames
        heard = stretch(audio, 1.0 / factor, length, hop, frames)[:, hop : hop + length]
        # what rings on after the sound's last sample goes
        last = (audio.shape[1] * factor)[:, None].ceil()
        return heard * (torch.arange(length, device=audio.device) < last)


class PitchShift(_Vocoded):
    """Raises or lowers a sound's pitch and keeps its length: a stretched sound, read faster or slower.

    Args:
        sample_rate: in Hz.
        semitones: how far, upwards where positive, drawn uniformly.
        p: the chance that a sound is changed.

    Source:
        Al-Tahan and Mohsenzadeh, "CLAR", AISTATS 2021, arXiv 2010.09542.
    """

    def __init__(self, sample_rate: int = 16000, semitones: Range = (-15.0, 15.0), p: float = 0.5) -> None:
        super().__init__(sample_rate, p)
        self.semitones = check_range("semitones", semitones, -36.0, 36.0)

    def _values(self, u: Tensor, size: int) -> Drawn:
        return {"semitones": between(u[:, 0], self.semitones)}

    def _transform(self, audio: Tensor, drawn: Drawn) -> Tensor:
        lowest, highest = (2.0 ** (bound / 12.0) for bound in self.semitones)
        return self._in_groups(audio, torch.exp2(drawn["semitones"] / 12.0), (lowest, highest))

    def _class(self, factor: float) -> tuple[float, ...]:
        # and by how much the stretched sound's sample rate is raised: to twice what its frequencies need, or more
        return (*super()._class(factor), next(raised for raised in RAISED if raised * max(1.0, factor) >= 2.0))

    def _change(self, audio: Tensor, factor: Tensor, length: int, least: float) -> Tensor:
        # What would lie above half the sample rate when read faster is left out.
        nyquist = self.window // 2  # as a bin
        bins = torch.arange(int(nyquist / max(1.0, least)) + 1, device=audio.device)
        keep = bins * factor[:, None] < nyquist
        frames, raised = overlap(least), self._class(least)[1]
        hop = self.window // frames
        hop_out = int(hop * raised)
        stretched = stretch(audio, 1.0 / factor, length, hop, frames, hop_out, keep)
        return read(stretched, hop_out, raised * factor, audio.shape[1])


def read(audio: Tensor, first: int, step: Tensor, count: int) -> Tensor:
    """Reads sounds at a steady step, between samples by Lagrange's cubic through the four around.

    Args:
        audio: ``(n, samples)``; the last position read is at least two samples before its end.
        first: position of the first number, in samples, at least 1.
        step: ``(n,)``, in samples.
        count: how many numbers.

    Returns:
        ``(n, count)``.
    """
    # In single precision a late position is off by hundredths of a sample: only a block's start is counted from
    # the first sample, in double precision, and the rest from there.
    block = min(count, 128)
    step = step.double()[:, None]
    start = torch.arange(-(-count // block), device=audio.device) * (block * step) + first  # (n, blocks)
    begin = start.floor()
    within = (torch.arange(block, device=audio.device) * step).to(audio.dtype)  # (n, block)
    f = ((start - begin).to(audio.dtype)[:, :, None] + within[:, None]).flatten(1)[:, :count]  # (n, count)
    lower = f.floor()
    f = f - lower
    position = lower.long()
    del lower
    position += (begin.long() - 1)[:, :, None].expand(-1, -1, block).flatten(1)[:, :count]
    before, low, high, after = (audio[:, shift:].gather(1, position) for shift in range(4))
    rise = high - low
    bend = (before - low).add_(rise)  # 2 · the coefficient of (f² - f)
    twist = (after - before).sub_(rise, alpha=3.0)  # 6 · that of (f³ - f)
    rise.addcmul_(f - 1.0, bend.addcmul_(twist, f + 1.0, value=1.0 / 3.0), value=0.5)
    return low.addcmul_(f, rise)
