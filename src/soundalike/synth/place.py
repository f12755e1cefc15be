"""Where a sound is heard: equaliser, echo, room, distance, background and level, the same for every voice.

All of it is linear but the level, so one pass through the spectrum of the whole sound does it. The room is noise that
decays exponentially (Moorer, "About this reverberation business", 1979; Polack 1988), put together from stretches of
noise whose spectra are known beforehand, in another mixture for every sound.
"""

from __future__ import annotations

import copy
import math

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
RUN = 16
"""Numbers of a spectrum from one point to the next at which gains are computed: half as many frequencies."""
_QUIETEST = 1e-10  # what is quieter than that, mean square, is silence and not made louder
_FLAT_BELOW = 6.5  # log2 Hz, 91 Hz: a slope that went on to 0 Hz would put all energy where nobody hears it
_BELL_OCTAVES = 0.7  # half the width of a band of the equaliser at half its decibels
_LOSS = 0.5  # dB at 8 kHz for each metre, growing with the square of the frequency, as in air but stronger
_RATIO = 1.25  # length of the spectrum's period over that of the sound: a quarter of it for the room to decay
_NODES = (0.0, 0.004, 0.009, 0.015, 0.022, 0.031, 0.043, 0.058, 0.077, 0.1, 0.13, 0.17, 0.22, 0.28, 0.36, 0.48, 0.7)
"""Seconds after a sound at which a room's energy is what it should be; between two of them it is a straight line."""
_NOISES = 2  # for each of them
_DECAYED = 3.0 * math.log(10.0)  # nepers in 60 dB
_FIRST_NUMBER = 1 << 28  # of a sound's noise that a place uses: voices count theirs from 0


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
        nodes = [node for node in _NODES if node * sample_rate < self.tail]
        buffer("nodes", torch.tensor(nodes).repeat(_NOISES))  # seconds, of each stretch
        buffer("rooms", self._numbers(torch.fft.rfft(self._stretches(nodes), self.period)))  # (stretches, period)
        positions = random.positions(len(self.nodes) + self.period, start=_FIRST_NUMBER)
        self.register_buffer("positions", positions, persistent=False)

    def _stretches(self, nodes: list[float]) -> Tensor:
        """White noise in stretches around some times; their energies add up to that of one: (stretches, tail)."""
        time = torch.arange(self.tail, dtype=torch.float64) / self.sample_rate
        place = torch.tensor([-1.0, *nodes, math.inf], dtype=torch.float64)[:, None]
        before, middle, after = place[:-2], place[1:-1], place[2:]
        rise = ((time - before) / (middle - before)).clamp(0.0, 1.0)
        fall = torch.where(after.isinf(), 1.0, ((after - time) / (after - middle)).clamp(0.0, 1.0))
        fade = (4.0 * (1.0 - time / self.tail)).clamp(max=1.0) * (time > 0)  # no click where it is cut
        shape = torch.minimum(rise, fall).sqrt() * fade  # (nodes, tail)
        noise = random.normal(random.keys(0, torch.arange(_NOISES * len(nodes))), self.tail)
        shape = shape.repeat(_NOISES, 1).float()
        energy = (noise * shape).square().sum(1, keepdim=True) / shape.square().sum(1, keepdim=True)
        return noise * shape * energy.clamp(min=1e-6).rsqrt()  # not only as expected

    def forward(self, units: Tensor, sound: Tensor, noise: Tensor) -> Tensor:
        """Sounds as they are heard in their places.

        Args:
            units: knobs of the voice in their units, (n, size).
            sound: (n, samples) of any level.
            noise: a key for each sound's room and background, int32 (n,), or a waveform in [-1, 1] to make both of,
                (n, samples).

        Returns:
            (n, samples), before any scaling by the peak.
        """
        drawn = behind = noise
        if noise.dim() > 1:  # backwards, so that it is not the noise that the voice has used, and again and again
            drawn = noise.flip(1).repeat(1, -(-self.period // self.samples)).to(sound)[:, : self.period]
            behind = self._numbers(torch.fft.rfft(drawn))
        bins = self.period // 2
        passed = torch.fft.rfft(sound, self.period)[:, :bins] * _complex(self.transfer(units, drawn))
        heard = self.mixed(units, self._numbers(passed), behind)
        return torch.fft.irfft(_complex(heard), self.period)[:, : self.samples]

    def compiled_twin(self) -> Place:
        """The same place without gradients, whose parts are compiled at their first call, for its shapes."""
        twin = copy.copy(self)
        twin.transfer, twin.mixed = compiled(self.transfer), compiled(self.mixed)  # type: ignore[method-assign]
        return twin

    def _numbers(self, spectrum: Tensor) -> Tensor:
        """Real and imaginary parts by turns, without the highest frequency: (n, bins) -> (n, period)."""
        return torch.view_as_real(spectrum).flatten(1)[:, : self.period]

    def transfer(self, units: Tensor, noise: Tensor) -> Tensor:
        """What becomes of each frequency: direct sound, echo and room, through the equaliser.

        Args:
            units: (n, size).
            noise: keys (n,), or white noise in [-1, 1], (n, at least as many as stretches).

        Returns:
            Spectra, real and imaginary parts by turns, (n, period).
        """
        knob = self.named(units)
        gain, _ = self._gains(knob)
        cycles = knob["echo.delay"] * (self.sample_rate / self.period)  # a bin, (n, 1)
        # a turn of every eighth bin, times one of up to seven bins more
        points = cycles * (RUN // 2 * torch.arange(gain.shape[1] - 1, device=units.device))
        turn = cycles * (torch.arange(RUN, device=units.device) // 2)
        real = torch.arange(RUN, device=units.device) % 2 == 0
        level = torch.exp(DECIBEL * knob["echo.level"])
        # cos(a + b) and -sin(a + b) out of those of a and b
        first = level * torch.where(real, cosine(turn), -cosine(turn - 0.25))
        second = level * torch.where(real, -cosine(turn - 0.25), -cosine(turn))
        echo = cosine(points)[..., None] * first[:, None] + cosine(points - 0.25)[..., None] * second[:, None]
        everything = (real.to(units) + echo).flatten(1) + self._reverberation(knob, noise) @ self.rooms
        return everything * self._between(gain)

    def _reverberation(self, knob: dict[str, Tensor], noise: Tensor) -> Tensor:
        """What each stretch of noise weighs in each room, (n, stretches)."""
        count = len(self.nodes)
        mixture = random.noise_at(noise, self.positions[:count]) if noise.dim() == 1 else noise[:, :count]
        rate = _DECAYED / knob["room.decay"]  # nepers a second
        energy = 1.0 / torch.expm1(2.0 * rate / self.sample_rate)  # of noise of mean square 1 that decays so
        level = torch.exp(DECIBEL * knob["room.level"]) * torch.exp2(knob["distance"]) * energy.rsqrt()
        level = level * math.sqrt(3.0 / _NOISES)  # the mean square of the mixture is 1/3
        return mixture * level * torch.exp(-rate * self.nodes)

    def mixed(self, units: Tensor, passed: Tensor, noise: Tensor) -> Tensor:
        """The sound with its background, at its level.

        Args:
            units: (n, size).
            passed: spectra of the sounds in their rooms, real and imaginary parts by turns, (n, period).
            noise: keys (n,), or spectra of white noise in [-1, 1], likewise.

        Returns:
            Spectra, likewise, and with the highest frequency, (n, period + 2).
        """
        knob = self.named(units)
        _, colour = self._gains(knob)
        # Parseval: every bin stands for two
        power = passed.square().sum(1, keepdim=True) * (2.0 / (self.period * self.samples))
        # the mean square of white noise is 1/3, that of each number of its spectrum period / 6
        behind = colour.square().mean(1, keepdim=True) * (self.period / 6.0 * 2.0 / self.period)
        if noise.dim() == 1:
            noise, behind = (
                random.noise_at(noise, self.positions[len(self.nodes) :]).to(units),
                behind / (0.5 * self.period),
            )
        colour = colour * (torch.exp(DECIBEL * knob["background.level"]) * behind.rsqrt())
        heard = passed * power.clamp(min=_QUIETEST).rsqrt() + noise * self._between(colour)
        heard = heard * (LOUDNESS * torch.exp(DECIBEL * knob["level"]))
        return torch.cat((heard, heard.new_zeros(len(heard), 2)), dim=1)

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
        """Gains of every number of a spectrum, by straight lines: (n, points) -> (n, period)."""
        return (gain[:, :-1, None] + gain.diff(dim=1)[..., None] * self.along).flatten(1)


def _complex(numbers: Tensor) -> Tensor:
    """Spectra of real and imaginary parts by turns, (n, 2 bins) -> (n, bins)."""
    return torch.view_as_complex(numbers.unflatten(1, (-1, 2)))


def fast_length(least: int) -> int:
    """The smallest length from ``least`` on that is a power of two from `RUN` on, or three or five times as much.

    Transforms of other lengths take half as long again.
    """
    first = RUN.bit_length() - 1
    return min(factor << max(first, (-(-least // factor) - 1).bit_length()) for factor in (1, 3, 5))
