"""``soundalike data list`` and ``soundalike data get``: published data sets from their official addresses."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.commands.arguments import path
from soundalike.core.errors import SoundalikeError
from soundalike.core.extras import require

if TYPE_CHECKING:
    from soundalike.data.download import Archive, Got

HELP = "list published data sets, and download them"
_DEFAULT_OUT = Path("data")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes: what to do, and what that takes."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    described = "show published data sets: sizes, licences, tasks and, of those that are got by hand, where from"
    actions.add_parser("list", help=described, description=described, allow_abbrev=False)
    described = "download data sets, verify and unpack them; an interrupted download goes on with the same command"
    getting = actions.add_parser("get", help=described, description=described, allow_abbrev=False)
    getting.add_argument("datasets", nargs="+", metavar="NAME", help="of a data set, as soundalike data list shows it")
    getting.add_argument(
        "--out",
        type=path,
        default=_DEFAULT_OUT,
        help="folder for data sets; each goes into a folder of its own in it, such as data/ESC-50 (default: data)",
    )
    getting.add_argument("--keep-archive", action="store_true", help="keep the archive too, in --out")
    getting.add_argument(
        "--from", dest="address", metavar="URL", help="another address than the official one, such as a mirror's"
    )
    getting.add_argument(
        "--no-checksum",
        action="store_true",
        help="take the archive even where its checksum or size is not the published one",
    )


def run(options: argparse.Namespace) -> int:
    """Lists, or downloads one after the other and says where they are.

    Args:
        options: what the parser of ``add_arguments`` gives.

    Returns:
        Exit code: 0 done, 1 some of several data sets failed, 2 all of several did, 130 interrupted.

    Raises:
        SoundalikeError: a name is unknown, or the one data set that was asked for failed.
    """
    return _list() if options.action == "list" else _get(options)


def _list() -> int:
    from soundalike.data.download import BY_HAND, CATALOGUE, amount

    name_width = max(map(len, (*CATALOGUE, *BY_HAND)))
    for archive in CATALOGUE.values():
        size = amount(archive.size) if archive.exact else f"about {amount(archive.size)}"
        print(f"{archive.name:{name_width}}  {size:>13}  {archive.clips:>8,} clips  {archive.licence}")
        print(f"    {archive.title}; --task {', '.join(archive.tasks)}")
    for one in BY_HAND.values():
        clips = f"{one.clips:,} clips" if one.clips else ""
        print(f"{one.name:{name_width}}  {'by hand':>13}  {clips:>14}  {one.page}")
        print(f"    {one.title}; --task {', '.join(one.tasks)}; {one.licence}")
    return 0


def _get(options: argparse.Namespace) -> int:
    from soundalike.data.download import find, get

    require("soundalike data get", "requests")
    archives = list({name: find(name) for name in options.datasets}.values())
    if options.address and len(archives) > 1:
        raise SoundalikeError("--from is one address: give one data set with it.")
    failures: dict[str, str] = {}
    code = 0
    for archive in archives:
        try:
            _announce(archive, options)
            got = get(archive, options.out, options.address, options.keep_archive, not options.no_checksum)
        except (SoundalikeError, OSError) as error:
            if len(archives) == 1 or isinstance(error, BrokenPipeError):
                raise
            failures[archive.name] = str(error)
            continue
        except KeyboardInterrupt:
            print(
                f"soundalike: interrupted; the same command goes on with {archive.name} from what is there.",
                file=sys.stderr,
            )
            code = 130
            break
        _report(archive, got)
    for name, reason in failures.items():
        print(f"soundalike: {name}: {' '.join(reason.split())}", file=sys.stderr)
    if code or not failures:
        return code
    return 2 if len(failures) == len(archives) else 1


def _announce(archive: Archive, options: argparse.Namespace) -> None:
    """What is about to be downloaded, and under which licence, before it begins."""
    from soundalike.data.download import amount

    about = "" if archive.exact else "about "
    sizes = f"{about}{amount(archive.size)} to download, about {amount(archive.unpacked)} unpacked"
    checked = (
        f"verified by its {archive.checksum.partition(':')[0]}, from {archive.origin}" if archive.checksum else ""
    )
    if options.no_checksum and archive.checksum:
        checked = "its checksum is not looked at"
    lines = [
        f"{archive.name}: {archive.title}; {archive.clips:,} clips, {sizes}",
        f"  from {options.address or archive.address}",
        f"  licence: {archive.licence}; {archive.page}",
        f"  {checked or 'no checksum is published for this archive; its SHA-256 is noted beside the recordings'}",
    ]
    print("\n".join(lines), file=sys.stderr)


def _report(archive: Archive, got: Got) -> None:
    if not got.new:
        print(f"{got.folder}: already there, nothing was downloaded", file=sys.stderr)
    print(got.folder)
    folder = shlex.quote(str(got.data))
    for task in archive.tasks:
        print(f"soundalike evaluate MODEL --task {task} --data {folder}")
