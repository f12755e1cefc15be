"""Training a sound classifier on a frozen encoder, and the report on its training."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from soundalike.apps.classifier.classifier import NONE, SoundClassifier
from soundalike.apps.classifier.cross_validation import Estimate, Examples, cross_validate, make_splits
from soundalike.apps.classifier.distance import FEWEST, calibrate
from soundalike.apps.classifier.overlapping import Detection, calibrated, detection, named, targets_of
from soundalike.apps.classifier.report import TrainingReport
from soundalike.apps.classifier.training_set import TrainingSet, find_copies, read, size_warnings
from soundalike.apps.classifier.waveform import level, loudest, trimmed
from soundalike.audio.segment import Segment, file_of
from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.folds import joined
from soundalike.data.datasets.table import Split
from soundalike.eval.probe import single_threaded_and_quiet, standardisation
from soundalike.model.embed_files import embed_files
from soundalike.model.model import SoundModel

WINDOWS = (0.5, 1.0)
"""Seconds, as they are heard, of the shortest and the longest window of a time line where none is asked for."""
_LONGER = 1.5  # times a window, at and above which the loudest window of a clip is a training example, too
_SILENT = -90.0  # dB
_TWINS = "how they sound"  # what groups go by where there is nothing else


def teach(
    data: str | Path,
    model: SoundModel | str | Path | None = None,
    task: str | None = None,
    window: float | None = None,
    progress: bool = False,
    overlap: bool = False,
) -> SoundClassifier:
    """Trains a classifier of labelled sounds; `teach_with_report` returns the estimated accuracy and warnings, too.

    Args:
        data: a folder with a sub-folder for each class, or a table with the columns path and label.
        model: the encoder, or the path of its file; the one that ships with the package where not given.
        task: how the data is read, one of `datasets.TASKS`; recognised from it where not given.
        window: seconds of a window in a time line; the median length of the clips, at most one second, where not
            given.
        progress: whether to show progress on stderr.
        overlap: whether several classes may be heard at once. Each is then told from all others by itself, and has a
            probability of its own. Where not given, it is so if segments of several classes share their time.

    Raises:
        SoundalikeError: there are no two classes of sounds that can be read, or ``window`` is not above 0.
    """
    return teach_with_report(data, model, task, window, progress, overlap).classifier


def teach_with_report(
    data: str | Path,
    model: SoundModel | str | Path | None = None,
    task: str | None = None,
    window: float | None = None,
    progress: bool = False,
    overlap: bool = False,
) -> TrainingReport:
    """As `teach`; returns the classifier with its estimated accuracy, warnings and the files that were left out."""
    import soundalike

    if window is not None and not 0 < window < float("inf"):
        raise SoundalikeError(f"window is {window:g} s: it must be above 0.")
    clips = read(data, task, overlap)
    encoder = in_half_precision(model if isinstance(model, SoundModel) else soundalike.load(model))
    embedded = embed_files(clips.paths, {"model": TrainingFeatures(encoder, window)}, progress=progress)
    if embedded.failures:
        first = embedded.failures[0]
        try:
            clips = clips.select(embedded.rows)
        except SoundalikeError as error:
            raise SoundalikeError(f"{data}: {error} The first one is {first.path}: {first.reason}") from None
    report = fit(clips, embedded.vectors["model"], encoder, window)
    return replace(report, failures=embedded.failures, notes=embedded.notes)


def fit(clips: TrainingSet, features: np.ndarray, encoder: SoundModel, window: float | None = None) -> TrainingReport:
    """Fits a classifier to clips that were embedded before.

    Args:
        clips: the clips, of two classes or more.
        features: what `TrainingFeatures` made of each, (n, 3 + 2 * D).
        encoder: the encoder of the features, as `in_half_precision` gives it.
        window: seconds of a window in a time line, as in `teach`.

    Returns:
        The classifier, its estimated accuracy and the warnings.
    """
    seconds, levels, cut, vectors = np.split(features, (1, 2, 3), axis=1)
    whole, windows = np.split(vectors, 2, axis=1)
    rows = np.flatnonzero(cut)
    mean, scale = standardisation(whole)
    names, copies = find_copies(clips.paths, clips.labels, (whole - mean) * scale, clips.copies, _parts(clips))
    splits, groups, how = _splits(clips, names)
    counts = {label: int(count) for label, count in sorted(Counter(clips.every_label.tolist()).items())}
    labels, targets = clips.labels, None
    if clips.sets is not None:
        labels, targets = np.array([named(own) for own in clips.sets]), targets_of(clips.sets, list(counts))
        copies = []  # of parts of one file that overlap
    examples = Examples(whole, windows[rows], rows, labels, groups, list(counts), targets)
    held = cross_validate(examples, splits, how)
    with single_threaded_and_quiet():
        probe, distance = examples.fit(np.arange(len(whole)))
    found: Detection | None = None
    if held and targets is not None:
        probe, logits = calibrated(probe, held.logits, targets[held.tested])
        found = detection(list(counts), logits, targets[held.tested], how)
    warnings = [
        *_missing(clips),
        *size_warnings(clips.every_label),
        *copies,
        *_one_file(clips),
        *_silent(clips, levels[:, 0]),
    ]
    classifier = SoundClassifier(
        encoder,
        probe,
        distance,
        held.temperature if held else 1.0,
        calibrate(held.distances, distance(examples.whole)) if held else np.zeros(0),
        calibrate(held.window_distances, distance(examples.windows)) if held else np.zeros(0),
        min(float(np.median(levels[own])) for own in _rows_by_class(clips, targets, list(counts))),
        window or min(max(float(np.median(seconds)), WINDOWS[0] / encoder.speed), WINDOWS[1] / encoder.speed),
        {},
        targets is not None,
    )
    estimate = held.estimate if held else None
    warnings += _doubts(estimate) if found is None else []
    if held and not classifier.calibrated:
        warnings.append(_uncalibrated(held.distances))
    classifier.about.update(clips=counts, warnings=warnings, estimate=_plain(estimate))
    if found is not None:
        classifier.about["detection"] = {
            "average_precision": dict(zip(found.classes, found.average_precision, strict=True)),
            "clips": found.tested,
        }
    return TrainingReport(classifier, estimate, warnings, [], [], found)


def _rows_by_class(clips: TrainingSet, targets: np.ndarray | None, classes: Sequence[str]) -> list[np.ndarray]:
    """Which clips each class is heard in, bool (n,) each."""
    return list(targets.T) if targets is not None else [clips.labels == label for label in classes]


class TrainingFeatures:
    """An embedder whose rows hold all that training needs of a clip.

    The row is: the seconds of the sound in it, its level in dB, whether it is much longer than a window, its
    embedding, and that of its loudest window.

    Args:
        model: the encoder.
        window: seconds of a window; the longest that a time line has by itself where not given.
    """

    def __init__(self, model: SoundModel, window: float | None) -> None:
        self.model, self.samples = model, max(1, round((window or WINDOWS[1] / model.speed) * model.sample_rate))

    @property
    def sample_rate(self) -> int:
        """That of the encoder, in Hz."""
        return self.model.sample_rate

    def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Rows (n, 3 + 2 * D) of clips."""
        size = self.model.size
        packed = np.zeros((len(waveforms), 3 + 2 * size), np.float32)
        packed[:, 1] = [level(waveform) for waveform in waveforms]
        waveforms = [trimmed(waveform, self.model.heard_rate) for waveform in waveforms]
        packed[:, 0] = [len(waveform) / self.sample_rate for waveform in waveforms]
        packed[:, 3 : 3 + size] = self.model(waveforms)
        cut = [row for row, waveform in enumerate(waveforms) if len(waveform) > _LONGER * self.samples]
        packed[cut, 2] = 1
        packed[cut, 3 + size :] = self.model([loudest(waveforms[row], self.samples) for row in cut])
        return packed


