"""Builds development sets of sounds from Debian packages, for choices that must not see the evaluation data.

    python benchmarks/development/build.py OUT [--tasks words notes pitches events drums]

Needs Debian 12 with its package sources, and root for installing the synthesizers that are missing. Every clip is
16 kHz, mono, 16 bit: ``OUT/<task>/<class>/<group>-<n>.wav``. Clips of one group must stay in one fold.

- words: 14 short words by 29 synthetic voices; group = voice. espeak-ng (GPL-3+), flite and its voices, festival with
  festvox-kdlpc16k (all MIT-like).
- notes: random notes of 20 instruments of fluid-soundfont-gm (MIT), rendered by fluidsynth (LGPL-2.1+); group = MIDI
  pitch, and classes are the instruments.
- pitches: 24 pitches by the same 20 instruments; group = instrument, and classes are the pitches.
- events: effects recorded or made for games; group = file. wesnoth-1.16-data (GPL-2+), widelands-data (GPL-2+),
  ufoai-sound (GPL-2+, CC-BY-SA-3.0, CC-BY-3.0, public domain), warzone2100-data (GPL-2+, CC-BY-SA-3.0, CC0),
  minetest-data (LGPL-2.1+, CC-BY-SA-3.0), supertux-data (GPL-3+), hedgewars-data (GPL-2).
- drums: drum kits of hydrogen-drumkits (GPL-2, GPL-2+, CC0, CC-BY-3.0, CC-BY-SA-3.0); group = kit.

The copyright file of each package says more. Nothing of what is built is stored in the repository.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from soundalike.core.errors import SoundalikeError

RATE = 16000
SEED = 20
PEAK_OF_SILENCE, SHORTEST = 2e-3, 0.05  # full scale is 1; s
# files of one game are sometimes the same recording twice: above this correlation the second one is dropped
SAME_RECORDING = 0.95

WORDS = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "cat", "dog", "house", "tree"]
ACCENTS = {"us": "en-us", "nyc": "en-us-nyc", "gb": "en-gb", "rp": "en-gb-x-rp", "scot": "en-gb-scotland",
           "clan": "en-gb-x-gbclan", "cwmd": "en-gb-x-gbcwmd", "carib": "en-029"}  # fmt: skip
# accent and variant: base pitch of 0..99
ESPEAK = {
    "us_m1": 35, "gb_m3": 50, "rp_m7": 25, "scot_m4": 45, "carib_m5": 55, "nyc_m6": 40, "us_f1": 55, "gb_f2": 65,
    "scot_f3": 50, "nyc_f4": 60, "rp_f5": 75, "us_klatt": 40, "gb_klatt2": 60, "scot_klatt3": 30, "us_klatt4": 70,
    "clan_croak": 30, "gb_whisper": 50, "us_whisperf": 60, "gb_grandma": 60, "cwmd_grandpa": 30, "us_linda": 60,
    "clan_boris": 20, "us_f2": 99, "us_Storm": 45,
}  # fmt: skip
FLITE = ("kal16", "awb", "rms", "slt")
FESTIVAL = ("ked",)

# General MIDI programs, counted from 0
INSTRUMENTS = {
    "piano": 0, "harpsichord": 6, "glockenspiel": 9, "vibraphone": 11, "marimba": 12, "church_organ": 19,
    "accordion": 21, "nylon_guitar": 24, "distorted_guitar": 30, "finger_bass": 33, "violin": 40, "cello": 42,
    "pizzicato": 45, "choir": 52, "trumpet": 56, "trombone": 57, "saxophone": 65, "clarinet": 71, "flute": 73,
    "banjo": 105,
}  # fmt: skip
PITCHES = range(48, 72)
NOTE_SPACING = 4.0  # s: leaves the release and the reverberation of a note out of the next one

# class: {package: pattern of the file name without its ending}
WESNOTH, WIDELANDS, UFO, WARZONE = "wesnoth-1.16-data", "widelands-data", "ufoai-sound", "warzone2100-data"
MINETEST, SUPERTUX, HEDGEWARS = "minetest-data", "supertux-data", "hedgewars-data"
EVENTS: dict[str, dict[str, str]] = {
    "bat": {WESNOTH: r"bat-(hit-\d|flapping)"},
    "bellow": {WIDELANDS: r"(ox|moose|stag)_\d+|donkey"},
    "bird": {WIDELANDS: r"bird\d_\d+", WESNOTH: r"birds\d"},
    "breaking_glass": {UFO: r"breakglass\d+", MINETEST: r"default_break_glass\.\d"},
    "breaking_metal": {UFO: r"breakmetal\d+"},
    "breaking_wood": {UFO: r"breakwood\d+"},
    "bubbling": {WIDELANDS: r"(beer|wine)bubble_\d+", UFO: r"alienbase-bubbles", SUPERTUX: r"lava"},
    "cannon": {WARZONE: r"(hivel|lrg|med|rapd|sml)can|mortar", UFO: r"ugv-cannon-fire"},
    "crowd": {WIDELANDS: r"(inn|tavern|meal|biginn)_\d+"},
    "door": {UFO: r"door\d-(close|open)", MINETEST: r"doors_(door|steel_door|fencegate)_(close|open)"},
    "dwarf": {WESNOTH: r"dwarf-(die|hit)-\d"},
    "engine": {UFO: r"diesel-\w+|engine_alien_\w+", WARZONE: r"con-move|tread|hovmove|vtol-move|thover"},
    "explosion": {WARZONE: r"(lrg|sml|atnk)expl", UFO: r"explosion(-(grenade|rocket|flashbang|fire))?",
                  MINETEST: r"tnt_explode", SUPERTUX: r"explosion|firecracker", HEDGEWARS: r"explosion"},
    "fire": {UFO: r"fire\d*|smallfire|firesoft", MINETEST: r"fire_fire\.\d", WESNOTH: r"campfire"},
    "footstep_grass": {UFO: r"grass\d", MINETEST: r"default_grass_footstep\.\d"},
    "footstep_gravel": {UFO: r"gravel\d", MINETEST: r"default_gravel_footstep\.\d"},
    "footstep_snow": {UFO: r"snow\d", MINETEST: r"default_snow_footstep\.\d"},
    "footstep_tile": {UFO: r"tile\d|linoleum"},
    "footstep_water": {UFO: r"splash\d", MINETEST: r"default_water_footstep\.\d"},
    "footstep_wood": {UFO: r"wood\d", MINETEST: r"default_wood_footstep\.\d"},
    "goblin": {WESNOTH: r"goblin-(die|hit)-\d"},
    "gryphon": {WESNOTH: r"gryphon-(die|hit|shriek)-\d"},
    "gunshot": {UFO: r"bullet-(pistol2?|sniper|rifle-1x|rifle|shotgun|smg-1x)", WESNOTH: r"gunshot|thunderstick",
                HEDGEWARS: r"gun|shotgunfire"},
    "hammering": {WIDELANDS: r"(hammering|smith|toolsmith)_\d+|geologist_hammer"},
    "hiss": {WESNOTH: r"hiss(-big|-die|-hit)?|naga-(die|hit-\d)"},
    "horn": {WESNOTH: r"horn-\d"},
    "horse": {WESNOTH: r"horse-(die|hit-\d)", WIDELANDS: r"horse_\d+"},
    "laser": {UFO: r"laser-(huge|large|medium|small|blast)", WARZONE: r"(beml|plsl|rotl)sr"},
    "machine_gun": {WARZONE: r"mg(bar\d|heavy|tower)|asltmg", UFO: r"bullet-(chaingun-5x|smg-15x|hmg-20x|rifle-8x)",
                    HEDGEWARS: r"minigun"},
    "man_dying": {UFO: r"(civ)?maledeath\d+a?", WESNOTH: r"human-die-\d"},
    "man_hurt": {UFO: r"malehurt\d+", WESNOTH: r"human-hit-\d"},
    "ogre": {WESNOTH: r"ogre-(die|hit)-\d"},
    "orc": {WESNOTH: r"orc-(die|hit)-\d"},
    "reload": {UFO: r"reload-\w+", HEDGEWARS: r"shotgunreload|sniperreload"},
    "running_water": {UFO: r"water\d*|waterfontain", MINETEST: r"env_sounds_water\.\d", SUPERTUX: r"waterfall"},
    "sawing": {WIDELANDS: r"(sawing|benchsaw|sawmill)_\d+", SUPERTUX: r"saw"},
    "sizzle": {MINETEST: r"fire_extinguish_flame\.\d|default_cool_lava\.\d", SUPERTUX: r"sizzle|fizz"},
    "skeleton": {WESNOTH: r"skeleton-(big-)?(die|hit)(-\d)?"},
    "stone_cutting": {WIDELANDS: r"stonecutter_\d+|stonecutter|stonemason", MINETEST: r"default_dig_cracky\.\d"},
    "swish": {WESNOTH: r"miss-\d|throw-\d|dagger-swish", UFO: r"melee-(swoosh|throw)"},
    "thunder": {UFO: r"thunder\d", SUPERTUX: r"thunder", WESNOTH: r"lightning"},
    "troll": {WESNOTH: r"troll-(die|hit)-\d"},
    "wolf": {WESNOTH: r"wolf-(die|growl|hit)-\d", WIDELANDS: r"(wolf|coyote)_\d+"},
    "woman_hurt": {UFO: r"femalehurt\d+|civfemscream\d+a", WESNOTH: r"human-female-(die|hit)-\d"},
    "wood_chopping": {WIDELANDS: r"fast_woodcutting_\d+|woodcutting", MINETEST: r"default_dig_choppy\.\d"},
    "zombie": {WESNOTH: r"zombie-hit-\d|ugg|groan"},
}  # fmt: skip
LEAST_EVENTS, MOST_EVENTS, EVENT_SECONDS = 4, 8, 5.0

# first match wins; names of the instruments in the kits, in lower case
DRUMS = {
    "side_stick": r"stick|rim click", "kick": r"kick|bass ?drum", "snare": r"snare(?!.*(roll|rim))", "clap": r"clap",
    "tom": r"\btom", "hihat_open": r"op(en|ened)?\b.*|ohh", "hihat_closed": r"(hat|hh).*cl|closed (hh|hat)",
    "hihat_pedal": r"pedal (hh|hat)|(hat|hh).*pe?d", "ride": r"(?<!crash/)ride(?!.*bell)", "crash": r"crash(?!/)",
    "cowbell": r"cowbell",
}  # fmt: skip
MOST_STROKES = 4  # of one class by one kit

Clip = tuple[str, str, np.ndarray]  # class, group, samples (n,) at RATE


def execute(*command: str, cwd: Path | None = None, stdin: str | None = None) -> None:
    try:
        subprocess.run(command, check=True, cwd=cwd, input=stdin, text=True, capture_output=True, timeout=900)
    except FileNotFoundError:
        raise SoundalikeError(f"{command[0]} is missing: install the Debian package that has it.") from None
    except subprocess.TimeoutExpired:
        raise SoundalikeError(f"{' '.join(command)[:120]} took over 15 minutes: run it by hand, then again.") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise SoundalikeError(f"{' '.join(command)[:120]} failed: {last}") from None


class Packages:
    """Downloaded and unpacked Debian packages; what ``folder`` has already is not downloaded again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def unpacked(self, package: str) -> Path:
        """The folder of a package's files, with its zip archives of sounds unpacked."""
        target = self.folder / package
        if target.exists():
            return target
        if not list(self.folder.glob(f"{package}_*.deb")):
            execute("apt-get", "-o", "APT::Sandbox::User=root", "download", package, cwd=self.folder)
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            partial = Path(name) / package
            execute("dpkg", "-x", str(next(self.folder.glob(f"{package}_*.deb"))), str(partial))
            for archive in (*partial.rglob("*.pk3"), *partial.rglob("*.wz")):
                with zipfile.ZipFile(archive) as members:
                    members.extractall(archive.parent, [m for m in members.namelist() if m.endswith((".ogg", ".wav"))])
            partial.rename(target)
        return target

    @staticmethod
    def install(commands: dict[str, str]) -> None:
        """Installs the packages of the commands that are missing; ``commands`` maps command or file to package."""
        missing = [name for what, name in commands.items() if not (shutil.which(what) or Path(what).exists())]
        if missing:
            execute(
                "env",
                "DEBIAN_FRONTEND=noninteractive",
                "apt-get",
                "install",
                "-y",
                "--no-install-recommends",
                *missing,
            )


