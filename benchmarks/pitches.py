"""Makes a set of notes that asks for their pitch: instruments of a soundfont, each instrument in one fold.

    python -m benchmarks.pitches --soundfont FluidR3_GM.sf2 --out DIR
    python -m benchmarks.development MODEL [MODEL ...] --data DIR --folds 5

The soundfont's notes are recordings of instruments. Needs the program fluidsynth; Debian has it as fluidsynth, and a
soundfont as fluid-soundfont-gm.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import soundfile

from benchmarks.development.sets import TABLE
from soundalike.core.errors import SoundalikeError
from soundalike.core.files import replacing

INSTRUMENTS = {
    "piano": 0, "harpsichord": 6, "vibraphone": 11, "marimba": 12, "organ": 19, "accordion": 21, "nylon_guitar": 24,
    "electric_guitar": 27, "violin": 40, "cello": 42, "pizzicato": 45, "harp": 46, "choir": 52, "trumpet": 56,
    "trombone": 57, "horn": 60, "saxophone": 65, "oboe": 68, "clarinet": 71, "flute": 73, "recorder": 74, "sitar": 104,
}  # fmt: skip
"""Programs of General MIDI, counted from 0."""
PITCHES = range(48, 72)
"""MIDI numbers: two octaves from 131 Hz, each note a class."""
LOUDNESSES = (60, 110)
"""MIDI velocities of each note."""
RATE = 16_000
_TICKS = 480  # a beat; at the default tempo half a second
_NOTE, _STEP = 2 * _TICKS, 4 * _TICKS  # a second of sound, and from one note to the next


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line asks for.

    Returns:
        Exit code: 0, or 2 where the input cannot be used.
    """
    parser = argparse.ArgumentParser("python -m benchmarks.pitches", description=__doc__)
    parser.add_argument("--soundfont", type=Path, required=True, metavar="FILE", help="soundfont to play")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make the set in")
    options = parser.parse_args(arguments)
    try:
        count = make(options.soundfont, options.out)
    except SoundalikeError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{count} notes of {len(INSTRUMENTS)} instruments: {options.out / 'pitches' / TABLE}")
    return 0


def make(soundfont: Path, out: Path) -> int:
    """Plays every note of every instrument into a folder ``pitches`` in ``out``, as a development set.

    Args:
        soundfont: of General MIDI.
        out: folder to make it in.

    Returns:
        How many notes there are.

    Raises:
        SoundalikeError: there is no fluidsynth or no soundfont, or it cannot be played.
    """
    if shutil.which("fluidsynth") is None:
        raise SoundalikeError("the program fluidsynth is needed to play a soundfont; install it.")
    if not soundfont.is_file():
        raise SoundalikeError(f"{soundfont}: no such soundfont; Debian's package fluid-soundfont-gm has one.")
    folder = out / "pitches"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for instrument, program in INSTRUMENTS.items():
        notes = [(pitch, loudness) for pitch in PITCHES for loudness in LOUDNESSES]
        with tempfile.TemporaryDirectory() as made:
            song, wave = Path(made) / "notes.mid", Path(made) / "notes.wav"
            song.write_bytes(midi(program, notes))
            plain = ["-ni", "-q", "-R", "0", "-C", "0"]  # no shell, no room, no chorus
            command = ["fluidsynth", *plain, "-r", str(RATE), "-F", str(wave), str(soundfont), str(song)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode or not wave.is_file():
                raise SoundalikeError(f"{soundfont}: fluidsynth cannot play it: {done.stderr.strip()}")
            sound, rate = soundfile.read(wave, dtype="float32", always_2d=True)
        step = rate * _STEP // (2 * _TICKS)
        for number, (pitch, loudness) in enumerate(notes):
            note = sound[number * step : number * step + rate].mean(1)  # (rate,): a second
            if abs(note).max() < 1e-3:
                raise SoundalikeError(f"{soundfont}: {instrument} is silent at MIDI pitch {pitch}; use another one.")
            name = f"{instrument}-{pitch}-{loudness}.wav"
            soundfile.write(folder / name, note, rate)
            rows.append((name, str(pitch), instrument))
    with replacing(folder / TABLE, "table of notes") as partial, partial.open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label", "group"), *rows])
    return len(rows)


def midi(program: int, notes: Sequence[tuple[int, int]]) -> bytes:
    """A MIDI file that plays notes one after the other, a second each with a second of silence after it.

    Args:
        program: of General MIDI, from 0.
        notes: MIDI pitch and velocity of each.
    """
    events = [b"\x00" + bytes((0xC0, program))]
    for number, (pitch, loudness) in enumerate(notes):
        wait = _STEP - _NOTE if number else 0
        events += [_length(wait) + bytes((0x90, pitch, loudness)), _length(_NOTE) + bytes((0x80, pitch, 0))]
    track = b"".join(events) + _length(_STEP - _NOTE) + b"\xff\x2f\x00"
    header = b"MThd" + (6).to_bytes(4, "big") + b"".join(n.to_bytes(2, "big") for n in (0, 1, _TICKS))
    return header + b"MTrk" + len(track).to_bytes(4, "big") + track


def _length(ticks: int) -> bytes:
    """A number as MIDI files write times: seven bits a byte, the highest first."""
    parts = [ticks & 0x7F]
    while ticks := ticks >> 7:
        parts.append(ticks & 0x7F | 0x80)
    return bytes(reversed(parts))


if __name__ == "__main__":
    sys.exit(main())
