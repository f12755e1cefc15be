"""The scikit-learn transformer: in pipelines and searches, by scikit-learn's own checks, and with broken sounds."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import soundalike
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.model import sklearn as transformer
from soundalike.model.model import SoundModel
from soundalike.model.sklearn import SoundEmbedder

RATE = 16_000
EXPECTED_FAILURES = {
    "check_n_features_in": "sounds of another length than those of fit are welcome",
    "check_n_features_in_after_fitting": "sounds of another length than those of fit are welcome",
    "check_estimators_dtypes": "64-bit integers have no agreed full scale",
}


def sound(number: int, seconds: float = 0.3) -> np.ndarray:
    """A low tone for even numbers, a high one for odd ones, each a little different."""
    time = np.arange(round(seconds * RATE)) / RATE
    hertz = (300 if number % 2 == 0 else 1500) + 5 * number
    return (0.4 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve sounds of two kinds, of several lengths."""
    folder = tmp_path_factory.mktemp("sounds")
    paths = [folder / f"{number}.wav" for number in range(12)]
    for number, path in enumerate(paths):
        soundfile.write(path, sound(number, 0.2 + 0.03 * number), RATE, subtype="FLOAT")
    return paths


@pytest.fixture(scope="module")
def model(run: Path) -> SoundModel:
    return soundalike.load(run)


@pytest.fixture
def embedder(run: Path) -> SoundEmbedder:
    return SoundEmbedder(run)


def close(one: Any, other: Any) -> bool:
    return np.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_paths_in_every_form(embedder: SoundEmbedder, model: SoundModel, files: list[Path]) -> None:
    expected = np.stack([model.embed(path) for path in files])
    names = [str(path) for path in files]
    assert embedder.fit(files) is embedder
    frame = pd.DataFrame({"path": names})
    for X in (files, names, tuple(names), np.array(names), np.array(files, object), frame["path"], frame, iter(files)):
        result = embedder.transform(X)
        assert result.dtype == np.float32
        assert close(result, expected)


def test_waveforms_in_every_form(embedder: SoundEmbedder, model: SoundModel) -> None:
    sounds = np.stack([sound(number) for number in range(70)])
    expected = model.embed(sounds)
    forms: list[Any] = [sounds, list(sounds), sounds.tolist(), torch.from_numpy(sounds), pd.DataFrame(sounds)]
    for X in forms:
        assert close(embedder.fit(X).transform(X), expected)
    whole = (sounds * 32768).astype(np.int16)
    assert np.abs(embedder.transform(whole) - expected).max() < 0.1
    ragged = [sound(1, 0.5), sound(2, 0.1), sound(3)]
    assert close(embedder.transform(ragged), model.embed(ragged))


def test_files_and_waveforms_together(embedder: SoundEmbedder, model: SoundModel, files: list[Path]) -> None:
    mixed = [sound(7), files[0], sound(8, 0.4), str(files[1])]
    assert close(embedder.transform(mixed), model.embed(mixed))


def test_the_sample_rate_is_that_of_waveforms(run: Path, model: SoundModel, files: list[Path]) -> None:
    embedder = SoundEmbedder(run, sample_rate=8_000)
    sounds = [sound(1)[::2], sound(2)[::2]]
    assert close(embedder.transform(sounds), model.embed(sounds, 8_000))
    assert close(embedder.transform(files[:2]), model.embed(files[:2])), "a file brings its own"


def test_a_pipeline_learns_to_tell_sounds_apart(run: Path, files: list[Path]) -> None:
    labels = np.array(["low", "high"] * 6)
    pipeline = make_pipeline(SoundEmbedder(run), StandardScaler(), LogisticRegression())
    pipeline.fit(files[:8], labels[:8])
    assert pipeline.score(files[8:], labels[8:]) == 1.0
    again = pickle.loads(pickle.dumps(pipeline))
    assert np.array_equal(again.predict(files), pipeline.predict(files))


def test_a_search_over_models_and_classifiers(run: Path, model: SoundModel, files: list[Path], tmp_path: Path) -> None:
    model.untrained(3).save(tmp_path / "untrained.safetensors")
    pipeline = make_pipeline(SoundEmbedder(), StandardScaler(), LogisticRegression())
    grid = {
        "soundembedder__model": [str(run), str(tmp_path / "untrained.safetensors")],
        "logisticregression__C": [0.01, 1.0],
    }
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise")
    search.fit(pd.Series([str(path) for path in files]), ["low", "high"] * 6)
    assert search.best_params_["soundembedder__model"] in grid["soundembedder__model"]
    assert search.best_score_ > 0.9
    assert len(search.cv_results_["params"]) == 4


def test_a_model_in_memory_can_be_given(model: SoundModel, files: list[Path]) -> None:
    embedder = clone(SoundEmbedder(model))
    assert close(embedder.transform(files[:2]), model.embed(files[:2]))


