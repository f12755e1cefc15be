"""The command line: each command is a few lines over the library."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from soundalike import __version__
from soundalike.errors import SoundalikeError
from soundalike.study import command as study


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: as on the command line; those of the process where not given.

    Returns:
        Exit code: 0 done, 1 done but some files were broken, 2 bad input, 130 interrupted.
    """
    try:
        with _plain_streams(), _interruptible():
            options = _parse(arguments)
            code = int(options.command(options))
            sys.stdout.flush()
            return code
    except SoundalikeError as error:
        return _complain(str(error))
    except BrokenPipeError:  # who read the output has gone; nothing is left to be written at the exit either
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}.")
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        return _complain("not enough memory for this; ask for less: a smaller batch, fewer or shorter sounds.")
    except KeyboardInterrupt:
        _complain("interrupted.")
        return 130


def _complain(sentence: str) -> int:
    print(f"soundalike: {' '.join(sentence.split())}", file=sys.stderr)
    return 2


def _is_out_of_memory(error: Exception) -> bool:
    said = str(error).lower()
    signs = ("out of memory", "allocate memory", "not enough memory", "storage size calculation overflowed")
    return isinstance(error, MemoryError) or any(sign in said for sign in signs)


@contextlib.contextmanager
def _plain_streams() -> Iterator[None]:
    """File names that are no Unicode can be printed, and the library's warnings are one line each."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    package = str(Path(__file__).parent)

    def show(message: Warning | str, category: type[Warning], filename: str, *_: Any) -> None:
        if filename.startswith(package):  # what other libraries have to say to programmers is no use here
            print(f"note: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.showwarning = show  # type: ignore[assignment]
        yield


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
    if options.name in ("pretrain", "listen"):  # they take every recipe key as an option
        options.settings = rest
    elif rest:
        command = f"soundalike {options.name}" if options.name else "soundalike"
        raise SoundalikeError(f"unknown argument {rest[0]!r}; see {command} --help.")
    return options


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as every other error is said."""

    def error(self, message: str) -> NoReturn:
        raise SoundalikeError(f"{message}; see {self.prog} --help.")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _seed(text: str) -> int:
    number = _whole(text)
    if not 0 <= number < 1 << 32:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to {(1 << 32) - 1}")
    return number


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="soundalike", description="Learns to hear from sounds nobody recorded.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"soundalike {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="name")

    def command(name: str, run: Any, help: str, **more: Any) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help, allow_abbrev=False, **more)
        added.set_defaults(command=run)
        return added

    c = command(
        "pretrain",
        _pretrain,
        "train an encoder on synthetic sounds",
        epilog="Every key of the recipe is an option too, by its own name or as --section.key: "
        "--minutes 10, --steps 500, --delta 0.25, --delta.pitch 0.01, --voice voice-fm, --batch-size 256, "
        "--seed 0, --checkpoint-every 200, --encoder.width 32. --print-recipe shows them all.",
    )
    c.add_argument("--recipe", help="name of a recipe that ships, or a .yaml file (default: doppelgangers-cpu)")
    c.add_argument("--out", type=_path, help="folder for the run")
    c.add_argument("--resume", action="store_true", help="go on with the run in --out")
    c.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    c.add_argument("--print-recipe", action="store_true", help="show the recipe that would run, and stop")
    c.add_argument("--quiet", action="store_true", help="no progress display")

    c = command("embed", _embed, "turn audio files into embeddings")
    c.add_argument(
        "files", nargs="+", type=_path, metavar="FILE_OR_FOLDER", help="audio files, or folders searched for them"
    )
    c.add_argument("--model", required=True, type=_path, help="model file, or the folder of its run")
    c.add_argument("--out", type=_path, required=True, help="file to write: .npz or .parquet")
    c.add_argument("--device", default="cpu", help="default: cpu")

    c = command("evaluate", _evaluate, "score a model on labelled recordings, beside two floors")
    c.add_argument("model", metavar="MODEL", type=_path, help="model file, or the folder of its run")
    c.add_argument(
        "--task",
        action="append",
        required=True,
        help="esc10, esc50, speech-commands, fsdd or folder (a folder per class); may be repeated",
    )
    c.add_argument(
        "--data",
        action="append",
        required=True,
        type=_path,
        help="folder of the task's recordings: one for each --task in order, or one for all",
    )
    c.add_argument("--out", type=_path, help="folder for results.json and report.html (default: beside the model)")
    c.add_argument("--seed", type=_seed, default=0, help="weights of the untrained encoder (default: 0)")
    c.add_argument("--device", default="cpu", help="default: cpu")

    c = command("render", _render, "write patches and their doppelgängers as wav files, knobs and a picture")
    c.add_argument("--out", type=_path, required=True, help="folder for the files")
    c.add_argument("--voice", default="voice", help="voice, voice-fm, parametric or scene (default: voice)")
    c.add_argument("--count", type=_whole, default=4, help="how many patches (default: 4)")
    c.add_argument("--delta", type=_number, nargs="+", default=[0.05, 0.1, 0.25, 0.5], help="sizes of the nudges")
    c.add_argument("--seed", type=_seed, default=0, help="which patches (default: 0)")
    c.add_argument("--sample-rate", type=_whole, default=16_000, help="in Hz (default: 16000)")
    c.add_argument("--seconds", type=_number, default=1.0, help="length of every sound (default: 1)")
    c.add_argument("--uniform-in", default="units", help="units or knobs: how patches are drawn (default: units)")

    c = command(
        "listen",
        _listen,
        "write a page with pairs of a recipe to play, and how alike they are to an encoder",
        epilog="Every key of the recipe is an option too, as in pretrain: --delta 0.25, --voice voice-fm.",
    )
    c.add_argument(
        "--recipe", help="name of a recipe that ships, or a .yaml file (default: the model's, or doppelgangers-cpu)"
    )
    c.add_argument("--model", type=_path, help="model file, or the folder of its run (default: an untrained encoder)")
    c.add_argument("--out", type=_path, required=True, help="page to write: .html")
    c.add_argument("--count", type=_whole, default=8, help="how many pairs (default: 8)")
    c.add_argument("--seed", type=_seed, default=0, help="which sounds (default: 0)")

    study.add_arguments(command("study", study.run, "train or measure many things and compare them, with a figure"))
    return parser


