"""Recipes: a YAML file that names one of each part of the method, and every setting of a run.

A recipe has a section for each part: ``voice`` or ``recordings`` or both (where sound comes from, as the views need
it), ``views``, ``frontend``, ``encoder``, ``head``, ``objective``, ``readout`` and ``training``. A section's ``name``
chooses the part; its other keys are the arguments of that part's constructor, so what a recipe may say is what the
code takes, and nothing is listed twice.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundalike.core import yaml_text
from soundalike.core.errors import SoundalikeError, nearest
from soundalike.core.kinds import fits, kind_in_words, plain
from soundalike.data.training_clips import RecordingSettings, TrainingClips
from soundalike.model.parts import SECTIONS, VIEWS, WIRED, ModelParts, Parts, build_model_parts, build_parts
from soundalike.model.settings import Training
from soundalike.views.families import RECORDINGS

SOURCES = ("voice", "recordings")
"""Sections that a recipe has only where its views take what they make."""
LENGTHS = ("pairs", "steps", "minutes", "epochs")
"""The keys of ``training`` that say how long a run is: naming one on the command line replaces the others."""
_PARTS_OF_MIXED = {"doppelgangers": "synthetic", "recordings": "recorded"}  # views, and where mixed ones keep theirs
_NAMELESS = ("recordings", "training")  # sections with one part alone


@dataclass(frozen=True)
class Recipe:
    """A complete and checked recipe.

    Args:
        name: what it is called.
        sections: for each of `SECTIONS` its keys and values; missing ones take their defaults.

    Raises:
        SoundalikeError: a section, name or key is unknown, or a value is of the wrong kind.
    """

    name: str
    sections: dict[str, dict[str, Any]]

    def __post_init__(self) -> None:
        for section in self.sections:
            if section not in SECTIONS:
                hint = nearest(str(section), SECTIONS)
                raise SoundalikeError(f"recipe {self.name}: unknown section {section!r}: {hint}")
        complete = {section: self._complete(section, self.sections.get(section) or {}) for section in SECTIONS}
        views = VIEWS[complete["views"]["name"]]
        if "voice" not in inspect.signature(views).parameters:
            del complete["voice"]
        if not views.takes_recordings(complete["views"]):
            del complete["recordings"]
        object.__setattr__(self, "sections", complete)

    def _complete(self, section: str, given: Mapping[str, Any]) -> dict[str, Any]:
        choices = SECTIONS[section]
        where = f"recipe {self.name}"
        if not isinstance(given, Mapping):
            raise SoundalikeError(f"{where}: {section} is {given!r}: give keys and values below it.")
        name = given.get("name", next(iter(choices)))
        if not isinstance(name, str) or name not in choices:
            raise SoundalikeError(f"{where}: unknown {section} {name!r}: {nearest(str(name), choices)}")
        parameters = _parameters(section, name)
        for key, value in given.items():
            if key == "name":
                continue
            if key not in parameters:
                part = section if name == section else f"{section} {name!r}"
                raise SoundalikeError(f"{where}: {part} has no key {key!r}: {nearest(str(key), parameters)}")
            kind = parameters[key].annotation
            if not fits(value, kind):
                raise SoundalikeError(f"{where}: {section}.{key} is {value!r}: give {kind_in_words(kind)}.")
        values = {key: plain(given.get(key, parameter.default)) for key, parameter in parameters.items()}
        return values if section in _NAMELESS else {"name": name, **values}

    @classmethod
    def load(cls, name: str | Path) -> Recipe:
        """A shipped recipe by its name, or one from a YAML file.

        Args:
            name: such as ``doppelgangers``, or a path that ends in ``.yaml`` or ``.yml``.

        Raises:
            SoundalikeError: there is no such recipe, or the file is not one.
        """
        path = Path(name)
        if path.suffix not in (".yaml", ".yml"):
            path = _FOLDER / f"{name}.yaml"
            if not path.is_file():
                raise SoundalikeError(
                    f"unknown recipe {str(name)!r}: {nearest(str(name), shipped())} "
                    f"A path to a recipe of your own ends in .yaml."
                )
        try:
            content = yaml_text.parse(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SoundalikeError(f"{path}: no such recipe file.") from None
        except (yaml_text.NotYAMLError, OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SoundalikeError(f"{path}: not a recipe that can be read ({reason}); mend its YAML.") from None
        content = {} if content is None else content  # an empty file: every default
        if not isinstance(content, dict):
            raise SoundalikeError(f"{path}: not a recipe; give it sections such as {', '.join(SECTIONS)}.")
        called = content.pop("name", path.stem)
        if not isinstance(called, str | int | float) or not str(called).isprintable() or len(str(called)) > 200:
            raise SoundalikeError(f"{path}: its name is no text of at most 200 letters; give another.")
        recipe = cls(str(called), typing.cast("dict[str, dict[str, Any]]", content))
        for section in SOURCES:
            if content.get(section) and section not in recipe.sections:
                raise SoundalikeError(f"{path}: {_takes_no(section, recipe.sections)}")
        return recipe

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Recipe:
        """The recipe of which `to_dict` made ``content``."""
        return cls(str(content["name"]), dict(content["sections"]))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {"name": self.name, "sections": self.sections}

    def to_yaml(self) -> str:
        """The recipe as a file that `load` reads, every key included."""
        return yaml_text.to_text({"name": self.name, **self.sections})

    def override(self, settings: Mapping[str, Any]) -> Recipe:
        """A recipe with other settings.

        Args:
            settings: values by key. A key is ``section.key``, or ``key`` alone where one section has it, or
                ``section`` for the name of its part; ``delta.pitch`` sets δ of one group.

        Raises:
            SoundalikeError: a key is unknown or ambiguous, or a value does not fit.
        """
        sections = {section: dict(values) for section, values in self.sections.items()}
        remaining = dict(settings)
        for key, name in settings.items():  # names first: which other keys exist depends on them
            section, *rest = key.split(".")
            if section in SECTIONS and rest in ([], ["name"]):
                choice = SECTIONS[section].get(name) if isinstance(name, str) else None
                former = sections.get(section, {})
                kept = _parameters(section, name) if choice else former
                shared = {k: v for k, v in former.items() if k in kept}
                if (section, name) == ("views", "mixed") and former["name"] in _PARTS_OF_MIXED:
                    own = {k: v for k, v in former.items() if k != "name" and v is not None}
                    shared[_PARTS_OF_MIXED[former["name"]]] = own
                sections[section] = self._complete(section, shared | {"name": name})
                del remaining[key]
        named = {key.partition(".")[0] for key in settings}
        sections = Recipe(self.name, sections).sections  # other views can need other sources
        for section in SOURCES:
            if section in named and section not in sections:
                raise SoundalikeError(_takes_no(section, sections))
        located = [(self._locate(key, sections), value) for key, value in remaining.items()]
        given_lengths = {path[1] for path, _ in located if path[0] == "training"} & set(LENGTHS)
        if given_lengths:
            sections["training"].update({key: None for key in LENGTHS if key not in given_lengths})
        for (section, key, *inner), value in located:
            values = sections[section]
            if inner:
                if not _takes_mapping(section, values.get("name", section), key):
                    raise SoundalikeError(f"recipe key {section}.{key} holds one value: it has no key {inner[0]!r}.")
                values[key] = _with(values.get(key), (section, key), inner, value)
            else:
                values[key] = value
        return Recipe(self.name, sections)

    def place(self, key: str) -> tuple[str, ...]:
        """Where a key as a person writes it belongs: ``("training", "seed")`` of ``seed``.

        Args:
            key: key as `override` takes it.

        Raises:
            SoundalikeError: the key is unknown or ambiguous.
        """
        return self._locate(key.removesuffix(".name"), self.sections)

    def _locate(self, key: str, sections: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Section, key and what is inside it, of a key as a person writes it."""
        first, *rest = key.replace("-", "_").split(".")
        if first == "name":
            raise SoundalikeError("unknown recipe key 'name': give the section, such as --voice.")
        if first in SECTIONS and first not in sections:
            raise SoundalikeError(_takes_no(first, sections))
        if first in SECTIONS:
            return (first, *rest)
        owners = [section for section, values in sections.items() if first in values and first != "name"]
        if not owners:  # it may belong to a part that is not chosen: `Recipe` will say so
            owners = [
                section
                for section, choices in SECTIONS.items()
                if any(first in _parameters(section, name) for name in choices)
            ]
        if len(owners) == 1 and owners[0] not in sections:
            raise SoundalikeError(_takes_no(owners[0], sections))
        if len(owners) == 1:
            return (owners[0], first, *rest)
        if owners:
            several = " or ".join(f"{owner}.{first}" for owner in owners)
            raise SoundalikeError(f"recipe key {key!r} is in several sections: write {several}.")
        known = {k for values in sections.values() for k in values} | set(SECTIONS)
        raise SoundalikeError(f"unknown recipe key {key!r}: {_nearest_few(first, known - {'name'})}")

    def synthetic_alone(self) -> Recipe | None:
        """The recipe without recordings among its views; None where nothing is left."""
        views = dict(self.sections["views"])
        if views["name"] == "recordings":
            return None
        if views["name"] == "mixed":
            views = {"name": "doppelgangers", **(views["synthetic"] or {})}
        if views["name"] == "families":
            views["families"] = {name: of for name, of in views["families"].items() if name != RECORDINGS}
            if not views["families"]:
                return None
        return Recipe(self.name, {**self.sections, "views": views})

    @property
    def training(self) -> Training:
        """The ``training`` section, checked."""
        return Training(**self.sections["training"])

    @property
    def recordings(self) -> RecordingSettings | None:
        """The ``recordings`` section, checked; None where the views are synthetic alone."""
        return RecordingSettings(**self.sections["recordings"]) if "recordings" in self.sections else None

    def build(self, seed: int | None = None, clips: TrainingClips | None = None, classes: int | None = None) -> Parts:
        """One of each part, wired together, with random weights.

        Args:
            seed: of the weights; the training seed where not given.
            clips: what the ``recordings`` section has opened. Without it a recipe that hears recordings is built
                without its views, for a model that only embeds.
            classes: how many classes the head tells apart; those of ``clips`` where not given. Without either, a head
                that tells classes apart is not built.

        Raises:
            SoundalikeError: parts do not fit together.
        """
        return build_parts(self.sections, self.training, seed, clips, classes)

    def build_model(self, seed: int | None = None, classes: int | None = None, weights: bool = True) -> ModelParts:
        """The parts that a model keeps: as `build`, without a voice and without whatever else only training needs.

        Args:
            seed: seed of the weights; the training seed where not given.
            classes: how many classes the head tells apart; without it no head is built.
            weights: whether there are any. Otherwise encoder and head have shapes alone and take no memory, whatever
                the recipe says of their sizes.

        Raises:
            SoundalikeError: parts do not fit together.
        """
        return build_model_parts(self.sections, self.training.seed if seed is None else seed, classes, weights)


