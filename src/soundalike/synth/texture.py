"""Textures: many short sounds over a bed, which one knows by their statistics (McDermott and Simoncelli 2011)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from soundalike.core import random
from soundalike.synth.approximation import cosine
from soundalike.synth.control import Bank
from soundalike.synth.grains import STREAMS, Grains, Process
from soundalike.synth.hiss import Hiss
from soundalike.synth.parameter import ParameterSpec
from soundalike.synth.place import Place
from soundalike.synth.resonance import DECIBEL, Frames, tilted
from soundalike.synth.speech_targets import LEVELS
from soundalike.synth.target_voice import NOISE, Rendered, TargetVoice
from soundalike.synth.targets import Target, TargetSpec

_RATES = (1.5, 250.0)  # grains a second
_FASTER = 0.25  # octaves by which the grains of one take come faster or slower at most
_FIRST_NUMBERS = range(3 << 24, 1 << 26, 1 << 22)  # of a sound's noise, for the grains, their noise and the bed
_SEVERAL = "three grains or more are expected"
_FLAT_BELOW = 6.5  # log2 Hz, 91 Hz: a slope that went on to 0 Hz would put the bed where nobody hears it


def _knob(
    name: str, low: float, high: float, unit: str = "", curve: float = 1.0, group: str = "content"
) -> ParameterSpec:
    return ParameterSpec(name, low, high, curve, group=group, unit=unit)


def _logarithmic(name: str, low: float, high: float, unit: str) -> ParameterSpec:
    return _knob(name, math.log2(low), math.log2(high), f"log2 {unit}")


_GRAINS = (
    _knob("tonal", -20.0, 16.0, "logit", group="kind"),
    _knob("regularity", -12.0, 8.0, "logit", group="kind"),
    _logarithmic("rate", *_RATES, "Hz"),
    _logarithmic("length", 0.003, 0.4, "s"),
    _knob("rise", 0.02, 0.6, "", 0.5),
    _logarithmic("centre", 120.0, 6500.0, "Hz"),
    _logarithmic("width", 0.05, 1.5, "octaves"),
    ParameterSpec("sweep", -1.5, 1.5, 0.5, True, "content", "octaves"),
    _knob("harmonics", 0.0, 0.9),
    _knob("depth", 0.0, 36.0, "dB"),
    _knob("spread", 0.0, 1.0, "octaves", 0.5),
    _knob("swell", 0.0, 40.0, "dB", 0.25),
)
_BED = (
    _knob("level", -45.0, 10.0, "dB"),
    _knob("tilt", -12.0, 3.0, "dB/octave"),
    _knob("peak", 0.0, 30.0, "dB", 0.5),
    _logarithmic("centre", 150.0, 5000.0, "Hz"),
    _logarithmic("width", 0.1, 1.5, "octaves"),
    _knob("swell", 0.0, 40.0, "dB", 0.25),
    _logarithmic("swell.rate", 0.6, 30.0, "Hz"),
)
_PLAYED = (
    _knob("faster", -_FASTER, _FASTER, "octaves", group="play"),
    _knob("higher", -0.15, 0.15, "octaves", group="play"),
    _knob("swell", -math.pi, math.pi, "rad", group="phase"),
)


class Texture(TargetVoice):
    """Grains over a bed: rain, wind, fire, engines, insects, birds, steps. What is known are their statistics.

    Grains are tones that may sweep, or noise of a band that may move; they come at a rate, with a regularity, differ
    in level and frequency, and overlap. The bed is noise with a slope and a peak. Both may swell. The noise seed
    decides where each grain falls: two seeds of a patch are two takes of one texture.

    - ``kind``: whether grains are tones, and whether they come like a clock or as they like. Switches.
    - ``content``: the statistics: rate, length, frequency, width, sweep, spread, and the bed.
    - ``play``: a little faster and higher. ``phase``: of the swell. ``room``: the `Place`.

    The level of the bed is that of its root mean square against that of all grains, as expected, not as they fall.

    Args:
        sample_rate: samples a second.
        seconds: length of every sound.
        control_rate: control points a second.
        peak: ``own``, ``first`` or ``none``, as in `Synthesizer`.
    """

    MOST_ROWS = 64
    COMPILED = ("_begun", "_played", "_grain_hiss", "_overlapped", "_bed", "_mix")

    draws: Tensor
    whites: Tensor
    octaves: Tensor
    at: Tensor
    sloped: Tensor

    def __init__(
        self, sample_rate: int = 16_000, seconds: float = 1.0, control_rate: float = 480.0, peak: str = "own"
    ) -> None:
        super().__init__(sample_rate, seconds, control_rate, peak)
        first, second, third = _FIRST_NUMBERS[:3]
        self.process = Process(self.grid, _RATES[1] * 2.0**_FASTER)
        self.frames = Frames(self.samples, sample_rate)
        self.hiss = Hiss(self.samples, sample_rate, third)
        self.grains, self.bed, self.played = (
            Bank(("grains",), _GRAINS),
            Bank(("bed",), _BED),
            Bank(("played",), _PLAYED),
        )
        self.place = Place(self.samples, sample_rate)
        self.assemble(self.grains, self.bed, self.played, self.place)
        frames, bins = self.frames.count, self.frames.hop + 1

        def buffer(name: str, value: Tensor) -> None:
            self.register_buffer(name, value, persistent=False)

        buffer("draws", random.positions(self.process.draws, start=first))
        buffer("whites", random.positions(2 * frames * bins, start=second).unflatten(0, (frames, 2 * bins)))
        buffer("octaves", self.frames.octaves.repeat_interleave(2))  # of real and imaginary parts by turns
        buffer("at", torch.arange(frames, dtype=torch.float32) * self.frames.hop)  # samples, of the frames' middles
        buffer("sloped", self.hiss.octaves.clamp(min=_FLAT_BELOW))

    def rate(self, units: Tensor) -> Tensor:
        """Grains a second: (n, size) -> (n, 1)."""
        return torch.exp2(self.grains.named(units)["rate"] + self.played.named(units)["faster"])

    def length(self, units: Tensor) -> Tensor:
        """Seconds that a grain lasts, (n, 1): less than its knob says where its stream needs it sooner as a rule."""
        length = torch.exp2(self.grains.named(units)["length"])
        return length * (1.0 + (length * self.rate(units) / STREAMS) ** 4) ** -0.25

    def fallen(self, units: Tensor, noise: Tensor) -> Grains:
        """The grains of n sounds.

        Args:
            units: (n, size).
            noise: a key for each sound, int32 (n,), or a waveform in [-1, 1] to take random numbers of, (n, samples).
        """
        grains = self.grains.named(units)  # (n, 1) each
        if noise.dim() == 1:
            drawn = random.noise_at(noise, self.draws)
        else:
            drawn = noise[:, torch.arange(len(self.draws), device=noise.device) % self.samples]
        onset, quiet, other = self.process.fall(
            0.5 + 0.5 * drawn.to(units), self.rate(units), torch.sigmoid(grains["regularity"])
        )
        octave = grains["centre"] + self.played.named(units)["higher"] + grains["spread"] * (2.0 * other - 1.0)
        tones = self.process.tones(octave, grains["sweep"], grains["harmonics"])
        return Grains(onset, torch.exp(-DECIBEL * grains["depth"] * quiet), octave, *tones)

    def control(self, units: Tensor, time: Tensor) -> tuple[Tensor, ...]:
        """What the grains of a sound have in common, and the bed.

        Returns:
            - curves (n, 3, 2, segments): amplitudes of tones, of the noise of grains and of the bed;
            - three numbers as `Process.play` takes them, five as `_grain_hiss` does, four as `_bed` does, (n, 1) each.
        """
        grains, bed, played = (bank.named(units) for bank in (self.grains, self.bed, self.played))  # (n, 1) each
        length, rise = self.length(units), grains["rise"]
        samples = (length * self.sample_rate).clamp(min=4.0)
        # mean square of all grains, as expected: of their envelopes, and of levels that are spread evenly over depth
        apart = 2.0 * DECIBEL * grains["depth"]
        mean = torch.where(apart > 1e-3, -torch.expm1(-apart) / apart.clamp(min=1e-3), 1.0)
        mean = mean * self.rate(units) * length * (rise / 3.0 + (1.0 - rise) / 7.0)
        harmonics = grains["harmonics"].square()
        tone = (2.0 * torch.sigmoid(grains["tonal"]) / (mean * (1.0 + harmonics + harmonics.square()))).sqrt()
        hiss = (torch.sigmoid(-grains["tonal"]) / mean).sqrt()
        cycles = torch.exp2(bed["swell.rate"] + played["faster"]) * time + played["swell"] / (2.0 * math.pi)
        wave = 0.5 + 0.5 * cosine(cycles)  # (n, points)
        swell = torch.exp(-DECIBEL * grains["swell"] * wave)
        curves = (tone * swell, hiss * swell, torch.exp(DECIBEL * (bed["level"] - bed["swell"] * wave)))
        return (
            self.grid.line(torch.stack(curves, dim=1)),
            1.0 / (samples * (1.0 - rise)),
            1.0 / (samples * rise),
            0.5 * (torch.exp2(grains["sweep"]) - 1.0) / samples,
            1.0 / samples,
            samples / (2.0 * self.frames.hop),
            samples / (samples + self.frames.hop),
            grains["sweep"],
            torch.exp2(-grains["width"]),
            bed["tilt"],
            bed["peak"],
            bed["centre"],
            torch.exp2(-bed["width"]),
        )

    def _begun(self, patch: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """Units, grains and `control`."""
        units = self.table.to_units(patch)
        return units, *self.fallen(units, noise), *self.control(units, self._control_times(patch))

    def _grain_hiss(
        self,
        grains: Grains,
        shrink: Tensor,
        near: Tensor,
        later: Tensor,
        sweep: Tensor,
        narrow: Tensor,
        noise: Tensor,
    ) -> Tensor:
        """Spectra of noise of mean square 1 in the band of the grains that are heard in each frame.

        Args:
            grains: of the sounds.
            shrink: inverse of their length in samples, (n, 1), like the next ones of `control`.
            near: length over the two hops of a frame.
            later: length over that until the last frame that meets a grain.
            sweep: octaves.
            narrow: inverse of half the width in octaves.
            noise: keys (n,), or numbers of variance 1/3, (n, frames, 2 bins).

        Returns:
            Real and imaginary parts by turns, (n, frames, 2 bins).
        """
        through = (self.at[:, None] - grains.onset[:, None]) * shrink[..., None]  # (n, frames, grains)
        # from the first frame that reaches into a grain to the last one, the older the quieter
        begun = (0.5 + through * near[..., None]).clamp(0.0, 1.0)
        left = (1.0 - through * later[..., None]).clamp(0.0, 1.0)
        weight = begun * left.pow(3) * grains.amplitude[:, None].square() + 1e-6
        moved = grains.octave[:, None] + sweep[..., None] * through.clamp(0.0, 1.0)
        centre = (weight * moved).sum(2, keepdim=True) / weight.sum(2, keepdim=True)  # (n, frames, 1)
        gain = 1.0 / (1.0 + ((self.octaves - centre) * narrow[..., None]).square())
        if noise.dim() == 1:
            noise = random.noise_at(noise, self.whites).to(gain)
        power = 0.5 * gain.square().sum(2, keepdim=True) + 1e-3
        return noise * gain * (power.rsqrt() * (2.0 * self.frames.hop * math.sqrt(0.75)))

    def _bed(self, tilt: Tensor, peak: Tensor, centre: Tensor, narrow: Tensor, noise: Tensor) -> Tensor:
        """Spectra of the bed, (n, numbers): what `control` says of it, and the noise as `Hiss` takes it."""
        apart = (self.hiss.octaves - centre) * narrow
        decibels = tilted(tilt[:, 0], self.sloped) + peak / (1.0 + apart.square())
        return self.hiss.coloured(noise, torch.exp(DECIBEL * decibels))

    def _mix(
        self,
        played: tuple[Tensor, ...],
        curves: Tensor,
        shrink: Tensor,
        rise: Tensor,
        bend: Tensor,
        hiss: Tensor,
        bed: Tensor,
    ) -> Tensor:
        """Tones and noise before their place, (n, 2, samples): grains, what they have in common, and steady noise."""
        tone, hissing, under = self.grid.evaluate(curves)
        tones, amplitudes = self.process.play(played, shrink, rise, bend)
        noise = amplitudes * hissing * self.grid.blocked(hiss) + under * self.grid.blocked(bed)
        return torch.stack((tones * tone, noise), dim=1).flatten(2)[..., : self.samples]

    def _played(self, *grains: Tensor) -> tuple[Tensor, ...]:
        """What `Process.play` reads off, of the grains' numbers."""
        played: tuple[Tensor, ...] = self.process.played(Grains(*grains))
        return played

    def _overlapped(self, frames: Tensor) -> Tensor:
        """As `Frames.overlapped`."""
        return self.frames.overlapped(frames)

    def _rendered(self, patch: Tensor, noise: Tensor) -> Rendered:
        noise = noise if noise.dim() == 1 else self.grid.waveform(noise)
        units, *rest = self._begun(patch, noise)
        grains, (curves, shrink, rise, bend), moving, below = Grains(*rest[:6]), rest[6:10], rest[10:15], rest[15:]
        white = noise
        if noise.dim() != 1:
            spectra = self.frames.spectra(noise.to(patch)) * self.frames.hop**-0.5
            white = torch.view_as_real(spectra).flatten(2)
        numbers = self._grain_hiss(grains, *moving, white).unflatten(2, (-1, 2))  # type: ignore[call-arg]
        hiss = self._overlapped(torch.fft.irfft(torch.view_as_complex(numbers), 2 * self.frames.hop))
        under = self.hiss.sound(self._bed(*below, self.hiss.white(noise, units)))  # type: ignore[call-arg]
        parts = self._mix(self._played(*grains), curves, shrink, rise, bend, hiss, under)
        return self._finished(units, parts, noise)

    @property
    def target_specs(self) -> tuple[TargetSpec, ...]:
        """What is known: per step levels and share of noise; of the sound its statistics, as they are played."""
        return (
            LEVELS,
            NOISE,
            TargetSpec("tonal", "", "sound", centre=0.45, spread=0.5),
            TargetSpec("rate", "log2 Hz", "sound", centre=4.3, spread=2.1),
            TargetSpec("regularity", "", "sound", centre=0.4, spread=0.4, where=_SEVERAL),
            TargetSpec("length", "log2 s", "sound", centre=-5.0, spread=1.9),
            TargetSpec("rise", "", "sound", centre=0.2, spread=0.17),
            TargetSpec("centre", "log2 Hz", "sound", centre=9.8, spread=1.65),
            TargetSpec("width", "log2 octaves", "sound", centre=-1.9, spread=1.4, where="grains are noise"),
            TargetSpec("sweep", "octaves", "sound", centre=0.0, spread=0.7),
            TargetSpec("spread", "octaves", "sound", centre=0.33, spread=0.3, where=_SEVERAL),
            TargetSpec("depth", "dB", "sound", centre=18.0, spread=10.0, where=_SEVERAL),
            TargetSpec("bed", "dB", "sound", centre=-17.0, spread=16.0),
            TargetSpec("bed_tilt", "dB/octave", "sound", centre=-4.5, spread=4.3, where="the bed is above -30 dB"),
            TargetSpec("swell", "dB", "sound", size=2, centre=8.0, spread=10.0),
            TargetSpec("swell_rate", "log2 Hz", "sound", centre=2.1, spread=1.6, where="something swells by 6 dB"),
        )

    def _known(self, rendered: Rendered) -> dict[str, Target]:
        grains, bed, played = (bank.named(rendered.units) for bank in (self.grains, self.bed, self.played))
        tonal, rate = torch.sigmoid(grains["tonal"]), self.rate(rendered.units)
        swell = torch.cat((grains["swell"], bed["swell"]), dim=1)
        numbers = {
            "tonal": tonal,
            "rate": torch.log2(rate),
            "regularity": torch.sigmoid(grains["regularity"]),
            "length": torch.log2(self.length(rendered.units)),
            "centre": grains["centre"] + played["higher"],
            "bed": bed["level"],
            "bed_tilt": bed["tilt"],
            "swell": swell,
            "swell_rate": bed["swell.rate"] + played["faster"],
        } | {name: grains[name] for name in ("rise", "width", "sweep", "spread", "depth")}
        always = torch.ones_like(tonal, dtype=torch.bool)
        masks = dict.fromkeys(("regularity", "spread", "depth"), rate * self.seconds >= 3.0)
        masks |= {"width": tonal < 0.5, "bed_tilt": bed["level"] > -30.0}
        masks["swell_rate"] = swell.amax(1, keepdim=True) >= 6.0
        sounds = {name: Target(value, masks.get(name, always)[:, 0]) for name, value in numbers.items()}
        return self.meter.common(rendered.parts)[0] | sounds
