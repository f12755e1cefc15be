"""Several channels to one, and what is to be said of a sound's level."""

from __future__ import annotations

import numpy as np

_CANCELS = 0.1
"""Energy of the channels' sum, as a part of what channels that have nothing in common would have, below which they
cancel each other. Of two channels that are equally loud, that is a correlation below -0.9."""
_QUIET = 1e-9  # energy per sample, all channels together, from where on channels are compared: -90 dB
_SAID = 0.1  # part of a sound's segments in which channels must cancel before it is said
_SILENT = 2.0 / 2**15  # half of the range that a silent sound may have: two steps of 16 bits
_FEWEST = 32  # samples, below which range and energy say nothing
_ULTRASOUND = 1e-3  # part of a sound's energy that is left once it is resampled, below which it is said


class Mixer:
    """The mean of channels, or the louder channel where channels cancel each other.

    That is decided for every second by itself, so that blocks make no difference, and the louder channel is that of
    all the seconds so far in which channels cancelled.

    Attributes:
        cancelled: seconds in which the louder channel was taken.
        seconds: that were mixed.
    """

    def __init__(self, sample_rate: float, channels: int) -> None:
        self.cancelled, self.seconds = 0.0, 0.0
        self._waiting: list[np.ndarray] = []
        self._held = 0
        self.follow(sample_rate, channels)

    def follow(self, sample_rate: float, channels: int) -> None:
        """Goes on with a sound of another rate or number of channels, after `rest`."""
        self.segment, self.channels = max(1, round(sample_rate)), channels
        self._energies = np.zeros(channels)
        self._begun = self._cancelling = False

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """What can be mixed now that a block came.

        Args:
            block: (samples, channels), float32.

        Returns:
            Mono waveform (m,), float32, shorter or longer than the block.
        """
        if block.shape[1] == 1:
            self.seconds += len(block) / self.segment
            return block[:, 0]
        self._waiting.append(block)
        self._held += len(block)
        whole = self._held // self.segment * self.segment
        if not whole:
            return np.zeros(0, np.float32)
        samples = np.concatenate(self._waiting)
        self._waiting, self._held = [samples[whole:]], len(samples) - whole
        return np.concatenate([self._mixed(part) for part in np.split(samples[:whole], whole // self.segment)])

    def rest(self) -> np.ndarray:
        """What is left at the sound's end, mono (m,)."""
        if not self._held:
            return np.zeros(0, np.float32)
        samples = np.concatenate(self._waiting)
        self._waiting, self._held = [], 0
        return self._mixed(samples)

    @property
    def note(self) -> str | None:
        """What is to be said of channels that cancel, or None."""
        if not self.cancelled or self.cancelled < _SAID * self.seconds:
            return None
        where = "" if self.cancelled >= self.seconds - 1e-6 else f" in {self.cancelled:.3g} s of it"
        return f"its channels cancel each other{where}, so the louder one is used instead of their mean."

    def _mixed(self, samples: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            mono: np.ndarray = samples.mean(axis=1)
            energies = np.var(samples, axis=0, dtype=np.float64)  # without an offset, which nobody hears
            own = np.var(mono, dtype=np.float64) * samples.shape[1] ** 2
        # a short rest says little by itself
        if len(samples) >= self.segment // 10 or not self._begun:
            self._cancelling = bool(own < _CANCELS * energies.sum() and energies.sum() > _QUIET)
        self._begun = True
        self.seconds += len(samples) / self.segment
        if not self._cancelling:
            return mono
        self.cancelled += len(samples) / self.segment
        self._energies += energies * len(samples)
        # the first of those that are equally loud, so that rounding does not turn the sign from second to second
        return samples[:, int((self._energies >= 0.99 * self._energies.max()).argmax())]


def mixed(samples: np.ndarray, sample_rate: float) -> tuple[np.ndarray, str | None]:
    """The mono waveform of a sound, as `Mixer` makes it, and what is to be said of its channels.

    Args:
        samples: (samples, channels), float32.
        sample_rate: in Hz.
    """
    mixer = Mixer(sample_rate, samples.shape[1])
    mono = np.concatenate([mixer(samples), mixer.rest()])
    return mono, mixer.note


class Levels:
    """Range and energy of a waveform that comes in blocks."""

    def __init__(self) -> None:
        self.least, self.most = np.inf, -np.inf
        self.count, self.total, self.square = 0, 0.0, 0.0

    def add(self, samples: np.ndarray) -> None:
        """Counts a block (samples,) in."""
        if len(samples):
            self.least, self.most = min(self.least, float(samples.min())), max(self.most, float(samples.max()))
            self.count += len(samples)
            self.total += float(samples.sum(dtype=np.float64))
            self.square += float(np.square(samples, dtype=np.float64).sum())

    @property
    def energy(self) -> float:
        """Energy per sample, without that of an offset."""
        return max(0.0, self.square / self.count - (self.total / self.count) ** 2) if self.count else 0.0


def level_note(native: Levels, heard: Levels, sample_rate: float) -> str | None:
    """What is to be said of a sound of which nothing is heard, or None.

    Args:
        native: of the sound as it was given.
        heard: of the sound at the rate at which it is heard.
        sample_rate: the latter, in Hz.
    """
    if native.most - native.least <= 2 * _SILENT and (native.count >= _FEWEST or native.most <= _SILENT):
        return "is silent."
    if heard.count >= _FEWEST and heard.energy < _ULTRASOUND * native.energy:
        limit = f"{sample_rate / 2000:g} kHz"
        return f"almost all of its energy lies above {limit}, of which nothing is heard at {sample_rate:g} Hz."
    return None
