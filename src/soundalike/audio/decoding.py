"""Audio files decoded piece by piece: the only place that opens an audio file."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundalike.audio.arrays import HIGHEST_RATE, LOWEST_RATE, check_finite
from soundalike.audio.contents import Contents, Part, contents
from soundalike.audio.kinds import extra_is_there
from soundalike.audio.mix import Levels, Mixer, level_note
from soundalike.audio.quiet import quiet
from soundalike.audio.ranges import Ranges
from soundalike.audio.riff import OPEN_ENDED
from soundalike.core.errors import AudioError
from soundalike.core.files import missing

if TYPE_CHECKING:
    from soundfile import SoundFile

    from soundalike.audio.packets import PacketFile

CUT_SHORT = "seems to be cut short"
"""How the note on a file begins that ends too early."""
_BLOCK = 1 << 18  # values decoded at a time, all channels together
_SMALL_BLOCK = 1024
_MOST_SECONDS = 60  # of a low rate, which becomes many samples of a high one
_PAST_END = 0.1  # seconds by which a segment may end after its file, as rounded times do
_SYSTEM_ERROR = 2  # libsndfile's SF_ERR_SYSTEM
_OTHER_ENCODINGS = (4, 18, 64)  # its codes for an encoding that it does not know, in a file that it does
_SAID = {
    1: "no known audio format in it",
    3: "its header is damaged",
    **dict.fromkeys(_OTHER_ENCODINGS, "its encoding is not known"),
}  # by libsndfile's codes, whose own words speak of its insides


@dataclass
class Outcome:
    """What is known of a file once it was read."""

    note: str | None = None


def check_file(path: Path) -> None:
    """Makes sure that there is a file which can be read.

    Raises:
        AudioError: there is none.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError(missing(path, f"cannot be opened ({reason}).")) from error
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"{path}: is a folder, not an audio file.")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(f"{path}: is not a regular file.")
    if status.st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes).")
    if not os.access(path, os.R_OK):
        raise AudioError(f"{path}: cannot be opened (Permission denied).")


def length(path: Path) -> float:
    """Seconds that a file holds, as far as that is known without decoding it.

    Raises:
        Exception: of many kinds, if it cannot be opened.
    """
    seconds = 0.0
    for part in contents(path).parts:
        with open_part(path, part) as file:
            seconds += max(0.0, file.frames / max(file.samplerate, LOWEST_RATE))
    return seconds


def stream(
    path: Path,
    sample_rates: Sequence[int],
    seconds: float | None,
    outcome: Outcome,
    start: float | None = None,
    channel: int | None = None,
) -> Iterator[dict[int, np.ndarray]]:
    """The waveform of a file piece by piece, at each of the rates; together there is at least one sample of each.

    Args:
        path: of the file.
        sample_rates: in Hz.
        seconds: where to end, counted from the beginning of the file; None for its end.
        outcome: where what is known of the file at its end is put.
        start: where a segment begins, in seconds; None where no segment is read.
        channel: the one that is heard, from 1; None for all of them.

    Returns:
        Iterator over pieces by rate, as long as it happens, also empty.

    Raises:
        AudioError: as `read.load`.
    """
    check_file(path)
    try:
        reading = _Reading(path, contents(path), sample_rates, seconds, start, channel)
        for number, part in enumerate(reading.contents.parts):
            yield from _part(reading, part, number)
            if reading.is_done:
                break
        yield reading.rest()
    except OSError as error:
        raise AudioError(f"{path}: could not be read ({_explain(error)}).") from error
    outcome.note = reading.note


def _part(reading: _Reading, part: Part, number: int) -> Iterator[dict[int, np.ndarray]]:
    """The pieces of one part of a file."""
    path = reading.path
    # A damaged file loses the whole block where its decoder fails: going on from there with small ones saves more.
    for size in (_BLOCK, _SMALL_BLOCK):
        try:
            with open_part(path, part) as file:
                yield from reading.pieces(file, size)
            return
        except AudioError:
            raise
        except Exception as error:  # damaged files make libsndfile, soundfile and soxr raise many things
            failure = error
            if (cause := _failure_of_machine(error)) is not None:
                raise AudioError(f"{path}: could not be read ({_explain(error)}).") from cause
    if getattr(failure, "code", None) in _OTHER_ENCODINGS and extra_is_there() and not part.packets:
        yield from _part(reading, replace(part, packets=True), number)
        return
    if number:  # what came before is there
        reading.broken = reading.cut_short = True
        return
    raise AudioError(f"{path}: not readable as audio ({_explain(failure)}).") from failure


