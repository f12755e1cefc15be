"""VGGSound (Chen et al., 2020, https://www.robots.ox.ac.uk/~vgg/data/vggsound/): 10 s each of 200,000 videos."""

from __future__ import annotations

import csv
from pathlib import Path

from soundalike.audio.folders import walk
from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.listing import part
from soundalike.data.datasets.table import Dataset, build

LAYOUT = "vggsound.csv (video, second, label, train or test; no header) beside the clips, in any folders"
_CLASSES = 309
_SECONDS = 10


def holds(folder: Path) -> bool:
    """Whether the folder has the list of VGGSound."""
    return (folder / "vggsound.csv").is_file()


def read(folder: Path) -> Dataset:
    """The clips of the list that are anywhere below the folder, in its lists; clips of one video form a group.

    A clip is called ``{video}_{second:06}``, as the list's authors do, or ``{video}_{from}_{to}`` in milliseconds or
    seconds, or ``{video}`` alone. The videos have to be fetched by other means, and many are gone: those that are not
    there are counted.
    """
    source = folder / "vggsound.csv"
    files = {path.stem: path for path in walk(folder)}
    clips: list[tuple[Path, str, str, str]] = []
    count = 0
    try:
        with source.open(encoding="utf-8", newline="") as stream:
            for number, row in enumerate(csv.reader(stream), start=1):
                if not row:
                    continue
                count += 1
                if len(row) != 4 or row[3] not in ("train", "test") or not row[1].isdecimal():
                    raise SoundalikeError(
                        f"{source}: row {number} is not a video, a second, a label, and train or test."
                    )
                video, second, label, split = row
                found = next((files[name] for name in _names(video, int(second)) if name in files), None)
                if found is not None:
                    clips.append((found, label, video, split))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SoundalikeError(f"{source}: not a table that can be read ({error}).") from error
    if not clips:
        raise SoundalikeError(
            f"{folder}: none of the {count} clips of {source.name} is there; they are looked for under such names as "
            "VIDEO_000030.wav."
        )
    return build(
        "vggsound",
        f"official train / test lists{part(len({label for _, label, *_ in clips}), _CLASSES)}",
        paths=[path for path, *_ in clips],
        labels=[label for _, label, *_ in clips],
        groups=[video for *_, video, _ in clips],
        splits=[split for *_, split in clips],
        missing=count - len(clips),
    )


def _names(video: str, second: int) -> tuple[str, ...]:
    end = second + _SECONDS
    return (f"{video}_{second:06}", f"{video}_{1000 * second}_{1000 * end}", f"{video}_{second}_{end}", video)
