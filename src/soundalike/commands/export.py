"""``soundalike export``."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.commands.arguments import add_compact, as_asked, path
from soundalike.core.errors import SoundalikeError

if TYPE_CHECKING:
    from soundalike.apps.classifier import SoundClassifier

HELP = "write a model as an ONNX file, for use without PyTorch"
NEEDS = ("onnx",)
_CLOSE = 1e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "model",
        nargs="?",
        type=path,
        metavar="MODEL",
        help="model file, folder of its run, or name of a shipped model; default: the shipped one",
    )
    parser.add_argument("--onnx", required=True, type=path, metavar="FILE", help="file to write, such as model.onnx")
    parser.add_argument("--half", action="store_true", help="all weights in 16 bits: half the size, less exact")
    add_compact(parser, "give")


def run(options: argparse.Namespace) -> int:
    """Writes the file, and compares it with the model where onnxruntime is installed."""
    from soundalike import load
    from soundalike.apps.classifier.onnx import export_classifier, largest_difference_of_probabilities
    from soundalike.core.files import check_file
    from soundalike.model import shipped
    from soundalike.model.onnx import export_onnx, largest_difference

    check_file(options.onnx)
    if options.onnx.suffix.lower() != ".onnx":  # a recording or a model of that name would be lost
        raise SoundalikeError(f"{options.onnx}: its name has to end in .onnx.")
    file = shipped.find(options.model)
    source = file / "model.safetensors" if file.is_dir() else file
    classifier = _classifier(file, options)
    model = as_asked(load(file), options) if classifier is None else classifier.model
    if classifier is None:
        export_onnx(model, options.onnx, options.half, source)
    else:
        export_classifier(classifier, options.onnx, options.half, source)
    size = options.onnx.stat().st_size / 1e6
    print(f"{options.onnx}: {size:.1f} MB, waveform (batch, samples) at {model.sample_rate:,} Hz in, ", end="")
    also = "" if classifier is None else f", probabilities (batch, {len(classifier.classes)}) and distance (batch,)"
    print(f"embedding (batch, {model.size}){also} out")
    if importlib.util.find_spec("onnxruntime") is None:
        print("note: not compared with the model: onnxruntime is not installed.", file=sys.stderr)
        return 0
    difference = largest_difference(model, options.onnx)
    if classifier is not None:
        apart = largest_difference_of_probabilities(classifier, options.onnx)
        print(f"largest difference of a probability: {apart:.1e}")
    print(f"largest difference from the model in onnxruntime: {difference:.1e} of max(1, |x|)")
    if not difference <= _CLOSE and not options.half:
        print(f"note: that is more than {_CLOSE:g}; compare embeddings before the file is used.", file=sys.stderr)
    return 0


def _classifier(file: Path, options: argparse.Namespace) -> SoundClassifier | None:
    """What was taught, where the file holds it and its own embedding is asked for."""
    from soundalike.apps.classifier.classifier import SoundClassifier, is_taught

    if options.compact is not None or options.full or not is_taught(file):
        return None
    return SoundClassifier.load(file)
