from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from soundalike.core.errors import SoundalikeError
from soundalike.nn.batch_norm import BatchNorm2d
from soundalike.nn.encoder import ResNet18
from soundalike.nn.gather import gather
from soundalike.nn.head import HEADS, Identity, Projection
from soundalike.nn.loss import OBJECTIVES, AlignUniform, MultiPositive, NTXent, top1

CONTRASTIVE = [name for name, kind in OBJECTIVES.items() if not kind.needs_labels]
SHAPES = [(2, 1), (2, 3), (3, 2), (5, 16), (17, 8), (32, 64)]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pair(count: int, size: int) -> tuple[Tensor, Tensor]:
    first = noise(count, size)
    return first, 3 * first + noise(count, size, seed=1)


def slow_unit(x: Tensor) -> list[list[float]]:
    rows = x.double().tolist()
    return [[value / math.sqrt(sum(v * v for v in row)) for value in row] for row in rows]


def slow_distance(a: list[float], b: list[float]) -> float:
    return math.sqrt(sum((p - q) ** 2 for p, q in zip(a, b, strict=True)))


def slow_align_uniform(
    first: Tensor, second: Tensor, alpha: float, t: float, identity: list[int] | None = None
) -> tuple[float, float]:
    x, y = slow_unit(first), slow_unit(second)
    alignment = sum(slow_distance(a, b) ** alpha for a, b in zip(x, y, strict=True)) / len(x)
    uniformity = 0.0
    for view in (x, y):
        own = identity or list(range(len(view)))
        pairs = [
            math.exp(-t * slow_distance(view[i], view[j]) ** 2)
            for i in range(len(view))
            for j in range(i)
            if own[i] != own[j]
        ]
        uniformity += math.log(sum(pairs) / len(pairs)) / 2
    return alignment, uniformity


def slow_nt_xent(first: Tensor, second: Tensor, temperature: float, identity: list[int] | None = None) -> float:
    z = slow_unit(first) + slow_unit(second)
    own = 2 * (identity or list(range(len(first))))
    total = 0.0
    for i in range(len(z)):
        partner = (i + len(first)) % len(z)
        scores = {
            j: math.exp(sum(p * q for p, q in zip(z[i], z[j], strict=True)) / temperature)
            for j in range(len(z))
            if j == partner or own[j] != own[i]
        }
        total -= math.log(scores[partner] / sum(scores.values()))
    return total / len(z)


def slow_multi_positive(first: Tensor, second: Tensor, identity: list[int], temperature: float) -> float:
    """Khosla et al. 2020, equation 2, in loops."""
    z, own = slow_unit(first) + slow_unit(second), 2 * identity
    total = 0.0
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        scores = {j: sum(p * q for p, q in zip(z[i], z[j], strict=True)) / temperature for j in others}
        whole = math.log(sum(math.exp(score) for score in scores.values()))
        positives = [j for j in others if own[j] == own[i]]
        total -= sum(scores[j] - whole for j in positives) / len(positives)
    return total / len(z)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("alpha", "t"), [(2.0, 2.0), (1.0, 3.0), (4.0, 0.5)])
