"""Embedders of others, beside ours: an ONNX file, or a function of a Python module from waveforms to vectors."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.audio.read import check_rate
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.core.extras import require

SAMPLE_RATE = 16_000
"""In Hz, of the waveforms for an embedder that names no rate."""
_RATE = re.compile(r"(.+)@(\d+)")
_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class OnnxEmbedder:
    """An ONNX file whose first input is float32 waveforms, and whose first output is an embedding of each.

    The input is ``(batch, samples)``, or ``(samples,)`` for one sound. The output is ``(batch, D)``, or with frames
    ``(batch, T, D)``, of which the mean over the frames is taken. `soundalike export --onnx` writes such files.

    Args:
        path: of the file.
        sample_rate: in Hz; None for what the file's metadata say (``sample_rate``), or else `SAMPLE_RATE`.

    Raises:
        SoundalikeError: onnxruntime is not installed, or the file is none that it reads.
    """

    def __init__(self, path: str | Path, sample_rate: int | None = None) -> None:
        require("running ONNX", "onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0") or 0)
        try:
            self._session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own kinds, which it does not export
            raise SoundalikeError(f"{path}: not an ONNX file that can be run ({_line(error)}).") from None
        told = self._session.get_modelmeta().custom_metadata_map.get("sample_rate", "")
        self.sample_rate = sample_rate or (int(told) if told.isdecimal() else SAMPLE_RATE)
        check_rate(self.sample_rate)
        self.path = Path(path)
        self._input = self._session.get_inputs()[0]

    def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Embed sounds.

        Args:
            waveforms: mono float32 sounds (samples,) at ``sample_rate``, of any lengths.

        Returns:
            float32 ``(n, D)``.

        Raises:
            AudioError: the file cannot embed one of them, such as one that is too short.
        """
        found = []
        for waveform in waveforms:
            sound = np.ascontiguousarray(waveform, np.float32)
            fed = sound if len(self._input.shape) == 1 else sound[None]
            try:
                output = np.asarray(self._session.run(None, {self._input.name: fed})[0])
            except Exception as error:  # as above
                raise AudioError(f"{self.path.name} cannot embed it ({_line(error)}).") from None
            if output.ndim == 3:
                output = output.mean(axis=1)
            if output.size == 0 or output.ndim > 2:
                raise SoundalikeError(
                    f"{self.path}: its first output has shape {output.shape}: (batch, D) or (batch, frames, D) is "
                    "needed."
                )
            found.append(output.reshape(-1))
        return _stacked(found, self.path)


class FunctionEmbedder:
    """A function that takes a list of waveforms, float32 (samples,) each, and returns vectors (n, D).

    Args:
        function: the function; an attribute ``sample_rate`` of it says at which rate it takes sounds.
        name: what it is called in sentences.
        sample_rate: in Hz; None for that attribute, or else `SAMPLE_RATE`.
    """

    def __init__(self, function: Callable[[list[np.ndarray]], Any], name: str, sample_rate: int | None = None) -> None:
        self._function, self.name = function, name
        own: Any = getattr(function, "sample_rate", SAMPLE_RATE)
        self.sample_rate = int(sample_rate or own)
        check_rate(self.sample_rate)

    def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Embed sounds, as `OnnxEmbedder` does.

        Raises:
            AudioError: where the function raises one: that sound is left out.
            SoundalikeError: the function fails, or returns something else than a vector of numbers for each sound.
        """
        try:
            output = self._function([np.asarray(waveform, np.float32) for waveform in waveforms])
        except AudioError:
            raise
        except Exception as error:
            raise SoundalikeError(f"{self.name} failed ({type(error).__name__}: {_line(error)}).") from error
        try:
            vectors = np.asarray(output, np.float32)
        except (TypeError, ValueError):
            vectors = np.zeros(0, np.float32)
        if vectors.ndim != 2 or len(vectors) != len(waveforms) or not vectors.size:
            given = f"shape {vectors.shape}" if vectors.size else "no array of numbers"
            raise SoundalikeError(f"{self.name} gave {given} for {len(waveforms)} sounds: a row for each is needed.")
        return vectors


def is_outside(name: str) -> bool:
    """Whether a name is that of an embedder that is not ours: ``FILE.onnx`` or ``module:function``, perhaps @RATE."""
    bare = _without_rate(name)[0]
    return bare.lower().endswith(".onnx") or bool(_FUNCTION.fullmatch(bare) and not Path(name).exists())


def load_outside(name: str) -> OnnxEmbedder | FunctionEmbedder:
    """The embedder of a name.

    Args:
        name: ``FILE.onnx`` or ``module:function``, with ``@RATE`` behind it for the sample rate in Hz. Modules are
            looked for in the working folder too. **Importing a module runs it.**

    Raises:
        SoundalikeError: there is no such file, module or function, or it cannot be used.
    """
    bare, rate = _without_rate(name)
    if bare.lower().endswith(".onnx"):
        if not Path(bare).is_file():
            raise SoundalikeError(f"{bare}: no such file.")
        return OnnxEmbedder(bare, rate)
    module, _, path = bare.partition(":")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:  # whatever the module does when it is imported
        raise SoundalikeError(f"{bare}: cannot import {module} ({type(error).__name__}: {_line(error)}).") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise SoundalikeError(f"{bare}: {module} has no {path!r}.")
        found = getattr(found, part)
    if not callable(found):
        raise SoundalikeError(f"{bare}: is no function, but a {type(found).__name__}.")
    return FunctionEmbedder(found, bare, rate)


def _without_rate(name: str) -> tuple[str, int | None]:
    told = _RATE.fullmatch(name)
    return (told[1], int(told[2])) if told else (name, None)


def _stacked(vectors: Sequence[np.ndarray], path: Path) -> np.ndarray:
    sizes = sorted({len(vector) for vector in vectors})
    if len(sizes) > 1:
        raise SoundalikeError(f"{path}: sounds of different lengths have embeddings of different sizes, {sizes}.")
    return np.stack(vectors).astype(np.float32, copy=False)


def _line(error: BaseException) -> str:
    """The first line of what an exception says."""
    return (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".")
