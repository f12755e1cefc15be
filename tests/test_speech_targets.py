"""What a mouth declares of its sounds, against its knobs and against the sounds."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from seeded import generator
from soundalike.core.errors import SoundalikeError
from soundalike.synth import VOICES, Mouth, Voice
from soundalike.synth.segments import FRICATIVE, KINDS, NASAL, SILENCE, STOP, VOWEL
from soundalike.synth.targets import pack, step_count, step_middles, unpack
from speaking import RATE, word
from turning import turned

MOUTH = Mouth()


def test_every_declared_target_is_given_in_its_shape() -> None:
    mouth = Mouth(seconds=0.5)
    patch = mouth.draw(5, generator=generator(0), uniform_in="knobs")
    targets = mouth.targets(patch)
    assert list(targets) == [spec.name for spec in mouth.target_specs]
    steps = step_count(0.5)
    for spec in mouth.target_specs:
        value, mask = targets[spec.name]
        shape = (5, steps) if spec.per == "frame" else (5,)
        assert mask.shape == shape
        assert mask.dtype == torch.bool
        if spec.classes:
            assert value.shape == shape
            assert 0 <= int(value.min()) <= int(value.max()) < len(spec.classes)
        else:
            assert value.shape == (*shape, spec.size)
            assert value.isfinite().all()
    rows = pack(mouth.target_specs, targets)
    for name, (value, mask) in unpack(mouth.target_specs, rows, steps).items():
        assert torch.equal(value, targets[name].value)
        assert torch.equal(mask, targets[name].mask)


def test_numbers_lie_around_their_centre() -> None:
    patch = MOUTH.draw(400, generator=generator(1), uniform_in="knobs")
    targets = MOUTH.targets(patch)
    for spec in MOUTH.target_specs:
        if not spec.classes:
            value, mask = targets[spec.name]
            usual = (value[mask] - spec.centre) / spec.spread
            # that of the pitch is the middle of all voices, and bodies are higher
            assert abs(float(usual.mean())) < (1.0 if spec.name == "f0" else 0.6), spec.name
            assert 0.5 < float(usual.square().mean().sqrt()) < 1.7, spec.name
    kinds = torch.bincount(targets["kind"].value.flatten(), minlength=len(KINDS)) / targets["kind"].value.numel()
    assert float(kinds.min()) > 0.015  # each of them is to be heard


def test_steps_have_the_kind_that_is_said_there() -> None:
    patch = word(MOUTH, "fricative", "vowel", "nasal", "vowel", "stop", "vowel", speaker__rate=-0.3)
    for i in range(1, 7):
        patch = turned(MOUTH, patch, **{f"segment_{i}__length": 0.28})
    said = MOUTH.utterance(MOUTH.to_units(patch), torch.zeros(1, 24))
    kinds = MOUTH.targets(patch)["kind"].value[0].tolist()
    for kind, middle in zip(kinds, step_middles(1.0).tolist(), strict=True):
        share = dict.fromkeys(range(len(KINDS)), 0.0)
        for index, start, end in zip(said.kind[0].tolist(), said.start[0].tolist(), said.end[0].tolist(), strict=True):
            share[index] += max(0.0, min(end, middle + 0.04) - max(start, middle - 0.04))
        share[SILENCE] = 0.08 - sum(share[index] for index in range(1, len(KINDS)))
        assert share[kind] > max(share.values()) - 0.017  # a fifth of a step is as fine as it looks
    assert {FRICATIVE, VOWEL, NASAL, STOP} <= set(kinds)


def test_formants_are_those_of_the_knobs_without_the_tract() -> None:
    patch = word(MOUTH, "none", "vowel", segment_2__f1=math.log2(600.0), segment_2__length=0.28, speaker__rate=-0.5)
    values = []
    for tract in (13.0, 17.5, 21.0):
        targets = MOUTH.targets(turned(MOUTH, patch, speaker__tract=tract))
        assert float(targets["tract"].value[0, 0]) == pytest.approx(tract, abs=1e-3)
        assert float(targets["f1"].value[0, 2, 0]) == pytest.approx(math.log2(600.0), abs=1e-3)
        values.append(torch.cat([targets[f"f{i}"].value for i in (1, 2, 3)], dim=2))
        mask = targets["f1"].mask[0]
        assert mask[:5].all()  # 396 ms
        assert not mask[6:].any()
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(values[0], values[2])


def test_pitch_voicing_and_noise() -> None:
    patch = word(
        MOUTH, "fricative", "vowel", segment_1__voicing=0.0, segment_1__length=0.28, segment_2__length=0.28,
        segment_1__noise__centre=12.0, speaker__rate=-0.5, speaker__slope=-8.0, speaker__breath=-20.0,
    )  # fmt: skip
    targets = MOUTH.targets(patch)
    voicing, (f0, voiced) = targets["voicing"].value[0, :, 0], targets["f0"]
    assert voicing[:2].tolist() == [0.0, 0.0]  # the fricative takes 257 ms, the vowel 396
    assert voicing[4:7].tolist() == [1.0, 1.0, 1.0]
    assert voiced[0].tolist() == (voicing > 0.5).tolist()
    middles = step_middles(1.0)
    expected = math.log2(110.0) - 8.0 * (middles - 0.5) / 12
    torch.testing.assert_close(f0[0, 4:7, 0], expected[4:7], rtol=0, atol=2e-3)
    assert float(targets["pitch"].value) == pytest.approx(float(f0[0, voiced[0], 0].mean()), abs=0.02)
    assert float(targets["breath"].value) == pytest.approx(-20.0, abs=1e-3)
    noise, hissing = targets["noise"]
    assert hissing[0, :3].all()
    assert not hissing[0, 4:].any()
    torch.testing.assert_close(noise[0, :2, 0], torch.full((2,), 12.0), rtol=0, atol=1e-2)
    whispered = MOUTH.targets(turned(MOUTH, patch, speaker__whisper=1.0))
    assert not whispered["f0"].mask.any()
    assert not whispered["pitch"].mask.any()
    assert whispered["tract"].mask.all()
    nothing = MOUTH.targets(word(MOUTH, "none", "none"))
    assert not any(bool(nothing[name].mask.any()) for name in ("f1", "f0", "noise", "tract", "pitch"))
    assert (nothing["kind"].value == SILENCE).all()


def test_levels_are_those_of_the_sound_without_its_place() -> None:
    patch = word(MOUTH, "fricative", "vowel", "nasal", "vowel", segment_1__voicing=0.0)
    noisy = turned(MOUTH, patch, place__background__level=0.0, place__tilt=-4.0, place__room__level=-5.0)
    clean, other = (MOUTH.targets(each)["levels"].value for each in (patch, noisy))
    assert torch.equal(clean, other)
    assert clean.shape == (1, 12, 16)
    sound = MOUTH(patch)[0]
    edges = torch.logspace(math.log10(100.0), math.log10(7500.0), 17)
    measured = []
    for middle in step_middles(1.0).tolist():
        part = sound[max(0, int((middle - 0.04) * RATE)) : int((middle + 0.04) * RATE)]
        spectrum = torch.fft.rfft(part * torch.hann_window(len(part)), RATE).abs().square()
        measured.append([float(spectrum[int(a) : int(b)].sum()) for a, b in pairwise(edges)])
    heard = torch.tensor(measured)
    heard = 10 * torch.log10(heard / heard.sum(1).max() + 1e-6)
    near = clean[0] > -30.0
    assert float((clean[0] - heard)[near].abs().median()) < 3.0
    assert float(torch.corrcoef(torch.stack((clean[0].flatten(), heard.flatten())))[0, 1]) > 0.9


def test_the_sound_beside_the_targets_is_the_sound() -> None:
    patch = MOUTH.draw(5, generator=generator(2), uniform_in="knobs")
    seeds = torch.arange(5) + 10
    sound, targets = MOUTH.with_targets(patch, seeds)
    torch.testing.assert_close(sound, MOUTH(patch, noise_seed=seeds), rtol=0, atol=1e-6)
    again = MOUTH.targets(patch[3:4], seeds[3:4])
    for name, (value, mask) in again.items():
        torch.testing.assert_close(value[0], targets[name].value[3], rtol=0, atol=1e-3)
        assert torch.equal(mask[0], targets[name].mask[3])
    other: Tensor = MOUTH.targets(patch, seeds + 1)["f1"].value
    assert not torch.allclose(other, targets["f1"].value)  # a take of its own


def test_a_voice_that_declares_nothing_says_so() -> None:
    voice = Voice(seconds=0.1)
    assert voice.target_specs == ()
    with pytest.raises(SoundalikeError, match=r"^Voice declares no targets: of its sounds nothing is known\.$"):
        voice.targets(torch.full((1, 78), 0.5))
    assert [name for name, kind in VOICES.items() if kind(seconds=0.1).target_specs] == [
        "scene",
        "mouth",
        "body",
        "texture",
    ]
