"""Mouths: syllables that nobody said, from speakers that nobody met."""

from __future__ import annotations

import math
import sys
from typing import NamedTuple, Self

import torch
from torch import Tensor

from soundalike.core import random
from soundalike.core.compile import compiled
from soundalike.core.errors import SoundalikeError
from soundalike.synth.control import Bank
from soundalike.synth.gestures import Gestures
from soundalike.synth.glottis import Manner, Speaker, melody, pulses
from soundalike.synth.parameter import ParameterSpec
from soundalike.synth.place import Place
from soundalike.synth.resonance import Frames
from soundalike.synth.segments import Segments, Utterance
from soundalike.synth.speech_targets import LEVELS, SPECS, SpeechTargets
from soundalike.synth.synthesizer import Synthesizer
from soundalike.synth.targets import Target, TargetSpec, pack
from soundalike.synth.tract import Shape, Tract

_FIRST_NUMBER = 1 << 27  # of a sound's noise that is drawn once for it, or for each control point
_LONGER, _ELSEWHERE = 0.18, 0.08  # nepers and octaves by which a variable speaker's segments and formants vary at most
_ROWS = 64  # sounds rendered at once, compiled
_SILENCE = 1e-16  # mean square below which noise is none


class Mouth(Synthesizer):
    """A formant synthesizer that says syllables: what is said, who says it and where it is heard are groups of knobs.

    Up to six segments follow one another: consonants (fricatives, stops, nasals, glides) and vowels by turns, any of
    which may miss. A pulse of the glottis and noise pass through the formants of a tract that moves smoothly from
    segment to segment; noise of a passage in the mouth joins them. After Klatt, "Software for a cascade/parallel
    formant synthesizer", 1980; Fant 1960; Rosenberg 1971.

    - ``kind``: which kind each segment is, and how many there are. These knobs are switches.
    - ``content``: formants, voicing, noise, stress and length of each segment.
    - ``speaker``: length of the tract, pitch and melody, pulse, breath, rate and precision of speech.
    - ``envelope``: when it begins. ``room``: the `Place`.

    Args:
        segments: how many there are at most, at least 1; six fit a second.
        sample_rate: samples a second.
        seconds: length of every sound.
        control_rate: control points a second.
        peak: ``own``, ``first`` or ``none``, as in `Synthesizer`.

    Raises:
        SoundalikeError: there is no segment, or a clock is out of its range.
    """

    draws: Tensor
    centres: Tensor
    nearby: Tensor

    def __init__(
        self,
        segments: int = 6,
        sample_rate: int = 16_000,
        seconds: float = 1.0,
        control_rate: float = 240.0,
        peak: str = "own",
    ) -> None:
        super().__init__(sample_rate, seconds, control_rate, peak)
        if isinstance(segments, bool) or not isinstance(segments, int) or segments < 1:
            raise SoundalikeError(f"segments is {segments!r}: give a whole number of at least 1.")
        self.count, self._rows = segments, sys.maxsize
        self.frames = Frames(self.samples, sample_rate)
        self.tract = Tract(self.frames)
        self.segments = Segments(segments)
        self.speaker = Speaker()
        fewest = min(3, segments)
        self.word = Bank(
            ("word",),
            (
                ParameterSpec("segments", fewest, segments + 1.0, group="kind"),  # rounded down
                ParameterSpec("onset", 0.0, 1.0, group="envelope"),
            ),
        )
        self.known = SpeechTargets(self.frames, self.seconds)
        self.place = Place(self.samples, sample_rate)
        self.assemble(self.word, self.segments, self.speaker, self.place)
        # for each segment its length and three formants; the phase; and for each control point jitter and shimmer
        count = 4 * segments + 1 + 2 * self.points
        self.register_buffer("draws", random.positions(count, start=_FIRST_NUMBER), persistent=False)
        centres = torch.arange(self.frames.count) * (self.frames.hop / sample_rate)
        self.register_buffer("centres", centres, persistent=False)  # seconds of the frames, (frames,)
        # what each control point weighs in the energy of each frame, as much as in its window, (points, frames)
        apart = (torch.arange(self.points)[:, None] / control_rate - centres) * (sample_rate / self.frames.hop)
        weight = (0.5 + 0.5 * torch.cos(math.pi * apart.clamp(-1.0, 1.0))).clamp(min=1e-9)
        self.register_buffer("nearby", weight / weight.sum(0), persistent=False)

    def utterance(self, units: Tensor, drawn: Tensor) -> Utterance:
        """What is said, as this speaker says it this time.

        Args:
            units: (n, size).
            drawn: numbers in [-1, 1] that are drawn anew for each take, (n, 4 segments).
        """
        present, onset = self.word.read(units)
        speaker = self.speaker.named(units)
        length, *moved = drawn.chunk(4, dim=1)
        stretch = torch.exp(_LONGER * speaker["variability"] * length) * torch.exp2(-speaker["rate"])
        said = self.segments.utterance(units, present.floor(), stretch, onset, self.seconds)
        elsewhere = _ELSEWHERE * speaker["variability"][..., None] * torch.stack(moved, dim=1)
        return said._replace(formants=said.formants + elsewhere)

    def _drawn(self, noise: Tensor) -> Tensor:
        """Numbers in [-1, 1] for each sound, (n, draws), from its key or from its noise in blocks."""
        if noise.dim() == 1:
            return random.noise_at(noise, self.draws)
        return noise.flatten(1)[:, torch.arange(len(self.draws), device=noise.device) % self.samples]

    def _moves(self, gestures: Gestures, manner: Manner, overlap: Tensor, damping: Tensor, drawn: Tensor) -> Moves:
        """All that moves slowly."""
        phase, jitter, shimmer = drawn.split((1, self.points, self.points), dim=1)
        time, centres = self._control_times(drawn), self.centres.to(drawn)
        voice, aspiration, noise = gestures.amplitudes(time)
        asked = voice * torch.exp(manner.shimmer * shimmer)
        amplitudes = torch.stack((asked * manner.voice, aspiration + asked * manner.breath), dim=1)
        # (n, 1, 4, segments of the grid)
        phases = self.grid.glide((melody(manner, time, self.seconds) + manner.jitter * jitter)[:, None], phase)
        shape = self.tract.shape(
            gestures.tongue(centres, overlap),
            gestures.nose(centres),
            ((noise.square() @ self.nearby).clamp(min=_SILENCE).sqrt(), *gestures.passage(centres)),
            manner.shorter,
            damping,
        )
        lips = gestures.lips(time)
        return Moves(
            phases,
            self.grid.step / phases[:, :, 1:2].clamp(min=1e-3),
            self.grid.line(amplitudes),
            self.grid.line(lips[:, None]),
            lips.square() @ self.nearby,
            shape,
        )

    def _throat(self, manner: Manner, moves: Moves, noise: Tensor) -> Tensor:
        """What comes from the throat, (n, samples)."""
        if noise.dim() == 1:
            noise = random.noise_at(noise, self.positions).to(moves.phases)  # (n, blocks, length)
        cycles, period, voice, breath = self.grid.evaluate(moves.phases, moves.periods, moves.amplitudes)
        pulse, opened = pulses(manner, cycles, period)
        return self.grid.waveform(pulse * voice + noise * (breath * (0.7 + 1.6 * opened)))

    def _passed(self, throat: Tensor, hiss: Tensor, still: Tensor, shape: Shape) -> Tensor:
        """What of the throat's spectra and of noise comes to the lips."""
        return self.tract.passed(throat, hiss, still, shape)

    def _lips(self, frames: Tensor, lips: Tensor) -> Tensor:
        """What the lips let out, padded for its place, of what comes there in frames (n, frames, 2 hop)."""
        (opened,) = self.grid.evaluate(lips)
        assert self.place is not None
        return self.place.padded(self.frames.overlapped(frames) * self.grid.waveform(opened))

    def _levels(self, spectra: Tensor, opened: Tensor) -> Tensor:
        """Levels of the bands at every step, (n, steps BANDS)."""
        return self.known.levels(spectra, opened).flatten(1)

    @property
    def target_specs(self) -> tuple[TargetSpec, ...]:
        """What is said at each step, and who says it."""
        return *SPECS, LEVELS

    def _spoken(self, patch: Tensor, noise: Tensor, levels: bool = False) -> tuple[Tensor, Utterance, Tensor]:
        """Sounds (n, samples), behind them the levels of their bands where asked; what is said in them; and units.

        What is a number for each sound or segment is not compiled: it would be computed again for each sample.
        """
        assert self.place is not None
        units = self.table.to_units(patch)
        of_segments, drawn = self._drawn(noise).to(units).tensor_split((4 * self.count,), dim=1)
        said, manner, knob = self.utterance(units, of_segments), self.speaker.manner(units), self.speaker.named(units)
        gestures = Gestures.of(said)
        still = self.tract.still(manner.shorter, knob["damping"], knob["brightness"])
        sounds, count = [], len(patch)
        for start in range(0, count, min(count, self._rows)) if count else ():
            some = slice(start, start + self._rows)
            own, these = Manner(*(each[some] for each in manner)), Gestures(*(each[some] for each in gestures))
            moves = self._moves(these, own, knob["overlap"][some], knob["damping"][some], drawn[some])
            throat = _numbers(self.frames.spectra(self._throat(own, moves, noise[some])))
            waveform = noise[some] if noise.dim() == 1 else self.grid.waveform(noise[some])
            hiss = waveform if noise.dim() == 1 else _numbers(self.frames.spectra(waveform))
            passed = self._passed(throat, hiss, still[some], moves.shape)
            frames = torch.fft.irfft(torch.view_as_complex(passed.unflatten(-1, (-1, 2))), 2 * self.frames.hop)
            sound = self._scaled(self.place(units[some], self._lips(frames, moves.lips), waveform))
            sounds.append(torch.cat((sound, self._levels(passed, moves.opened)), dim=1) if levels else sound)
        return torch.cat(sounds) if len(sounds) > 1 else sounds[0], said, units

    def _render(self, patch: Tensor, noise: Tensor) -> Tensor:
        return self._spoken(patch, noise)[0]

    def _render_with_targets(self, patch: Tensor, noise: Tensor) -> Tensor:
        rows, said, units = self._spoken(patch, noise, levels=True)
        sound, levels = rows.tensor_split((self.samples,), dim=1)
        targets = self.known.known(said, self.speaker, units)
        levels = levels.unflatten(1, (-1, LEVELS.size))
        targets[LEVELS.name] = Target(levels, torch.ones_like(levels[..., 0], dtype=torch.bool))
        return torch.cat((sound, pack(self.target_specs, targets).to(sound)), dim=1)

    def _compiled_twin(self, rows: int) -> Self:
        twin = super()._compiled_twin(rows)
        for name in ("_moves", "_throat", "_passed", "_lips", "_levels", "_scaled"):
            setattr(twin, name, compiled(getattr(self, name), one_kernel=name == "_throat"))
        # as many at once as stay in the processor's cache, in parts of one size
        parts = -(-rows // _ROWS)
        twin._rows = rows // parts if rows % parts == 0 else rows
        return twin


class Moves(NamedTuple):
    """All that moves slowly in n sounds; curves as `Grid` has them."""

    phases: Tensor
    """Of the voice, (n, 1, 4, segments)."""
    periods: Tensor
    """Samples of a cycle, about, (n, 1, 1, segments)."""
    amplitudes: Tensor
    """Of pulses and breath, (n, 2, 2, segments)."""
    lips: Tensor
    """What the lips let out, (n, 1, 2, segments)."""
    opened: Tensor
    """The energy of it in each frame, (n, frames)."""
    shape: Shape
    """Of the tract."""


def _numbers(spectra: Tensor) -> Tensor:
    """Real and imaginary parts by turns, (..., bins) -> (..., 2 bins)."""
    return torch.view_as_real(spectra).flatten(-2)
