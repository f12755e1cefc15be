"""Studies of sounds: similarity of pairs against δ, and features of synthetic sounds beside recordings."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundalike.cli import main
from soundalike.core.errors import SoundalikeError
from soundalike.eval.probe.baseline import LogMelStatistics
from soundalike.eval.study import frechet, uncertainty
from soundalike.eval.study.features import FEATURES, RATE, features
from soundalike.eval.study.similarity import compare, measure
from soundalike.eval.study.spectra import distance, summary
from soundalike.model.recipe import Recipe
from soundalike.synth import Voice

TIME = np.arange(RATE) / RATE
NOISE = np.random.default_rng(0).normal(size=RATE) * 0.1


@pytest.fixture(scope="module")
def small(tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "small.yaml"
    path.write_text(tiny.override({"encoder.width": 8}).to_yaml())
    return path


# ---- similarity


def test_pairs_that_are_alike_and_pairs_that_are_not() -> None:
    a = np.random.default_rng(0).normal(size=(200, 8)) + 100.0  # an offset that all share says nothing
    same = compare(a, a.copy())
    assert same["pairs"] == pytest.approx(1)
    assert same["auc"] == 1
    assert abs(same["others"]) < 0.02
    unrelated = compare(a, np.random.default_rng(1).normal(size=(200, 8)) + 100.0)
    assert abs(unrelated["pairs"]) < 0.1
    assert unrelated["auc"] == pytest.approx(0.5, abs=0.06)
    nothing = compare(np.ones((5, 3)), np.ones((5, 3)))
    assert (nothing["pairs"], nothing["auc"]) == (0, 0.5)


def test_similarity_falls_with_delta() -> None:
    voice = Voice(seconds=0.2)
    found = measure(voice, {"statistics": LogMelStatistics()}, [0.01, 0.5], count=96)["statistics"]
    assert found[0.01]["pairs"] > 0.8
    assert found[0.01]["auc"] > 0.9
    assert found[0.5]["pairs"] < 0.4
    assert found[0.5]["auc"] == pytest.approx(0.53, abs=0.08)
    assert measure(voice, {"statistics": LogMelStatistics()}, [0.01], count=96)["statistics"][0.01] == found[0.01]
    for deltas, count, said in (([0.1], 1, "count is 1"), ([], 8, "no delta"), ([2.0], 8, "delta is 2.0")):
        with pytest.raises(SoundalikeError, match=f"^{said}"):
            measure(voice, {}, deltas, count)


def test_similarity_on_the_command_line(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--recipe", str(small), "--count", "8", "--delta", "0.1", "0.5", "--voice", "voice", "voice-fm"]
    assert main(["study", "similarity", "--out", str(tmp_path / "s"), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * 2 * 2 + 1
    found = json.loads((tmp_path / "s" / "similarity.json").read_text())["similarity"]
    assert set(found) == {"voice", "voice-fm"}
    assert set(found["voice"]) == {"untrained encoder", "log-mel statistics"}
    assert set(found["voice"]["log-mel statistics"]["0.1"]) == {"pairs", "pairs_std", "others", "others_std", "auc"}
    assert "data:image/png;base64," in (tmp_path / "s" / "report.html").read_text()
    assert main(["study", "similarity", "--out", str(tmp_path / "s"), "--model", "m", "--recipe", "r"]) == 2
    assert "give --model or --recipe, not both" in capsys.readouterr().err
    assert main(["study", "similarity", "--out", str(tmp_path / "s"), "--voice", "voise"]) == 2
    assert "did you mean" in capsys.readouterr().err


# ---- features


def test_features_of_a_tone_and_of_noise() -> None:
    tone, noise = features(0.5 * np.sin(2 * np.pi * 1000 * TIME)), features(NOISE)
    assert set(tone) == set(noise) == set(FEATURES)
    assert tone["centroid"] == pytest.approx(1000, rel=0.02)
    assert tone["rolloff"] == pytest.approx(1000, abs=40)
    assert tone["flatness"] < 1e-3 < 0.4 < noise["flatness"]
    assert tone["aperiodicity"] < 0.05 < 0.4 < noise["aperiodicity"]
    assert tone["flux"] < noise["flux"]
    assert tone["complexity"] < 5 < 50 < noise["complexity"]
    assert noise["centroid"] == pytest.approx(4000, rel=0.05)
    assert abs(noise["slope"]) < 0.5
    assert tone["silence"] == noise["silence"] == 0
    assert noise["dynamics"] < 5


def test_how_loud_a_sound_is_changes_nothing() -> None:
    loud, quiet = features(NOISE), features(1e-4 * NOISE)
    assert [loud[name] for name in FEATURES] == pytest.approx([quiet[name] for name in FEATURES], rel=1e-6, abs=1e-6)


def test_the_slope_of_filtered_noise() -> None:
    spectrum = np.fft.rfft(NOISE)
    spectrum[1:] /= np.arange(1, len(spectrum))  # amplitude as 1 / f: 6 dB down for each octave
    assert features(np.fft.irfft(spectrum))["slope"] == pytest.approx(-6, abs=0.7)


def test_partials_off_the_series_are_less_periodic() -> None:
    harmonic = sum(np.sin(2 * np.pi * 200 * k * TIME) for k in (1, 2, 3, 4))
    inharmonic = sum(np.sin(2 * np.pi * 200 * k * TIME) for k in (1, 2.13, 3.37, 4.71))
    assert features(np.asarray(harmonic))["aperiodicity"] < 0.05 < features(np.asarray(inharmonic))["aperiodicity"]


@pytest.mark.parametrize("hertz", [3, 8, 20])
def test_the_modulation_s_frequency(hertz: float) -> None:
    wobbling = (1 + 0.9 * np.sin(2 * np.pi * hertz * TIME)) * np.sin(2 * np.pi * 700 * TIME)
    assert features(wobbling)["modulation"] == pytest.approx(hertz, rel=0.2)


def test_silence_and_sounds_of_any_length() -> None:
    half = features(np.where(TIME < 0.5, NOISE, 0.0))
    assert half["silence"] == pytest.approx(0.5, abs=0.05)
    assert half["dynamics"] == pytest.approx(80, abs=5)
    nothing = features(np.zeros(RATE))
    assert nothing["silence"] == 1
    assert math.isnan(nothing["centroid"])
    for length in (1, 2, 399, 1025):
        assert set(features(NOISE[:length])) == set(FEATURES)


# ---- beside recordings


def test_distances_and_quantiles() -> None:
    values = np.random.default_rng(0).normal(size=4000)
    assert distance(values, values) == 0
    assert distance(values, values + 1e6) == pytest.approx(2, rel=0.01)  # far apart: half the deviation each
    assert distance(values, np.append(values, np.nan)) == 0
    assert math.isnan(distance(values, np.array([np.nan])))
    assert distance(np.ones(3), np.ones(2)) == 0
    a, b = (dict.fromkeys(FEATURES, values + shift) for shift in (0, 1))
    found = summary({"made": a}, {"real": {**b, "centroid": np.full(3, np.nan)}})
    assert found["distance"]["made"]["real"]["centroid"] is None
    assert found["distance"]["made"]["real"]["mean"] == pytest.approx(1 / np.sqrt(1.25), rel=0.05)
    assert found["quantiles"]["made"]["slope"][2] == pytest.approx(0, abs=0.05)
    assert found["quantiles"]["real"]["centroid"] == [None] * 5


def test_spectra_on_the_command_line(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "recordings <b>"
    folder.mkdir()
    for number in range(4):
        soundfile.write(folder / f"{number}.wav", NOISE[: 4000 * (number + 1)], RATE)
    (folder / "broken.wav").write_bytes(b"this is no sound")
    command = ["study", "spectra", "--out", str(tmp_path / "s"), "--data", str(folder), "--count", "8"]
    assert main([*command, "--recipe", str(small)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(tmp_path / "s" / "report.html")
    assert err.startswith(f"left out: {folder / 'broken.wav'}: ")
    found = json.loads((tmp_path / "s" / "spectra.json").read_text())
    assert found["sounds"] == {"doppelgangers-cpu": 8, "recordings <b>": 4}
    assert set(found["distance"]["doppelgangers-cpu"]["recordings <b>"]) == {*FEATURES, "mean"}
    page = (tmp_path / "s" / "report.html").read_text()
    assert "recordings &lt;b&gt;" in page
    assert "recordings <b>" not in page
    assert main([*command, "--count", "1"]) == 2
    assert "--count is 1" in capsys.readouterr().err
    assert main(["study", "spectra", "--out", str(tmp_path / "n"), "--data", str(tmp_path / "none")]) == 2
    assert "no such file or folder" in capsys.readouterr().err


# ---- Fréchet distance


def test_the_distance_of_normal_distributions() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(20_000, 3)) * [1, 2, 3] + [0, 1, 0], rng.normal(size=(20_000, 3)) * [2, 2, 1]
    expected = 1 + (1 - 2) ** 2 + 0 + (3 - 1) ** 2  # of independent numbers: squares of the differences
    assert frechet.distance(a, b) == pytest.approx(expected, rel=0.03)
    assert frechet.distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet.distance(a, b) == pytest.approx(frechet.distance(b, a))


def test_the_distance_is_that_of_the_matrix_root() -> None:
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(5, 5))
    a, b = rng.normal(size=(60, 5)) @ mixing, rng.normal(size=(40, 5)) + 0.3
    first, second = np.cov(a.T), np.cov(b.T)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet.distance(a, b) == pytest.approx(expected, rel=1e-6)
    few = frechet.distance(a[:3], b[:4])  # fewer sounds than numbers
    assert np.isfinite(few)
    assert few > 0
    with pytest.raises(SoundalikeError, match=r"sets of shapes \(1, 5\) and"):
        frechet.distance(a[:1], b)


def test_sets_are_compared_in_one_size_and_unit() -> None:
    rng = np.random.default_rng(2)
    near, far = rng.normal(size=(80, 4)), rng.normal(size=(60, 4)) + 2
    sources = {"recordings": {"model": near[:50]}, "like them": {"model": near[50:]}, "unlike": {"model": far}}
    found = frechet.compare(sources, ["recordings"])["model"]
    assert found["unlike"]["recordings"] > 3 * found["like them"]["recordings"]
    assert found["recordings"] == {}
    scaled = {name: {"model": of["model"] * [1, 10, 100, 1000]} for name, of in sources.items()}
    assert frechet.compare(scaled, ["recordings"])["model"]["unlike"]["recordings"] == pytest.approx(
        found["unlike"]["recordings"]
    )


def test_the_study_of_distances(
    small: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "theirs_of_frechet.py").write_text(
        "def lengths(waves):\n    return [[len(w), abs(w).max()] for w in waves]\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        options = ["--recipe", small, "--data", recordings, "--count", 8, "--embedder", "theirs_of_frechet:lengths"]
        assert main(["study", "frechet", *map(str, options), "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "frechet.json").read_text())["distance"]
    assert list(found) == ["model", "log-mel statistics", "theirs_of_frechet:lengths"]
    assert found["model"]["doppelgangers-cpu"][recordings.name] > 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "out" / "report.html")


# ---- causal uncertainty


def test_entropy_in_bits() -> None:
    found = uncertainty.entropy(np.array([[1.0, 0, 0, 0], [0.25] * 4, [2, 2, 0, 0]]))
    assert found.tolist() == pytest.approx([0, 2, 1])


def test_uncertainty_of_pairs() -> None:
    def loud(sounds: list[np.ndarray]) -> np.ndarray:
        chance = np.array([1.0 if np.abs(sound).mean() > 0.05 else 0.0 for sound in sounds])
        return np.stack([chance, 1 - chance], axis=1)

    found = uncertainty.measure(Voice(seconds=0.2), loud, [0.01, 0.5], count=80)
    assert found[0.01]["bits"] == pytest.approx(0, abs=1e-6)
    assert found[0.01]["agreement"] > 0.9 > found[0.5]["agreement"]
    with pytest.raises(SoundalikeError, match=r"^count is 0"):
        uncertainty.measure(Voice(seconds=0.2), loud, [0.1], count=0)


def test_the_study_of_uncertainty(small: Path, recordings: Path, run: Path, tmp_path: Path) -> None:
    taught = tmp_path / "taught.safetensors"
    assert main(["teach", str(recordings.parent / "classes"), "--model", str(run), "--out", str(taught)]) == 0
    options = ["--with", taught, "--recipe", small, "--delta", 0.05, "--count", 6, "--data", recordings]
    assert main(["study", "uncertainty", *map(str, options), "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "uncertainty.json").read_text())["uncertainty"]
    assert list(found) == ["voice", recordings.name]
    assert 0 <= found["voice"]["0.05"]["bits"] <= 1
    assert "bits" in found[recordings.name]["recordings"]


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A folder of sounds, and beside it one of two classes."""
    rng = np.random.default_rng(0)
    for label, scale in (("soft", 0.02), ("loud", 0.5)):
        for name in "abcdef":
            for path in (tmp_path / "classes" / label / f"{name}.wav", tmp_path / "street" / f"{label}{name}.wav"):
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, scale * rng.uniform(-1, 1, 6000), RATE)
    return tmp_path / "street"
