"""The linear probe against the definition of its loss, against slow loops, and on degenerate training sets."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from soundalike.eval.probe import linear
from soundalike.eval.probe.linear import STRENGTHS, fit_linear, inner_splits, standardisation


def blobs(count: int, width: int, classes: int = 3, spread: float = 1.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    codes = np.arange(count) % classes
    centres = np.random.default_rng(99).standard_normal((classes, width))
    features = centres[codes] + spread * rng.standard_normal((count, width))
    return features.astype(np.float32), np.array(["ape", "bee", "cat", "dog"])[codes]


@pytest.mark.parametrize(("count", "width", "classes"), [(24, 90, 3), (60, 8, 3), (24, 90, 2), (60, 8, 2)])
def test_weights_are_where_the_gradient_of_the_loss_vanishes(count, width, classes, monkeypatch):
    monkeypatch.setattr(linear, "TOLERANCE", 1e-7)
    strength = 0.1
    features, labels = blobs(count, width, classes)
    features[:, 0] = 7  # one that does not vary
    probe = fit_linear(features, labels, strengths=[strength])
    varies = np.arange(width) > 0
    standard = np.zeros((count, width))
    standard[:, varies] = ((features - features.mean(0)) / np.where(varies, features.std(0), 1))[:, varies]
    logits = probe.logits(features).astype(np.float64)
    chances = np.exp(logits - logits.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    residual = chances - (labels[:, None] == probe.classes)
    # logits = standard @ (weights / sqrt(D)) + bias, so these are the weights on standardised features
    weights = probe.weights * probe.scale[1] * features.std(0)[1]
    if classes == 2:  # one logit between two classes: its penalty is that of the difference
        gradient = (standard.T @ residual)[:, 1] + strength * (width - 1) * weights[:, 1]
    else:
        gradient = standard.T @ residual + strength * (width - 1) * weights
    assert np.abs(gradient).max() < 2e-2
    assert np.abs(strength * (width - 1) * weights).max() > 0.5  # what the gradient is small against
    assert np.abs(residual.sum(0)).max() < 1e-2


def test_row_space_changes_nothing(monkeypatch):
    monkeypatch.setattr(linear, "TOLERANCE", 1e-6)
    features, labels = blobs(40, 200, spread=3)
    test, _ = blobs(50, 200, spread=3, seed=1)
    short = fit_linear(features, labels, strengths=[0.1]).logits(test)
    monkeypatch.setattr(linear, "_row_space", lambda rows: (rows, None))
    full = fit_linear(features, labels, strengths=[0.1]).logits(test)
    np.testing.assert_allclose(short, full, atol=5e-3)


def test_row_space_reconstructs_the_rows():
    rows = blobs(10, 50)[0]
    short, basis = linear._row_space(rows)
    assert basis is not None
    assert short.shape == (10, 10)
    np.testing.assert_allclose(short @ basis.T, rows, atol=1e-5)
    np.testing.assert_allclose(basis.T @ basis, np.eye(10), atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([1e-4, 1.0, 1e4]))
def test_units_and_offsets_of_features_do_not_matter(seed, size):
    rng = np.random.default_rng(seed)
    features, labels = blobs(30, 12, spread=2, seed=seed)
    test = blobs(20, 12, spread=2, seed=seed + 1)[0]
    units, offsets = size * rng.uniform(0.5, 2, 12), size * rng.standard_normal(12)
    plain = fit_linear(features, labels, strengths=[0.1]).logits(test)
    moved = fit_linear(features * units + offsets, labels, strengths=[0.1]).logits(
        (test * units + offsets).astype(np.float32)
    )
    np.testing.assert_allclose(plain, moved, atol=0.02)


def test_a_strength_means_the_same_at_any_width(monkeypatch):
    monkeypatch.setattr(linear, "TOLERANCE", 1e-6)
    features, labels = blobs(60, 10, spread=2)
    once = fit_linear(features, labels, strengths=[0.1]).logits(features)
    thrice = fit_linear(np.tile(features, 3), labels, strengths=[0.1]).logits(np.tile(features, 3))
    np.testing.assert_allclose(once, thrice, atol=0.02)


def test_validation_set_chooses_the_strength_that_does_best_on_it():
    features, labels = blobs(90, 40, spread=6)
    held_out, truth = blobs(300, 40, spread=6, seed=1)
    right = {
        strength: (fit_linear(features, labels, strengths=[strength]).predict(held_out) == truth).sum()
        for strength in STRENGTHS
    }
    assert len(set(right.values())) > 1
    chosen = fit_linear(features, labels, validation=(held_out, truth)).strength
    assert right[chosen] >= max(right.values()) - 2  # warm starts end a hair away from cold ones


def test_validation_labels_that_training_lacks_are_never_right():
    features, labels = blobs(60, 10)
    held_out, truth = blobs(30, 10, seed=1)
    truth = np.concatenate([truth, ["zebra"] * 5])
    held_out = np.concatenate([held_out, held_out[:5]])
    probe = fit_linear(features, labels, validation=(held_out, truth))
    assert set(probe.predict(held_out)) <= {"ape", "bee", "cat"}


def test_inner_folds_choose_as_a_slow_loop_does():
    features, labels = blobs(60, 30, spread=6)
    codes = np.unique(labels, return_inverse=True)[1]
    right = dict.fromkeys(STRENGTHS, 0)
    for train, test in inner_splits(codes, None, 3, 0):
        for strength in STRENGTHS:
            probe = fit_linear(features[train], labels[train], strengths=[strength])
            right[strength] += int((probe.predict(features[test]) == labels[test]).sum())
    chosen = fit_linear(features, labels).strength
    # the loop standardises inside each fold, so a clip or two may differ
    assert right[chosen] >= max(right.values()) - 2


def test_groups_stay_whole_in_inner_folds():
    rng = np.random.default_rng(0)
    codes, groups = rng.integers(0, 4, 80), rng.integers(0, 7, 80)
    splits = inner_splits(codes, groups, 3, 0)
    assert len(splits) == 3
    assert sorted(np.concatenate([test for _, test in splits])) == list(range(80))
    for train, test in splits:
        assert not set(groups[train]) & set(groups[test])
        assert not set(train) & set(test)


@pytest.mark.parametrize("groups", [None, np.arange(30), np.zeros(30, int)])
def test_inner_folds_are_stratified_where_groups_say_nothing(groups):
    codes = np.repeat([0, 1, 2], 10)
    for train, test in inner_splits(codes, groups, 3, 0):
        assert set(np.bincount(codes[test])) <= {3, 4}
        assert len(train) + len(test) == 30


def test_two_groups_make_two_inner_folds():
    assert len(inner_splits(np.arange(20) % 2, np.arange(20) // 10, 3, 0)) == 2


def test_classes_of_single_clips_leave_nothing_to_hold_out():
    assert inner_splits(np.arange(5), None, 3, 0) == []
    features = np.eye(5, dtype=np.float32)
    labels = np.array(list("vwxyz"))
    probe = fit_linear(features, labels)
    assert probe.strength == sorted(STRENGTHS)[2]
    assert list(probe.predict(features)) == list(labels)


def test_a_class_with_one_clip_beside_larger_ones():
    features, labels = blobs(31, 20, classes=3, spread=0.1)
    labels[:] = np.where(labels == "cat", "bee", labels)
    labels[2] = "cat"
    features[2] += 30
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe = fit_linear(features, labels)
    assert probe.predict(features[2:3])[0] == "cat"


def test_one_class_only():
    probe = fit_linear(np.random.default_rng(0).standard_normal((4, 3)), np.array(["owl"] * 4))
    assert list(probe.predict(np.ones((2, 3)))) == ["owl", "owl"]


def test_features_that_never_vary_leave_the_most_frequent_class():
    probe = fit_linear(np.full((5, 3), 0.1), np.array(["b", "a", "b", "b", "a"]))
    assert list(probe.predict(np.array([[5.0, -3.0, 0.1]]))) == ["b"]


def test_a_feature_that_is_constant_in_training_is_ignored_in_test():
    features, labels = blobs(30, 5)
    features[:, 2] = 0.1
    probe = fit_linear(features, labels)
    odd = features.copy()
    odd[:, 2] = 1e6
    np.testing.assert_array_equal(probe.logits(odd), probe.logits(features))


def test_one_feature():
    features = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
    probe = fit_linear(features, np.array(list("lllhhh")))
    assert list(probe.predict(np.array([[-1.0], [6.0]]))) == ["l", "h"]


def test_two_clips():
    probe = fit_linear(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array(["x", "y"]))
    assert list(probe.predict(np.array([[1.0, 0.0], [0.0, 1.0]]))) == ["x", "y"]


def test_no_convergence_is_reported_quietly_and_threads_are_given_back(monkeypatch):
    monkeypatch.setattr(linear, "ITERATIONS", 2)
    before = [pool["num_threads"] for pool in threadpool_info()]
    features, labels = blobs(60, 20, spread=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not fit_linear(features, labels).converged
    assert [pool["num_threads"] for pool in threadpool_info()] == before


def test_standardisation_of_large_offsets():
    features = (1000 + np.random.default_rng(0).standard_normal((500, 3))).astype(np.float32)
    mean, scale = standardisation(features)
    standard = (features - mean) * scale
    np.testing.assert_allclose(standard.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(standard.std(0), 1, atol=1e-3)
    assert mean.dtype == scale.dtype == np.float32
