"""A phase vocoder with a rate of its own for each sound: when things happen, apart from which frequencies they have.

Flanagan and Golden, "Phase Vocoder", Bell System Technical Journal 45, 1966; in the form of two transforms for each
output frame (Dolson, "The Phase Vocoder: A Tutorial", Computer Music Journal 10, 1986, gives the background).
"""

from __future__ import annotations

import torch
from torch import Tensor

from soundalike.views.augment.augmentation import fast_length

WINDOW_SECONDS = 0.048
ANALYSIS = 0.75
"""Power of the Hann window on the input's frames; the output's frames have the rest of 1, so that the windows of two
neighbours add up to 1 at every sample. The more of it the input has, the better it tells partials apart; the more the
output has, the smoother frames join."""


def window_length(sample_rate: float) -> int:
    """Samples of a frame, a multiple of 16."""
    return 16 * fast_length(max(1, round(sample_rate * WINDOW_SECONDS / 16)))


def overlap(factor: float) -> int:
    """Frames that a sample of the output lies in, for a stretch to ``factor`` times the length.

    The input's frames lie 1 / factor times as far apart as the output's: as many that no event falls between them.
    """
    return 2 if factor >= 0.66 else 4 if factor >= 0.33 else 8 if factor >= 0.16 else 16


def stretch(
    audio: Tensor,
    rate: Tensor,
    length: int,
    hop: int,
    frames: int,
    hop_out: int | None = None,
    keep: Tensor | None = None,
) -> Tensor:
    """Sounds whose events come ``rate`` times as fast, at the same frequencies.

    Output frame m takes two frames of the input: A_m, centred on the time ``rate * m * hop`` that it stands for, and
    B_m, one hop before A_m. A steady partial turns by the same angle in every hop, so frame m continues frame m - 1
    where A_m is turned by R_m = R_{m-1} · A_{m-1} · conj(B_m), scaled to length 1. No angle is ever computed, and
    with a rate of 1, where B_m is A_{m-1}, nothing is turned at all.

    Args:
        audio: ``(n, samples)``, silent outside.
        rate: ``(n,)``, above 1 is faster.
        length: how many samples of output, at the input's sample rate.
        hop: samples between frames.
        frames: the length of a frame in hops, even.
        hop_out: a hop in samples of the output; another one than ``hop`` changes the sample rate.
        keep: which of the lowest frequency bins are to be heard, bool ``(n, bins)``; all where not given.

    Returns:
        ``(n, (length + hop) * hop_out / hop)`` or more. The first sample is one hop before the start.
    """
    samples, size = audio.shape[1], frames * hop
    hop_out = hop if hop_out is None else hop_out
    count = -(-length // hop) + frames + 1  # some before the start: the first samples too lie in so many
    time = torch.arange(-(frames // 2), count - frames // 2, dtype=torch.float64, device=audio.device) * hop
    first = (rate.double() * time[:, None]).round().long() - size // 2  # (frames, n): where each frame starts
    padded = torch.nn.functional.pad(audio, (size, size))
    row = torch.arange(len(audio), device=audio.device) * padded.shape[1] + size
    bins = size // 2 + 1 if keep is None else keep.shape[1]
    window = torch.hann_window(size, dtype=audio.dtype, device=audio.device).pow_(ANALYSIS)

    def spectra(start: Tensor) -> Tensor:
        cut = _frames(padded.view(-1), (start.clamp(-size, samples) + row).flatten(), size)
        return torch.fft.rfft(cut.mul_(window)).unflatten(0, start.shape)[:, :, :bins]  # (frames, n, bins)

    here, before = spectra(first), spectra(first[1:] - hop)
    advance = before.conj().resolve_conj().mul_(here[:-1])
    if keep is not None:
        # how many more bins there are depends on the batch: they must not turn the highest that is kept
        advance = advance.mul_(keep.to(advance.dtype))
    turned = _turns(advance).mul(here)
    if keep is not None:
        turned = turned.mul_(keep.to(turned.dtype))  # complex: real numbers would be copied into complex ones

    window = torch.hann_window(frames * hop_out, dtype=audio.dtype, device=audio.device).pow_(1.0 - ANALYSIS)
    window *= 2.0 / frames * hop_out / hop
    parts = torch.fft.irfft(turned, frames * hop_out).mul_(window).unflatten(2, (frames, -1))
    # part p of frame m lies where part p + 1 of frame m - 1 does
    pieces = [parts[frames - 1 - part : len(parts) - part, :, part] for part in range(frames)]
    joined = pieces[0] + pieces[1]
    for piece in pieces[2:]:
        joined += piece
    return joined.transpose(0, 1).flatten(1)


def _turns(advance: Tensor) -> Tensor:
    """The turns R of every frame from A_{m-1} · conj(B_m).

    Neighbouring bins that hear one partial must turn together, or they cancel each other (phase locking: Puckette,
    "Phase-locked Vocoder", 1995). So each bin's R_m is that of the sum over itself and its neighbours, in which the
    strongest decides.

    Args:
        advance: complex ``(frames - 1, n, bins)``.

    Returns:
        Complex ``(frames, n, bins)``, of length 1.
    """
    count, n, bins = advance.shape
    silence = torch.full((), 1e-18, dtype=advance.dtype, device=advance.device)  # whose angle says nothing: no turn
    if advance.requires_grad:
        turns = [torch.ones_like(advance[0])]
        for each in advance.unbind(0):
            wide = torch.nn.functional.pad(torch.addcmul(silence, turns[-1], each), (1, 1))
            turns.append((wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]).sgn())
        return torch.stack(turns)
    result = advance.new_empty(count + 1, n, bins)
    result[0] = 1.0
    wide = advance.new_zeros(n, bins + 2)
    below, middle, above = wide[:, :-2], wide[:, 1:-1], wide[:, 2:]
    total = torch.empty_like(advance[0])
    steps = result.unbind(0)
    for each, turn, following in zip(advance.unbind(0), steps, steps[1:], strict=False):
        torch.addcmul(silence, turn, each, out=middle)
        torch.add(below, above, out=total).add_(middle)
        torch.sgn(total, out=following)
    return result


def _frames(flat: Tensor, start: Tensor, size: int) -> Tensor:
    """The ``size`` numbers from each start on (count, size)."""
    if flat.requires_grad:  # the gradient of overlapping views would be as large as all windows there are
        return flat[start[:, None] + torch.arange(size, device=flat.device)]
    return flat.unfold(0, size, 1).index_select(0, start)
