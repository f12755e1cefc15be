"""Speech Commands (Warden, 2018, https://arxiv.org/abs/1804.03209), version 0.01 or 0.02."""

from __future__ import annotations

from pathlib import Path

from soundalike.audio import SUFFIXES
from soundalike.datasets.table import SPLITS, Dataset, build
from soundalike.errors import SoundalikeError

LAYOUT = "validation_list.txt and testing_list.txt beside a folder for each word"
_LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}


def holds(folder: Path) -> bool:
    """Whether the folder has the layout of Speech Commands."""
    return all((folder / name).is_file() for name in _LISTS.values())


def read(folder: Path) -> Dataset:
    """Every clip in a word's folder: validation or test where listed, train otherwise; speakers are groups.

    Folders that begin with an underscore (``_background_noise_``) are no words. The lists may name files that
    are not there: the published lists serve for any part of the data set.
    """
    listed = {
        line.strip().rsplit(".", 1)[0]: split
        for split, name in _LISTS.items()
        for line in (folder / name).read_text(encoding="utf-8", errors="replace").splitlines()
    }
    words = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "_.")
    paths = [
        path
        for word in words
        for path in sorted(word.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not paths:
        raise SoundalikeError(f"{folder}: no folder of a word holds audio (looked for {', '.join(SUFFIXES)}).")
    splits = [listed.get(f"{path.parent.name}/{path.stem}", "train") for path in paths]
    for split in ("train", "test"):
        if split not in splits:
            where = f"is listed in {_LISTS[split]}" if split in _LISTS else "is left for training by the lists"
            raise SoundalikeError(f"{folder}: none of the {len(paths)} clips {where}.")
    kinds = " / ".join(split for split in SPLITS if split in splits)
    return build(
        "speech-commands",
        f"official {kinds} lists",
        paths=paths,
        labels=[path.parent.name for path in paths],
        groups=[path.stem.split("_nohash_")[0] for path in paths],
        splits=splits,
    )
