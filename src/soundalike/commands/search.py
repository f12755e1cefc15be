"""``soundalike search``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.commands.arguments import TABLES, add_inference_device, name_broken, number, path, whole
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.core.terminal import shown

if TYPE_CHECKING:
    from soundalike.apps.search import Duplicate, Found, Index
    from soundalike.audio.segment import Sound

HELP = "find the sounds of an index nearest to a sound, or those it has twice"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "queries", nargs="*", type=path, metavar="QUERY", help="audio files to search for, or tables of them"
    )
    parser.add_argument("--index", required=True, type=path, metavar="INDEX", help="that soundalike index wrote")
    parser.add_argument("--count", type=whole, help="nearest sounds for each query; default: 10")
    parser.add_argument("--from", dest="start", type=number, metavar="SECONDS", help="where in the query to begin")
    parser.add_argument("--seconds", type=number, help="how much of the query to search for; default: all")
    parser.add_argument(
        "--duplicates", action="store_true", help="instead: groups of sounds of the index that are the same recording"
    )
    parser.add_argument(
        "--threshold",
        type=number,
        help="similarity from which sounds are duplicates, without comparing their waveforms",
    )
    parser.add_argument(
        "--out",
        type=path,
        help=f"instead of printing: page that plays what was found (.html), or table ({TABLES})",
    )
    parser.add_argument("--link", action="store_true", help="a page plays the files where they are, none inside")
    parser.add_argument("--model", type=path, help="that made the index; default: found by what the index says of it")
    add_inference_device(parser)


def run(options: argparse.Namespace) -> int:
    """Searches, and names the queries that could not be read."""
    from soundalike import load
    from soundalike.apps.pages import page_file
    from soundalike.apps.search import Index
    from soundalike.data.table_writer import check_table

    _check(options)
    page = options.out is not None and options.out.suffix.lower() in page_file.SUFFIXES
    if page:
        page_file.check_out(options.out)
    elif options.out is not None:
        check_table(options.out, page_file.SUFFIXES[:1])
    if options.link and not page:
        raise SoundalikeError("--link is about pages: give --out PAGE.html with it.")
    index = Index.load(options.index, device=options.device)
    broken: list[tuple[Sound, str]] = []
    if options.duplicates:
        rows = _duplicates(index, options)
    else:
        if options.model is not None:
            index = Index(index.store, load(options.model, options.device))
        rows, broken = _search(index, options)
    if page:
        _write_page(rows, options)
    elif options.out is not None:
        _write_table(rows, options)
    return name_broken(broken)


@dataclass(frozen=True)
class _Row:
    """A sound that was found, as table and page have it.

    Attributes:
        of: the query, or the number of the group.
        rank: among those of the query; None in a group.
        found: the sound.
        query: to be heard, where there is one.
    """

    of: str
    rank: int | None
    found: Found | Duplicate
    query: Sound | None = None


def _write_table(rows: list[_Row], options: argparse.Namespace) -> None:
    from soundalike.audio.segment import Segment, span_of
    from soundalike.data.table_writer import open_table

    spans = any(isinstance(row.found.sound, Segment) for row in rows)
    columns = ["group"] if options.duplicates else ["query", "rank"]
    columns += ["similarity", "path", *["start", "end"] * spans, "identical"]
    with open_table(options.out, columns, whole=True) as table:
        for row in rows:
            found, of = row.found, [int(row.of)] if row.rank is None else [row.of, row.rank]
            span = span_of(found.sound) if spans else ()
            table.write([*of, found.similarity, str(found.path), *span, found.identical])
    print(f"{options.out}: {len(rows):,} rows")


def _write_page(rows: list[_Row], options: argparse.Namespace) -> None:
    from soundalike.apps.pages import page_file
    from soundalike.apps.pages.found import Match, Section, excerpts_of, found_page

    groups: dict[str, list[_Row]] = {}
    for row in rows:
        groups.setdefault(row.of, []).append(row)
    sections = []
    for of, own in groups.items():
        matches = [
            Match(row.found.sound, row.found.similarity, "identical contents" * row.found.identical) for row in own
        ]
        sections.append(Section(f"Group {of}" if options.duplicates else of, matches, own[0].query))
    heard = excerpts_of(sections, options.link, progress=True)
    if heard.linked and not options.link:
        print("note: so many sounds do not fit into a page: it links to the files instead.", file=sys.stderr)
    title = f"{'Duplicates' if options.duplicates else 'Found'} in {options.index.name}"
    size = page_file.write(found_page(title, sections, heard, options.out.absolute().parent), options.out)
    print(f"{options.out}: {len(rows):,} sounds, {size / 1e6:.1f} MB")


def _check(options: argparse.Namespace) -> None:
    of_query = {"--count": options.count, "--from": options.start, "--seconds": options.seconds}
    if options.duplicates:
        given = [name for name, value in of_query.items() if value is not None]
        if options.queries or given:
            what = options.queries[0] if options.queries else given[0]
            raise SoundalikeError(f"--duplicates compares the sounds of the index with each other; leave out {what}.")
        return
    if not options.queries:
        raise SoundalikeError("give an audio file to search for, or --duplicates.")
    if options.threshold is not None:
        raise SoundalikeError("--threshold is for --duplicates; leave it out, or give --count.")
    if options.count is not None and options.count < 1:
        raise SoundalikeError(f"--count is {options.count}: it must be at least 1.")
    if options.start is not None and not 0 <= options.start < float("inf"):
        raise SoundalikeError(f"--from is {options.start:g}: give the seconds from the beginning, 0 or more.")
    if options.seconds is not None and not options.seconds > 0:
        raise SoundalikeError(f"--seconds is {options.seconds:g}: it must be above 0.")


def _search(index: Index, options: argparse.Namespace) -> tuple[list[_Row], list[tuple[Sound, str]]]:
    """What was found, and the queries that could not be read."""
    from soundalike.audio.background import failure
    from soundalike.data import segments

    rows: list[_Row] = []
    broken: list[tuple[Sound, str]] = []
    places = [segments.read_sounds(place) if segments.is_listing(place) else [place] for place in options.queries]
    queries = [query for listed in places for query in listed]
    for query in queries:
        try:
            found = _found(index, query, options)
        except AudioError as error:
            if len(queries) == 1:
                raise
            broken.append((query, failure(query, error).reason))
            continue
        if options.out is None:
            _print(query, found)
        rows += [_Row(str(query), rank, each, _part(query, options)) for rank, each in enumerate(found, 1)]
    return rows, broken


def _part(query: Sound, options: argparse.Namespace) -> Sound:
    """The part of a query that is searched for."""
    from soundalike.audio import read
    from soundalike.audio.segment import Segment, file_of, span_of

    if options.start is None and options.seconds is None:
        return query
    first = span_of(query)[0] or 0.0
    start = first + (options.start or 0.0)
    last = first + (read.duration(query) or start)
    end = last if options.seconds is None else min(last, start + options.seconds)
    channel = query.channel if isinstance(query, Segment) else None
    return Segment(file_of(query), start, max(end, start + 0.01), channel=channel)


def _found(index: Index, query: Sound, options: argparse.Namespace) -> list[Found]:
    from soundalike.audio import read

    count = 10 if options.count is None else options.count
    if options.start is None and options.seconds is None:
        return index.search(query, count)
    start, rate = options.start or 0.0, index.model.sample_rate
    end = None if options.seconds is None else start + options.seconds
    waveform = read.load(query, rate, end)
    piece = waveform[round(start * rate) :]
    if not len(piece):
        raise AudioError(f"{query}: is {len(waveform) / rate:.1f} s long and ends before --from {start:g}.")
    return index.search(piece, count)


def _print(query: Sound, found: list[Found]) -> None:
    from soundalike.audio.segment import file_of

    print(shown(query))
    for rank, each in enumerate(found, 1):
        itself = each.identical and isinstance(query, Path) and query.exists()
        itself = itself and each.path.exists() and each.path.samefile(file_of(query))
        what = "  (the query itself)" if itself else "  (identical contents)" if each.identical else ""
        print(f"  {rank:>3}  {each.similarity:6.3f}  {shown(each.sound)}{what}")


def _duplicates(index: Index, options: argparse.Namespace) -> list[_Row]:
    groups = index.duplicates(options.threshold, progress=True)
    rows: list[_Row] = []
    for place, group in enumerate(groups, 1):
        if options.out is None:
            print(f"{place}: {len(group)} sounds")
        for each in group:
            if options.out is None:
                same = "  (identical contents)" if each.identical else ""
                print(f"  {each.similarity:6.3f}  {shown(each.sound)}{same}")
            rows.append(_Row(str(place), None, each))
    if not groups:
        print("no duplicates", file=sys.stderr)
    return rows
