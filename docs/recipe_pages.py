"""Pages on recipes and on what they choose from, out of YAML files, constructors and docstrings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from writing import arguments, code, keys, summary, table

FOLDER = Path(__file__).resolve().parents[1] / "src/soundalike/model/recipes"


def recipes() -> list[str]:
    """Names of the recipes that ship."""
    from soundalike.model.recipe import shipped

    return shipped()


def sections() -> list[str]:
    """Names of the sections of a recipe."""
    from soundalike.model.parts import SECTIONS

    return list(SECTIONS)


def pages() -> Iterator[tuple[str, str]]:
    """Path and text of the recipes' pages."""
    from soundalike.model.parts import SECTIONS
    from soundalike.model.recipe import Recipe

    files = {name: (FOLDER / f"{name}.yaml").read_text(encoding="utf-8") for name in recipes()}
    rows = [(f"[`{name}`]({name}.md)", _opening(text)) for name, text in files.items()]
    yield (
        "recipes/index.md",
        "# Recipes\n\nA recipe is a YAML file with every setting of a run. `soundalike pretrain --recipe NAME` takes "
        "one of these or the path of your own, and every key is an option as well: `--delta 0.1`, "
        "`--encoder.width 16`. `soundalike pretrain --recipe NAME --print-recipe` shows what would run.\n\n"
        + table(("recipe", "what it is"), rows),
    )
    for name, text in files.items():
        recipe = Recipe.load(name)
        parts = [f"# {name}", _opening(text), f"```yaml\n{text.strip()}\n```"]
        parts.append("## Every key\n\nThose that the file leaves out have their defaults, and are here too.")
        for section, values in recipe.sections.items():
            chosen = values.get("name", section)
            said = arguments(SECTIONS[section][chosen])  # type: ignore[arg-type]
            named = [("`name`", f"`{chosen}`", f"which one, of [these](../parts/{section}.md)")]
            rest = [(f"`{key}`", code(value), said.get(key, "")) for key, value in values.items() if key != "name"]
            rows_here = (named if "name" in values else []) + rest
            parts.append(f"### {section}\n\n" + table(("key", "here", "meaning"), rows_here))
        yield f"recipes/{name}.md", "\n\n".join(parts)


def _opening(text: str) -> str:
    """The comment that a recipe begins with."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").rstrip())
    return " ".join(lines)


_SECTION_TEXT = {
    "voice": "Where synthetic sound comes from: a patch, a tensor of knob positions in [0, 1], becomes a waveform.",
    "recordings": "Which recordings a run hears, and which labels it sees.",
    "views": "How two views of one sound are made.",
    "frontend": "What the encoder sees of a waveform.",
    "encoder": "The network.",
    "head": "What stands between the encoder's output and the objective.",
    "objective": "What is minimised.",
    "readout": "How an embedding is read from front end and encoder.",
    "training": "How a run goes.",
}


def part_pages() -> Iterator[tuple[str, str]]:
    """Path and text of the pages on what recipes choose from, augmentations and tasks included."""
    from soundalike.model.parts import SECTIONS, WIRED
    from soundalike.views.augment import AUGMENTATIONS

    rows = [(f"[`{section}`]({section}.md)", _SECTION_TEXT.get(section, "")) for section in SECTIONS]
    rows += [
        (
            "[augmentations](augmentations.md)",
            "Random changes to views: `views.augment` and `views.augment_features`.",
        ),
        ("[tasks](tasks.md)", "Recordings with labels: `--task`, and what `soundalike data get` downloads."),
    ]
    yield (
        "parts/index.md",
        "# Parts\n\nA recipe has a section for each part of the method. `name` chooses the part, the other keys are "
        "its arguments.\n\n" + table(("section", "what it is"), rows),
    )
    for section, choices in SECTIONS.items():
        text = [f"# {section}", _SECTION_TEXT.get(section, "")]
        if len(choices) > 1:
            text.append(
                table(("name", "what it is"), [(f"`{name}`", summary(kind)) for name, kind in choices.items()])
            )
        if section == "voice":
            text.append(_knobs())
        for name, kind in choices.items():
            if len(choices) > 1 or name != section:
                text += [f"## {name}", summary(kind)]
            taken = keys(kind, WIRED.get(section, set()))  # type: ignore[arg-type]
            text.append(table(("key", "default", "meaning"), taken) if taken else "It has no keys.")
        yield f"parts/{section}.md", "\n\n".join(text)
    text = [
        "# Augmentations",
        "Batched, each sound with a draw of its own. `p` is the part of the sounds that is changed.",
    ]
    text.append(table(("name", "what it is"), [(f"`{name}`", summary(kind)) for name, kind in AUGMENTATIONS.items()]))
    for name, kind in AUGMENTATIONS.items():
        text += [f"## {name}", summary(kind), table(("key", "default", "meaning"), keys(kind, {"sample_rate"}))]
    yield "parts/augmentations.md", "\n\n".join(text)
    yield "parts/tasks.md", _tasks()


def _knobs() -> str:
    """How many knobs of each group a voice has: the groups are what δ can be set for."""
    from soundalike.synth import GROUPS, VOICES

    rows = []
    for name, kind in VOICES.items():
        groups = [spec.group for spec in kind().specs]
        rows.append([f"`{name}`", str(len(groups)), *(str(groups.count(group)) for group in GROUPS)])
    return "Knobs of each group, for which δ can be set (`views.delta`):\n\n" + table(
        ("voice", "knobs", *GROUPS), rows
    )


def _tasks() -> str:
    from soundalike.data.datasets import TASKS
    from soundalike.data.download import CATALOGUE, amount

    rows = [(f"`{name}`", " ".join(reader.layout.split())) for name, reader in TASKS.items()]
    sets = [
        (f"`{each.name}`", each.title, f"{each.clips:,}", amount(each.size), f"[{each.licence}]({each.page})", tasks)
        for each in CATALOGUE.values()
        for tasks in [", ".join(f"`{task}`" for task in each.tasks)]
    ]
    return (
        "# Tasks and data sets\n\nA task reads a folder as a table of clips with labels and folds: "
        "`soundalike evaluate MODEL --task NAME --data FOLDER`.\n\n"
        + table(("task", "what the folder has"), rows)
        + "\n## Data sets to download\n\n`soundalike data get NAME` takes them from their official addresses.\n\n"
        + table(("name", "what it holds", "clips", "download", "licence", "tasks"), sets)
    )
