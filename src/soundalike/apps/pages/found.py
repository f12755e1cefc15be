"""A page with what a search has found, to be heard."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import soundalike
from soundalike.apps.pages.difference import piece
from soundalike.apps.pages.page_file import link, readable
from soundalike.audio.excerpt import MOST_SECONDS, SECONDS, Excerpts, excerpts
from soundalike.audio.segment import Segment, Sound


@dataclass(frozen=True)
class Match:
    """A sound beside others.

    Attributes:
        sound: a file, or a segment of one.
        similarity: to what was searched for, or to the first of its group.
        note: what else is to be said of it.
    """

    sound: Sound
    similarity: float
    note: str = ""


@dataclass(frozen=True)
class Section:
    """Sounds that belong together.

    Attributes:
        title: of the section.
        matches: the nearest first.
        query: what was searched for, where it can be heard.
    """

    title: str
    matches: Sequence[Match]
    query: Sound | None = None


def excerpts_of(sections: Sequence[Section], link: bool = False, progress: bool = False) -> Excerpts:
    """What is heard of the sounds of a page, segments from end to end.

    Args:
        sections: of the page.
        link: take none, and let the page link to the files.
        progress: whether to show progress on stderr.
    """
    sounds = _sounds(sections)
    longest = max((sound.seconds for sound in sounds if isinstance(sound, Segment)), default=SECONDS)
    return excerpts(sounds, min(MOST_SECONDS, max(SECONDS, longest)), link=link, progress=progress)


def found_page(title: str, sections: Sequence[Section], heard: Excerpts, beside: str | Path = ".") -> str:
    """A page with sounds to play, section by section. It needs no network.

    Args:
        title: of the page.
        sections: what it shows.
        heard: what `excerpts_of` gave of them.
        beside: the folder that the page will lie in, from which it links to files where ``heard`` has links.

    Returns:
        HTML. The same for the same input.
    """
    sounds = _sounds(sections)
    if heard.linked:
        sources = {sound: link(sound, Path(beside)) for sound in sounds}
    else:
        clips = zip(sounds, heard.clips, strict=True)
        sources = {sound: "data:audio/mpeg;base64," + base64.b64encode(clip).decode() for sound, clip in clips if clip}
    part = "Sounds are played from their files, which have to stay where they are."
    if not heard.linked:
        part = f"Of each sound, {heard.seconds:g} s are heard at most, from where it begins to be audible."
    return Template(piece("found.html")).substitute(
        title=escape(title),
        part=part,
        style=piece("listen.css"),
        media="file: 'self'" if heard.linked else "data:",
        sections="\n".join(_section(section, sources) for section in sections),
        footer=f"soundalike {soundalike.__version__}",
    )


def _sounds(sections: Sequence[Section]) -> list[Sound]:
    """Each once."""
    sounds: dict[Sound, None] = {}
    for section in sections:
        sounds |= dict.fromkeys([*([] if section.query is None else [section.query])])
        sounds |= dict.fromkeys(match.sound for match in section.matches)
    return list(sounds)


def _section(section: Section, sources: Mapping[Sound, str]) -> str:
    head = f"<h2><bdi>{escape(readable(section.title))}</bdi></h2>"
    if section.query is not None:
        head += f"<p>{_player(section.query, sources)}</p>"
    rows = "".join(
        f"<tr><td>{rank}</td><td>{match.similarity:.3f}</td><td><bdi>{escape(readable(str(match.sound)))}</bdi>"
        f'<div class="soft">{escape(match.note)}</div></td><td>{_player(match.sound, sources)}</td></tr>'
        for rank, match in enumerate(section.matches, 1)
    )
    columns = "".join(f'<th scope="col">{name}</th>' for name in ("", "similarity", "sound", ""))
    table = f'<div class="scroll"><table><thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table></div>'
    return f"<section>{head}{table}</section>"


def _player(sound: Sound, sources: Mapping[Sound, str]) -> str:
    source = sources.get(sound)
    if source is None:
        return '<span class="soft">could not be read</span>'
    return f'<audio controls preload="none" src="{escape(source)}"></audio>'
