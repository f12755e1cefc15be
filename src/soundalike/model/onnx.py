"""A model as an ONNX file: waveform in, embedding out, for whoever has a runtime of ONNX and no PyTorch.

The graph is written node by node and not traced: lengths stay free where a trace would fix them, and the file depends
on no version of PyTorch's exporter.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import soundalike
from soundalike.core.errors import SoundalikeError
from soundalike.core.extras import require
from soundalike.core.files import write_whole
from soundalike.model.compact import Compact
from soundalike.model.model import SoundModel
from soundalike.model.onnx_graph import Graph, Shape
from soundalike.nn.encoder import ResNet18
from soundalike.nn.frontend import FrontEnd, LogMel, Raw, ThreeChannels, base, clar
from soundalike.nn.pooling import Pooled, Stages
from soundalike.nn.quarter_tones import OFFSET, QuarterTones

INPUT, OUTPUT = "waveform", "embedding"
_TINY = 1e-20  # what the front ends add to a power before its root
_LEAST_VARIANCE = 1e-12  # as the read-out has it


def export_onnx(
    model: SoundModel,
    path: str | Path,
    half: bool = False,
    source: str | Path | None = None,
    more: Callable[[Graph], dict[str, tuple[str, Shape]]] | None = None,
    told_more: Mapping[str, str] | None = None,
) -> None:
    """Writes a model as one ONNX file, its front end inside.

    Input ``waveform``: float32 (batch, samples), mono, in [-1, 1], at the model's sample rate, both axes of any
    length. Output ``embedding``: float32 (batch, size), what `SoundModel.__call__` gives for these sounds, which is
    the compact embedding of a model that is `compacted`. A long sound is worked off as a whole and not in chunks:
    memory grows with its length.

    Two float32 programs round differently. It is heard where there is nothing to hear: the phases of `ThreeChannels`
    below its floor are rounding noise in PyTorch and here, and embeddings of recordings with empty bands differ by
    some hundredths there.

    Metadata of the file: ``sample_rate`` in Hz, ``size`` of an embedding, name of the ``recipe``, ``version`` of
    soundalike, ``source_sha256``.

    Weights that 16 bits hold exactly, as those of a model that was saved with ``half`` are, lie in the file in 16
    bits. Arithmetic is in float32 in any case.

    Args:
        model: what to export.
        path: of the file.
        half: all weights in 16 bits: half the size, and a difference of about a thousandth.
        source: the model's own file, whose SHA-256 shall be in the metadata.
        more: adds further outputs to the graph: name -> value and shape.
        told_more: further metadata.

    Raises:
        SoundalikeError: onnx is not installed, the model has a part that cannot be exported, or the file cannot be
            written.
    """
    require("writing ONNX", "onnx")
    import onnx.helper

    graph = Graph(half)
    outputs: dict[str, tuple[str, Shape]] = {OUTPUT: (add_embedding(graph, model), ["batch", model.size])}
    if more is not None:
        outputs |= more(graph)
    made = graph.finish({INPUT: ["batch", "samples"]}, outputs)
    made.producer_name, made.producer_version = "soundalike", soundalike.__version__
    told = {
        "sample_rate": str(model.sample_rate),
        "size": str(model.size),
        "recipe": model.recipe.name,
        "version": soundalike.__version__,
        **(told_more or {}),
    }
    if source is not None:
        told["source_sha256"] = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    onnx.helper.set_model_props(made, told)
    write_whole(Path(path), made.SerializeToString(), "the ONNX file")


def largest_difference(model: SoundModel, path: str | Path, waveforms: Sequence[np.ndarray] | None = None) -> float:
    """How far the embeddings of an ONNX file in onnxruntime are from those of the model.

    Args:
        model: of which the file was made.
        path: of the file.
        waveforms: float32 (samples,) each, at the model's sample rate; made-up sounds of 0.05, 1 and 2.5 seconds
            where not given.

    Returns:
        The largest |a - b| / max(1, |a|) over all numbers a of the model and b of the file; NaN if a b is.

    Raises:
        SoundalikeError: onnxruntime is not installed.
    """
    require("running ONNX", "onnxruntime")
    import onnxruntime

    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    sounds = made_up_sounds(model.sample_rate) if waveforms is None else waveforms
    largest = [0.0]
    for sound in sounds:
        theirs = session.run([OUTPUT], {INPUT: sound[None].astype(np.float32)})[0]
        ours = model([sound])
        largest.append((np.abs(ours - theirs) / np.maximum(1.0, np.abs(ours))).max())
    return float(np.max(largest))


def made_up_sounds(sample_rate: int) -> list[np.ndarray]:
    """Sounds to compare an exported file with its model by, (samples,) each."""
    return [_made_up(seconds, sample_rate) for seconds in (0.05, 1.0, 2.5)]


def _made_up(seconds: float, sample_rate: int) -> np.ndarray:
    """A gliding tone that fades out in a little noise."""
    time = np.arange(max(1, round(seconds * sample_rate))) / sample_rate
    phase = 2 * np.pi * (220.0 * time + 55.0 * time**2)
    tone = sum(np.sin(phase * overtone) / overtone for overtone in range(1, 9)) * np.exp(-1.5 * time)
    hiss = np.random.default_rng(0).standard_normal(len(time))
    return (0.3 * tone + 0.003 * hiss).astype(np.float32)


def add_embedding(graph: Graph, model: SoundModel, waveform: str = INPUT) -> str:
    """Adds what `SoundModel.__call__` does of waveforms (n, samples): gives embeddings (n, size)."""
    embedding = _embedding(graph, model.frontend, model.encoder, model.readout, waveform)
    return embedding if model.projection is None else _compact(graph, model.projection, embedding)


def _embedding(graph: Graph, frontend: FrontEnd, encoder: ResNet18, readout: object, waveform: str) -> str:
    if type(encoder) is not ResNet18:
        raise SoundalikeError(
            f"{type(encoder).__name__}: this encoder cannot be exported to ONNX; give a model with resnet18."
        )
    if isinstance(readout, Stages):
        return _stages(graph, frontend, encoder, readout, waveform)
    if isinstance(readout, Pooled):
        return _pooled(graph, frontend, encoder, readout, waveform)
    raise SoundalikeError(
        f"{type(readout).__name__}: this read-out cannot be exported to ONNX; give a model with stages or pooled."
    )


def _prepared(graph: Graph, frontend: FrontEnd, least: int, waveform: str) -> str:
    """`FrontEnd.prepared`; the padding comes first, so that no sound at all has a peak too."""
    waveform = graph.pad_to(waveform, least)
    if frontend.level != "peak":
        return waveform
    peak = graph.add("ReduceMax", graph.add("Abs", waveform), axes=[1], keepdims=1)
    return graph.add("Div", waveform, graph.add("Max", peak, graph.constant(base.QUIETEST_PEAK)))


# read-outs


def _stages(graph: Graph, frontend: FrontEnd, encoder: ResNet18, readout: Stages, waveform: str) -> str:
    waveform = _prepared(graph, frontend, readout.least_samples(frontend), waveform)
    features = _features(graph, frontend, waveform)
    parts: list[str] = []
    if readout.quarter_tones:
        parts += graph.moments(_tones(graph, frontend.sample_rate, waveform), _LEAST_VARIANCE)
    if readout.features:
        before, after = graph.cut(features, 0, -1, 2), graph.cut(features, 1, None, 2)
        parts += graph.moments(features, _LEAST_VARIANCE)
        parts += graph.moments(graph.add("Sub", after, before), _LEAST_VARIANCE)[1:]
    for output, stride in zip(_outputs(graph, encoder, features), encoder.band_strides, strict=True):
        if frontend.bands is not None:
            height = math.ceil(frontend.bands / stride)
            output = _banded(graph, output, height, readout.kept(height))
        parts += graph.moments(output, _LEAST_VARIANCE)
    return graph.add("Concat", *parts, axis=1)


def _banded(graph: Graph, output: str, height: int, kept: int) -> str:
    """(n, channels, T, height) to (n, channels, T, kept), which PyTorch does with adaptive pooling."""
    if kept == height:
        return output
    shares = functional.adaptive_avg_pool1d(torch.eye(height), kept)  # (height, kept)
    return graph.add("MatMul", output, graph.constant(shares.numpy()))


def _pooled(graph: Graph, frontend: FrontEnd, encoder: ResNet18, readout: Pooled, waveform: str) -> str:
    if frontend.frames is None:
        raise SoundalikeError("pooled: the front end has no training length; set its frames.")
    length, hop = frontend.clip_samples, frontend.frames * frontend.hop_samples
    if readout.hop is not None:
        hop = max(1, round(readout.hop * frontend.sample_rate))
    waveform = _prepared(graph, frontend, length, waveform)
    last = graph.add("Sub", graph.length(waveform, 1), graph.whole([length]))  # where the last window can start
    steps = graph.add("Div", last, graph.whole([hop]))
    rest = graph.add("Sub", last, graph.add("Mul", steps, graph.whole([hop])))
    long = graph.add("Greater", graph.add("Mul", rest, graph.whole([8])), graph.whole([length]))
    count = graph.add("Add", graph.add("Add", steps, graph.whole([1])), graph.add("Cast", long, to=7))
    count = graph.add("Squeeze", count, graph.whole([0]))
    place = graph.add("Range", graph.whole(0), count, graph.whole(1))  # of each window
    starts = graph.add("Min", graph.add("Mul", place, graph.whole([hop])), last)  # the one more is moved inwards
    starts = graph.add("Unsqueeze", starts, graph.whole([1]))
    samples = graph.add("Add", starts, graph.whole(np.arange(length)[None]))  # (windows, length)
    windows = graph.add("Gather", waveform, samples, axis=1)  # (n, windows, length)
    clips = graph.add("Reshape", windows, graph.whole([-1, length]))
    output = _vector(graph, encoder, _features(graph, frontend, clips))  # (n * windows, size)
    shape = graph.add("Concat", graph.length(windows, 0), graph.length(windows, 1), graph.whole([-1]), axis=0)
    return graph.add("ReduceMean", graph.add("Reshape", output, shape), axes=[1], keepdims=0)


def _compact(graph: Graph, compact: Compact, embedding: str) -> str:
    apart = graph.add("Sub", embedding, graph.constant(compact.mean))
    scaled = graph.add("Mul", apart, graph.constant(compact.scale))
    return graph.add("Gemm", scaled, graph.weight(compact.components), transB=1)


# front ends


def _features(graph: Graph, frontend: FrontEnd, waveform: str) -> str:
    """Features (n, channels, T, bands) of waveforms (n, samples) that are long enough."""
    for kind, write in _FEATURES.items():
        if type(frontend) is kind:
            return write(graph, frontend, waveform)
    raise SoundalikeError(
        f"{type(frontend).__name__}: this front end cannot be exported to ONNX; "
        f"give a model with {', '.join(kind.__name__ for kind in _FEATURES)}."
    )


def _logmel(graph: Graph, frontend: LogMel, waveform: str) -> str:
    window = _array(frontend.window[: frontend.window_samples])
    bins = _array(frontend.filters.sum(1).nonzero()[:, 0])  # no band hears the others
    filters = graph.constant(_array(frontend.filters)[bins].T)
    spectrum = graph.fourier(waveform, window, frontend.fft, bins, frontend.hop_samples)
    mel = graph.add("MatMul", filters, _magnitude(graph, *spectrum))  # (n, bands, T)
    log = graph.add("Log", graph.add("Add", mel, graph.constant(frontend.offset)))
    log = graph.add("Sub", log, graph.constant(frontend.silence))
    return graph.add("Unsqueeze", graph.add("Transpose", log, perm=[0, 2, 1]), graph.whole([1]))


def _clar(graph: Graph, frontend: ThreeChannels, waveform: str) -> str:
    bins = np.arange(1, frontend.fft // 2 + 1)  # no band hears the first
    real, imaginary = graph.fourier(waveform, _array(frontend.window), frontend.fft, bins, frontend.hop_samples)
    power = graph.power(real, imaginary)
    mel = graph.add("MatMul", graph.constant(_array(frontend.filters)[1:].T), power)  # (n, bands, T)
    step = frontend.fft // (2 * frontend.filters.shape[1])
    real, imaginary, power = (graph.cut(part, step - 1, None, 1, step) for part in (real, imaginary, power))
    quiet = graph.add("Less", power, graph.constant(clar.SILENCE))
    real, imaginary = (graph.add("Where", quiet, graph.constant(c), x) for c, x in ((1.0, real), (0.0, imaginary)))
    least = graph.constant(10 ** (frontend.floor / 10))
    logs = (graph.add("Log", graph.add("Max", part, least)) for part in (power, mel))
    decibels, of_mel = (graph.add("Mul", log, graph.constant(10 / math.log(10))) for log in logs)
    channels = []
    for channel, scale, has_floor in (
        (decibels, clar.SCALES[0], True),
        (graph.atan2(imaginary, real), clar.SCALES[1], False),
        (of_mel, clar.SCALES[2], True),
    ):
        mean, deviation = scale if frontend.normalise else (0.0, 1.0)
        zero = frontend.floor if has_floor and frontend.silence_is_zero else mean
        scaled = graph.add("Div", graph.add("Sub", channel, graph.constant(zero)), graph.constant(deviation))
        channels.append(graph.add("Unsqueeze", scaled, graph.whole([1])))
    return graph.add("Transpose", graph.add("Concat", *channels, axis=1), perm=[0, 1, 3, 2])


def _raw(graph: Graph, frontend: Raw, waveform: str) -> str:
    return graph.add("Unsqueeze", waveform, graph.whole([1]))


_FEATURES: dict[type[FrontEnd], Callable[[Graph, Any, str], str]] = {
    LogMel: _logmel,
    ThreeChannels: _clar,
    Raw: _raw,
}


def _tones(graph: Graph, sample_rate: int, waveform: str) -> str:
    """`QuarterTones` with time last: (n, tones, frames)."""
    tones = QuarterTones(sample_rate)
    below, above = _array(tones.below), _array(tones.below) + 1
    bins = np.union1d(below, above)
    waveform = graph.pad_to(waveform, tones.length)
    magnitude = _magnitude(graph, *graph.fourier(waveform, _array(tones.window), tones.length, bins, tones.hop))
    low, high = (
        graph.add("Gather", magnitude, graph.whole(np.searchsorted(bins, part)), axis=1) for part in (below, above)
    )
    share = graph.constant(_array(tones.share)[:, None])
    between = graph.add("Add", low, graph.add("Mul", share, graph.add("Sub", high, low)))
    return graph.add("Log", graph.add("Add", between, graph.constant(OFFSET)))


def _magnitude(graph: Graph, real: str, imaginary: str) -> str:
    return graph.add("Sqrt", graph.add("Add", graph.power(real, imaginary), graph.constant(_TINY)))


# the encoder


def _outputs(graph: Graph, encoder: ResNet18, features: str) -> list[str]:
    """`ResNet18.stages`."""
    convolution, norm, pool, _ = encoder.stem.children()
    stem = graph.add("Relu", _maximum(graph, pool, _convolution(graph, convolution, norm, features)))
    outputs = [stem]
    for layer in encoder.layers:
        output = outputs[-1]
        for block in layer.children():
            output = _block(graph, block, output)
        outputs.append(output)
    return outputs


def _vector(graph: Graph, encoder: ResNet18, features: str) -> str:
    """`ResNet18.forward`."""
    last = _outputs(graph, encoder, features)[-1]
    mean = graph.add("ReduceMean", last, axes=list(range(2, 2 + encoder.dimensions)), keepdims=0)
    weight, bias = _array(encoder.linear.weight), _array(encoder.linear.bias)
    return graph.add("Gemm", mean, graph.weight(weight), graph.constant(bias), transB=1)


def _block(graph: Graph, block: Any, x: str) -> str:
    y = graph.add("Relu", _convolution(graph, block.conv1, block.norm1, x))
    y = _convolution(graph, block.conv2, block.norm2, y)
    if not isinstance(block.shortcut, nn.Identity):
        x = _convolution(graph, block.shortcut[0], block.shortcut[1], x)
    return graph.add("Relu", graph.add("Add", y, x))


def _convolution(graph: Graph, convolution: Any, norm: Any, x: str) -> str:
    """A convolution and its batch normalisation in one: scaled weights and a bias."""
    weight = _array(convolution.weight)
    gain, bias, mean, variance = (
        _array(part).astype(np.float64) for part in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    scale = gain / np.sqrt(variance + norm.eps)
    each = scale.reshape(-1, *[1] * (weight.ndim - 1))
    # what 16 bits hold exactly, they do not any more once it is scaled: the file scales it when it is loaded
    scaled = (
        graph.add("Mul", graph.weight(weight), graph.constant(each))
        if graph.in_half(weight)
        else graph.constant(weight * each)
    )
    return graph.add(
        "Conv",
        x,
        scaled,
        graph.constant(bias - mean * scale),
        kernel_shape=list(weight.shape[2:]),
        strides=list(convolution.stride),
        pads=list(convolution.padding) * 2,
    )


def _maximum(graph: Graph, pool: Any, x: str) -> str:
    dimensions = 2 if isinstance(pool, nn.MaxPool2d) else 1
    kernel, stride, padding = ([size] * dimensions for size in (pool.kernel_size, pool.stride, pool.padding))
    return graph.add("MaxPool", x, kernel_shape=kernel, strides=stride, pads=padding * 2)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
