"""A page for each command, from its parser."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any

from writing import table


class _Caught(Exception):
    """Carries the parser of a study."""


class _Catching(argparse.ArgumentParser):
    def parse_args(self, *_: Any) -> Any:  # type: ignore[override]
        raise _Caught(self)


def commands() -> dict[str, argparse.ArgumentParser]:
    """Every command's parser by its name."""
    from soundalike import cli

    groups = [action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(groups[0].choices)


def parts_of(name: str, parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers within a command: actions, and the studies of ``study``."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {f"{name} {inner}": each for inner, each in action.choices.items()}
    if name == "study":
        from soundalike.commands import study

        for each in study.STUDIES:
            try:
                study.run(argparse.Namespace(study=[each], kind=_Catching))
            except _Caught as caught:
                found[f"study {each}"] = caught.args[0]
    return found


def options(parser: argparse.ArgumentParser) -> list[tuple[str, str]]:
    """Options and meanings of a parser, as rows of a table."""
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction) or action.help == argparse.SUPPRESS:
            continue
        value = action.metavar or action.dest.upper().replace("-", "_")
        value = value if isinstance(value, str) else " ".join(value)
        if action.choices:
            value = "|".join(map(str, action.choices))
        if action.nargs == 0:
            value = ""
        elif action.nargs in ("+", "*") and action.option_strings:
            value += " …"
        names = ", ".join(f"`{f'{option} {value}'.strip()}`" for option in action.option_strings) or f"`{value}`"
        text = (action.help or "") % {**vars(action), "prog": parser.prog}
        rows.append((names, text + (" **(needed)**" if action.required and action.option_strings else "")))
    return rows


def _described(parser: argparse.ArgumentParser) -> str:
    rows = options(parser)
    said = [_sentence(parser.epilog % {"prog": parser.prog})] if parser.epilog else []
    return "\n\n".join(([table(("argument", "meaning"), rows)] if rows else []) + said)


def _sentence(text: str) -> str:
    """What a person is told of options, with these as code."""
    text = " ".join(text.split())
    return re.sub(r"(?<![\w`-])(--[a-z][\w.-]*\w(?: (?=\S*[\d-])\w(?:[\w.-]*\w)?)?)", r"`\1`{.option}", text)


def pages() -> Iterator[tuple[str, str]]:
    """Path and text of each."""
    from soundalike import cli

    parsers = commands()
    helps = {module.__name__.rpartition(".")[2].replace("_", "-"): module.HELP for module in cli.COMMANDS}
    rows = [
        (f"[`{name}`](soundalike-{name}.md)", helps.get(name, parser.description or ""))
        for name, parser in parsers.items()
    ]
    yield (
        "commands/index.md",
        "# Commands\n\nOne program, `soundalike`. Exit codes: 0 done, 1 done but some files were broken (each is "
        "named), 2 bad input (one sentence says what and where), 130 interrupted.\n\n"
        + table(("command", "what it does"), rows),
    )
    for name, parser in parsers.items():
        text = [f"# soundalike {name}", f"{_capital(parser.description or '')}.", _usage(name, parser)]
        text.append(_described(parser))
        if name in cli.TAKE_RECIPE_KEYS:
            text.append(
                "The keys are on the pages of the [recipes](../recipes/index.md) and [parts](../parts/index.md)."
            )
        for title, inner in parts_of(name, parser).items():
            text += [f"## soundalike {title}", f"{_capital(inner.description or '')}.", _usage(title, inner)]
            text.append(_described(inner))
        yield f"commands/soundalike-{name}.md", "\n\n".join(part for part in text if part.strip()) + "\n"


def _usage(name: str, parser: argparse.ArgumentParser) -> str:
    needed, free = [f"soundalike {name}"], False
    for action in parser._actions:
        value = action.metavar or action.dest.upper()
        value = value if isinstance(value, str) else " ".join(value)
        if isinstance(action, argparse._SubParsersAction) or action.nargs == argparse.REMAINDER:
            needed.append(value)
        elif not action.option_strings:
            needed.append(f"[{value}]" if action.nargs in ("?", "*") else value)
        elif action.required:
            needed.append(f"{action.option_strings[-1]} {value}")
        else:
            free |= not isinstance(action, argparse._HelpAction)
    return f"```sh\n{' '.join([*needed, '[options]'] if free else needed)}\n```"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")
