"""The three voices against reference sounds rendered by SynthAX, where the folder with them is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from soundalike.synth import VOICES, Synthesizer
from test_compilation import needs_compiler

FILES = {"voice": "voice.npz", "voice-fm": "voice_fm.npz", "parametric": "parametric.npz"}


def folder() -> Path | None:
    """``SOUNDALIKE_GOLDEN``, or the folder ``golden`` next to ``SOUNDALIKE_DATA``."""
    if "SOUNDALIKE_GOLDEN" in os.environ:
        found = Path(os.environ["SOUNDALIKE_GOLDEN"])
    elif "SOUNDALIKE_DATA" in os.environ:
        found = Path(os.environ["SOUNDALIKE_DATA"]).resolve().parent / "golden"
    else:
        return None
    return found if all((found / name).is_file() for name in FILES.values()) else None


pytestmark = pytest.mark.skipif(folder() is None, reason="no reference sounds: set SOUNDALIKE_GOLDEN")


@pytest.fixture(scope="module", params=FILES)
def reference(request: pytest.FixtureRequest) -> tuple[str, Synthesizer, dict[str, np.ndarray]]:
    """A voice with its reference sounds."""
    golden = folder()
    assert golden is not None
    with np.load(golden / FILES[request.param], allow_pickle=False) as arrays:
        return request.param, VOICES[request.param](), {key: arrays[key] for key in arrays.files}


def knobs(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every knob's 16 positions by our name for it: ``param:modules_a/b`` of shape (16, 2) -> ``a.b.0``, ``a.b.1``."""
    named = {}
    for key, value in arrays.items():
        if key.startswith("param:modules_"):
            name = key.removeprefix("param:modules_").replace("/", ".")
            for index in np.ndindex(value.shape[1:]):
                named[".".join([name, *map(str, index)])] = value[(slice(None), *index)]
    return named


def log_mel(sound: np.ndarray) -> np.ndarray:
    """dB in 64 mel bands every 10 ms."""
    import librosa

    power = librosa.feature.melspectrogram(
        y=sound.astype(np.float32), sr=16_000, n_fft=512, hop_length=160, n_mels=64, power=2.0
    )
    return 10 * np.log10(power + 1e-10)


def difference(expected: np.ndarray, sound: np.ndarray) -> float:
    """Mean absolute difference in dB over the bins within 60 dB of the expected peak."""
    a, b = log_mel(expected), log_mel(sound)
    return float(np.abs(a - b)[a > a.max() - 60].mean())


def test_names_of_knobs_are_the_originals(reference: tuple[str, Synthesizer, dict[str, np.ndarray]]) -> None:
    _, voice, arrays = reference
    assert {spec.name for spec in voice.specs} == set(knobs(arrays))


def rendered(voice: Synthesizer, arrays: dict[str, np.ndarray]) -> np.ndarray:
    positions = knobs(arrays)
    patch = torch.tensor(np.stack([positions[spec.name] for spec in voice.specs], axis=1), dtype=torch.float32)
    return voice(patch, noise=torch.tensor(arrays["noise"]).float()).numpy()


def check(name: str, voice: Synthesizer, arrays: dict[str, np.ndarray]) -> None:
    sounds = rendered(voice, arrays)
    differences = np.array([difference(a, b) for a, b in zip(arrays["audio"], sounds, strict=True)])
    print(f"{name}: median {np.median(differences):.3f} dB, worst {differences.max():.2f} dB")  # shown with pytest -s
    assert differences.shape == (16,)
    # FM at a high index is chaotic: the last bit of a phase ends up in the spectrum, in the originals' float32 too
    assert np.median(differences) <= (0.5 if name == "parametric" else 0.1), differences
    assert (differences <= 3).sum() >= 14, differences


def test_log_mel_is_that_of_the_reference(reference: tuple[str, Synthesizer, dict[str, np.ndarray]]) -> None:
    check(*reference)


@needs_compiler
def test_compiled_voice_is_that_of_the_reference(reference: tuple[str, Synthesizer, dict[str, np.ndarray]]) -> None:
    # tests/test_compilation.py holds compiled voices against plain ones, and those are held to the reference
    if "SOUNDALIKE_COMPILE_ALL" not in os.environ:
        pytest.skip("compiling takes minutes: set SOUNDALIKE_COMPILE_ALL")
    name, voice, arrays = reference
    compiled = type(voice)()
    compiled.compile_rendering(rows=16)
    check(name, compiled, arrays)
    assert not np.array_equal(rendered(compiled, arrays), rendered(voice, arrays))  # another path, not the same one


def test_a_wrong_patch_would_be_noticed(reference: tuple[str, Synthesizer, dict[str, np.ndarray]]) -> None:
    _, _, arrays = reference
    audio = arrays["audio"]
    assert np.median([difference(audio[i], audio[i - 1]) for i in range(16)]) > 5
