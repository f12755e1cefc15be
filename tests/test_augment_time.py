"""Masks, shifts and fades against slow, obvious loops; masks on spectrograms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from seeded import generator
from soundalike.views.augment import Augmentation, Fade, SpecAugment, SpectrogramMask, TimeMask, TimeShift

N, SAMPLES = 40, 333


@pytest.fixture
def audio() -> Tensor:
    return torch.randn(N, SAMPLES, generator=generator(3))


def test_fade_is_the_obvious_loop(audio: Tensor) -> None:
    fade = Fade(fraction=0.5, p=1.0)
    drawn = fade.draw(N, SAMPLES, generator=generator())
    drawn["fade_in"][0] = drawn["fade_out"][1] = 0
    faded = fade.apply(audio, drawn)
    gains = (lambda t: t, lambda t: math.log10(1 + 9 * t), lambda t: (10**t - 1) / 9)
    assert set(drawn["shape"].tolist()) == {0, 1, 2}
    for row in range(N):
        rise, fall = int(drawn["fade_in"][row]), int(drawn["fade_out"][row])
        assert max(rise, fall) <= SAMPLES / 2
        for i in range(SAMPLES):
            t = min(i / rise if i < rise else 1, (SAMPLES - 1 - i) / fall if SAMPLES - 1 - i < fall else 1)
            expected = float(audio[row, i]) * gains[int(drawn["shape"][row])](t)
            assert float(faded[row, i]) == pytest.approx(expected, abs=2e-6)


def test_where_fades_overlap_the_quieter_holds() -> None:
    fade = Fade(fraction=1.0, p=1.0)
    ones = torch.ones(60, 100, dtype=torch.float64)
    drawn = fade.draw(60, 100, generator=generator())
    both = fade.apply(ones, drawn)
    rise = fade.apply(ones, {**drawn, "fade_out": torch.zeros(60, dtype=torch.int64)})
    fall = fade.apply(ones, {**drawn, "fade_in": torch.zeros(60, dtype=torch.int64)})
    assert bool((drawn["fade_in"] + drawn["fade_out"] > 100).any())
    torch.testing.assert_close(both, torch.minimum(rise, fall), atol=1e-12, rtol=0)


@pytest.mark.parametrize("fill", ["constant", "noise", "mixed"])
def test_mask_replaces_one_segment_and_nothing_else(audio: Tensor, fill: str) -> None:
    mask = TimeMask(fraction=0.125, fill=fill, constant=0.25, p=1.0)
    drawn = mask.draw(N, SAMPLES, generator=generator())
    masked = mask.apply(audio, drawn)
    for row in range(N):
        start, length = int(drawn["start"][row]), int(drawn["length"][row])
        assert 1 <= length <= SAMPLES // 8
        assert 0 <= start <= SAMPLES - length
        inside = masked[row, start : start + length]
        outside = torch.cat((masked[row, :start], masked[row, start + length :]))
        assert torch.equal(outside, torch.cat((audio[row, :start], audio[row, start + length :])))
        assert bool((inside == 0.25).all()) == (not drawn["noise"][row])
    assert len(set(drawn["noise"].tolist())) == (2 if fill == "mixed" else 1)


def test_mask_noise_is_normal_and_as_loud_as_what_it_covers() -> None:
    loud = torch.full((200, 4000), 0.5)
    mask = TimeMask(fraction=0.5, fill="noise", p=1.0)
    drawn = mask.draw(200, 4000, generator=generator())
    noise = mask.apply(loud, drawn)[mask.apply(loud, drawn) != 0.5] / 0.5
    assert float(noise.std()) == pytest.approx(1.0, abs=0.02)
    assert float(noise.pow(4).mean()) == pytest.approx(3.0, abs=0.1)


def test_mask_may_touch_both_ends_and_all_lengths() -> None:
    mask = TimeMask(fraction=0.5, p=1.0)
    drawn = mask.draw(5000, 10, generator=generator())
    assert set(drawn["length"].tolist()) == {1, 2, 3, 4, 5}
    assert int(drawn["start"].min()) == 0
    assert int((drawn["start"] + drawn["length"]).max()) == 10


def test_shift_is_circular(audio: Tensor) -> None:
    shift = TimeShift(fraction=0.5, p=1.0)
    drawn = shift.draw(N, SAMPLES, generator=generator())
    drawn["shift"][:3] = torch.tensor([0, SAMPLES // 2, -(SAMPLES // 2)])
    shifted = shift.apply(audio, drawn)
    for row in range(N):
        by = int(drawn["shift"][row])
        assert abs(by) <= SAMPLES / 2
        assert torch.equal(shifted[row], audio[row].roll(by))
    assert drawn["shift"].min() < 0 < drawn["shift"].max()


def test_audiomentations_shifts_alike(audio: Tensor) -> None:
    audiomentations = pytest.importorskip("audiomentations")
    theirs = audiomentations.Shift(100, 100, "samples", rollover=True, fade_duration=0.0, p=1.0)
    drawn = {"apply": torch.ones(N, dtype=torch.bool), "shift": torch.full((N,), 100)}
    for row, shifted in zip(audio, TimeShift().apply(audio, drawn), strict=True):
        assert torch.equal(torch.from_numpy(theirs(row.numpy(), sample_rate=16000)), shifted)


@pytest.mark.parametrize("augment", [Fade(1.0, p=1.0), Fade(p=1.0), TimeMask(p=1.0), TimeShift(p=1.0)])
def test_sound_by_sound_is_what_accelerators_do_at_once(audio: Tensor, augment: Augmentation) -> None:
    drawn = augment.draw(N, SAMPLES, generator=generator())
    at_once = augment.apply(audio.clone().requires_grad_(), drawn)  # with gradients it is done as on accelerators
    torch.testing.assert_close(augment.apply(audio, drawn), at_once.detach(), atol=2e-6, rtol=1e-5)


def test_spec_augment_masks_whole_frames_and_whole_bands() -> None:
    spectrogram = torch.rand(30, 3, 101, 64, generator=generator()) + 1.0
    augment = SpecAugment(fill=0.0)
    drawn = augment.draw(30, (101, 64), generator=generator())
    masked = augment.apply(spectrogram, drawn)
    for row in range(30):
        expected = spectrogram[row].clone()
        for start, width in zip(drawn["time_start"][row].tolist(), drawn["time_width"][row].tolist(), strict=True):
            assert start + width <= 101
            expected[:, start : start + width] = 0.0
        for start, width in zip(drawn["band_start"][row].tolist(), drawn["band_width"][row].tolist(), strict=True):
            assert start + width <= 64
            expected[:, :, start : start + width] = 0.0
        assert torch.equal(masked[row], expected)
    assert drawn["time_start"].shape == (30, 4)
    assert int(drawn["time_width"].max()) <= 40
    assert int(drawn["band_width"].max()) <= 20


@pytest.mark.parametrize(("frames", "bands"), [(96, 64), (20, 10)])
def test_a_part_limits_each_mask(frames: int, bands: int) -> None:
    drawn = SpecAugment().draw(400, (frames, bands), generator=generator())
    assert int(drawn["time_width"].max()) == min(40, int(0.4 * frames))
    assert int(drawn["band_width"].max()) == min(20, int(0.4 * bands))
    assert bool(drawn["apply"].all()), "each sound is masked"
    drawn = SpectrogramMask().draw(400, (frames, bands), generator=generator())
    assert int(drawn["time_width"].max()) == min(40, int(0.2 * frames))
    assert int(drawn["band_width"].max()) == min(40, bands)
    assert int(SpecAugment(time_part=0.0).draw(50, (96, 64), generator=generator())["time_width"].max()) == 0


def test_masks_are_filled_with_the_mean_of_the_sound() -> None:
    spectrogram = torch.randn(40, 1, 96, 64, generator=generator()) - 3.0
    augment = SpecAugment()
    drawn = augment.draw(40, (96, 64), generator=generator())
    masked = augment.apply(spectrogram, drawn)
    hidden = SpecAugment(fill=100.0).apply(spectrogram, drawn) == 100.0
    mean = spectrogram.mean((1, 2, 3), keepdim=True).expand_as(spectrogram)
    torch.testing.assert_close(masked[hidden], mean[hidden])
    assert torch.equal(masked[~hidden], spectrogram[~hidden])
    assert float(hidden.float().mean()) == pytest.approx(0.7, abs=0.06), "what the documentation says"


def test_spectrogram_masks_fit_small_spectrograms() -> None:
    augment = SpectrogramMask(fill=-1.0, time_part=1.0)
    drawn = augment.draw(50, (5, 3), generator=generator())
    assert int((drawn["time_start"] + drawn["time_width"]).max()) <= 5
    assert int((drawn["band_start"] + drawn["band_width"]).max()) <= 3
    masked = augment.apply(torch.ones(50, 1, 5, 3), drawn)
    assert set(masked.flatten().tolist()) == {1.0, -1.0}