def _pretrain(options: argparse.Namespace) -> int:
    settings = _settings(options.settings)
    if options.out is None and not options.print_recipe:
        raise SoundalikeError("pretrain needs a folder for the run; give --out FOLDER.")
    from soundalike.recipe import Recipe

    recorded = options.out / "recipe.yaml" if options.resume and options.out is not None else None
    if options.recipe is None and recorded is not None and recorded.is_file():
        recipe = Recipe.load(recorded)
    else:
        recipe = Recipe.load("doppelgangers-cpu" if options.recipe is None else options.recipe)
    recipe = recipe.override(settings)
    if options.print_recipe:
        recipe.build()  # so that what is printed would also run
        print(recipe.to_yaml(), end="")
        return 0
    from soundalike.pretraining import pretrain

    model = pretrain(recipe, options.out, options.resume, options.device, options.quiet)
    print(model)
    return 0


def _settings(rest: Sequence[str], command: str = "pretrain") -> dict[str, Any]:
    """Recipe keys out of options such as ``--delta 0.1`` and ``--delta=0.1``."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    settings: dict[str, Any] = {}
    remaining = list(rest)
    while remaining:
        option = remaining.pop(0)
        if not option.startswith("--"):
            raise SoundalikeError(f"unknown argument {option!r}: options start with --, such as --delta 0.25.")
        key, equals, value = option[2:].partition("=")
        if not equals:
            if not remaining or remaining[0].startswith("--"):
                raise SoundalikeError(f"{option} needs a value, or is no option; see soundalike {command} --help.")
            value = remaining.pop(0)
        # numbers, lists and null as YAML reads them; what is none of these is a name
        try:
            parsed = OmegaConf.from_dotlist([f"value={value}"])
            settings[key] = OmegaConf.to_container(parsed)["value"]  # type: ignore[index, call-overload]
        except (YAMLError, OmegaConfBaseException):
            settings[key] = value
    return settings


def _embed(options: argparse.Namespace) -> int:
    from soundalike import audio, embedding, load
    from soundalike.memory import keep_freed_memory

    keep_freed_memory()
    embedding.check_out(options.out)
    files = audio.find(options.files)
    model = load(options.model, options.device)
    embedded = embedding.embed_files(files, {"model": model}, progress=True)
    embedding.save(embedded, options.out, "model")
    print(f"{options.out}: {len(embedded.paths)} embeddings of {model.size} numbers")
    for note in embedded.notes:
        print(f"note: {note.path}: {note.reason}", file=sys.stderr)
    for failure in embedded.failures:
        print(f"left out: {failure.path}: {failure.reason}", file=sys.stderr)
    return 1 if embedded.failures else 0


def _evaluate(options: argparse.Namespace) -> int:
    if len(options.data) not in (1, len(options.task)):
        raise SoundalikeError(
            f"{len(options.task)} --task and {len(options.data)} --data: give one --data for each --task, or one."
        )
    from soundalike import datasets, load
    from soundalike.memory import keep_freed_memory

    keep_freed_memory()
    folders = options.data * (len(options.task) if len(options.data) == 1 else 1)
    found = [datasets.read(task, folder) for task, folder in zip(options.task, folders, strict=True)]
    model = load(options.model, options.device)
    from soundalike.probe import evaluate, print_table, with_floors

    home = options.model if options.model.is_dir() else options.model.parent
    out = options.out or home / "evaluation"
    summary = {"recipe": model.recipe.name, **model.recipe.sections, "trained": model.training}
    evaluation = evaluate(
        with_floors(model, seed=options.seed), found, out, recipe=summary, seed=options.seed, overwrite=True
    )
    print_table(evaluation)
    broken = [failure for task in evaluation.tasks for failure in task.failures]
    for path, reason in broken:
        print(f"left out: {path}: {reason}", file=sys.stderr)
    print(out / "report.html")
    return 1 if broken else 0


def _render(options: argparse.Namespace) -> int:
    from soundalike.errors import nearest
    from soundalike.rendering import render
    from soundalike.synth import VOICES

    if options.voice not in VOICES:
        raise SoundalikeError(f"unknown voice {options.voice!r}: {nearest(options.voice, VOICES)}")
    voice = VOICES[options.voice](sample_rate=options.sample_rate, seconds=options.seconds)
    files = render(voice, options.out, options.count, options.delta, options.seed, options.uniform_in)
    print(f"{options.out}: {len(files) - 2} sounds, patches.json, spectrograms.png")
    return 0


def _listen(options: argparse.Namespace) -> int:
    settings = _settings(options.settings, "listen")
    from soundalike.listening import listen
    from soundalike.model import SoundModel
    from soundalike.recipe import Recipe

    model = None if options.model is None else SoundModel.load(options.model)
    if options.recipe is None and model is not None:
        recipe = model.recipe
    else:
        recipe = Recipe.load("doppelgangers-cpu" if options.recipe is None else options.recipe)
    print(listen(recipe.override(settings), options.out, model, options.count, options.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
