"""What pages with sounds have in common: where they are written, names, and links to the files."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from soundalike.audio.segment import Segment, Sound
from soundalike.core.errors import SoundalikeError
from soundalike.core.files import check_file, write_whole

SUFFIXES = (".html", ".htm")


def check_out(out: str | Path, what: str = "the page", example: str = "page.html") -> Path:
    """Whether a page can be written there, to be asked before any work is done.

    Args:
        out: the file.
        what: it is, in the message of an error.
        example: a name that it could have.

    Raises:
        SoundalikeError: it is a folder, is not called ``.html``, or cannot be written to.
    """
    out = Path(out)
    check_file(out, example)
    if out.suffix.lower() not in SUFFIXES:
        raise SoundalikeError(f"{out}: {what} is a web page; give a name that ends in .html.")
    return out


def write(page: str, out: str | Path) -> int:
    """Writes a page, whole or not at all.

    Args:
        page: HTML.
        out: the file.

    Returns:
        Its size in bytes.

    Raises:
        SoundalikeError: it cannot be written.
    """
    content = page.encode("utf-8", "replace")
    write_whole(Path(out), content, "the page")
    return len(content)


def link(sound: Sound, beside: Path) -> str:
    """The address at which a page plays a file, or a segment of one.

    Args:
        sound: the file or segment.
        beside: the folder that the page lies in.
    """
    if isinstance(sound, Segment):
        return f"{link(sound.path, beside)}#t={sound.start:.10g},{sound.end:.10g}"
    try:
        relative = os.path.relpath(sound.absolute(), beside.absolute())
    except ValueError:  # on another drive
        return sound.absolute().as_uri()
    # as bytes, because a file name need not be valid Unicode; with ./, because a name may look like a scheme
    return "./" + quote(os.fsencode(Path(relative).as_posix()))


def readable(text: str) -> str:
    """The name of a file as text of a page."""
    return os.fsencode(text).decode("utf-8", "replace")
