"""The command line: finds the command, and says in one sentence what went wrong."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from soundalike import __version__
from soundalike.commands import (
    cache,
    classify,
    compact,
    data,
    embed,
    evaluate,
    export,
    finetune,
    index,
    listen,
    models,
    pretrain,
    render,
    reproduce,
    review,
    search,
    studio,
    study,
    teach,
)
from soundalike.commands import map as map_command  # no other name for the builtin
from soundalike.core.errors import SoundalikeError
from soundalike.core.extras import require
from soundalike.core.files import STANDARD_OUTPUT, naming
from soundalike.core.memory import is_out_of_memory
from soundalike.core.terminal import EscapingStream, shown

GROUPS = {
    "use a model": (teach, review, classify, index, search, map_command, embed, export, models),
    "train one": (pretrain, finetune, compact, evaluate, data, cache),
    "study what it learns from": (studio, listen, render, study, reproduce),
}
"""What a person wants, and the commands for it, as the help lists them."""
COMMANDS = tuple(itertools.chain.from_iterable(GROUPS.values()))
TAKE_RECIPE_KEYS = ("pretrain", "finetune", "listen")
"""The commands that take every key of a recipe as an option."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: as on the command line; those of the process where not given.

    Returns:
        Exit code: 0 done, 1 done but some files were broken, 2 bad input, 130 interrupted.
    """
    try:
        with _plain_streams(), _interruptible():
            try:
                options = _parse(arguments)
                require(f"soundalike {options.name}", *options.needs)
                code = int(options.command(options))
            except SystemExit:  # after the help
                sys.stdout.flush()
                raise
            sys.stdout.flush()
            return code
    except SoundalikeError as error:
        return _complain(str(error))
    except BrokenPipeError:  # who read the output has gone
        _write_no_more()
        return 1
    except OSError as error:
        if error.filename == STANDARD_OUTPUT:
            _write_no_more()
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}.")
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return _complain("not enough memory for this; ask for less: a smaller batch, fewer or shorter sounds.")
    except KeyboardInterrupt:
        _complain("interrupted.")
        return 130


class _Output:
    """Standard output, whose errors name it.

    Args:
        stream: what it is.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with naming(STANDARD_OUTPUT):
            return self._stream.write(text)

    def flush(self) -> None:
        with naming(STANDARD_OUTPUT):
            self._stream.flush()


def _write_no_more() -> None:
    """Nothing is left to be written at the exit, which would fail again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(sentence: str) -> int:
    print(f"soundalike: {shown(' '.join(sentence.split()))}", file=sys.stderr)
    return 2


@contextlib.contextmanager
def _plain_streams() -> Iterator[None]:
    """Any file name can be printed and does nothing to a terminal; the library's warnings are one line each.

    Streams that are closed lead nowhere; no file that is opened takes their place.
    """
    with contextlib.suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(descriptor)
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    package = str(Path(__file__).parent)

    def show(message: Warning | str, category: type[Warning], filename: str, *_: Any) -> None:
        if filename.startswith(package):  # what other libraries have to say to programmers is no use here
            print(f"note: {shown(message)}", file=sys.stderr)

    output: Any = EscapingStream(sys.stdout)
    errors: Any = EscapingStream(sys.stderr)
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors), warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.showwarning = show  # type: ignore[assignment]
        with contextlib.redirect_stdout(_Output(sys.stdout)):
            yield


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C is Ctrl-C, also where it breaks off an import that makes another error of it, as NumPy's does."""
    told = False

    def tell(number: int, frame: Any) -> None:
        nonlocal told
        told = True
        signal.default_int_handler(number, frame)

    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where a shell has it ignored
    heard = heard and threading.current_thread() is threading.main_thread()
    if heard:
        signal.signal(signal.SIGINT, tell)
    try:
        yield
    except Exception:
        if told:
            raise KeyboardInterrupt from None
        raise
    finally:
        if heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if options.name is None and not rest:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    if options.name in TAKE_RECIPE_KEYS:
        options.settings = rest
    elif rest:
        command = f"soundalike {options.name}" if options.name else "soundalike"
        raise SoundalikeError(f"unknown argument {rest[0]!r}; see {command} --help.")
    return options


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as every other error is said."""

    def error(self, message: str) -> NoReturn:
        raise SoundalikeError(f"{message}; see {self.prog} --help.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="soundalike",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description=_overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"soundalike {__version__}")
    added = parser.add_subparsers(prog="soundalike", metavar="COMMAND", dest="name", help=argparse.SUPPRESS)
    for module in COMMANDS:
        command = added.add_parser(_name(module), description=module.HELP, allow_abbrev=False)
        command.set_defaults(command=module.run, needs=getattr(module, "NEEDS", ()))
        module.add_arguments(command)
    return parser


def _overview() -> str:
    """What the program does, and its commands by what they are for, a line each."""
    lines = ["Learns to hear from sounds nobody recorded."]
    for wanted, modules in GROUPS.items():
        lines += ["", f"{wanted}:", *(f"  {_name(module):10}{module.HELP}" for module in modules)]
    return "\n".join([*lines, "", "soundalike COMMAND --help shows what a command takes."])


def _name(command: Any) -> str:
    name: str = command.__name__.rpartition(".")[2]
    return name
