"""The kNN probe against a slow, obvious loop."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundalike.eval.probe import knn
from soundalike.eval.probe.knn import predict_knn


def slow_knn(train, labels, test, neighbours, temperature, standardise):
    if standardise:
        mean, deviation = train.mean(0), train.std(0)
        train, test = (train - mean) / deviation, (test - mean) / deviation
    answers = []
    for one in test:
        cosines = [float(one @ other / np.linalg.norm(one) / np.linalg.norm(other)) for other in train]
        votes = defaultdict(float)
        for index in sorted(range(len(train)), key=lambda i: -cosines[i])[:neighbours]:
            votes[labels[index]] += math.exp(cosines[index] / temperature)
        answers.append(max(votes, key=votes.__getitem__))
    return answers


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(2, 30),
    width=st.integers(2, 9),
    neighbours=st.integers(1, 12),
    temperature=st.sampled_from([0.07, 0.3, 10.0]),
    standardise=st.booleans(),
)
def test_agrees_with_a_loop(seed, count, width, neighbours, temperature, standardise):
    rng = np.random.default_rng(seed)
    train, test = rng.standard_normal((count, width)) + 1, rng.standard_normal((7, width)) + 1
    labels = rng.choice(["a", "b", "c"], count)
    options = {"neighbours": neighbours, "temperature": temperature, "standardise": standardise}
    assert list(predict_knn(train, labels, test, **options)) == slow_knn(train, labels, test, **options)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    train, test = rng.standard_normal((40, 6)), rng.standard_normal((11, 6))
    labels = rng.integers(0, 4, 40)
    whole = predict_knn(train, labels, test)
    monkeypatch.setattr(knn, "_BLOCK", 3)
    np.testing.assert_array_equal(predict_knn(train, labels, test), whole)


def test_nearest_decides_among_single_votes():
    train = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.2]])
    answer = predict_knn(train, np.array(["east", "north", "west"]), np.array([[0.1, 1.0]]), standardise=False)
    assert list(answer) == ["north"]


def test_standardising_frees_the_cosine_from_units_and_offsets():
    rng = np.random.default_rng(1)
    train, test = rng.standard_normal((30, 5)), rng.standard_normal((20, 5))
    labels = rng.integers(0, 3, 30)
    units, offsets = 10.0 ** np.arange(5), 100 * rng.standard_normal(5)
    np.testing.assert_array_equal(
        predict_knn(train * units + offsets, labels, test * units + offsets), predict_knn(train, labels, test)
    )


@pytest.mark.parametrize("standardise", [True, False])
def test_embeddings_of_zero_and_single_training_clips(standardise):
    zeros = np.zeros((3, 4))
    assert list(predict_knn(zeros, np.array([2, 1, 1]), zeros, standardise=standardise)) == [1, 1, 1]
    assert list(predict_knn(np.ones((1, 4)), np.array(["only"]), zeros, standardise=standardise)) == ["only"] * 3
    assert len(predict_knn(np.ones((1, 4)), np.array(["only"]), np.zeros((0, 4)))) == 0
