"""Embeds and names sounds with an exported model: no PyTorch and no soundalike, which need not be installed here.

    soundalike export --onnx model.onnx                      # or of what was taught: export mine.safetensors --onnx …
    pip install numpy onnxruntime soundfile soxr
    python examples/embed_without_pytorch.py model.onnx one.wav other.wav

Prints the embedding of every sound, its class where the model was taught some, and of two or more how alike each is to
the first.
"""

from __future__ import annotations

import argparse
import json

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
        told = self.session.get_modelmeta().custom_metadata_map
        self.sample_rate = int(told["sample_rate"])
        self.classes = json.loads(told.get("classes", "[]"))
        self.none, self.overlap = told.get("none_of_these", ""), told.get("overlap") == "yes"

    def hear(self, path: str) -> np.ndarray:
        """The waveform of an audio file as the model takes it: mono, at its sample rate, (samples,)."""
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)  # (samples, channels)
        return soxr.resample(samples.mean(axis=1), rate, self.sample_rate, quality="HQ")

    def embed(self, path: str) -> np.ndarray:
        """The embedding of an audio file, (size,)."""
        return self.session.run(["embedding"], {"waveform": self.hear(path)[None]})[0][0]

    def name(self, path: str) -> list[tuple[str, float]]:
        """The class of an audio file and its probability; several where classes may be heard at once, or none."""
        waveform = self.hear(path)[None]
        (shares,), (distance,) = self.session.run(["probabilities", "distance"], {"waveform": waveform})
        if distance > 1:
            return []
        order = np.argsort(-shares) if self.overlap else [shares.argmax()]
        return [(self.classes[place], float(shares[place])) for place in order if shares[place] >= 0.5 * self.overlap]


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
    for path in options.sounds if ears.classes else []:
        named = ", ".join(f"{label} ({share:.4f})" for label, share in ears.name(path))
        print(f"{path}: {named or ears.none}")
    for path, embedding in zip(options.sounds[1:], embeddings[1:], strict=True):
        print(f"cosine of {options.sounds[0]} and {path}: {cosine(embeddings[0], embedding):.4f}")


if __name__ == "__main__":
    main()
