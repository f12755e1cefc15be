"""Heads that tell classes apart: their layers, their weights, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from soundalike.core.errors import SoundalikeError
from soundalike.nn.encoder import ResNet18
from soundalike.nn.head import HEADS, Classifier, Head, Identity, JointHead, Projection


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linears(module: nn.Module) -> list[nn.Linear]:
    return [part for part in module.modules() if isinstance(part, nn.Linear)]


def normalised(x: Tensor) -> Tensor:
    """Batch normalisation with its first weights, and ReLU."""
    centred = x - x.mean(0)
    return (centred / (centred.square().mean(0) + 1e-5).sqrt()).clamp_min(0)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_classifier_is_a_perceptron_to_logits(layers: int) -> None:
    head = Classifier(6, 3, hidden=5, layers=layers, generator=torch.Generator().manual_seed(1)).double()
    shapes = {1: [(3, 6)], 2: [(5, 6), (3, 5)], 3: [(5, 6), (5, 5), (3, 5)]}
    parts = linears(head)
    assert [tuple(part.weight.shape) for part in parts] == shapes[layers]
    x = noise(9, 6).double()
    expected = x
    for part in parts[:-1]:
        expected = normalised(expected @ part.weight.T)
    expected = expected @ parts[-1].weight.T + parts[-1].bias
    torch.testing.assert_close(head(x), expected)
    assert (head.classes, head.size, head.loss) == (3, 3, "clip")
    assert head.classify(expected) is expected


def test_a_joint_head_reads_classes_from_its_projection() -> None:
    head = JointHead(6, 3, hidden=5, size=4, generator=torch.Generator().manual_seed(1)).double()
    assert [tuple(part.weight.shape) for part in linears(head)] == [(5, 6), (5, 5), (4, 5), (3, 4)]
    assert (head.classes, head.size) == (3, 4)
    projected = head(noise(9, 6).double())
    assert projected.shape == (9, 4)
    last = linears(head.classifier)[0]
    torch.testing.assert_close(head.classify(projected), normalised(projected) @ last.weight.T + last.bias)


def test_both_losses_reach_every_weight_of_a_joint_head() -> None:
    head = JointHead(6, 3, hidden=5, size=4)
    head.classify(head(noise(9, 6))).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in head.network[:-1].parameters())
    head.zero_grad()
    head(noise(9, 6)).square().sum().backward()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in head.classifier.parameters())
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in head.network.parameters())


@pytest.mark.parametrize("kind", [Classifier, JointHead])
def test_weights_are_a_function_of_the_generator(kind: type[Classifier] | type[JointHead]) -> None:
    state = torch.get_rng_state()
    one, same, other = (kind(6, 3, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    default, again = kind(6, 3), kind(6, 3)
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in ((one, same), (default, again)):
        assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    for a, b in zip(linears(one), linears(other), strict=True):
        assert not torch.equal(a.weight, b.weight)


def test_the_projection_of_a_joint_head_is_that_of_the_contrastive_one() -> None:
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    joint, alone = JointHead(6, 3, generator=generators[0]), Projection(6, layers=3, generator=generators[1])
    for ours, theirs in zip(joint.network.parameters(), alone.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", HEADS)
def test_every_head_reads_an_encoder(name: str) -> None:
    encoder = ResNet18(width=8, size=12).eval()
    head: Head = HEADS[name](12, classes=3) if name in ("classifier", "joint") else HEADS[name](12)  # type: ignore[call-arg, arg-type]
    head.eval()
    x = noise(4, 1, 96, 64)
    projected = head.read(encoder, encoder.stages(x)[-1])
    assert projected.shape == (4, head.size)
    torch.testing.assert_close(projected, head(encoder(x)))
    assert bool(head.classes) == (name in ("classifier", "joint"))
    if head.classes:
        assert head.classify(projected).shape == (4, 3)


@pytest.mark.parametrize("head", [Identity(4), Projection(4)])
def test_heads_that_know_of_no_classes(head: Head) -> None:
    with pytest.raises(SoundalikeError, match=r"^this head knows of no classes; give --head classifier or --head joi"):
        head.classify(noise(3, head.size))


@pytest.mark.parametrize(("kind", "name"), [(Classifier, "classifier"), (JointHead, "joint head")])
@pytest.mark.parametrize("classes", [0, 1])
def test_one_class_is_none(kind: type[Classifier] | type[JointHead], name: str, classes: int) -> None:
    with pytest.raises(SoundalikeError, match=rf"^{name}: classes is {classes}; recordings of at least 2 classes are"):
        kind(4, classes)


@pytest.mark.parametrize("kind", [Classifier, JointHead])
@pytest.mark.parametrize("word", ["size_in", "hidden", "layers"])
def test_sizes_out_of_range(kind: type[Classifier] | type[JointHead], word: str) -> None:
    with pytest.raises(SoundalikeError, match=f"{word} is 0; it must be at least 1"):
        kind(**{"size_in": 4, "classes": 3, word: 0})
