from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundalike.core.errors import SoundalikeError
from soundalike.nn.encoder import ENCODERS, Block, Convolution2d, ResNet18, initialise


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def slow_resnet18(
    weights: dict[str, Tensor], x: Tensor, dimensions: int, max_time_stride: int = 32
) -> tuple[list[Tensor], Tensor]:
    """The network of the paper in evaluation mode, layer after layer, on given weights; time no slower than asked."""
    convolve = F.conv2d if dimensions == 2 else F.conv1d
    pool = F.max_pool2d if dimensions == 2 else F.max_pool1d
    pool_size = 3 if dimensions == 2 else 9

    def conv(x: Tensor, name: str, stride: int | tuple[int, ...]) -> Tensor:
        weight = weights[f"{name}.weight"]
        return convolve(x, weight, None, stride, weight.shape[-1] // 2)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            weights[f"{name}.{key}"].view(-1, *[1] * dimensions)
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    x = norm(conv(x, "stem.0", 2), "stem.1").clamp_min(0)
    x = pool(x, pool_size, 2, pool_size // 2)
    stages = [x]
    for layer in range(4):
        for block in range(2):
            name = f"layers.{layer}.{block}"
            first = layer > 0 and block == 0
            along_time = 2 if first and 4 * 2**layer <= max_time_stride else 1
            along_bands = 2 if first else 1
            stride = (along_time, along_bands)[:dimensions]
            y = norm(conv(x, f"{name}.conv1", stride), f"{name}.norm1").clamp_min(0)
            y = norm(conv(y, f"{name}.conv2", 1), f"{name}.norm2")
            if max(stride) > 1 or y.shape[1] != x.shape[1]:
                x = norm(conv(x, f"{name}.shortcut.0", stride), f"{name}.shortcut.1")
            x = (x + y).clamp_min(0)
        stages.append(x)
    pooled = x.flatten(2).sum(-1) / x[0, 0].numel()
    return stages, pooled @ weights["linear.weight"].T + weights["linear.bias"]


SLOWNESS = [
    (32, None),
    (16, 8),
    (8, 12),
    (4, None),
    (4, 32),
]  # max_time_stride and max_channels, of a network of width 8


@pytest.mark.parametrize(("max_time_stride", "max_channels"), SLOWNESS)
@pytest.mark.parametrize(
    ("dimensions", "shape"), [(2, (2, 1, 96, 64)), (2, (3, 3, 50, 33)), (1, (2, 1, 1000)), (1, (2, 2, 333))]
)
def test_agrees_with_the_paper_layer_by_layer(
    dimensions: int, shape: tuple[int, ...], max_time_stride: int, max_channels: int | None
) -> None:
    encoder = ResNet18(
        channels=shape[1],
        width=8,
        size=10,
        dimensions=dimensions,
        max_time_stride=max_time_stride,
        max_channels=max_channels,
        generator=seeded(1),
    ).double()
    x = noise(*shape).double()
    encoder(x + 0.3)  # moves the running statistics away from 0 and 1
    encoder.eval()
    stages, vector = slow_resnet18(encoder.state_dict(), x, dimensions, max_time_stride)
    for doubled, ours, slow in zip((1, 1, 2, 4, 8), encoder.stages(x), stages, strict=True):
        assert ours.shape[1] == (8 * doubled if max_channels is None else min(8 * doubled, max_channels))
        torch.testing.assert_close(ours, slow)
    torch.testing.assert_close(encoder(x), vector)


def test_parameter_count_is_that_of_the_standard_network() -> None:
    stem = 1 * 64 * 49 + 2 * 64
    first = 4 * (64 * 64 * 9 + 2 * 64)
    later = sum((c // 2 * c * 9 + 2 * c) + 3 * (c * c * 9 + 2 * c) + (c // 2 * c + 2 * c) for c in (128, 256, 512))
    linear = 512 * 512 + 512
    assert stem + first + later == 11_170_240  # the 11,176,512 of three input channels, less 2 * 64 * 49
    count = sum(parameter.numel() for parameter in ResNet18().parameters())
    assert count == stem + first + later + linear


@pytest.mark.parametrize(
    ("max_time_stride", "strides"),
    [(32, (4, 4, 8, 16, 32)), (16, (4, 4, 8, 16, 16)), (8, (4, 4, 8, 8, 8)), (4, (4, 4, 4, 4, 4))],
)
@pytest.mark.parametrize("size", [(96, 64), (1, 1), (33, 7), (97, 65), (498, 64)])
def test_stage_shapes(size: tuple[int, int], max_time_stride: int, strides: tuple[int, ...]) -> None:
    encoder = ResNet18(width=4, size=5, max_time_stride=max_time_stride).eval()
    assert encoder.strides == strides
    assert encoder.band_strides == (4, 4, 8, 16, 32)
    stages = encoder.stages(noise(2, 1, *size))
    assert len(stages) == 5
    for stage, width, stride, of_bands in zip(
        stages, (4, 4, 8, 16, 32), encoder.strides, encoder.band_strides, strict=True
    ):
        assert stage.shape == (2, width, math.ceil(size[0] / stride), math.ceil(size[1] / of_bands))
    assert encoder(noise(2, 1, *size)).shape == (2, 5)


@pytest.mark.parametrize(("max_time_stride", "max_channels"), [(32, None), (4, 4)])
@pytest.mark.parametrize(("dimensions", "shape"), [(2, (4, 1, 64, 64)), (1, (4, 1, 512))])
def test_gradients_reach_every_parameter_and_the_input(
    dimensions: int, shape: tuple[int, ...], max_time_stride: int, max_channels: int | None
) -> None:
    encoder = ResNet18(
        width=4, size=6, dimensions=dimensions, max_time_stride=max_time_stride, max_channels=max_channels
    )
    x = noise(*shape).requires_grad_()
    encoder(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_weights_are_a_function_of_the_generator() -> None:
    torch_state = torch.get_rng_state()
    one, same, other = (ResNet18(width=4, generator=seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), torch_state)
    for (name, a), b in zip(one.state_dict().items(), same.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(next(one.parameters()), next(other.parameters()))
    assert torch.equal(ResNet18(width=4).linear.weight, ResNet18(width=4, generator=seeded(0)).linear.weight)


def test_weights_have_the_standard_spread() -> None:
    encoder = ResNet18(width=32)
    for module in encoder.modules():
        if isinstance(module, torch.nn.Conv2d):
            expected = math.sqrt(2 / (module.out_channels * module.kernel_size[0] ** 2))
            assert module.weight.std().item() == pytest.approx(expected, rel=0.1)
            assert abs(module.weight.mean().item()) < expected / 5
        if isinstance(module, torch.nn.BatchNorm2d):
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert torch.equal(module.bias, torch.zeros_like(module.bias))
            assert module.running_var is not None
            assert torch.equal(module.running_var, torch.ones_like(module.bias))
    bound = 1 / math.sqrt(256)
    assert encoder.linear.weight.abs().max() <= bound
    assert encoder.linear.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_initialise_leaves_no_weight_as_it_was() -> None:
    block = Block(3, 5, 2, dimensions=2)
    for tensor in block.state_dict().values():
        tensor.fill_(77)
    initialise(block)
    for name, tensor in block.state_dict().items():
        assert not (tensor == 77).any(), name


@pytest.mark.parametrize("max_time_stride", [4, 8, 32])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_reach_is_how_far_an_output_looks(dimensions: int, max_time_stride: int) -> None:
    encoder = ResNet18(width=2, size=2, dimensions=dimensions, max_time_stride=max_time_stride).double().eval()
    for module in encoder.modules():  # positive weights let no input cancel another
        if isinstance(module, torch.nn.Conv1d | torch.nn.Conv2d):
            module.weight.data.abs_().mul_(0.1)
    place = -(-encoder.reach // max_time_stride) + 1  # an output whose whole field lies inside the input
    length = 2 * max_time_stride * place
    shape = (1, 1, length) if dimensions == 1 else (1, 1, length, 4)
    x = (1 + noise(*shape).abs()).double().requires_grad_()
    encoder.stages(x)[-1][:, :, place].sum().backward()
    assert x.grad is not None
    frames = x.grad.reshape(length, -1).abs().sum(1).nonzero()
    # Max-pooling passes gradient to one input of each field only, so the outermost may be missed.
    middle = place * max_time_stride
    assert middle - encoder.reach <= frames.min() <= middle - encoder.reach + 16
    assert middle + encoder.reach - 16 <= frames.max() <= middle + encoder.reach


def test_channels_last_and_bfloat16_change_little() -> None:
    encoder = ResNet18(width=16, size=32, generator=seeded(2)).eval()
    x = noise(4, 1, 96, 64)
    expected = encoder(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = encoder(x).float()
    assert (half - expected).norm() < 0.03 * expected.norm()
    last = encoder.to(memory_format=torch.channels_last)(  # type: ignore[call-overload]
        x.contiguous(memory_format=torch.channels_last)
    )
    torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"channels": 0}, "channels"),
        ({"width": 0}, "width"),
        ({"size": -1}, "size"),
        ({"dimensions": 3}, "dimensions"),
        ({"max_time_stride": 5}, r"max_time_stride is 5; give one of 4, 8, 16, 32\.$"),
        ({"max_time_stride": 64}, "max_time_stride"),
        ({"width": 8, "max_channels": 7}, r"max_channels is 7, less than its width, 8; raise it, or leave it out\.$"),
        ({"max_channels": 0}, "max_channels"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], word: str) -> None:
    with pytest.raises(SoundalikeError, match=f"resnet18: {word}"):
        ENCODERS["resnet18"](**arguments)


@pytest.mark.parametrize(
    ("height", "width", "stride"),
    [
        *[(3, 2, 1), (6, 4, 2), (1, 1, 1), (1, 6, 1), (5, 3, 2), (2, 3, 1)],
        *[(3, 4, (1, 2)), (4, 3, (1, 2)), (12, 1, (1, 2)), (1, 12, (1, 2)), (2, 5, (1, 2)), (1, 1, (1, 2))],
        *[(5, 2, (2, 1)), (2, 6, (2, 1))],
    ],
)
def test_convolution_of_a_small_map_is_the_convolution(height: int, width: int, stride: int | tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    small = Convolution2d(4, 5, 3, stride=stride, padding=1, bias=False).double()
    plain = nn.Conv2d(4, 5, 3, stride=stride, padding=1, bias=False).double()
    small.load_state_dict(plain.state_dict())
    x = torch.randn(2, 4, height, width, dtype=torch.float64, generator=generator)
    outputs, gradients = [], []
    for layer in (small, plain):
        again = x.clone().requires_grad_()
        outputs.append(layer(again))
        outputs[-1].square().sum().backward()
        gradients.append((again.grad, layer.weight.grad))
    assert torch.allclose(*outputs, atol=1e-12)
    for ours, theirs in zip(*gradients, strict=True):
        assert ours is not None
        assert torch.allclose(ours, theirs, atol=1e-12)
    assert type(outputs[0].grad_fn) is not type(outputs[1].grad_fn)  # another way, not the same one


def test_convolution_of_a_small_map_under_autocast() -> None:
    layer = Convolution2d(4, 5, 3, padding=1, bias=False)
    x = torch.randn(2, 4, 3, 2, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(x)
    assert mixed.dtype == torch.bfloat16
    assert torch.allclose(mixed.float(), layer(x), atol=0.05)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_the_output_is_the_mean_of_its_frames(dimensions: int) -> None:
    encoder = ResNet18(width=8, size=10, dimensions=dimensions).eval()
    x = noise(2, 1, 96, 64) if dimensions == 2 else noise(2, 1, 900)
    frames = encoder.frames(encoder.stages(x)[-1])
    assert frames.shape == (2, math.ceil(x.shape[2] / 32), 10)
    torch.testing.assert_close(frames.mean(1), encoder(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("max_time_stride", [4, 8, 16])
@pytest.mark.parametrize("time", [1, 31, 64, 96, 101, 162])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_an_output_frame_is_the_mean_of_its_32_input_frames(dimensions: int, time: int, max_time_stride: int) -> None:
    encoder = ResNet18(width=8, size=10, dimensions=dimensions, max_time_stride=max_time_stride).double().eval()
    x = (noise(2, 1, time, 64) if dimensions == 2 else noise(2, 1, time)).double()
    last = encoder.stages(x)[-1]
    expected = []
    for start in range(0, time, 32):
        steps = [step for step in range(last.shape[2]) if start <= step * max_time_stride < start + 32]
        mean = torch.stack([last[:, :, step].reshape(2, 64, -1).mean(2) for step in steps]).mean(0)
        expected.append(mean @ encoder.linear.weight.T + encoder.linear.bias)
    torch.testing.assert_close(encoder.frames(last), torch.stack(expected, dim=1))


@pytest.mark.parametrize("width", [1, 4, 6, 8])
def test_narrow_networks_train_without_harm(width: int) -> None:
    encoder = ResNet18(width=width, size=4)
    for step in range(3):
        encoder(noise(16, 1, 24, 64, seed=step)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
