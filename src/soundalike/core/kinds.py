"""Whether a value of a recipe is of the kind that an argument takes, and what that kind is called."""

from __future__ import annotations

import types
import typing
from typing import Any


def fits(value: Any, kind: Any) -> bool:
    """Whether a value of a recipe is of the kind that an argument takes."""
    if kind is Any:
        return True
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, option) for option in typing.get_args(kind))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300  # not infinite
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin in (tuple, list):
        inner = [k for k in typing.get_args(kind) if k is not Ellipsis]
        return isinstance(value, list | tuple) and all(fits(item, inner[0]) for item in value)
    if origin is dict:
        of_key, of_value = typing.get_args(kind)
        return isinstance(value, dict) and all(
            fits(key, of_key) and fits(item, of_value) for key, item in value.items()
        )
    return isinstance(value, origin or kind)


def kind_in_words(kind: Any) -> str:
    """What to give, to complete "give …"."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a name", type(None): "null"}
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(kind_in_words(option) for option in typing.get_args(kind))
    if origin in (tuple, list):
        several = typing.get_args(kind)[0] is Any
        return "a list of names, or of keys and values" if several else "a list such as [0.5, 0.75]"
    return words.get(kind, "keys and values")


def plain(value: Any) -> Any:
    """The value as YAML and JSON hold it, so that a recipe equals the one that is read back."""
    return list(value) if isinstance(value, tuple) else value
