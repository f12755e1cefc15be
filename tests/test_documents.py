"""The code of the README and of the tutorials runs as it stands there, and the generated pages say what the code has.

A document is one session in a folder of its own that holds ``data``: its blocks of Python and shell run in order, and
what one of them makes is there for the next. A comment above a block leaves it out, such as
``<!-- not run: trains for an hour -->``.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile

from soundalike import cli

ROOT = Path(__file__).parents[1]
LEFT_OUT = {
    "README.md": 2,
    "docs/tutorials/your-own-sounds.md": 0,
    "docs/tutorials/label-a-folder.md": 3,
    "docs/tutorials/play-with-a-voice.md": 2,
    "docs/tutorials/vary-the-training.md": 2,
    "docs/tutorials/in-your-program.md": 0,
    "docs/voices.md": 0,
}
"""The documents, and how many of their blocks are not run: as few as can be, and another one is a decision."""
CLASSES = {"dog": 0, "rooster": 1, "clock tick": 38}
"""Classes of ESC-10 and their numbers in its file names."""

_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+?) -->\n+)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """A piece of code in a document."""

    line: int
    language: str
    code: str
    why_not: str | None


def blocks(text: str) -> list[Block]:
    """Every block of Python and shell."""
    found = []
    for match in _BLOCK.finditer(text):
        if match["language"] in ("python", "sh"):
            line = text.count("\n", 0, match.start("code")) + 1
            found.append(Block(line, match["language"], match["code"], match["why"]))
    return found


def own_commands(code: str) -> list[list[str]] | None:
    """The arguments of each ``soundalike`` command of a block; None where the block needs a shell."""
    lines = code.replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, "#"
        words = list(lexer)
        if not words:
            continue
        if words[0] != "soundalike" or re.search(r"[$*?~`;|&<>()]", " ".join(words)):
            return None
        found.append(words[1:])
    return found


def run_shell(code: str, where: str) -> None:
    """Runs a block of shell: commands of ours in this process, which saves the start of each; the rest by bash."""
    ours = own_commands(code)
    if ours is not None:
        for arguments in ours:
            assert cli.main(arguments) == 0, f"{where}: soundalike {shlex.join(arguments)}"
        return
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", code]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{where}: {done.stdout}{done.stderr}"


def own_sounds(folder: Path) -> None:
    """What the README calls yours: a folder for each class, other sounds, one of them long, and one dog."""
    clips = {label: sorted((ROOT / "data/ESC-10/audio").glob(f"*-{number}.ogg")) for label, number in CLASSES.items()}
    (folder / "NEW_SOUNDS").mkdir()
    for label, files in clips.items():
        (folder / "MY_SOUNDS" / label).mkdir(parents=True)
        for file in files[1:]:
            shutil.copy(file, folder / "MY_SOUNDS" / label)
        shutil.copy(files[0], folder / "NEW_SOUNDS")
    parts = [soundfile.read(files[0], dtype="float32") for files in clips.values()]
    soundfile.write(folder / "night.flac", np.concatenate([samples for samples, _ in parts]), parts[0][1])
    soundfile.write(folder / "dog.wav", *parts[0])


@pytest.fixture
def names_as_before() -> Iterator[None]:
    """Parts that a document enters under names of its own are gone afterwards."""
    from soundalike.nn.loss import OBJECTIVES
    from soundalike.synth import VOICES
    from soundalike.views.augment import AUGMENTATIONS

    kept = [(names, dict(names)) for names in (OBJECTIVES, VOICES, AUGMENTATIONS)]
    yield
    for names, before in kept:
        names.clear()
        names.update(before)  # type: ignore[arg-type]


@pytest.mark.parametrize("document", LEFT_OUT)
@pytest.mark.usefixtures("names_as_before")
def test_every_block_runs(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").symlink_to(ROOT / "data")
    if document == "README.md":
        own_sounds(tmp_path)
    monkeypatch.chdir(tmp_path)
    session: dict[str, Any] = {"__name__": "__main__"}
    found = blocks((ROOT / document).read_text(encoding="utf-8"))
    assert any(block.why_not is None for block in found)
    for block in found:
        where = f"{document}, line {block.line}"
        if block.why_not is not None:
            continue
        if block.language == "sh":
            run_shell(block.code, where)
        else:
            exec(compile("\n" * (block.line - 1) + block.code, str(ROOT / document), "exec"), session)


@pytest.mark.parametrize(("document", "count"), LEFT_OUT.items())
def test_no_more_blocks_are_left_out_than_agreed(document: str, count: int) -> None:
    left = [block.line for block in blocks((ROOT / document).read_text(encoding="utf-8")) if block.why_not]
    assert len(left) == count, f"{document}: blocks at lines {left} are not run"


def test_every_tutorial_is_run() -> None:
    there = {f"docs/tutorials/{file.name}" for file in (ROOT / "docs/tutorials").glob("*.md")}
    assert there - {"docs/tutorials/index.md"} == {name for name in LEFT_OUT if name.startswith("docs/tutorials/")}


def test_blocks_are_found_with_their_lines_and_marks() -> None:
    text = "a\n```sh\nls\n```\n<!-- not run: long -->\n```python\nx = 1\n```\n"
    text += "\n```yaml\nb: 1\n```\n<!-- c -->\n```sh\nps\n```\n"
    assert blocks(text) == [
        Block(3, "sh", "ls\n", None),
        Block(7, "python", "x = 1\n", "long"),
        Block(15, "sh", "ps\n", None),
    ]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("soundalike models\n", [["models"]]),
        ("# one\nsoundalike a 'b c'  # two\n\nsoundalike d \\\n  e\n", [["a", "b c"], ["d", "e"]]),
        ("soundalike a > b\n", None),
        ("soundalike a *.wav\n", None),
        ("soundalike a && soundalike b\n", None),
        ("cp a b\nsoundalike a\n", None),
    ],
)
def test_only_plain_commands_run_in_this_process(code: str, expected: list[list[str]] | None) -> None:
    assert own_commands(code) == expected


# What docs/generate.py makes


@pytest.fixture(scope="module")
def generate() -> Any:
    pytest.importorskip("mkdocs")
    import importlib.util

    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(generate: Any) -> dict[str, str]:
    found = list(generate.pages())
    assert len(dict(found)) == len(found)  # two pages of one name would hide each other
    return dict(found)


def test_a_page_for_every_command_with_every_option(made: dict[str, str]) -> None:
    parser = cli._parser()
    (commands,) = (action.choices for action in parser._actions if isinstance(action.choices, dict))
    for name, command in commands.items():
        page = made[f"commands/soundalike-{name}.md"]
        for action in command._actions:
            for option in set(action.option_strings) - {"-h", "--help"}:
                assert option in page, f"soundalike {name}"
    assert "--budget" in made["commands/soundalike-study.md"]
    assert "--keep-archive" in made["commands/soundalike-data.md"]


def test_a_page_for_every_recipe_with_every_key_and_what_it_means(made: dict[str, str]) -> None:
    from soundalike.model.recipe import Recipe, shipped

    for name in shipped():
        page = made[f"recipes/{name}.md"]
        for section, values in Recipe.load(name).sections.items():
            table = page.partition(f"\n### {section}\n")[2].partition("\n### ")[0]
            for key in values:
                (row,) = re.findall(rf"^\| `{key}` \| .* \| (.*) \|$", table, re.MULTILINE)
                assert row.strip(), f"{name}: nothing is said of {section}.{key}"


def test_every_part_that_a_recipe_can_name_has_its_table(made: dict[str, str]) -> None:
    from soundalike.data.datasets import TASKS
    from soundalike.data.download import CATALOGUE
    from soundalike.model.parts import SECTIONS
    from soundalike.views.augment import AUGMENTATIONS

    for section, choices in SECTIONS.items():
        assert all(f"`{name}`" in made[f"parts/{section}.md"] for name in choices if len(choices) > 1)
    assert all(f"| `{name}` |" in made["parts/augmentations.md"] for name in AUGMENTATIONS)
    assert all(f"| `{name}` |" in made["parts/tasks.md"] for name in [*TASKS, *CATALOGUE])


def test_a_page_for_every_module(made: dict[str, str]) -> None:
    package = ROOT / "src/soundalike"
    files = {*package.glob("*/*.py"), *(path.parent for path in package.glob("*/*/__init__.py"))}
    for path in (path for path in files if path.stem != "__init__" and path.parent.name != "commands"):
        room, name = f"soundalike.{path.parent.name}", f"soundalike.{path.parent.name}.{path.stem}"
        page = made.get(f"python/{name}.md") or made[f"python/{room}.md"]
        assert f"::: {name}" in page


def test_links_of_the_repository_become_links_between_pages(generate: Any) -> None:
    known = {"readme.md", "clar.md", "recipes/ears-cpu.md", "tutorials/index.md"}
    text = "[a](docs/clar.md#x) [b](src/soundalike/model/recipes/ears-cpu.yaml) "
    text += "[c](https://d.e/f.md) [g](#h) [i](Makefile)"
    assert generate.relinked(text, "README.md", "readme.md", known) == (
        "[a](clar.md#x) [b](recipes/ears-cpu.md) [c](https://d.e/f.md) [g](#h) i"
    )
    text = "![j](../clar.md) [k](../nowhere.md) [`l`](../recipes/ears-cpu.md)"
    assert generate.relinked(text, "docs/tutorials/index.md", "tutorials/index.md", known) == (
        "![j](../clar.md) [k](../nowhere.md) [`l`](../recipes/ears-cpu.md)"
    )


def test_bars_divide_cells_except_in_code(generate: Any) -> None:
    assert generate.table(("a", "b"), [("`x|y`", "u|v\n w")]) == "| a | b |\n| --- | --- |\n| `x|y` | u\\|v w |\n"