def generator(*parts: str) -> np.random.Generator:
    """A generator of its own for every clip, so that one clip does not change the next."""
    return np.random.default_rng([SEED, zlib.crc32("/".join(parts).encode())])


def read(path: Path, seconds: float | None = None) -> np.ndarray:
    """Mono samples (n,) at RATE."""
    samples, rate = soundfile.read(path, dtype="float64", always_2d=True)  # (frames, channels)
    mono = samples.mean(axis=1)
    if seconds is not None:
        mono = mono[: round(seconds * rate)]
    return soxr.resample(mono, rate, RATE, "HQ") if len(mono) else mono


def audible(samples: np.ndarray) -> bool:
    """Whether a clip is long and loud enough to be kept."""
    return len(samples) >= SHORTEST * RATE and bool(np.abs(samples).max() > PEAK_OF_SILENCE)


def faded(samples: np.ndarray, seconds: float = 0.01) -> np.ndarray:
    """With an end that does not click."""
    samples, length = samples.copy(), min(len(samples), round(seconds * RATE))
    samples[len(samples) - length :] *= np.linspace(1, 0, length)
    return samples


def spoken(samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A word as if recorded: silence trimmed, pitch moved a little, pauses, coloured noise and a gain."""
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    samples = samples[loud[0] : loud[-1] + 1]
    samples = soxr.resample(samples, RATE, RATE * random.uniform(0.95, 1.05), "HQ")
    before, after = (random.uniform(0.05, 0.3, 2) * RATE).astype(int)
    power = np.mean(samples**2)
    samples = np.pad(samples, (before, after))
    # spectrum of the noise: 1 / f ** slope of the power, flat (0) to brown (2), from 50 Hz on
    spectrum = np.fft.rfft(random.standard_normal(len(samples)))
    frequency = np.fft.rfftfreq(len(samples), 1 / RATE)
    noise = np.fft.irfft(spectrum * np.maximum(frequency, 50.0) ** (-random.uniform(0, 2) / 2), len(samples))
    noise *= np.sqrt(power / np.mean(noise**2) / 10 ** (random.uniform(15, 35) / 10))
    mix = samples + noise
    return mix / np.abs(mix).max() * 10 ** (random.uniform(-20, -1) / 20)


def words(packages: Packages, scratch: Path) -> Iterator[Clip]:
    """Words by all voices, with another speed and pitch every time."""
    packages.install({"espeak-ng": "espeak-ng", "flite": "flite", "text2wave": "festival",
                      "/usr/share/festival/voices/english/ked_diphone": "festvox-kdlpc16k"})  # fmt: skip
    wave = str(scratch / "word.wav")
    for word in WORDS:
        for voice in (*ESPEAK, *FLITE, *FESTIVAL):
            random = generator("words", word, voice)
            stretch = random.uniform(0.8, 1.25)
            if voice in ESPEAK:
                accent, variant = voice.split("_")
                name, speed = f"{ACCENTS[accent]}+{variant}", round(160 / stretch)
                pitch = int(np.clip(ESPEAK[voice] + random.integers(-8, 9), 0, 99))
                execute("espeak-ng", "-v", name, "-s", f"{speed}", "-p", f"{pitch}", "-w", wave, word)
            elif voice in FLITE:
                execute("flite", "-voice", voice, "--setf", f"duration_stretch={stretch:.3f}", "-t", word, "-o", wave)
            else:
                scheme = f"(begin (voice_{voice}_diphone) (Parameter.set 'Duration_Stretch {stretch:.3f}))"
                execute("text2wave", "-eval", scheme, "-o", wave, stdin=word)
            yield word, voice, spoken(read(Path(wave)), random)


def midi(notes: list[tuple[int, int]], program: int, held: float) -> bytes:
    """A MIDI file that plays (pitch, velocity) one after the other, every NOTE_SPACING seconds; a tick is 1 ms."""

    def quantity(value: int) -> bytes:
        return bytes([0x80 | (value >> 14), 0x80 | (value >> 7) & 0x7F, value & 0x7F])

    track = b"\x00\xff\x51\x03\x0f\x42\x40" + bytes([0, 0xC0, program])
    on, off = round(held * 1000), round((NOTE_SPACING - held) * 1000)
    for i, (pitch, velocity) in enumerate(notes):
        track += quantity(off if i else 0) + bytes([0x90, pitch, velocity]) + quantity(on) + bytes([0x80, pitch, 0])
    track += quantity(off) + b"\xff\x2f\x00"
    header = b"MThd" + (6).to_bytes(4) + (0).to_bytes(2) + (1).to_bytes(2) + (1000).to_bytes(2)
    return header + b"MTrk" + len(track).to_bytes(4) + track


def played(packages: Packages, scratch: Path, pitches: range, number: int, seconds: float) -> Iterator[Clip]:
    """(instrument, pitch, clip) for ``number`` different pitches of every instrument, each with its own velocity."""
    packages.install({"fluidsynth": "fluidsynth"})
    font = next(packages.unpacked("fluid-soundfont-gm").rglob("FluidR3_GM.sf2"))
    song, wave = scratch / "song.mid", scratch / "song.wav"
    for instrument, program in INSTRUMENTS.items():
        random = generator("played", instrument, str(number))
        drawn = [(int(p), int(random.integers(60, 121))) for p in random.choice(pitches, number, replace=False)]
        song.write_bytes(midi(drawn, program, held=0.7 * seconds))
        execute("fluidsynth", "-ni", "-q", "-g", "0.8", "-r", "44100", "-F", str(wave), str(font), str(song))
        samples = read(wave)  # (n,)
        for i, (pitch, _) in enumerate(drawn):
            start = round(i * NOTE_SPACING * RATE)
            yield instrument, str(pitch), faded(samples[start : start + round(seconds * RATE)], 0.05)


def notes(packages: Packages, scratch: Path) -> Iterator[Clip]:
    """Notes at random pitches; the class is the instrument."""
    yield from played(packages, scratch, range(36, 85), 30, 2.0)


def pitches(packages: Packages, scratch: Path) -> Iterator[Clip]:
    """The same pitches by every instrument; the class is the pitch."""
    for instrument, pitch, clip in played(packages, scratch, PITCHES, len(PITCHES), 1.5):
        yield pitch, instrument, clip


def same_recording(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether one clip is the other, moved or scaled."""
    size = 1 << (len(first) + len(second)).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(first, size) * np.conj(np.fft.rfft(second, size)), size)
    shorter = np.sqrt(np.sum(first**2) * np.sum(second**2))
    return bool(np.abs(correlation).max() > SAME_RECORDING * shorter)


