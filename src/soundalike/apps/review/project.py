"""A folder that is being labelled: its sounds, labels and classifier, for any number of pages at once."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.apps.classifier import SoundClassifier, TrainingReport
from soundalike.apps.review import queue
from soundalike.apps.review.features import Features
from soundalike.apps.review.labels import NONE, Change, LabelFile, counts, tidied
from soundalike.apps.review.learning import Learned, learn, progress
from soundalike.apps.review.sounds import Item, named
from soundalike.audio.segment import Sound
from soundalike.core.errors import SoundalikeError, nearest
from soundalike.core.files import check_file
from soundalike.model.model import SoundModel

MOST = 200
"""Sounds that a page gets at once."""
LABELLED = "labelled"
"""The order of the sounds that have a label, the newest first."""
_PATIENCE = 0.5  # seconds without a new label, after which the classifier learns from those that there are
_LAST = 5.0  # seconds that the end waits for what is being computed; the next run computes it again
_FEW = 4  # new labels, from which it learns at once


class Project:
    """A folder's sounds, whose labels are asked for and learned from. Safe for several threads.

    Args:
        items: the sounds.
        labels: where labels are kept.
        model: the encoder, or a taught classifier that sorts the sounds until the labels make a better one.
        folder: of the sounds.
        out: file for the classifier, ``.safetensors``.
        by: who labels.
        classes: that are there from the beginning, for the keys 1, 2, 3 …
        window: seconds of a window of the classifier, as in `teach`.
    """

    def __init__(
        self,
        items: Sequence[Item],
        labels: LabelFile,
        model: SoundModel | SoundClassifier,
        folder: Path,
        out: Path,
        by: str = "",
        classes: Sequence[str] = (),
        window: float | None = None,
    ) -> None:
        self.items = {item.key: item for item in items}
        self.folder, self.labels, self.by, self.out = folder, labels, by, out
        self.taught = model if isinstance(model, SoundClassifier) else None
        self.features = Features(model.model if isinstance(model, SoundClassifier) else model, window, folder)
        self._classes = list(dict.fromkeys([*classes, *(self.taught.classes if self.taught else ())]))
        self._sounds = [item.sound for item in items]
        self._names = {item.sound: item.name for item in items}
        self._row = {sound: row for row, sound in enumerate(self._sounds)}
        self._shuffled = np.random.default_rng(0).permutation(len(items)).tolist()
        self._learned, self._history = Learned(guide=self.taught), list[tuple[int, float]]()
        self._changed = threading.Condition()
        self._version, self._learning, self._stopped, self._problem = 1, False, False, ""
        self._known: tuple[np.ndarray, np.ndarray, np.ndarray | None] | None = None  # as `_units` gives them
        self._threads: list[threading.Thread] = []

    # what goes on in the background

    def start(self) -> None:
        """Computes features and learns, in the background, until `stop`."""
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._embed, self._learn)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends what goes on in the background."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_LAST)

    def _embed(self) -> None:
        try:
            given = list(self.labels.read())
            rest = [self._sounds[row] for row in self._shuffled]
            wanted = list(dict.fromkeys([*given, *rest]))  # a random part of the folder is known early on
            self.features.recall(wanted)
            self._tell()
            self.features.compute(wanted, self._tell)
        except SoundalikeError as error:
            self._problem = str(error)
        self._tell()

    def _tell(self) -> bool:
        """Something is new; False where nobody wants to know any more."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()
            return not self._stopped

    def _learn(self) -> None:
        learned_from: dict[Sound, str] = {}
        waited = False
        while not self._stopped:
            labels = self._usable(learned_from)
            new = len(labels.items() ^ learned_from.items())
            if not new or (new < _FEW and not waited):
                with self._changed:
                    if not self._stopped:
                        self._changed.wait(_PATIENCE)
                waited = bool(new)
                continue
            waited, self._learning = False, True
            self._tell()
            learned = learn(self.labels.path, labels, self.features, self.taught)
            with self._changed:
                self._learned, self._learning, learned_from = learned, False, labels
                if learned.report is not None and learned.report.estimate is not None:
                    self._history.append((learned.labels, learned.report.estimate.accuracy))
            self._tell()

    def _usable(self, before: dict[Sound, str]) -> dict[Sound, str]:
        """The labels of sounds whose features are there; those before where the table cannot be read, as pages say."""
        try:
            return {sound: label for sound, label in self.labels.read().items() if sound in self.features}
        except SoundalikeError:
            return before

    # what pages ask

    def state(self, version: int = 0) -> dict[str, Any]:
        """What a page shows beside the sounds; nothing but the version where that is the one given."""
        labels = self.labels.read()
        with self._changed:
            given = counts(labels)
            told = hash((self._version, tuple(given.items()))) & 0xFFFFFFFF
            if told == version:
                return {"version": told}
            learned, history = self._learned, list(self._history)
            self._classes += [label for label in given if label not in (*self._classes, NONE)]
            classes = [*self._classes, NONE]
        about, failures = progress(learned, classes), dict(self.features.failures)
        return (
            {
                "version": told,
                "folder": self.folder.absolute().name or str(self.folder),
                "total": len(self.items),
                "embedded": sum(sound in self.features for sound in self._sounds),
                "labelled": len(labels),
                "pending": sum(sound not in self.features and sound not in failures for sound in self._sounds),
                "here": sum(sound in self._row for sound in labels),
                "left": sum(sound not in labels and sound not in failures for sound in self._sounds),
                "classes": [
                    {"name": label, "count": given.get(label, 0), "recall": about["recall"].get(label)}
                    for label in classes
                ],
                "history": history,
                "learning": self._learning,
                "failures": [
                    {"name": self._names.get(sound, str(sound)), "reason": each.reason}
                    for sound, each in failures.items()
                ],
                "table": str(self.labels.path),
                "out": str(self.out),
            }
            | {key: about[key] for key in ("accuracy", "before", "by", "learned", "warnings")}
            | {"problem": self._problem or about["problem"]}
        )

    def queue(self, order: str, label: str = "", most: int = 60) -> list[dict[str, Any]]:
        """The next sounds, with what they are taken for.

        Args:
            order: one of `queue.ORDERS`, or ``LABELLED``.
            label: the class, of ``likely`` and, where it is given, of ``labelled``.
            most: how many, at most ``MOST``.

        Raises:
            SoundalikeError: there is no such order.
        """
        labels, most = self.labels.read(), max(1, min(most, MOST))
        if order not in (*queue.ORDERS, LABELLED):
            raise SoundalikeError(f"unknown order {order!r}: {nearest(order, (*queue.ORDERS, LABELLED))}")
        if order == LABELLED:
            rows = [self._row[each] for each in labels if each in self._row and label in ("", labels[each])]
            return self._shown(rows[::-1][:most], labels)
        known, unit, first = self._units()
        if not len(known):  # nothing is computed yet: any will do
            rows = [row for row in self._shuffled if self._sounds[row] not in labels]
            return self._shown(rows[:most], labels)
        guide = self._learned.guide
        sounds = [self._sounds[row] for row in known]
        labelled = np.array([sound in labels for sound in sounds])
        probabilities = guide.class_probabilities(self.features.embeddings(sounds)) if guide else None
        column = guide.classes.index(label) if guide and label in guide.classes else None
        examples = np.flatnonzero([labels.get(sound) == label for sound in sounds])
        found = queue.ordered(order, unit, labelled, probabilities, column, examples, first, most)
        return self._shown(known[found], labels)

    def alike(self, key: str, most: int = 24) -> list[dict[str, Any]]:
        """The sounds without a label that are most like one.

        Raises:
            KeyError: there is no such sound.
        """
        labels = self.labels.read()
        known, unit, _ = self._units()
        (place,) = np.nonzero(known == self._row[self.items[key].sound])
        if not len(place):
            return []
        labelled = np.array([self._sounds[row] in labels for row in known])
        return self._shown(known[queue.alike(unit, int(place[0]), labelled, min(most, MOST))], labels)

    def change(self, changes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Gives, changes or takes away labels; they are on the disk when it returns.

        Args:
            changes: for each sound its key, its ``label`` and the label ``before``, None where there is none.

        Returns:
            The sounds that were left as they are, because somebody else has labelled them meanwhile.

        Raises:
            SoundalikeError: a label cannot be one, or cannot be written.
            KeyError: there is no such sound.
        """
        wanted = [
            Change(
                self.items[each["key"]].sound,
                None if each.get("label") is None else tidied(str(each["label"])),
                None if each.get("before") is None else str(each["before"]),
            )
            for each in {each["key"]: each for each in changes}.values()
        ]
        refused = self.labels.change(wanted, self.by)
        self._tell()
        return self._shown([self._row[change.sound] for change in refused], self.labels.read())

    def shown(self, key: str) -> dict[str, Any]:
        """A sound as `queue` has it.

        Raises:
            KeyError: there is none.
        """
        return self._shown([self._row[self.items[key].sound]], self.labels.read())[0]

    def save(self) -> TrainingReport:
        """Learns from all labels and writes the taught file, as ``soundalike teach`` would.

        Raises:
            SoundalikeError: there are too few labels, or the file cannot be written.
        """
        check_file(self.out, make=True)
        self.features.compute(list(self.labels.read()))
        learned = learn(self.labels.path, self._usable({}), self.features, self.taught)
        if learned.report is None:
            raise SoundalikeError(learned.problem or "labels of two classes are needed; there are not that many yet.")
        learned.report.classifier.save(self.out)
        return learned.report

    def _units(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """The rows whose features are there, their units, and what is asked first where nothing was taught before."""
        rows = np.array([row for row, sound in enumerate(self._sounds) if sound in self.features], int)
        if self._known is None or len(self._known[0]) != len(rows):
            vectors = self.features.embeddings(self._sounds[row] for row in rows) if len(rows) else np.zeros((0, 1))
            unit = queue.units(vectors) if len(rows) else vectors
            self._known = rows, unit, queue.kinds(unit) if len(rows) and self.taught is None else None
        return self._known

    def _shown(self, rows: Sequence[int] | np.ndarray, labels: Mapping[Sound, str]) -> list[dict[str, Any]]:
        """Sounds for a page: name, label and what they are taken for."""
        sounds = [self._sounds[row] for row in rows]
        guide = self._learned.guide
        guesses: dict[Sound, Any] = {}
        known = [sound for sound in sounds if sound in self.features]
        if guide is not None and known:
            for sound, own in zip(known, guide.class_probabilities(self.features.embeddings(known)), strict=True):
                likely = np.argsort(-own, kind="stable")[:3]
                guesses[sound] = [[guide.classes[place], round(float(own[place]), 3)] for place in likely]
        items = list(self.items.values())
        return [
            named(items[row]) | {"label": labels.get(sound), "guess": guesses.get(sound, [])}
            for row, sound in zip(rows, sounds, strict=True)
        ]
