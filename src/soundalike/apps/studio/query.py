"""What a page asks of the studio: one pair, said in full, so that the same question has the same answer."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.synth import VOICES
from soundalike.views.doppelganger import ANEW, group_deltas

MOST_SEED = (1 << 32) - 1
_KEYS = ("voice", "seed", "knobs", "delta")


@dataclass(frozen=True)
class Query:
    """One pair.

    Args:
        voice: its name, one of `VOICES`.
        seed: which patch, and which nudges.
        knobs: positions of the knobs that a person has moved, by name; the others stand where the seed puts them.
        delta: δ by group of knobs, as `Doppelgangers` takes it; groups that are not named have the voice's own.
    """

    voice: str
    seed: int = 0
    knobs: tuple[tuple[str, float], ...] = ()
    delta: tuple[tuple[str, float | str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Query:
        """The query that a page has sent as JSON.

        Raises:
            SoundalikeError: it is no JSON, a key is unknown, or a value is out of its range.
        """

        def refuse(name: str) -> NoReturn:
            raise SoundalikeError(f"{name} is no number that a knob or δ can have.")

        try:
            given: Any = json.loads(text, parse_constant=refuse)
        except (ValueError, RecursionError):
            raise SoundalikeError('the question is no JSON; send one such as {"voice": "mouth", "seed": 1}.') from None
        if not isinstance(given, dict):
            raise SoundalikeError("the question is no JSON object; give keys and values.")
        for key in given:
            if key not in _KEYS:
                raise SoundalikeError(f"the question has no key {key!r}: {nearest(key, _KEYS)}")
        voice, seed = given.get("voice"), given.get("seed", 0)
        if not isinstance(voice, str) or voice not in VOICES:
            raise SoundalikeError(f"voice is {voice!r}: {nearest(str(voice), VOICES)}")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MOST_SEED:
            raise SoundalikeError(f"seed is {seed!r}: give a whole number from 0 to {MOST_SEED}.")
        knobs, delta = (_mapping(key, given.get(key, {})) for key in ("knobs", "delta"))
        for name, position in knobs.items():
            if not _is_number(position) or not 0.0 <= position <= 1.0:
                raise SoundalikeError(f"knob {name} is {position!r}: give a position from 0 to 1.")
        for group, value in delta.items():
            if value != ANEW and not _is_number(value):
                raise SoundalikeError(f"delta.{group} is {value!r}: give a number from 0 to 1, or new.")
        group_deltas(delta)  # says which groups and numbers there are
        return cls(
            voice,
            seed,
            tuple(sorted((name, float(position)) for name, position in knobs.items())),
            tuple(sorted((group, value if value == ANEW else float(value)) for group, value in delta.items())),
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _mapping(key: str, given: object) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise SoundalikeError(f"{key} is {given!r}: give names and values.")
    return given
