"""LARS against the paper's algorithm, written out step by step."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from soundalike.model.settings import Training
from soundalike.nn.lars import LARS


def slow_steps(
    weight: list[float], gradients: list[list[float]], rates: list[float], momentum: float, decay: float, trust: float
) -> list[float]:
    """Algorithm 1 of You, Gitman and Ginsburg for one tensor, number by number."""
    velocity = [0.0] * len(weight)
    for gradient, rate in zip(gradients, rates, strict=True):
        size = math.sqrt(sum(w * w for w in weight))
        steep = math.sqrt(sum(g * g for g in gradient))
        local = trust * size / (steep + decay * size) if size and steep else 1.0
        for i, g in enumerate(gradient):
            velocity[i] = momentum * velocity[i] + rate * local * (g + decay * weight[i])
        weight = [w - v for w, v in zip(weight, velocity, strict=True)]
    return weight


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def steps(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], gradients: list[list[torch.Tensor]]) -> None:
    for step in gradients:
        for weight, gradient in zip(weights, step, strict=True):
            weight.grad = gradient.clone()
        optimizer.step()


@settings(max_examples=40, deadline=None)
@given(
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    decay=st.sampled_from([0.0, 1e-6, 0.1]),
    trust=st.sampled_from([0.001, 0.02, 1.0]),
    rates=st.lists(st.floats(0.01, 2.0), min_size=1, max_size=5),
    seed=st.integers(0, 1000),
)
def test_steps_are_those_of_the_paper(
    momentum: float, decay: float, trust: float, rates: list[float], seed: int
) -> None:
    weights = [nn.Parameter(drawn(seed, 3, 2)), nn.Parameter(10 * drawn(seed + 1, 4))]
    start = [weight.detach().flatten().tolist() for weight in weights]
    gradients = [[drawn(seed + 2 + step, 3, 2), 0.01 * drawn(seed + 50 + step, 4)] for step in range(len(rates))]
    optimizer = LARS(weights, momentum=momentum, weight_decay=decay, trust=trust)
    for rate, step in zip(rates, gradients, strict=True):
        optimizer.param_groups[0]["lr"] = rate  # a schedule changes it between steps
        steps(optimizer, weights, [step])
    for number, weight in enumerate(weights):
        each = [step[number].flatten().tolist() for step in gradients]
        expected = slow_steps(start[number], each, rates, momentum, decay, trust)
        assert weight.detach().flatten().tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_step_does_not_depend_on_the_size_of_the_gradient() -> None:
    one, other = (nn.Parameter(drawn(0, 5)) for _ in range(2))
    steps(LARS([one], lr=0.5, momentum=0.0), [one], [[drawn(1, 5)]])
    steps(LARS([other], lr=0.5, momentum=0.0), [other], [[1e6 * drawn(1, 5)]])
    torch.testing.assert_close(one, other)
    moved = float((one.detach() - drawn(0, 5)).norm() / drawn(0, 5).norm())
    assert moved == pytest.approx(0.5 * 0.001)


def test_zero_weights_move_with_the_rate_alone() -> None:
    weight = nn.Parameter(torch.zeros(3))
    steps(LARS([weight], lr=0.5, momentum=0.0, weight_decay=0.1), [weight], [[torch.tensor([1.0, -2.0, 0.0])]])
    assert weight.tolist() == [-0.5, 1.0, 0.0]


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_gradient_of_zeros_leaves_decay_with_the_rate_alone(decay: float) -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    steps(LARS([weight], lr=0.5, momentum=0.0, weight_decay=decay), [weight], [[torch.zeros(2)]])
    assert weight.tolist() == pytest.approx([1.0 - 0.5 * decay, -2.0 + decay])
    nothing = nn.Parameter(torch.zeros(2))
    steps(LARS([nothing], weight_decay=decay), [nothing], [[torch.zeros(2)]] * 2)
    assert nothing.tolist() == [0.0, 0.0]


def test_weights_without_a_gradient_stay() -> None:
    one, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    one.grad = torch.ones(2)
    LARS([one, other], lr=1.0, weight_decay=0.5).step()
    assert other.tolist() == [1.0, 1.0]
    assert one.tolist() != [1.0, 1.0]


def test_a_closure_is_called_with_gradients() -> None:
    weight = nn.Parameter(torch.tensor([3.0]))
    optimizer = LARS([weight], lr=1.0, momentum=0.0)

    def loss() -> Any:
        optimizer.zero_grad()
        value = weight.square().sum()
        value.backward()
        return value

    assert float(optimizer.step(loss)) == 9.0  # type: ignore[arg-type]
    assert weight.item() == pytest.approx(3.0 * (1 - 0.001))


def network() -> nn.Sequential:
    torch_state = torch.random.get_rng_state()
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.Flatten(), nn.Linear(9, 2))
    torch.random.set_rng_state(torch_state)
    return made


def test_biases_and_normalisations_are_plain_sgd() -> None:
    model = network()
    settings = Training(steps=1, optimizer="lars", momentum=0.9, weight_decay=0.5, decay_biases=True)
    optimizer = settings.make_optimizer(model.parameters())
    assert isinstance(optimizer, LARS)
    adapted, plain = optimizer.param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert [names[id(parameter)] for parameter in adapted["params"]] == ["0.weight", "3.weight"]
    assert [names[id(parameter)] for parameter in plain["params"]] == ["0.bias", "1.weight", "1.bias", "3.bias"]
    assert (adapted["adapt"], adapted["weight_decay"]) == (True, 0.5)
    assert (plain["adapt"], plain["weight_decay"]) == (False, 0.0)
    before = copy.deepcopy(model)
    gradients = [[torch.full_like(parameter, 0.1) for parameter in model.parameters()]] * 3
    for group in optimizer.param_groups:
        group["lr"] = 0.25
    steps(optimizer, list(model.parameters()), gradients)
    reference = torch.optim.SGD(before.parameters(), lr=0.25, momentum=0.9)
    steps(reference, list(before.parameters()), gradients)
    for (name, ours), theirs in zip(model.named_parameters(), before.parameters(), strict=True):
        if ours.ndim == 1:
            torch.testing.assert_close(ours, theirs)
        else:
            assert (ours - theirs).abs().max() > 0.01, f"{name} takes much smaller steps"


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_biases_need_not_decay(optimizer: str) -> None:
    model = network()
    made = Training(steps=1, optimizer=optimizer, weight_decay=0.5, decay_biases=False).make_optimizer(
        model.parameters()
    )
    assert [group["weight_decay"] for group in made.param_groups] == [0.5, 0.0]
    assert [len(group["params"]) for group in made.param_groups] == [2, 4]
    all_decay = Training(steps=1, optimizer=optimizer, weight_decay=0.5).make_optimizer(model.parameters())
    assert [(len(group["params"]), group["weight_decay"]) for group in all_decay.param_groups] == [(6, 0.5)]


def test_it_goes_on_from_its_state() -> None:
    gradients = [[drawn(step, 4, 2), drawn(step + 9, 3)] for step in range(6)]

    def fresh() -> list[nn.Parameter]:
        return [nn.Parameter(drawn(100, 4, 2)), nn.Parameter(drawn(101, 3))]

    whole = fresh()
    steps(LARS(whole, lr=0.5, weight_decay=0.01), whole, gradients)
    first = fresh()
    before = LARS(first, lr=0.5, weight_decay=0.01)
    steps(before, first, gradients[:3])
    again = [nn.Parameter(weight.detach().clone()) for weight in first]
    after = LARS(again, lr=9.0)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    steps(after, again, gradients[3:])
    for ours, theirs in zip(again, whole, strict=True):
        assert torch.equal(ours, theirs)
    # without the state it would be another run
    forgetful = [nn.Parameter(weight.detach().clone()) for weight in first]
    steps(LARS(forgetful, lr=0.5, weight_decay=0.01), forgetful, gradients[3:])
    assert not torch.equal(forgetful[0], whole[0])
