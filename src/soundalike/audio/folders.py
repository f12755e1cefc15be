"""The sounds that folders hold: one walk for all commands, and what it left out."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from pathlib import Path

from soundalike.audio.kinds import WITH_EXTRA, is_left_out, suffixes
from soundalike.core.errors import LeftOutWarning, SoundalikeError, UnreadableFolderWarning
from soundalike.core.files import missing

Identity = tuple[int, int]  # of a folder


@dataclass
class LeftOut:
    """Sounds of folders that are not read.

    Attributes:
        kinds: how many there are of each suffix.
    """

    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, name: str) -> None:
        """Counts a file in, by its name."""
        self.kinds[Path(name).suffix.lower()] += 1

    @property
    def sentence(self) -> str:
        """What was left out, and what would read it; empty where nothing was."""
        if not self.kinds:
            return ""
        count = sum(self.kinds.values())
        listed = ", ".join(f"{number} {suffix or 'without a suffix'}" for suffix, number in self.kinds.most_common())
        advice = ""
        if not set(WITH_EXTRA) & set(suffixes()) and set(WITH_EXTRA) & set(self.kinds):
            advice = "; pip install 'soundalike[formats]' reads " + ", ".join(
                suffix for suffix, _ in self.kinds.most_common() if suffix in WITH_EXTRA
            )
        return f"{count} file{'s were' if count > 1 else ' was'} left out: {listed}{advice}"

    def warn(self, folder: str | Path, more: str = "", stacklevel: int = 2) -> None:
        """Says it, where there is anything.

        Args:
            folder: in which they are.
            more: the end of the sentence.
            stacklevel: of the warning: 2 for the caller of this function.
        """
        if self.kinds:
            warnings.warn(f"{folder}: {self.sentence}{more}.", LeftOutWarning, stacklevel=stacklevel + 1)


def find(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """The audio files that paths stand for.

    Args:
        paths: files and folders. A file is kept whatever its suffix; of a folder, what `walk` finds.

    Returns:
        Files in the order given, those of a folder sorted.

    Raises:
        SoundalikeError: if a path does not exist, or a folder holds no audio.

    Warns:
        LeftOutWarning: folders hold sounds that are not read.
        UnreadableFolderWarning: a folder may not be looked into.
    """
    found: list[Path] = []
    together, folders = LeftOut(), []
    for path in [paths] if isinstance(paths, (str, Path)) else paths:
        path = Path(path)
        if path.is_dir():
            left = LeftOut()
            inside = walk(path, left)
            if not inside:
                none = f" {left.sentence}." if left.kinds else ""
                raise SoundalikeError(f"{path}: the folder holds no audio (looked for {', '.join(suffixes())}).{none}")
            found += inside
            together.kinds += left.kinds
            folders.append(str(path))
        elif os.path.lexists(path):
            found.append(path)
        else:
            raise SoundalikeError(missing(path))
    together.warn(", ".join(folders))
    return found


def walk(folder: str | Path, left_out: LeftOut | None = None, barred: Set[Identity] = frozenset()) -> list[Path]:
    """Every audio file below a folder, sorted: those with one of `suffixes` whose path has no hidden part.

    Links to folders are followed, but no folder is looked into twice, nor one in which the given one lies. What lies
    in the folder itself goes before what is linked to.

    Args:
        folder: an existing one.
        left_out: where sounds that are not read are counted.
        barred: the `identity` of folders that are not looked into when a link leads there.

    Warns:
        UnreadableFolderWarning: a folder may not be looked into.
    """
    known = set(suffixes())
    around = os.path.realpath(folder)
    seen = set(barred) - {identity(folder)}
    waiting, found = [os.fspath(folder)], []
    links: list[str] = []
    while waiting or links:
        if not waiting:
            links.sort(reverse=True)
            link = links.pop()
            target = os.path.realpath(link)
            if os.path.commonpath([target, around]) != target:
                waiting.append(link)
            continue
        place = waiting.pop()
        try:
            if (own := identity(place)) in seen:
                continue
            seen.add(own)
            entries = list(os.scandir(place))
        except OSError as error:
            reason = f"cannot be looked into ({error.strerror}): the sounds in it are not found."
            warnings.warn(f"{error.filename}: {reason}", UnreadableFolderWarning, stacklevel=3)
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif entry.is_symlink() and os.path.isdir(entry.path):
                links.append(entry.path)
            elif Path(entry.name).suffix.lower() in known:
                found.append(Path(entry.path))
            elif left_out is not None and entry.is_file() and is_left_out(entry.name, entry.path):
                left_out.add(entry.name)
    return sorted(found)


def identity(folder: str | Path) -> Identity:
    """What tells a folder from all others, by whatever path."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino
