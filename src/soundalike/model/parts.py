"""What a recipe builds: one of each part of the method, wired together."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from soundalike.core.errors import SoundalikeError
from soundalike.core.memory import is_out_of_memory
from soundalike.data.training_clips import RecordingSettings, TrainingClips
from soundalike.model.settings import Training
from soundalike.nn.encoder import ENCODERS, ResNet18
from soundalike.nn.frontend import FRONTENDS, FrontEnd
from soundalike.nn.head import HEADS, Head
from soundalike.nn.loss import OBJECTIVES, Objective
from soundalike.nn.pooling import READOUTS, ReadOut
from soundalike.nn.targets import TargetPrediction
from soundalike.synth import VOICES, Synthesizer
from soundalike.views import Doppelgangers, Families, MixedViews, RecordedViews, Views
from soundalike.views.interleaved import InterleavedViews
from soundalike.views.mixed import build

VIEWS: dict[str, type[Views]] = {
    "doppelgangers": Doppelgangers,
    "families": Families,
    "recordings": RecordedViews,
    "mixed": MixedViews,
}
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
    "views": {"voice", "clips", "samples", "sample_rate"},
    "encoder": {"channels", "generator"},
    "head": {"size_in", "classes", "generator"},
}


@dataclass(frozen=True)
class ModelParts:
    """The parts of a model.

    Attributes:
        frontend: from waveforms to features.
        encoder: from features to the outputs of its stages.
        readout: from these to an embedding.
        head: None where it tells classes apart and their number is not known.
    """

    frontend: FrontEnd
    encoder: ResNet18
    readout: ReadOut
    head: Head | None


@dataclass(frozen=True)
class Parts(ModelParts):
    """What a recipe builds: the parts of a model and those that only its training needs.

    Attributes:
        objective: the loss of several views.
        voice: None where the views are of recordings alone.
        views: None where they are of recordings that were not opened.
        prediction: None where no targets are predicted.
        heads: heads of the families that have one of their own, by name.
    """

    objective: Objective
    voice: Synthesizer | None
    views: Views | None
    prediction: TargetPrediction | None = None
    heads: Mapping[str, Head] = field(default_factory=dict)

    @property
    def synthetic(self) -> dict[str, Doppelgangers]:
        """The views of synthetic pairs by family; one without a name where there are no families.

        Raises:
            SoundalikeError: all pairs are of recordings.
        """
        if isinstance(self.views, InterleavedViews):
            found = {name: views for name, views in self.views.sources.items() if isinstance(views, Doppelgangers)}
        else:
            found = {"": self.views} if isinstance(self.views, Doppelgangers) else {}
        if not found:
            raise SoundalikeError(
                "this is about synthetic pairs: give a recipe whose views are doppelgangers or families."
            )
        return found

    @property
    def doppelgangers(self) -> Doppelgangers:
        """The views, where they are doppelgängers.

        Raises:
            SoundalikeError: they are others.
        """
        if not isinstance(self.views, Doppelgangers):
            raise SoundalikeError("this is about synthetic pairs: give a recipe whose views are doppelgangers.")
        return self.views


def build_parts(
    sections: Mapping[str, Mapping[str, Any]],
    training: Training,
    seed: int | None = None,
    clips: TrainingClips | None = None,
    classes: int | None = None,
) -> Parts:
    """One of each part, wired together, with random weights.

    Args:
        sections: complete sections of a recipe.
        training: its training section.
        seed: seed of the weights; the training seed where not given.
        clips: what the ``recordings`` section has opened, as `Recipe.build` takes it.
        classes: how many classes the head tells apart, as `Recipe.build` takes it.

    Raises:
        SoundalikeError: parts do not fit together.
    """
    generator = torch.Generator().manual_seed(training.seed if seed is None else seed)
    frontend, encoder = _frontend_and_encoder(sections, generator)
    voice = _make(sections, "voice", sample_rate=frontend.sample_rate) if "voice" in sections else None
    classes = len(clips.classes) if classes is None and clips is not None else classes
    objective = _make(sections, "objective")
    head = _head(sections, objective, encoder, classes, generator)
    views = _views(sections, objective, frontend, voice, clips)
    heads = {
        name: _own_head(name, changes, sections, encoder, generator)
        for name, changes in ({} if views is None else views.own_heads).items()
    }
    prediction = None
    if training.predicts and (views is not None or sections["views"]["name"] == "recordings"):
        specs = () if views is None else views.target_specs
        if not specs:
            raise SoundalikeError(
                "training.targets are what a synthesizer knows of its sounds, and this recipe's views know nothing: "
                "give --voice scene and --instrument voice, or --targets 0."
            )
        prediction = TargetPrediction(encoder, frontend, specs, training.targets, generator)
    return Parts(frontend, encoder, _make(sections, "readout"), head, objective, voice, views, prediction, heads)


def build_model_parts(
    sections: Mapping[str, Mapping[str, Any]], seed: int, classes: int | None = None, weights: bool = True
) -> ModelParts:
    """The parts of a model alone, of which none is a voice.

    Args:
        sections: complete sections of a recipe.
        seed: seed of the weights.
        classes: how many classes the head tells apart, as `Recipe.build_model` takes it.
        weights: whether there are any, as `Recipe.build_model` takes it.

    Raises:
        SoundalikeError: parts do not fit together.
    """
    generator = torch.Generator().manual_seed(seed)
    frontend, encoder = _frontend_and_encoder(sections, generator, weights)
    head = None
    if classes is not None and "classes" in inspect.signature(HEADS[sections["head"]["name"]]).parameters:
        with contextlib.nullcontext() if weights else torch.device("meta"):
            head = _make(sections, "head", size_in=encoder.size, classes=classes, generator=generator)
    return ModelParts(frontend, encoder, _make(sections, "readout"), head)


def _frontend_and_encoder(
    sections: Mapping[str, Mapping[str, Any]], generator: torch.Generator, weights: bool = True
) -> tuple[FrontEnd, ResNet18]:
    """The front end, and an encoder that fits it."""
    frontend: FrontEnd = _make(sections, "frontend")
    with contextlib.nullcontext() if weights else torch.device("meta"):
        encoder: ResNet18 = _make(sections, "encoder", channels=frontend.channels, generator=generator)
    axes = 1 if frontend.bands is None else 2
    if encoder.dimensions != axes:
        raise SoundalikeError(
            f"encoder.dimensions is {encoder.dimensions}: the front end {sections['frontend']['name']!r} needs {axes}."
        )
    if frontend.bands is None and sections["head"].get("loss") == "frame":
        raise SoundalikeError("head.loss is 'frame', and a frame of a waveform is 2 ms: give --head.loss clip.")
    return frontend, encoder


def _head(
    sections: Mapping[str, Mapping[str, Any]],
    objective: Objective,
    encoder: ResNet18,
    classes: int | None,
    generator: torch.Generator,
) -> Head | None:
    """The head; None where it tells classes apart and their number is not known."""
    tells_classes = "classes" in inspect.signature(HEADS[sections["head"]["name"]]).parameters
    if "recordings" not in sections and (objective.needs_labels or tells_classes):
        raise SoundalikeError(
            "synthetic sounds have no labels, which the objective or the head needs: give --views recordings or "
            "--views mixed."
        )
    if classes is None and tells_classes:
        return None
    head: Head = _make(sections, "head", size_in=encoder.size, classes=classes, generator=generator)
    named, wanted = sections["head"]["name"], sections["objective"]["name"]
    if head.classes and not objective.needs_labels:
        raise SoundalikeError(
            f"the head {named!r} tells classes apart, and the objective {wanted!r} sees no labels: give --objective "
            f"supervised or --objective joint, or --head projection."
        )
    if objective.needs_labels and not head.classes:
        raise SoundalikeError(
            f"the objective {wanted!r} needs a head that tells classes apart, not {named!r}: give --head classifier "
            f"or --head joint."
        )
    return head


def _own_head(
    family: str,
    changes: Mapping[str, Any],
    sections: Mapping[str, Mapping[str, Any]],
    encoder: ResNet18,
    generator: torch.Generator,
) -> Head:
    """The head of one family, which differs from the recipe's in some arguments."""
    arguments = {**sections["head"], **changes}
    name = str(arguments.pop("name"))
    accepted = inspect.signature(HEADS[name]).parameters
    offered: dict[str, Any] = {"size_in": encoder.size, "generator": generator}
    wired = {key: value for key, value in offered.items() if key in accepted}
    return build(f"views.families.{family}.head", HEADS[name], wired, arguments)


