"""Where a sound is heard: equaliser, echo, room, distance, background and level, the same for every voice.

All of it is linear but the level, so one pass through the spectrum of the whole sound does it. The room is noise that
decays exponentially (Moorer, "About this reverberation business", 1979; Polack 1988), put together from stretches of
noise whose spectra are known beforehand, in another mixture for every sound.
"""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from soundalike.core import random
from soundalike.core.compile import compiled
from soundalike.synth.approximation import cosine
from soundalike.synth.control import Bank
from soundalike.synth.parameter import ParameterSpec
from soundalike.synth.resonance import DECIBEL, tilted

LOUDNESS = 0.1
"""Root mean square over the whole sound at level 0 dB: 20 dB below full scale, as in most recordings."""
BELLS = 2
"""Bands of the equaliser that can be raised and lowered."""
RUN = 32
"""Numbers of a spectrum from one point to the next at which gains are computed: half as many frequencies."""
_QUIETEST = 1e-10  # what is quieter than that, mean square, is silence and not made louder
_FLAT_BELOW = 6.5  # log2 Hz, 91 Hz: a slope that went on to 0 Hz would put all energy where nobody hears it
_BELL_OCTAVES = 0.7  # half the width of a band of the equaliser at half its decibels
_LOSS = 0.5  # dB at 8 kHz for each metre, growing with the square of the frequency, as in air but stronger
_RATIO = 1.25  # length of the spectrum's period over that of the sound: a quarter of it for the room to decay
_NODES = (0.0, 0.004, 0.009, 0.015, 0.023, 0.033, 0.045, 0.06, 0.079, 0.103, 0.133, 0.17, 0.215, 0.28, 0.37, 0.5, 0.7)
"""Seconds after a sound around which a room's stretches of noise lie."""
_NOISES = 2  # around each of them
_DECAYED = 3.0 * math.log(10.0)  # nepers in 60 dB
_FIRST_NUMBER = 1 << 28  # of a sound's noise that a place uses: voices count theirs from 0


class Settings(NamedTuple):
    """What follows from the knobs of n places. Points are every `RUN` / 2 frequencies."""

    gain: Tensor
    """Of the equaliser for the sound, (n, points)."""
    colour: Tensor
    """Gain for white noise that makes it the background of a sound of mean square 1, (n, points)."""
    points: Tensor
    """Cosine and sine of an echo's phase at the points, (n, 2, points - 1)."""
    turns: Tensor
    """What they weigh in each of the `RUN` numbers from there on, (n, 2, RUN)."""
    mixture: Tensor
    """What each stretch of noise weighs in the room, (n, stretches)."""
    loudness: Tensor
    """Root mean square of the sound as it is heard, (n, 1)."""


