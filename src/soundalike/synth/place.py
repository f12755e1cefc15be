"""Where a sound is heard: equaliser, echo, room, distance, background and level, the same for every voice.

All of it is linear but the level, so one pass through the spectrum of the whole sound does it. The room is noise that
decays exponentially (Moorer, "About this reverberation business", 1979; Polack 1988), another one for every sound.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from soundalike import random
from soundalike.compilation import compiled
from soundalike.synth.control import Bank
from soundalike.synth.parameter import ParameterSpec
from soundalike.synth.resonance import DECIBEL, tilted

LOUDNESS = 0.1
"""Root mean square over the whole sound at level 0 dB: 20 dB below full scale, as in most recordings."""
BELLS = 2
"""Bands of the equaliser that can be raised and lowered."""
_QUIETEST = 1e-10  # what is quieter than that, mean square, is silence and not made louder
_FLAT_BELOW = 6.5  # log2 Hz, 91 Hz: a slope that went on to 0 Hz would put all energy where nobody hears it
_BELL_OCTAVES = 0.7  # half the width of a band of the equaliser at half its decibels
_LOSS = 0.5  # dB at 8 kHz for each metre, growing with the square of the frequency, as in air but stronger
_RATIO = 1.5  # length of the spectrum's period over that of the sound: half a sound's length for the room to decay
_DECAYED = 3.0 * math.log(10.0)  # nepers in 60 dB
_FIRST_NUMBER = 1 << 28  # of a sound's noise that a place uses: voices count theirs from 0


class Place(nn.Module, Bank):
    """Puts sounds into a place; its knobs are of the group ``room``.

    - *equaliser*, of all that is recorded: a tilt around 1 kHz, two bands, a low and a high cut.
    - *echo*: one reflection, as of a floor or a desk.
    - *room*: a reverberation that falls by 60 dB within ``decay``; its energy is ``room.level`` against that of the
      direct sound at a distance of 1 m.
    - *distance*: takes 6 dB from the direct sound against the room for each doubling, and high frequencies.
    - *background*: noise with a slope. Its level is its root mean square, whatever its slope and the equaliser.
    - *level* of the sound as it is heard, room and equaliser included, and whatever its distance.

    Both levels are decibels of `LOUDNESS`, so the difference between them is the ratio of signal to noise.

    Args:
        samples: length of a sound in samples.
        sample_rate: samples a second.
        name: the module's name, which every knob's name begins with.
    """

    octaves: Tensor
    sloped: Tensor
    absorbed: Tensor
    seconds: Tensor
    click: Tensor
    fade: Tensor
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
                spec("room.decay", 0.04, 1.0, "s", 0.5),
                spec("room.level", -45.0, -5.0, "dB"),
                spec("distance", -1.0, 3.0, "log2 m"),
                spec("background.level", -60.0, 0.0, "dB"),
                spec("background.tilt", -12.0, 0.0, "dB/octave"),
                spec("level", -24.0, 0.0, "dB"),
            ),
        )
        self.samples, self.sample_rate = samples, sample_rate
        self.period = fast_length(math.ceil(_RATIO * samples) + 1)
        self.tail = self.period - samples  # samples of the room's response, so that none of it wraps around
        bins = self.period // 2 + 1
        hertz = torch.arange(bins, dtype=torch.float64) * (sample_rate / self.period)
        octaves = hertz.clamp(min=1.0).log2()
        along = torch.arange(self.tail, dtype=torch.float64)

        def buffer(which: str, value: Tensor) -> None:
            self.register_buffer(which, value.float(), persistent=False)

        buffer("octaves", octaves)  # log2 Hz of the bins, (bins,)
        buffer("sloped", octaves.clamp(min=_FLAT_BELOW))
        buffer("absorbed", (DECIBEL * _LOSS) * (hertz / 8000.0).square())  # nepers a metre
        buffer("seconds", along / sample_rate)  # since the direct sound, (tail,)
        buffer("click", along == 0)
        buffer("fade", (4.0 * (1.0 - along / self.tail)).clamp(max=1.0) * (along > 0))  # no click where it is cut
        self.register_buffer("positions", random.positions(self.tail + 2 * bins, start=_FIRST_NUMBER), False)

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
        return self._wired(units, sound, noise, self.response, self.gains)

    def compiled(self) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """A twin of `forward` for no gradients, compiled at its first call, for the shapes of that call."""
        response, gains = compiled(self.response), compiled(self.gains)
        return lambda units, sound, noise: self._wired(units, sound, noise, response, gains)

    def _wired(
        self,
        units: Tensor,
        sound: Tensor,
        noise: Tensor,
        response: Callable[[Tensor, Tensor], Tensor],
        gains: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]],
    ) -> Tensor:
        """`forward`, with what is computed element by element given."""
        if noise.dim() == 1:
            white, behind = noise, noise
        else:  # backwards, so that it is not the noise that the voice has used; again and again for the whole period
            white = noise.flip(1).repeat(1, -(-self.period // self.samples)).to(sound)[:, : self.period]
            behind = torch.view_as_real(torch.fft.rfft(white)).movedim(2, 0)  # (2, n, bins)
        passed = torch.fft.rfft(sound, self.period) * torch.fft.rfft(response(units, white), self.period)
        gain, real, imaginary = gains(units, behind)
        passed = passed * gain
        # Parseval: every bin stands for two
        power = torch.view_as_real(passed).square().sum((1, 2)) * (2.0 / (self.period * self.samples))
        level = self._loudness(units, "level") / power.clamp(min=_QUIETEST).sqrt()[:, None]
        heard = torch.complex(real, imaginary) + passed * level
        return torch.fft.irfft(heard, self.period)[:, : self.samples]

    def response(self, units: Tensor, noise: Tensor) -> Tensor:
        """What comes of a click, before the equaliser: the click itself, its echo and the room, (n, tail).

        Args:
            units: (n, size).
            noise: keys (n,), or white noise in [-1, 1], (n, at least tail).
        """
        knob = self.named(units)  # (n, 1) each
        if noise.dim() == 1:
            white = random.noise_at(noise, self.positions[: self.tail]).to(units)
        else:
            white = noise[:, : self.tail]
        rate = _DECAYED / knob["room.decay"]  # nepers a second
        energy = 1.0 / (3.0 * torch.expm1(2.0 * rate / self.sample_rate))  # of noise of mean square 1/3, as expected
        level = torch.exp(DECIBEL * knob["room.level"]) * torch.exp2(knob["distance"]) * energy.rsqrt()
        room = white * torch.exp(-rate * self.seconds) * (level * self.fade)
        # between samples by a straight line: gradients reach the delay
        apart = (self.seconds - knob["echo.delay"]).abs() * self.sample_rate
        return room + torch.exp(DECIBEL * knob["echo.level"]) * (1.0 - apart).clamp(min=0.0) + self.click

    def gains(self, units: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The equaliser's gains (n, bins), and real and imaginary part of the background's spectrum, likewise.

        Args:
            units: (n, size).
            noise: keys (n,), or spectra of white noise in [-1, 1], real and imaginary parts, (2, n, bins).
        """
        knob = self.named(units)
        decibels = tilted(knob["tilt"][:, 0], self.sloped)
        for number in range(1, BELLS + 1):
            apart = (self.octaves - knob[f"band_{number}.centre"]) / _BELL_OCTAVES
            decibels = decibels + knob[f"band_{number}.gain"] / (1.0 + apart * apart)
        below = torch.exp2(4.0 * (knob["low_cut"] - self.octaves))  # 12 dB an octave
        above = torch.exp2(8.0 * (self.octaves - knob["high_cut"]))  # 24 dB an octave
        cut = ((1.0 + below) * (1.0 + above)).rsqrt()
        equalised = torch.exp(DECIBEL * decibels) * cut
        far = torch.exp(-torch.exp2(knob["distance"]) * self.absorbed)
        colour = torch.exp(DECIBEL * tilted(knob["background.tilt"][:, 0], self.sloped)) * equalised
        # mean square of white noise in [-1, 1] is 1/3, and that of its spectrum's parts period / 6 each
        power = colour.square().sum(1, keepdim=True) * (2.0 / (3.0 * self.period))
        if noise.dim() == 1:
            bins = self.octaves.shape[0]
            real, imaginary = random.noise_at(noise, self.positions[self.tail :]).to(units).split(bins, dim=1)
            scale = math.sqrt(0.5 * self.period)  # numbers of mean square 1/3 become period / 6
        else:
            (real, imaginary), scale = noise.unbind(0), 1.0
        colour = colour * (scale * self._loudness(units, "background.level") * power.rsqrt())
        return equalised * far, real * colour, imaginary * colour

    def _loudness(self, units: Tensor, knob: str) -> Tensor:
        """Root mean squares that a level in dB asks for, (n, 1)."""
        return LOUDNESS * torch.exp(DECIBEL * self.named(units)[knob])


def fast_length(least: int) -> int:
    """The smallest even length from ``least`` on whose only prime factors are 2, 3 and 5."""
    length = least + least % 2
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2
