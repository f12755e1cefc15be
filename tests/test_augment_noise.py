"""Noise at its ratio and of its colour; filters against scipy's; convolution against numpy's."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from seeded import generator
from soundalike.views.augment import HighPass, ImpulseResponse, LowPass, NoiseInjection
from soundalike.views.augment.augmentation import fast_length, seeds, whole
from soundalike.views.augment.noise import COLOURS

RATE = 16000


def tone(hertz: float, n: int = 1, samples: int = RATE) -> torch.Tensor:
    return 0.4 * torch.sin(2 * math.pi * hertz * torch.arange(samples) / RATE).expand(n, -1)


@pytest.mark.parametrize("colour", [*COLOURS, "mixed"])
def test_noise_reaches_the_drawn_ratio(colour: str) -> None:
    audio = tone(440, 12, 12345)
    augment = NoiseInjection(snr_db=(-10.0, 40.0), colour=colour, p=1.0)
    drawn = augment.draw(12, 12345, generator=generator())
    noise = augment.apply(audio.double(), drawn) - audio
    reached = 10 * torch.log10(audio.double().square().sum(1) / noise.square().sum(1))
    assert (reached - drawn["snr_db"]).abs().max() < 0.01
    assert float(drawn["snr_db"].std()) > 5.0


@pytest.mark.parametrize(("colour", "slope"), [("white", 0.0), ("pink", -3.01), ("brown", -6.02)])
def test_noise_falls_with_each_octave(colour: str, slope: float) -> None:
    silent_but_one = torch.zeros(60, RATE)
    silent_but_one[:, 0] = 1.0
    noisy = NoiseInjection(snr_db=-60.0, colour=colour, p=1.0)(silent_but_one, generator=generator())
    power = torch.fft.rfft(noisy.double()).abs().square().mean(0)
    octaves = [float(power[50 * 2**k : 100 * 2**k].mean()) for k in range(7)]
    levels = 10 * np.log10(octaves)
    fitted = np.polyfit(np.arange(7), levels, 1)[0]
    assert fitted == pytest.approx(slope, abs=0.15)
    assert np.abs(levels - levels[0] - slope * np.arange(7)).max() < 0.6


def test_noise_is_of_both_signs_and_normal() -> None:
    audio = tone(440, 8)
    noise = NoiseInjection(snr_db=0.0, colour="white", p=1.0)(audio, generator=generator()) - audio
    assert abs(float((noise < 0).float().mean()) - 0.5) < 0.01
    assert float((noise / noise.std()).pow(4).mean()) == pytest.approx(3.0, abs=0.1)


def test_no_two_sounds_share_noise() -> None:
    audio = tone(440, 6)
    noise = NoiseInjection(snr_db=0.0, p=1.0)(audio, generator=generator()) - audio
    assert (torch.corrcoef(noise) - torch.eye(6)).abs().max() < 0.6  # brown noise is few low frequencies
    white = NoiseInjection(snr_db=0.0, colour="white", p=1.0)(audio, generator=generator()) - audio
    assert (torch.corrcoef(white) - torch.eye(6)).abs().max() < 0.05


@pytest.mark.parametrize(("kind", "btype", "cutoff"), [(HighPass, "high", 20.0), (HighPass, "high", 800.0)])
def test_high_pass_is_scipys_butterworth(kind: type, btype: str, cutoff: float) -> None:
    _agrees_with_scipy(kind, btype, cutoff)


@pytest.mark.parametrize("cutoff", [1200.0, 7000.0])
def test_low_pass_is_scipys_butterworth(cutoff: float) -> None:
    _agrees_with_scipy(LowPass, "low", cutoff)


def _agrees_with_scipy(kind: type, btype: str, cutoff: float) -> None:
    signal = pytest.importorskip("scipy.signal")
    audio = torch.randn(2, 3001, generator=generator(), dtype=torch.float64)
    filtered = kind(cutoff=cutoff, p=1.0)(audio, generator=generator())
    expected = signal.sosfilt(signal.butter(2, cutoff, btype, fs=RATE, output="sos"), audio.numpy())
    assert np.abs(filtered.numpy() - expected).max() < 2e-4


def test_cutoffs_are_drawn_in_their_range() -> None:
    drawn = LowPass().draw(3000, RATE, generator=generator())["cutoff"]
    assert drawn.min() >= 1200
    assert drawn.max() <= 8000
    assert float((drawn < (1200 * 8000) ** 0.5).float().mean()) == pytest.approx(0.5, abs=0.05)


class TestImpulseResponse:
    def test_is_a_convolution_with_one_of_the_users(self) -> None:
        responses = [np.array([0.0, 2.0, 0.0, -1.0]), np.random.default_rng(0).normal(size=900)]
        audio = torch.randn(8, 500, generator=generator())
        augment = ImpulseResponse(responses=responses, p=1.0)
        drawn = augment.draw(8, 500, generator=generator())
        assert set(drawn["response"].tolist()) == {0, 1}
        for row, changed in enumerate(augment.apply(audio, drawn)):
            response = responses[int(drawn["response"][row])]
            expected = np.convolve(audio[row].numpy(), response / np.sqrt((response**2).sum()))[:500]
            assert np.abs(changed.numpy() - expected).max() < 1e-5

    def test_takes_tensors_lists_and_files(self, tmp_path: Path) -> None:
        response = torch.rand(3, 50, generator=generator()) - 0.5
        from_tensor = ImpulseResponse(responses=response)
        from_lists = ImpulseResponse(responses=response.tolist())
        for i, waveform in enumerate(response):
            soundfile.write(tmp_path / f"{i}.wav", waveform.numpy(), RATE, subtype="FLOAT")
        from_folder = ImpulseResponse(responses=str(tmp_path))
        assert from_tensor.responses is not None
        for other in (from_lists, from_folder):
            assert other.responses is not None
            torch.testing.assert_close(other.responses, from_tensor.responses)

    def test_made_ones_die_away_in_the_drawn_time(self) -> None:
        click = torch.zeros(30, RATE)
        click[:, 0] = 1.0
        augment = ImpulseResponse(decay_seconds=(0.2, 0.8), direct_db=6.0, p=1.0)
        drawn = augment.draw(30, RATE, generator=generator())
        response = augment.apply(click, drawn).double()
        tail = response[:, 1:].square()
        direct = 10 * torch.log10(response[:, 0].square() / tail.sum(1))
        assert (direct - 6.0).abs().max() < 1.0
        fall = tail[:, :3200].reshape(30, 2, 1600).sum(2)  # two tenths of a second
        per_tenth = 10 * torch.log10(fall[:, 0] / fall[:, 1])
        assert (per_tenth - 6.0 / drawn["decay_seconds"]).abs().max() < 1.5


def test_fast_length_is_the_least() -> None:
    def smooth(number: int) -> bool:
        for prime in (2, 3, 5):
            while number % prime == 0:
                number //= prime
        return number == 1

    for length in [1, 2, 7, 11, 997, 16000, 16001, 31999]:
        assert fast_length(length) == next(n for n in range(length, 2 * length + 1) if smooth(n))


def test_whole_numbers_and_seeds_from_the_ends_of_the_range() -> None:
    u = torch.tensor([0.0, 1.0 - 2.0**-24])
    for count in (1, 2, 3, 16000, 2**25):
        assert whole(u, count).tolist()[0] == 0
        assert whole(u, count).tolist()[1] in (count - 1, count - 2)
    assert seeds(torch.stack((u, u), 1)).tolist() == [0, 2**48 - 1]
