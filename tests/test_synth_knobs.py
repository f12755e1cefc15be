"""Knobs: names, groups and units, the way to units and back, random patches, readable patches, bad arguments."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import reference_voice
from seeded import generator
from soundalike.core.errors import SoundalikeError
from soundalike.synth import GROUPS, VOICES, ParameterSpec, Parametric, Synthesizer, Voice, VoiceFM
from soundalike.synth.parameter import ParameterTable

SHORT = 0.05
ALL = [Voice(seconds=SHORT), VoiceFM(seconds=SHORT), Parametric(seconds=SHORT)]
each_voice = pytest.mark.parametrize("voice", ALL, ids=["voice", "voice-fm", "parametric"])


def expected_names(keyboards: list[str], pairs: int, to: int, vcos: str, levels: int) -> list[str]:
    """The knobs of a voice, from a letter for each oscillator: s a sine, q a square-saw, f an FM carrier."""
    adsrs = [f"{prefix}{i}{suffix}" for prefix, suffix in ADSRS for i in range(1, pairs + 1)]
    names = [f"{keyboard}.{part}" for keyboard in keyboards for part in ("midi_f0", "duration")]
    names += [f"{adsr}.{part}" for adsr in adsrs for part in ("attack", "decay", "sustain", "release", "alpha")]
    lfo_parts = ("frequency", "mod_depth", "initial_phase", "sin", "tri", "saw", "rsaw", "sqr")
    names += [f"lfo_{i}.{part}" for i in range(1, pairs + 1) for part in lfo_parts]
    names += [f"mod_matrix.mod.{i}.{j}" for i in range(to) for j in range(2 * pairs)]
    for i, letter in enumerate(vcos, start=1):
        parts = ("tuning", "mod_depth", "initial_phase", *(("shape",) if letter == "q" else ()))
        names += [f"vco_{i}.{part}" for part in parts]
    return names + [f"mixer.level.{i}" for i in range(levels)]


ADSRS = (("adsr_", ""), ("lfo_", "_rate_adsr"), ("lfo_", "_amp_adsr"))
EXPECTED = {
    "voice": (78, expected_names(["keyboard"], 2, 5, "sq", 3)),
    "voice-fm": (130, expected_names(["keyboard"], 3, 7, "sqsf", 4)),
    "parametric": (340, expected_names([f"keyboard_{i}" for i in range(1, 7)], 6, 13, "ssqqsqff", 7)),
}
# what each kind of knob is about, and the unit that its number has
MEANING = {
    "keyboard.midi_f0": ("pitch", "midi"),
    "keyboard.duration": ("envelope", "s"),
    "adsr.attack": ("envelope", "s"),
    "adsr.decay": ("envelope", "s"),
    "adsr.sustain": ("envelope", ""),
    "adsr.release": ("envelope", "s"),
    "adsr.alpha": ("envelope", ""),
    "lfo.frequency": ("modulation", "Hz"),
    "lfo.mod_depth": ("modulation", "Hz"),
    "lfo.initial_phase": ("phase", "rad"),
    "mod_matrix.mod": ("modulation", ""),
    "vco.tuning": ("pitch", "semitones"),
    "vco.mod_depth": ("pitch", "semitones"),
    "vco.initial_phase": ("phase", "rad"),
    "vco.shape": ("timbre", ""),
    "mixer.level": ("level", ""),
}
CARRIERS = {"voice": (), "voice-fm": ("vco_4",), "parametric": ("vco_7", "vco_8")}


@pytest.mark.parametrize("name", EXPECTED)
def test_names_and_sizes(name: str) -> None:
    voice = VOICES[name](seconds=SHORT)
    size, names = EXPECTED[name]
    assert voice.size == len(voice.specs) == len(names) == size
    assert [spec.name for spec in voice.specs] == names


@pytest.mark.parametrize("name", EXPECTED)
def test_every_knob_has_the_range_group_and_unit_of_its_kind(name: str) -> None:
    for spec in VOICES[name](seconds=SHORT).specs:
        kind = reference_voice.kind(spec.name)
        assert (spec.minimum, spec.maximum, spec.curve, spec.symmetric) == reference_voice.RANGES[kind], spec.name
        meaning = MEANING.get(kind, ("modulation", ""))  # what is left are the shapes of LFOs
        if kind == "vco.mod_depth" and spec.name.split(".")[0] in CARRIERS[name]:
            meaning = ("timbre", "index")
        assert (spec.group, spec.unit) == meaning, spec.name
        assert spec.group in GROUPS


def test_torchsynths_noise_curve_is_one_argument_away() -> None:
    levels = [spec.curve for spec in Voice(seconds=SHORT, noise_curve=0.025).specs if spec.group == "level"]
    assert levels == [1.0, 1.0, 0.025]
    last = Voice(seconds=SHORT, noise_curve=0.025).to_units(torch.full((78,), 0.9))[-1].item()
    assert last == pytest.approx(0.9**40, rel=1e-4)


# ---- conversion


@each_voice
@pytest.mark.parametrize("position", [0.0, 1e-6, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
def test_units_are_those_of_the_formula(voice: Synthesizer, position: float) -> None:
    units = voice.to_units(torch.full((1, voice.size), position))[0]
    for spec, value in zip(voice.specs, units.tolist(), strict=True):
        slow = reference_voice.unit(spec.name, position)
        assert value == pytest.approx(slow, abs=2e-6 * (spec.maximum - spec.minimum)), spec.name


@each_voice
def test_ends_of_the_knobs_are_the_ends_of_the_ranges(voice: Synthesizer) -> None:
    ends = voice.to_units(torch.tensor([[0.0], [1.0]]).expand(2, voice.size))
    assert torch.allclose(ends[0], torch.tensor([spec.minimum for spec in voice.specs]))
    assert torch.allclose(ends[1], torch.tensor([spec.maximum for spec in voice.specs]))


@each_voice
def test_knobs_are_those_of_the_formula(voice: Synthesizer) -> None:
    share = torch.linspace(0, 1, 11)[:, None]
    low, high = (torch.tensor([getattr(spec, end) for spec in voice.specs]) for end in ("minimum", "maximum"))
    units = low + (high - low) * share
    for row, value in zip(voice.to_knobs(units).tolist(), units.tolist(), strict=True):
        for spec, position, unit in zip(voice.specs, row, value, strict=True):
            if not spec.symmetric or abs(unit - (spec.minimum + spec.maximum) / 2) > 1e-3:
                assert position == pytest.approx(reference_voice.knob(spec.name, unit), abs=1e-5), spec.name


@each_voice
def test_a_unit_beyond_its_range_becomes_the_end_of_the_knob(voice: Synthesizer) -> None:
    assert torch.equal(voice.to_knobs(torch.full((voice.size,), -1e4)), torch.zeros(voice.size))
    assert torch.equal(voice.to_knobs(torch.full((voice.size,), 1e4)), torch.ones(voice.size))


@given(st.floats(0.0, 1.0))
@settings(max_examples=200, deadline=None)
def test_conversion_is_a_bijection(position: float) -> None:
    for voice in ALL:
        patch = torch.full((voice.size,), position, dtype=torch.float64)
        units = voice.to_units(patch)
        back = voice.to_knobs(units)
        # the fifth root at the middle of a symmetric knob turns rounding of the unit, 1e-16, into some 1e-3
        assert (back - patch).abs().max() < 5e-3
        assert (voice.to_units(back) - units).abs().max() < 1e-6


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=2).map(sorted))
@settings(max_examples=100, deadline=None)
def test_turning_a_knob_up_never_turns_its_unit_down(positions: list[float]) -> None:
    for voice in ALL:
        low, high = (voice.to_units(torch.full((voice.size,), p, dtype=torch.float64)) for p in positions)
        assert (low <= high).all()


def test_a_patch_may_be_one_row_or_many() -> None:
    patch = ALL[0].draw(3, generator=generator(0))
    many = ALL[0].to_units(patch)
    assert many.shape == (3, 78)
    assert torch.equal(ALL[0].to_units(patch[1]), many[1])
    assert ALL[0].to_knobs(many[2]).shape == (78,)


@pytest.mark.parametrize("bad", [{"group": "colour"}, {"minimum": 2.0}, {"curve": 0.0}])
def test_a_knob_that_makes_no_sense_is_a_bug_of_the_voice(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^a\.b: "):
        ParameterSpec(**{"name": "a.b", "minimum": 0.0, "maximum": 1.0, **bad})  # type: ignore[arg-type]


def test_two_knobs_may_not_share_a_name() -> None:
    with pytest.raises(ValueError, match=r"'a\.b'"):
        ParameterTable([ParameterSpec("a.b", 0.0, 1.0), ParameterSpec("a.b", 0.0, 2.0)])


# ---- random patches


def distance_from_uniform(values: Tensor) -> Tensor:
    """Kolmogorov and Smirnov's distance of each column of (n, columns) from the uniform distribution in [0, 1]."""
    count = values.shape[0]
    ordered = values.double().sort(dim=0).values
    steps = torch.arange(count, dtype=torch.float64)[:, None] / count
    return torch.maximum((ordered - steps).amax(0), (steps + 1 / count - ordered).amax(0))