class Place(nn.Module, Bank):
    """Puts sounds into a place; its knobs are of the group ``room``.

    - *equaliser*, of all that is recorded: a tilt around 1 kHz, two bands, a low and a high cut.
    - *echo*: one reflection, as of a floor or a desk.
    - *room*: a reverberation that falls by 60 dB within ``decay``; its energy is ``room.level`` against that of the
      direct sound at a distance of 1 m. It ends after a quarter of the sound's length.
    - *distance*: takes 6 dB from the direct sound against the room for each doubling, and high frequencies.
    - *background*: noise with a slope. Its level is that of its root mean square against the sound's, whatever its
      slope and the equaliser: the ratio of signal to noise with the other sign.
    - *level* of the sound as it is heard, room and equaliser included, and whatever its distance: dB of `LOUDNESS`.

    Args:
        samples: length of a sound in samples.
        sample_rate: samples a second.
        name: the module's name, which every knob's name begins with.
    """

    octaves: Tensor
    sloped: Tensor
    absorbed: Tensor
    along: Tensor
    direct: Tensor
    nodes: Tensor
    rooms: Tensor
    positions: Tensor

    def __init__(self, samples: int, sample_rate: int, name: str = "place") -> None:
        nn.Module.__init__(self)

        def spec(
            knob: str, minimum: float, maximum: float, unit: str, curve: float = 1.0, symmetric: bool = False
        ) -> ParameterSpec:
            return ParameterSpec(knob, minimum, maximum, curve, symmetric, "room", unit)

        bells: list[ParameterSpec] = []
        for number in range(1, BELLS + 1):
            bells.append(spec(f"band_{number}.centre", math.log2(150.0), math.log2(6000.0), "log2 Hz"))
            bells.append(spec(f"band_{number}.gain", -12.0, 12.0, "dB", 0.7, True))
        Bank.__init__(
            self,
            (name,),
            (
                spec("tilt", -4.0, 3.0, "dB/octave"),
                spec("low_cut", math.log2(20.0), math.log2(400.0), "log2 Hz", 0.7),
                spec("high_cut", math.log2(2500.0), math.log2(24_000.0), "log2 Hz"),
                *bells,
                spec("echo.delay", 0.0005, 0.04, "s", 0.5),
                spec("echo.level", -40.0, -3.0, "dB"),
                spec("room.decay", 0.04, 0.8, "s", 0.5),
                spec("room.level", -45.0, -5.0, "dB"),
                spec("distance", -1.0, 3.0, "log2 m"),
                spec("background.level", -55.0, 0.0, "dB"),
                spec("background.tilt", -12.0, 0.0, "dB/octave"),
                spec("level", -24.0, 0.0, "dB"),
            ),
        )
        self.samples, self.sample_rate = samples, sample_rate
        self.period = fast_length(math.ceil(_RATIO * samples) + 1)
        self.tail = self.period - samples  # samples of the room's response, so that none of it wraps around
        hertz = torch.arange(self.period // RUN + 1, dtype=torch.float64) * (RUN // 2 * sample_rate / self.period)
        octaves = hertz.clamp(min=1.0).log2()

        def buffer(which: str, value: Tensor) -> None:
            self.register_buffer(which, value.float(), persistent=False)

        buffer("octaves", octaves)  # log2 Hz of the points at which gains are computed, (points,)
        buffer("sloped", octaves.clamp(min=_FLAT_BELOW))
        buffer("absorbed", (DECIBEL * _LOSS) * (hertz / 8000.0).square())  # nepers a metre
        buffer("along", torch.arange(RUN) // 2 * (2.0 / RUN))  # from one point to the next, (RUN,)
        buffer("direct", torch.arange(RUN) % 2 == 0)  # the spectrum of a click: 1 and 0 by turns
        # those that the response has time for, and one more, where the last stretch ends
        inside = sum(node * sample_rate < self.tail for node in _NODES)
        nodes = torch.tensor([*_NODES, 2.0 * _NODES[-1]][: inside + 1], dtype=torch.float64)
        buffer("nodes", nodes)  # seconds
        buffer("rooms", self._numbers(torch.fft.rfft(self._stretches(nodes), self.period)))  # (stretches, period)
        positions = random.positions(len(self.rooms) + self.period, start=_FIRST_NUMBER)
        self.register_buffer("positions", positions, persistent=False)

    def _stretches(self, nodes: Tensor) -> Tensor:
        """White noise in stretches around some times; their energies add up to that of one: (stretches, tail)."""
        time = torch.arange(self.tail, dtype=torch.float64) / self.sample_rate
        start, middle, end = (
            torch.nn.functional.pad(nodes, (1, 0), value=-1.0).unfold(0, 3, 1).unbind(1)
        )  # (nodes - 1,) each
        rise = (time - start[:, None]) / (middle - start)[:, None]
        fall = (end[:, None] - time) / (end - middle)[:, None]
        fade = (4.0 * (1.0 - time / self.tail)).clamp(max=1.0) * (time > 0)  # no click where it is cut
        shape = torch.minimum(rise.clamp(max=1.0), fall).clamp(min=0.0).sqrt() * fade
        shape = torch.where(start[:, None] < 0.0, fall.clamp(0.0, 1.0).sqrt() * fade, shape)
        shape = shape.repeat(_NOISES, 1).float()
        noise = random.normal(random.keys(0, torch.arange(len(shape))), self.tail)
        energy = (noise * shape).square().sum(1, keepdim=True) / shape.square().sum(1, keepdim=True)
        return noise * shape * energy.clamp(min=1e-6).rsqrt()  # not only as expected

    def forward(self, units: Tensor, sound: Tensor, noise: Tensor) -> Tensor:
        """Sounds as they are heard in their places.

        Args:
            units: knobs of the voice in their units, (n, size).
            sound: (n, samples) of any level, or `padded`.
            noise: a key for each sound's room and background, int32 (n,), or a waveform in [-1, 1] to make both of,
                (n, samples).

        Returns:
            (n, samples), before any scaling by the peak.
        """
        drawn = behind = noise
        if noise.dim() > 1:  # backwards, so that it is not the noise that the voice has used, and again and again
            drawn = noise.flip(1).repeat(1, -(-self.period // self.samples)).to(sound)[:, : self.period]
            behind = self._numbers(torch.fft.rfft(drawn))
        settings = self.settings(units, drawn)
        passed = torch.fft.rfft(sound, self.period)[:, : self.period // 2] * _complex(self.transfer(settings))
        heard = self.mixed(settings, self._numbers(passed), behind)
        return torch.fft.irfft(_complex(heard), self.period)[:, : self.samples]

    def compiled_twin(self) -> Place:
        """The same place without gradients, whose parts are compiled at their first call, for its shapes."""
        twin = copy.copy(self)
        # three parts: what is computed at few frequencies would else be computed at all of them
        for name in ("settings", "transfer", "mixed"):
            setattr(twin, name, compiled(getattr(self, name)))
        return twin

    def padded(self, sound: Tensor) -> Tensor:
        """Sounds (n, samples) with zeros behind them, (n, period): what makes them so anyhow may as well make this."""
        return torch.cat((sound, sound.new_zeros(len(sound), self.period - sound.shape[1])), dim=1)

    def _numbers(self, spectrum: Tensor) -> Tensor:
        """Real and imaginary parts by turns, without the highest frequency: (n, bins) -> (n, period)."""
        return torch.view_as_real(spectrum).flatten(1)[:, : self.period]

    def settings(self, units: Tensor, noise: Tensor) -> Settings:
        """What follows from the knobs at few frequencies, and from them to all others by straight lines and turns.

        Args:
            units: (n, size).
            noise: keys (n,), or white noise in [-1, 1], (n, at least as many as stretches).
        """
        knob = self.named(units)
        gain, colour = self._gains(knob)
        # the mean square of white noise in [-1, 1] is 1/3
        power = colour.square().mean(1, keepdim=True) / 3.0
        colour = colour * (torch.exp(DECIBEL * knob["background.level"]) * power.rsqrt())
        if noise.dim() == 1:  # of each number of its spectrum it is period / 6, of a number that is drawn 1/3
            colour = colour * math.sqrt(0.5 * self.period)
        # an echo that came later would wrap around; from one bin to the next it turns by so many cycles, (n, 1)
        cycles = (knob["echo.delay"] * self.sample_rate).clamp(max=float(self.tail)) / self.period
        index = torch.arange(gain.shape[1] - 1, device=units.device)
        place = torch.arange(RUN, device=units.device)
        points, turn, real = cycles * (RUN // 2 * index), cycles * (place // 2), place % 2 == 0
        level = torch.exp(DECIBEL * knob["echo.level"])
        # cos(a + b) and -sin(a + b), by turns, out of the cosines and sines of a and b
        first = level * torch.where(real, cosine(turn), -cosine(turn - 0.25))
        second = level * torch.where(real, -cosine(turn - 0.25), -cosine(turn))
        return Settings(
            gain,
            colour,
            torch.stack((cosine(points), cosine(points - 0.25)), dim=1),
            torch.stack((first, second), dim=1),
            self._mixture(knob, noise),
            LOUDNESS * torch.exp(DECIBEL * knob["level"]),
        )

    def transfer(self, settings: Settings) -> Tensor:
        """What becomes of each frequency: direct sound, echo and room, through the equaliser.

        Args:
            settings: of n places.

        Returns:
            Spectra, real and imaginary parts by turns, (n, period).
        """
        (cosines, sines), (first, second) = settings.points.unbind(1), settings.turns.unbind(1)
        reverberation = (settings.mixture @ self.rooms).unflatten(1, (-1, RUN))
        near = self.direct + cosines[..., None] * first[:, None] + sines[..., None] * second[:, None]
        return ((near + reverberation) * self._between(settings.gain)).flatten(1)

    def mixed(self, settings: Settings, passed: Tensor, noise: Tensor) -> Tensor:
        """The sound with its background, at its level.

        Args:
            settings: of n places.
            passed: spectra of the sounds in their rooms, real and imaginary parts by turns, (n, period).
            noise: keys (n,), or spectra of white noise in [-1, 1], likewise.

        Returns:
            Spectra, likewise, and with the highest frequency, (n, period + 2).
        """
        # Parseval: every bin stands for two
        power = passed.square().sum(1, keepdim=True) * (2.0 / (self.period * self.samples))
        if noise.dim() == 1:
            noise = random.noise_at(noise, self.positions[len(self.rooms) :]).to(passed)
        behind = noise.unflatten(1, (-1, RUN)) * self._between(settings.colour)
        heard = passed * power.clamp(min=_QUIETEST).rsqrt() + behind.flatten(1)
        return torch.cat((heard * settings.loudness, heard.new_zeros(len(heard), 2)), dim=1)

    def _mixture(self, knob: dict[str, Tensor], noise: Tensor) -> Tensor:
        """What each stretch of noise weighs in each room, (n, stretches)."""
        count = len(self.rooms)
        mixture = random.noise_at(noise, self.positions[:count]) if noise.dim() == 1 else noise[:, :count]
        rate = 2.0 * _DECAYED / knob["room.decay"]  # of the energy, nepers a second
        # mean of the exponential over each stretch, which is a triangle: a second difference of its second integral
        left = torch.exp(-rate * self.nodes) / rate  # (n, nodes)
        slope = left.diff(dim=1) / (self.nodes.diff() * rate)
        width = 0.5 * (self.nodes[2:] - self.nodes[:-2])
        first = (left[:, :1] + slope[:, :1]) / (0.5 * self.nodes[1])
        energy = torch.cat((first, slope.diff(dim=1) / width), dim=1).clamp(min=1e-12)
        whole = torch.expm1(rate / self.sample_rate)  # 1 / energy of noise of mean square 1 that decays so
        level = torch.exp(DECIBEL * knob["room.level"]) * torch.exp2(knob["distance"])
        # the mean square of the mixture is 1/3
        return mixture * (level * math.sqrt(3.0 / _NOISES)) * (energy * whole).sqrt().repeat(1, _NOISES)

    def _gains(self, knob: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Gains for the sound and for white noise, at every `RUN` // 2 frequencies, (n, points) each."""
        decibels = tilted(knob["tilt"][:, 0], self.sloped)
        for number in range(1, BELLS + 1):
            apart = (self.octaves - knob[f"band_{number}.centre"]) / _BELL_OCTAVES
            decibels = decibels + knob[f"band_{number}.gain"] / (1.0 + apart * apart)
        below = torch.exp2(4.0 * (knob["low_cut"] - self.octaves))  # 12 dB an octave
        above = torch.exp2(8.0 * (self.octaves - knob["high_cut"]))  # 24 dB an octave
        equalised = torch.exp(DECIBEL * decibels) * ((1.0 + below) * (1.0 + above)).rsqrt()
        far = torch.exp(-torch.exp2(knob["distance"]) * self.absorbed)
        slope = torch.exp(DECIBEL * tilted(knob["background.tilt"][:, 0], self.sloped))
        return equalised * far, equalised * slope

    def _between(self, gain: Tensor) -> Tensor:
        """Gains of every number of a spectrum, by straight lines: (n, points) -> (n, period / RUN, RUN)."""
        return gain[:, :-1, None] + gain.diff(dim=1)[..., None] * self.along


def _complex(numbers: Tensor) -> Tensor:
    """Spectra of real and imaginary parts by turns, (n, 2 bins) -> (n, bins)."""
    return torch.view_as_complex(numbers.unflatten(1, (-1, 2)))


def fast_length(least: int) -> int:
    """The smallest length from ``least`` on that is a power of two from `RUN` on, or three or five times as much.

    Transforms of other lengths take half as long again.
    """
    first = RUN.bit_length() - 1
    return min(factor << max(first, (-(-least // factor) - 1).bit_length()) for factor in (1, 3, 5))
