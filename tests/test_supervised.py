"""Objectives with labels, against a slow loop, over masks, edges and several processes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, distributed, multiprocessing, nn

from soundalike.core.errors import SoundalikeError
from soundalike.nn.loss import OBJECTIVES, Joint, NTXent, Supervised

LABELLED = [name for name, kind in OBJECTIVES.items() if kind.needs_labels]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow_supervised(logits: Tensor, label: list[int]) -> tuple[float, float]:
    """CE(first) + CE(second), each a mean over the labelled pairs, and the share that is told right."""
    rows, count = logits.double().tolist(), len(label)
    total, right, known = 0.0, 0, 0
    for view in range(2):
        view_total = 0.0
        for i, target in enumerate(label):
            if target < 0:
                continue
            row = rows[view * count + i]
            view_total += math.log(sum(math.exp(value) for value in row)) - row[target]
            right += row.index(max(row)) == target
            known += 1
        labelled = sum(target >= 0 for target in label)
        total += view_total / labelled if labelled else 0.0
    return total, right / known if known else 0.0


def views(count: int, size: int = 5) -> tuple[Tensor, Tensor]:
    first = noise(count, size)
    return first, first + noise(count, size, seed=1)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 12), st.integers(2, 6), st.integers(0, 1000))
def test_supervised_agrees_with_the_slow_definition(data: Any, count: int, classes: int, seed: int) -> None:
    label = data.draw(st.lists(st.integers(-1, classes - 1), min_size=count, max_size=count))
    logits = 3 * noise(2 * count, classes, seed=seed)
    losses = Supervised()(*views(count), logits, torch.tensor(label))
    loss, accuracy = slow_supervised(logits, label)
    assert losses.loss.item() == pytest.approx(loss, rel=1e-4, abs=1e-5)
    assert losses.parts["cross_entropy"].item() == pytest.approx(loss / 2, rel=1e-4, abs=1e-5)
    assert losses.parts["accuracy"].item() == pytest.approx(accuracy)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.3, 2.0), (0.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize("label", [[0, -1, 2, -1, 1, -1], [-1] * 6, [0, 1, 2, 0, 1, 2]])
def test_joint_is_the_weighted_sum(weights: tuple[float, float], label: list[int]) -> None:
    first, second = views(6)
    logits, target = noise(12, 3, seed=7), torch.tensor(label)
    contrastive = NTXent(0.2)(first, second).loss
    supervised = Supervised()(first, second, logits, target)
    losses = Joint(0.2, *weights)(first, second, logits, target)
    torch.testing.assert_close(losses.loss, weights[0] * contrastive + weights[1] * supervised.loss)
    torch.testing.assert_close(losses.parts["contrastive"], contrastive)
    torch.testing.assert_close(losses.parts["cross_entropy"], supervised.parts["cross_entropy"])
    assert set(losses.parts) == {"contrastive", "top1", "cross_entropy", "accuracy"}


@pytest.mark.parametrize("count", [2, 3, 50])
def test_a_collapsed_batch(count: int) -> None:
    same = noise(1, 8).expand(count, 8)
    even = torch.zeros(2 * count, 4)
    losses = Joint()(same, same, even, torch.zeros(count, dtype=torch.int64))
    assert losses.parts["contrastive"].item() == pytest.approx(math.log(2 * count - 1), rel=1e-6)
    assert losses.loss.item() == pytest.approx(math.log(2 * count - 1) + 2 * math.log(4), rel=1e-6)


@pytest.mark.parametrize("kind", [1.0, 1e4, 1e30])
def test_pairs_without_a_label_move_nothing(kind: float) -> None:
    label = torch.tensor([2, -1, 0, -1, -1])
    logits = (kind * noise(10, 3)).requires_grad_()
    Supervised()(*views(5), logits, label).loss.backward()
    assert logits.grad is not None
    unknown = torch.cat((label, label)) < 0
    assert (logits.grad[unknown] == 0).all()
    assert logits.grad.isfinite().all()
    if kind == 1.0:
        assert (logits.grad[~unknown] != 0).all()


@pytest.mark.parametrize("name", LABELLED)
def test_a_batch_without_any_label(name: str) -> None:
    first, second = (view.requires_grad_() for view in views(4))
    logits = noise(8, 3).requires_grad_()
    losses = OBJECTIVES[name]()(first, second, logits, torch.full((4,), -1))
    losses.loss.backward()
    assert logits.grad is not None
    assert (logits.grad == 0).all()
    assert losses.parts["accuracy"] == losses.parts["cross_entropy"] == 0
    contrastive = NTXent()(first, second).loss if name == "joint" else torch.tensor(0.0)
    torch.testing.assert_close(losses.loss, contrastive)


@pytest.mark.parametrize("name", LABELLED)
def test_gradients_are_right(name: str) -> None:
    first, second = (view.double().requires_grad_() for view in views(4))
    logits, label = noise(8, 3).double().requires_grad_(), torch.tensor([0, -1, 2, 1])
    assert torch.autograd.gradcheck(lambda *given: OBJECTIVES[name]()(*given, label).loss, (first, second, logits))


@pytest.mark.parametrize("name", LABELLED)
def test_half_precision_is_compared_in_float32(name: str) -> None:
    first, second = (view.bfloat16() for view in views(8))
    logits, label = noise(16, 4).bfloat16(), torch.arange(8) % 4
    expected = OBJECTIVES[name]()(first.float(), second.float(), logits.float(), label).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = OBJECTIVES[name]()(first, second, logits, label).loss
    assert inside.dtype == torch.float32
    assert torch.equal(inside, expected)


def test_descent_learns_the_labels() -> None:
    logits, label = noise(8, 3).requires_grad_(), torch.tensor([0, 1, 2, -1])
    before = Supervised()(*views(4), logits, label)
    for _ in range(50):
        (gradient,) = torch.autograd.grad(Supervised()(*views(4), logits, label).loss, logits)
        with torch.no_grad():
            logits -= gradient
    after = Supervised()(*views(4), logits, label)
    assert after.loss < 0.3 < before.loss
    assert after.parts["accuracy"] == 1
    assert not any(part.requires_grad for part in after.parts.values())


@pytest.mark.parametrize("name", LABELLED)
@pytest.mark.parametrize("given", [(None, None), ((8, 3), None), (None, 4), ((7, 3), 4), ((4, 3), 4), ((8,), 4)])
def test_logits_and_labels_that_do_not_fit(name: str, given: tuple[tuple[int, ...] | None, int | None]) -> None:
    logits = None if given[0] is None else noise(*given[0])
    label = None if given[1] is None else torch.zeros(given[1], dtype=torch.int64)
    with pytest.raises(SoundalikeError, match=r"takes logits \(2n, classes\) and labels \(n,\), not .*\.$"):
        OBJECTIVES[name]()(*views(4), logits, label)


def test_one_pair_is_enough_for_cross_entropy_alone() -> None:
    label = torch.tensor([1])
    assert Supervised()(*views(1), torch.zeros(2, 2), label).loss.item() == pytest.approx(2 * math.log(2))
    with pytest.raises(SoundalikeError, match="at least 2 pairs"):
        Joint()(*views(1), torch.zeros(2, 2), label)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"contrastive_weight": -1.0}, "joint: contrastive_weight is -1; it must be 0 or more"),
        ({"supervised_weight": math.nan}, "joint: supervised_weight is nan"),
        ({"temperature": 0.0}, "temperature is 0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, float], said: str) -> None:
    with pytest.raises(SoundalikeError, match=said):
        Joint(**arguments)


# several processes

LABEL = torch.tensor([0, 1, 2, 1, -1, -1, 2, -1])  # four of the first rank's, one of the second's


class Network(nn.Module):
    """Embeddings and logits of them, without batch normalisation, whose statistics are local."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.classes = nn.Linear(6, 5), nn.Linear(5, 3)
        with torch.no_grad():
            for number, parameter in enumerate(self.parameters()):
                parameter.copy_(noise(*parameter.shape, seed=20 + number))
        self.double()

    def losses(self, name: str, first: Tensor, second: Tensor, label: Tensor) -> Any:
        embedded = torch.tanh(self.encoder(torch.cat((first, second))))
        return OBJECTIVES[name]()(*embedded.chunk(2), self.classes(embedded), label)


