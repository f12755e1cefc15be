"""Texts that pages are made of: those of each page, and the parts in this folder that pages share.

The parts are JavaScript modules. A page that is served imports them; one that is a single file has them inside.
"""

from __future__ import annotations

import re
from importlib.resources import files


def piece(name: str) -> str:
    """A text of the pages, or of their parts."""
    pages = files("soundalike.apps.pages")
    own = pages.joinpath(name)
    return (own if own.is_file() else pages.joinpath("parts", name)).read_text(encoding="utf-8")


def inlined(name: str) -> str:
    """A part that imports nothing as plain JavaScript, for a page that is a single file."""
    return re.sub(r"^export ", "", piece(name), flags=re.MULTILINE)
