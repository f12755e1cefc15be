"""Compiled rendering: the same sounds as without, a run without a compiler, and the arithmetic that it uses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from soundalike.core.compile import use_cache
from soundalike.synth import VOICES, Scene, Synthesizer
from soundalike.synth.approximation import polynomial_cosine, rational_tanh

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
ROWS, SOUNDS = 16, 40


def patches(voice: Synthesizer) -> torch.Tensor:
    return voice.draw(SOUNDS, generator=torch.Generator().manual_seed(5))


every = pytest.mark.skipif("SOUNDALIKE_COMPILE_ALL" not in os.environ, reason="minutes of compiling")


SLOW = [pytest.param(name, marks=every) for name in ("voice-fm", "mouth", "body", "texture")]


@pytest.fixture(scope="module", params=["voice", "scene", *SLOW])
def twins(request: pytest.FixtureRequest) -> tuple[str, Synthesizer, Synthesizer]:
    """A voice's name, the voice as it is, and compiled."""
    plain, fast = VOICES[request.param](), VOICES[request.param]()
    assert fast.compile_rendering(ROWS, targets=isinstance(fast, Scene)) > 0
    return request.param, plain, fast


@needs_compiler
def test_compiled_sounds_are_the_plain_ones(twins: tuple[str, Synthesizer, Synthesizer]) -> None:
    name, plain, fast = twins
    patch, seeds = patches(plain), torch.arange(SOUNDS) + 1_000
    with torch.no_grad():
        expected, sound = plain(patch, noise_seed=seeds), fast(patch, noise_seed=seeds)
    difference = (sound - expected).abs()
    assert sound.shape == (SOUNDS, 16_000)
    assert float(difference.median()) < (1e-3 if name == "voice-fm" else 1e-4)  # FM amplifies rounding
    # where an LFO jumps at a control point, rounding decides on which side
    close = difference.amax(dim=1) < 2e-2
    assert float(close.float().mean()) > (0.3 if name == "voice-fm" else 0.8)
    other = (fast(patch, noise_seed=seeds + 1) - expected).abs()
    assert float(other.median()) > 10 * float(difference.median())


@needs_compiler
def test_company_changes_no_compiled_sound(twins: tuple[str, Synthesizer, Synthesizer]) -> None:
    _, _, fast = twins
    patch, seeds = patches(fast), torch.arange(SOUNDS)
    with torch.inference_mode():
        alone, together = fast(patch[20:21], noise_seed=[20]), fast(patch, noise_seed=seeds)
    assert torch.equal(alone[0], together[20])
    assert fast(patch[:0]).shape == (0, 16_000)


@needs_compiler
def test_gradients_flow_past_the_compiled_parts(twins: tuple[str, Synthesizer, Synthesizer]) -> None:
    _, plain, fast = twins
    gradients = []
    for voice in (plain, fast):
        patch = patches(voice)[:2].requires_grad_()
        voice(patch).square().sum().backward()
        gradients.append(patch.grad)
    assert torch.equal(*gradients)
    assert gradients[0] is not None
    assert float(gradients[0].abs().max()) > 0


@needs_compiler
def test_the_targets_of_a_compiled_voice_are_those_of_the_plain_one(
    twins: tuple[str, Synthesizer, Synthesizer],
) -> None:
    _, plain, fast = twins
    if not plain.target_specs:
        pytest.skip("it declares none")
    patch, seeds = patches(plain), torch.arange(SOUNDS)
    (_, expected), (sound, targets) = plain.with_targets(patch, seeds), fast.with_targets(patch, seeds)
    torch.testing.assert_close(sound, fast(patch, noise_seed=seeds), rtol=0, atol=1e-4)
    for name, (value, _) in targets.items():
        known = expected[name].value
        # where an LFO jumps at a control point, rounding decides on which side
        close = (value - known).abs().flatten(1).amax(1) < 0.02 * (1.0 + known.abs().amax())
        assert float(close.float().mean()) > 0.8


def test_a_run_without_a_compiler_says_so_and_goes_on(tmp_path: Path) -> None:
    settings = ["--steps", "2", "--batch-size", "2", "--encoder.width", "4", "--compile", "always"]
    command = ["pretrain", "--recipe", "doppelgangers-cpu", *settings, "--out", str(tmp_path / "run")]
    without = {"CXX": str(tmp_path / "no-compiler"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    ended = subprocess.run(
        [sys.executable, "-m", "soundalike", *command],
        capture_output=True,
        text=True,
        env={**os.environ, **without},
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "run" / "model.safetensors").is_file()
    (line,) = [line for line in ended.stderr.splitlines() if "stays as it is" in line]
    assert "compil" in line
    assert "Traceback" not in ended.stderr


def test_polynomial_cosine_is_a_cosine() -> None:
    cycles = torch.cat((torch.linspace(-3, 3, 60_001), torch.tensor([-0.5, -0.25, 0.0, 0.25, 0.5, 27.3])))
    exact = np.cos(2 * np.pi * cycles.double().numpy())
    assert np.abs(polynomial_cosine(cycles).numpy() - exact).max() < 1e-6


def test_rational_tanh_is_a_tanh() -> None:
    x = torch.cat((torch.linspace(-9, 9, 90_001), torch.tensor([-1e4, 0.0, 1e-6, 1e30])))
    exact = np.tanh(x.double().numpy())
    assert np.abs(rational_tanh(x).numpy() - exact).max() < 1.5e-6
    assert float(rational_tanh(torch.zeros(()))) == 0.0


@pytest.mark.parametrize("chosen", [None, "mine"])
def test_compiled_functions_lie_with_the_other_caches(
    chosen: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    monkeypatch.setenv("SOUNDALIKE_CACHE", str(tmp_path / "caches"))
    if chosen is None:
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    else:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / chosen))
    cache_dir()  # as the import of Lightning does: it sets the variable where nobody has
    use_cache()
    assert cache_dir() == str(tmp_path / (chosen or "caches/compiled"))