def _views(
    sections: Mapping[str, Mapping[str, Any]],
    objective: Objective,
    frontend: FrontEnd,
    voice: Synthesizer | None,
    clips: TrainingClips | None,
) -> Views | None:
    """The views; None where they are of recordings that were not opened."""
    wired: dict[str, Any] = {"voice": voice, "sample_rate": frontend.sample_rate}
    if "recordings" in sections:
        if clips is None:
            return None
        if frontend.frames is None:
            raise SoundalikeError("the front end has no training length; set its frames.")
        wired |= {"clips": clips, "samples": frontend.clip_samples}
    views: Views = _make(sections, "views", **wired)
    if views.takes > 2 and not objective.takes_identities:
        raise SoundalikeError(
            f"views.takes is {views.takes}, and the objective {sections['objective']['name']!r} knows of two takes of "
            f"a sound only: give --objective multi-positive."
        )
    return views


def _make(sections: Mapping[str, Mapping[str, Any]], section: str, **wired: Any) -> Any:
    """The part that a section chooses."""
    arguments = dict(sections[section])
    constructor = SECTIONS[section][arguments.pop("name")]
    accepted = inspect.signature(constructor).parameters
    try:
        return constructor(**arguments, **{key: value for key, value in wired.items() if key in accepted})
    except (ArithmeticError, ValueError, RuntimeError, MemoryError) as error:  # numbers that nothing can have
        if is_out_of_memory(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SoundalikeError(f"no {section} can be made of its values ({reason}); give others.") from error
