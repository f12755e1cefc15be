"""Targets: what a voice declares, and the rows in which they travel."""

from __future__ import annotations

import pytest
import torch

from soundalike.synth.targets import FIRST_STEP, Target, TargetSpec, pack, step_count, step_middles, unpack

SPECS = (
    TargetSpec("kind", classes=("vowel", "stop", "silence")),
    TargetSpec("formants", "log2 Hz", size=3, centre=10.0, spread=0.5, where="something sounds"),
    TargetSpec("tract", "cm", per="sound"),
    TargetSpec("speaker", per="sound", classes=("a", "b")),
)


def targets(count: int, steps: int) -> dict[str, Target]:
    generator = torch.Generator().manual_seed(0)

    def mask(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator) < 0.5

    return {
        "kind": Target(torch.randint(0, 3, (count, steps), generator=generator), mask(count, steps)),
        "formants": Target(torch.randn(count, steps, 3, generator=generator), mask(count, steps)),
        "tract": Target(torch.randn(count, 1, generator=generator), mask(count)),
        "speaker": Target(torch.randint(0, 2, (count,), generator=generator), mask(count)),
    }


@pytest.mark.parametrize(("count", "steps"), [(1, 1), (5, 12), (0, 3)])
def test_what_is_packed_is_unpacked(count: int, steps: int) -> None:
    before = targets(count, steps)
    rows = pack(SPECS, before)
    assert rows.shape == (count, steps * 2 + steps * 4 + 2 + 2)
    assert rows.dtype == torch.float32
    after = unpack(SPECS, rows, steps)
    assert list(after) == list(before)
    for name, (value, mask) in before.items():
        assert torch.equal(after[name].value, value)
        assert torch.equal(after[name].mask, mask)


def test_steps_are_those_of_the_front_end() -> None:
    assert [step_count(seconds) for seconds in (0.01, 0.08, 0.96, 1.0, 2.0)] == [1, 1, 12, 12, 25]
    middles = step_middles(1.0)
    assert float(middles[0]) == pytest.approx(FIRST_STEP)
    assert middles.diff().numpy() == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"per": "step"}, "neither frame nor sound"),
        ({"size": 0}, "size 0"),
        ({"size": 2, "classes": ("a", "b")}, "size 2"),
        ({"spread": 0.0}, "spread 0.0 is not above 0"),
    ],
)
def test_a_target_that_cannot_be_is_named(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TargetSpec("x", **arguments)  # type: ignore[arg-type]
