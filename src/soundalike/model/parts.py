"""What a recipe builds: the parts of a model, and those that only training needs."""

from __future__ import annotations

from dataclasses import dataclass

from soundalike.core.errors import SoundalikeError
from soundalike.nn.encoder import ResNet18
from soundalike.nn.frontend import FrontEnd
from soundalike.nn.head import Head
from soundalike.nn.loss import Objective
from soundalike.nn.pooling import ReadOut
from soundalike.nn.targets import TargetPrediction
from soundalike.synth import Synthesizer
from soundalike.views import Doppelgangers, Views


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
    """The parts of a model and of its training.

    Attributes:
        objective: the loss of two views.
        voice: None where the views are of recordings alone.
        views: None where they are of recordings that were not opened.
        prediction: None where no targets are predicted.
    """

    objective: Objective
    voice: Synthesizer | None
    views: Views | None
    prediction: TargetPrediction | None = None

    @property
    def doppelgangers(self) -> Doppelgangers:
        """The views, where they are doppelgängers.

        Raises:
            SoundalikeError: they are others.
        """
        if not isinstance(self.views, Doppelgangers):
            raise SoundalikeError("this is about synthetic pairs: give a recipe whose views are doppelgangers.")
        return self.views