def in_half_precision(model: SoundModel) -> SoundModel:
    """The model rounded to 16 bits as in its file, so that the probe is fitted to the encoder that will be loaded."""
    halved = copy.deepcopy(model)
    # no more of a compact embedding than the classifier goes by: its file is the smaller
    halved.compact = halved.projection = None if model.projection is None else model.projection.halved()
    with torch.no_grad():
        for tensor in [*halved.encoder.parameters(), *halved.encoder.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().to(tensor.dtype))
    return halved


def _parts(clips: TrainingSet) -> np.ndarray | None:
    """The number of the split in which each clip is tested, 0 where in none; None where splits are ours to make."""
    if clips.own is None:
        return None
    parts = np.zeros(len(clips.paths), int)
    for number, split in enumerate(clips.own.splits(), start=1):
        parts[split.test] = number
    return parts


def _splits(clips: TrainingSet, names: Sequence[str]) -> tuple[list[Split], np.ndarray, str]:
    """How clips are held out, with those that sound the same kept together: by the data's own folds if it has any.

    Args:
        clips: the clips.
        names: one for each clip, which those that are the same share.
    """
    if clips.own is not None:
        return list(clips.own.splits()), clips.own.groups, clips.own.protocol
    together = [(how, joined(groups, names)) for how, groups in clips.groupings]
    alone = joined([str(path) for path in clips.paths], names)
    if _several_files(clips):  # segments of one file stay together, also where a class then is never tested
        return make_splits(clips.labels, together)
    return make_splits(clips.labels, [*together, (_TWINS, alone)])


