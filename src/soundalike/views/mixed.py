"""Synthetic and recorded pairs in one batch, in any ratio."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from soundalike.core.errors import SoundalikeError, nearest
from soundalike.data.training_clips import TrainingClips
from soundalike.synth import Synthesizer
from soundalike.views.doppelganger import Doppelgangers
from soundalike.views.interleave import Interleave
from soundalike.views.interleaved import InterleavedViews
from soundalike.views.recording import RecordedViews

_V = TypeVar("_V")


class MixedViews(InterleavedViews):
    """Pairs of which one part is synthetic and the rest recorded, evenly interleaved, each augmented in its own way.

    This is the hybrid that Cherep & Singh 2025 (arXiv 2406.05923) leave for the future.

    Args:
        voice: what renders the synthetic sounds.
        clips: the recordings.
        samples: length of a view; synthetic sounds are cut or filled up with zeros to it.
        part: of the pairs that is synthetic, in [0, 1], in thousandths.
        synthetic: arguments of `Doppelgangers`, such as ``{"delta": 0.1}``.
        recorded: arguments of `RecordedViews`, such as ``{"pair": "jitter"}``.

    Raises:
        SoundalikeError: the part is out of its range, or an argument is unknown or out of its own.
    """

    def __init__(
        self,
        voice: Synthesizer,
        clips: TrainingClips,
        samples: int,
        part: float = 0.5,
        synthetic: dict[str, Any] | None = None,
        recorded: dict[str, Any] | None = None,
    ) -> None:
        if isinstance(part, bool) or not isinstance(part, int | float) or not 0.0 <= part <= 1.0:
            raise SoundalikeError(f"views.part is {part!r}: give a part of the pairs, from 0 to 1.")
        made = build("views.synthetic", Doppelgangers, {"voice": voice}, synthetic or {})
        taken = build("views.recorded", RecordedViews, {"clips": clips, "samples": samples}, recorded or {})
        sources = {"synthetic": made, "recorded": taken}
        super().__init__(sources, Interleave("views.part", (part, 1.0 - part)), clips.sample_rate, samples)


def build(
    key: str, kind: Callable[..., _V], wired: Mapping[str, Any], given: Mapping[str, Any], others: Collection[str] = ()
) -> _V:
    """What a mapping of a recipe describes.

    Args:
        key: key of the recipe, for what is said where an argument is unknown.
        kind: constructor.
        wired: arguments that the recipe does not give.
        given: arguments that it gives.
        others: further keys that the mapping may have, which the caller has taken out.

    Raises:
        SoundalikeError: an argument is unknown.
    """
    known = [*(name for name in inspect.signature(kind).parameters if name not in wired), *others]
    for name in given:
        if name not in known:
            raise SoundalikeError(f"{key} has no key {name!r}: {nearest(str(name), known)}")
    return kind(**wired, **given)
