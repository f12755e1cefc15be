"""Bodies: struck, plucked, bowed, blown and drum-like sounds of a thing that is played once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from soundalike.synth.approximation import cosine
from soundalike.synth.control import Bank
from soundalike.synth.hiss import Hiss
from soundalike.synth.modal import DECAYED, Modes, Partials, read
from soundalike.synth.parameter import ParameterSpec
from soundalike.synth.place import Place
from soundalike.synth.resonance import DECIBEL
from soundalike.synth.scene_targets import BANDS, band_middles
from soundalike.synth.speech_targets import F0, LEVELS
from soundalike.synth.target_voice import NOISE, Rendered, TargetVoice
from soundalike.synth.targets import Target, TargetSpec, step_middles

PARTIALS = 32
RESONANCES = 5
_GLIDE = 1.0  # highest part of its pitch by which a body may start above it
_FALL = (0.008, 0.05)  # seconds within which it comes down
_HOLLOW_DB = 30.0  # by which even partials of a hollow body are quieter: a pipe closed at one end
_HARDER_DB = 5.0  # an octave: what the hardest hit adds to the slope of the partials
_HARDER_NOISE_DB = 8.0  # and to the noise of the hit
_NODE = 0.1  # what is left of a partial that is struck in its node
_FIRST_NUMBER = 1 << 26  # of a sound's noise that its hiss is made of


def _knob(
    name: str, low: float, high: float, unit: str = "", curve: float = 1.0, group: str = "content"
) -> ParameterSpec:
    return ParameterSpec(name, low, high, curve, group=group, unit=unit)


def _hertz(name: str, low: float, high: float) -> ParameterSpec:
    return _knob(name, math.log2(low), math.log2(high), "log2 Hz")


def _seconds(name: str, low: float, high: float) -> ParameterSpec:
    return _knob(name, math.log2(low), math.log2(high), "log2 s")


_BODY = (
    _knob("inharmonic", -20.0, 20.0, "logit", group="kind"),
    _knob("sustained", -24.0, 12.0, "logit", group="kind"),
    _knob("hollow", -20.0, 10.0, "logit", group="kind"),
    _hertz("register", 90.0, 900.0),
    _knob("range", 1.0, 14.0, "semitones"),
    _knob("stiffness", -6.0, -2.7, "log10"),
    _knob("spread", 0.7, 1.5),
    _knob("tilt", -13.0, -2.0, "dB/octave"),
    _seconds("decay", 0.08, 12.0),
    _knob("damping", 0.0, 1.3),
    _seconds("attack.struck", 0.001, 0.012),
    _seconds("attack.sustained", 0.015, 0.25),
    _seconds("release", 0.03, 2.0),
    _knob("glide", 0.0, _GLIDE, "", 0.15),
    _seconds("glide.time", *_FALL),
    _knob("tremolo", 0.0, 12.0, "dB", 0.3),
    _hertz("tremolo.rate", 3.0, 9.0),
    _knob("noise.level", -50.0, 0.0, "dB"),
    _hertz("noise.centre", 300.0, 7000.0),
    _knob("noise.width", 0.2, 2.0, "octaves"),
    _seconds("noise.decay", 0.03, 3.0),
)
_RESONANCE = (_hertz("centre", 200.0, 6500.0), _hertz("width", 60.0, 900.0), _knob("gain", -6.0, 18.0, "dB"))


class Body(TargetVoice):
    """A thing that is struck, plucked, bowed, blown or drummed on, once: what it is and how it is played are groups.

    Its sound is a sum of partials, harmonic, stiff or inharmonic, whose levels its resonances shape and which decay
    the faster the higher they are, and noise through the same resonances: of the hit, or of the bow or breath. After
    Fletcher and Rossing, "The physics of musical instruments", 1998; modal synthesis of Adrien 1991, van den Doel and
    Pai 1998.

    - ``kind``: whether the partials are inharmonic, whether they are sustained, whether even ones are weak. Switches.
    - ``content``: the body itself: register and range, partials, decay, attack, resonances, noise.
    - ``pitch``: where in its range it is played.
    - ``play``: how hard, where on the body, when and how long, with how much vibrato. ``phase``: of partials.
    - ``room``: the `Place`.

    The pitch is ``register`` plus ``played.pitch`` times ``range``. A harmonic partial number n stands at
    n √(1 + B n²) times the pitch, where ``stiffness`` is log10 B; inharmonic ones at ratios whose steps are knobs, to
    the power of ``spread``. The first partial falls by 60 dB within ``decay``, one r times as high r ** ``damping``
    times as fast.

    Args:
        sample_rate: samples a second.
        seconds: length of every sound.
        control_rate: control points a second.
        peak: ``own``, ``first`` or ``none``, as in `Synthesizer`.
    """

    MOST_ROWS = 64
    COMPILED = ("_factors", "_colour", "_mix")

    numbers: Tensor
    even: Tensor
    at: Tensor
    steps: Tensor
    middles: Tensor

    def __init__(
        self, sample_rate: int = 16_000, seconds: float = 1.0, control_rate: float = 480.0, peak: str = "own"
    ) -> None:
        super().__init__(sample_rate, seconds, control_rate, peak)
        ahead = math.ceil((_GLIDE * _FALL[1] + 0.02) * sample_rate)  # samples by which bends run ahead at most
        self.modes = Modes(self.samples + ahead, sample_rate)
        self.hiss = Hiss(self.samples, sample_rate, _FIRST_NUMBER)
        self.body = Bank(("body",), _BODY)
        numbers = range(1, PARTIALS + 1)
        self.spacings = Bank([f"mode_{k}" for k in numbers[1:]], (_knob("step", -2.7, 1.3, "log2"),))
        self.resonances = Bank([f"resonance_{k}" for k in range(1, RESONANCES + 1)], _RESONANCE)
        self.played = Bank(
            ("played",),
            (
                _knob("pitch", -1.0, 1.0, group="pitch"),
                _knob("hardness", -1.0, 1.0, group="play"),
                _knob("place", 0.03, 0.5, group="play"),
                _knob("onset", 0.0, 0.4 * self.seconds, "s", 0.67, "play"),
                _knob("length", 0.1 * self.seconds, 1.2 * self.seconds, "s", group="play"),
                _knob("vibrato", 0.0, 0.5, "semitones", 0.5, "play"),
                _knob("vibrato.rate", 3.0, 8.0, "Hz", group="play"),
                _knob("vibrato.phase", -math.pi, math.pi, "rad", group="phase"),
                _knob("tremolo.phase", -math.pi, math.pi, "rad", group="phase"),
            ),
        )
        phase = _knob("phase", -math.pi, math.pi, "rad", group="phase")
        self.phases = Bank([f"partial_{k}" for k in numbers], (phase,))
        self.place = Place(self.samples, sample_rate)
        self.assemble(self.body, self.spacings, self.resonances, self.played, self.phases, self.place)
        grid = self.grid
        number = torch.arange(1.0, PARTIALS + 1)

        def buffer(name: str, value: Tensor) -> None:
            self.register_buffer(name, value, persistent=False)

        buffer("numbers", number)
        buffer("even", (number % 2 == 0).float())
        buffer("at", torch.arange(grid.blocks * grid.length, dtype=torch.float32).unflatten(0, (grid.blocks, -1)))
        buffer("steps", step_middles(self.seconds))  # seconds, (steps,)
        buffer("middles", band_middles())  # log2 Hz, (BANDS,)

    def control(self, units: Tensor, time: Tensor) -> tuple[Tensor, ...]:
        """Its partials, what filters its noise, and how it is played.

        Returns:
            - the four fields of `Partials`;
            - centre in Hz, inverse of the width, and gain of each resonance, (n, resonances) each;
            - centre in octaves and inverse of the width of the noise, (n, 1) each;
            - onset in samples, and inverse of the attack's length in samples, (n, 1) each;
            - curves (n, 3, 2, segments): samples by which bends have run ahead, and amplitudes of partials and noise.
        """
        body, played = self.body.named(units), self.played.named(units)  # (n, 1) each
        since = (time - played["onset"]).clamp(min=-1.0 / self.control_rate)  # (n, points)
        release = -DECAYED * torch.exp2(-body["release"]) * (since - played["length"]).clamp(min=0.0)
        wave = 0.5 + 0.5 * cosine(torch.exp2(body["tremolo.rate"]) * since + played["tremolo.phase"] / (2.0 * math.pi))
        level = body["noise.level"] + _HARDER_NOISE_DB * played["hardness"]
        fading = torch.sigmoid(-body["sustained"]) * DECAYED * torch.exp2(-body["noise.decay"]) * since
        rate, start, depth = self._vibrato(units)
        fall = torch.exp2(body["glide.time"])
        ahead = depth / (2.0 * math.pi * rate) * (cosine(start) - cosine(start + rate * since))
        ahead = ahead + body["glide"] * fall * (1.0 - torch.exp(-since / fall))
        curves = (
            self.sample_rate * ahead,
            torch.exp(release - DECIBEL * body["tremolo"] * wave),
            torch.exp(release + DECIBEL * level - fading),
        )
        attack = torch.exp2(-self._attack(units)) / self.sample_rate
        return (
            *self.partials(units),
            *self._resonances(units),
            body["noise.centre"],
            1.0 / body["noise.width"],
            self.sample_rate * played["onset"],
            attack.clamp(max=1.0),
            self.grid.line(torch.stack(curves, dim=1)),
        )

    def partials(self, units: Tensor) -> Partials:
        """The partials of n bodies as they are played, before their attack.

        Args:
            units: (n, size).

        Returns:
            Of mean square 1 together at the beginning, however many of them pass half the sample rate.
        """
        body, played = self.body.named(units), self.played.named(units)  # (n, 1) each
        ratio = self.ratios(units)  # (n, partials)
        octaves = torch.log2(ratio)
        hertz = torch.exp2(self.pitch(units)) * ratio
        decibels = resonating(hertz, *self._resonances(units)) + octaves * (
            body["tilt"] + _HARDER_DB * played["hardness"]
        )
        decibels = decibels - _HOLLOW_DB * torch.sigmoid(body["hollow"]) * self.even
        node = 1.0 - cosine(ratio * played["place"])  # twice the squared sine: no deflection, no partial
        highest = hertz * (1.0 + body["glide"]) / (0.5 * self.sample_rate)
        amplitude = torch.exp(DECIBEL * decibels) * (node + _NODE).sqrt() * (10.0 * (0.98 - highest)).clamp(0.0, 1.0)
        amplitude = amplitude / (0.5 * amplitude.square().sum(1, keepdim=True) + 1e-12).sqrt()
        rate = torch.sigmoid(-body["sustained"]) * DECAYED * torch.exp2(body["damping"] * octaves - body["decay"])
        return Partials(hertz, amplitude, rate, self.phases.knobs(units)[..., 0] / (2.0 * math.pi))

    def pitch(self, units: Tensor) -> Tensor:
        """log2 Hz at which bodies are played, without what bends it: (n, size) -> (n, 1)."""
        body = self.body.named(units)
        return body["register"] + self.played.named(units)["pitch"] * body["range"] / 12.0

    def ratios(self, units: Tensor) -> Tensor:
        """Frequencies of the partials as multiples of the pitch: (n, size) -> (n, partials)."""
        body = self.body.named(units)
        stretched = 1.0 + torch.pow(10.0, body["stiffness"]) * self.numbers.square()
        harmonic = torch.log(self.numbers) + 0.5 * torch.log(stretched)
        steps = torch.exp2(self.spacings.knobs(units)[..., 0])
        modes = torch.log(1.0 + torch.nn.functional.pad(steps.cumsum(1), (1, 0))) * body["spread"]
        return torch.exp(torch.lerp(harmonic, modes, torch.sigmoid(body["inharmonic"])))

    def _attack(self, units: Tensor) -> Tensor:
        """log2 s until the sound is there, (n, 1); a harder hit is there sooner."""
        body = self.body.named(units)
        struck = body["attack.struck"] - self.played.named(units)["hardness"]
        return torch.lerp(struck, body["attack.sustained"], torch.sigmoid(body["sustained"]))

    def _resonances(self, units: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Centre in Hz, inverse of half the width in Hz, and gain in dB of the resonances, (n, resonances) each."""
        centre, width, gain = self.resonances.read(units)
        return torch.exp2(centre), torch.exp2(-width), gain

    def _vibrato(self, units: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rate in Hz, start in cycles, and part of the pitch by which it moves, of the vibrato, (n, 1) each."""
        played = self.played.named(units)
        depth = torch.sigmoid(self.body.named(units)["sustained"]) * (torch.exp2(played["vibrato"] / 12.0) - 1.0)
        return played["vibrato.rate"], played["vibrato.phase"] / (2.0 * math.pi), depth

    def _colour(
        self, centre: Tensor, narrow: Tensor, gain: Tensor, octave: Tensor, inverse: Tensor, noise: Tensor
    ) -> Tensor:
        """Spectra of the noise, (n, numbers): what `control` says of its filter, and the noise as `Hiss` takes it."""
        apart = (self.hiss.octaves - octave) * inverse
        decibels = resonating(self.hiss.hertz, centre, narrow, gain)
        return self.hiss.coloured(noise, torch.exp(DECIBEL * decibels) / (1.0 + apart.square()))

    def _mix(self, onset: Tensor, attack: Tensor, curves: Tensor, sum_: Tensor, slope: Tensor, hiss: Tensor) -> Tensor:
        """Partials and noise before their place.

        Args:
            onset: in samples, (n, 1).
            attack: inverse of its length in samples, (n, 1).
            curves: those of `control`.
            sum_: of the partials from the onset on, (n, any).
            slope: of that.
            hiss: steady noise, (n, samples).

        Returns:
            (n, 2, samples).
        """
        ahead, tone, hissing = self.grid.evaluate(curves)  # (n, blocks, length)
        onset = onset[..., None]
        whole = torch.floor(onset)
        moved = ahead - (onset - whole)
        step = torch.floor(moved)
        index = (self.at - whole + step).long().clamp(0, sum_.shape[1] - 2)
        silent = 1.0 - ((self.at - onset) * attack[..., None]).clamp(0.0, 1.0)
        risen = 1.0 - silent.square()
        tone = tone * read(sum_, slope, index, moved - step)
        parts = torch.stack((risen * tone, risen * hissing * self.grid.blocked(hiss)), dim=1)
        return parts.flatten(2)[..., : self.samples]

    def _factors(self, *partials: Tensor) -> tuple[Tensor, ...]:
        """What `Modes.sums` adds up, of the partials' numbers."""
        factors: tuple[Tensor, ...] = self.modes.factors(Partials(*partials))
        return factors

    def _rendered(self, patch: Tensor, noise: Tensor) -> Rendered:
        noise = noise if noise.dim() == 1 else self.grid.waveform(noise)
        units, *control = self._control_part(patch)
        sums = self.modes.sums(*self._factors(*control[:4]))
        coloured = self._colour(*control[4:9], self.hiss.white(noise, units))  # type: ignore[call-arg]
        hiss = self.hiss.sound(coloured)
        return self._finished(units, self._mix(*control[9:], *sums, hiss), noise)  # type: ignore[call-arg]

    @property
    def target_specs(self) -> tuple[TargetSpec, ...]:
        """What is known: per step levels, share of noise and pitch; of the sound, the body and how hard it is hit."""
        return (
            LEVELS,
            NOISE,
            F0,
            TargetSpec("inharmonic", per="sound", centre=0.5, spread=0.5),
            TargetSpec("sustained", per="sound", centre=0.3, spread=0.45),
            TargetSpec("hollow", per="sound", centre=0.35, spread=0.45, where="partials are harmonic"),
            TargetSpec("stiffness", "log10", "sound", centre=-4.35, spread=0.95, where="partials are harmonic"),
            TargetSpec("tilt", "dB/octave", "sound", centre=-7.5, spread=3.2),
            TargetSpec("decay", "log2 s", "sound", centre=0.0, spread=2.1, where="it is not sustained"),
            TargetSpec("damping", "", "sound", centre=0.65, spread=0.38, where="it is not sustained"),
            TargetSpec("attack", "log2 s", "sound", centre=-6.5, spread=2.4),
            TargetSpec("response", "dB", "sound", size=BANDS, centre=4.0, spread=8.0),
            TargetSpec("noise_level", "dB", "sound", centre=-25.0, spread=15.0),
            TargetSpec("noise_centre", "log2 Hz", "sound", centre=10.5, spread=1.3, where="its level is above -35 dB"),
            TargetSpec("hardness", "", "sound", centre=0.0, spread=0.6),
        )

    def _known(self, rendered: Rendered) -> dict[str, Target]:
        units = rendered.units
        body, played = self.body.named(units), self.played.named(units)
        inharmonic, sustained = torch.sigmoid(body["inharmonic"]), torch.sigmoid(body["sustained"])
        targets, energy = self.meter.common(rendered.parts)
        since = self.steps - played["onset"]
        rate, start, depth = self._vibrato(units)
        bent = depth * cosine(start + rate * since - 0.25) + body["glide"] * torch.exp(
            -since.clamp(min=0.0) / torch.exp2(body["glide.time"])
        )
        sounding = energy[:, 0] > 1e-3 * energy.sum(1).amax(1, keepdim=True).clamp(min=1e-12)
        targets["f0"] = Target((self.pitch(units) + torch.log2(1.0 + bent))[..., None], sounding & (inharmonic < 0.5))
        numbers = {
            "inharmonic": inharmonic,
            "sustained": sustained,
            "hollow": torch.sigmoid(body["hollow"]),
            "attack": self._attack(units),
            "response": resonating(torch.exp2(self.middles), *self._resonances(units)),
            "noise_level": body["noise.level"],
            "noise_centre": body["noise.centre"],
            "hardness": played["hardness"],
        } | {name: body[name] for name in ("stiffness", "tilt", "decay", "damping")}
        always = torch.ones_like(inharmonic, dtype=torch.bool)
        masks = dict.fromkeys(("hollow", "stiffness"), inharmonic < 0.5)
        masks |= dict.fromkeys(("decay", "damping"), sustained < 0.5)
        masks["noise_centre"] = body["noise.level"] > -35.0
        return targets | {name: Target(value, masks.get(name, always)[:, 0]) for name, value in numbers.items()}


def resonating(hertz: Tensor, centre: Tensor, narrow: Tensor, gain: Tensor) -> Tensor:
    """Decibels of several resonances together.

    Args:
        hertz: frequencies, (any,) or (n, any).
        centre: of the resonances, in Hz, (n, resonances).
        narrow: inverse of half the width, in Hz, (n, resonances).
        gain: at the centre, in dB, (n, resonances).

    Returns:
        (n, any).
    """
    decibels = torch.zeros_like(gain[:, :1])
    for where, inverse, height in zip(centre.split(1, 1), narrow.split(1, 1), gain.split(1, 1), strict=True):
        apart = (hertz - where) * inverse
        decibels = decibels + height / (1.0 + apart.square())
    return decibels
