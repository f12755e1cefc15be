"""What a person holds: saved, loaded, refused where damaged, and given sounds of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open
from safetensors.numpy import save_file as save_arrays

import soundalike
from soundalike.audio.stream import LongSound
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.model.file import FORMAT, sealed
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe

RATE = 16_000


def tone(seconds: float = 1.0, rate: int = RATE, hertz: float = 440.0, overtones: int = 5) -> np.ndarray:
    """A harmonic tone that fades out."""
    time = np.arange(round(seconds * rate)) / rate
    waves = [np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, overtones + 1)]
    return (0.3 * np.sum(waves, axis=0) * np.exp(-2 * time)).astype(np.float32)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def close(one: np.ndarray, other: np.ndarray) -> bool:
    return np.allclose(one, other, rtol=1e-4, atol=1e-5)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.fixture(scope="module")
def model(run: Path) -> SoundModel:
    return soundalike.load(run)


@pytest.fixture
def saved(run: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the model's file, with other entries in its header."""

    def write(**header: str | None) -> Path:
        with safe_open(run / "model.safetensors", "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            entries = {**file.metadata(), **header}
        path = tmp_path / "model.safetensors"
        path.write_bytes(sealed(tensors, {key: value for key, value in entries.items() if value is not None}))
        return path

    return write


# files


def test_a_saved_model_gives_the_same_embeddings(model: SoundModel, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.safetensors"
    model.save(path)
    again = soundalike.load(str(path))
    sounds = [tone(), noise(5000), tone(2.5)]
    assert np.array_equal(again.embed(sounds), model.embed(sounds))
    assert (again.recipe, again.training, again.size, again.sample_rate) == (
        model.recipe,
        model.training,
        model.size,
        model.sample_rate,
    )
    assert [file.name for file in path.parent.iterdir()] == ["b.safetensors"]


def test_a_model_can_be_saved_before_any_training(tiny: Recipe, tmp_path: Path) -> None:
    SoundModel(tiny).save(tmp_path / "new.safetensors")
    assert soundalike.load(tmp_path / "new.safetensors").training == {}


def test_loading_a_run_s_folder_is_loading_its_model(model: SoundModel, run: Path) -> None:
    assert np.array_equal(soundalike.load(run / "model.safetensors").embed(tone()), model.embed(tone()))


def refused(path: Path) -> str:
    with pytest.raises(SoundalikeError) as error:
        soundalike.load(path)
    sentence = str(error.value)
    assert sentence.startswith(f"{path}")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def test_files_that_are_no_models(run: Path, tmp_path: Path) -> None:
    assert "no such model file" in refused(tmp_path / "nothing.safetensors")
    assert "a folder without model.safetensors" in refused(tmp_path)
    path = tmp_path / "other.safetensors"
    whole = (run / "model.safetensors").read_bytes()
    for content in (b"", b"\x00" * 8, b"hello there, this is text", b"\xff" * 100, (run / "recipe.yaml").read_bytes()):
        path.write_bytes(content)
        assert "not a model, or cut short" in refused(path)
    for length in (4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "not a model, or cut short" in refused(path)
    assert "not a model, or cut short" in refused(run / "checkpoint.ckpt")


def test_safetensors_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_arrays({"a": np.zeros(3)}, path)
    assert "not one that soundalike wrote" in refused(path)
    save_arrays({"a": np.zeros(3)}, path, {"format": "pt"})
    assert "not one that soundalike wrote" in refused(path)


@pytest.mark.parametrize(
    "header",
    [
        {"recipe": None},
        {"training": None},
        {"recipe": "{"},
        {"recipe": "[]"},
        {"recipe": "null"},
        {"recipe": '{"name": "x"}'},
        {"recipe": '{"name": "x", "sections": 3}'},
        {"recipe": '{"name": "x", "sections": {"encoder": {"width": 8}, "training": {"steps": 1}}}'},
        {"recipe": '{"name": "x", "sections": {"encoder": {"name": "resnet9"}}}'},
        {"recipe": '{"name": "x", "sections": {"encoder": {"width": -1}, "training": {"steps": 1}}}'},
        {"recipe": '{"name": "x", "sections": {"decoder": {}}}'},
        {"recipe": "[" * 100_000},
        {"training": "3"},
        {"training": "[1]"},
    ],
)
def test_damaged_headers(saved: Callable[..., Path], header: dict[str, str | None]) -> None:
    assert "not a model that this version can load (" in refused(saved(**header))


def test_a_header_of_a_later_version(saved: Callable[..., Path]) -> None:
    sentence = refused(saved(format="soundalike-3"))
    assert sentence.endswith("of format soundalike-3, which this version does not know; update soundalike.")
    assert FORMAT == "soundalike-2"


def test_of_long_sounds_few_are_held_at_a_time(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(SoundModel):
        def __call__(self, waveforms: Sequence[np.ndarray | LongSound]) -> np.ndarray:
            lengths.append(sum(map(len, waveforms)))
            return super().__call__(waveforms)

    lengths: list[int] = []
    model = Counting(tiny)
    sounds = np.random.default_rng(0).normal(size=(7, 4800)).astype(np.float32)
    whole = model.embed(list(sounds))
    monkeypatch.setattr("soundalike.model.model.MOST_WAITING", 9000)
    lengths.clear()
    np.testing.assert_allclose(model.embed(list(sounds)), whole, atol=1e-5)
    assert max(lengths) <= 9000 + 4800
    assert model.embed([]).shape == (0, model.size)


def test_a_model_cannot_be_saved_below_a_file(model: SoundModel, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SoundalikeError, match=r"cannot be written there \(.*\); give another place\.$"):
        model.save(tmp_path / "file" / "model.safetensors")


def test_devices_that_are_not_there(run: Path) -> None:
    for device in ("foo", "cuda:99"):
        with pytest.raises(SoundalikeError, match=rf"device '{device}': PyTorch cannot use it here"):
            soundalike.load(run, device)


# sounds


def test_one_waveform_in_every_form(model: SoundModel, tmp_path: Path) -> None:
    sound = tone()
    expected = model.embed(sound)
    assert expected.shape == (model.size,)
    assert expected.dtype == np.float32
    soundfile.write(tmp_path / "é sound.wav", sound, RATE, subtype="FLOAT")
    assert close(model.embed(tmp_path / "é sound.wav"), expected)
    assert close(model.embed(str(tmp_path / "é sound.wav"), 8_000), expected), "a file brings its own rate"
    assert close(model.embed(sound.astype(np.float64), RATE), expected)
    assert close(model.embed(torch.from_numpy(sound).requires_grad_()), expected)
    assert close(model.embed(sound.tolist()), expected)
    assert close(model.embed(sound[::-1][::-1]), expected), "strides do not matter"
    whole = (sound * 32768).astype(np.int16)
    assert cosine(model.embed(whole), expected) > 0.999
    assert cosine(model.embed(torch.from_numpy(whole)), expected) > 0.999


def test_several_sounds(model: SoundModel, tmp_path: Path) -> None:
    sounds = [tone(1.0), noise(100), tone(3.0, hertz=200), noise(1), noise(16_000), tone(1.0)]
    together = model.embed(sounds)
    assert together.shape == (6, model.size)
    assert np.array_equal(together[0], together[5])
    for sound, embedding in zip(sounds, together, strict=True):
        assert close(embedding, model.embed(sound))
    batch = np.stack([tone(hertz=100.0 * row + 200) for row in range(9)])
    assert close(model.embed(batch), model.embed(list(batch)))
    assert close(model.embed(torch.from_numpy(batch)), model.embed(batch))
    soundfile.write(tmp_path / "a.wav", tone(), RATE, subtype="FLOAT")
    assert close(model.embed([tmp_path / "a.wav", tone(), str(tmp_path / "a.wav")]), model.embed([tone()] * 3))
    assert close(model.embed((tone(), noise(100))), together[:2])


def test_no_sounds(model: SoundModel) -> None:
    empty: list[Any] = [[], (), np.zeros((0, RATE)), torch.zeros(0, RATE)]
    for nothing in empty:
        assert model.embed(nothing).shape == (0, model.size)


def test_an_embedding_does_not_depend_on_its_neighbours(model: SoundModel) -> None:
    sound = tone(0.7)
    alone = model.embed(sound)
    for neighbours in ([noise(11_200, seed) for seed in range(150)], [10 * noise(40_000)], [np.zeros(5)]):
        assert close(model.embed([*neighbours, sound])[-1], alone)
        assert close(model.embed([sound, *neighbours])[0], alone)


@pytest.mark.parametrize("rate", [44_100, 48_000, 22_050, 96_000])
def test_the_sample_rate_hardly_matters(model: SoundModel, rate: int) -> None:
    expected = model.embed(tone(2.0))
    other = model.embed(tone(2.0, rate), rate)
    assert cosine(other, expected) > 0.999
    assert cosine(model.embed(tone(2.0, hertz=880.0)), expected) < cosine(other, expected)


def test_very_short_and_silent_sounds(model: SoundModel) -> None:
    for sound in (np.ones(1, np.float32), np.zeros(1, np.float32), np.zeros(RATE, np.float32), noise(2)):
        embedding = model.embed(sound)
        assert embedding.shape == (model.size,)
        assert np.isfinite(embedding).all()


def test_long_sounds(model: SoundModel) -> None:
    assert np.isfinite(model.embed(np.tile(tone(1.0), 65))).all()


@pytest.mark.parametrize(
    ("sound", "said"),
    [
        (np.zeros(0, np.float32), r"^the waveform is empty\.$"),
        (np.zeros((3, 0), np.float32), r"^the waveform is empty\.$"),
        (np.array([0.0, np.nan]), r"NaN or infinite samples"),
        (np.array([0.0, np.inf]), r"NaN or infinite samples"),
        ([np.zeros(5), np.array([np.nan])], r"^sound 1: the waveform holds NaN"),
        ([np.zeros(5), np.zeros((2, 5))], r"^sound 1: the waveform has shape \(2, 5\): one sound is"),
        (np.zeros((2, 3, 4)), r"^sound 0: the waveform has shape \(3, 4\)"),
        (np.zeros((2, 3, 4, 5)), r"shape \(2, 3, 4, 5\)"),
        (np.float32(1), r"float32 is not a sound; give a path"),
        (np.array(1.0), r"shape \(\)"),
        (None, r"NoneType is not a sound; give a path"),
        (3, r"int is not a sound"),
        (b"a.wav", r"bytes is not a sound"),
        ({"a": 1}, r"dict is not a sound"),
        (np.array(["a", "b"]), r"^a: cannot be opened"),
        (np.zeros(5, np.int64), r"int64 has no agreed full scale"),
        (np.zeros(5, np.complex64), r"the waveform has samples of type complex64"),
        ([None], r"^sound 0: "),
        (Path("nowhere.wav"), r"^nowhere\.wav: cannot be opened"),
        ([np.zeros(5), "nowhere.wav"], r"^nowhere\.wav: cannot be opened"),
    ],
)
def test_what_is_no_sound(model: SoundModel, sound: Any, said: str) -> None:
    with pytest.raises(AudioError, match=said) as error:
        model.embed(sound)
    assert str(error.value).endswith(".")


def test_sample_rates_that_cannot_be(model: SoundModel) -> None:
    for rate in (0, -1, 16, float("nan"), "16k"):
        with pytest.raises(SoundalikeError, match=r"^the sample rate is"):
            model.embed(tone(), rate)  # type: ignore[arg-type]


def test_a_file_that_is_cut_short_is_embedded_with_a_warning(model: SoundModel, tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, tone(), RATE)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.warns(UserWarning, match="seems to be cut short"):
        assert np.isfinite(model.embed(path)).all()


# the baseline


def test_the_untrained_model(model: SoundModel, tiny: Recipe) -> None:
    sounds = [tone(), noise(RATE)]
    trained, untrained = model.embed(sounds), model.untrained(0).embed(sounds)
    assert untrained.shape == trained.shape
    assert not np.allclose(untrained, trained, rtol=1e-3, atol=1e-3)
    assert np.array_equal(model.untrained(0).embed(sounds), untrained)
    assert not np.allclose(model.untrained(1).embed(sounds), untrained, rtol=1e-3, atol=1e-3)
    assert np.array_equal(model.embed(sounds), trained), "the model itself stays as it is"
    assert model.untrained().training == {}


# read-outs


def test_sizes() -> None:
    laptop = Recipe.load("doppelgangers-cpu")
    assert SoundModel(laptop).size == 2560
    assert SoundModel(laptop.override({"readout": "pooled"})).size == 512
    paper = SoundModel(Recipe.load("doppelgangers"))
    assert paper.size == 512
    assert paper.embed(tone()).shape == (512,)
    assert paper.embed([tone(), tone(3.3)]).shape == (2, 512)
    assert SoundModel(laptop.override({"encoder.width": 64})).size == 5120


def test_both_readouts_embed_everything(tiny: Recipe) -> None:
    for readout in ("pooled", "stages"):
        model = SoundModel(tiny.override({"readout": readout}))
        sounds = [noise(1), noise(3000), tone(0.24), tone(4.1)]
        embeddings = model.embed(sounds)
        assert embeddings.shape == (4, model.size)
        assert np.isfinite(embeddings).all()
        assert close(embeddings[1], model.embed(sounds[1]))


def test_the_recipe_in_the_header_says_how_audio_is_prepared(run: Path) -> None:
    with safe_open(run / "model.safetensors", "pt") as file:
        recipe = json.loads(file.metadata()["recipe"])
    assert recipe["sections"]["frontend"]["sample_rate"] == RATE
    assert recipe["sections"]["readout"]["name"] == "stages"
