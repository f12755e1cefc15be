"""Families of sounds: several voices in one run, each with its own idea of what stays the same in a pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.data.training_clips import TrainingClips
from soundalike.synth import VOICES, Synthesizer
from soundalike.views.doppelganger import Doppelgangers
from soundalike.views.interleave import Interleave
from soundalike.views.interleaved import InterleavedViews
from soundalike.views.mixed import build
from soundalike.views.recording import RecordedViews
from soundalike.views.view import Views

RECORDINGS = "recordings"
"""Name of the family whose sounds are recordings."""
_OF_FAMILIES = ("weight", "head")  # keys of a family that are none of its views


class Families(InterleavedViews):
    """Pairs of several families of sounds, interleaved by weight: voices, each with its own δ, and recordings.

    What is known of the sounds of one family is masked for the others; a target that several voices declare is one
    target.

    Args:
        sample_rate: of the audio, in Hz.
        families: for each family by its name a mapping: ``voice`` (a mapping with the voice's ``name`` and arguments)
            and arguments of `Doppelgangers`; for the one that is called ``recordings`` arguments of `RecordedViews`.
            ``weight`` is how often it comes, 1 where not given. ``head`` is a mapping of arguments in which the head
            of this family differs from the recipe's: the family then has a head of its own.
        turn: how many pairs of one family follow one another: the batch size makes each batch one of a single family,
            1 mixes all of them in every batch.
        clips: the recordings, where there is a family of them.
        samples: length of a view of recordings.

    Raises:
        SoundalikeError: an argument is unknown or out of its range, lengths differ, or two voices declare different
            targets by one name.
    """

    def __init__(
        self,
        sample_rate: int,
        families: Mapping[str, Mapping[str, Any]] | None = None,
        turn: int = 1,
        clips: TrainingClips | None = None,
        samples: int | None = None,
    ) -> None:
        if not families:
            raise SoundalikeError("views.families is empty: name one family at least.")
        sources: dict[str, Views] = {}
        own_heads: dict[str, dict[str, Any]] = {}
        weights = []
        for name, given in families.items():
            key = f"views.families.{name}"
            arguments = _mapping(key, given)
            weights.append(arguments.pop("weight", 1.0))
            if "head" in arguments:
                own_heads[name] = _mapping(f"{key}.head", arguments.pop("head"))
            sources[name] = _source(key, name, arguments, sample_rate, clips, samples)
        super().__init__(sources, Interleave("views.families: weight", weights, turn), sample_rate)
        self.own_heads = own_heads

    @classmethod
    def takes_recordings(cls, arguments: Mapping[str, Any]) -> bool:
        """As `Views.takes_recordings`."""
        families = arguments.get("families")
        return isinstance(families, Mapping) and RECORDINGS in families


def _source(
    key: str, name: str, arguments: dict[str, Any], sample_rate: int, clips: TrainingClips | None, samples: int | None
) -> Views:
    """The views of one family."""
    if name == RECORDINGS:
        if clips is None or samples is None:
            raise SoundalikeError(f"{key}: there are no recordings to take; give recordings.data.")
        return build(key, RecordedViews, {"clips": clips, "samples": samples}, arguments, _OF_FAMILIES)
    voice = _mapping(f"{key}.voice", arguments.pop("voice", None))
    kind = voice.pop("name", None)
    if kind not in VOICES:
        raise SoundalikeError(f"{key}.voice.name is {kind!r}: {nearest(str(kind), VOICES)}")
    made: Synthesizer = build(f"{key}.voice", VOICES[kind], {"sample_rate": sample_rate}, voice)
    return build(key, Doppelgangers, {"voice": made}, arguments, ("voice", *_OF_FAMILIES))


def _mapping(key: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise SoundalikeError(f"{key} is {given!r}: give keys and values below it.")
    return dict(given)
