"""Several labels a clip: scores against slow loops, and probes that learn them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from dataset_layouts import fsd50k
from soundalike.data import datasets
from soundalike.data.datasets.table import MEAN_AVERAGE_PRECISION, Dataset, build
from soundalike.eval.probe import evaluate, print_table, several
from soundalike.eval.probe.baseline import LogMelStatistics
from soundalike.eval.probe.compare import compare_to_baselines
from soundalike.eval.probe.knn import predict_knn, votes_knn
from soundalike.eval.probe.linear import fit_linear
from soundalike.eval.probe.score import score


def dataset(targets: np.ndarray, splits: list[str] | None = None, folds: list[int] | None = None) -> Dataset:
    labels = [[f"class {column}" for column in np.flatnonzero(row)] for row in targets]
    return build(
        "tags",
        "by hand",
        paths=[Path(f"/clips/{row}.wav") for row in range(len(targets))],
        labels=labels,
        groups=[str(row) for row in range(len(targets))],
        splits=splits,
        folds=folds,
        several=True,
    )


def tags(count: int = 240, classes: int = 4, width: int = 12, spread: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    targets = rng.random((count, classes)) < 0.4
    targets[~targets.any(1), 0] = True
    vectors = targets @ rng.standard_normal((classes, width)) + spread * rng.standard_normal((count, width))
    return vectors.astype(np.float32), targets


def thirds(targets: np.ndarray) -> list[str]:
    return [("train", "validation", "test")[row % 3] for row in range(len(targets))]


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(1, 4), st.integers(0, 10_000))
def test_average_precision_is_the_mean_precision_at_the_hits(count: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets, scores = rng.random((count, classes)) < 0.4, rng.permutation(count * classes).reshape(count, classes)
    found = several.average_precision(targets, scores.astype(float))
    for column in range(classes):
        hits, precisions = 0, []
        for place, row in enumerate(np.argsort(-scores[:, column]), start=1):
            if targets[row, column]:
                hits += 1
                precisions.append(hits / place)
        expected = np.mean(precisions) if precisions else np.nan
        assert found[column] == pytest.approx(expected, nan_ok=True)


def test_votes_add_up_and_agree_with_labels() -> None:
    rng = np.random.default_rng(0)
    train, test, codes = rng.standard_normal((50, 6)), rng.standard_normal((20, 6)), rng.integers(0, 3, 50)
    votes = votes_knn(train, codes[:, None] == np.arange(3), test)
    assert np.allclose(votes.sum(1), 1)
    assert votes.argmax(1).tolist() == predict_knn(train, codes, test).tolist()
    assert np.allclose(votes_knn(train, np.ones((50, 2), bool), test), 1)


def test_one_label_alone_is_logistic_regression() -> None:
    vectors, targets = tags()
    both = np.stack([targets[:, 0], ~targets[:, 0]], axis=1)
    ours = several.fit_linear_several(vectors, both, strengths=[0.1])
    theirs = fit_linear(vectors, targets[:, 0].astype(int), strengths=[0.1])
    probabilities = 1 / (1 + np.exp(-ours.logits(vectors)))
    expected = 1 / (1 + np.exp(theirs.logits(vectors)[:, :1] - theirs.logits(vectors)[:, 1:]))
    assert np.allclose(probabilities[:, :1], expected, atol=0.01)  # two solvers, each with a tolerance
    assert np.allclose(probabilities.sum(1), 1, atol=5e-3)
    assert ours.converged


def test_inner_folds_keep_groups_together() -> None:
    groups = np.repeat(np.arange(10), 3)
    splits = several.inner_splits_several(np.ones((30, 2), bool), groups, 3, seed=0)
    assert sorted(np.concatenate([test for _, test in splits]).tolist()) == list(range(30))
    assert all(not set(groups[train]) & set(groups[test]) for train, test in splits)
    assert several.inner_splits_several(np.ones((4, 2), bool), np.zeros(4), 3, seed=0) == []


def test_all_probes_tell_tags_and_noise_is_chance() -> None:
    vectors, targets = tags()
    data = dataset(targets, splits=thirds(targets))
    found = score(vectors, data, ("linear", "knn", "mlp"))
    assert found.metric == MEAN_AVERAGE_PRECISION
    assert found.chance == pytest.approx(targets[2::3].mean(0).mean())
    assert found.probes["linear"].mean > 0.9
    assert found.probes["mlp"].mean > 0.85
    assert found.probes["knn"].mean > 0.8
    assert found.probes["linear"].confusion == []
    noise = np.random.default_rng(5).standard_normal(vectors.shape)
    for probe in score(noise, data).probes.values():
        assert probe.mean < 0.55


def test_a_fold_is_scored_by_the_mean_over_its_classes() -> None:
    vectors, targets = tags()
    splits = [("train", "train", "validation", "test")[row % 4] for row in range(len(targets))]
    data = dataset(targets, splits=splits)
    linear = score(vectors, data).probes["linear"]
    train, held_out, test = (
        np.flatnonzero([split == name for split in splits]) for name in ("train", "validation", "test")
    )
    fitted = several.fit_linear_several(
        vectors[train], targets[train], validation=(vectors[held_out], targets[held_out])
    )
    expected = several.average_precision(targets[test], fitted.logits(vectors[test]))
    assert linear.average_precision == pytest.approx(expected, abs=1e-6)
    assert linear.mean == linear.folds[0].score == pytest.approx(expected.mean())


def test_single_labels_may_be_scored_by_precision_too() -> None:
    rng = np.random.default_rng(2)
    codes = np.arange(90) % 3
    vectors = rng.standard_normal((3, 8))[codes] + 0.3 * rng.standard_normal((90, 8))
    data = build(
        "imitations",
        "by hand",
        paths=[Path(f"{row}.wav") for row in range(90)],
        labels=[f"sound {code}" for code in codes],
        groups=[str(row) for row in range(90)],
        folds=[1 + row // 3 % 3 for row in range(90)],
        metric=MEAN_AVERAGE_PRECISION,
    )
    found = score(vectors, data)
    assert all(probe.mean > 0.95 for probe in found.probes.values())
    assert found.probes["knn"].confusion[0][0] == 30
    assert found.chance == pytest.approx(1 / 3)


def test_the_report_and_the_table_of_tags(tmp_path: Path) -> None:
    folder = fsd50k(tmp_path / "FSD50K")
    data = datasets.read("fsd50k", folder)
    rng = np.random.default_rng(0)
    for path, targets in zip(data.paths, data.targets, strict=True):
        spectrum = np.zeros(401, complex)
        for column in np.flatnonzero(targets):  # a band of noise for each tag
            spectrum[20 + 60 * column : 60 + 60 * column] = np.exp(2j * np.pi * rng.random(40))
        soundfile.write(path, 0.9 * np.fft.irfft(spectrum) / np.abs(np.fft.irfft(spectrum)).max(), 8_000)
    evaluation = evaluate({"model": LogMelStatistics()}, [data], tmp_path / "out", progress=False)
    (task,) = evaluation.tasks
    assert task.scores["model"].metric == MEAN_AVERAGE_PRECISION
    assert task.scores["model"].probes["linear"].mean > 0.9
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Average precision of each class, linear probe" in page
    assert "Mean average precision in %" in page
    assert "Confusion matrix" not in page
    screen = io.StringIO()
    print_table(evaluation, Console(file=screen, width=120))
    assert "Mean average precision in %" in screen.getvalue()
    assert "chance" in screen.getvalue()
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert len(results["tasks"][0]["scores"]["model"]["probes"]["knn"]["average_precision"]) == 5


def test_tags_are_compared_by_class() -> None:
    vectors, targets = tags(classes=12)
    data = dataset(targets, splits=thirds(targets))
    noise = np.random.default_rng(5).standard_normal(vectors.shape)
    scores = {"model": score(vectors, data), "log-mel statistics": score(noise, data)}
    better = compare_to_baselines(scores)
    assert better.clear
    assert better.margins[0].p == pytest.approx(2 / 2**12), "all twelve classes are better"
    level = compare_to_baselines({"model": scores["model"], "log-mel statistics": scores["model"]})
    assert (level.beats, level.margins[0].p) == (False, 1.0)