_FOLDER = Path(__file__).parent / "recipes"


def shipped() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


@functools.cache  # type hints take milliseconds to resolve
def _parameters(section: str, name: str) -> dict[str, inspect.Parameter]:
    """The constructor arguments of a part that a recipe may set, with annotations resolved to types."""
    constructor: Any = SECTIONS[section][name]
    target = inspect.getattr_static(constructor, "__init__") if isinstance(constructor, type) else constructor
    hints = typing.get_type_hints(target)
    return {
        key: parameter.replace(annotation=hints.get(key, Any))
        for key, parameter in inspect.signature(constructor).parameters.items()
        if key not in WIRED.get(section, set())
    }


def _takes_no(section: str, sections: Mapping[str, Mapping[str, Any]]) -> str:
    views = sections["views"]["name"]
    other = "recordings or mixed" if section == "recordings" else "doppelgangers or mixed"
    return f"this recipe has no {section}, because its views are {views!r}: leave it out, or give --views {other}."


def _takes_mapping(section: str, name: str, key: str) -> bool:
    parameter = _parameters(section, name).get(key)
    return parameter is not None and fits({}, parameter.annotation)


def _with(before: Any, above: Sequence[str], path: Sequence[str], value: Any) -> Any:
    """A mapping of a recipe with another value at a path below some keys."""
    if not path:
        return value
    if before is not None and not isinstance(before, Mapping):
        if above[-1] != "delta":
            raise SoundalikeError(f"recipe key {'.'.join(above)} holds one value: it has no key {path[0]!r}.")
        before = {"other": before}  # one number for every group
    before = before or {}
    return {**before, path[0]: _with(before.get(path[0]), (*above, path[0]), path[1:], value)}


def _nearest_few(word: str, known: set[str]) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "--print-recipe shows every key."
