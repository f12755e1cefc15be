"""A training step on a GPU that is not there: that it never waits for it, and what it launches and holds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks are run from the checkout, not installed

from benchmarks.step_counts import Trace, Waits, main, trace  # noqa: E402

from soundalike.model.recipe import Recipe  # noqa: E402
from soundalike.views.augment import AUGMENTATIONS  # noqa: E402
from soundalike.views.doppelganger import Doppelgangers  # noqa: E402

SPECTROGRAMS = ("spec-augment", "spectrogram-mask")


@pytest.mark.parametrize(
    ("recipe", "pairs", "launches"),
    [
        ("doppelgangers", 8, 1000),
        ("doppelgangers-cpu", 6, 1400),
        ("ears", 8, 6000),
        ("ears-cpu", 6, 6000),
        ("scenes-cpu", 6, 2400),  # some of the sounds that are mixed in are those of no pair of the batch
    ],
)
def test_a_step_never_waits_for_the_gpu(recipe: str, pairs: int, launches: int) -> None:
    traced, operations = trace(Recipe.load(recipe), pairs)
    assert operations > 0
    assert all(traced.launches[part] > 0 for part in ("rendering", "front end", "encoder", "loss", "backward"))
    # compiled, rendering is a few kernels; this bounds what is launched where nothing can be compiled
    assert sum(traced.launches.values()) <= launches


@pytest.mark.parametrize(
    "wait",
    [
        lambda audio: audio * audio.max().item(),
        lambda audio: audio.cpu().to(audio.device),
        lambda audio: audio + torch.tensor([0.5] * audio.shape[1]).to(audio.device),
        lambda audio: audio + torch.tensor([0.5] * audio.shape[1], device=audio.device),
        lambda audio: audio + audio.new_tensor(0.5),
        lambda audio: audio * float(len(audio[audio[:, 0] > 0])),
        lambda audio: audio if audio.any() else audio + 1.0,
        lambda audio: audio + len(audio.nonzero()),
    ],
    ids=["item", "to the CPU and back", "to the GPU", "made there", "made alike", "mask", "bool", "nonzero"],
)
def test_waiting_is_found(wait: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    augmented = Doppelgangers._augmented
    monkeypatch.setattr(Doppelgangers, "_augmented", lambda self, audio, *rest: wait(augmented(self, audio, *rest)))
    with pytest.raises((Waits, RuntimeError, NotImplementedError)) as raised:
        trace(Recipe.load("doppelgangers-cpu"), 8)
    assert "meta" in str(raised.value) or isinstance(raised.value, Waits)


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name not in SPECTROGRAMS])
def test_an_augmentation_of_audio_never_waits(name: str) -> None:
    recipe = Recipe.load("doppelgangers-cpu").override({"views.augment": [name]})
    trace(recipe, 4)


@pytest.mark.parametrize("name", SPECTROGRAMS)
def test_an_augmentation_of_spectrograms_never_waits(name: str) -> None:
    trace(Recipe.load("doppelgangers-cpu").override({"views.augment_features": [name]}), 4)


def test_memory_is_what_tensors_hold_while_they_live() -> None:
    with Trace() as traced:
        first = torch.empty(1000, device="meta")
        second = first + 1.0
        view = second[:10]
        del second  # its view still holds it
        assert traced.held == 8000
        del view
        assert traced.held == 4000
        third = first * 2.0
        assert traced.held == 8000
        del first, third
    assert traced.held == 0
    assert traced.peaks["other"] == 8000
    assert traced.launches["other"] == 2  # the view moves nothing
    assert traced.moved["other"] == 4 * 4000


def test_a_large_batch_is_rendered_in_parts_that_fit() -> None:
    traced, _ = trace(Recipe.load("ears"), 4096)
    assert traced.peaks["rendering"] < 10e9
    assert max(traced.peaks.values()) < 60e9  # in fp32; bf16 halves the largest part of it


def test_the_sounds_are_the_same_in_parts_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    from soundalike.train import step as module

    one = module.Learner(Recipe.load("scenes-cpu").override({"compile": "never", "encoder.width": 8}))
    whole: Any = one.inputs(torch.arange(12))
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", 5)  # no multiple of four: the mixed sounds of some parts lie outside
    parts: Any = one.inputs(torch.arange(12))
    torch.testing.assert_close(parts[0], whole[0], atol=2e-3, rtol=0.0)
    assert [*parts.targets] == ["spectrum", "sources"]
    for name, (value, mask) in parts.targets.items():
        torch.testing.assert_close(value, whole.targets[name].value, atol=2e-2, rtol=0.0)
        assert torch.equal(mask, whole.targets[name].mask)


def test_the_counts_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doppelgangers-cpu", "--pairs", "8"]) == 0
    said = capsys.readouterr().out
    assert "| 8 | launches | " in said
    assert "peak GB" in said