def events(packages: Packages, scratch: Path) -> Iterator[Clip]:
    """At most MOST_EVENTS different files of each class, packages in turn."""
    files = {
        package: sorted(
            path
            for path in packages.unpacked(package).rglob("*")
            if path.suffix in (".ogg", ".wav") and not re.search("music|voices|locale|translation", str(path.parent))
        )
        for package in (WESNOTH, WIDELANDS, UFO, WARZONE, MINETEST, SUPERTUX, HEDGEWARS)
    }
    for name, patterns in EVENTS.items():
        random = generator("events", name)
        mixed = []
        for package, pattern in patterns.items():
            found = [path for path in files[package] if re.fullmatch(pattern, path.stem)]
            order = random.permutation(len(found))
            mixed += [(turn, package.split("-")[0], found[i]) for turn, i in enumerate(order)]
        kept: dict[str, np.ndarray] = {}
        for _, source, path in sorted(mixed):
            clip = faded(read(path, EVENT_SECONDS))
            if (
                audible(clip)
                and len(kept) < MOST_EVENTS
                and not any(same_recording(clip, other) for other in kept.values())
            ):
                kept[re.sub(r"\W+", "_", f"{source}_{path.stem}")] = clip
        if len(kept) < LEAST_EVENTS:
            print(f"events: {name} is left out, it has {len(kept)} different files", file=sys.stderr)
            continue
        yield from ((name, group, clip) for group, clip in kept.items())


