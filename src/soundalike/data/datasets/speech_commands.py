"""Speech Commands (Warden, 2018, https://arxiv.org/abs/1804.03209), version 0.01 or 0.02, as three tasks."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from soundalike.audio.read import SUFFIXES
from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.listing import audio_in, part
from soundalike.data.datasets.silence import BACKGROUND, cuts
from soundalike.data.datasets.table import SPLITS, Dataset, build

LAYOUT = "validation_list.txt and testing_list.txt beside a folder for each word"
COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
UNKNOWN, SILENCE = "_unknown_", "_silence_"
_LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}

_Row = tuple[Path, str, str, str]  # file, label, group, split


def holds(folder: Path) -> bool:
    """Whether the folder has the layout of Speech Commands."""
    return all((folder / name).is_file() for name in _LISTS.values())


def read(folder: Path) -> Dataset:
    """Every clip in a word's folder: validation or test where listed, train otherwise; speakers are groups.

    Folders that begin with an underscore (``_background_noise_``) are no words. The lists may name files that
    are not there: the published lists serve for any part of the data set.
    """
    return _dataset("speech-commands", _words(folder))


def read_digits(folder: Path) -> Dataset:
    """The digits from zero to nine (SC09), by the official lists."""
    rows = [row for row in _words(folder) if row[1] in DIGITS]
    if not rows:
        raise SoundalikeError(f"{folder}: none of the ten digits has a folder with audio ({', '.join(DIGITS)}).")
    return _dataset("sc09", rows, part(len(_labels(rows)), len(DIGITS), "digits"))


def read_12(folder: Path) -> Dataset:
    """Ten commands, ``_unknown_`` for other words and ``_silence_``, by the official lists.

    As in the code that came with the data set, each part gets a tenth as many clips of ``_unknown_``, and of
    ``_silence_``, as it has of the ten words together (rounded up): 408 and 408 beside 4,074 in the test part of
    version 0.02. There, the clips of other words are drawn with a random seed. Here they are those with the lowest
    hash of their names, so that they stay the same on every machine. The clips of ``_silence_`` are described at
    ``silence.cuts``.

    Folders ``_unknown_`` and ``_silence_``, as the published test archives have them, are the test part's clips of
    these classes where they are there. The published clips of silence come from the recordings that the cuts for
    training come from, and may share samples with them.
    """
    folder = folder.absolute()  # as the cuts are, which lie elsewhere
    words = _words(folder)
    rows = [row for row in words if row[1] in COMMANDS]
    if not rows:
        raise SoundalikeError(f"{folder}: none of the ten words has a folder with audio ({', '.join(COMMANDS)}).")
    share = part(len(_labels(rows)), len(COMMANDS), "words")
    counts = Counter(split for *_, split in rows)
    wanted = {split: math.ceil(counts[split] / 10) for split in SPLITS if counts[split]}
    unknown, about_unknown = _unknown(folder, [row for row in words if row[1] not in COMMANDS], wanted)
    silence, about_silence = _silence(folder, wanted)
    return _dataset("speech-commands-12", rows + unknown + silence, f"{share}; {about_unknown}; {about_silence}")


def _words(folder: Path) -> list[_Row]:
    """Every clip in a word's folder."""
    listed = {
        line.strip().rsplit(".", 1)[0]: split
        for split, name in _LISTS.items()
        for line in (folder / name).read_text(encoding="utf-8", errors="replace").splitlines()
    }
    words = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "_.")
    rows = [
        (path, word.name, path.stem.split("_nohash_")[0], listed.get(f"{word.name}/{path.stem}", "train"))
        for word in words
        for path in audio_in(word)
    ]
    if not rows:
        raise SoundalikeError(f"{folder}: no folder of a word holds audio (looked for {', '.join(SUFFIXES)}).")
    for split in ("train", "test"):
        if not any(row[3] == split for row in rows):
            where = f"is listed in {_LISTS[split]}" if split in _LISTS else "is left for training by the lists"
            raise SoundalikeError(f"{folder}: none of the {len(rows)} clips {where}.")
    return rows


def _unknown(folder: Path, others: list[_Row], wanted: dict[str, int]) -> tuple[list[_Row], str]:
    """The clips of ``_unknown_``, and a clause on them for the protocol."""
    given = []
    for path in audio_in(folder / UNKNOWN):  # named <word>_<speaker>_nohash_<n>.wav.wav
        speaker = path.name.split("_nohash_")[0].rsplit("_", 1)[-1] if "_nohash_" in path.name else path.name
        given.append((path, UNKNOWN, speaker, "test"))
    rows = []
    for split, count in wanted.items():
        if split == "test" and given:
            continue
        candidates = [(path, UNKNOWN, speaker, split) for path, _, speaker, its in others if its == split]
        rows += sorted(sorted(candidates, key=_hash)[:count])
    if not rows and not given:
        return [], f"no other words for {UNKNOWN}"
    if not any(split == "train" for *_, split in rows):  # a class that could only be tested
        return [], f"no {UNKNOWN}: no other words to learn it from"
    if not given:
        return rows, f"{UNKNOWN} is {_numbers(rows)} clips of other words, chosen by hash"
    return rows + given, (
        f"{UNKNOWN} is {_numbers(rows)} clips of other words, chosen by hash, and the {len(given)} test clips of "
        "its folder"
    )


def _silence(folder: Path, wanted: dict[str, int]) -> tuple[list[_Row], str]:
    """The clips of ``_silence_``, and a clause on them for the protocol."""
    given: list[_Row] = [(path, SILENCE, f"{SILENCE}/{path.name}", "test") for path in audio_in(folder / SILENCE)]
    made, broken = cuts(folder, {split: count for split, count in wanted.items() if not (given and split == "test")})
    rows = [(cut.path, SILENCE, cut.group, cut.split) for cut in made]
    unread = f" ({', '.join(broken)} could not be read)" if broken else ""
    what = f"cuts of {BACKGROUND} from stretches that no two parts share"
    if not {split for *_, split in rows + given} >= {"train", "test"}:
        if not (folder / BACKGROUND).is_dir():
            why = f"there is no folder {BACKGROUND}"
        else:
            why = f"{BACKGROUND} holds too little to give every part a second{unread}"
        return [], f"no {SILENCE}: {why}"
    if given:
        return (
            rows + given,
            f"{SILENCE} is {_numbers(rows)} {what}{unread}, and the {len(given)} test clips of its folder",
        )
    return rows, f"{SILENCE} is {_numbers(rows)} {what}{unread}"


def _hash(row: _Row) -> bytes:
    """A number for a clip that depends on its word and name alone."""
    return hashlib.sha256(f"{row[0].parent.name}/{row[0].stem}".encode(errors="surrogateescape")).digest()


def _labels(rows: Iterable[_Row]) -> set[str]:
    return {label for _, label, _, _ in rows}


def _numbers(rows: Iterable[_Row]) -> str:
    counts = Counter(split for *_, split in rows)
    return " / ".join(str(counts[split]) for split in SPLITS if counts[split])


def _dataset(name: str, rows: list[_Row], more: str = "") -> Dataset:
    present = {split for *_, split in rows}
    kinds = " / ".join(split for split in SPLITS if split in present)
    return build(
        name,
        f"official {kinds} lists{more}",
        paths=[path for path, *_ in rows],
        labels=[label for _, label, _, _ in rows],
        groups=[group for _, _, group, _ in rows],
        splits=[split for *_, split in rows],
    )