def test_the_model_is_loaded_once_and_not_pickled(
    run: Path, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []

    def load(path: Path, device: str) -> SoundModel:
        loaded.append(path)
        return SoundModel.load(path, device)

    monkeypatch.setattr("soundalike.load", load)
    transformer._load.cache_clear()
    embedder = SoundEmbedder(run).fit(files)
    assert loaded == []
    expected = embedder.transform(files[:1])
    assert len(pickle.dumps(embedder)) < 2_000
    joblib.dump(embedder, tmp_path / "embedder.joblib")
    for other in (clone(embedder), joblib.load(tmp_path / "embedder.joblib"), pickle.loads(pickle.dumps(embedder))):
        assert np.array_equal(other.transform(files[:1]), expected)
    assert len(loaded) == 1
    transformer._load.cache_clear()


def test_a_file_that_changes_is_loaded_anew(model: SoundModel, files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model.save(path)
    embedder = SoundEmbedder(tmp_path)
    before = embedder.transform(files[:1])
    model.untrained(1).save(path)
    assert not close(embedder.transform(files[:1]), before)


def test_the_output_can_be_a_data_frame(embedder: SoundEmbedder, model: SoundModel, files: list[Path]) -> None:
    names = list(embedder.get_feature_names_out())
    assert names == [f"e{number}" for number in range(model.size)]
    paths = pd.Series([str(path) for path in files[:2]], index=["x", "y"])
    frame = embedder.set_output(transform="pandas").transform(paths)
    assert list(frame.columns) == names
    assert list(frame.index) == ["x", "y"]


# broken sounds


@pytest.fixture
def some_broken(files: list[Path], tmp_path: Path) -> list[Any]:
    (tmp_path / "text.wav").write_text("not audio")
    nan = np.array([0.0, np.nan], np.float32)
    return [files[0], tmp_path / "text.wav", sound(1), nan, tmp_path / "missing.wav", np.zeros((3, 3)), files[1]]


def test_broken_sounds_are_named_together(embedder: SoundEmbedder, some_broken: list[Any]) -> None:
    with pytest.raises(AudioError) as error:
        embedder.fit(some_broken).transform(some_broken)
    said = str(error.value)
    assert said.startswith(f"4 of 7 sounds cannot be embedded: {some_broken[1]} (")
    for part in ("sound 3 (the waveform holds NaN", "missing.wav (", ", and 1 more. Leave them out, or"):
        assert part in said
    assert isinstance(error.value, ValueError), "what scikit-learn expects of data that is refused"


def test_broken_sounds_can_be_rows_of_nan(run: Path, model: SoundModel, some_broken: list[Any]) -> None:
    embedder = SoundEmbedder(run, on_error="nan")
    with pytest.warns(UserWarning, match=r"^4 of 7 sounds cannot be embedded: .* Their rows are NaN\.$"):
        result = embedder.transform(some_broken)
    assert np.isnan(result).all(1).tolist() == [False, True, False, True, True, True, False]
    whole = [0, 2, 6]
    assert close(result[whole], model.embed([some_broken[row] for row in whole]))
    sounds = np.stack([sound(1)] * 8 + [np.full_like(sound(1), np.nan)])
    with pytest.warns(UserWarning, match=r"^1 of 9 sounds"):
        assert np.isnan(embedder.fit(sounds).transform(sounds)).all(1).tolist() == [False] * 8 + [True]


@pytest.mark.parametrize(
    ("X", "said"),
    [
        ("a.wav", r"^'a\.wav' is one path; give a list of paths\.$"),
        (Path("a.wav"), r"is one path"),
        (None, r"^X is of type NoneType"),
        ({"a": 1}, r"^X is of type dict"),
        ([0.1, 0.2], r"^X is one list of numbers; give a list of waveforms: one sound is \[X\]\.$"),
        (np.zeros(5), r"1D array"),
        (np.zeros((2, 3, 4)), r"dim 3"),
        (pd.DataFrame({"path": ["a.wav"], "label": ["x"]}), r"no array of waveforms"),
        ([], r"^X is empty"),
        (np.zeros((0, 5)), r"0 sample"),
    ],
)
def test_what_is_no_collection_of_sounds(embedder: SoundEmbedder, X: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        embedder.fit(X)
    assert isinstance(error.value, SoundalikeError)


def test_no_sounds(embedder: SoundEmbedder, model: SoundModel) -> None:
    assert embedder.transform([]).shape == (0, model.size)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"on_error": "rise"}, r"^on_error is 'rise'; did you mean 'raise'\?"),
        ({"model": "nowhere.safetensors"}, r"^nowhere\.safetensors: no such model"),
        ({"sample_rate": 16}, r"^the sample rate is 16 Hz"),
    ],
)
def test_parameters_that_cannot_be(run: Path, parameters: dict[str, Any], said: str) -> None:
    embedder = SoundEmbedder(**{"model": run, **parameters})
    for method in (embedder.fit, embedder.transform):
        with pytest.raises(SoundalikeError, match=said):
            method([sound(1)])


# scikit-learn's own checks


def test_the_checks_of_scikit_learn(run: Path) -> None:
    failed, passed = {}, 0
    checks: list[tuple[SoundEmbedder, Callable[[Any], None]]] = list(estimator_checks_generator(SoundEmbedder(run)))
    for embedder, check in checks:
        name = check.func.__name__  # type: ignore[attr-defined]
        try:
            check(embedder)
            passed += 1
        except Exception as error:  # checks raise what they like
            if type(error).__name__ != "SkipTest":
                failed[name] = error
    assert failed.keys() <= EXPECTED_FAILURES.keys(), failed
    assert passed > 30


def test_the_package_exports_it() -> None:
    assert soundalike.SoundEmbedder is SoundEmbedder