def test_align_uniform_agrees_with_the_slow_definition(shape: tuple[int, int], alpha: float, t: float) -> None:
    first, second = pair(*shape)
    alignment, uniformity = slow_align_uniform(first, second, alpha, t)
    loss, parts = AlignUniform(alignment_weight=0.7, uniformity_weight=1.3, alpha=alpha, t=t)(first, second)
    assert parts["alignment"].item() == pytest.approx(alignment, rel=1e-4, abs=1e-5)
    assert parts["uniformity"].item() == pytest.approx(uniformity, rel=1e-4, abs=1e-5)
    assert loss.item() == pytest.approx(0.7 * alignment + 1.3 * uniformity, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
def test_nt_xent_agrees_with_the_slow_definition(shape: tuple[int, int], temperature: float) -> None:
    first, second = pair(*shape)
    loss = NTXent(temperature)(first, second).loss.item()
    assert loss == pytest.approx(slow_nt_xent(first, second, temperature), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("together", [1, 2, 3])
def test_multi_positive_agrees_with_the_slow_definition(
    shape: tuple[int, int], temperature: float, together: int
) -> None:
    first, second = pair(*shape)
    identity = [1000 + i // together for i in range(shape[0])]
    loss = MultiPositive(temperature)(first, second, identity=torch.tensor(identity)).loss.item()
    assert loss == pytest.approx(slow_multi_positive(first, second, identity, temperature), rel=1e-4, abs=1e-5)
    if together == 1:
        for given in (None, torch.tensor(identity)):
            alone = MultiPositive(temperature)(first, second, identity=given).loss
            torch.testing.assert_close(alone, NTXent(temperature)(first, second).loss)


def test_other_takes_are_not_repelled() -> None:
    """Where all four takes of each identity lie in one place, the loss is as low as it can be."""
    places = torch.eye(3).repeat_interleave(2, 0)
    near = MultiPositive(0.05)(places, places, identity=torch.tensor([0, 0, 1, 1, 2, 2])).loss
    assert near.item() == pytest.approx(math.log(3), rel=1e-3)  # which of the three others of its identity is open
    apart = MultiPositive(0.05)(places, places.roll(2, 0), identity=torch.tensor([0, 0, 1, 1, 2, 2])).loss
    assert apart > 5 * near


@pytest.mark.parametrize("count", [2, 3, 50])
def test_a_collapsed_batch(count: int) -> None:
    same = noise(1, 8).expand(count, 8)
    assert NTXent()(same, same).loss.item() == pytest.approx(math.log(2 * count - 1), rel=1e-6)
    _, parts = AlignUniform()(same, same)
    assert parts["alignment"].item() == 0
    assert parts["uniformity"].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", CONTRASTIVE)
@pytest.mark.parametrize("shape", [(2, 3), (6, 4)])
def test_gradients_are_right(name: str, shape: tuple[int, int]) -> None:
    first, second = (x.double().requires_grad_() for x in pair(*shape))
    assert torch.autograd.gradcheck(lambda a, b: OBJECTIVES[name]()(a, b).loss, (first, second))


@pytest.mark.parametrize("name", CONTRASTIVE)
@pytest.mark.parametrize("kind", ["collapsed", "zero", "huge"])
def test_gradients_are_finite_at_the_edges(name: str, kind: str) -> None:
    x = {"collapsed": torch.ones(4, 8), "zero": torch.zeros(4, 8), "huge": 1e15 * noise(4, 8)}[kind]
    first, second = x.clone().requires_grad_(), x.clone().requires_grad_()
    loss = OBJECTIVES[name]()(first, second).loss
    loss.backward()
    assert loss.isfinite()
    for view in (first, second):
        assert view.grad is not None
        assert view.grad.isfinite().all()


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_length_of_embeddings_and_order_of_pairs_do_not_matter(name: str) -> None:
    objective = OBJECTIVES[name]()
    first, second = pair(9, 5)
    expected = objective(first, second).loss
    order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(objective(5 * first, 0.1 * second).loss, expected)
    torch.testing.assert_close(objective(first[order], second[order]).loss, expected)
    torch.testing.assert_close(objective(second, first).loss, expected)


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_half_precision_embeddings_are_compared_in_float32(name: str) -> None:
    objective = OBJECTIVES[name]()
    first, second = (x.bfloat16() for x in pair(16, 32))
    expected = objective(first.float(), second.float()).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = objective(first, second).loss
    assert inside.dtype == torch.float32
    assert torch.equal(inside, expected)


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_descent_brings_pairs_together_and_spreads_the_rest(name: str) -> None:
    objective = OBJECTIVES[name]()
    first, second = noise(8, 3).requires_grad_(), noise(8, 3, seed=1).requires_grad_()
    before = objective(first, second)
    for _ in range(200):
        loss = objective(first, second).loss
        gradients = torch.autograd.grad(loss, (first, second))
        with torch.no_grad():
            for view, gradient in zip((first, second), gradients, strict=True):
                view -= gradient
    after = objective(first, second)
    assert after.loss < before.loss - 0.5
    assert after.parts["top1"] == 1
    assert not any(part.requires_grad for part in after.parts.values())


def test_top1_is_the_share_found() -> None:
    basis = torch.eye(4)
    assert top1(basis, basis).item() == 1
    assert top1(basis, basis[[1, 0, 2, 3]]).item() == 0.5
    assert top1(basis, basis.roll(1, 0)).item() == 0
    assert top1(torch.ones(4, 2), torch.ones(4, 2)).item() == 0.25  # a collapsed encoder finds one in n


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_one_pair_is_refused(name: str) -> None:
    with pytest.raises(SoundalikeError, match="at least 2 pairs"):
        OBJECTIVES[name]()(noise(1, 8), noise(1, 8))


@pytest.mark.parametrize("name", CONTRASTIVE)
@pytest.mark.parametrize("shapes", [((4, 8), (5, 8)), ((4, 8), (4, 7)), ((4,), (4,)), ((2, 4, 8), (2, 4, 8))])
def test_shapes_that_differ_are_refused(name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(SoundalikeError, match="shape"):
        OBJECTIVES[name]()(noise(*shapes[0]), noise(*shapes[1]))


@pytest.mark.parametrize(
    ("name", "arguments", "word"),
    [
        ("align-uniform", {"alpha": 0.0}, "alpha"),
        ("align-uniform", {"t": -1.0}, "t"),
        ("align-uniform", {"alignment_weight": -0.1}, "alignment_weight"),
        ("align-uniform", {"uniformity_weight": math.nan}, "uniformity_weight"),
        ("nt-xent", {"temperature": 0.0}, "temperature"),
    ],
)
def test_bad_arguments_are_named(name: str, arguments: dict[str, float], word: str) -> None:
    with pytest.raises(SoundalikeError, match=f"{name}: {word} is"):
        OBJECTIVES[name](**arguments)


def test_gather_without_other_processes_is_the_input() -> None:
    x = noise(3, 2)
    assert gather(x) is x


def network() -> nn.Module:
    """With batch normalisation in one dimension and in two, whose statistics are those of all ranks."""
    return nn.Sequential(
        Projection(6, hidden=7, size=8, layers=2),
        nn.Unflatten(1, (2, 2, 2)),
        BatchNorm2d(2),
        nn.Flatten(),
        nn.Tanh(),
        Projection(8, size=4, layers=1),
    ).double()


def batch(world_size: int, per_rank: int) -> tuple[Tensor, Tensor]:
    first, second = pair(world_size * per_rank, 6)
    return first.double(), second.double()


def rank_main(rank: int, world_size: int, per_rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size)
    results: dict[str, Any] = {}
    for name in CONTRASTIVE:
        kind = OBJECTIVES[name]
        model = network()
        mine = slice(rank * per_rank, (rank + 1) * per_rank)
        first, second = (view[mine] for view in batch(world_size, per_rank))
        both = model(torch.cat([first, second]))
        losses = kind()(*both.chunk(2))
        losses.loss.backward()
        for parameter in model.parameters():  # what DDP does with gradients: their mean over ranks
            assert parameter.grad is not None
            distributed.all_reduce(parameter.grad)
            parameter.grad /= world_size
        results[name] = {
            "loss": losses.loss.detach(),
            "parts": losses.parts,
            "gradients": [parameter.grad for parameter in model.parameters()],
            "statistics": list(model.buffers()),
        }
    results["gathered"] = gather(torch.full((2, 3), float(rank)))
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("per_rank", [1, 5])
def test_two_ranks_equal_one_process_with_the_whole_batch(per_rank: int, tmp_path: Path) -> None:
    multiprocessing.spawn(rank_main, args=(2, per_rank, str(tmp_path)), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name in CONTRASTIVE:
        kind = OBJECTIVES[name]
        model = network()
        losses = kind()(*model(torch.cat(batch(2, per_rank))).chunk(2))
        losses.loss.backward()
        for rank in ranks:
            torch.testing.assert_close(rank[name]["loss"], losses.loss.detach())
            assert rank[name]["parts"].keys() == losses.parts.keys()
            for part, value in losses.parts.items():
                torch.testing.assert_close(rank[name]["parts"][part], value)
            for ours, parameter in zip(rank[name]["gradients"], model.parameters(), strict=True):
                torch.testing.assert_close(ours, parameter.grad)
            for ours, running in zip(rank[name]["statistics"], model.buffers(), strict=True):
                torch.testing.assert_close(ours, running)
    for rank in ranks:
        assert rank["gathered"].tolist() == [[0.0] * 3] * 2 + [[1.0] * 3] * 2


def test_identity_passes_everything_through() -> None:
    head = HEADS["identity"](7)
    x = noise(3, 7)
    assert isinstance(head, Identity)
    assert head(x) is x
    assert head.size == 7


def test_frames_of_both_views_stay_pairs() -> None:
    encoder = ResNet18(width=8, size=12).eval()
    features = noise(6, 1, 96, 64)  # three first views, three second views
    by_clip, by_frame = (Projection(12, 8, 5, loss=loss).eval() for loss in ("clip", "frame"))
    last = encoder.stages(features)[-1]
    assert torch.equal(by_clip.read(encoder, last), by_clip(encoder(features)))
    first, second = by_frame.read(encoder, last).chunk(2)
    assert first.shape == second.shape == (3 * 3, 5)
    for sound in range(3):
        for frame in range(3):
            expected = by_frame(encoder.frames(last[3 + sound : 4 + sound])[:, frame])[0]
            torch.testing.assert_close(second[3 * sound + frame], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["identity", "projection"])
def test_a_head_compares_clips_or_frames(head: str) -> None:
    with pytest.raises(SoundalikeError, match="did you mean 'frame'"):
        HEADS[head](4, loss="frames")


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_projection_is_a_perceptron(layers: int) -> None:
    head = Projection(6, hidden=5, size=4, layers=layers, generator=torch.Generator().manual_seed(1)).double()
    x = noise(9, 6).double()
    expected = x
    linears = [part for part in head.modules() if isinstance(part, nn.Linear)]
    shapes = {1: [(4, 6)], 2: [(5, 6), (4, 5)], 3: [(5, 6), (5, 5), (4, 5)]}
    assert [tuple(part.weight.shape) for part in linears] == shapes[layers]
    for linear in linears[:-1]:
        expected = expected @ linear.weight.T
        centred = expected - expected.mean(0)
        expected = (centred / (centred.square().mean(0) + 1e-5).sqrt()).clamp_min(0)
    expected = expected @ linears[-1].weight.T + linears[-1].bias
    torch.testing.assert_close(head(x), expected)
    assert head.size == 4


def test_projection_weights_are_a_function_of_the_generator() -> None:
    state = torch.get_rng_state()
    one, same, other = (Projection(6, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(one.parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


@pytest.mark.parametrize("word", ["size_in", "hidden", "size", "layers"])
def test_bad_projections_are_named(word: str) -> None:
    with pytest.raises(SoundalikeError, match=f"projection: {word} is 0"):
        Projection(**{"size_in": 4, word: 0})  # type: ignore[arg-type]


# ---- pairs of one recording


@pytest.mark.parametrize("identity", [[0, 1, 0, 2, 1, 0], [5, 5, 5, 5, 5, 6], [0, 1, 2, 3, 4, 5]])
def test_pairs_of_one_recording_are_not_driven_apart(identity: list[int]) -> None:
    first, second = pair(6, 8)
    given = torch.tensor(identity)
    assert NTXent(0.3)(first, second, identity=given).loss.item() == pytest.approx(
        slow_nt_xent(first, second, 0.3, identity), rel=1e-4
    )
    alignment, uniformity = slow_align_uniform(first, second, 2.0, 2.0, identity)
    assert AlignUniform()(first, second, identity=given).loss.item() == pytest.approx(alignment + uniformity, rel=1e-4)


@pytest.mark.parametrize("name", ["nt-xent", "align-uniform", "joint"])
def test_nothing_pushes_between_pairs_of_one_recording(name: str) -> None:
    """Between four unlike pairs, two of them of one clip: those two have no gradient towards one another."""
    first = torch.eye(4).requires_grad_()
    objective = OBJECTIVES[name]()
    known = {"logits": torch.zeros(8, 2), "label": torch.full((4,), -1)} if objective.needs_labels else {}
    objective(first, torch.eye(4), identity=torch.tensor([7, 7, 8, 9]), **known).loss.backward()
    assert first.grad is not None
    assert first.grad[0, 1] == first.grad[1, 0] == 0
    assert first.grad[0, 2] > 0
    assert first.grad[2, 3] > 0
