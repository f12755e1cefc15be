"""Scores of frozen embeddings: counted again by hand, and blind to test labels."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.table import Dataset, build
from soundalike.eval.probe import linear
from soundalike.eval.probe.baseline import LogMelStatistics
from soundalike.eval.probe.compare import compare_to_baselines, mcnemar
from soundalike.eval.probe.linear import inner_splits
from soundalike.eval.probe.score import Predictions, ProbeScore, score


def dataset(labels, groups=None, folds=None, splits=None) -> Dataset:
    return build(
        "toy",
        "folds by hand",
        paths=[Path(f"/clips/{number}.wav") for number in range(len(labels))],
        labels=[str(label) for label in labels],
        groups=[str(group) for group in (range(len(labels)) if groups is None else groups)],
        folds=folds,
        splits=splits,
    )


def toy(count=120, classes=4, folds=3, spread=1.0, width=16, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.arange(count) % classes
    vectors = np.random.default_rng(7).standard_normal((classes, width))[codes]
    vectors = vectors + spread * rng.standard_normal((count, width))
    return vectors, dataset([f"class {code}" for code in codes], folds=1 + np.arange(count) // classes % folds)


def test_numbers_follow_from_the_predictions():
    vectors, data = toy(spread=2)
    result = score(vectors, data)
    truth = data.labels
    folds = np.array([clip.fold for clip in data.clips])
    for probe in result.probes.values():
        rows = np.array(probe.predictions.row)
        assert sorted(rows) == list(range(120))
        predicted = np.array(result.classes)[probe.predictions.predicted]
        assert list(np.array(result.classes)[probe.predictions.label]) == list(truth[rows])
        by_fold = [
            np.mean([p == truth[r] for r, p in zip(rows, predicted, strict=True) if folds[r] == f]) for f in (1, 2, 3)
        ]
        assert [fold.score for fold in probe.folds] == pytest.approx(by_fold)
        assert probe.mean == pytest.approx(np.mean(by_fold))
        assert probe.std == pytest.approx(np.sqrt(np.mean((np.array(by_fold) - np.mean(by_fold)) ** 2)))
        confusion = np.zeros((4, 4), int)
        for row, answer in zip(rows, predicted, strict=True):
            confusion[result.classes.index(truth[row]), result.classes.index(answer)] += 1
        assert probe.confusion == confusion.tolist()
        assert 0.3 < probe.mean < 1
        assert [(fold.train, fold.test) for fold in probe.folds] == [(80, 40)] * 3
    assert (result.clips, result.dimensions, result.chance) == (120, 16, 0.25)


def test_clear_classes_are_all_right_and_noise_is_not():
    vectors, data = toy(spread=0.05)
    assert {probe.mean for probe in score(vectors, data).probes.values()} == {1.0}
    noise = np.random.default_rng(0).standard_normal((400, 30))
    labels = np.arange(400) % 4
    result = score(noise, dataset(labels, folds=1 + np.arange(400) // 4 % 4))
    assert all(0.15 < probe.mean < 0.35 for probe in result.probes.values())


def test_test_labels_change_no_prediction():
    vectors, _ = toy(spread=2)
    splits = np.array(["train", "train", "validation", "test"])[np.arange(120) // 4 % 4]
    labels = np.arange(120) % 4
    scrambled = np.where(splits == "test", (labels + 1) % 4, labels)
    honest, other = (score(vectors, dataset(which, splits=splits)) for which in (labels, scrambled))
    for probe in ("linear", "knn"):
        assert honest.probes[probe].predictions.predicted == other.probes[probe].predictions.predicted
        assert honest.probes[probe].mean > other.probes[probe].mean


def test_test_vectors_change_nothing_but_their_own_predictions():
    vectors, _ = toy(spread=2)
    splits = np.array(["train", "train", "train", "test"])[np.arange(120) // 4 % 4]
    data = dataset(np.arange(120) % 4, splits=splits)
    last = np.flatnonzero(splits == "test")[-1]
    moved = vectors.copy()
    moved[last] = 1000
    for probe, before in score(vectors, data).probes.items():
        after = score(moved, data).probes[probe]
        assert before.predictions.predicted[:-1] == after.predictions.predicted[:-1]
        assert before.folds[0].strength == after.folds[0].strength


def test_official_lists_give_one_fold():
    vectors, _ = toy(spread=1)
    splits = np.array(["train", "validation", "test"])[np.arange(120) // 4 % 3]
    result = score(vectors, dataset(np.arange(120) % 4, splits=splits))
    probe = result.probes["linear"]
    assert [(fold.train, fold.test) for fold in probe.folds] == [(40, 40)]
    assert probe.std == 0
    assert sorted(probe.predictions.row) == list(np.flatnonzero(splits == "test"))


def test_groups_stay_whole_when_the_strength_is_chosen(monkeypatch):
    vectors, _ = toy(count=240)
    speakers, labels = np.arange(240) // 40, np.arange(240) % 4
    seen = []

    def spy(codes, groups, folds, seed):
        splits = inner_splits(codes, groups, folds, seed)
        seen.extend(set(groups[train]) & set(groups[test]) for train, test in splits)
        return splits

    monkeypatch.setattr(linear, "inner_splits", spy)
    score(vectors, dataset(labels, groups=speakers, folds=1 + speakers), ["linear"])
    assert seen == [set()] * 18  # 6 folds with 3 inner ones


def test_a_class_that_training_lacks_is_simply_never_answered():
    vectors, _ = toy(count=40, folds=2)
    labels = ["rare" if number == 0 else str(number % 4) for number in range(40)]
    result = score(vectors, dataset(labels, folds=1 + np.arange(40) // 4 % 2))
    assert result.classes[-1] == "rare"
    assert result.probes["knn"].confusion[-1][-1] == 0


@pytest.mark.parametrize("processors", [1, 8])
def test_threads_change_nothing(processors, monkeypatch):
    vectors, data = toy(spread=2)
    expected = asdict(score(vectors, data)) | {"seconds": 0}
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    assert asdict(score(vectors, data)) | {"seconds": 0} == expected


def test_json_round_trip():
    result = score(*toy(count=24)).as_dict()
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_bad_input_is_named():
    vectors, data = toy(count=24)
    with pytest.raises(SoundalikeError, match="did you mean 'linear'"):
        score(vectors, data, ["linaer"])
    with pytest.raises(SoundalikeError, match=r"\(23, 16\) do not fit 24 clips"):
        score(vectors[:-1], data)
    vectors[3, 3] = np.nan
    with pytest.raises(SoundalikeError, match="not finite"):
        score(vectors, data)


def scores(*spreads):
    names = ["mine", "log-mel statistics", "untrained encoder"]
    return {name: score(*toy(spread=spread)) for name, spread in zip(names, spreads, strict=False)}


def test_comparison_beats():
    results = scores(0.5, 2, 4)
    comparison = compare_to_baselines(results)
    assert comparison.beats is True
    assert comparison.clear is True
    assert comparison.sentence.startswith("Beats both baselines: ")
    for margin in comparison.margins:
        points = 100 * (results["mine"].probes["linear"].mean - results[margin.baseline].probes["linear"].mean)
        assert margin.points == pytest.approx(points, abs=0.05)
        assert f"{margin.points:.1f} points above {margin.baseline} (ahead in 3 of 3 folds)" in comparison.sentence
        assert margin.folds_won == 3


def test_comparison_does_not_beat_when_one_floor_is_higher_or_level():
    comparison = compare_to_baselines(scores(2, 0.5, 4))
    assert comparison.beats is False
    assert "Does not beat both baselines" in comparison.sentence
    assert "below log-mel statistics (ahead in 0 of 3 folds)" in comparison.sentence
    assert "above untrained encoder" in comparison.sentence
    level = compare_to_baselines(scores(2, 2))
    assert level.beats is False
    assert level.sentence.startswith("Does not beat the baseline: level with log-mel statistics")


def test_a_small_lead_is_said_to_be_unclear():
    results = {"mine": score(*toy(spread=2, seed=3)), "log-mel statistics": score(*toy(spread=2, seed=4))}
    comparison = compare_to_baselines(results)
    if comparison.margins[0].points < 0:
        results = dict(zip(results, reversed(results.values()), strict=True))
        comparison = compare_to_baselines(results)
    assert comparison.margins[0].p > 0.05
    assert comparison.beats
    assert not comparison.clear
    assert comparison.sentence.startswith("Beats the baseline, but not clearly: ")
    assert comparison.sentence.endswith("; could be chance).")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_mcnemar_is_a_binomial_test_of_the_clips_that_differ(answers):
    label = [0] * len(answers)
    one, other = (
        ProbeScore(0, 0, [], [], Predictions(label, label, [int(not answer[which]) for answer in answers]))
        for which in (0, 1)
    )
    wins = sum(a and not b for a, b in answers)
    differ = sum(a != b for a, b in answers)
    fewer = min(wins, differ - wins)
    expected = min(1, 2 * sum(math.comb(differ, count) for count in range(fewer + 1)) / 2**differ)
    assert mcnemar(one, other) == pytest.approx(expected)
    assert mcnemar(other, one) == mcnemar(one, other)


def test_comparison_without_floors():
    assert compare_to_baselines(scores(1)).beats is None
    assert compare_to_baselines(scores(1)).sentence == "No baseline was evaluated."


@pytest.mark.skipif("SOUNDALIKE_DATA" not in os.environ, reason="needs real recordings")
@pytest.mark.parametrize(("task", "low", "high"), [("esc10", 0.77, 0.86)])
def test_log_mel_statistics_on_recordings(task, low, high):
    from soundalike.data.datasets import read
    from soundalike.model.embed_files import embed_files

    data = read(task, os.environ["SOUNDALIKE_DATA"])
    vectors = embed_files(data.paths, {"baseline": LogMelStatistics()}).vectors["baseline"]
    assert low < score(vectors, data).probes["linear"].mean < high
