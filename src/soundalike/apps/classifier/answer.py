"""What is said of a sound."""

from __future__ import annotations

from dataclasses import dataclass

NONE = "none of these"
"""The label of a sound that is far from all that was taught."""


@dataclass(frozen=True)
class Answer:
    """What a classifier says of one sound.

    Attributes:
        label: its class, or ``NONE``.
        probability: of the class; None where it is none of these.
        distance: from what was taught; beyond 1 it is none of these, unless that was asked for otherwise. None of a
            sound that is too quiet to be heard.
        probabilities: of every class if it is one of them, the largest first; empty where it is too quiet.
    """

    label: str
    probability: float | None
    distance: float | None
    probabilities: dict[str, float]

    @property
    def known(self) -> bool:
        """Whether it is one of the classes."""
        return self.probability is not None