@each_voice
def test_draws_are_uniform_in_what_they_are_asked_for(voice: Synthesizer) -> None:
    count = 2000
    critical = 2.3 / count**0.5  # a chance of 5e-5 a knob
    low, high = (torch.tensor([getattr(spec, end) for spec in voice.specs]) for end in ("minimum", "maximum"))
    bent = torch.tensor([spec.curve != 1 for spec in voice.specs])
    units_patch = voice.draw(count, generator=generator(1), uniform_in="units")
    knobs_patch = voice.draw(count, generator=generator(1), uniform_in="knobs")
    for patch, other in ((units_patch, knobs_patch), (knobs_patch, units_patch)):
        assert patch.shape == (count, voice.size)
        assert patch.dtype == torch.float32
        assert patch.min() >= 0
        assert patch.max() <= 1
        assert not torch.allclose(patch, other)
    share = (voice.to_units(units_patch) - low) / (high - low)
    assert distance_from_uniform(share).max() < critical
    assert distance_from_uniform(knobs_patch).max() < critical
    # and each is far from the other wherever there is a curve
    assert distance_from_uniform(units_patch)[bent].min() > 0.09
    assert distance_from_uniform(units_patch)[~bent].max() < critical
    assert distance_from_uniform((voice.to_units(knobs_patch) - low) / (high - low))[bent].min() > 0.09


