"""The HEAR API as its validator asks it, and embeddings of moments against a slow, obvious loop."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.model import hear
from soundalike.model.compact import Compact
from soundalike.model.frames import timestamp_embeddings
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe
from soundalike.nn.pooling import Stages
from soundalike.nn.quarter_tones import QuarterTones

RATE = 16_000


def noise(count: int, samples: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, samples, generator=generator) - 1


def swelling(seconds: float) -> Tensor:
    """A tone that rises, over noise that comes and goes: no two moments are alike. (1, samples)"""
    time = torch.arange(round(seconds * RATE)) / RATE
    tone = 0.3 * torch.sin(2 * torch.pi * (300 + 150 * time) * time)
    return (tone + 0.2 * torch.sin(2 * time).square() * noise(1, len(time))).float()


@pytest.fixture(scope="module")
def model(run: Path) -> hear.HearModel:
    return hear.load_model(str(run))


EVERYTHING = {"readout.bands": None, "readout.features": True, "readout.quarter_tones": True}


@pytest.fixture(scope="module")
def everything(tiny: Recipe) -> SoundModel:
    """A model whose read-out has quarter tones, features and every band."""
    return SoundModel(tiny.override(EVERYTHING))


@pytest.fixture(scope="module", params=[32, 4])
def of_any_step(request: pytest.FixtureRequest, tiny: Recipe) -> SoundModel:
    """The same with the encoder as published, and with one whose every stage steps by four frames."""
    return SoundModel(tiny.override({**EVERYTHING, "encoder.max_time_stride": request.param}))


# what the validator checks


def test_the_model_is_a_module_that_says_its_sizes(model: hear.HearModel, run: Path) -> None:
    assert isinstance(model, torch.nn.Module)
    assert {type(value) for value in (model.scene_embedding_size, model.timestamp_embedding_size)} == {int}
    assert model.sample_rate in (16_000, 22_050, 32_000, 44_100, 48_000)
    assert len(model.state_dict()) > 50, "so that .to moves the weights"
    assert model.to("cpu") is model


def test_scene_embeddings(model: hear.HearModel) -> None:
    audio = noise(8, int(3.74 * RATE))
    embeddings = hear.get_scene_embeddings(audio, model)
    assert embeddings.shape == (8, model.scene_embedding_size)
    assert embeddings.dtype == torch.float32
    assert np.allclose(embeddings.numpy(), model.model.embed(list(audio)), rtol=1e-4, atol=1e-5)
    assert torch.equal(model(audio), embeddings)


@pytest.mark.parametrize("samples", [1, 700, 8_000, 2 * RATE, int(3.74 * RATE) + 1])
def test_timestamp_embeddings_of_any_length(model: hear.HearModel, samples: int) -> None:
    audio = noise(3, samples)
    embeddings, moments = hear.get_timestamp_embeddings(audio, model)
    assert (embeddings.dtype, moments.dtype) == (torch.float32, torch.float32)
    assert embeddings.shape == (*moments.shape, model.timestamp_embedding_size)
    assert len(moments) == 3
    assert embeddings.isfinite().all()
    assert torch.equal(moments[0], moments[1]), "all sounds of a batch are of one length"
    steps = moments.diff(dim=1)
    assert ((steps > 0) & (steps <= 50.0) & ((steps - 50.0).abs() < 1e-3)).all()
    assert moments[0, 0] == 25.0
    assert 1000 * samples / RATE - moments[0, -1] < 75.0, "the sound is covered to its end"


def test_an_empty_path_is_the_model_that_ships(monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    asked: list[object] = []

    def load(path: object) -> SoundModel:
        asked.append(path)
        return SoundModel.load(run)

    monkeypatch.setattr("soundalike.load", load)
    hear.load_model()
    hear.load_model("")
    hear.load_model("ears")
    assert asked == [None, None, "ears"]


def test_the_result_can_be_trained_on_and_the_model_stays_in_evaluation_mode(model: hear.HearModel) -> None:
    audio = noise(2, RATE)
    before, _ = hear.get_timestamp_embeddings(audio, model)
    model.train()
    after, _ = hear.get_timestamp_embeddings(audio, model)
    assert torch.equal(before, after)
    scenes = hear.get_scene_embeddings(audio, model)
    for embeddings in (after.mean(1), scenes):
        head = torch.nn.Linear(embeddings.shape[1], 1)
        head(embeddings).sum().backward()
        assert head.weight.grad is not None


def test_batches_of_one_and_of_none(model: hear.HearModel) -> None:
    audio = noise(3, RATE)
    together, moments = hear.get_timestamp_embeddings(audio, model)
    for row in range(3):
        alone, _ = hear.get_timestamp_embeddings(audio[row : row + 1], model)
        torch.testing.assert_close(alone[0], together[row], rtol=1e-3, atol=1e-4)
    nothing, no_moments = hear.get_timestamp_embeddings(audio[:0], model)
    assert nothing.shape == (0, 20, model.timestamp_embedding_size)
    assert no_moments.shape == (0, 20)
    assert hear.get_scene_embeddings(audio[:0], model).shape == (0, model.scene_embedding_size)
    assert moments.shape == (3, 20)


@pytest.mark.parametrize(
    ("audio", "said"),
    [
        (torch.zeros(RATE), r"shape \(16000,\): give a floating-point tensor \(n_sounds, n_samples\)\.$"),
        (torch.zeros(2, 1, RATE), r"shape \(2, 1, 16000\)"),
        (torch.zeros(2, RATE, dtype=torch.int16), r"type torch\.int16"),
        (np.zeros((2, RATE), np.float32), r"type float32"),
        (torch.zeros(2, 0), r"^the audio is empty"),
        (torch.tensor([[0.0, 1.0], [0.0, torch.nan]]), r"^sound 1: the audio holds NaN"),
    ],
)
def test_what_is_no_audio(model: hear.HearModel, audio: Tensor, said: str) -> None:
    for embed in (hear.get_scene_embeddings, hear.get_timestamp_embeddings):
        with pytest.raises(SoundalikeError, match=said):
            embed(audio, model)


def test_another_model_is_refused(model: hear.HearModel) -> None:
    with pytest.raises(
        SoundalikeError, match=r"SoundModel is not a model of soundalike\.model\.hear: give what load_model"
    ):
        hear.get_scene_embeddings(noise(1, RATE), model.model)  # type: ignore[arg-type]


# moments


def slow(model: SoundModel, waveform: Tensor, every: float, seconds: float) -> Tensor:
    """The vectors (moments, size) of one sound, window by window and step by step, the encoder's outputs at once."""
    frontend, readout = model.frontend, model.readout
    assert isinstance(readout, Stages)
    rate, hop, middle = frontend.sample_rate, frontend.hop_samples, frontend.window_samples / 2
    sound = frontend.prepared(waveform, readout.least_samples(frontend))
    features = frontend.features(sound)
    sequences: list[tuple[Tensor, float, float, bool]] = []  # values (steps, numbers), first centre, spacing, mean too
    if readout.quarter_tones:
        tones = QuarterTones(rate)
        sequences.append((tones(sound)[0], tones.length / 2, tones.hop, True))
    if readout.features:
        sequences.append((features[0, 0], middle, hop, True))
        sequences.append((features[0, 0].diff(dim=0), middle + hop / 2, hop, False))
    with torch.no_grad():
        outputs = model.encoder.stages(features)
    for stride, output in zip(model.encoder.strides, outputs, strict=True):
        sequences.append((readout.banded(output)[0].transpose(0, 1).flatten(1), middle, stride * hop, True))
    count = max(1, round(waveform.shape[1] / (every * rate)))
    rows = []
    for number in range(count):
        moment = (number + 0.5) * every
        start = max(0.0, moment - seconds / 2) * rate
        stop = min(moment + seconds / 2, sound.shape[1] / rate) * rate
        numbers = []
        for values, centre, spacing, with_mean in sequences:
            weights = []
            for step in range(len(values)):
                begin = -np.inf if step == 0 else centre + (step - 0.5) * spacing
                end = np.inf if step == len(values) - 1 else centre + (step + 0.5) * spacing
                weights.append(max(0.0, min(end, stop) - max(begin, start)) / (stop - start))
            weight = torch.tensor(weights, dtype=torch.float64)[:, None]
            assert abs(float(weight.sum()) - 1) < 1e-9
            mean = (weight * values.double()).sum(0)
            deviation = (weight * (values.double() - mean).square()).sum(0).clamp_min(1e-12).sqrt()
            numbers += [mean, deviation] if with_mean else [deviation]
        rows.append(torch.cat(numbers))
    return torch.stack(rows).float()


