"""Teaching: a folder of sounds to a classifier on a frozen encoder, with an honest estimate of how good it is."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from soundalike.apps.classifier.duplicates import twins
from soundalike.apps.classifier.estimate import Estimate, Material, cross_validate, make_splits
from soundalike.apps.classifier.listing import Listing, read, size_warnings
from soundalike.apps.classifier.taught import Taught
from soundalike.apps.classifier.waveform import level, loudest, trimmed
from soundalike.audio.background import Failure
from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets.folds import joined
from soundalike.data.datasets.table import Split
from soundalike.eval.probe.linear import single_threaded_and_quiet, standardisation
from soundalike.model.embed_files import embed_files
from soundalike.model.model import SoundModel

WINDOWS = (0.5, 1.0)  # seconds: the shortest and the longest window of a time line, where none is asked for
_LONGER = 1.5  # times a window, from where on a clip is taught in a window, too
_SILENT = -90.0  # dB
_TWINS = "how they sound"  # what groups go by where there is nothing else


class Lesson:
    """What came of teaching.

    Attributes:
        taught: the classifier.
        estimate: how well it tells clips that it was not taught; None where none could be held out.
        warnings: what is wrong with the clips, a sentence each.
        failures: the files that could not be read, and why.
        notes: files that could be used, and what is wrong with them.
    """

    def __init__(
        self,
        taught: Taught,
        estimate: Estimate | None,
        warnings: list[str],
        failures: list[Failure],
        notes: list[Failure],
    ) -> None:
        self.taught, self.estimate, self.warnings = taught, estimate, warnings
        self.failures, self.notes = failures, notes


def teach(
    data: str | Path,
    model: SoundModel | str | Path | None = None,
    task: str | None = None,
    window: float | None = None,
    progress: bool = False,
) -> Taught:
    """A classifier of somebody's sounds; `hold_lesson` tells more about how that went.

    Args:
        data: a folder with a sub-folder for each class, or a table with the columns path and label.
        model: the encoder, or where it lies; the one that ships with the package where not given.
        task: how the data is read, one of `datasets.TASKS`; told from it where not given.
        window: seconds of a window in a time line; the median length of the clips, at most one second, where not
            given.
        progress: whether to show progress on stderr.

    Raises:
        SoundalikeError: nothing is there to learn from.
    """
    return hold_lesson(data, model, task, window, progress).taught


def hold_lesson(
    data: str | Path,
    model: SoundModel | str | Path | None = None,
    task: str | None = None,
    window: float | None = None,
    progress: bool = False,
) -> Lesson:
    """As `teach`, with the estimate of its accuracy, the warnings and the files that were left out."""
    import soundalike

    if window is not None and not 0 < window < float("inf"):
        raise SoundalikeError(f"window is {window:g} s: it must be above 0.")
    listing = read(data, task)
    encoder = _halved(model if isinstance(model, SoundModel) else soundalike.load(model))
    embedded = embed_files(listing.paths, {"model": _Hearing(encoder, window)}, progress=progress)
    if embedded.failures:
        first = embedded.failures[0]
        try:
            listing = listing.select(embedded.rows)
        except SoundalikeError as error:
            raise SoundalikeError(f"{data}: {error} The first one is {first.path}: {first.reason}") from None
    seconds, levels, cut, vectors = np.split(embedded.vectors["model"], (1, 2, 3), axis=1)
    whole, pieces = np.split(vectors, 2, axis=1)
    rows = np.flatnonzero(cut)
    mean, scale = standardisation(whole)
    names, copies = twins(listing.paths, listing.labels, (whole - mean) * scale, _parts(listing))
    splits, groups, how = _splits(listing, names)
    material = Material(whole, pieces[rows], rows, listing.labels, groups)
    held = cross_validate(material, splits, how)
    with single_threaded_and_quiet():
        probe, distance = material.fit(np.arange(len(whole)))
    warnings = [*_missing(listing), *size_warnings(listing.labels), *copies, *_silent(listing, levels[:, 0])]
    counts = {label: int(count) for label, count in Counter(listing.labels).items()}
    taught = Taught(
        encoder,
        probe,
        distance,
        held.temperature if held else 1.0,
        np.sort(held.whole) if held else np.zeros(0),
        np.sort(held.pieces) if held else np.zeros(0),
        min(float(np.median(levels[listing.labels == label])) for label in counts),
        window or float(np.clip(np.median(seconds), *WINDOWS)),
        {},
    )
    estimate = held.estimate if held else None
    warnings += _doubts(estimate)
    taught.about.update(clips=dict(sorted(counts.items())), warnings=warnings, estimate=_plain(estimate))
    return Lesson(taught, estimate, warnings, embedded.failures, embedded.notes)


class _Hearing:
    """An embedder that packs what is to be known of a clip into one row.

    The row is: the seconds of the sound in it, its level in dB, whether it is much longer than a window, its
    embedding, and that of its loudest window.

    Args:
        model: the encoder.
        window: seconds of a window; the longest that a time line has by itself where not given.
    """

    def __init__(self, model: SoundModel, window: float | None) -> None:
        self.model, self.samples = model, max(1, round((window or WINDOWS[1]) * model.sample_rate))

    @property
    def sample_rate(self) -> int:
        return self.model.sample_rate

    def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Rows (n, 3 + 2 * D) of clips."""
        size = self.model.size
        packed = np.zeros((len(waveforms), 3 + 2 * size), np.float32)
        packed[:, 1] = [level(waveform) for waveform in waveforms]
        waveforms = [trimmed(waveform, self.sample_rate) for waveform in waveforms]
        packed[:, 0] = [len(waveform) / self.sample_rate for waveform in waveforms]
        packed[:, 3 : 3 + size] = self.model(waveforms)
        cut = [row for row, waveform in enumerate(waveforms) if len(waveform) > _LONGER * self.samples]
        packed[cut, 2] = 1
        packed[cut, 3 + size :] = self.model([loudest(waveforms[row], self.samples) for row in cut])
        return packed