def test_knobs_of_one_draw_are_independent() -> None:
    patch = ALL[0].draw(4000, generator=generator(2))
    correlation = torch.corrcoef(patch.T) - torch.eye(78)
    assert correlation.abs().max() < 5.5 / 4000**0.5


def test_draws_follow_their_generator_alone() -> None:
    voice, before = ALL[0], torch.get_rng_state()
    first = voice.draw(5, generator=generator(3))
    assert torch.equal(first, voice.draw(5, generator=generator(3)))
    assert not torch.equal(first, voice.draw(5, generator=generator(4)))
    carried = generator(3)
    assert not torch.equal(voice.draw(5, generator=carried), voice.draw(5, generator=carried))
    assert not torch.equal(voice.draw(5), voice.draw(5))
    assert torch.equal(torch.get_rng_state(), before)
    assert voice.draw(0).shape == (0, 78)


# ---- readable patches


@each_voice
def test_describe_has_a_line_for_each_knob(voice: Synthesizer) -> None:
    patch = voice.draw(1, generator=generator(5))
    header, *lines = voice.describe(patch[0]).splitlines()
    assert header.split() == ["name", "group", "knob", "value", "unit"]
    assert voice.describe(patch) == voice.describe(patch[0])
    for spec, line, position, value in zip(
        voice.specs, lines, patch[0].tolist(), voice.to_units(patch)[0].tolist(), strict=True
    ):
        words = line.split()
        assert words[:2] == [spec.name, spec.group]
        assert float(words[2]) == pytest.approx(position, abs=6e-4)
        assert float(words[3]) == pytest.approx(value, abs=6e-4)
        assert words[4:] == ([spec.unit] if spec.unit else [])


