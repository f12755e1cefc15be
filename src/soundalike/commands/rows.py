"""Rows that a command found, as a table for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from soundalike.core.errors import SoundalikeError
from soundalike.core.files import check_file, replacing


def check_table(out: Path) -> None:
    """Makes sure, before any work, that a table can be written there; its folder is made.

    Raises:
        SoundalikeError: the suffix is neither ``.csv`` nor ``.jsonl``, or the place cannot be written to.
    """
    if out.suffix.lower() not in (".csv", ".jsonl"):
        raise SoundalikeError(f"{out}: tables are written as .csv or .jsonl, not as {out.suffix or 'no suffix'!r}.")
    check_file(out, make=True)


def write_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], out: Path) -> None:
    """Writes rows, whole or not at all; names that are no valid Unicode with backslashes.

    Args:
        rows: of the table.
        columns: the keys of each row.
        out: ``.csv``, with a header line, or ``.jsonl``, an object in each line.

    Raises:
        SoundalikeError: it cannot be written.
    """
    if out.suffix.lower() == ".csv":
        stream = io.StringIO(newline="")
        table = csv.DictWriter(stream, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        text = stream.getvalue()
    else:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with replacing(out, "the table") as partial:
        partial.write_bytes(text.encode("utf-8", "backslashreplace"))