def rank_main(rank: int, ranks: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    results: dict[str, Any] = {}
    mine = slice(4 * rank, 4 * rank + 4)
    for case, label in (("some", LABEL), ("none", torch.full_like(LABEL, -1))):
        for name in LABELLED:
            model = Network()
            losses = model.losses(name, *(view.double()[mine] for view in views(8, 6)), label[mine])
            losses.loss.backward()
            for parameter in model.parameters():  # what DDP does with gradients: their mean over ranks
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                distributed.all_reduce(parameter.grad)
                parameter.grad /= ranks
            gradients = [parameter.grad for parameter in model.parameters()]
            results[f"{case} {name}"] = (losses.loss.detach(), losses.parts, gradients)
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_ranks_with_different_numbers_of_labels_equal_one_process(tmp_path: Path) -> None:
    multiprocessing.spawn(rank_main, args=(2, str(tmp_path)), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for case, label in (("some", LABEL), ("none", torch.full_like(LABEL, -1))):
        for name in LABELLED:
            model = Network()
            losses = model.losses(name, *(view.double() for view in views(8, 6)), label)
            losses.loss.backward()
            for rank in ranks:
                loss, parts, gradients = rank[f"{case} {name}"]
                torch.testing.assert_close(loss, losses.loss.detach())
                assert parts.keys() == losses.parts.keys()
                for part, value in losses.parts.items():
                    torch.testing.assert_close(parts[part], value)
                for ours, parameter in zip(gradients, model.parameters(), strict=True):
                    torch.testing.assert_close(ours, parameter.grad)