def _halved(model: SoundModel) -> SoundModel:
    """The model as it is once it was saved in 16 bits, so that what is taught fits what will be loaded."""
    halved = copy.deepcopy(model.full())
    halved.compact = None  # a classifier goes by the full embedding, and its file is smaller by half
    with torch.no_grad():
        for tensor in [*halved.encoder.parameters(), *halved.encoder.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().to(tensor.dtype))
    return halved


def _parts(listing: Listing) -> np.ndarray | None:
    """The number of the split in which each clip is tested, 0 where in none; None where splits are ours to make."""
    if listing.own is None:
        return None
    parts = np.zeros(len(listing.paths), int)
    for number, split in enumerate(listing.own.splits(), start=1):
        parts[split.test] = number
    return parts


def _splits(listing: Listing, names: Sequence[str]) -> tuple[list[Split], np.ndarray, str]:
    """How clips are held out, with those that sound the same kept together: by the data's own folds if it has any.

    Args:
        listing: the clips.
        names: one for each clip, which those that are the same share.
    """
    if listing.own is not None:
        return list(listing.own.splits()), listing.own.groups, listing.own.protocol
    together = [(how, joined(groups, names)) for how, groups in listing.groupings]
    alone = joined([str(path) for path in listing.paths], names)
    return make_splits(listing.labels, [*together, (_TWINS, alone)])


def _missing(listing: Listing) -> list[str]:
    return [f"{listing.missing} of the listed files are not there."] if listing.missing else []


def _silent(listing: Listing, levels: np.ndarray) -> list[str]:
    """A warning where clips hold nothing but silence in a class that otherwise does not."""
    silent = [
        path
        for path, label, loud in zip(listing.paths, listing.labels, levels, strict=True)
        if loud <= _SILENT < np.median(levels[listing.labels == label])
    ]
    if not silent:
        return []
    more = f" and {len(silent) - 1} more" if len(silent) > 1 else ""
    return [f"{silent[0]}{more}: nothing but silence, which teaches nothing; take it out."]


def _doubts(estimate: Estimate | None) -> list[str]:
    """Warnings where there is no estimate, or one that says that nothing was learned."""
    if estimate is None:
        return ["no clip could be held out, so nothing says how good this is, and nothing is called none of these."]
    error = max(float(np.sqrt(estimate.chance * (1 - estimate.chance) / estimate.tested)), 1e-9)
    if estimate.accuracy < estimate.chance + 2 * error:
        return [
            "this is no better than always naming the largest class: the classes may not differ in sound, or there "
            "are too few clips."
        ]
    return []


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
