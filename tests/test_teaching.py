"""Teaching: made-up sounds that are easy to tell, in folders as people have them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import soundalike
from soundalike.apps.classifier import NONE, SoundClassifier, TrainingReport, teach, teach_with_report
from soundalike.apps.classifier.cross_validation import make_splits, temperature
from soundalike.apps.classifier.distance import Distance, calibrate, threshold
from soundalike.apps.classifier.training_set import find_copies, read
from soundalike.apps.classifier.waveform import loudest, trimmed
from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.folds import identical
from soundalike.eval.probe.linear import fit_linear
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe

RATE = 16_000


def sound(kind: str, seed: int, seconds: float = 0.6) -> np.ndarray:
    """A low tone, a high tone, or a hiss, each a little different with every seed."""
    draw = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    if kind == "hiss":
        return (0.1 * draw.standard_normal(len(time))).astype(np.float32)
    hertz = {"low": 200, "high": 2500}[kind] * draw.uniform(0.95, 1.05)
    clean = 0.3 * np.sin(2 * np.pi * (hertz * time + draw.uniform()))
    return (clean + 0.01 * draw.standard_normal(len(time))).astype(np.float32)


def write(folder: Path, clips: dict[str, int], seconds: float = 0.6) -> Path:
    """So many clips of each kind, in a sub-folder for each."""
    for kind, count in clips.items():
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            name = f"{chr(97 + number)} clip.wav"
            soundfile.write(folder / kind / name, sound(kind, 100 * len(kind) + number, seconds), RATE)
    return folder


@pytest.fixture(scope="module")
def model(tiny: Recipe) -> SoundModel:
    return SoundModel(tiny)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("taught") / "sounds of mine é", {"low": 6, "high": 6, "hiss": 6})


@pytest.fixture(scope="module")
def report(folder: Path, model: SoundModel) -> TrainingReport:
    return teach_with_report(folder, model)


# what is taught


def test_what_differs_is_told_apart(report: TrainingReport) -> None:
    assert report.classifier.classes == ["high", "hiss", "low"]
    estimate = report.estimate
    assert estimate is not None
    assert estimate.accuracy == 1
    assert estimate.tested == 18
    assert estimate.chance == pytest.approx(1 / 3)
    assert np.array_equal(estimate.confusion, 6 * np.eye(3))
    assert report.warnings == []
    for kind in ("low", "high", "hiss"):
        prediction = report.classifier.classify(sound(kind, 7))
        assert prediction.label == kind
        assert prediction.known
        assert prediction.probability == max(prediction.probabilities.values())
        assert sum(prediction.probabilities.values()) == pytest.approx(1)


def test_random_labels_are_not_told_and_it_says_so(tmp_path: Path, model: SoundModel) -> None:
    for number in range(16):
        place = tmp_path / "ab"[number % 2]
        place.mkdir(exist_ok=True)
        soundfile.write(place / f"{chr(97 + number)}.wav", sound("hiss", number), RATE)
    report = teach_with_report(tmp_path, model)
    assert report.estimate is not None
    assert report.estimate.accuracy < 0.8
    assert any("no better than" in warning for warning in report.warnings)


def test_a_file_holds_encoder_and_classifier(report: TrainingReport, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine é.safetensors"
    report.classifier.save(out)
    again = soundalike.load_classifier(out)
    clip = next((folder / "low").iterdir())
    before, after = report.classifier.classify(clip), again.classify(str(clip))
    assert (before.label, before.distance) == (after.label, after.distance)
    assert before.probabilities == pytest.approx(after.probabilities, abs=1e-6)
    assert again.about == report.classifier.about
    assert again.about["clips"] == {"high": 6, "hiss": 6, "low": 6}
    # it is an encoder, too
    assert np.array_equal(soundalike.load(out).embed(clip), report.classifier.model.embed(clip))


def test_a_waveform_of_another_rate_is_the_same_sound(report: TrainingReport) -> None:
    import soxr

    faster = soxr.resample(sound("high", 3), RATE, 44_100)
    assert report.classifier.classify(faster, sample_rate=44_100).label == "high"


def test_a_plain_model_is_refused(model: SoundModel, tmp_path: Path) -> None:
    model.save(tmp_path / "plain.safetensors")
    with pytest.raises(SoundalikeError, match="without a classifier; soundalike teach"):
        SoundClassifier.load(tmp_path / "plain.safetensors")


def test_teaching_leaves_the_model_alone(folder: Path, tiny: Recipe) -> None:
    model = SoundModel(tiny)
    before = {name: tensor.clone() for name, tensor in model.encoder.state_dict().items()}
    taught = teach(folder, model)
    assert all(bool((tensor == before[name]).all()) for name, tensor in model.encoder.state_dict().items())
    assert taught.model is not model


# none of these


def test_silence_and_what_is_far_away_are_none_of_these(tmp_path: Path, model: SoundModel) -> None:
    taught = teach(write(tmp_path / "two", {"low": 8, "high": 8}), model)
    silent = taught.classify(np.zeros(RATE, np.float32))
    assert (silent.label, silent.probability, silent.distance) == (NONE, None, None)
    hiss = taught.classify(sound("hiss", 1))
    assert hiss.label == NONE
    assert hiss.distance is not None
    assert hiss.distance > 1
    assert taught.classify(sound("hiss", 1), none_of_these=0).label in taught.classes


def test_of_the_taught_sounds_few_are_none_of_these(report: TrainingReport) -> None:
    labels = [report.classifier.classify(sound("low", seed)).label for seed in range(500, 520)]
    assert labels.count("low") >= 15


def test_a_larger_share_calls_more_sounds_none_of_these(report: TrainingReport) -> None:
    sounds = [sound("low", seed) for seed in range(600, 612)]
    counts = [
        sum(not prediction.known for prediction in report.classifier.predict_many(sounds, share))
        for share in (0, 0.05, 0.5, 0.95)
    ]
    assert counts == sorted(counts)
    assert counts[0] == 0 < counts[-1]


def test_distance_grows_with_the_way_from_the_classes() -> None:
    draw = np.random.default_rng(0)
    labels = np.repeat(["a", "b"], 30)
    vectors = draw.standard_normal((60, 10)).astype(np.float32)
    vectors[:, 0] += 8 * (labels == "b")
    distance = Distance.fit(vectors, labels, fit_linear(vectors, labels))
    far = np.zeros((3, 10), np.float32)
    far[:, 0] = (8, 8, 8)
    far[:, 1] = (0, 5, 10)
    assert np.all(np.diff(distance(far)) > 0)
    assert distance(far)[2] > np.quantile(distance(vectors), 0.99)


def test_distance_of_classes_with_one_sound_each_and_of_sounds_all_alike() -> None:
    labels = np.array(["a", "b"])
    vectors = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    assert np.isfinite(Distance.fit(vectors, labels, fit_linear(vectors, labels))(vectors)).all()
    alike = np.ones((2, 2), np.float32)
    assert np.isfinite(Distance.fit(alike, labels, fit_linear(alike, labels))(vectors)).all()


def test_directions_of_many_sounds_need_no_matrix_of_their_products(monkeypatch: pytest.MonkeyPatch) -> None:
    draw, sizes = np.random.default_rng(0), [0]
    labels = np.array(["a"] * 300 + ["b"] * 2)
    vectors = draw.standard_normal((302, 30)).astype(np.float32)
    vectors[300:, 3] += 50
    probe = fit_linear(vectors, labels)
    exact = Distance.fit(vectors, labels, probe)(vectors)
    eigh = np.linalg.eigh
    monkeypatch.setattr("soundalike.apps.classifier.distance._MOST", 100)
    monkeypatch.setattr(np.linalg, "eigh", lambda matrix: sizes.append(len(matrix)) or eigh(matrix))
    np.testing.assert_allclose(Distance.fit(vectors, labels, probe)(vectors), exact, rtol=0.01, atol=0.01)
    assert max(sizes) <= 30
    alike = np.ones((302, 30), np.float32)
    assert np.isfinite(Distance.fit(alike, labels, fit_linear(alike, labels))(vectors)).all()


def test_temperature_makes_probabilities_right() -> None:
    draw = np.random.default_rng(0)
    true = draw.standard_normal((4000, 3)) * 1.5
    noise = draw.gumbel(size=true.shape)
    truth = (true + noise).argmax(1)  # the softmax of `true` is its probability
    for factor in (0.5, 1.0, 4.0):
        assert temperature(factor * true, truth) == pytest.approx(factor, rel=0.1)


def test_a_few_clips_that_are_all_told_give_no_certainty() -> None:
    logits = np.array([[3.0, 0.0], [0.0, 3.0], [3.0, 0.0], [0.0, 3.0]])
    scaled = logits / temperature(logits, np.array([0, 1, 0, 1]))
    best = (np.exp(scaled).max(1) / np.exp(scaled).sum(1)).mean()
    assert 0.7 < best < 0.95


def test_threshold_is_the_conformal_quantile() -> None:
    draw = np.random.default_rng(0)
    for count in (19, 20, 39, 100):
        above = [
            new > threshold(np.sort(distances), 0.05)
            for new, *rest in draw.exponential(size=(4000, count + 1))
            for distances in [np.array(rest)]
        ]
        assert np.mean(above) <= 0.06, count
    assert threshold(np.arange(1.0, 20.0), 0.05) == 19
    assert threshold(np.arange(1.0, 21.0), 0.05) == 20
    assert threshold(np.arange(1.0, 40.0), 0.05) == 38
    assert threshold(np.arange(1.0, 6.0), 0.05) == pytest.approx(4.8)  # too few for the share
    assert threshold(np.arange(1.0, 6.0), 0.99) == 1


def test_calibration_takes_the_larger_distance_and_leaves_out_what_was_not_tested() -> None:
    held_out = np.array([np.nan, *np.linspace(0.5, 1.5, 10)])
    fitted = np.full(11, 0.9)
    np.testing.assert_allclose(calibrate(held_out, fitted), np.maximum(held_out[1:], 0.9), rtol=1e-6)
    assert len(calibrate(held_out[:8], fitted[:8])) == 0  # seven
    assert len(calibrate(np.zeros(20), np.zeros(20))) == 0
    assert len(calibrate(np.full(20, 1e-7), np.ones(20))) == 0


@pytest.mark.parametrize("count", [2, 3])
def test_of_few_clips_none_is_refused_and_it_says_so(tmp_path: Path, model: SoundModel, count: int) -> None:
    folder = write(tmp_path / "few", {"low": count, "high": count})
    report = teach_with_report(folder, model)
    assert not report.classifier.calibrated
    assert sum("is not calibrated" in warning for warning in report.warnings) == 1
    for clip in sorted(folder.rglob("*.wav")):
        prediction = report.classifier.classify(clip)
        assert (prediction.label, prediction.distance) == (clip.parent.name, None)
    assert report.classifier.classify(sound("hiss", 1)).known
    assert not report.classifier.classify(np.zeros(RATE, np.float32)).known


def test_of_clips_that_are_alike_none_is_refused(tmp_path: Path, model: SoundModel) -> None:
    for kind in ("low", "high"):
        (tmp_path / kind).mkdir()
        for number in range(10):
            clip = sound(kind, 1) * (1 + 1e-4 * number)
            soundfile.write(tmp_path / kind / f"{chr(97 + number)}.wav", clip, RATE, subtype="FLOAT")
    report = teach_with_report(tmp_path, model)
    assert not report.classifier.calibrated
    assert any("no sound is called" in warning or "is not calibrated" in warning for warning in report.warnings)
    assert all(report.classifier.classify(clip).label == clip.parent.name for clip in tmp_path.rglob("*.wav"))


def test_the_training_clips_are_not_refused(report: TrainingReport, folder: Path) -> None:
    assert report.classifier.calibrated
    predictions = [report.classifier.classify(clip) for clip in folder.rglob("*.wav")]
    assert sum(prediction.known for prediction in predictions) >= 17  # of 18, at a share of 5 %
    assert all(prediction.distance is not None and prediction.distance < 100 for prediction in predictions)


# small classes, copies, broken files


def test_two_clips_a_class_are_taught(tmp_path: Path, model: SoundModel) -> None:
    report = teach_with_report(write(tmp_path / "few", {"low": 2, "high": 2}), model)
    assert report.estimate is not None
    assert report.estimate.tested == 4
    assert any("high, low: fewer than 5 clips" in warning for warning in report.warnings)
    assert report.classifier.classify(sound("low", 9), none_of_these=0).label == "low"


def test_a_class_of_one_clip_is_taught_and_not_tested(tmp_path: Path, model: SoundModel) -> None:
    report = teach_with_report(write(tmp_path / "one", {"low": 5, "high": 5, "hiss": 1}), model)
    assert report.estimate is not None
    assert np.array(report.estimate.confusion).sum(1).tolist() == [5, 0, 5]
    assert any(warning.startswith("hiss: one clip only") for warning in report.warnings)
    assert "hiss" in report.classifier.classes


def test_one_clip_a_class_has_no_estimate(tmp_path: Path, model: SoundModel) -> None:
    report = teach_with_report(write(tmp_path / "ones", {"low": 1, "high": 1}), model)
    assert report.estimate is None
    assert any("no clip could be held out" in warning for warning in report.warnings)
    assert report.classifier.classify(sound("low", 9)).label == "low"


def test_uneven_classes(tmp_path: Path, model: SoundModel) -> None:
    report = teach_with_report(write(tmp_path / "uneven", {"low": 20, "high": 2}), model)
    assert any("low has 20 clips and high has 2" in warning for warning in report.warnings)


def test_a_file_in_two_classes_is_named(tmp_path: Path, model: SoundModel) -> None:
    folder = write(tmp_path / "wrong", {"low": 5, "high": 5})
    shutil.copy(folder / "low" / "a clip.wav", folder / "high" / "other.wav")
    warnings = teach_with_report(folder, model).warnings
    assert any(
        "error in the labels" in one and "low/a clip.wav" in one and "high/other.wav" in one for one in warnings
    )


def test_copies_do_not_leak(tmp_path: Path, model: SoundModel) -> None:
    folder = tmp_path / "copies"
    for number in range(10):  # labels mean nothing, but every clip is there twice
        place = folder / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        one = sound("hiss", number)
        soundfile.write(place / f"{chr(97 + number)}.wav", one, RATE)
        soundfile.write(place / f"{chr(107 + number)}.flac", 0.7 * one, RATE)  # other bytes, other level
    report = teach_with_report(folder, model)
    assert any("sound nearly the same" in warning for warning in report.warnings)
    assert report.estimate is not None
    assert report.estimate.accuracy < 0.9


def test_twins_share_a_name(tmp_path: Path) -> None:
    paths = []
    for number, content in enumerate(["x", "y", "x", "z"]):
        paths.append(tmp_path / f"{number}.wav")
        paths[-1].write_text(content)
    vectors = np.eye(4)
    vectors[3] = vectors[1]
    names, warnings = find_copies(paths, np.array(["a", "a", "a", "a"]), vectors, identical(paths))
    assert names[0] == names[2] != names[1] == names[3]
    assert len(warnings) == 2
    _, warnings = find_copies(
        paths, np.array(["a", "a", "a", "a"]), vectors, identical(paths), folds=np.array([1, 1, 2, 1])
    )
    assert any("1 pair of clips that are the same, or sound so, in different folds" in one for one in warnings)


def test_broken_files_are_left_out_and_named(tmp_path: Path, model: SoundModel) -> None:
    folder = write(tmp_path / "broken", {"low": 4, "high": 4})
    (folder / "low" / "empty.wav").touch()
    report = teach_with_report(folder, model)
    assert [failure.path.name for failure in report.failures] == ["empty.wav"]
    assert report.classifier.about["clips"] == {"high": 4, "low": 4}


def test_a_class_without_a_readable_file_is_refused(tmp_path: Path, model: SoundModel) -> None:
    folder = write(tmp_path / "gone", {"low": 4})
    (folder / "high").mkdir()
    (folder / "high" / "broken.wav").write_text("no sound")
    with pytest.raises(SoundalikeError, match=r"fewer than two classes are left.*broken\.wav"):
        teach_with_report(folder, model)


def test_a_silent_clip_is_named(tmp_path: Path, model: SoundModel) -> None:
    folder = write(tmp_path / "silent", {"low": 4, "high": 4})
    soundfile.write(folder / "low" / "nothing.wav", np.zeros(RATE), RATE)
    assert any("nothing.wav: nothing but silence" in warning for warning in teach_with_report(folder, model).warnings)


# folds


def test_folds_keep_groups_together_and_train_on_every_class() -> None:
    draw = np.random.default_rng(0)
    labels = draw.choice(["a", "b", "c"], 60)
    groups = [str(number) for number in draw.integers(0, 20, 60)]
    splits, codes, how = make_splits(labels, [("speaker", groups)])
    assert "grouped by speaker" in how
    assert sorted(np.concatenate([split.test for split in splits])) == list(range(60))
    for split in splits:
        assert not set(codes[split.train]) & set(codes[split.test])
        assert set(labels[split.train]) == {"a", "b", "c"}


def test_a_small_class_does_not_cost_the_others_their_folds() -> None:
    labels = np.array(["a"] * 20 + ["b"] * 2)
    splits, _, _ = make_splits(labels, [("", [str(number) for number in range(22)])])
    assert len(splits) == 5
    assert all((labels[split.train] == "b").any() for split in splits)


# what may be given


def test_a_table_is_read_like_a_folder(folder: Path, model: SoundModel, tmp_path: Path) -> None:
    rows = [f'"{path}",{path.parent.name}' for path in sorted(folder.rglob("*.wav"))]
    table = tmp_path / "my clips.csv"
    table.write_text("\n".join(["path,label", *rows, "gone.wav,low"]), encoding="utf-8")
    report = teach_with_report(table, model)
    assert report.classifier.about["clips"] == {"high": 6, "hiss": 6, "low": 6}
    assert report.warnings == ["1 of the listed files are not there."]


def test_a_table_with_folds_of_its_own_keeps_them(folder: Path, model: SoundModel, tmp_path: Path) -> None:
    rows = [f'"{path}",{path.parent.name},{1 + row % 3}' for row, path in enumerate(sorted(folder.rglob("*.wav")))]
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(["path,label,fold", *rows]), encoding="utf-8")
    estimate = teach_with_report(table, model).estimate
    assert estimate is not None
    assert len(estimate.folds) == 3
    assert "clips.csv" in estimate.how


def test_groups_hold_where_the_folds_of_a_table_are_lost(folder: Path, tmp_path: Path) -> None:
    clips = sorted(folder.rglob("*.wav"))
    rows = [f'"{path}",{path.parent.name},{row % 3},{"train" if row else "test"}' for row, path in enumerate(clips)]
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(["path,label,group,split", rows[0].replace(",0,", ",alone,"), *rows[1:]]), "utf-8")
    whole = read(table)
    assert whole.own is not None
    left = whole.select(np.arange(1, len(clips)))  # the only clip to test on could not be read
    assert left.own is None
    ((how, groups),) = left.groupings
    assert groups == [str(row % 3) for row in range(1, len(clips))]
    splits, codes, how = make_splits(left.labels, left.groupings)
    assert "grouped by the groups of the data" in how
    assert all(not set(codes[split.train]) & set(codes[split.test]) for split in splits)


def test_wrong_places_are_told_in_one_sentence(tmp_path: Path, folder: Path) -> None:
    flat, bare, single, text = (tmp_path / name for name in ("flat", "bare", "single", "notes.csv"))
    flat.mkdir()
    soundfile.write(flat / "a.wav", sound("low", 0), RATE)
    bare.mkdir()
    write(single, {"low": 2})
    text.write_text("hello\nworld\n")
    cases = {
        tmp_path / "nowhere": "no such file or folder",
        flat: "no sub-folders",
        bare: "holds no sounds",
        single: "only one sub-folder, low,",
        text: "not a table of clips",
        flat / "a.wav": "one sound; give a folder",
    }
    for place, said in cases.items():
        with pytest.raises(SoundalikeError, match=said):
            read(place)
    with pytest.raises(SoundalikeError, match="unknown task 'foldr': did you mean 'folder'"):
        read(folder, "foldr")


# windows


@pytest.mark.parametrize("size", [None, 64])
def test_the_file_has_the_embedding_that_its_classifier_goes_by_alone(tmp_path: Path, size: int | None) -> None:
    folder = tmp_path / "sounds"
    for number, label in enumerate("ab"):
        (folder / label).mkdir(parents=True)
        for take in range(3):
            time = np.arange(8_000) / 16_000
            sound = 0.3 * np.sin(2 * np.pi * (300 + 900 * number + 10 * take) * time)
            soundfile.write(folder / label / f"{take}.wav", sound, 16_000)
    model = soundalike.load()
    assert model.compact is not None
    before, asked = model.compact.size, model.full() if size is None else model.compacted(size)
    taught = teach(folder, asked)
    taught.save(tmp_path / "t.safetensors")
    again = SoundClassifier.load(tmp_path / "t.safetensors")
    assert (again.model.compact is None) == (size is None)
    assert size is None or (again.model.compact is not None and again.model.compact.size == size)
    assert again.model.size == asked.size
    assert again.classify(folder / "a" / "0.wav").label == taught.classify(folder / "a" / "0.wav").label == "a"
    assert model.compact.size == before  # the caller's own is as it was


def test_quiet_before_and_after_a_sound_is_not_heard() -> None:
    sound = np.sin(np.arange(8_000) * 0.3).astype(np.float32)
    quiet = np.full(4_800, 1e-3, np.float32)
    found = trimmed(np.concatenate([quiet, sound, quiet, quiet]), 16_000)
    assert len(sound) <= len(found) <= len(sound) + 3 * 320
    assert np.abs(found).sum() == pytest.approx(np.abs(sound).sum(), rel=0.01)
    between = np.concatenate([sound, quiet, sound])
    assert np.array_equal(trimmed(between, 16_000), between)  # what lies between two sounds belongs to them
    for whole in (np.zeros(5_000, np.float32), sound[:100], np.zeros(0, np.float32), sound):
        assert np.array_equal(trimmed(whole, 16_000), whole)


def test_the_loudest_window() -> None:
    waveform = np.zeros(1000, np.float32)
    waveform[600:700] = 1
    window = loudest(waveform, 200)
    assert len(window) == 200
    assert window.sum() == 100
    assert np.array_equal(loudest(waveform, 1000), waveform)


def test_long_clips_are_taught_in_windows_too(tmp_path: Path, model: SoundModel) -> None:
    taught = teach(write(tmp_path / "long", {"low": 4, "high": 4}, seconds=2.0), model)
    assert taught.window == 1.0
    assert len(taught.window_distances) == 8
    assert teach(tmp_path / "long", model, window=1.8).window == 1.8
    short = teach(write(tmp_path / "short", {"low": 4, "high": 4}, seconds=0.7), model)
    assert short.window == pytest.approx(0.7)
    assert len(short.window_distances) == 0
