"""Pages of studies: one HTML file with its pictures inside, in the style of the evaluation's report."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from soundalike.core.html import STILL


def page(title: str, sections: Sequence[str]) -> str:
    """A whole page without scripts, dates or outside resources.

    Args:
        title: plain text.
        sections: HTML, one after the other.
    """
    style = files("soundalike.eval.probe").joinpath("report.css").read_text(encoding="utf-8")
    body = "\n".join(section for section in sections if section)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{STILL}
<title>{escape(title)}</title>
<style>
{style}
figure img {{ max-width: 100%; height: auto; background: #fff; border-radius: .5rem; }}
</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
{body}
</main>
</body>
</html>
"""


def paragraph(text: str, soft: bool = False) -> str:
    """Plain text as a paragraph."""
    return f"<p{' class=soft' if soft else ''}>{escape(text)}</p>"


def picture(path: Path, caption: str) -> str:
    """A PNG file, inside the page, with plain text below it."""
    data = base64.b64encode(path.read_bytes()).decode()
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], lead: int = 1) -> str:
    """A table of plain text.

    Args:
        head: names of the columns.
        rows: cells of each row.
        lead: how many columns say what a row is; numbers follow.
    """
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=words' if column < lead else ''}>{escape(cell)}</td>" for column, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    head_row = f"<thead><tr>{columns}</tr></thead>"
    return f'<div class="scroll"><table class="plain">{head_row}<tbody>{body}</tbody></table></div>'
