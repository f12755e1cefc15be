"""What arguments of several commands have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.core.errors import SoundalikeError
from soundalike.core.terminal import shown

if TYPE_CHECKING:
    from soundalike.audio.segment import Sound
    from soundalike.data.datasets import Dataset
    from soundalike.model.model import SoundModel

TASKS = (
    "esc10, esc50, urbansound8k, speech-commands, speech-commands-12, sc09, fsdd, nsynth-family, nsynth-pitch, "
    "crema-d, vivae, fsd50k, vocal-imitation, libricount, vggsound, hear (a task's folder of HEAR), "
    "folder (a folder per class) or manifest (a table with the columns path and label)"
)
DEFAULT_RECIPE = "ears-cpu"
TABLES = ".csv, .tsv, .jsonl, .ndjson, .npz or .parquet"


def whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def number(text: str) -> float:
    """A number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def seed(text: str) -> int:
    """A whole number of 32 bits."""
    value = whole(text)
    if not 0 <= value < 1 << 32:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to {(1 << 32) - 1}")
    return value


def path(text: str) -> Path:
    """A path that is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def add_sounds(parser: argparse.ArgumentParser) -> None:
    """The sounds that a command hears, which `read_sounds` finds."""
    parser.add_argument(
        "files",
        nargs="+",
        type=path,
        metavar="FILE_OR_FOLDER",
        help=f"audio files, folders searched for them, tables that list them or parts of them ({TABLES}), "
        "selection tables of Raven, or label tracks of Audacity beside their recordings",
    )
    parser.add_argument("--column", help="of a table: the one with the files (default: path, file or filename)")


def read_sounds(options: argparse.Namespace) -> list[Sound]:
    """The audio files, and segments of them, that the arguments of `add_sounds` stand for.

    Raises:
        SoundalikeError: a path does not exist, a folder holds no audio, or a table has no such column.
    """
    from soundalike.audio import read
    from soundalike.data import segments

    found: list[Sound] = []
    for place in options.files:
        found += segments.read_sounds(place, options.column) if segments.is_listing(place) else read.find([place])
    return found


def check_apart(out: Path, sources: Iterable[Path]) -> None:
    """Makes sure that a file to be written is none of those that are read, which would be lost.

    Raises:
        SoundalikeError: it is one of them.
    """
    if out.is_file() and any(source.is_file() and out.samefile(source) for source in sources):
        raise SoundalikeError(f"{out}: is read and would be overwritten; give another place to write to.")


def add_device(parser: argparse.ArgumentParser) -> None:
    """``--device`` of a command that trains."""
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")


def add_inference_device(parser: argparse.ArgumentParser) -> None:
    """``--device`` of a command that embeds."""
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps, or auto: a GPU if it has one (default: cpu)")


def add_speed(parser: argparse.ArgumentParser) -> None:
    """``--speed``, for `SoundModel.slowed`; what a model remembers where it is not given."""
    parser.add_argument(
        "--speed",
        type=number,
        metavar="TIMES",
        help="hear the sounds slowed down so many times, as 10 for bats; times stay those of the recording",
    )


def add_compact(parser: argparse.ArgumentParser, does: str) -> None:
    """``--compact`` and ``--full`` of a command that embeds.

    ``compact`` is None where it is not given, 512 where it is given without a number.

    Args:
        parser: parser of the command.
        does: what the command does with an embedding, such as ``write``.
    """
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--compact",
        nargs="?",
        type=whole,
        const=512,
        metavar="SIZE",
        help=f"{does} the compact embedding of that many numbers (default: 512)",
    )
    which.add_argument(
        "--full", action="store_true", help=f"{does} the full embedding of a model that gives a compact one"
    )


def as_asked(model: SoundModel, options: argparse.Namespace) -> SoundModel:
    """The model with the embedding that ``--compact`` or ``--full`` asks for; its own where neither is given."""
    if options.compact is not None:
        return model.compacted(options.compact)
    return model.full() if options.full else model


def at_speed(model: SoundModel, options: argparse.Namespace) -> SoundModel:
    """The model that hears as slowly as ``--speed`` says; as it does by itself where it is not given."""
    return model if options.speed is None else model.slowed(options.speed)


def add_tasks(parser: argparse.ArgumentParser) -> None:
    """``--task`` and ``--data``, which `read_tasks` reads."""
    parser.add_argument("--task", action="append", required=True, help=f"{TASKS}; may be repeated")
    parser.add_argument(
        "--data",
        action="append",
        required=True,
        type=path,
        help="folder of the task's recordings, or a manifest's table: one for each --task in order, or one for all",
    )


def read_tasks(options: argparse.Namespace) -> list[Dataset]:
    """The data sets that ``--task`` and ``--data`` name.

    Raises:
        SoundalikeError: their numbers do not fit, or a folder does not hold its task.
    """
    from soundalike.data import datasets

    tasks, folders = options.task, options.data
    if len(folders) not in (1, len(tasks)):
        raise SoundalikeError(
            f"{len(tasks)} --task and {len(folders)} --data: give one --data for each --task, or one."
        )
    folders = folders * (len(tasks) if len(folders) == 1 else 1)
    return [datasets.read(task, folder) for task, folder in zip(tasks, folders, strict=True)]


def settings(rest: Sequence[str], command: str) -> dict[str, Any]:
    """Recipe keys out of options such as ``--delta 0.1`` and ``--delta=0.1``.

    Args:
        rest: the options that the command's parser has left.
        command: its name.

    Returns:
        Values by key, for `Recipe.override`.

    Raises:
        SoundalikeError: an option has no value, or is none.
    """
    from soundalike.core import yaml_text

    found: dict[str, Any] = {}
    remaining = list(rest)
    while remaining:
        option = remaining.pop(0)
        if not option.startswith("--"):
            raise SoundalikeError(f"unknown argument {option!r}: options start with --, such as --delta 0.25.")
        key, equals, value = option[2:].partition("=")
        if not equals:
            if not remaining or remaining[0].startswith("--"):
                raise SoundalikeError(f"{option} needs a value, or is no option; see soundalike {command} --help.")
            value = remaining.pop(0)
        # numbers, lists and null as YAML reads them; what is none of these is a name
        try:
            found[key] = yaml_text.parse(value)
        except yaml_text.NotYAMLError:
            found[key] = value
    return found


def name_unheard(model: Path) -> int:
    """Names the recordings that the run of a model could not hear, or not whole, on stderr.

    Returns:
        The exit code: 1 where there are any that it could not hear.
    """
    from soundalike.data.training_clips import left_out, noted
    from soundalike.train.pretrain import CLIPS

    record = model.parent / CLIPS
    if not record.is_file():
        return 0
    for file, reason in noted(record):
        print(f"note: {shown(file)}: {shown(reason)}", file=sys.stderr)
    return name_broken(left_out(record))


def name_broken(broken: Iterable[tuple[object, str]]) -> int:
    """Names the files that were left out, on stderr.

    Returns:
        The exit code: 1 where there are any.
    """
    found = False
    for file, reason in broken:
        found = True
        print(f"left out: {shown(file)}: {shown(reason)}", file=sys.stderr)
    return int(found)
