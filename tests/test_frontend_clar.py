from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from soundalike.core.errors import SoundalikeError
from soundalike.nn.frontend import FRONTENDS, ThreeChannels
from soundalike.synth import VOICES


def noise(count: int, samples: int, seed: int = 0) -> torch.Tensor:
    return 0.3 * torch.randn(count, samples, generator=torch.Generator().manual_seed(seed))


def tone(hertz: float, samples: int = 16000, phase: float = 0.0) -> torch.Tensor:
    time = torch.arange(samples, dtype=torch.float64) / 16000
    return 0.5 * torch.sin(2 * math.pi * hertz * time + phase).float()[None]


def voices(count: int) -> torch.Tensor:
    voice = VOICES["voice"](sample_rate=16000, seconds=1.0)
    return voice(voice.draw(count, generator=torch.Generator().manual_seed(1), uniform_in="knobs"))


def slow_mel_filters(points: int) -> np.ndarray:
    edges = [700 * (10 ** (i / 129 * math.log10(1 + 8000 / 700)) - 1) for i in range(130)]
    mel = [math.log(1 + hertz / 700) for hertz in edges]
    filters = np.zeros((points // 2 + 1, 128))
    for k in range(1, points // 2 + 1):
        at = math.log(1 + k * 16000 / points / 700)
        for band in range(128):
            start, centre, end = mel[band : band + 3]
            if start < at < end:
                filters[k, band] = min((at - start) / (centre - start), (end - at) / (end - centre))
    return filters


def slow_three_channels(samples: np.ndarray) -> np.ndarray:
    """One waveform to dB, radians and mel dB, (3, T, 128): a 256-point transform for two, a longer one for the mel."""
    hann = np.array([0.5 - 0.5 * math.cos(2 * math.pi * i / 256) for i in range(256)])
    filters = slow_mel_filters(1024)
    rows = []
    for start in range(0, len(samples) - 256 + 1, 128):
        frame = samples[start : start + 256] * hann
        short = np.fft.fft(frame)[1:129]
        powers = np.abs(np.fft.fft(frame, 1024)[:513]) ** 2
        decibels = 10 * np.log10(np.abs(short) ** 2)
        mel = [10 * math.log10(powers @ filters[:, band]) for band in range(128)]
        rows.append([decibels, np.angle(short), mel])
    return np.array(rows).transpose(1, 0, 2)


def apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Distance of two angles, around the circle."""
    return np.abs((first - second + np.pi) % (2 * np.pi) - np.pi)


def test_one_second_makes_124_frames_of_three_channels() -> None:
    frontend = ThreeChannels()
    assert frontend(noise(3, 16000)).shape == (3, 3, 124, 128)
    assert (frontend.window_samples, frontend.hop_samples, frontend.frames) == (256, 128, 124)
    assert (frontend.clip_samples, frontend.channels, frontend.bands) == (16000, 3, 128)
    assert frontend(noise(1, 0)).shape == (1, 3, 124, 128)
    assert ThreeChannels(seconds=None)(noise(1, 700)).shape == (1, 3, 4, 128)


@pytest.mark.parametrize("samples", [16000, 17001])
def test_agrees_with_the_slow_definition(samples: int) -> None:
    waveform = noise(2, samples, seed=samples)
    ours = ThreeChannels(normalise=False).whole(waveform).numpy()
    for row, wave in zip(ours, waveform, strict=True):
        slow = slow_three_channels(wave.double().numpy())
        assert row.shape == slow.shape
        loud = slow[0] > -30  # where float32 tells the phase
        np.testing.assert_allclose(row[0][loud], slow[0][loud], atol=2e-2)
        assert apart(row[1], slow[1])[loud].max() < 2e-3
        np.testing.assert_allclose(row[2], slow[2], atol=1e-3)


def test_agrees_with_librosa() -> None:
    librosa = pytest.importorskip("librosa")
    waveform = noise(1, 16000, seed=3).double()
    ours = ThreeChannels(normalise=False).double()(waveform)[0].numpy()
    samples = waveform[0].numpy()
    short = librosa.stft(samples, n_fft=256, hop_length=128, window="hann", center=False)[1:].T  # (T, 128)
    np.testing.assert_allclose(ours[0], librosa.power_to_db(np.abs(short) ** 2, amin=1e-8, top_db=None), atol=1e-4)
    assert apart(ours[1], np.angle(short)).max() < 1e-5
    # librosa centres a short window in the transform, which changes phases and no powers
    padded = np.pad(samples, 384)
    long = librosa.stft(padded, n_fft=1024, win_length=256, hop_length=128, window="hann", center=False)
    # of its own triangles, which are linear in Hz and not in mel, the edges are ours
    edges = librosa.mel_frequencies(130, fmin=0.0, fmax=8000.0, htk=True)
    bins = np.arange(513) * 16000 / 1024
    filters = ThreeChannels().filters.numpy()
    for band in range(128):
        inside = (bins > edges[band] + 1e-6) & (bins < edges[band + 2] - 1e-6)
        np.testing.assert_array_equal(filters[:, band] > 0, inside)
    mel = librosa.power_to_db((np.abs(long) ** 2).T @ filters, amin=1e-8, top_db=None)
    np.testing.assert_allclose(ours[2], mel, atol=1e-4)


def test_librosa_bands_differ_by_their_triangles_alone() -> None:
    librosa = pytest.importorskip("librosa")
    ours = ThreeChannels().filters.numpy()
    theirs = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=128, fmin=0.0, fmax=8000.0, htk=True, norm=None).T
    assert np.abs(ours - theirs).max() < 0.02


@pytest.mark.parametrize("hertz", [500.0, 2000.0, 6000.0])
def test_a_tone_is_loudest_at_its_frequency_with_its_phase(hertz: float) -> None:
    shift = 0.7
    powers, phases, mel = ThreeChannels(normalise=False)(tone(hertz, phase=shift))[0]
    assert (powers.argmax(1) == hertz / 62.5 - 1).all()  # DC is left out
    assert powers.max().item() == pytest.approx(20 * math.log10(0.5 * 256 / 4), abs=1e-3)
    bin_of_tone = int(hertz / 62.5) - 1
    begins = torch.arange(124) * 128 / 16000 * hertz % 1 * 2 * math.pi
    expected = (begins + shift - math.pi / 2).numpy()  # of a sine, from the first sample of the frame
    assert apart(phases[:, bin_of_tone].numpy(), expected).max() < 5e-3
    place = 129 * math.log(1 + hertz / 700) / math.log(1 + 8000 / 700) - 1
    assert (mel.argmax(1) - place).abs().max() <= 1


def tones() -> torch.Tensor:
    hertz = 100 * 2 ** (torch.arange(24) / 4)  # six octaves
    return torch.cat([tone(f.item(), phase=i) * 10 ** (-(i % 5) / 2) for i, f in enumerate(hertz)])


SOUNDS: dict[str, Callable[[], torch.Tensor]] = {
    "noise of 0 to -60 dB": lambda: noise(13, 16000) * 10 ** (-torch.arange(13)[:, None] / 4),
    "tones of 0 to -40 dB": tones,
    "one tone": lambda: tone(330.0),
    "tones in noise of 0 to -60 dB": lambda: tones()[:13] + noise(13, 16000) * 10 ** (-torch.arange(13)[:, None] / 4),
    "voices": lambda: voices(16),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_channels_are_of_comparable_scale(name: str) -> None:
    scales = ThreeChannels()(SOUNDS[name]()).std((0, 2, 3))
    assert scales.max() / scales.min() < 2
    unscaled = ThreeChannels(normalise=False)(SOUNDS[name]()).std((0, 2, 3))
    assert unscaled.max() / unscaled.min() > 5  # the scaling is what makes them so


def test_recordings_have_a_mean_of_about_0_and_a_deviation_of_about_1() -> None:
    if not os.environ.get("SOUNDALIKE_DATA"):
        pytest.skip("SOUNDALIKE_DATA names no folder with recordings")
    from soundalike.audio import read

    files = sorted((Path(os.environ["SOUNDALIKE_DATA"]) / "ESC-10" / "audio").glob("*"))[::20]
    if not files:
        pytest.skip("no ESC-10 there")
    clips = torch.stack([torch.from_numpy(read.load(file, 16000)[:16000]) for file in files])
    features = ThreeChannels()(clips)
    assert features.mean((0, 2, 3)).abs().max() < 0.5
    deviations = features.std((0, 2, 3))
    assert deviations.min() > 0.5
    assert deviations.max() < 1.5


def test_normalising_is_a_fixed_line_for_each_channel() -> None:
    scaled, loud = (ThreeChannels(normalise=kind)(0.1 * noise(2, 16000)) for kind in (True, False))
    expected = torch.stack(
        ((loud[:, 0] + 30) / 25, loud[:, 1] * math.sqrt(3) / math.pi, (loud[:, 2] + 20) / 25), dim=1
    )
    torch.testing.assert_close(scaled, expected)


def test_a_frame_depends_on_its_own_samples_only() -> None:
    frontend = ThreeChannels()
    waveform = noise(1, 32000)
    piece = frontend.whole(waveform[:, 128 * 40 : 128 * 40 + frontend.clip_samples])
    torch.testing.assert_close(piece, frontend.whole(waveform)[:, :, 40:164], atol=1e-5, rtol=1e-5)


def test_clips_do_not_depend_on_how_many_go_at_once() -> None:
    waveform = noise(40, 16000)  # more than are worked off at once
    together = ThreeChannels()(waveform)
    apart = torch.cat([ThreeChannels()(clip[None]) for clip in waveform])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(0, 20000), seconds=st.one_of(st.none(), st.floats(0.02, 1.2)))
def test_frame_count_is_what_whole_makes(samples: int, seconds: float | None) -> None:
    frontend = ThreeChannels(seconds=seconds)
    assert frontend.whole(torch.zeros(1, samples)).shape[2] == frontend.frame_count(samples)
    if seconds is not None:
        assert frontend(torch.zeros(1, samples)).shape[2] == frontend.frames
        assert frontend.clip_samples <= round(seconds * 16000) < frontend.clip_samples + frontend.hop_samples


def test_silence_lies_at_the_floor_and_has_no_phase() -> None:
    silence = torch.zeros(1, 16000)
    unscaled = ThreeChannels(normalise=False, floor=-90.0)(silence)[0]
    torch.testing.assert_close(unscaled[0], torch.full((124, 128), -90.0))
    assert not unscaled[1].any()
    torch.testing.assert_close(unscaled[2], torch.full((124, 128), -90.0))
    for normalise in (True, False):
        zero = ThreeChannels(normalise=normalise, silence_is_zero=True)(torch.cat((silence, noise(1, 16000))))
        assert zero[0].abs().max() < 1e-5
        assert zero[1].isfinite().all()
    shifted = ThreeChannels(silence_is_zero=True)(noise(1, 16000)) - ThreeChannels()(noise(1, 16000))
    expected = torch.tensor([2, 0, 2.4]).view(1, 3, 1, 1).expand_as(shifted)
    torch.testing.assert_close(shifted, expected, atol=1e-5, rtol=1e-5)


def test_gradients_are_right_and_finite_in_silence() -> None:
    small = ThreeChannels(window=0.002, hop=0.001, fft=64, bands=8, seconds=0.008, minimum_hz=300.0).double()
    waveform = noise(2, 128).double().requires_grad_()
    assert torch.autograd.gradcheck(small, (waveform,))
    half_silent = torch.cat((torch.zeros(1, 8000), noise(1, 8000)), dim=1).requires_grad_()
    ThreeChannels()(half_silent).sum().backward()
    assert half_silent.grad is not None
    assert half_silent.grad.isfinite().all()
    assert half_silent.grad[0, 9000:].any()


def test_float32_under_autocast_and_for_half_precision() -> None:
    waveform = noise(2, 16000)
    expected = ThreeChannels()(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ThreeChannels()(waveform), expected)
    assert ThreeChannels()(waveform.bfloat16()).dtype == torch.float32
    assert ThreeChannels().to(torch.bfloat16)(waveform).dtype == torch.float32
    assert ThreeChannels().double()(waveform.double()).dtype == torch.float64


def test_nothing_is_stored_in_a_checkpoint() -> None:
    assert ThreeChannels().state_dict() == {}


def test_level_peak_makes_loudness_of_no_matter() -> None:
    waveform = noise(2, 16000)
    quieter = waveform * torch.tensor([[0.25], [0.5]])  # powers of two, so that no phase is rounded
    torch.testing.assert_close(ThreeChannels(level="peak")(quieter), ThreeChannels(level="peak")(waveform))
    assert not torch.allclose(ThreeChannels()(quieter), ThreeChannels()(waveform))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"fft": 128}, "fft"),
        ({"fft": 1000}, "fft"),
        ({"bands": 0}, "bands"),
        ({"fft": 256}, "mel bands"),
        ({"window": 0.0}, "window"),
        ({"hop": 0.0}, "hop"),
        ({"seconds": 0.01}, "seconds"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"maximum_hz": 9000.0}, "maximum_hz"),
        ({"minimum_hz": 8000.0}, "minimum_hz"),
        ({"floor": 1.0}, "floor"),
        ({"floor": math.nan}, "floor"),
        ({"level": "peek"}, "peak"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, float], word: str) -> None:
    with pytest.raises(SoundalikeError, match=f"clar: .*{word}"):
        ThreeChannels(**arguments)  # type: ignore[arg-type]


def test_registry_builds_with_defaults() -> None:
    assert isinstance(FRONTENDS["clar"](), ThreeChannels)
