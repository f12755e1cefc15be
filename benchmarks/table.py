"""Rows as a table that a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.harness import Row


def show(rows: Sequence[Row], console: Console | None = None) -> None:
    """Prints the machine, the rows with their quartiles below, and a line for every note.

    Args:
        rows: of any scripts, of one machine or several.
        console: where to; the terminal where not given.
    """
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, 140)  # a pipe has no width to keep to
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("row", min_width=20)
    for column in ("ours", "theirs"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("unit")
    for column in ("ratio", "target", "met"):
        table.add_column(column, justify="right", no_wrap=True)
    machines: list[dict[str, Any]] = []
    for row in rows:
        if row.machine not in machines:
            machines.append(row.machine)
        table.add_row(
            escape(row.row),
            _with_spread(row, "ours"),
            _with_spread(row, "theirs"),
            escape(row.unit),
            _with_spread(row, "ratio", "×"),
            _target(row),
            {True: "yes", False: "no", None: ""}[row.met],
        )
    for machine in machines:
        console.print(machine_line(machine), markup=False, highlight=False)
    console.print()
    console.print(table)
    console.print()
    for row in rows:
        if row.note:
            console.print(f"{row.row}: {row.note}", markup=False, highlight=False)


def machine_line(machine: dict[str, Any]) -> str:
    """The machine in one line."""
    if not machine:
        return "machine unknown"
    return (
        f"{machine['cpu']}, {machine['cores_used']} of {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{' '.join(machine['flags']) or 'no vector flags known'}; compiler: {machine['compiler'] or 'none'}; "
        f"GPU: {machine['gpu'] or 'none'}; {machine['system']}, Python {machine['python']}, "
        f"PyTorch {machine['torch']} with {machine['threads']} threads"
    )


def number(value: float | None) -> str:
    """A number to three digits or to the whole; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _with_spread(row: Row, column: str, unit: str = "") -> str:
    value = getattr(row, column)
    if value is None:
        return "–"
    quartiles = row.spread.get(column)
    return number(value) + unit + (f"\n[dim]{number(quartiles[0])}–{number(quartiles[1])}[/dim]" if quartiles else "")


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    sign = "≤" if row.bound.endswith("<=") else "≥"
    return f"{sign} {number(row.target)}{'×' if row.bound.startswith('ratio') else ''}"