def _several_files(clips: TrainingSet) -> bool:
    """Whether there are segments, and of some class of two files, so that whole files can be held out."""
    files = {(label, file_of(sound)) for label, sound in zip(clips.labels, clips.paths, strict=True)}
    return any(isinstance(sound, Segment) for sound in clips.paths) and len(files) > len({*clips.labels})


def _one_file(clips: TrainingSet) -> list[str]:
    """A warning where segments of one file are both learned from and tested on, since there are no others."""
    if clips.own is None and any(isinstance(sound, Segment) for sound in clips.paths) and not _several_files(clips):
        return [
            "no class has segments of two files, so segments of one file are both learned from and tested on, and the "
            "estimate is too high; add segments of other recordings."
        ]
    return []


def _missing(clips: TrainingSet) -> list[str]:
    return [f"{clips.missing} of the listed files are not there."] if clips.missing else []


def _silent(clips: TrainingSet, levels: np.ndarray) -> list[str]:
    """A warning where clips hold nothing but silence in a class that otherwise does not."""
    silent = [
        path
        for path, label, loud in zip(clips.paths, clips.labels, levels, strict=True)
        if loud <= _SILENT < np.median(levels[clips.labels == label])
    ]
    if not silent:
        return []
    more = f" and {len(silent) - 1} more" if len(silent) > 1 else ""
    return [f"{silent[0]}{more}: nothing but silence, from which nothing can be learned; take it out."]


def _doubts(estimate: Estimate | None) -> list[str]:
    """Warnings where there is no estimate, or one that is no better than chance."""
    if estimate is None:
        return ["no clip could be held out, so the accuracy is not known, and no sound is called none of these."]
    error = max(float(np.sqrt(estimate.chance * (1 - estimate.chance) / estimate.tested)), 1e-9)
    if estimate.accuracy < estimate.chance + 2 * error:
        return [
            "this is no better than always naming the largest class: the classes may not differ in sound, or there "
            "are too few clips."
        ]
    return []


def _uncalibrated(distances: np.ndarray) -> str:
    """Why no distance is called far, as a sentence."""
    count = int(np.count_nonzero(~np.isnan(distances)))
    if count < FEWEST:
        return (
            f"{NONE!r} is not calibrated, and no audible sound is called so: {count} clips could be held out with two "
            f"or more of their class left to train on, and {FEWEST} are needed; add clips."
        )
    return (
        f"{NONE!r} is not calibrated, and no audible sound is called so: the clips of each class are alike, so it is "
        "not known how much sounds of a class may differ; add other recordings."
    )


def _plain(estimate: Estimate | None) -> dict[str, object] | None:
    if estimate is None:
        return None
    return {
        "accuracy": estimate.accuracy,
        "std": estimate.std,
        "balanced": estimate.balanced,
        "chance": estimate.chance,
        "clips": estimate.tested,
        "folds": estimate.folds,
        "confusion": estimate.confusion,
        "how": estimate.how,
    }