# ---- bad arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_rate": 16000.0}, "sample_rate is 16000.0: give a whole number of at least 1000 Hz."),
        ({"sample_rate": 999}, "sample_rate is 999: give a whole number of at least 1000 Hz."),
        ({"seconds": 0}, "seconds is 0: give a length above 0."),
        ({"seconds": -1.0}, "seconds is -1.0: give a length above 0."),
        ({"seconds": 1e-9}, "seconds is 1e-09: give a length above 0."),
        ({"seconds": float("nan")}, "seconds is nan: give a length above 0."),
        ({"seconds": float("inf")}, "seconds is inf: give a length above 0."),
        ({"seconds": "long"}, "seconds is 'long': give a length above 0."),
        ({"control_rate": 0}, "control_rate is 0: give a rate from 1 Hz to the sample rate, 16000 Hz."),
        ({"control_rate": 2e4}, "control_rate is 20000.0: give a rate from 1 Hz to the sample rate, 16000 Hz."),
        ({"control_rate": "fast"}, "control_rate is 'fast': give a rate from 1 Hz to the sample rate, 16000 Hz."),
        ({"peak": "frist"}, "peak is 'frist': did you mean 'first'? Known: first, none, own."),
    ],
)
def test_bad_clocks_are_said_in_one_sentence(arguments: dict[str, object], message: str) -> None:
    for voice in VOICES.values():
        with pytest.raises(SoundalikeError, match=f"^{re.escape(message)}$"):
            voice(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (-1, 2, 0, 0), (1.0, 0, 0, 0), ("1", 0, 0, 0)])
def test_parametric_needs_an_oscillator(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(SoundalikeError, match=r"give whole numbers, at least one above 0\.$") as raised:
        Parametric(*counts, seconds=SHORT)
    assert str(counts) in str(raised.value)


@pytest.mark.parametrize("shape", [(77,), (2, 79), (1, 2, 78), ()])
def test_a_patch_of_the_wrong_shape_is_named(shape: tuple[int, ...]) -> None:
    message = f"^{re.escape(f'patch has shape {shape}: this voice takes (n, 78) or (78,).')}$"
    for use in (ALL[0], ALL[0].to_units, ALL[0].to_knobs, ALL[0].describe):
        with pytest.raises(SoundalikeError, match=message):
            use(torch.zeros(shape))


def test_other_bad_arguments() -> None:
    voice = ALL[0]
    with pytest.raises(SoundalikeError, match=r"^describe takes one patch, not 2: index the batch first\.$"):
        voice.describe(torch.zeros(2, 78))
    with pytest.raises(SoundalikeError, match=r"^uniform_in is 'unit': did you mean 'units'\? Known: knobs, units\.$"):
        voice.draw(2, uniform_in="unit")
    with pytest.raises(SoundalikeError, match=r"^count is -1: give 0 or more\.$"):
        voice.draw(-1)
    with pytest.raises(SoundalikeError, match=r"^noise and noise_seed are both given: give one of them\.$"):
        voice(torch.zeros(2, 78), noise_seed=0, noise=torch.zeros(800))
    for noise in (torch.zeros(799), torch.zeros(3, 800), torch.zeros(2, 1, 800)):
        with pytest.raises(SoundalikeError, match=r"^noise has shape .*: give \(800,\) or \(2, 800\)\.$"):
            voice(torch.zeros(2, 78), noise=noise)
    with pytest.raises(SoundalikeError, match=r"^noise_seed has shape \(3,\): give one seed, or \(2,\)\.$"):
        voice(torch.zeros(2, 78), noise_seed=[1, 2, 3])
