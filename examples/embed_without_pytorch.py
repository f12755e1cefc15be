"""Embeds sounds with an exported model: no PyTorch and no soundalike, which need not be installed here.

    soundalike export --onnx model.onnx
    pip install numpy onnxruntime soundfile soxr
    python examples/embed_without_pytorch.py model.onnx one.wav other.wav

Prints the embedding of every sound, and of two or more how alike each is to the first.
"""

from __future__ import annotations

import argparse

import numpy as np
import onnxruntime
import soundfile
import soxr


class Ears:
    """An exported model.

    Args:
        path: of the ONNX file.
    """

    def __init__(self, path: str) -> None:
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.sample_rate = int(self.session.get_modelmeta().custom_metadata_map["sample_rate"])

    def hear(self, path: str) -> np.ndarray:
        """The waveform of an audio file as the model takes it: mono, at its sample rate, (samples,)."""
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)  # (samples, channels)
        return soxr.resample(samples.mean(axis=1), rate, self.sample_rate, quality="HQ")

    def embed(self, path: str) -> np.ndarray:
        """The embedding of an audio file, (size,)."""
        return self.session.run(["embedding"], {"waveform": self.hear(path)[None]})[0][0]


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Embeds sounds with a model that soundalike export wrote.")
    parser.add_argument("model", help="ONNX file")
    parser.add_argument("sounds", nargs="+", help="audio files; those after the first are compared with it")
    options = parser.parse_args()
    ears = Ears(options.model)
    embeddings = [ears.embed(path) for path in options.sounds]
    for path, embedding in zip(options.sounds, embeddings, strict=True):
        print(f"{path}: shape {embedding.shape}, {' '.join(f'{number:.4f}' for number in embedding[:5])} …")
    for path, embedding in zip(options.sounds[1:], embeddings[1:], strict=True):
        print(f"cosine of {options.sounds[0]} and {path}: {cosine(embeddings[0], embedding):.4f}")


if __name__ == "__main__":
    main()