@pytest.mark.parametrize(
    ("length", "every", "seconds"),
    [(2.3, 0.05, 0.5), (1.0, 0.1, 5.0), (0.9, 0.03, 0.01), (0.01, 0.05, 0.5), (0.4, 0.11, 0.2)],
)
def test_against_a_slow_loop(of_any_step: SoundModel, length: float, every: float, seconds: float) -> None:
    sound = swelling(length)
    vectors, moments = timestamp_embeddings(of_any_step, sound, every, seconds)
    expected = slow(of_any_step, sound, every, seconds)
    assert vectors.shape == (1, *expected.shape) == (1, len(moments), of_any_step.size)
    torch.testing.assert_close(vectors[0], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("every", "chunk"), [(0.05, 2.0), (0.5, 0.5)])
def test_chunks_change_nothing(
    of_any_step: SoundModel, every: float, chunk: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sounds = torch.cat([swelling(6.0), swelling(6.0).flip(1)])
    expected, _ = timestamp_embeddings(of_any_step, sounds, every)
    monkeypatch.setattr("soundalike.model.frames._SECONDS_AT_ONCE", 1.0)
    monkeypatch.setattr(of_any_step.readout, "chunk", chunk)
    vectors, _ = timestamp_embeddings(of_any_step, sounds, every)
    torch.testing.assert_close(vectors, expected, rtol=1e-3, atol=2e-4)


def test_a_quiet_moment_beside_a_loud_one_keeps_its_deviation(everything: SoundModel) -> None:
    """Squares of which two large sums are subtracted: in float32 nothing would be left."""
    sound = swelling(3.0)
    sound[:, RATE:] *= 1e-4
    vectors, _ = timestamp_embeddings(everything, sound, 0.1, 0.2)
    torch.testing.assert_close(vectors[0], slow(everything, sound, 0.1, 0.2), rtol=1e-3, atol=1e-4)


def test_a_window_as_long_as_the_sound_is_nearly_its_embedding(everything: SoundModel) -> None:
    sound = swelling(4.0)
    vectors, _ = timestamp_embeddings(everything, sound, 1.0, 100.0)
    whole = torch.from_numpy(everything.embed(sound))
    assert torch.nn.functional.cosine_similarity(vectors[0], whole).min() > 0.999


def test_a_moment_is_like_the_window_around_it(everything: SoundModel) -> None:
    sound = swelling(5.0)
    vectors, moments = timestamp_embeddings(everything, sound, 0.5, 1.0)
    expected_moments, expected = everything.windows(sound[0].numpy(), 0.5, 1.0)
    assert np.array_equal(moments.numpy(), expected_moments)
    scale = expected.std(0) + 1e-3
    one, other = ((values - expected.mean(0)) / scale for values in (vectors[0].numpy(), expected))
    apart = np.linalg.norm(one[:, None] - other[None], axis=2)  # (moments, windows)
    assert (apart[1:-1].argmin(1) == np.arange(1, 9)).all(), "of all windows, the one at the same place is nearest"


def test_other_readouts_hear_window_by_window(tiny: Recipe) -> None:
    model = SoundModel(tiny.override({"readout": "pooled"}))
    sound = swelling(0.8)
    vectors, moments = timestamp_embeddings(model, sound, 0.2)
    expected_moments, expected = model.windows(sound[0].numpy(), 0.2, max(0.5, model.frontend.clip_samples / RATE))
    assert np.allclose(vectors[0].numpy(), expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(moments.numpy(), expected_moments)


def test_the_compact_embedding_of_moments(everything: SoundModel) -> None:
    sound = swelling(1.0)
    full, _ = timestamp_embeddings(everything, sound)
    compact = Compact(np.zeros(everything.size), np.ones(everything.size), np.eye(everything.size)[:7])
    small = copy.copy(everything)
    small.compact = compact
    model = hear.HearModel(small.compacted(5))
    assert (model.scene_embedding_size, model.timestamp_embedding_size) == (5, 5)
    torch.testing.assert_close(hear.get_timestamp_embeddings(sound, model)[0], full[:, :, :5])
    assert hear.get_scene_embeddings(sound, model).shape == (1, 5)


@pytest.mark.parametrize("length", [{"every": 0.0}, {"every": float("nan")}, {"seconds": -1.0}])
def test_lengths_that_cannot_be(everything: SoundModel, length: dict[str, float]) -> None:
    with pytest.raises(SoundalikeError, match=r"^timestamps: (every|seconds) is .* it must be above 0\.$"):
        timestamp_embeddings(everything, swelling(0.3), **length)


def test_waveforms_that_cannot_be(everything: SoundModel) -> None:
    with pytest.raises(AudioError, match=r"^the waveform is empty\.$"):
        timestamp_embeddings(everything, torch.zeros(1, 0))
    with pytest.raises(SoundalikeError, match=r"not torch\.float32 of shape \(5,\)"):
        timestamp_embeddings(everything, torch.zeros(5))
