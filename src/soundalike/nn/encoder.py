"""Encoders: front-end features in, the outputs of every stage and one vector out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from soundalike.core.errors import SoundalikeError
from soundalike.nn.batch_norm import BatchNorm1d, BatchNorm2d

_Module = TypeVar("_Module", bound=nn.Module)


class Convolution2d(nn.Conv2d):
    """A convolution; on maps of a few pixels, as the last stage has them in training, a product for each pixel.

    There, half of a 3x3 kernel lies on the padding. A product with the part of the kernel that does not takes half
    of the time on a CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels_in, height, width)`` to ``(n, channels, ...)``, both axes divided by their strides."""
        down, along = self.stride
        small = x.shape[2] * x.shape[3] <= 6 * down * along  # measured: larger maps lose by it
        if not small or self.kernel_size != (3, 3) or x.device.type != "cpu":
            return super().forward(x)
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        maps = x.permute(0, 2, 3, 1)  # (n, height, width, channels_in)
        weight = self.weight.to(x.dtype).permute(0, 2, 3, 1)  # (channels, 3, 3, channels_in)
        rows, columns = _windows(maps.shape[1], down), _windows(maps.shape[2], along)
        pixels = [
            functional.linear(maps[:, top:bottom, left:right].flatten(1), weight[:, above, beside].flatten(1))
            for top, bottom, above in rows
            for left, right, beside in columns
        ]
        return torch.stack(pixels, dim=1).unflatten(1, (len(rows), len(columns))).permute(0, 3, 1, 2)


def _windows(size: int, stride: int) -> list[tuple[int, int, slice]]:
    """For each output along one axis: the first and last inputs that it sees, and the part of the kernel on them."""
    starts = range(-1, size - 1, stride)  # the padding is 1
    return [(max(s, 0), min(s + 3, size), slice(max(s, 0) - s, min(s + 3, size) - s)) for s in starts]


class _Kind(NamedTuple):
    """The parts of which a network is built in one or two dimensions."""

    convolution: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    pool: Callable[..., nn.Module]
    stem_kernel: int
    pool_kernel: int
    kernel: int


# The kernels in one dimension are CLAR's (arXiv 2010.09542): a 3x3 kernel sees nine inputs, and so does 9.
_KINDS = {
    1: _Kind(nn.Conv1d, BatchNorm1d, nn.MaxPool1d, stem_kernel=7, pool_kernel=9, kernel=9),
    2: _Kind(Convolution2d, BatchNorm2d, nn.MaxPool2d, stem_kernel=7, pool_kernel=3, kernel=3),
}


STRIDES = (4, 4, 8, 16, 32)
"""Input frames, and bands, from one output to the next of the published network's five stages."""