def drums(packages: Packages, scratch: Path) -> Iterator[Clip]:
    """Single strokes; loudness layers of one instrument are spread over its range."""
    for description in sorted(packages.unpacked("hydrogen-drumkits").rglob("drumkit.xml")):
        kit = re.sub(r"\W+", "_", description.parent.name)
        strokes: dict[str, list[Path]] = defaultdict(list)
        for instrument in re.findall(
            r"<instrument>(.*?)</instrument>", description.read_text("utf-8", "replace"), re.S
        ):
            name = re.search(r"<name>([^<]*)", instrument)
            label = next((d for d, p in DRUMS.items() if name and re.search(p, name.group(1).lower())), None)
            paths = [description.parent / file for file in re.findall(r"<filename>([^<]*)", instrument)]
            if label:
                strokes[label] += [path for path in paths if path.is_file() and path not in strokes[label]]
        for label, paths in strokes.items():
            chosen = np.unique(np.linspace(0, len(paths) - 1, min(MOST_STROKES, len(paths))).round().astype(int))
            yield from ((label, kit, faded(read(paths[i], 3.0))) for i in chosen)


TASKS: dict[str, Callable[[Packages, Path], Iterator[Clip]]] = {
    "words": words, "notes": notes, "pitches": pitches, "events": events, "drums": drums,
}  # fmt: skip


