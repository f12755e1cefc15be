"""The baseline embedder against its definition."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from soundalike.eval.probe.baseline import BASELINES, LogMelStatistics, is_baseline, with_baselines
from soundalike.model.compact import Compact
from soundalike.model.model import SoundModel
from soundalike.nn.frontend import LogMel


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.3 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def test_agrees_with_the_definition():
    sound = noise(12_345)
    spectrogram = LogMel(frames=None).whole(torch.from_numpy(sound)[None])[0, 0].double().numpy()  # (T, 64)
    assert len(spectrogram) == 1 + (12_345 - 400) // 160
    change = spectrogram[1:] - spectrogram[:-1]
    expected = np.concatenate([spectrogram.mean(0), spectrogram.std(0), change.std(0)])
    np.testing.assert_allclose(LogMelStatistics()([sound])[0], expected, atol=1e-5)


def test_a_batch_of_any_lengths_is_embedded_clip_by_clip():
    baseline = LogMelStatistics()
    sounds = [noise(length, seed) for seed, length in enumerate([5000, 80_000, 5000, 1, 400, 16_000])]
    together = baseline(sounds)
    assert together.shape == (6, 192)
    assert together.dtype == np.float32
    for sound, embedding in zip(sounds, together, strict=True):
        np.testing.assert_allclose(baseline([sound])[0], embedding, atol=1e-5)


def test_only_clips_shorter_than_two_frames_are_padded():
    baseline = LogMelStatistics()
    short, exact = noise(300), noise(560)
    np.testing.assert_array_equal(baseline([short]), baseline([np.pad(short, (0, 260))]))
    padded = baseline([np.pad(exact, (0, 16_000))])
    assert np.abs(padded - baseline([exact])).max() > 0.1


def test_silence_is_finite_and_does_not_vary():
    embedding = LogMelStatistics()([np.zeros(8000, np.float32)])[0]
    np.testing.assert_allclose(embedding[:64], np.log(0.01), rtol=1e-5)
    np.testing.assert_allclose(embedding[64:], 0, atol=1e-6)


def test_no_sounds():
    assert LogMelStatistics()([]).shape == (0, 192)


@pytest.mark.parametrize("seed", [0, 5])
def test_baselines_stand_beside_models(seed, tiny):
    model, narrow = (SoundModel(tiny.override({"encoder.width": width})) for width in (8, 4))
    representations = with_baselines({"mine": model}, seed=seed)
    assert list(representations) == ["mine", *BASELINES]
    assert representations["mine"] is model
    assert isinstance(representations["log-mel statistics"], LogMelStatistics)
    sound = [np.random.default_rng(0).uniform(-1, 1, 8000).astype(np.float32)]
    assert np.array_equal(representations["untrained encoder"](sound), model.untrained(seed)(sound))
    # one for each kind of encoder, and none for what is not ours
    several = with_baselines({"a": model, "b": narrow, "c": model, "theirs": LogMelStatistics()}, seed=seed)
    assert list(several) == ["a", "b", "c", "theirs", BASELINES[0], "untrained encoder of a", "untrained encoder of b"]
    assert all(is_baseline(name) for name in list(several)[4:])
    assert not any(is_baseline(name) for name in list(several)[:4])


def test_a_model_and_its_compact_embedding_have_one_untrained_encoder(tiny):
    model = SoundModel(tiny)
    small = copy.copy(model)
    small.compact = Compact.fit(np.random.default_rng(0).normal(size=(30, model.size)).astype(np.float32), 4)
    assert list(with_baselines({"model": small, "full": model})) == ["model", "full", *BASELINES]
