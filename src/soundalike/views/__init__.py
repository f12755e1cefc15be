"""Two views of one sound: what a contrastive objective keeps together."""

from soundalike.views.doppelganger import Doppelgangers, Pair

__all__ = ["Doppelgangers", "Pair"]
