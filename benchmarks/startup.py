"""How long ``soundalike --help`` takes."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Callable

from benchmarks.harness import Row, alternate, quartiles, soundalike


def help_text() -> Row:
    """Seconds of the command, files of the package in the cache."""
    rounds = alternate(
        lambda: subprocess.run(soundalike("--help"), check=True, capture_output=True), least=10, most=20
    )
    return Row(
        "soundalike --help",
        "s",
        ours=statistics.median(rounds.ours),
        target=1.0,
        bound="ours <=",
        spread={"ours": quartiles(rounds.ours)},
        note=f"{len(rounds.ours)} rounds",
        command="soundalike --help",
    )


ROWS: dict[str, Callable[[], Row]] = {"soundalike --help": help_text}