def build(task: str, out: Path, packages: Packages) -> None:
    """Writes OUT/task, all of it or nothing; silent clips and copies are left out."""
    with tempfile.TemporaryDirectory(dir=packages.folder) as name:
        scratch, partial = Path(name), Path(name) / task
        seen: set[str] = set()
        count: dict[tuple[str, str], int] = defaultdict(int)
        for label, group, clip in TASKS[task](packages, scratch):
            stored = (np.clip(clip, -1, 1) * 32767).round().astype(np.int16)
            digest = hashlib.sha256(stored.tobytes()).hexdigest()
            if digest in seen or not audible(clip):
                print(f"{task}: {label}/{group} is silent, too short or a copy: left out", file=sys.stderr)
                continue
            seen.add(digest)
            path = partial / label / f"{group}-{count[label, group]}.wav"
            count[label, group] += 1
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, stored, RATE, subtype="PCM_16")
        out.mkdir(parents=True, exist_ok=True)
        shutil.move(partial, out / task)


def summary(out: Path, tasks: list[str]) -> str:
    """The table of what lies in OUT."""
    lines = [f"{'task':10}{'classes':>9}{'clips':>7}{'groups':>8}"]
    for task in tasks:
        clips = sorted((out / task).glob("*/*.wav"))
        classes = [path.parent.name for path in clips]
        groups = {path.stem.split("-")[0] for path in clips}
        lines.append(f"{task:10}{len(set(classes)):9}{len(clips):7}{len(groups):8}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds development sets of sounds from Debian packages.")
    parser.add_argument("out", type=Path, help="output folder; tasks that it has already are kept")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS), metavar="TASK")
    parser.add_argument("--packages", type=Path, default=Path(tempfile.gettempdir()) / "development-packages",
                        help="folder for downloaded packages, about 3 GB")  # fmt: skip
    arguments = parser.parse_args()
    packages = Packages(arguments.packages)
    try:
        for task in arguments.tasks:
            if not (arguments.out / task).exists():
                build(task, arguments.out, packages)
    except SoundalikeError as error:
        print(error, file=sys.stderr)
        return 2
    print(summary(arguments.out, arguments.tasks))
    return 0


if __name__ == "__main__":
    sys.exit(main())
