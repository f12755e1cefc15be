"""Length, progress and learning rate of a run, against slow and obvious versions."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from soundalike.core.errors import SoundalikeError
from soundalike.model.settings import SCHEDULES, Training


def slow_rate(settings: Training, progress: float, ranks: int) -> float:
    """The learning rate as the documentation describes it, one case after the other."""
    peak = settings.learning_rate * (settings.batch_size * ranks) / 256
    if settings.warmup > 0 and progress < settings.warmup:
        return peak * max(progress, 0.001) / settings.warmup
    if settings.schedule == "constant":
        return peak
    if settings.schedule == "cosine":
        done = (progress - settings.warmup) / (1 - settings.warmup)
        return peak * (math.cos(done * math.pi) + 1) / 2
    rate = peak
    for milestone in settings.milestones:
        if progress >= milestone:
            rate = rate / 10
    return rate


@given(
    schedule=st.sampled_from(SCHEDULES),
    warmup=st.sampled_from([0.0, 0.02, 0.3]),
    batch_size=st.integers(2, 2048),
    ranks=st.integers(1, 8),
    progress=st.floats(0, 1),
    learning_rate=st.floats(1e-5, 1),
    milestones=st.lists(st.floats(0, 1), max_size=4),
)
def test_rate_is_the_slow_formula(progress: float, ranks: int, **settings: Any) -> None:
    training = Training(steps=100, **settings)
    assert training.rate(progress, ranks) == pytest.approx(slow_rate(training, progress, ranks), rel=1e-9, abs=1e-15)


@given(st.sampled_from(SCHEDULES), st.sampled_from([0.0, 0.02]), st.floats(0, 1))
def test_rate_lies_between_0_and_its_peak(schedule: str, warmup: float, progress: float) -> None:
    training = Training(steps=100, batch_size=256, learning_rate=0.5, schedule=schedule, warmup=warmup)
    assert 0 <= training.rate(progress) <= 0.5


def test_rate_at_the_corners() -> None:
    cosine = Training(steps=100, batch_size=256, learning_rate=1.0, schedule="cosine", warmup=0.1)
    assert cosine.rate(0.1) == 1.0
    assert cosine.rate(0.05) == 0.5
    assert cosine.rate(0.55) == pytest.approx(0.5)
    assert cosine.rate(1.0) == pytest.approx(0.0, abs=1e-12)
    assert cosine.rate(0.0) > 0, "the first step of a run should move"
    paper = Training(steps=1000, batch_size=768)
    rates = [round(paper.rate(step / 1000), 9) for step in range(1000)]
    assert sorted(set(rates), reverse=True) == [0.36, 0.036, 0.0036, 0.00036]
    assert [rates.index(rate) for rate in (0.036, 0.0036, 0.00036)] == [775, 850, 925]


def test_more_pairs_and_ranks_scale_the_rate() -> None:
    one = Training(steps=10, batch_size=256, learning_rate=0.1, schedule="constant")
    assert one.rate(0.5) == pytest.approx(0.1)
    assert one.rate(0.5, ranks=4) == pytest.approx(0.4)
    assert dataclasses.replace(one, batch_size=64).rate(0.5, ranks=4) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("lengths", "ranks", "total"),
    [
        ({"steps": 7}, 1, 7),
        ({"steps": 7}, 4, 7),
        ({"pairs": 100}, 1, 12),  # whole batches of 8 only
        ({"pairs": 100}, 4, 3),
        ({"pairs": 1}, 4, 1),
        ({"pairs": 100, "steps": 5}, 1, 5),
        ({"pairs": 100, "steps": 50}, 1, 12),
        ({"minutes": 1.0}, 1, None),
        ({"minutes": 1.0, "steps": 5}, 1, 5),
    ],
)
def test_total_steps(lengths: dict[str, Any], ranks: int, total: int | None) -> None:
    assert Training(batch_size=8, **lengths).total_steps(ranks) == total


def test_the_paper_s_run_has_200_epochs_of_90_000_pairs() -> None:
    training = Training(batch_size=768, pairs=18_000_000)
    assert training.total_steps() == 23_437
    assert training.total_steps(ranks=8) == 2_929


@pytest.mark.parametrize(
    ("lengths", "clips", "total"),
    [
        ({"epochs": 2}, 18, 6),
        ({"epochs": 2}, 20, 6),  # whole batches of 6 only
        ({"epochs": 0.5}, 18, 1),
        ({"epochs": 2, "pairs": 12}, 18, 2),
        ({"epochs": 2, "pairs": 1200}, 18, 6),
        ({"epochs": 2, "steps": 5}, 18, 5),
        ({"steps": 5}, 18, 5),
    ],
)
def test_epochs_are_turned_into_pairs(lengths: dict[str, Any], clips: int, total: int) -> None:
    counted = Training(batch_size=6, **lengths).counted(clips)
    assert counted.total_steps() == total
    assert counted.epochs is None


def test_epochs_are_of_recordings() -> None:
    steps = Training(steps=3)
    assert steps.counted(None) is steps
    with pytest.raises(
        SoundalikeError, match=r"^training\.epochs counts how often recordings are shown, .*minutes\.$"
    ):
        Training(epochs=3).counted(None)


def test_progress_is_that_of_the_length_that_ends_first() -> None:
    training = Training(batch_size=8, steps=100, minutes=2.0)
    assert training.progress(0, 0.0) == 0.0
    assert training.progress(50, 0.0) == 0.5
    assert training.progress(50, 90.0) == 0.75
    assert training.progress(90, 90.0) == 0.9
    assert training.progress(200, 0.0) == 1.0
    assert training.progress(0, 500.0) == 1.0
    assert Training(batch_size=8, minutes=2.0).progress(10**9, 60.0) == 0.5
    assert Training(batch_size=8, pairs=800).progress(10, 0.0, ranks=2) == 0.2


@given(st.integers(0, 1000), st.floats(0, 1000), st.integers(1, 1000), st.floats(0.001, 100))
def test_progress_stays_in_its_range_and_never_falls(step: int, seconds: float, steps: int, minutes: float) -> None:
    training = Training(steps=steps, minutes=minutes)
    now = training.progress(step, seconds)
    assert 0 <= now <= 1
    assert training.progress(step + 1, seconds) >= now
    assert training.progress(step, seconds + 1) >= now


def test_optimizers() -> None:
    weights = [torch.nn.Parameter(torch.ones(3))]
    for name, kind in (("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
        optimizer = Training(steps=1, optimizer=name, weight_decay=0.25).make_optimizer(weights)
        assert type(optimizer) is kind
        assert optimizer.param_groups[0]["weight_decay"] == 0.25
    sgd = Training(steps=1, optimizer="sgd", momentum=0.75).make_optimizer(weights)
    assert sgd.param_groups[0]["momentum"] == 0.75


def test_differences_are_those_that_forbid_a_resumption() -> None:
    run = Training(steps=10)
    assert run.differences(run) == []
    assert run.differences(Training(minutes=3.0, checkpoint_every=7)) == []
    assert run.differences(Training(epochs=3.0)) == []
    assert run.differences(Training(steps=10, seed=1, batch_size=8)) == ["seed", "batch_size"]
    assert run.differences(Training(steps=10, milestones=(0.5,))) == ["milestones"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {},
            r"^a run needs a length: give training\.minutes, training\.steps, training\.pairs or training\.epochs\.$",
        ),
        ({"steps": 0}, r"^training\.steps is 0: give at least 1\.$"),
        ({"pairs": 0}, r"^training\.pairs is 0: give at least 1\.$"),
        ({"minutes": 0}, r"^training\.minutes is 0: give a number above 0\.$"),
        ({"minutes": math.nan}, r"^training\.minutes is nan"),
        ({"minutes": math.inf}, r"^training\.minutes is inf"),
        ({"epochs": 0}, r"^training\.epochs is 0: give a number above 0\.$"),
        ({"epochs": -0.5}, r"^training\.epochs is -0\.5: "),
        ({"steps": 1, "batch_size": 1}, r"^training\.batch_size is 1: give at least 2\.$"),
        ({"steps": 1, "seed": -1}, r"^training\.seed is -1: give at least 0\.$"),
        ({"steps": 1, "seed": 2**63}, r"^training\.seed is \d+: give less than 2\*\*63\.$"),
        ({"steps": 1, "warmup": 1.0}, r"^training\.warmup and training\.milestones are parts of the run"),
        ({"steps": 1, "milestones": (0.5, 1.1)}, r"^training\.warmup and training\.milestones are parts of the run"),
        ({"steps": 1, "optimizer": "adamv"}, r"^training\.optimizer is 'adamv': did you mean 'adam' or 'adamw'\?"),
        ({"steps": 1, "schedule": "cosinus"}, r"^training\.schedule is 'cosinus': did you mean 'cosine'\?"),
        ({"steps": 1, "precision": "half"}, r"^training\.precision is 'half': Known: auto, bf16, fp32\.$"),
    ],
)
def test_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SoundalikeError, match=said):
        Training(**settings)


@pytest.mark.parametrize(
    ("settings", "compiles"),
    [
        ({"minutes": 20}, True),
        ({"minutes": 3}, False),
        ({"pairs": 50_000, "batch_size": 250}, True),
        ({"steps": 100, "batch_size": 256}, False),
        ({"steps": 100_000, "minutes": 3}, False),
        ({"minutes": 3, "compile": "always"}, True),
        ({"minutes": 20, "compile": "never"}, False),
    ],
)
def test_rendering_is_compiled_where_the_run_is_long_enough(settings: dict[str, Any], compiles: bool) -> None:
    assert Training(**settings).compiles() is compiles


def test_a_resumed_run_may_be_compiled_or_not() -> None:
    assert Training(minutes=1).differences(Training(minutes=1, compile="never")) == []
    with pytest.raises(SoundalikeError, match="did you mean 'always'"):
        Training(minutes=1, compile="alway")
