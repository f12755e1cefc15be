"""What generated pages are written with: tables, values, and what docstrings say."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from griffe import Docstring, DocstringSectionKind


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    """One line, in which a bar divides no cells; in code none does."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(piece if piece.startswith("`") else piece.replace("|", "\\|") for piece in pieces)


def code(value: Any) -> str:
    """A value as a recipe has it, as code."""
    if value is inspect.Parameter.empty:
        return ""
    shown = {None: "null", True: "true", False: "false"}.get(value) if isinstance(value, bool | None) else None
    if isinstance(value, Mapping):
        shown = "{" + ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) + "}"
    return f"`{shown if shown is not None else _plain(value)}`"


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_plain(inner) for inner in value) + "]"
    if isinstance(value, Mapping):
        return code(value)[1:-1]
    return str(value)


def summary(kind: Any) -> str:
    """First paragraph of a docstring in one line."""
    return " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())


def arguments(kind: type) -> dict[str, str]:
    """What the docstrings of a class, its constructor and its parents say of each argument."""
    found: dict[str, str] = {}
    for parent in reversed(kind.__mro__[:-1]):
        for text in (parent.__doc__, vars(parent).get("__init__") and vars(parent)["__init__"].__doc__):
            if not text or "Args:" not in text:
                continue
            for section in Docstring(inspect.cleandoc(text)).parse("google", warnings=False):
                if section.kind is DocstringSectionKind.parameters:
                    found |= {each.name: " ".join(each.description.split()) for each in section.value}
    return found


def keys(kind: type, hidden: Iterable[str] = ()) -> list[tuple[str, str, str]]:
    """Key, default and meaning of what a part's constructor takes."""
    said = arguments(kind)
    return [
        (f"`{key}`", code(parameter.default), said.get(key, ""))
        for key, parameter in inspect.signature(kind).parameters.items()
        if key not in hidden
    ]
