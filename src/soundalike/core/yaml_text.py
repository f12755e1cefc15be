"""YAML of settings: plain values alone, and numbers such as 1e-3 read as numbers."""

from __future__ import annotations

import re
from typing import Any

import yaml

# YAML 1.1 asks for a point in a float and for a sign in its exponent; people write 1e-3 and 5e4.
_FLOAT = re.compile(
    r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)"
    r"|\.(?:nan|NaN|NAN))\Z"
)
_KINDS = ("null", "bool", "int", "float", "str", "seq", "map")  # tags that a settings file can hold
_PLAIN = tuple(f"tag:yaml.org,2002:{kind}" for kind in _KINDS)


class NotYAMLError(ValueError):
    """A text is no YAML, or holds what no settings hold; its message is one line."""


class _Loader(yaml.SafeLoader):
    """Reads plain values; a key that is there twice and a value that refers to another are errors."""

    # None stands for every other tag: its constructor says that there is none
    yaml_constructors = {tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (*_PLAIN, None)}  # noqa: RUF012

    def compose_node(self, parent: Any, index: Any) -> Any:
        # an alias of an alias can stand for more than any memory holds, and for itself
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases are not taken: write the value itself", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        met = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a name", key.start_mark)
            if key.value in met:
                raise yaml.constructor.ConstructorError(None, None, f"found duplicate key {key.value}", key.start_mark)
            met.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _kind in (_Loader, _Dumper):
    _kind.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _PLAIN and not tag.endswith("float")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def parse(text: str) -> Any:
    """The value that a YAML text stands for.

    Args:
        text: one YAML document.

    Returns:
        None, a boolean, a number, a string, or lists and mappings of them. Nothing in a text refers to anything
        else: neither to another key, nor to a file, nor to the environment.

    Raises:
        NotYAMLError: the text is no YAML, or holds other values.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        reason = "nested too deeply"
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a whole number of thousands of digits
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
            reason = f"line {error.problem_mark.line + 1}: {error.problem}"
    raise NotYAMLError(reason)


def to_text(content: Any) -> str:
    """The YAML text of a value, a line for each key and item, which `parse` reads.

    Args:
        content: None, a boolean, a number, a string, or lists and mappings of them.
    """
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text
