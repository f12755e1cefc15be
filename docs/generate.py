"""Pages that MkDocs makes from the code: commands, recipes, parts, tasks and modules. A hook of ``mkdocs.yml``."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).resolve().parent))

import command_pages
import recipe_pages
from writing import summary, table

ROOT = Path(__file__).resolve().parents[1]

BESIDE = {
    "README.md": "readme.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "data/README.md": "sample.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Documents that lie elsewhere in the repository, and the pages that they become."""

MODULES = {
    "Use a model": (
        "soundalike",
        "model.model",
        "model.shipped",
        "model.embed_files",
        "model.compact",
        "model.fit_compact",
        "audio.read",
        "model.frames",
    ),
    "Your own sounds": ("apps.classifier", "apps.review", "apps.search", "apps.pages"),
    "Other programs": ("model.sklearn", "model.hear", "model.onnx"),
    "Sounds and views": ("synth", "views", "apps.render", "apps.studio"),
    "Networks": ("nn.frontend", "nn.encoder", "nn.pooling", "nn.head", "nn.loss", "nn.lars"),
    "Train": ("model.recipe", "model.settings", "train.pretrain", "train.finetune", "train.step"),
    "Data": ("data.datasets", "data.training_clips", "audio.cache", "data.download", "audio.background"),
    "Measure": ("eval.probe", "eval.study", "data.leakage"),
}
"""The modules, without ``soundalike.``, in the order of the navigation.

One that is named nowhere comes under the last heading, `_REST`."""
_REST = "Inside"
_NO_API = ("cli", "commands")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts what is generated into the navigation."""
    generated = {
        "commands": ["commands/index.md", *(f"commands/soundalike-{name}.md" for name in command_pages.commands())],
        "recipes": ["recipes/index.md", *(f"recipes/{name}.md" for name in recipe_pages.recipes())],
        "parts": [
            "parts/index.md",
            *(f"parts/{name}.md" for name in (*recipe_pages.sections(), "augmentations", "tasks")),
        ],
        "python": [
            "python/index.md",
            *({title: [f"python/{full(name)}.md" for name in names]} for title, names in modules().items()),
        ],
    }
    for entry in config.nav or []:
        for title, target in entry.items():
            if isinstance(target, str) and target in generated:
                entry[title] = generated[target]
            elif title == "Measured":
                target[:0] = ["readme.md"]
                target += sorted(f"models/{path.name}" for path in (ROOT / "docs/models").glob("*.md"))
                target += ["benchmarks.md", "sample.md", "contributing.md", "changelog.md"]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages."""
    for path, text in pages():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links between files of the repository into links between pages."""
    at_home = {page: source for source, page in BESIDE.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return relinked(markdown, at_home, page.file.src_uri, set(files.src_uris))


def pages() -> Iterator[tuple[str, str]]:
    """Path below ``docs`` and text of every generated page."""
    for source, page in BESIDE.items():
        yield page, (ROOT / source).read_text(encoding="utf-8")
    yield from command_pages.pages()
    yield from recipe_pages.pages()
    yield from recipe_pages.part_pages()
    yield from _module_pages()


def relinked(markdown: str, at_home: str, page: str, known: set[str]) -> str:
    """Markdown with its links to files of the repository pointing to pages of the site.

    Args:
        markdown: of the page.
        at_home: the file in the repository that it comes from.
        page: where it is in the site.
        known: every file of the site.

    Returns:
        The same with links to other pages, and without those to files that are no page. A link to a file that is not
        there at all is left as it is, for MkDocs to complain of.
    """

    def point(match: re.Match[str]) -> str:
        text, target, anchor = match["text"], match["target"], match["anchor"] or ""
        if re.match(r"[a-z]+:", target) or not target:
            return match[0]
        source = _normal(PurePosixPath(at_home).parent / target)
        if source.startswith("src/soundalike/model/recipes/") and source.endswith(".yaml"):
            found = f"recipes/{PurePosixPath(source).stem}.md"
        else:
            found = BESIDE.get(source, source.removeprefix("docs/") if source.startswith("docs/") else "")
        if found in known:
            return f"{text}({_normal(PurePosixPath(*['..'] * page.count('/')) / found, up=True)}{anchor})"
        return text[1:-1] if (ROOT / source).exists() and text[0] == "[" else match[0]

    return re.sub(r"(?P<text>!?\[[^\]\n]*\])\((?P<target>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)", point, markdown)


def _normal(path: PurePosixPath, up: bool = False) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts and not (up and parts[-1] == ".."):
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def modules() -> dict[str, list[str]]:
    """Names of the modules and packages in the rooms, by heading; a room named there is one page."""
    import soundalike

    named = {name for names in MODULES.values() for name in names}
    there = {"soundalike"}
    for room in pkgutil.iter_modules(soundalike.__path__):
        if room.name in _NO_API or room.name.startswith("_"):
            continue
        inside = pkgutil.iter_modules([str(ROOT / "src/soundalike" / room.name)]) if room.ispkg else []
        names = {f"{room.name}.{each.name}" for each in inside if not each.name.startswith("_")}
        there |= {room.name} if room.name in named or not room.ispkg else names
    found = {title: [name for name in names if name in there] for title, names in MODULES.items()}
    return found | {_REST: sorted(there - named)}


def full(name: str) -> str:
    """The name by which a module is imported, and its page is called."""
    return name if name == "soundalike" else f"soundalike.{name}"


def _module_pages() -> Iterator[tuple[str, str]]:
    rows = []
    for title, names in modules().items():
        for name in names:
            whole = full(name)
            inner = [] if name == "soundalike" else _inner(whole)
            about = _module_summary(whole)
            rows.append((f"[`{whole}`]({whole}.md)", title, about))
            if inner:
                text = f"# {whole}\n\n{about}\n\n" + "\n\n".join(f"::: {each}" for each in inner)
            else:
                text = f"# {whole}\n\n::: {whole}\n    options:\n      show_root_heading: false\n"
            yield f"python/{whole}.md", text + "\n"
    yield "python/index.md", "# Python\n\n" + table(("module", "for", "what it is"), rows)


def _inner(whole: str) -> list[str]:
    folder = ROOT / "src" / Path(*whole.split("."))
    if not folder.is_dir():
        return []
    found = []
    for each in sorted(pkgutil.iter_modules([str(folder)]), key=lambda module: module.name):
        if not each.name.startswith("_"):
            name = f"{whole}.{each.name}"
            found += _inner(name) or [name]
    return found


def _module_summary(whole: str) -> str:
    return summary(importlib.import_module(whole))
