from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from soundalike.core.errors import SoundalikeError
from soundalike.nn import pooling as module
from soundalike.nn.encoder import ResNet18
from soundalike.nn.frontend import LogMel, Raw, ThreeChannels
from soundalike.nn.pooling import READOUTS, Pooled, Stages
from soundalike.nn.quarter_tones import QuarterTones


def noise(count: int, samples: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    swell = torch.linspace(0.05, 1, max(samples, 1))[:samples]  # so that no two places are alike
    return 0.3 * swell * torch.randn(count, samples, generator=generator)


@pytest.fixture(scope="module")
def frontend() -> LogMel:
    return LogMel()


@pytest.fixture(scope="module")
def encoder(frontend: LogMel) -> ResNet18:
    encoder = ResNet18(width=4, size=12)
    encoder(frontend(noise(4, 16000)))  # moves the running statistics away from 0 and 1
    return encoder.eval()


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize("samples", [0, 1, 5000, 16000, 37000])
def test_one_row_of_the_announced_size_for_each_clip(
    name: str, samples: int, frontend: LogMel, encoder: ResNet18
) -> None:
    readout = READOUTS[name]()
    result = readout(frontend, encoder, noise(3, samples))
    assert result.shape == (3, readout.size(frontend, encoder))
    assert result.dtype == torch.float32
    assert result.isfinite().all()


@pytest.mark.parametrize("name", READOUTS)
def test_clips_do_not_depend_on_their_neighbours(name: str, frontend: LogMel, encoder: ResNet18) -> None:
    readout = READOUTS[name]()
    waveform = noise(5, 33000)
    together = readout(frontend, encoder, waveform)
    for row, clip in zip(together, waveform, strict=True):
        torch.testing.assert_close(readout(frontend, encoder, clip[None])[0], row, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", READOUTS)
def test_memory_limit_does_not_change_the_result(
    name: str, frontend: LogMel, encoder: ResNet18, monkeypatch: pytest.MonkeyPatch
) -> None:
    readout = READOUTS[name]()
    waveform = noise(5, 40000)
    expected = readout(frontend, encoder, waveform)
    monkeypatch.setattr(module, "_SECONDS_AT_ONCE", 3.0)
    torch.testing.assert_close(readout(frontend, encoder, waveform), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", READOUTS)
def test_short_clips_are_zero_padded_on_the_right(name: str, frontend: LogMel, encoder: ResNet18) -> None:
    readout = READOUTS[name]()
    short = noise(2, 1000)
    padded = torch.cat([short, torch.zeros(2, readout.least_samples(frontend) - 1000)], dim=1)
    assert torch.equal(readout(frontend, encoder, short), readout(frontend, encoder, padded))


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize("waveform", [torch.zeros(16000), torch.zeros(1, 1, 16000), torch.zeros(1, 16000).int()])
def test_what_is_no_batch_of_waveforms_is_refused(
    name: str, waveform: Tensor, frontend: LogMel, encoder: ResNet18
) -> None:
    with pytest.raises(SoundalikeError, match="shape"):
        READOUTS[name]()(frontend, encoder, waveform)


@pytest.mark.parametrize("name", READOUTS)
def test_gradients_are_finite_for_sound_and_silence(name: str, frontend: LogMel, encoder: ResNet18) -> None:
    waveform = torch.cat([noise(1, 20000), torch.zeros(1, 20000)]).requires_grad_()
    READOUTS[name]()(frontend, encoder, waveform).sum().backward()
    assert waveform.grad is not None
    assert waveform.grad.isfinite().all()
    assert waveform.grad[0].abs().sum() > 0


def test_stages_of_half_a_second_take_in_no_silence(frontend: LogMel, encoder: ResNet18) -> None:
    steady = noise(1, 8000)
    padded = torch.cat([steady, torch.zeros(1, frontend.clip_samples - 8000)], dim=1)
    read = Stages()(frontend, encoder, steady)
    outputs = encoder.stages(frontend.whole(padded)[:, :, : 1 + (8000 - 400) // 160])
    means = F.adaptive_avg_pool2d(outputs[0], (outputs[0].shape[2], 4)).mean(2).flatten()
    torch.testing.assert_close(read[0, : len(means)], means, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(read, Stages()(frontend, encoder, padded), rtol=1e-2)


def test_pooled_of_a_training_clip_is_what_the_encoder_gives(frontend: LogMel, encoder: ResNet18) -> None:
    waveform = noise(3, 16000)
    torch.testing.assert_close(Pooled()(frontend, encoder, waveform), encoder(frontend(waveform)))


def test_pooled_averages_windows_of_frames(frontend: LogMel, encoder: ResNet18) -> None:
    waveform = noise(2, 15360 * 3 + 300)  # three windows whose frames follow on, and a rest too short to count
    frames = frontend.whole(waveform)
    windows = [encoder(frames[:, :, start : start + 96]) for start in (0, 96, 192)]
    torch.testing.assert_close(Pooled()(frontend, encoder, waveform), sum(windows) / 3, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("samples", "hop", "starts"),
    [
        (15600, None, [0]),
        (16000, None, [0]),  # 400 samples are left out
        (15600 + 1950, None, [0]),
        (15600 + 1951, None, [0, 1951]),
        (30960, None, [0, 15360]),
        (80000, None, [0, 15360, 30720, 46080, 61440, 64400]),
        (32000, 0.5, [0, 8000, 16000]),
        (20000, 5.0, [0, 4400]),
    ],
)
def test_pooled_covers_the_clip_with_windows(
    samples: int, hop: float | None, starts: list[int], frontend: LogMel, encoder: ResNet18
) -> None:
    waveform = noise(1, samples)
    windows = [encoder(frontend(waveform[:, start : start + 15600])) for start in starts]
    torch.testing.assert_close(
        Pooled(hop=hop)(frontend, encoder, waveform), sum(windows) / len(starts), rtol=1e-4, atol=1e-5
    )


def test_pooled_needs_a_training_length(encoder: ResNet18) -> None:
    with pytest.raises(SoundalikeError, match="frames"):
        Pooled()(LogMel(frames=None), encoder, noise(1, 16000))


def slow_stages(frontend: LogMel, encoder: ResNet18, waveform: Tensor, bands: list[int]) -> Tensor:
    parts = []
    for output, count in zip(encoder.stages(frontend.whole(waveform)), bands, strict=True):
        height = output.shape[3] // count
        groups = [output[..., k * height : (k + 1) * height].mean(3) for k in range(count)]
        banded = torch.stack(groups, dim=3)  # (n, channels, T, bands)
        mean = banded.sum(2) / banded.shape[2]
        spread = ((banded - mean[:, :, None]).square().sum(2) / banded.shape[2]).sqrt()
        parts += [mean.flatten(1), spread.flatten(1)]
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize(
    ("bands", "kept"),
    [(4, [4, 4, 4, 2, 2]), (2, [2] * 5), (1, [1] * 5), (8, [8, 8, 4, 2, 2]), (None, [16, 16, 8, 4, 2])],
)
@pytest.mark.parametrize("samples", [16000, 51234])
def test_stages_are_mean_and_deviation_of_every_stage(
    bands: int | None, kept: list[int], samples: int, frontend: LogMel, encoder: ResNet18
) -> None:
    waveform = noise(2, samples)
    torch.testing.assert_close(
        Stages(bands=bands)(frontend, encoder, waveform),
        slow_stages(frontend, encoder, waveform, kept),
        rtol=1e-4,
        atol=2e-5,
    )


@pytest.fixture(scope="module")
def brisk(frontend: LogMel) -> ResNet18:
    """An encoder whose every stage steps by four frames."""
    encoder = ResNet18(width=4, size=12, max_time_stride=4, max_channels=8)
    encoder(frontend(noise(4, 16000)))
    return encoder.eval()


@pytest.mark.parametrize(("bands", "kept"), [(4, [4, 4, 4, 2, 2]), (1, [1] * 5), (None, [16, 16, 8, 4, 2])])
@pytest.mark.parametrize("samples", [16000, 51234])
def test_stages_of_short_steps(
    bands: int | None, kept: list[int], samples: int, frontend: LogMel, brisk: ResNet18
) -> None:
    readout, waveform = Stages(bands=bands), noise(2, samples)
    result = readout(frontend, brisk, waveform)
    widths = (4, 4, 8, 8, 8)
    assert readout.blocks(frontend, brisk) == [2 * width * k for width, k in zip(widths, kept, strict=True)]
    assert result.shape == (2, readout.size(frontend, brisk))
    torch.testing.assert_close(result, slow_stages(frontend, brisk, waveform, kept), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("steps", ["encoder", "brisk"])
@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("chunk", [0.01, 0.5, 1.7, 4.0])
@pytest.mark.parametrize("samples", [16000, 65000, 97531])
def test_chunks_of_a_long_clip_change_nothing(
    chunk: float, samples: int, features: bool, steps: str, frontend: LogMel, request: pytest.FixtureRequest
) -> None:
    encoder, waveform = request.getfixturevalue(steps), noise(2, samples)
    whole = Stages(features=features, chunk=1000.0)(frontend, encoder, waveform)
    chunked = Stages(features=features, chunk=chunk)(frontend, encoder, waveform)
    torch.testing.assert_close(chunked, whole, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("samples", [100, 16000, 50000])
def test_statistics_of_the_features_come_first(samples: int, frontend: LogMel, encoder: ResNet18) -> None:
    waveform = noise(2, samples)
    readout = Stages(features=True)
    result = readout(frontend, encoder, waveform)
    assert result.shape == (2, readout.size(frontend, encoder)) == (2, 192 + Stages().size(frontend, encoder))
    spectrogram = frontend.features(frontend.prepared(waveform, readout.least_samples(frontend)))[:, 0].double()
    expected = [spectrogram.mean(1), spectrogram.std(1, correction=0), spectrogram.diff(dim=1).std(1, correction=0)]
    torch.testing.assert_close(result[:, :192].double(), torch.cat(expected, dim=1), rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(result[:, 192:], Stages()(frontend, encoder, waveform))


def test_quarter_tones_come_before_everything_else(frontend: LogMel, encoder: ResNet18) -> None:
    waveform = noise(2, 70000)
    readout = Stages(features=True, quarter_tones=True)
    result = readout(frontend, encoder, waveform)
    size = 2 * 168 + 192 + Stages().size(frontend, encoder)
    assert result.shape == (2, readout.size(frontend, encoder)) == (2, size)
    tones = QuarterTones(16000)(waveform).double()  # (2, frames, 168)
    assert tones.shape == (2, 1 + (70000 - 2048) // 320, 168)
    expected = torch.cat([tones.mean(1), tones.std(1, correction=0)], dim=1)
    torch.testing.assert_close(result[:, :336].double(), expected, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(result[:, 336:], Stages(features=True)(frontend, encoder, waveform))
    chunked = Stages(features=True, quarter_tones=True, chunk=1.3)(frontend, encoder, waveform)
    torch.testing.assert_close(chunked, result, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("midi", [36, 45.5, 60, 69, 81, 100])
def test_a_tone_is_loudest_at_its_quarter_tone(midi: float) -> None:
    hertz = 440 * 2 ** ((midi - 69) / 12)
    tone = torch.sin(2 * torch.pi * hertz * torch.arange(16000) / 16000)[None]
    loudest = QuarterTones(16000)(tone).mean(1).argmax(1).item()
    assert loudest == pytest.approx(2 * (midi - 33), abs=1)  # A1, 55 Hz, is MIDI 33


@pytest.mark.parametrize("samples", [0, 5, 2048, 3000])
def test_quarter_tones_of_a_short_clip(samples: int) -> None:
    assert QuarterTones(16000)(torch.zeros(1, samples)).shape == (1, 1 + max(0, samples - 2048) // 320, 168)


def test_chunks_reach_the_encoder_and_not_the_whole_clip(
    frontend: LogMel, encoder: ResNet18, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []

    def stages(x: Tensor) -> list[Tensor]:
        lengths.append(x.shape[2])
        return ResNet18.stages(encoder, x)

    monkeypatch.setattr(encoder, "stages", stages)
    Stages(chunk=2.0)(frontend, encoder, noise(1, 16000 * 20))
    assert len(lengths) == 9  # of 1998 frames, 224 at a time
    assert max(lengths) == 224 * 3


@pytest.mark.parametrize("max_time_stride", [32, 4])
def test_stages_in_one_dimension_and_in_chunks(max_time_stride: int) -> None:
    frontend = Raw(seconds=0.125)
    encoder = ResNet18(width=2, size=4, dimensions=1, max_time_stride=max_time_stride)
    encoder(frontend(noise(4, 2000)))
    encoder.eval()
    waveform = noise(2, 9000)
    whole, chunked = (Stages(chunk=chunk)(frontend, encoder, waveform) for chunk in (1.0, 0.05))
    assert whole.shape == (2, Stages().size(frontend, encoder)) == (2, 2 * (2 + 2 + 4 + 8 + 16))
    torch.testing.assert_close(chunked, whole, rtol=1e-4, atol=1e-5)
    pooled = Pooled()(frontend, encoder, waveform)
    parts = [waveform[:, s : s + 2000] for s in (0, 2000, 4000, 6000, 7000)]
    torch.testing.assert_close(pooled, sum(encoder(frontend(part)) for part in parts) / 5)


@pytest.mark.parametrize("samples", [0, 1, 40, 2000, 9001])
@pytest.mark.parametrize(
    "readout", [Pooled(), Stages(), Stages(features=True, quarter_tones=True), Stages(features=True, chunk=0.05)]
)
def test_waveforms_of_any_length_in_one_dimension(readout: Pooled | Stages, samples: int) -> None:
    frontend = Raw(seconds=0.125)
    encoder = ResNet18(width=2, size=4, dimensions=1).eval()
    result = readout(frontend, encoder, noise(2, samples))
    assert result.shape == (2, readout.size(frontend, encoder))
    assert result.isfinite().all()


def test_statistics_of_the_samples_of_a_waveform() -> None:
    frontend, encoder, waveform = Raw(), ResNet18(width=2, size=4, dimensions=1).eval(), noise(2, 3000)
    result = Stages(features=True)(frontend, encoder, waveform)
    expected = torch.stack(
        [waveform.mean(1), waveform.std(1, correction=0), waveform.diff(dim=1).std(1, correction=0)]
    )
    torch.testing.assert_close(result[:, :3], expected.T, rtol=1e-4, atol=1e-5)


def test_three_channels_in_chunks() -> None:
    frontend, encoder = ThreeChannels(), ResNet18(channels=3, width=2, size=4).eval()
    waveform = noise(1, 70000)
    whole, chunked = (Stages(features=True, chunk=chunk)(frontend, encoder, waveform) for chunk in (100.0, 0.7))
    assert whole.shape == (1, Stages(features=True).size(frontend, encoder))
    torch.testing.assert_close(chunked, whole, rtol=1e-3, atol=1e-4)
    parts = [waveform[:, start : start + 16000] for start in (0, 15872, 31744, 47616, 54000)]
    torch.testing.assert_close(
        Pooled()(frontend, encoder, waveform), sum(encoder(frontend(part)) for part in parts) / 5, rtol=1e-3, atol=1e-4
    )


def test_sizes_of_the_published_widths(frontend: LogMel) -> None:
    assert Stages().size(frontend, ResNet18(width=64)) == 5120
    assert Stages().size(frontend, ResNet18(width=32)) == 2560
    assert Pooled().size(frontend, ResNet18(width=32)) == 512


@pytest.mark.parametrize("mel_bands", [1, 5, 40, 65])
def test_size_holds_for_odd_numbers_of_bands(mel_bands: int, encoder: ResNet18) -> None:
    frontend = LogMel(bands=mel_bands)
    result = Stages()(frontend, encoder, noise(1, 16000))
    assert result.shape[1] == Stages().size(frontend, encoder)


def test_a_stage_that_never_changes_has_no_deviation(frontend: LogMel) -> None:
    encoder = ResNet18(width=2, size=2).eval()
    for parameter in encoder.parameters():
        torch.nn.init.zeros_(parameter)
    assert Stages()(frontend, encoder, noise(1, 40000)).abs().max() <= 1e-6


def test_under_autocast_statistics_are_float32(frontend: LogMel, encoder: ResNet18) -> None:
    waveform = noise(1, 33000)
    for readout in (Pooled(), Stages()):
        expected = readout(frontend, encoder, waveform)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = readout(frontend, encoder, waveform)
        assert half.dtype == torch.float32
        assert F.cosine_similarity(half, expected).item() > 0.99


@pytest.mark.parametrize(
    ("name", "arguments", "word"),
    [
        ("pooled", {"hop": 0.0}, "hop"),
        ("pooled", {"hop": -1.0}, "hop"),
        ("stages", {"bands": 0}, "bands"),
        ("stages", {"chunk": 0.0}, "chunk"),
    ],
)
def test_bad_arguments_are_named(name: str, arguments: dict[str, float], word: str) -> None:
    with pytest.raises(SoundalikeError, match=f"{name}: {word}"):
        READOUTS[name](**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", READOUTS)
def test_a_clip_is_scaled_once_and_as_a_whole(name: str, encoder: ResNet18) -> None:
    waveform = noise(1, 40000) * torch.linspace(0.5, 0.001, 40000)
    scaled = waveform / waveform.abs().max()
    expected = READOUTS[name]()(LogMel(), encoder, scaled)
    torch.testing.assert_close(
        READOUTS[name]()(LogMel(level="peak"), encoder, waveform), expected, rtol=1e-3, atol=1e-4
    )
