"""What a session leaves behind: a row of JSON for every step, written the moment it is known, and a log."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROWS, LOG, NOW = "rows.jsonl", "log.txt", "now.json"


class Records:
    """The folder of a session.

    Args:
        folder: folder to write to; it is made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, step: str, seconds: float, values: Mapping[str, Any], error: str | None = None) -> None:
        """Appends a row, whole or not at all as far as a reader can tell.

        Args:
            step: name of the step.
            seconds: time that the step took.
            values: what was found.
            error: what went wrong; None where nothing did.
        """
        row = {"step": step, "ok": error is None, "seconds": round(seconds, 2), **({"error": error} if error else {})}
        line = json.dumps({**row, **rounded(values)}, ensure_ascii=False)
        path = self.folder / ROWS
        cut = path.is_file() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
        with path.open("a", encoding="utf-8") as stream:  # one write; a line that was cut short is ended first
            stream.write(("\n" if cut else "") + line + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def rows(self) -> list[dict[str, Any]]:
        """Every row that is whole, in order."""
        path, rows = self.folder / ROWS, []
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                rows.append(json.loads(line))
            except ValueError:  # the machine was taken away while it was written
                continue
        return rows

    def begin(self, step: str) -> None:
        """Says which step is under way."""
        partial = self.folder / f"{NOW}.part"
        partial.write_text(json.dumps({"step": step, "since": time.time()}), encoding="utf-8")
        os.replace(partial, self.folder / NOW)

    def now(self) -> tuple[str, float] | None:
        """The step that is under way and when it began, in seconds since the epoch; None where there is none."""
        try:
            now = json.loads((self.folder / NOW).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return str(now["step"]), float(now["since"])

    def end(self) -> None:
        """Says that no step is under way."""
        (self.folder / NOW).unlink(missing_ok=True)


def rounded(value: Any) -> Any:
    """Plain data with numbers to five digits."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {str(key): rounded(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [rounded(inner) for inner in value]
    return value


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table in Markdown."""
    lines = ["| step | result | s |", "|---|---|---|"]
    for row in rows:
        values = {key: value for key, value in row.items() if key not in ("step", "ok", "seconds", "error")}
        told = [] if row["ok"] else [f"**{row.get('error') or 'failed'}**"]
        told += [f"{key.replace('_', ' ')} {_shown(value)}" for key, value in values.items()]
        lines.append(f"| {row['step']} | {'; '.join(told)} | {row['seconds']:g} |")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(inner)}" for key, inner in value.items())
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
