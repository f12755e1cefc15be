"""The phase vocoder: pitch apart from time, on tones, chords and clicks; agreement with librosa's."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from seeded import generator
from soundalike.views.augment import PitchShift, TimeStretch
from soundalike.views.augment.stretch import read

RATE = 16000


def chord(*hertz: float, samples: int = RATE, rate: int = RATE) -> Tensor:
    time = torch.arange(samples, dtype=torch.float64) / rate
    return sum((0.2 * torch.sin(2 * math.pi * f * time + i) for i, f in enumerate(hertz)), torch.zeros(1)).float()


def purity(sound: Tensor, *hertz: float, rate: int = RATE) -> float:
    """Decibels of partials at these frequencies, of any level and phase, over all else."""
    sound = sound.double()
    angle = 2 * math.pi * torch.arange(len(sound), dtype=torch.float64)[:, None] / rate * torch.tensor(hertz).double()
    basis = torch.cat((angle.sin(), angle.cos()), dim=1)
    rest = sound - basis @ torch.linalg.lstsq(basis, sound[:, None]).solution[:, 0]
    return 10 * math.log10(float(sound.square().sum() / rest.square().sum()))


def frequency(sound: Tensor, rate: int = RATE) -> float:
    spectrum = torch.fft.rfft(sound * torch.hann_window(len(sound)), 1 << 18).abs()
    return float(spectrum.argmax()) * rate / (1 << 18)


@pytest.mark.parametrize("hertz", [110.0, 440.0, 3000.0])
def test_pitch_shift_moves_a_tone_by_the_ratio_and_keeps_length_and_level(hertz: float) -> None:
    semitones = torch.tensor([-15.0, -12.0, -7.3, -1.0, 0.0, 2.0, 5.0, 9.9, 12.0, 15.0])
    audio = chord(hertz).expand(len(semitones), -1)
    drawn = {"apply": torch.ones(len(semitones), dtype=torch.bool), "semitones": semitones}
    shifted = PitchShift().apply(audio, drawn)
    assert shifted.shape == audio.shape
    for row, by in zip(shifted, semitones.tolist(), strict=True):
        expected = hertz * 2 ** (by / 12)
        if expected > 7000:
            continue
        middle = row[2000:-2000]
        assert frequency(middle) == pytest.approx(expected, rel=1e-3)
        assert purity(middle, expected) > 40
        assert float(middle.square().mean().sqrt()) == pytest.approx(0.2 * 0.5**0.5, rel=0.04)


def test_what_would_be_above_half_the_sample_rate_goes() -> None:
    audio = torch.stack((chord(5000.0), chord(7900.0), chord(3000.0)))
    shifted = PitchShift(semitones=12.0, p=1.0)(audio, generator=generator())[:, 1000:-1000]
    level = shifted.square().mean(1).sqrt() / audio.square().mean(1).sqrt()
    assert level[:2].max() < 0.01
    assert level[2] > 0.9


def test_a_chord_stays_a_chord() -> None:
    hertz = (200.0, 300.0, 400.0, 500.0, 600.0)
    audio = chord(*hertz)[None]
    for semitones in (-12.0, 7.0):
        shifted = PitchShift(semitones=semitones, p=1.0)(audio, generator=generator())[0, 2000:-2000]
        assert purity(shifted, *(f * 2 ** (semitones / 12) for f in hertz)) > 30
    for rate in (0.5, 0.8, 1.3):
        stretched = TimeStretch(rate=rate, p=1.0)(audio, generator=generator())[0]
        assert purity(stretched[1500 : int(RATE / max(rate, 1.0)) - 1500], *hertz) > 30


@pytest.mark.parametrize("hertz", [110.0, 440.0, 3000.0])
def test_time_stretch_keeps_a_tones_frequency_and_level(hertz: float) -> None:
    rate = torch.tensor([0.5, 0.77, 1.0, 1.2, 1.5])
    drawn = {"apply": torch.ones(5, dtype=torch.bool), "rate": rate}
    stretched = TimeStretch().apply(chord(hertz).expand(5, -1), drawn)
    for row, by in zip(stretched, rate.tolist(), strict=True):
        end = int(RATE / max(by, 1.0))
        middle = row[1500 : end - 1500]
        assert frequency(middle) == pytest.approx(hertz, rel=1e-3)
        assert float(middle.square().mean().sqrt()) == pytest.approx(0.2 * 0.5**0.5, rel=0.04)
        assert (row[math.ceil(RATE / by) :] == 0).all()


@pytest.mark.parametrize("rate", [0.5, 0.8, 1.0, 1.25, 1.5])
def test_time_stretch_moves_events(rate: float) -> None:
    audio = torch.zeros(3, RATE)
    times = [1000, 4000, 7000]
    for row, time in enumerate(times):
        audio[row, time] = 1.0
    stretched = TimeStretch(rate=rate, p=1.0)(audio, generator=generator())
    for row, time in enumerate(times):
        energy = stretched[row].square()
        centre = float((energy * torch.arange(RATE)).sum() / energy.sum())
        assert centre == pytest.approx(time / rate, abs=0.008 * RATE)
        assert abs(int(energy.argmax()) - time / rate) < 0.012 * RATE


def test_an_onset_comes_when_it_should() -> None:
    audio = chord(600.0)[None].clone()
    audio[:, :8000] = 0.0
    for rate in (0.6, 1.4):
        stretched = TimeStretch(rate=rate, p=1.0)(audio, generator=generator())[0]
        heard = stretched.unfold(0, 80, 80).square().mean(1).sqrt() > 0.07  # half its level
        assert int(heard.int().argmax()) * 80 == pytest.approx(8000 / rate, abs=0.015 * RATE)


def test_pitch_shift_moves_no_event() -> None:
    audio = torch.zeros(4, RATE)
    audio[:, 6000] = 1.0
    drawn = {"apply": torch.ones(4, dtype=torch.bool), "semitones": torch.tensor([-15.0, -4.0, 4.0, 15.0])}
    for row in PitchShift().apply(audio, drawn):
        assert abs(int(row.abs().argmax()) - 6000) < 0.01 * RATE


def test_a_rate_of_1_and_0_semitones_change_nothing() -> None:
    audio = torch.randn(3, 5000, generator=generator())
    torch.testing.assert_close(TimeStretch(rate=1.0, p=1.0)(audio, generator=generator()), audio, atol=1e-5, rtol=0)
    smooth = chord(300.0, 2000.0, 5000.0)[None]
    torch.testing.assert_close(
        PitchShift(semitones=0.0, p=1.0)(smooth, generator=generator()), smooth, atol=5e-4, rtol=0
    )


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_other_sample_rates(rate: int) -> None:
    audio = chord(500.0, samples=rate, rate=rate)[None]
    shifted = PitchShift(rate, 4.0, 1.0)(audio, generator=generator())[0, rate // 8 : -rate // 8]
    assert frequency(shifted, rate) == pytest.approx(500 * 2 ** (4 / 12), rel=1e-3)
    stretched = TimeStretch(rate, 0.7, 1.0)(audio, generator=generator())[0, rate // 8 : -rate // 8]
    assert frequency(stretched, rate) == pytest.approx(500, rel=1e-3)


def test_draws_fill_their_range() -> None:
    semitones = PitchShift().draw(4000, RATE, generator=generator())["semitones"]
    rate = TimeStretch().draw(4000, RATE, generator=generator())["rate"]
    for drawn, low, high in ((semitones, -15.0, 15.0), (rate, 0.5, 1.5)):
        assert low <= drawn.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < drawn.max() <= high
        assert float(drawn.mean()) == pytest.approx((low + high) / 2, abs=0.03 * (high - low))


def test_reading_between_samples_is_exact_for_cubics() -> None:
    at = torch.arange(400, dtype=torch.float64)

    def cubic(x: Tensor) -> Tensor:
        return 1e-6 * x**3 - 3e-4 * x**2 + 0.02 * x - 1.0

    for step in (0.37, 1.0, 1.91):
        out = read(cubic(at)[None], 3, torch.tensor([step], dtype=torch.float64), 200)
        expected = cubic(3 + step * torch.arange(200, dtype=torch.float64))
        torch.testing.assert_close(out[0], expected, atol=1e-9, rtol=0)


def loudness(sound: np.ndarray) -> np.ndarray:
    import librosa

    mel = librosa.feature.melspectrogram(y=sound, sr=RATE, n_fft=1024, hop_length=256, n_mels=40)
    levels: np.ndarray = 10 * np.log10(mel + 1e-5)
    return levels


def test_librosa_agrees() -> None:
    librosa = pytest.importorskip("librosa")
    time = torch.arange(RATE) / RATE
    melody = sum(torch.exp(-6 * (time - start).clamp(min=0)) * (time >= start)
                 * sum(torch.sin(2 * math.pi * k * f * time) / k for k in range(1, 8))
                 for start, f in ((0.05, 220.0), (0.3, 330.0), (0.55, 262.0), (0.7, 392.0)))  # fmt: skip
    assert isinstance(melody, Tensor)
    audio = 0.2 * melody[None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pairs = [
            (PitchShift(semitones=s, p=1.0), librosa.effects.pitch_shift(audio[0].numpy(), sr=RATE, n_steps=s))
            for s in (-5.0, 4.0)
        ] + [
            (TimeStretch(rate=r, p=1.0), librosa.effects.time_stretch(audio[0].numpy(), rate=r)[:RATE])
            for r in (0.7, 1.3)
        ]
    for ours, theirs in pairs:
        sound = ours(audio, generator=generator())[0].numpy()[: len(theirs)]
        assert np.corrcoef(loudness(sound).ravel(), loudness(theirs).ravel())[0, 1] > 0.93
