"""The second of two stages: a saved model is trained on with labels; and what its head says of clips held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soundalike.core.errors import SoundalikeError
from soundalike.model.embed_files import embed_files
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe
from soundalike.train.pretrain import pretrain


def finetune(
    model: str | Path,
    recipe: Recipe,
    out: str | Path,
    resume: bool = False,
    device: str = "auto",
    quiet: bool = False,
) -> Path:
    """Trains a saved model on with labels: the two-stage way that CLAR compares its one training with.

    Source: Al-Tahan & Mohsenzadeh 2021 (arXiv 2010.09542), section 4.

    Args:
        model: model file, or folder of a run.
        recipe: of the training; its front end, encoder and read-out are replaced by the model's.
        out: the run's folder, as `pretrain` takes it.
        resume: as `pretrain` takes it.
        device: as `pretrain` takes it.
        quiet: as `pretrain` takes it.

    Returns:
        Path of the new model, whose head tells the classes apart.

    Raises:
        SoundalikeError: the model or the recipe does not allow it, or the model has heard what would be held out.
    """
    loaded = SoundModel.load(model)
    kept = {part: loaded.recipe.sections[part] for part in ("frontend", "encoder", "readout")}
    sections = {**recipe.sections, **kept, "training": {**recipe.sections["training"], "start": str(model)}}
    return pretrain(Recipe(f"{recipe.name} {loaded.recipe.name}", sections), out, resume, device, quiet)


class Classified:
    """The probabilities of a model's own head, where embeddings are asked for.

    Args:
        model: one that was trained with labels.
    """

    def __init__(self, model: SoundModel) -> None:
        self.model = model

    @property
    def sample_rate(self) -> int:
        """Samples a second that the model hears."""
        return self.model.sample_rate

    def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities ``(n, classes)`` of waveforms."""
        return self.model.classify(waveforms)


def held_out_accuracy(model: SoundModel) -> tuple[float, int, str]:
    """How many of the clips that a model's training held out its own head tells right; no augmentation touches them.

    Args:
        model: one that was trained with labels, where its recipe says that the recordings are.

    Returns:
        The part that is told right, in [0, 1], of how many clips, and how they were set apart.

    Raises:
        SoundalikeError: it held out none, or the recordings are no longer there.
    """
    recordings = model.recipe.recordings
    dataset = None if recordings is None else recordings.dataset()
    if recordings is None or dataset is None or not recordings.fold:
        raise SoundalikeError("the model's training held out no clips with labels.")
    test = next(iter(dataset.splits())).test
    paths = dataset.paths
    embedded = embed_files([paths[row] for row in test], {"head": Classified(model)})
    if not embedded.paths:
        first = embedded.failures[0]
        raise SoundalikeError(
            f"none of the clips that were held out can be read; the first one, {first.path}: {first.reason}"
        )
    truth = dataset.labels[test[embedded.rows]]
    told = np.array(model.classes)[embedded.vectors["head"].argmax(1)]
    return float((told == truth).mean()), len(truth), dataset.protocol
