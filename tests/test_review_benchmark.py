"""The measurement of accuracy against labels given, on embeddings that are made up."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.review import Sounds, measure, simulate, table

STEPS = (5, 10, 20, 40)


def blobs(count: int = 120, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    kind = np.arange(count) % classes
    middles = 3 * np.random.default_rng(9).normal(size=(classes, 8))
    return (middles[kind] + draw.normal(size=(count, 8))).astype(np.float32), np.array([f"class {k}" for k in kind])


@pytest.mark.parametrize("order", ["unsure", "random"])
def test_people_who_do_not_err_teach_it_all_and_who_always_err_nothing(order: str) -> None:
    vectors, labels = blobs()
    test = blobs(seed=1)
    right = simulate(vectors, labels, test, order, STEPS, errors=0)
    assert len(right) == len(STEPS)
    assert right[-1] > 0.95
    assert right[-1] >= right[0]
    wrong = simulate(vectors, labels, test, order, STEPS, errors=1)
    assert wrong[-1] < 0.5
    assert right == simulate(vectors, labels, test, order, STEPS, errors=0)  # the same each time
    assert len(simulate(vectors[:12], labels[:12], test, order, STEPS)) == 2  # no more labels than sounds


def test_the_table_has_a_row_for_each_order() -> None:
    vectors, labels = blobs()
    rows = np.arange(120)
    scores = measure(Sounds(vectors, labels, [(rows[:80], rows[80:])]), (10, 20))
    lines = table({"made up": scores}, (10, 20)).splitlines()
    assert lines[0] == "| sounds | order | 10 labels | 20 labels |"
    assert [line.split(" | ")[1] for line in lines[2:]] == ["least sure first", "at random"]
    assert lines[2].split(" | ")[2] == f"{100 * scores['unsure'][0, 0]:.1f}"