class Block(nn.Module):
    """Two convolutions around which the input is carried past: the basic residual block."""

    def __init__(self, channels_in: int, channels: int, stride: int | tuple[int, ...], dimensions: int) -> None:
        super().__init__()
        norm, kernel = _KINDS[dimensions].norm, _KINDS[dimensions].kernel
        self.conv1 = _convolution(dimensions, channels_in, channels, kernel, stride)
        self.norm1 = norm(channels)
        self.conv2 = _convolution(dimensions, channels, channels, kernel)
        self.norm2 = norm(channels)
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels or stride not in (1, (1,) * dimensions):
            self.shortcut = nn.Sequential(_convolution(dimensions, channels_in, channels, 1, stride), norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels_in, ...)`` to ``(n, channels, ...)``, axes divided by the stride."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 with any number of input channels, in one or two dimensions.

    As published, each of its last three layers halves time and frequency and has twice the channels of the one before.
    Statistics over time are better of many short steps than of few long ones, so both can be stopped: time at
    ``max_time_stride`` frames a step, channels at ``max_channels``.

    Source: He et al. 2015, "Deep residual learning for image recognition" (arXiv 1512.03385), table 1.

    Attributes:
        widths: channels of the five stages: stem, then four residual layers.
        strides: input frames from one output frame to the next, of the five stages.
        band_strides: the same of input bands, in two dimensions.
        reach: how many input frames to either side of its place an output of the last stage depends on.
    """

    def __init__(
        self,
        channels: int = 1,
        width: int = 64,
        size: int = 512,
        dimensions: int = 2,
        max_time_stride: int = 32,
        max_channels: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the network with random weights.

        Args:
            channels: channels of the input.
            width: channels of the stem and of the first residual layer; each later layer has twice as many.
            size: of the vector that ``forward`` gives.
            dimensions: 2 for spectrograms, 1 for waveforms.
            max_time_stride: the most input frames from one output frame to the next, 4, 8, 16 or 32: a layer that
                would exceed it halves the frequency axis alone. 32 is the published network.
            max_channels: the most channels of a layer, at least ``width``; None lets them double to the end.
            generator: of the random weights, on the CPU; None for a fresh one with seed 0.

        Raises:
            SoundalikeError: a value outside its range.
        """
        super().__init__()
        for name, value in (("channels", channels), ("width", width), ("size", size)):
            if value < 1:
                raise SoundalikeError(f"resnet18: {name} is {value}; it must be at least 1.")
        if dimensions not in _KINDS:
            raise SoundalikeError(f"resnet18: dimensions is {dimensions}; give 2 (spectrogram) or 1 (waveform).")
        if max_time_stride not in STRIDES[1:]:
            raise SoundalikeError(
                f"resnet18: max_time_stride is {max_time_stride}; give one of {', '.join(map(str, STRIDES[1:]))}."
            )
        if max_channels is not None and max_channels < width:
            raise SoundalikeError(
                f"resnet18: max_channels is {max_channels}, less than its width, {width}; raise it, or leave it out."
            )
        kind = _KINDS[dimensions]
        self.channels = channels
        self.size = size
        self.dimensions = dimensions
        self.widths = tuple(min(times * width, max_channels or times * width) for times in (1, 1, 2, 4, 8))
        self.strides = tuple(min(stride, max_time_stride) for stride in STRIDES)
        self.band_strides = STRIDES
        self.reach = _reach(kind, self.strides)
        self.stem = nn.Sequential(
            _convolution(dimensions, channels, width, kind.stem_kernel, 2),
            kind.norm(width),
            kind.pool(kind.pool_kernel, 2, kind.pool_kernel // 2),
            nn.ReLU(),  # after the pool, where a quarter is left: the order makes no difference to a maximum
        )
        layers = []
        for number, (below, here) in enumerate(itertools.pairwise(self.widths)):
            steps = [every[number + 1] // every[number] for every in (self.strides, self.band_strides)]
            stride = tuple(steps[:dimensions])
            layers.append(nn.Sequential(Block(below, here, stride, dimensions), Block(here, here, 1, dimensions)))
        self.layers = nn.ModuleList(layers)
        self.linear = uninitialised(nn.Linear, self.widths[-1], size)
        initialise(self, generator)
        # Convolutions run fastest with channels last, on CPUs and GPUs alike. Not narrow ones: without AVX-512,
        # PyTorch 2.13's write beyond their memory where channels do not fill a vector of eight.
        if width % 8 == 0:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def stages(self, x: Tensor) -> list[Tensor]:
        """What every stage makes of the input.

        Args:
            x: ``(n, channels, T, bands)``, or ``(n, channels, T)`` in one dimension.

        Returns:
            Five tensors ``(n, widths[i], ceil(T / strides[i]), ceil(bands / band_strides[i]))``: of the stem,
            then of each residual layer.
        """
        outputs = [self.stem(x)]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        return outputs

    def frames(self, last: Tensor) -> Tensor:
        """The output for each frame: 32 frames of the input, a third of a second of the VGGish front end.

        Args:
            last: the last of what `stages` gives.

        Returns:
            ``(n, ceil(T / 32), size)``.
        """
        if last.ndim == 4:
            last = last.mean(3)  # (n, widths[4], steps)
        together = STRIDES[-1] // self.strides[-1]
        if together > 1:
            last = functional.avg_pool1d(last, together, ceil_mode=True)  # (n, widths[4], frames)
        return self.linear(last.transpose(1, 2))

    def vector(self, last: Tensor) -> Tensor:
        """The output for the whole clip: the mean of the last stage, as `stages` gives it, to ``(n, size)``."""
        return self.linear(last.mean(tuple(range(2, last.ndim))))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, T, bands)`` to ``(n, size)``: the mean of the last stage, then linear."""
        return self.vector(self.stages(x)[-1])


def uninitialised(kind: Callable[..., _Module], *arguments: Any, **options: Any) -> _Module:
    """A module whose weights are not drawn yet: the usual constructor draws them from the global random state.

    Within ``torch.device("meta")`` it has shapes alone and takes no memory, whatever its size.

    Args:
        kind: its class.
        arguments: of the class.
        options: of the class.
    """
    device = "meta" if torch.get_default_device().type == "meta" else "cpu"
    made: _Module = nn.utils.skip_init(kind, *arguments, **options, device=device)
    return made


def initialise(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw all weights inside ``module`` from ``generator``; the global random state stays as it is.

    Convolutions get He's normal distribution (fan-out), linear layers a uniform one within 1 /
    sqrt(inputs), and normalisations weight 1 and bias 0.

    Args:
        module: any tree of convolutions, linear layers and batch normalisations, on the CPU; one that has shapes
            alone stays as it is.
        generator: on the CPU; None for a fresh one with seed 0.
    """
    if any(weight.is_meta for weight in module.parameters()):
        return
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(part, nn.Linear):
            bound = part.in_features**-0.5
            nn.init.uniform_(part.weight, -bound, bound, generator=generator)
            if part.bias is not None:
                nn.init.uniform_(part.bias, -bound, bound, generator=generator)
        elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.reset_parameters()


def _convolution(
    dimensions: int, channels_in: int, channels: int, kernel: int, stride: int | tuple[int, ...] = 1
) -> nn.Module:
    return uninitialised(
        _KINDS[dimensions].convolution,
        channels_in,
        channels,
        kernel,
        stride=stride,
        padding=kernel // 2,
        bias=False,
    )


def _reach(kind: _Kind, strides: tuple[int, ...]) -> int:
    reach = kind.stem_kernel // 2 + 2 * (kind.pool_kernel // 2)
    for before, after in itertools.pairwise(strides):
        reach += kind.kernel // 2 * (before + 3 * after)  # the first of four convolutions has the stride
    return reach


ENCODERS: dict[str, type[ResNet18]] = {"resnet18": ResNet18}