@contextmanager
def open_part(path: Path, part: Part) -> Iterator[SoundFile | PacketFile]:
    """One part of a file, to be read frame by frame at its own sample rate."""
    if part.packets:
        from soundalike.audio.packets import PacketFile

        # by the open file: FFmpeg takes names for addresses that have a colon
        with (
            path.open("rb") as stream,
            PacketFile(path, stream if part.pieces is None else Ranges(stream, part.pieces)) as packets,
        ):
            yield packets
        return
    from soundfile import SoundFile

    if part.pieces is not None:
        with path.open("rb") as stream:
            ranges = Ranges(stream, part.pieces)
            with quiet():
                opened = SoundFile(ranges)
            with opened as file:
                yield file
            if ranges.error is not None:
                raise ranges.error
    elif path.suffix.lower() == ".raw":  # from that name, soundfile would conclude that there is no header
        with path.open("rb") as stream:
            with quiet():
                opened = SoundFile(stream.fileno(), closefd=False)
            with opened as file:
                yield file
    else:  # as bytes, because a file name need not be valid Unicode
        with quiet():
            opened = SoundFile(os.fsencode(path) if os.name == "posix" else path)
        with opened as file:
            yield file


class _Reading:
    """How far a file was read, so that it can be opened again and read on from there."""

    def __init__(
        self,
        path: Path,
        known: Contents,
        sample_rates: Sequence[int],
        seconds: float | None,
        start: float | None = None,
        channel: int | None = None,
    ) -> None:
        self.path, self.contents, self.sample_rates, self.seconds = path, known, sample_rates, seconds
        self.start, self.channel = start, channel
        self.convert: dict[int, Callable[[np.ndarray, bool], np.ndarray]] = {}
        self.given = dict.fromkeys(sample_rates, 0)
        self.first: np.ndarray | None = None
        self.native, self.part_count = 0, 0  # of the part that is read: its rate, and how many samples were read
        self.done = 0.0  # seconds read, of the parts before
        self.broken, self.cut_short = False, False
        self.notes: list[str] = [known.note] if known.note else []
        self.levels = {rate: Levels() for rate in (0, *sample_rates)}  # 0 is for the file's own
        self.mixer: Mixer | None = None

    @property
    def read_seconds(self) -> float:
        """Seconds that were read."""
        return self.done + (self.part_count / self.native if self.native else 0.0)

    @property
    def is_done(self) -> bool:
        """Whether no more is wanted, or can be read."""
        return self.broken or (self.seconds is not None and self.read_seconds >= self.seconds)

    def pieces(self, file: Any, block_size: int) -> Iterator[dict[int, np.ndarray]]:
        """What a part holds; called again for the same part, what it holds from where it was read to."""
        native = file.samplerate
        if not LOWEST_RATE <= native <= HIGHEST_RATE:
            raise AudioError(f"{self.path}: its header gives a sample rate of {native} Hz, which cannot be right.")
        if self.channel is not None and self.channel > file.channels:
            had = f"{file.channels} channel{'s' * (file.channels != 1)}"
            raise AudioError(f"{self.path}: has {had}, and the segment is of channel {self.channel}.")
        channels = file.channels if self.channel is None else 1
        if self.mixer is None:
            self.mixer = Mixer(native, channels)
        elif (native, channels) != (self.native, self.mixer.channels):
            yield self._heard(self.mixer.rest())
            self.mixer.follow(native, channels)
        if native != self.native:
            if self.convert:
                yield self._converted(np.zeros(0, np.float32), True)
            self.convert = {rate: _converter(native, rate) for rate in self.sample_rates}
        self.native = native
        left = math.inf if self.seconds is None else max(1, math.ceil((self.seconds - self.done) * native))
        size = max(_SMALL_BLOCK, min(block_size // file.channels, _MOST_SECONDS * native))
        begin = 0 if self.start is None else max(0, round((self.start - self.done) * native))
        # a second attempt, with small blocks, reads up to there instead
        if self.part_count < begin < file.frames and seeks_exactly(file) and block_size > _SMALL_BLOCK:
            file.seek(begin)
            self.part_count = begin
        else:
            self.broken = not self._skip(file)
        while self.part_count < left and not self.broken:
            try:
                with quiet():
                    block = file.read(int(min(size, left - self.part_count)), dtype="float32", always_2d=True)
            except Exception as error:
                if not self.read_seconds or block_size > _SMALL_BLOCK or _failure_of_machine(error) is not None:
                    raise
                self.broken = True
                break
            if not len(block):  # (n, channels)
                break
            self.part_count += len(block)
            block = block[max(0, len(block) - max(0, self.part_count - begin)) :]
            if not len(block):  # before the segment
                continue
            if self.channel is not None:
                block = block[:, self.channel - 1 : self.channel]
            check_finite(block, f"{self.path}:")
            yield self._heard(self.mixer(block))
        self._end(file, self.part_count >= left)

    def _end(self, file: Any, enough: bool) -> None:
        """A part was read to its end, or as far as it can be or is wanted."""
        if self.broken or getattr(file, "damaged", False):
            self.cut_short = True
        elif not enough:
            known = self.contents.whole
            self.cut_short |= not known if known is not None else _ends_early(file, self.part_count)
        self.done, self.part_count = self.read_seconds, 0

    def rest(self) -> dict[int, np.ndarray]:
        """What is left once all parts were read, and what is to be said of them."""
        pieces = []
        if self.mixer is not None:
            pieces.append(self._heard(self.mixer.rest()))
        if self.first is None and self.start is not None and self.done:
            raise AudioError(
                f"{self.path}: is {self.done:.5g} s long, and the segment begins at {self.start:.10g} s; times are in "
                "seconds from the beginning of the file."
            )
        if self.first is None:
            raise AudioError(f"{self.path}: holds no {'complete ' if self.cut_short else ''}audio samples.")
        pieces.append(self._converted(np.zeros(0, np.float32), True))
        if self.cut_short:
            self.notes.insert(0, f"{CUT_SHORT}; its first {self.done:.3g} s are used.")
        elif self.start is not None and self.seconds is not None and self.done < self.seconds - _PAST_END:
            self.notes.append(f"ends at {self.done:.5g} s, and the segment at {self.seconds:.10g} s.")
        if self.mixer is not None and self.mixer.note:
            self.notes.append(self.mixer.note)
        for rate in self.sample_rates:
            said = level_note(self.levels[0], self.levels[rate], rate)
            if said and said not in self.notes:
                self.notes.append(said)
        together = {rate: np.concatenate([piece[rate] for piece in pieces]) for rate in self.sample_rates}
        return {rate: piece if self.given[rate] else self.first for rate, piece in together.items()}

    @property
    def note(self) -> str | None:
        """What is to be said of the file, or None."""
        return " ".join(self.notes) or None

    def _skip(self, file: Any) -> bool:
        """Whether what was read before could be read again; by reading, since not every decoder seeks exactly."""
        skipped = 0
        while skipped < self.part_count:
            with quiet():
                block = file.read(min(_BLOCK // file.channels + 1, self.part_count - skipped), dtype="float32")
            if not len(block):
                return False
            skipped += len(block)
        return True

    def _heard(self, mono: np.ndarray) -> dict[int, np.ndarray]:
        """A piece of the mix at each of the rates."""
        if self.first is None and len(mono):
            self.first = mono[:1].copy()
        self.levels[0].add(mono)
        return self._converted(mono, False)

    def _converted(self, mono: np.ndarray, last: bool) -> dict[int, np.ndarray]:
        result = {}
        for rate, step in self.convert.items():
            result[rate] = step(mono, last)
            check_finite(result[rate], f"{self.path}: resampled, it")
            self.levels[rate].add(result[rate])
            self.given[rate] += len(result[rate])
        return result


def _failure_of_machine(error: Exception) -> OSError | MemoryError | None:
    """What failed if it was not the file, so that it may be read another time; None otherwise."""
    if isinstance(error, (OSError, MemoryError)):
        return error
    # what libsndfile makes of an input error or too many open files; no damage in a file gives it
    return OSError(_explain(error)) if getattr(error, "code", None) == _SYSTEM_ERROR else None


def _explain(error: Exception) -> str:
    code = getattr(error, "code", None)
    if isinstance(error, TypeError):  # soundfile's slip for a format that it does not know
        return _SAID[1]
    if code in _OTHER_ENCODINGS and not extra_is_there():
        return f"{_SAID[code]}; pip install 'soundalike[formats]' reads more"
    if isinstance(code, int) and code != _SYSTEM_ERROR:
        return _SAID.get(code, "its header or its samples are damaged")
    said = (
        getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error) or type(error).__name__
    )
    return said.strip().removeprefix("Error : ").rstrip(".")


def _converter(source: int, target: int) -> Callable[[np.ndarray, bool], np.ndarray]:
    """A function (block, whether it is the last) -> resampled block."""
    if source == target:
        return lambda block, last: block
    import soxr

    return soxr.ResampleStream(source, target, 1, dtype="float32", quality="HQ").resample_chunk


def seeks_exactly(file: Any) -> bool:
    """Whether a decoder goes to a sample and not to somewhere near it."""
    formats = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC")
    return getattr(file, "format", "") in formats and file.subtype.startswith(("PCM_", "FLOAT", "DOUBLE"))


def _ends_early(file: Any, count: int) -> bool:
    """Whether a file holds less than its header says. libsndfile corrects most lengths, but logs them."""
    if not hasattr(file, "extra_info"):
        return bool(file.says_its_length and count < 0.9 * file.frames - 0.5 * file.samplerate)
    if count < file.frames or "without an End-Of-Stream flag" in file.extra_info:
        return True
    for said, real in re.findall(r": (\d+) \(should be (\d+)\)", file.extra_info):
        if int(real) + 1024 < int(said) < OPEN_ENDED:  # a few bytes are common slips of writing programs
            return True
    return False
