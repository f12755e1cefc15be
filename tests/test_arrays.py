"""What an array is: one sound with channels or several sounds, by one rule wherever arrays are taken."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import soundalike
from soundalike.apps.classifier import NONE, SoundClassifier, teach
from soundalike.audio import arrays, read
from soundalike.core.errors import AudioError, SoundalikeError, SoundWarning
from soundalike.model import hear
from soundalike.model.model import SoundModel
from soundalike.model.sklearn import SoundEmbedder

RATE = 16_000
SECONDS = 0.4


def mono(hertz: float, seed: int = 0) -> np.ndarray:
    time = np.arange(round(SECONDS * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * hertz * time) + 0.01 * np.random.default_rng(seed).normal(size=len(time))).astype(
        np.float32
    )


def channels(count: int) -> np.ndarray:
    """A tone at 440 Hz and other, quieter tones. (samples, channels)"""
    return np.stack([mono(440 + 300 * number, number) / (1 + number) for number in range(count)], axis=1)


@pytest.fixture(scope="module")
def model(run: Path) -> SoundModel:
    return soundalike.load(run)


@pytest.fixture(scope="module")
def classifier(model: SoundModel, tmp_path_factory: pytest.TempPathFactory) -> SoundClassifier:
    folder = tmp_path_factory.mktemp("classes")
    for label, hertz in (("low", 440), ("high", 3000)):
        (folder / label).mkdir()
        for number in range(4):
            soundfile.write(folder / label / f"{'abcd'[number] * 3}.wav", mono(hertz + 7 * number, number), RATE)
    return teach(folder, model)


def close(one: Any, other: Any) -> bool:
    return np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((7,), "mono"),
        ((1, 5), "channels first"),
        ((5, 1), "channels last"),
        ((2, 32), "channels first"),
        ((32, 2), "channels last"),
        ((8, 16_000), "channels first"),
        ((16_000, 8), "channels last"),
        ((9, 16_000), "sounds"),
        ((256, 256), "sounds"),
        ((0, 16_000), "sounds"),
        *(((rows, columns), None) for rows, columns in [(2, 31), (31, 2), (8, 8), (16_000, 9), (9, 255), (300, 299)]),
        ((), None),
        ((2, 2, 400), None),
    ],
)
def test_the_meaning_of_a_shape(shape: tuple[int, ...], expected: str | None) -> None:
    if expected is not None:
        assert arrays.meaning(shape) == expected
        return
    with pytest.raises(AudioError, match=r"^the waveform has shape \(.*\): one sound is \(samples,\), "):
        arrays.meaning(shape)


@pytest.mark.parametrize("count", [1, 2, 6, 8])
@pytest.mark.parametrize("kind", ["array", "transposed", "tensor", "int16", "pair", "list of one"])
def test_an_array_with_channels_is_one_sound_everywhere(
    model: SoundModel, classifier: SoundClassifier, tmp_path: Path, count: int, kind: str
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, channels(count), RATE, subtype="PCM_16" if kind == "int16" else "FLOAT")
    samples, rate = soundfile.read(path, dtype="int16" if kind == "int16" else "float32", always_2d=True)
    sound: Any = {"transposed": samples.T, "tensor": torch.from_numpy(samples), "pair": (samples.T, rate)}.get(
        kind, samples
    )
    expected = model.embed(path)
    if kind == "list of one":
        assert close(model.embed([sound], rate), expected[None])
        assert close(model.embed([sound, path, sound[:, :1]], rate)[:2], np.stack([expected] * 2))
        assert [each.label for each in classifier.classify([sound, path], rate, 0.0)] == ["low", "low"]
        assert close(SoundEmbedder(model, rate).transform([sound, path]), np.stack([expected] * 2))
        return
    given = () if kind == "pair" else (rate,)
    assert close(model.embed(sound, *given), expected)
    told = classifier.classify(sound, *(given or (None,)), none_of_these=0.0)
    of_file = classifier.classify(path, none_of_these=0.0)
    assert told.label == of_file.label == "low"
    assert told.probability == pytest.approx(of_file.probability, abs=1e-4)
    if kind == "pair":
        assert close(SoundEmbedder(model).transform([sound]), expected[None])
        with pytest.raises(ValueError, match=r"^X is one sound, a waveform and its sample rate; give a list"):
            SoundEmbedder(model).transform(sound)
    elif sound.shape[0] > 1:
        with pytest.raises(ValueError, match=r"^X has shape .*, which may be one sound with channels, or several"):
            SoundEmbedder(model).transform(sound)


def test_many_sounds_in_an_array(model: SoundModel, classifier: SoundClassifier) -> None:
    rows = np.stack([mono(300 + 40 * number, number) for number in range(9)])
    expected = model.embed(list(rows))
    assert close(model.embed(rows), expected)
    assert close(SoundEmbedder(model).transform(rows), expected)
    assert close(hear.get_scene_embeddings(torch.from_numpy(rows), hear.HearModel(model)), expected)
    assert len(classifier.classify(rows)) == 9
    assert close(model.embed(torch.from_numpy(rows[:, None])), expected), "(sounds, channels, samples)"
    with pytest.raises(AudioError, match=r"is 9 sounds: give one"):
        read.prepare(rows, RATE, RATE)


def test_a_transformer_that_was_fitted_to_rows_takes_few_of_them(model: SoundModel) -> None:
    """As in cross-validation, whose folds can be small."""
    rows = np.stack([mono(300 + 40 * number, number) for number in range(12)])
    embedder = SoundEmbedder(model).fit(rows)
    assert close(embedder.transform(rows[:2]), model.embed(list(rows[:2])))
    with pytest.raises(ValueError, match=r"^X has shape \(2, 6300\)"):
        embedder.transform(rows[:2, :6300])
    assert embedder.fit(list(rows)).samples_ is None


def test_hear_refuses_the_samples_of_one_sound(model: SoundModel) -> None:
    for embed in (hear.get_scene_embeddings, hear.get_timestamp_embeddings):
        with pytest.raises(SoundalikeError, match=r"shape \(6400, 2\), which is one sound with 2 channels"):
            embed(torch.from_numpy(channels(2)), hear.HearModel(model))


def test_what_wants_mono_waveforms_refuses_channels(model: SoundModel, classifier: SoundClassifier) -> None:
    stereo = channels(2)
    for call in (model, model.windows, classifier.predict_many):
        with pytest.raises(AudioError, match=r"shape \((6400, 2|2, 6400)\)"):
            call(stereo.T if call == model else stereo)
    with pytest.raises(AudioError, match=r"^sound 1: the waveform has shape \(6400, 2\); give \(samples,\), mono"):
        model([mono(440), stereo])


@pytest.mark.parametrize("sound", [io.BytesIO(b"RIFF"), [io.BytesIO(b"RIFF")]])
def test_a_file_object_is_refused_in_words(model: SoundModel, classifier: SoundClassifier, sound: Any) -> None:
    for call in (model.embed, classifier.classify, SoundEmbedder(model).transform):
        with pytest.raises(SoundalikeError, match=r"BytesIO"):
            call(sound)
    with pytest.raises(AudioError, match=r"is a file object; give the path"):
        model.embed(sound)


def test_a_pair_brings_its_rate(model: SoundModel, classifier: SoundClassifier) -> None:
    """What librosa.load and soundfile.read return."""
    half = mono(440)[::2]
    assert close(model.embed((half, RATE // 2)), model.embed(half, RATE // 2))
    assert close(model.embed([(half, 8_000), (mono(440), RATE)])[0], model.embed(half, 8_000))
    assert classifier.classify((half, RATE // 2), none_of_these=0.0).label == "low"


# channels that cancel, silence, ultrasound


def opposite(hertz: float = 440) -> np.ndarray:
    left = mono(hertz)
    return np.stack([0.9 * left, -left], axis=1)


def test_of_channels_that_cancel_the_louder_is_taken(model: SoundModel, tmp_path: Path) -> None:
    with pytest.warns(SoundWarning, match=r"^the waveform: its channels cancel each other, so the louder one is used"):
        taken = model.embed(opposite(), RATE)
    assert close(taken, model.embed(-mono(440)))
    with pytest.warns(SoundWarning, match="cancel"):
        np.testing.assert_array_equal(read.prepare(opposite().T, RATE, RATE), -mono(440))


@pytest.mark.parametrize("offset", [0.0, 0.2])
def test_an_offset_does_not_hide_that_channels_cancel(offset: float) -> None:
    sound = np.stack([mono(440), -mono(440)], axis=1) + np.float32(offset)
    with pytest.warns(SoundWarning, match="cancel"):
        np.testing.assert_allclose(read.prepare(sound, RATE, RATE), sound[:, 0])


def test_channels_that_do_not_cancel_are_averaged_without_a_word() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(0, 0.1, (2, 3 * RATE)).astype(np.float32)
    pairs = [(one, one), (one, other), (one, 0 * one), (one, -0.3 * one), (one, -0.7 * one + 0.7 * other)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for pair in pairs:
            np.testing.assert_array_equal(read.prepare(np.stack(pair), RATE, RATE), np.stack(pair).mean(0))


def test_channels_cancel_for_a_while() -> None:
    one = np.random.default_rng(0).normal(0, 0.1, 4 * RATE).astype(np.float32)
    other = one.copy()
    other[RATE : 2 * RATE] *= -1
    with pytest.warns(SoundWarning, match=r"cancel each other in 1 s of it"):
        np.testing.assert_array_equal(read.prepare(np.stack([one, other]), RATE, RATE), one)


def test_silence_and_ultrasound_are_said(model: SoundModel, classifier: SoundClassifier) -> None:
    time = np.arange(96_000) / 192_000
    bat = (0.3 * np.sin(2 * np.pi * 45_000 * time)).astype(np.float32)
    for call in (model.embed, classifier.classify):
        with pytest.warns(SoundWarning, match=r"^the waveform: almost all of its energy lies above 8 kHz"):
            call(bat, 192_000)
        with pytest.warns(SoundWarning, match=r"^the waveform: is silent\.$"):
            call(np.zeros(RATE, np.float32))
        with pytest.warns(SoundWarning, match=r"^the waveform: is silent\.$"):
            call(np.full((2, RATE), 0.1, np.float32))  # an offset
    with pytest.warns(SoundWarning, match="silent"):
        assert classifier.classify(np.zeros(RATE, np.float32)).label == NONE
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.embed((bat + 0.02 * np.sin(2 * np.pi * 500 * time)).astype(np.float32), 192_000)
