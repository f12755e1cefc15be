"""Two views of one sound: what a contrastive objective keeps together."""

from soundalike.views.doppelganger import Doppelgangers, Pair
from soundalike.views.mixed import MixedViews
from soundalike.views.recording import RecordedPair, RecordedViews
from soundalike.views.view import Views

__all__ = ["Doppelgangers", "MixedViews", "Pair", "RecordedPair", "RecordedViews", "Views"]
