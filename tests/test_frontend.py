from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from soundalike.core.errors import SoundalikeError
from soundalike.nn.frontend import FRONTENDS, LogMel, mel_filters


def slow_filters(sample_rate: int, fft: int, bands: int, minimum_hz: float, maximum_hz: float) -> np.ndarray:
    def mel(hertz: float) -> float:
        return 1127.0 * math.log(1 + hertz / 700.0)

    low, high = mel(minimum_hz), mel(maximum_hz)
    step = (high - low) / (bands + 1)
    filters = np.zeros((fft // 2 + 1, bands))
    for band in range(bands):
        start, centre, end = (low + (band + offset) * step for offset in (0, 1, 2))
        for k in range(1, fft // 2 + 1):
            at = mel(k * sample_rate / fft)
            if start < at <= centre:
                filters[k, band] = (at - start) / (centre - start)
            elif centre < at < end:
                filters[k, band] = (end - at) / (end - centre)
    return filters


def slow_log_mel(samples: np.ndarray) -> np.ndarray:
    """One waveform to all its frames, with the published constants written out."""
    filters = slow_filters(16000, 512, 64, 125, 7500)
    hann = np.array([0.5 - 0.5 * math.cos(2 * math.pi * i / 400) for i in range(400)])
    rows = []
    for start in range(0, len(samples) - 400 + 1, 160):
        magnitudes = np.abs(np.fft.fft(samples[start : start + 400] * hann, 512))[:257]
        rows.append([math.log(magnitudes @ filters[:, band] + 0.01) for band in range(64)])
    return np.array(rows)


def noise(count: int, samples: int, seed: int = 0) -> torch.Tensor:
    return 0.3 * torch.randn(count, samples, generator=torch.Generator().manual_seed(seed))


def test_one_second_makes_96_of_98_frames() -> None:
    frontend = LogMel()
    assert frontend(noise(3, 16000)).shape == (3, 1, 96, 64)
    assert frontend.whole(noise(3, 16000)).shape == (3, 1, 98, 64)
    assert (frontend.clip_samples, frontend.channels, frontend.bands) == (15600, 1, 64)
    assert torch.equal(frontend(noise(1, 15600)), frontend(noise(1, 16000)[:, :15600]))


@pytest.mark.parametrize("samples", [15600, 16000, 23456])
def test_agrees_with_the_slow_definition(samples: int) -> None:
    waveform = noise(2, samples, seed=samples)
    ours = LogMel().whole(waveform)
    for row, wave in zip(ours, waveform, strict=True):
        slow = slow_log_mel(wave.double().numpy())
        assert row[0].shape == slow.shape
        np.testing.assert_allclose(row[0], slow, atol=2e-5)


@pytest.mark.parametrize(
    ("sample_rate", "fft", "bands", "low", "high"),
    [(16000, 512, 64, 125.0, 7500.0), (44100, 2048, 128, 0.0, 22050.0), (8000, 256, 20, 60.0, 3000.0)],
)
def test_mel_filters_agree_with_the_formula(sample_rate: int, fft: int, bands: int, low: float, high: float) -> None:
    ours = mel_filters(sample_rate, fft, bands, low, high).numpy()
    np.testing.assert_allclose(ours, slow_filters(sample_rate, fft, bands, low, high), atol=1e-12)
    assert not ours[0].any()


def test_band_edges_are_those_of_librosa() -> None:
    librosa = pytest.importorskip("librosa")
    edges = librosa.mel_frequencies(64 + 2, fmin=125.0, fmax=7500.0, htk=True)
    bins = np.linspace(0, 8000, 2**14 // 2 + 1)
    filters = mel_filters(16000, 2**14, 64, 125.0, 7500.0).numpy()
    for band in range(64):
        inside = (bins > edges[band] + 1e-6) & (bins < edges[band + 2] - 1e-6)
        np.testing.assert_array_equal(filters[:, band] > 0, inside)
        assert abs(bins[filters[:, band].argmax()] - edges[band + 1]) <= bins[1]


def test_silence_is_the_logarithm_of_the_offset() -> None:
    assert torch.equal(LogMel()(torch.zeros(1, 16000)), torch.full((1, 1, 96, 64), math.log(0.01)))
    quiet = LogMel(offset=0.5)(torch.zeros(1, 16000))
    torch.testing.assert_close(quiet, torch.full_like(quiet, math.log(0.5)))


@pytest.mark.parametrize("hertz", [300.0, 1000.0, 5000.0])
def test_a_sine_sounds_in_its_own_band(hertz: float) -> None:
    time = torch.arange(16000, dtype=torch.float64) / 16000
    sine = torch.sin(2 * math.pi * hertz * time).float()[None]
    edges = [1127 * math.log(1 + f / 700) for f in (125, 7500, hertz)]
    position = (edges[2] - edges[0]) / (edges[1] - edges[0]) * 65 - 1
    loudest = LogMel()(sine).mean((0, 1, 2)).argmax().item()
    assert abs(loudest - position) <= 1


def test_a_short_clip_is_zero_padded_on_the_right() -> None:
    frontend = LogMel()
    short = noise(2, 5000)
    padded = torch.cat([short, torch.zeros(2, frontend.clip_samples - 5000)], dim=1)
    assert torch.equal(frontend(short), frontend(padded))
    assert torch.equal(frontend.whole(short), frontend.whole(padded))
    assert frontend(noise(1, 0)).shape == (1, 1, 96, 64)
    assert LogMel(frames=None)(noise(1, 100)).shape == (1, 1, 1, 64)


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(0, 40000), frames=st.one_of(st.none(), st.integers(1, 120)))
def test_frame_count_is_what_whole_makes(samples: int, frames: int | None) -> None:
    frontend = LogMel(frames=frames)
    assert frontend.whole(torch.zeros(1, samples)).shape[2] == frontend.frame_count(samples)
    if frames is not None:
        assert frontend(torch.zeros(1, samples)).shape[2] == frames


def test_a_frame_depends_on_its_own_samples_only() -> None:
    frontend = LogMel()
    waveform = noise(1, 32000)
    piece = frontend.whole(waveform[:, 160 * 40 : 160 * 40 + frontend.clip_samples])
    torch.testing.assert_close(piece, frontend.whole(waveform)[:, :, 40:136], atol=1e-5, rtol=1e-5)


def test_float32_under_autocast_and_for_half_precision() -> None:
    frontend = LogMel()
    waveform = noise(2, 16000)
    expected = frontend(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = frontend(waveform)
    assert torch.equal(inside, expected)
    assert frontend(waveform.bfloat16()).dtype == torch.float32
    assert LogMel().to(torch.bfloat16)(waveform).dtype == torch.float32


def test_double_precision_is_kept() -> None:
    waveform = noise(1, 16000).double()
    result = LogMel().double()(waveform)
    assert result.dtype == torch.float64
    np.testing.assert_allclose(result[0, 0], slow_log_mel(waveform[0].numpy())[:96], atol=1e-6)


def test_gradients_are_right_and_finite_in_silence() -> None:
    small = LogMel(window=0.004, hop=0.002, fft=64, bands=4, frames=3).double()
    waveform = noise(2, 128).double().requires_grad_()
    assert torch.autograd.gradcheck(small, (waveform,))
    silent = torch.zeros(1, 16000, requires_grad=True)
    LogMel()(silent).sum().backward()
    assert silent.grad is not None
    assert silent.grad.isfinite().all()


def test_nothing_is_stored_in_a_checkpoint() -> None:
    assert LogMel().state_dict() == {}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"fft": 256}, "fft"),
        ({"maximum_hz": 9000.0}, "maximum_hz"),
        ({"minimum_hz": 7500.0}, "minimum_hz"),
        ({"minimum_hz": -1.0}, "minimum_hz"),
        ({"offset": 0.0}, "offset"),
        ({"offset": math.nan}, "offset"),
        ({"bands": 0}, "bands"),
        ({"frames": 0}, "frames"),
        ({"hop": 0.0}, "hop"),
        ({"window": 0.0}, "window"),
        ({"sample_rate": 0}, "sample_rate"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, float], word: str) -> None:
    with pytest.raises(SoundalikeError, match=f"logmel: .*{word}"):
        LogMel(**arguments)  # type: ignore[arg-type]


def test_bands_that_hold_no_bin_are_told() -> None:
    with pytest.warns(UserWarning, match="raise fft"):
        LogMel(bands=300)


@pytest.mark.parametrize("waveform", [torch.zeros(16000), torch.zeros(1, 2, 16000), torch.zeros(1, 16000).short()])
def test_what_is_no_batch_of_waveforms_is_refused(waveform: torch.Tensor) -> None:
    with pytest.raises(SoundalikeError, match="shape"):
        LogMel()(waveform)


def test_registry_builds_with_defaults() -> None:
    assert isinstance(FRONTENDS["logmel"](), LogMel)


def test_silence_can_be_zero() -> None:
    waveform = torch.cat([torch.zeros(1, 16000), noise(1, 16000)])
    shifted = LogMel(silence_is_zero=True)(waveform)
    assert torch.count_nonzero(shifted[0]) == 0
    torch.testing.assert_close(shifted, LogMel()(waveform) - math.log(0.01))


def test_level_peak_makes_loudness_of_no_matter() -> None:
    frontend, waveform = LogMel(level="peak"), noise(2, 16000)
    quieter = waveform * torch.tensor([[0.01], [0.5]])
    torch.testing.assert_close(frontend(quieter), frontend(waveform), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(frontend(waveform), LogMel()(waveform / waveform.abs().amax(1, keepdim=True)))
    assert torch.equal(frontend(torch.zeros(1, 16000)), LogMel()(torch.zeros(1, 16000)))


def test_level_has_two_names() -> None:
    with pytest.raises(SoundalikeError, match="peak"):
        LogMel(level="peek")
