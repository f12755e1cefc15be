"""A pre-training step the original's way: SynthAX, then PyTorch in fp32 with its default memory layout.

Written from the description in "Contrastive Learning from Synthetic Audio Doppelgängers" (arXiv 2406.05923): both
views rendered by one compiled program, log-mel front end, ResNet-18 applied to one view after the other, alignment
and uniformity, plain SGD.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.synthax_voices import pair_renderer

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

DELTA = 0.25


def step(pairs: int) -> Callable[[], Tensor]:
    """A function that makes one step of ``pairs`` pairs and gives the loss."""
    import numpy as np
    import torch

    from soundalike.nn.encoder import ResNet18

    render = pair_renderer("voice", pairs, DELTA)
    encoder = ResNet18(channels=1, width=64, size=512).train()
    encoder.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    plain_convolutions(encoder)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.12, weight_decay=1e-6)
    features = front_end()

    def run() -> Tensor:
        sounds = [torch.from_numpy(np.array(view)) for view in render()]
        with torch.no_grad():
            views = [features(sound) for sound in sounds]  # (pairs, 1, 96, 64) each
        first, second = (torch.nn.functional.normalize(encoder(view), dim=1) for view in views)
        loss = alignment(first, second) + (uniformity(first) + uniformity(second)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return run


def plain_convolutions(module: Module) -> None:
    """Puts PyTorch's own convolutions in the place of ours."""
    from torch import nn

    for part in module.modules():
        for name, child in part.named_children():
            if isinstance(child, nn.Conv2d) and type(child) is not nn.Conv2d:
                plain = nn.utils.skip_init(
                    nn.Conv2d,
                    child.in_channels,
                    child.out_channels,
                    child.kernel_size,
                    stride=child.stride,
                    padding=child.padding,
                    bias=False,
                )
                plain.load_state_dict(child.state_dict())
                setattr(part, name, plain)


def front_end() -> Callable[[Tensor], Tensor]:
    """The log-mel spectrogram of VGGish: sounds (n, 16000) to (n, 1, 96, 64)."""
    import torch

    from soundalike.nn.frontend import mel_filters

    window = torch.nn.functional.pad(torch.hann_window(400), (0, 112))
    filters = mel_filters(16_000, 512, 64, 125.0, 7500.0).float()

    def features(sound: Tensor) -> Tensor:
        spectrum = torch.stft(sound, 512, hop_length=160, window=window, center=False, return_complex=True)
        mel = spectrum.abs().transpose(1, 2) @ filters  # (n, T, 64)
        return torch.log(mel + 0.01)[:, None, :96]

    return features


def alignment(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared distance within pairs."""
    return (first - second).square().sum(1).mean()


def uniformity(points: Tensor) -> Tensor:
    """Logarithm of the mean Gaussian potential of all pairs of points."""
    import torch

    return torch.pdist(points).square().mul(-2).exp().mean().log()
