"""Encoders: front-end features in, the outputs of every stage and one vector out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from soundalike.errors import SoundalikeError


class Convolution2d(nn.Conv2d):
    """A convolution; on maps of a few pixels, as the last stage has them in training, a product for each pixel.

    There, half of a 3x3 kernel lies on the padding. A product with the part of the kernel that does not takes half
    of the time on a CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels_in, height, width)`` to ``(n, channels, ceil(height / stride), ceil(width / stride))``."""
        stride = self.stride[0]
        small = x.shape[2] * x.shape[3] <= 6 * stride**2  # measured: larger maps lose by it
        if not small or self.kernel_size != (3, 3) or x.device.type != "cpu":
            return super().forward(x)
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        maps = x.permute(0, 2, 3, 1)  # (n, height, width, channels_in)
        weight = self.weight.to(x.dtype).permute(0, 2, 3, 1)  # (channels, 3, 3, channels_in)
        rows, columns = (_windows(size, stride) for size in maps.shape[1:3])
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
    1: _Kind(nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d, stem_kernel=7, pool_kernel=9, kernel=9),
    2: _Kind(Convolution2d, nn.BatchNorm2d, nn.MaxPool2d, stem_kernel=7, pool_kernel=3, kernel=3),
}


class Block(nn.Module):
    """Two convolutions around which the input is carried past: the basic residual block."""

    def __init__(self, channels_in: int, channels: int, stride: int, dimensions: int) -> None:
        super().__init__()
        norm, kernel = _KINDS[dimensions].norm, _KINDS[dimensions].kernel
        self.conv1 = _convolution(dimensions, channels_in, channels, kernel, stride)
        self.norm1 = norm(channels)
        self.conv2 = _convolution(dimensions, channels, channels, kernel)
        self.norm2 = norm(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(_convolution(dimensions, channels_in, channels, 1, stride), norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels_in, ...)`` to ``(n, channels, ...)``, axes divided by the stride."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 with any number of input channels, in one or two dimensions.

    Source: He et al. 2015, "Deep residual learning for image recognition" (arXiv 1512.03385), table 1.

    Attributes:
        widths: channels of the five stages: stem, then four residual layers.
        strides: input frames from one output frame to the next, of the five stages.
        reach: how many input frames to either side of its place an output of the last stage depends on.
    """

    def __init__(
        self,
        channels: int = 1,
        width: int = 64,
        size: int = 512,
        dimensions: int = 2,
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the network with random weights.

        Args:
            channels: channels of the input.
            width: channels of the stem and of the first residual layer; each later layer has twice as many.
            size: of the vector that ``forward`` gives.
            dimensions: 2 for spectrograms, 1 for waveforms.
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
        kind = _KINDS[dimensions]
        self.channels = channels
        self.size = size
        self.dimensions = dimensions
        self.widths = (width, width, 2 * width, 4 * width, 8 * width)
        self.strides = (4, 4, 8, 16, 32)
        self.reach = _reach(kind)
        self.stem = nn.Sequential(
            _convolution(dimensions, channels, width, kind.stem_kernel, 2),
            kind.norm(width),
            kind.pool(kind.pool_kernel, 2, kind.pool_kernel // 2),
            nn.ReLU(),  # after the pool, where a quarter is left: the order makes no difference to a maximum
        )
        layers = []
        for below, here in itertools.pairwise(self.widths):
            stride = here // below  # what doubles the channels halves the axes
            layers.append(nn.Sequential(Block(below, here, stride, dimensions), Block(here, here, 1, dimensions)))
        self.layers = nn.ModuleList(layers)
        self.linear = nn.utils.skip_init(nn.Linear, self.widths[-1], size)
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
            Five tensors ``(n, widths[i], ceil(T / strides[i]), ceil(bands / strides[i]))``: of the stem,
            then of each residual layer.
        """
        outputs = [self.stem(x)]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        return outputs

    def moments(self, x: Tensor) -> Tensor:
        """The output for each moment: a step of the last stage, a third of a second of the VGGish front end.

        Args:
            x: as `stages` takes it.

        Returns:
            ``(n, ceil(T / strides[4]), size)``.
        """
        last = self.stages(x)[-1]
        if last.ndim == 4:
            last = last.mean(3)  # (n, widths[4], moments)
        return self.linear(last.transpose(1, 2))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, T, bands)`` to ``(n, size)``: the mean of the last stage, then linear."""
        last = self.stages(x)[-1]
        return self.linear(last.mean(tuple(range(2, last.ndim))))


def initialise(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw all weights inside ``module`` from ``generator``; the global random state stays as it is.

    Convolutions get He's normal distribution (fan-out), linear layers a uniform one within 1 /
    sqrt(inputs), and normalisations weight 1 and bias 0.

    Args:
        module: any tree of convolutions, linear layers and batch normalisations, on the CPU.
        generator: on the CPU; None for a fresh one with seed 0.
    """
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


def _convolution(dimensions: int, channels_in: int, channels: int, kernel: int, stride: int = 1) -> nn.Module:
    # Uninitialised on purpose: the usual constructor draws from the global random state.
    return nn.utils.skip_init(
        _KINDS[dimensions].convolution,
        channels_in,
        channels,
        kernel,
        stride=stride,
        padding=kernel // 2,
        bias=False,
    )


def _reach(kind: _Kind) -> int:
    reach = kind.stem_kernel // 2 + 2 * (kind.pool_kernel // 2)
    spacing = 4  # input frames between two outputs of the stem
    for stride in (1, 2, 2, 2):
        reach += kind.kernel // 2 * (spacing + 3 * spacing * stride)
        spacing *= stride
    return reach


ENCODERS: dict[str, type[ResNet18]] = {"resnet18": ResNet18}
