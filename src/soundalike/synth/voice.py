"""Voices: graphs of modules that turn a patch into a sound. A new voice is a new graph, two dozen lines."""

from __future__ import annotations

import torch
from torch import Tensor

from soundalike.core.errors import SoundalikeError
from soundalike.synth.control import ModulationSection
from soundalike.synth.grid import HIGHEST_MIDI
from soundalike.synth.oscillator import FmVCO, Mixer, SineVCO, SquareSawVCO, phases, pitches
from soundalike.synth.scene_targets import Sources
from soundalike.synth.synthesizer import Synthesizer

_MEAN_SQUARES = (0.5, 0.7, 1.0 / 3.0)  # of a sine, of a square-saw, about, and of noise, at level 1

_MOST_OSCILLATORS = 64  # of which each is moved by each: a thousand would fill the memory


class Voice(Synthesizer):
    """A sine and a square-saw oscillator with noise, two envelopes and two LFOs: 78 knobs.

    The Voice of torchsynth and SynthAX; the one that the Doppelgängers paper finds best.

    Args:
        sample_rate: samples a second.
        seconds: length of every sound.
        control_rate: control points a second.
        peak: ``own``, ``first`` or ``none``, as in `Synthesizer`.
        noise_curve: curve of the noise's level: 1 as SynthAX renders, 0.025 for torchsynth.
    """

    mean_squares: Tensor

    def __init__(
        self,
        sample_rate: int = 16_000,
        seconds: float = 1.0,
        control_rate: float = 480.0,
        peak: str = "own",
        noise_curve: float = 1.0,
    ) -> None:
        super().__init__(sample_rate, seconds, control_rate, peak)
        self.register_buffer("mean_squares", torch.tensor(_MEAN_SQUARES)[:, None], persistent=False)
        self.section = ModulationSection(pairs=2, oscillators=2)
        self.vco_1, self.vco_2 = SineVCO("vco_1"), SquareSawVCO("vco_2")
        self.mixer = Mixer("mixer", 3, noise_curve)
        self.assemble(*self.section.banks, self.vco_1, self.vco_2, self.mixer)

    def control(self, units: Tensor, time: Tensor) -> tuple[Tensor, ...]:
        """vco_1 and vco_2, each with a modulated pitch and amplitude, and noise with a modulated amplitude."""
        midi, pitch, amplitude, hiss = self.section(units, time, self.control_rate)
        return (
            self.vco_2.steepness(units, midi[:, 1:]),
            phases((self.vco_1, self.vco_2), units, midi, pitch, self.grid),
            self.grid.line(amplitude),
            self.grid.line(hiss),
        )

    def audio(self, units: Tensor, control: tuple[Tensor, ...], noise: Tensor) -> Tensor:
        """The mix of both oscillators and the noise."""
        steepness, *curves = control
        phase_1, phase_2, amp_1, amp_2, hiss = self.grid.evaluate(*curves)
        sine = self.vco_1(phase_1) * amp_1
        square = self.vco_2(units, steepness, phase_2) * amp_2
        return self.mixer(units, [sine, square, noise * hiss])

    def sources(self, patch: Tensor) -> Sources:
        """Pitch and energy of both oscillators and energy of the noise, of patches (n, size)."""
        units = self.table.to_units(patch)
        midi, moved, amplitude, hiss = self.section(units, self._control_times(patch), self.control_rate)
        pitch = pitches((self.vco_1, self.vco_2), units, midi, moved).clamp(0.0, HIGHEST_MIDI)
        level = torch.cat((amplitude, hiss), dim=1) * torch.cat(self.mixer.read(units), dim=1)[..., None]
        return Sources(pitch, level.square() * self.mean_squares.to(level))


class VoiceFM(Synthesizer):
    """A sine, a square-saw and an FM pair with noise, three envelopes and three LFOs: 130 knobs.

    SynthAX's VoiceExpanded, the paper's VoiceFM.

    Args:
        sample_rate: samples a second.
        seconds: length of every sound.
        control_rate: control points a second.
        peak: ``own``, ``first`` or ``none``, as in `Synthesizer`.
        noise_curve: curve of the noise's level.
    """

    def __init__(
        self,
        sample_rate: int = 16_000,
        seconds: float = 1.0,
        control_rate: float = 480.0,
        peak: str = "own",
        noise_curve: float = 1.0,
    ) -> None:
        super().__init__(sample_rate, seconds, control_rate, peak)
        self.section = ModulationSection(pairs=3, oscillators=3)
        self.vco_1, self.vco_2 = SineVCO("vco_1"), SquareSawVCO("vco_2")
        self.vco_3, self.vco_4 = SineVCO("vco_3"), FmVCO("vco_4")
        self.mixer = Mixer("mixer", 4, noise_curve)
        self.assemble(*self.section.banks, self.vco_1, self.vco_2, self.vco_3, self.vco_4, self.mixer)

    def control(self, units: Tensor, time: Tensor) -> tuple[Tensor, ...]:
        """As in `Voice`, and for vco_3, which moves vco_4."""
        midi, pitch, amplitude, hiss = self.section(units, time, self.control_rate)
        return (
            self.vco_2.steepness(units, midi[:, 1:2]),
            self.vco_4.carrier(units, midi[:, 2:]),
            phases((self.vco_1, self.vco_2, self.vco_3), units, midi, pitch, self.grid),
            self.grid.line(amplitude),
            self.grid.line(hiss),
        )

    def audio(self, units: Tensor, control: tuple[Tensor, ...], noise: Tensor) -> Tensor:
        """The mix of vco_1, vco_2, vco_4, whose frequency vco_3 moves, and the noise."""
        steepness, carrier, *curves = control
        phase_1, phase_2, phase_3, amp_1, amp_2, amp_3, hiss = self.grid.evaluate(*curves)
        sine = self.vco_1(phase_1) * amp_1
        square = self.vco_2(units, steepness, phase_2) * amp_2
        fm = self.vco_4(units, carrier, self.vco_3(phase_3) * amp_3, self.grid)
        return self.mixer(units, [sine, square, fm, noise * hiss])


