"""What every voice shares: knobs, clocks, noise and the scaling of the output."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from soundalike.core import random
from soundalike.core.compile import compiled, failures_in_one_sentence
from soundalike.core.errors import SoundalikeError, nearest
from soundalike.synth.control import Bank
from soundalike.synth.grid import Grid
from soundalike.synth.parameter import ParameterSpec, ParameterTable
from soundalike.synth.place import Place
from soundalike.synth.targets import Target, TargetSpec, step_count, unpack

_MOST_SECONDS, _MOST_RATE = 600.0, 1_000_000  # a recipe may be somebody else's, and memory is not without end
PEAKS = ("own", "first", "none")
ROWS, COMPILED_ROWS, GPU_ROWS = 64, 256, 8192
"""Sounds rendered at once: on a CPU, compiled on a CPU, and on a GPU. Left as it is, a rendering walks through memory
for every operation, and few sounds stay in a processor's cache; compiled, it walks through once, and the more sounds,
the less a call costs. A GPU wants many sounds at once, as many as leave room for a training beside them."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


class Synthesizer(nn.Module):
    """What every voice shares: its knobs, its clocks, its noise and the scaling of its output.

    A subclass makes its modules, hands them to `assemble`, and says in `control` and `audio` how they are wired. One
    that sets ``place`` and hands it to `assemble` too has its sounds heard there.

    Args:
        sample_rate: samples a second, at least 1,000.
        seconds: length of every sound, above 0.
        control_rate: control points a second, at most the sample rate; 480 is torchsynth's and SynthAX's.
        peak: ``own`` scales each sound by its own peak where that exceeds 1; ``first`` scales the whole batch by the
            first sound's peak, as SynthAX does; ``none`` leaves the mix as it is.
    """

    MOST_ROWS = 1 << 30
    """Sounds rendered at once at most, compiled: less where what passes between parts would leave the cache."""

    positions: Tensor

    def __init__(
        self, sample_rate: int = 16_000, seconds: float = 1.0, control_rate: float = 480.0, peak: str = "own"
    ) -> None:
        super().__init__()
        if not (isinstance(sample_rate, int) and sample_rate >= 1_000):
            raise SoundalikeError(f"sample_rate is {sample_rate!r}: give a whole number of at least 1000 Hz.")
        if not _is_number(seconds) or round(seconds * sample_rate) < 1:
            raise SoundalikeError(f"seconds is {seconds!r}: give a length above 0.")
        if seconds > _MOST_SECONDS or sample_rate > _MOST_RATE:
            raise SoundalikeError(
                f"seconds is {seconds!r} at {sample_rate} Hz: give at most {_MOST_SECONDS:g} s and {_MOST_RATE} Hz."
            )
        if not _is_number(control_rate) or not 1 <= control_rate <= sample_rate:
            raise SoundalikeError(
                f"control_rate is {control_rate!r}: give a rate from 1 Hz to the sample rate, {sample_rate} Hz."
            )
        if peak not in PEAKS:
            raise SoundalikeError(f"peak is {peak!r}: {nearest(str(peak), PEAKS)}")
        self.sample_rate = sample_rate
        self.seconds = float(seconds)
        self.samples = round(seconds * sample_rate)
        self.control_rate = control_rate
        self.points = max(2, round(seconds * control_rate))
        self.grid = Grid(self.samples, self.points, sample_rate)
        positions = random.positions(self.grid.blocks * self.grid.length)
        self.register_buffer("positions", positions.unflatten(0, (self.grid.blocks, self.grid.length)), False)
        self.peak = peak
        self.place: Place | None = None
        self._compiled: Compiled | None = None
        self._compiled_with_targets: Compiled | None = None

    def assemble(self, *banks: Bank) -> None:
        """Fixes the order of the knobs: bank after bank, module after module."""
        start = 0
        for bank in banks:
            start = bank.place(start)
        self.table = ParameterTable([spec for bank in banks for spec in bank.specs])

    def control(self, units: Tensor, time: Tensor) -> tuple[Tensor, ...]:
        """The slow half of how the modules are wired: all that is computed at control rate.

        Args:
            units: (n, size).
            time: seconds of the control points, (points,).

        Returns:
            What `audio` needs, in an order that both know: curves (n, order, segments), and numbers (n, 1).
        """
        raise NotImplementedError

    def audio(self, units: Tensor, control: tuple[Tensor, ...], noise: Tensor) -> Tensor:
        """The fast half: all that is computed at every sample.

        Args:
            units: (n, size).
            control: what `control` returns.
            noise: white noise in [-1, 1], (n, blocks, length).

        Returns:
            The mix, (n, blocks, length).
        """
        raise NotImplementedError

    @property
    def specs(self) -> tuple[ParameterSpec, ...]:
        """Every knob, in the order of a patch."""
        return self.table.specs

    @property
    def size(self) -> int:
        """How many knobs there are."""
        return len(self.table.specs)

    def to_units(self, patch: Tensor) -> Tensor:
        """Knob positions in [0, 1] to seconds, Hz, semitones …: (n, size) or (size,), the same out."""
        units: Tensor = self.table.to_units(self._checked(patch))
        return units

    def to_knobs(self, units: Tensor) -> Tensor:
        """Seconds, Hz, semitones … to knob positions in [0, 1]: (n, size) or (size,), the same out."""
        return self.table.to_knobs(self._checked(units))

    def describe(self, patch: Tensor) -> str:
        """A patch as a table that a person can read: a line for each knob.

        Args:
            patch: knob positions, (size,) or (1, size).
        """
        patch = self._checked(patch).detach().reshape(-1, self.size)
        if patch.shape[0] != 1:
            raise SoundalikeError(f"describe takes one patch, not {patch.shape[0]}: index the batch first.")
        units = self.to_units(patch)[0].tolist()
        wide = max(len(spec.name) for spec in self.specs)
        lines = [f"{'name':<{wide}}  {'group':<10}  {'knob':>5}  {'value':>9}  unit"]
        for spec, knob, unit in zip(self.specs, patch[0].tolist(), units, strict=True):
            lines.append(f"{spec.name:<{wide}}  {spec.group:<10}  {knob:5.3f}  {unit:9.3f}  {spec.unit}".rstrip())
        return "\n".join(lines)

    def spread(self, uniform: Tensor, uniform_in: str = "units") -> Tensor:
        """Patches out of uniform numbers.

        Args:
            uniform: numbers in [0, 1], (n, size).
            uniform_in: ``units`` makes seconds, Hz, semitones … uniform over their ranges (SynthAX, and so the
                paper); ``knobs`` makes knob positions uniform (torchsynth), so that the curves shape the sounds.

        Returns:
            Patches (n, size) in [0, 1].
        """
        if uniform_in == "knobs":
            return uniform
        if uniform_in == "units":
            return self.table.to_knobs(self.table.minimum + self.table.width * uniform)
        raise SoundalikeError(f"uniform_in is {uniform_in!r}: {nearest(str(uniform_in), ('units', 'knobs'))}")

    def draw(self, count: int, *, generator: torch.Generator | None = None, uniform_in: str = "units") -> Tensor:
        """Random patches.

        Args:
            count: how many.
            generator: where the randomness comes from; a fresh one with an arbitrary seed where not given.
            uniform_in: ``units`` or ``knobs``, as in `spread`.

        Returns:
            Patches (count, size) in [0, 1].
        """
        if count < 0:
            raise SoundalikeError(f"count is {count}: give 0 or more.")
        device = self.table.minimum.device
        if generator is None:
            generator = torch.Generator(device)
            generator.seed()
        uniform = torch.rand(count, self.size, generator=generator, device=generator.device)
        return self.spread(uniform.to(device), uniform_in)

    def forward(
        self,
        patch: Tensor,
        noise_seed: int | Sequence[int] | Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """The sounds of patches. Pure: a patch and its noise seed give one sound, whatever else is in the batch.

        Args:
            patch: knob positions in [0, 1], (n, size) or (size,).
            noise_seed: the seed of each sound's noise, (n,), or one seed for every sound. Where not given, sound i
                has seed i.
            noise: a noise waveform in [-1, 1] instead, (samples,) for every sound or (n, samples).

        Returns:
            Audio in [-1, 1], (n, samples), or (samples,) for a single patch.

        Raises:
            SoundalikeError: shapes do not fit, or both kinds of noise are given.
        """
        patch = self._checked(patch)
        if patch.dim() == 1:
            return self(patch[None], noise_seed, noise)[0]
        count = patch.shape[0]
        if noise is not None and noise_seed is not None:
            raise SoundalikeError("noise and noise_seed are both given: give one of them.")
        source = self._noise_keys(noise_seed, count) if noise is None else self._noise_blocks(noise, patch)
        return self.with_noise(patch, source.expand(count, *source.shape[1:]))

    def with_noise(self, patch: Tensor, source: Tensor) -> Tensor:
        """The sounds of patches whose noise is at hand.

        Args:
            patch: knob positions in [0, 1], (n, size).
            source: keys of each sound's noise, int32 (n,), from `random.noise_keys`, or noise in blocks,
                (n, blocks, length).

        Returns:
            Audio as `forward` gives it, (n, samples).
        """
        if self._compiled and patch.dtype == torch.float32 and not (patch.requires_grad and torch.is_grad_enabled()):
            sound = self._compiled(patch, source)
        else:
            sound = by_rows(self._render, patch, source)
        if self.peak == "first":
            sound = sound / sound[:1].abs().amax(dim=1, keepdim=True).clamp(min=1.0)
        return sound  # (n, samples)

    @property
    def target_specs(self) -> tuple[TargetSpec, ...]:
        """What the voice knows of its sounds, for an encoder to predict; nothing where it declares no targets."""
        return ()

    def targets(self, patch: Tensor, noise_seed: int | Sequence[int] | Tensor | None = None) -> dict[str, Target]:
        """What is known of the sounds of patches, as `with_targets` gives it."""
        return self.with_targets(patch, noise_seed)[1]

    def with_targets(
        self, patch: Tensor, noise_seed: int | Sequence[int] | Tensor | None = None
    ) -> tuple[Tensor, dict[str, Target]]:
        """The sounds of patches, and what is known of them. No gradients flow.

        Args:
            patch: knob positions in [0, 1], (n, size).
            noise_seed: as `forward` takes it.

        Returns:
            Audio (n, samples), as `forward` gives it, and every target of `target_specs` by its name.

        Raises:
            SoundalikeError: shapes do not fit, or the voice declares no targets.
        """
        if not self.target_specs:
            raise SoundalikeError(f"{type(self).__name__} declares no targets: of its sounds nothing is known.")
        patch = self._checked(patch)
        keys = self._noise_keys(noise_seed, len(patch)).expand(len(patch))
        if self._compiled_with_targets and patch.dtype == torch.float32:
            rows = self._compiled_with_targets(patch, keys)
        else:
            with torch.no_grad():
                rows = by_rows(self._render_with_targets, patch, keys)
        sound, targets = rows.split((self.samples, rows.shape[1] - self.samples), dim=1)
        return sound, unpack(self.target_specs, targets, step_count(self.seconds))

    def compile_rendering(self, rows: int = COMPILED_ROWS, targets: bool = False) -> float:
        """Makes rendering several times faster, after half a minute, or seconds where it was compiled before.

        Calls that need gradients go on without. Sounds differ by rounding only; what an LFO with a jump does at the
        very point of its jump may differ by more.

        Args:
            rows: sounds rendered at once; fewer are filled up.
            targets: whether `with_targets` is compiled now and `forward` at its first call, instead of the reverse.

        Returns:
            Seconds that it took.

        Raises:
            CompilationError: there is no compiler, or it does not work.
        """
        started = time.perf_counter()
        rows = min(rows, self.MOST_ROWS)
        twin = self._compiled_twin(rows)
        sound, both = Compiled(twin._render, rows), Compiled(twin._render_with_targets, rows)
        with failures_in_one_sentence():  # what is compiled is compiled at its first call
            one = torch.full((1, self.size), 0.5, device=self.positions.device)
            (both if targets else sound)(one, self._noise_keys(0, 1))
        self._compiled, self._compiled_with_targets = sound, both
        return time.perf_counter() - started

    def _compiled_twin(self, rows: int) -> Self:
        """The same voice, whose parts are compiled at their first call, for ``rows`` sounds and no gradients."""
        twin = copy.copy(self)
        twin._control_part = compiled(self._control_part)  # type: ignore[method-assign]
        twin._audio_part = compiled(self._audio_part, one_kernel=True)  # type: ignore[method-assign]
        if self.place is not None:
            twin.__dict__["place"] = self.place.compiled_twin()  # not among the modules, which both share
        return twin

    def _checked(self, patch: Tensor) -> Tensor:
        if patch.dim() not in (1, 2) or patch.shape[-1] != self.size:
            raise SoundalikeError(
                f"patch has shape {tuple(patch.shape)}: this voice takes (n, {self.size}) or ({self.size},)."
            )
        return patch

    def _noise_keys(self, seed: int | Sequence[int] | Tensor | None, count: int) -> Tensor:
        """A key of `random.noise` for each sound, int32 (n,) or (1,)."""
        device = self.table.minimum.device
        seeds = torch.as_tensor(range(count) if seed is None else seed, dtype=torch.int64, device=device)
        if seeds.shape not in ((), (count,)):
            raise SoundalikeError(f"noise_seed has shape {tuple(seeds.shape)}: give one seed, or ({count},).")
        return random.noise_keys(seeds.reshape(-1))

    def _noise_blocks(self, noise: Tensor, patch: Tensor) -> Tensor:
        """A given waveform in blocks, (n or 1, blocks, length)."""
        count = patch.shape[0]
        if noise.shape not in ((self.samples,), (count, self.samples), (1, self.samples)):
            raise SoundalikeError(
                f"noise has shape {tuple(noise.shape)}: give ({self.samples},) or ({count}, {self.samples})."
            )
        return self.grid.blocked(noise.to(patch).reshape(-1, self.samples))

    def _render(self, patch: Tensor, noise: Tensor) -> Tensor:
        """The sounds (n, samples) of a few patches (n, size) with their noise, as keys (n,) or (n, blocks, length)."""
        units, *control = self._control_part(patch)
        sound = self._audio_part(units, tuple(control), noise)
        if self.place is None:
            return sound
        return self._scaled(self.place(units, sound, self.grid.waveform(noise) if noise.dim() > 1 else noise))

    def _render_with_targets(self, patch: Tensor, noise: Tensor) -> Tensor:
        """What `_render` gives, and behind it the targets in one row, as `pack` makes it: (n, samples + numbers)."""
        raise NotImplementedError

    def _control_part(self, patch: Tensor) -> tuple[Tensor, ...]:
        units = self.table.to_units(patch)
        return units, *self.control(units, self._control_times(patch))

    def _control_times(self, like: Tensor) -> Tensor:
        """Seconds of the control points, (points,)."""
        return torch.arange(self.points, device=like.device, dtype=like.dtype) / self.control_rate

    def _audio_part(self, units: Tensor, control: tuple[Tensor, ...], noise: Tensor) -> Tensor:
        if noise.dim() == 1:
            noise = random.noise_at(noise, self.positions).to(units)  # (n, blocks, length)
        sound = self.grid.waveform(self.audio(units, control, noise))
        return self._scaled(sound) if self.place is None else sound  # a place decides how loud it is

    def _scaled(self, sound: Tensor) -> Tensor:
        """Each sound (n, samples) by its own peak, where ``peak`` says so."""
        return sound / sound.abs().amax(dim=1, keepdim=True).clamp(min=1.0) if self.peak == "own" else sound


def by_rows(render: Callable[[Tensor, Tensor], Tensor], patch: Tensor, noise: Tensor) -> Tensor:
    """What ``render`` makes of patches (n, size) and their noise, as many at once as the device likes."""
    rows = ROWS if patch.device.type == "cpu" else GPU_ROWS
    return torch.cat([render(*chunk) for chunk in zip(patch.split(rows), noise.split(rows), strict=True)])


class Compiled:
    """A rendering compiled for a fixed number of sounds; fewer are filled up, so that nothing is compiled again.

    Args:
        render: sounds (n, samples) of patches (n, size) and their noise, as `Synthesizer._render`.
        rows: how many sounds.
    """

    def __init__(self, render: Callable[[Tensor, Tensor], Tensor], rows: int) -> None:
        self.render, self.rows = render, rows

    @torch.inference_mode(False)  # another mode would be compiled once more
    @torch.no_grad()
    def __call__(self, patch: Tensor, noise: Tensor) -> Tensor:
        """Sounds (n, samples) of patches (n, size), with noise as `Synthesizer._render` takes it."""
        sounds = [
            self.render(self._filled(some), self._filled(its_noise))[: some.shape[0]]
            for some, its_noise in zip(patch.split(self.rows), noise.split(self.rows), strict=True)
        ]
        return sounds[0] if len(sounds) == 1 else torch.cat(sounds)

    def _filled(self, part: Tensor) -> Tensor:
        """At most ``rows`` of something, filled up to as many with zeros."""
        return torch.cat((part, part.new_zeros(self.rows - part.shape[0], *part.shape[1:])))
