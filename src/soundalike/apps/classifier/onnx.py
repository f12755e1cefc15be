"""A classifier as an ONNX file: waveform in, probabilities of its classes out, beside the embedding."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soundalike.apps.classifier.classifier import NONE, SHARE, SoundClassifier
from soundalike.apps.classifier.distance import threshold
from soundalike.apps.classifier.waveform import AUDIBLE, FRAME
from soundalike.model.onnx import INPUT, add_embedding, export_onnx, made_up_sounds
from soundalike.model.onnx_graph import Graph, Shape

PROBABILITIES, DISTANCE = "probabilities", "distance"


def export_classifier(
    classifier: SoundClassifier, path: str | Path, half: bool = False, source: str | Path | None = None
) -> None:
    """Writes encoder and classifier as one ONNX file: `export_onnx` with two outputs more.

    Output ``probabilities``: float32 (batch, classes), what `SoundClassifier.classify` gives of each class, where the
    metadata has their names, as JSON, in ``classes``; of a sound of more than a minute, which is classified piece by
    piece there, as a whole. Output ``distance``: float32 (batch,), beyond 1 where it is none of these; infinite where
    it is too quiet, 0 where that is not calibrated. ``none_of_these`` in the metadata is the name for it, and
    ``overlap`` is ``yes`` where each class has a probability of its own.

    The quiet before and after a sound is left out, as there, for the classes and not for the embedding. Of a batch it
    is what is quiet in all sounds of it: give sounds that begin and end with quiet one by one.

    Args:
        classifier: what to export.
        path: of the file.
        half: all weights in 16 bits: half the size, and a difference of about a thousandth.
        source: the classifier's own file, whose SHA-256 shall be in the metadata.

    Raises:
        SoundalikeError: as `export_onnx`.
    """

    def more(graph: Graph) -> dict[str, tuple[str, Shape]]:
        vectors = add_embedding(graph, classifier.model, _trimmed(graph, classifier.model.heard_rate))
        probe = classifier.probe
        apart = graph.add("Sub", vectors, graph.constant(probe.mean))
        points = graph.add("Mul", apart, graph.constant(probe.scale))
        logits = graph.add("MatMul", points, graph.constant(probe.weights / classifier.temperature))
        logits = graph.add("Add", logits, graph.constant(probe.bias / classifier.temperature))
        shares = graph.add("Sigmoid", logits) if classifier.overlap else graph.add("Softmax", logits, axis=1)
        return {
            PROBABILITIES: (shares, ["batch", len(classifier.classes)]),
            DISTANCE: (_distance(graph, classifier, points), ["batch"]),
        }

    told = {
        "classes": json.dumps(classifier.classes),
        "none_of_these": NONE,
        "overlap": "yes" if classifier.overlap else "no",
    }
    export_onnx(classifier.model, path, half, source, more, told)


def _trimmed(graph: Graph, sample_rate: int) -> str:
    """`trimmed` of waveforms (n, samples): a stretch of all of them."""
    size = max(1, round(FRAME * sample_rate))
    waveform = graph.pad_to(INPUT, 1)
    length = graph.length(waveform, 1)
    frames = graph.add("Div", graph.add("Add", length, graph.whole([size - 1])), graph.whole([size]))
    whole = graph.add("Sub", graph.add("Mul", frames, graph.whole([size])), length)
    padded = graph.add("Pad", waveform, graph.add("Concat", graph.whole([0, 0, 0]), whole, axis=0))
    shape = graph.add("Concat", graph.length(waveform, 0), frames, graph.whole([size]), axis=0)
    framed = graph.add("Reshape", padded, shape)  # (n, frames, size)
    energy = graph.add("ReduceSumSquare", framed, axes=[2], keepdims=0)
    least = graph.add("ReduceMax", energy, axes=[1], keepdims=1)
    least = graph.add("Mul", least, graph.constant(10 ** (-AUDIBLE / 10)))
    audible = graph.add("Cast", graph.add("GreaterOrEqual", energy, least), to=1)
    audible = graph.add("ReduceMax", audible, axes=[0], keepdims=0)  # (frames,)
    first, last = (graph.add("ArgMax", audible, axis=0, keepdims=1, select_last_index=end) for end in (0, 1))
    before = graph.add("Max", graph.add("Sub", first, graph.whole([1])), graph.whole([0]))
    start = graph.add("Mul", before, graph.whole([size]))
    end = graph.add("Mul", graph.add("Add", last, graph.whole([2])), graph.whole([size]))
    return graph.add("Slice", waveform, start, end, graph.whole([1]))


def _distance(graph: Graph, classifier: SoundClassifier, points: str) -> str:
    """`Distance` of standardised vectors in parts of the limit, infinite of what is too quiet."""
    centres = classifier.distance.centres
    inside = graph.add("MatMul", points, graph.constant(classifier.distance.axes))  # (n, k)
    apart = graph.add("Sub", graph.add("Unsqueeze", inside, graph.whole([1])), graph.constant(centres))
    spread = graph.add("ReduceMean", graph.add("Mul", apart, apart), axes=[2], keepdims=0)  # (n, centres)
    beyond = graph.add("ReduceMin", spread, axes=[1], keepdims=0)
    lengths = graph.add("ReduceL2", inside, axes=[1], keepdims=1)
    lengths = graph.add("Mul", lengths, graph.constant(np.linalg.norm(centres, axis=1)))
    lengths = graph.add("Max", lengths, graph.constant(1e-9))
    cosines = graph.add("Div", graph.add("MatMul", inside, graph.constant(centres.T)), lengths)
    between = graph.add("Sub", graph.constant(1.0), graph.add("ReduceMax", cosines, axes=[1], keepdims=0))
    scale = 1 / threshold(classifier.distances, SHARE) if classifier.calibrated else 0.0
    far = graph.add("Mul", graph.add("Mul", beyond, between), graph.constant(scale))
    square = graph.add("Mul", graph.pad_to(INPUT, 1), graph.pad_to(INPUT, 1))
    power = graph.add("ReduceMean", square, axes=[1], keepdims=0)
    quiet = graph.add("Less", power, graph.constant(10 ** (classifier.quiet_limit / 10)))
    return graph.add("Where", quiet, graph.constant(np.inf), far)


def largest_difference_of_probabilities(
    classifier: SoundClassifier, path: str | Path, waveforms: Sequence[np.ndarray] | None = None
) -> float:
    """How far the probabilities of an ONNX file in onnxruntime are from those of the classifier.

    Args:
        classifier: of which the file was made.
        path: of the file.
        waveforms: float32 (samples,) each, at the model's sample rate; made-up ones where not given.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    sounds = made_up_sounds(classifier.model.sample_rate) if waveforms is None else waveforms
    differences = [0.0]
    for sound in sounds:
        (theirs,) = session.run([PROBABILITIES], {INPUT: sound[None].astype(np.float32)})[0]
        row = classifier.scores([sound])[0]
        if row[0]:
            differences.append(float(np.abs(theirs - classifier.probabilities(row)).max()))
    return max(differences)
