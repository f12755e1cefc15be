"""``soundalike reproduce``: what fits a budget of a paper's tables and figures, and a page of what came out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.commands.arguments import add_device, add_tasks, number, path, read_tasks, whole
from soundalike.core.errors import SoundalikeError

if TYPE_CHECKING:
    from soundalike.eval.reproduction import Item

HELP = "repeat the tables and figures of a paper, as far as a budget allows"
NEEDS = ("lightning", "tensorboard", "yaml", "matplotlib")
PAGE = "reproduction.md"
NOTHING = "not measured"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.epilog = "The same command again goes on where it was broken off, and does nothing that is done again."
    parser.add_argument("paper", choices=("doppelgangers", "clar"), help="the paper")
    parser.add_argument(
        "--budget",
        type=number,
        required=True,
        metavar="MINUTES",
        help="minutes of training over all items; what needs more than its part is left out",
    )
    add_tasks(parser)
    parser.add_argument("--out", type=path, required=True, help=f"folder for all of it, and for {PAGE}")
    parser.add_argument("--only", nargs="+", metavar="ITEM", help="items to run (default: all that fit)")
    parser.add_argument("--count", type=whole, default=512, help="sounds of what trains nothing (default: 512)")
    add_device(parser)


def run(options: argparse.Namespace) -> int:
    """Runs one item after the other, writes the page after each, and prints where it is.

    Returns:
        Exit code: 0 done, 1 some items failed, 130 interrupted.
    """
    from soundalike.core.files import make_folder, write_whole
    from soundalike.eval.reproduction import enough, items_of, markdown, shares

    if not options.budget > 0:
        raise SoundalikeError(f"--budget is {options.budget:g}: give minutes above 0.")
    items = items_of(options.paper, options.only)
    read_tasks(options)  # so that what does not fit is said before anything is trained
    minutes = shares(items, options.budget)
    out, found = make_folder(options.out), {}
    failed, code = [], 0
    for item in items:
        if item.by_hand or (item.least and item.key not in minutes):
            why = "for a GPU" if item.by_hand else f"needs {enough(item)}"
            found[item.key] = (NOTHING, why)
            continue
        budget = f"{minutes[item.key]:.3g} minutes" if item.key in minutes else "–"
        done = not item.least and _summary(item, out / item.key) != NOTHING
        code = 0 if done else _item(item, options, minutes.get(item.key, 0.0))
        if code == 130:
            break
        if code:
            failed.append(item.key)
        found[item.key] = (_summary(item, out / item.key), budget)
        write_whole(out / PAGE, _page(options, markdown(items, found)), "the page")
    write_whole(out / PAGE, _page(options, markdown(items, found)), "the page")
    for key in failed:
        print(f"failed: {key}", file=sys.stderr)
    print(out / PAGE)
    return 130 if code == 130 else int(bool(failed))


def _item(item: Item, options: argparse.Namespace, minutes: float) -> int:
    """Runs an item's command, and what has to come before it."""
    from soundalike.cli import main
    from soundalike.train.checkpoint import CHECKPOINT

    folder = options.out / item.key
    tasks = [str(word) for task in options.task for word in ("--task", task)]
    data = [word for place in options.data for word in ("--data", str(place))]
    words = {
        "{tasks}": [*tasks, *data],
        "{data}": data,
        "{out}": [str(folder)],
        "{minutes}": [f"{minutes:.6g}"],
        "{count}": [str(options.count)],
        "{first task}": [options.task[0], "--probe-data", str(options.data[0])],
        "{first data}": [str(options.data[0]), "--task", options.task[0]],
        "{device}": [options.device],
        "--resume-or-start": ["--resume"] if (folder / CHECKPOINT).is_file() else [],
    }
    commands = [item.command]
    if item.before is not None:
        before, made = item.before
        words["{before}"] = [str(options.out / made)]
        if not (options.out / made).is_file():
            commands.insert(0, before)
    for command in commands:
        arguments = [word for part in command for word in words.get(part, [part])]
        print(f"{item.key}: soundalike {' '.join(arguments)}", file=sys.stderr, flush=True)
        code = main(arguments)
        if code not in (0, 1):  # 1: some files or runs failed, which its own report names
            return code
    return 0


def _summary(item: Item, folder: Path) -> str:
    try:
        return item.summary(folder) if item.summary is not None else "–"
    except (OSError, ValueError, LookupError, SoundalikeError):  # nothing is there yet
        return NOTHING


def _page(options: argparse.Namespace, table: str) -> str:
    tasks = ", ".join(options.task)
    return (
        f"# {options.paper}, repeated\n\n`soundalike reproduce {options.paper} --budget {options.budget:g}` on "
        f"{tasks}. Accuracies are linear probes on frozen embeddings; the folder of each item has its report.\n\n"
        + table
    )
