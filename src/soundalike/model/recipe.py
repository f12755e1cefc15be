"""Recipes: a YAML file that names one of each part of the method, and every setting of a run.

A recipe has a section for each part: ``voice`` or ``recordings`` or both (where sound comes from, as the views need
it), ``views``, ``frontend``, ``encoder``, ``head``, ``objective``, ``readout`` and ``training``. A section's ``name``
chooses the part; its other keys are the arguments of that part's constructor, so what a recipe may say is what the
code takes, and nothing is listed twice.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from soundalike.core import yaml_text
from soundalike.core.errors import SoundalikeError, nearest
from soundalike.core.kinds import fits, kind_in_words, plain
from soundalike.data.training_clips import RecordingSettings, TrainingClips
from soundalike.model.parts import ModelParts, Parts
from soundalike.model.settings import Training
from soundalike.nn.encoder import ENCODERS, ResNet18
from soundalike.nn.frontend import FRONTENDS, FrontEnd
from soundalike.nn.head import HEADS
from soundalike.nn.loss import OBJECTIVES
from soundalike.nn.pooling import READOUTS
from soundalike.nn.targets import TargetPrediction
from soundalike.synth import VOICES
from soundalike.views import Doppelgangers, MixedViews, RecordedViews, Views

VIEWS: dict[str, type[Views]] = {"doppelgangers": Doppelgangers, "recordings": RecordedViews, "mixed": MixedViews}
SECTIONS: dict[str, Mapping[str, Callable[..., Any]]] = {
    "voice": VOICES,
    "recordings": {"recordings": RecordingSettings},
    "views": VIEWS,
    "frontend": FRONTENDS,
    "encoder": ENCODERS,
    "head": HEADS,
    "objective": OBJECTIVES,
    "readout": READOUTS,
    "training": {"training": Training},
}
"""Every section and the parts that its ``name`` can choose from."""

# Arguments that one part takes from another, so that they cannot disagree, and that no recipe sets.
WIRED = {
    "voice": {"sample_rate"},
    "views": {"voice", "clips", "samples"},
    "encoder": {"channels", "generator"},
    "head": {"size_in", "classes", "generator"},
}
SOURCES = {"voice": "voice", "recordings": "clips"}
"""Sections that a recipe has only where its views take what they make, and what that is called there."""
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
        wanted = inspect.signature(VIEWS[complete["views"]["name"]]).parameters
        for section, argument in SOURCES.items():
            if argument not in wanted:
                del complete[section]
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
                before = values.get(key)
                if len(inner) > 1 or not _takes_mapping(section, values.get("name", section), key):
                    *above, last = section, key, *inner
                    raise SoundalikeError(f"recipe key {'.'.join(above)} holds one value: it has no key {last!r}.")
                whole = before if isinstance(before, Mapping) else {} if before is None else {"other": before}
                values[key] = {**whole, inner[0]: value}
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
        generator = torch.Generator().manual_seed(self.training.seed if seed is None else seed)
        frontend, encoder = self._frontend_and_encoder(generator)
        voice = self._make("voice", sample_rate=frontend.sample_rate) if "voice" in self.sections else None
        classes = len(clips.classes) if classes is None and clips is not None else classes
        objective = self._make("objective")
        if "recordings" not in self.sections and (objective.needs_labels or self._takes("head", "classes")):
            raise SoundalikeError(
                "synthetic sounds have no labels, which the objective or the head needs: give --views recordings or "
                "--views mixed."
            )
        head, views = None, None
        if classes is not None or not self._takes("head", "classes"):
            head = self._make("head", size_in=encoder.size, classes=classes, generator=generator)
            if head.classes and not objective.needs_labels:
                raise SoundalikeError(
                    f"the head {self.sections['head']['name']!r} tells classes apart, and the objective "
                    f"{self.sections['objective']['name']!r} sees no labels: give --objective supervised or "
                    f"--objective joint, or --head projection."
                )
            if objective.needs_labels and not head.classes:
                raise SoundalikeError(
                    f"the objective {self.sections['objective']['name']!r} needs a head that tells classes apart, not "
                    f"{self.sections['head']['name']!r}: give --head classifier or --head joint."
                )
        if "recordings" not in self.sections:
            views = self._make("views", voice=voice)
        elif clips is not None:
            if frontend.frames is None:
                raise SoundalikeError("the front end has no training length; set its frames.")
            views = self._make("views", voice=voice, clips=clips, samples=frontend.clip_samples)
        prediction = None
        if self.training.predicts and (views is not None or "voice" not in self.sections):
            specs = () if views is None else views.target_specs
            if not specs:
                raise SoundalikeError(
                    "training.targets are what a synthesizer knows of its sounds, and this recipe's views know "
                    "nothing: give --voice scene and --instrument voice, or --targets 0."
                )
            prediction = TargetPrediction(encoder, frontend, specs, self.training.targets, generator)
        return Parts(frontend, encoder, self._make("readout"), head, objective, voice, views, prediction)

    def build_model(self, seed: int | None = None, classes: int | None = None, weights: bool = True) -> ModelParts:
        """The parts that a model keeps: as `build`, without a voice and without whatever else only training needs.

        Args:
            seed: of the weights; the training seed where not given.
            classes: how many classes the head tells apart; without it no head is built.
            weights: whether there are any. Otherwise encoder and head have shapes alone and take no memory, whatever
                the recipe says of their sizes.

        Raises:
            SoundalikeError: parts do not fit together.
        """
        generator = torch.Generator().manual_seed(self.training.seed if seed is None else seed)
        frontend, encoder = self._frontend_and_encoder(generator, weights)
        head = None
        if classes is not None and self._takes("head", "classes"):
            with contextlib.nullcontext() if weights else torch.device("meta"):
                head = self._make("head", size_in=encoder.size, classes=classes, generator=generator)
        return ModelParts(frontend, encoder, self._make("readout"), head)

    def _frontend_and_encoder(self, generator: torch.Generator, weights: bool = True) -> tuple[FrontEnd, ResNet18]:
        frontend = self._make("frontend")
        with contextlib.nullcontext() if weights else torch.device("meta"):
            encoder = self._make("encoder", channels=frontend.channels, generator=generator)
        axes = 1 if frontend.bands is None else 2
        if encoder.dimensions != axes:
            raise SoundalikeError(
                f"encoder.dimensions is {encoder.dimensions}: the front end {self.sections['frontend']['name']!r} "
                f"needs {axes}."
            )
        if frontend.bands is None and self.sections["head"].get("loss") == "frame":
            raise SoundalikeError("head.loss is 'frame', and a frame of a waveform is 2 ms: give --head.loss clip.")
        return frontend, encoder

    def _takes(self, section: str, argument: str) -> bool:
        """Whether the chosen part of a section takes an argument."""
        return argument in inspect.signature(SECTIONS[section][self.sections[section]["name"]]).parameters

    def _make(self, section: str, **wired: Any) -> Any:
        arguments = dict(self.sections[section])
        constructor = SECTIONS[section][arguments.pop("name")]
        accepted = inspect.signature(constructor).parameters
        try:
            return constructor(**arguments, **{key: value for key, value in wired.items() if key in accepted})
        except (ArithmeticError, ValueError, RuntimeError, MemoryError) as error:  # numbers that nothing can have
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise SoundalikeError(
                f"recipe {self.name}: no {section} can be made of its values ({reason}); give others."
            ) from error


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


def _nearest_few(word: str, known: set[str]) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "--print-recipe shows every key."