class Parametric(Synthesizer):
    """Any number of oscillators of four kinds, each with its own keyboard, envelope and LFO, and noise.

    SynthAX's ParametricSynth; the default has 340 knobs.

    Args:
        sine: how many sine oscillators.
        square_saw: how many square-saw oscillators.
        fm_sine: how many FM pairs with a sine as modulator.
        fm_square_saw: how many FM pairs with a square-saw as modulator.
        sample_rate: samples a second.
        seconds: length of every sound.
        control_rate: control points a second.
        peak: ``own``, ``first`` or ``none``, as in `Synthesizer`.
        noise_curve: curve of the noise's level.
    """

    def __init__(
        self,
        sine: int = 2,
        square_saw: int = 2,
        fm_sine: int = 1,
        fm_square_saw: int = 1,
        sample_rate: int = 16_000,
        seconds: float = 1.0,
        control_rate: float = 480.0,
        peak: str = "own",
        noise_curve: float = 1.0,
    ) -> None:
        super().__init__(sample_rate, seconds, control_rate, peak)
        counts = (sine, square_saw, fm_sine, fm_square_saw)
        if any(not isinstance(n, int) or n < 0 for n in counts) or sum(counts) == 0:
            raise SoundalikeError(
                f"sine, square_saw, fm_sine, fm_square_saw are {counts}: give whole numbers, at least one above 0."
            )
        number = sum(counts)
        if number > _MOST_OSCILLATORS:
            raise SoundalikeError(
                f"sine, square_saw, fm_sine, fm_square_saw are {counts}: give at most {_MOST_OSCILLATORS} in all."
            )
        self.section = ModulationSection(number, number, keyboards=number)
        kinds: list[type[SineVCO] | type[SquareSawVCO]] = (
            [SineVCO] * sine + [SquareSawVCO] * square_saw + [SineVCO] * fm_sine + [SquareSawVCO] * fm_square_saw
        )
        self.vcos = [kind(f"vco_{i}") for i, kind in enumerate(kinds, start=1)]
        self.audible = sine + square_saw  # the others move a carrier each
        self.carriers = [FmVCO(f"vco_{i}") for i in range(number + 1, 2 * number + 1 - self.audible)]
        self.mixer = Mixer("mixer", number + 1, noise_curve)
        self.assemble(*self.section.banks, *self.vcos, *self.carriers, self.mixer)

    def control(self, units: Tensor, time: Tensor) -> tuple[Tensor, ...]:
        """Steepness of the squares, carriers of the FM pairs, and phase and amplitude of every oscillator."""
        midi, pitch, amplitude, hiss = self.section(units, time, self.control_rate)
        notes, none = midi.split(1, dim=1), midi[:, :0]
        squares = zip(self.vcos, notes, strict=True)
        pairs = zip(self.carriers, notes[self.audible :], strict=True)
        return (
            torch.cat(
                [none, *(vco.steepness(units, n) for vco, n in squares if isinstance(vco, SquareSawVCO))], dim=1
            ),
            torch.cat([none, *(carrier.carrier(units, n) for carrier, n in pairs)], dim=1),
            phases(self.vcos, units, midi, pitch, self.grid),
            self.grid.line(amplitude),
            self.grid.line(hiss),
        )

    def audio(self, units: Tensor, control: tuple[Tensor, ...], noise: Tensor) -> Tensor:
        """The mix of every oscillator; those of FM pairs move their carrier."""
        steepness, carrier = (iter(numbers.split(1, dim=1)) for numbers in control[:2])
        *curves, hiss = self.grid.evaluate(*control[2:])
        count = len(self.vcos)
        sounds = []
        for vco, phase, amplitude in zip(self.vcos, curves[:count], curves[count:], strict=True):
            wave = vco(units, next(steepness), phase) if isinstance(vco, SquareSawVCO) else vco(phase)
            sounds.append(wave * amplitude)
        modulators = zip(self.carriers, sounds[self.audible :], strict=True)
        fm = [vco(units, next(carrier), modulator, self.grid) for vco, modulator in modulators]
        return self.mixer(units, [*sounds[: self.audible], *fm, noise * hiss])


INSTRUMENTS: dict[str, type[Synthesizer]] = {"voice": Voice, "voice-fm": VoiceFM, "parametric": Parametric}
"""Voices that make one sound, by the name that recipes and commands use."""
