"""Two views of one sound: what a contrastive objective keeps together."""

from soundalike.views.doppelganger import Doppelgangers
from soundalike.views.families import Families
from soundalike.views.mixed import MixedViews
from soundalike.views.recording import RecordedViews
from soundalike.views.view import Batch, Views

__all__ = ["Batch", "Doppelgangers", "Families", "MixedViews", "RecordedViews", "Views"]
