"""What every augmentation is: parameters drawn for each sound, and a transformation that they determine."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from soundalike.core.errors import SoundalikeError

Drawn = dict[str, Tensor]
"""What was drawn for a batch: tensors with a row for each sound. ``apply`` says which sounds are changed at all."""
Range = float | tuple[float, float]
"""A number, or the lowest and the highest of a range that is drawn from uniformly. A list will do for the pair."""


class Augmentation(nn.Module):
    """A random change to each sound of a batch. This class holds what all of them share.

    Drawing is apart from applying. `draw` turns uniform numbers, a row for each sound, into parameters; `apply` is a
    function of the audio and of what was drawn. So a change can be repeated, inspected and logged, and a sound's
    change is the same whichever batch, process or worker it is made in, where the uniform numbers are counted:
    ``uniform=random.uniform(random.keys(seed, number, stream=s), augmentation.numbers)``.

    Args:
        p: the chance that a sound is changed, in [0, 1].

    Raises:
        SoundalikeError: p is out of its range.
    """

    axes = 2  # of the input
    drawn_numbers = 0  # how many uniform numbers a sound's parameters take

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = check_number("p", p, 0.0, 1.0)

    @property
    def numbers(self) -> int:
        """Uniform numbers that a draw takes for each sound."""
        return 1 + self.drawn_numbers

    def draw(
        self,
        n: int,
        samples: int | tuple[int, int],
        *,
        generator: torch.Generator | None = None,
        uniform: Tensor | None = None,
        device: torch.device | str | None = None,
    ) -> Drawn:
        """Parameters for a batch.

        Args:
            n: how many sounds.
            samples: their length in samples; (frames, bands) for the augmentations of spectrograms.
            generator: where random numbers come from, or
            uniform: the numbers themselves, in [0, 1), ``(n, numbers)``.
            device: where the parameters are to be.

        Returns:
            `Drawn`, n rows each.

        Raises:
            SoundalikeError: neither or both of ``generator`` and ``uniform`` are given, or the numbers do not fit.
        """
        u = self._uniform(n, generator, uniform)
        u = u.to(u.device if device is None else device)
        return {"apply": u[:, 0] < self.p, **self._values(u[:, 1:], samples)}

    def apply(self, audio: Any, drawn: Drawn | None = None) -> Any:
        """The batch with the changes that were drawn.

        Args:
            audio: ``(n, samples)``, or ``(n, channels, frames, bands)`` for the augmentations of spectrograms.
            drawn: what `draw` returned for a batch of this size.

        Returns:
            A tensor like ``audio``, which is left as it was: ``audio`` itself where nothing is changed.

        Raises:
            SoundalikeError: the input has other axes or whole numbers.
        """
        if drawn is None:  # nn.Module.apply(function), by which a parent module visits its children
            return super().apply(audio)
        self._check_batch(audio)
        if audio.numel() == 0:
            return audio
        working = audio if audio.dtype in (torch.float32, torch.float64) else audio.float()
        if audio.device.type != "cpu":  # counting the chosen rows would make the CPU wait for the device
            chosen = drawn["apply"].view(-1, *[1] * (self.axes - 1))
            return torch.where(chosen, self._transform(working, drawn), working).to(audio.dtype)
        rows = drawn["apply"].nonzero()[:, 0]
        if len(rows) == 0:
            return audio
        if len(rows) == len(audio):
            return self._transform(working, drawn).to(audio.dtype)
        # index_select, which is several times as fast as indexing
        changed = self._transform(working.index_select(0, rows), {key: value[rows] for key, value in drawn.items()})
        return working.index_copy(0, rows, changed).to(audio.dtype)

    def forward(
        self, audio: Tensor, generator: torch.Generator | None = None, *, uniform: Tensor | None = None
    ) -> Tensor:
        """Draws and applies.

        Args:
            audio: as `apply` takes it.
            generator: as `draw` takes it, or
            uniform: as `draw` takes it.

        Returns:
            As `apply`.
        """
        self._check_batch(audio)
        size = audio.shape[1] if self.axes == 2 else (audio.shape[2], audio.shape[3])
        return self.apply(
            audio, self.draw(len(audio), size, generator=generator, uniform=uniform, device=audio.device)
        )

    def _values(self, u: Tensor, size: Any) -> Drawn:
        """Parameters (n,) or (n, k) from uniform numbers (n, drawn_numbers)."""
        raise NotImplementedError

    def _transform(self, audio: Tensor, drawn: Drawn) -> Tensor:
        """Every sound of a batch, float32 or float64 and not empty, changed; a new tensor of the same shape."""
        raise NotImplementedError

    def _check_batch(self, audio: Tensor) -> None:
        wanted = "(n, samples)" if self.axes == 2 else "(n, channels, frames, bands)"
        if audio.dim() != self.axes or not audio.is_floating_point():
            raise SoundalikeError(
                f"{type(self).__name__} got {str(audio.dtype).removeprefix('torch.')} of shape {tuple(audio.shape)}: "
                f"give a batch {wanted} of floating-point numbers."
            )

    def _uniform(self, n: int, generator: torch.Generator | None, uniform: Tensor | None) -> Tensor:
        if (generator is None) == (uniform is None):
            raise SoundalikeError(f"{type(self).__name__} draws at random: give it a generator, or uniform numbers.")
        if generator is not None:
            return torch.rand(n, self.numbers, generator=generator, device=generator.device)
        assert uniform is not None
        if uniform.shape != (n, self.numbers):
            raise SoundalikeError(
                f"{type(self).__name__} got uniform numbers of shape {tuple(uniform.shape)}: "
                f"give {self.numbers} for each of {n} sounds."
            )
        return uniform


def chunks(rows: int, length: int) -> Iterator[slice]:
    """Slices of a batch whose rows of ``length`` numbers each fit into a CPU's cache together."""
    step = max(1, (1 << 19) // max(1, length))
    return (slice(first, first + step) for first in range(0, rows, step))


def beyond_numpy(audio: Tensor) -> bool:
    """Whether a batch is on an accelerator or has gradients, and so is not to be changed by NumPy sound by sound.

    Changes of parts that differ in length from sound to sound are quickest so on a CPU: no sample is touched for
    nothing, and a NumPy call on a slice costs a fraction of PyTorch's.
    """
    return audio.device.type != "cpu" or audio.requires_grad


def between(u: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Uniform numbers in [0, 1) -> uniform in a range."""
    return bounds[0] + (bounds[1] - bounds[0]) * u


def whole(u: Tensor, count: int | Tensor) -> Tensor:
    """Uniform numbers in [0, 1) -> whole numbers from 0 to count - 1, int64, all equally likely."""
    # in double precision: in single, u * count can round up to count
    number = (u.double() * count).long()
    if isinstance(count, Tensor):
        return torch.minimum(number, count.long() - 1).clamp_(min=0)
    return number.clamp_(max=count - 1).clamp_(min=0)  # of a number no tensor is made, for which a GPU would be waited


def seeds(u: Tensor) -> Tensor:
    """Two uniform numbers each (n, 2) -> seeds for `soundalike.core.random`, int64 (n,)."""
    high, low = (u * 2.0**24).long().unbind(1)
    return (high << 24) + low


def fast_length(length: int) -> int:
    """The least number from ``length`` on that has no prime factor above 5: Fourier transforms of it are quick."""
    best = 1 << max(0, length - 1).bit_length()
    for threes in range(12):
        for fives in range(8):
            odd = 3**threes * 5**fives
            if odd < best:
                best = min(best, odd << max(0, -(-length // odd) - 1).bit_length())
    return best


def check_number(key: str, value: object, lowest: float, highest: float) -> float:
    """A constructor's number, checked.

    Raises:
        SoundalikeError: it is not a number from ``lowest`` to ``highest``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
        raise SoundalikeError(f"{key} is {value!r}: give a number from {lowest:g} to {highest:g}.")
    return float(value)


def check_count(key: str, value: object, lowest: int = 0, highest: int = 1 << 30) -> int:
    """A constructor's whole number, checked.

    Raises:
        SoundalikeError: it is not a whole number from ``lowest`` to ``highest``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise SoundalikeError(f"{key} is {value!r}: give a whole number, at least {lowest}.")
    return value


def check_range(key: str, value: object, lowest: float, highest: float, unit: str = "") -> tuple[float, float]:
    """A constructor's `Range` as two numbers, checked.

    Raises:
        SoundalikeError: it is no range, or leaves what ``lowest`` and ``highest`` allow.
    """
    pair = list(value) if isinstance(value, list | tuple) else [value, value]
    numbers = [v for v in pair if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    if len(pair) != 2 or len(numbers) != 2 or not lowest <= numbers[0] <= numbers[1] <= highest:
        raise SoundalikeError(
            f"{key} is {value!r}: give a number, or the lowest and the highest, from {lowest:g} to {highest:g}{unit}."
        )
    return float(numbers[0]), float(numbers[1])
