"""Bodies: sums of partials against a slow loop, and what a physicist would measure of a sound against its knobs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from seeded import generator
from soundalike.synth import Body
from soundalike.synth.body import PARTIALS
from soundalike.synth.modal import Modes, Partials, read
from soundalike.synth.targets import step_middles
from turning import turned

RATE = 16_000
BODY = Body()


def patch(voice: Body = BODY, count: int = 1, **units: float | Tensor) -> Tensor:
    """A harmonic body at 200 Hz that is struck at once, decays within 2 s and has no noise; and other units."""
    plain: dict[str, float | Tensor] = {
        "body__inharmonic": -20.0,
        "body__sustained": -20.0,
        "body__hollow": -20.0,
        "body__register": math.log2(200.0),
        "body__stiffness": -6.0,
        "body__decay": 1.0,
        "body__damping": 0.0,
        "body__tilt": -2.0,
        "body__glide": 0.0,
        "body__tremolo": 0.0,
        "body__noise__level": -50.0,
        "played__pitch": 0.0,
        "played__place": 0.03,
        "played__onset": 0.0,
        "played__length": 1.2 * voice.seconds,
        "played__vibrato": 0.0,
    }
    plain |= {f"resonance_{i}__gain": 0.0 for i in range(1, 6)}
    return turned(voice, torch.full((count, voice.size), 0.5), **plain | units)


def tone(voice: Body = BODY, **units: float | Tensor) -> np.ndarray:
    """The partials of one such body, before any place: (samples,)."""
    return voice.parts(patch(voice, **units))[0, 0].double().numpy()


def envelope(sound: np.ndarray, hertz: float, width: int = 800) -> np.ndarray:
    """Amplitude of one partial over time: the sound turned back by its frequency, smoothed by a Hann window."""
    turning = np.exp(-2j * np.pi * hertz * np.arange(len(sound)) / RATE)
    window = np.hanning(width)
    return 2.0 * np.abs(np.convolve(sound * turning, window / window.sum(), mode="same"))


def frequency(sound: np.ndarray, near: float) -> float:
    """Where the spectrum of a sound peaks within a twentieth of some frequency, in Hz."""
    length = 16 * len(sound)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), length))
    hertz = np.fft.rfftfreq(length, 1.0 / RATE)
    inside = np.abs(hertz / near - 1.0) < 0.05
    return float(hertz[inside][spectrum[inside].argmax()])


def decibels(ratio: float) -> float:
    return 20.0 * math.log10(ratio)


# ---- sums of partials


def drawn_partials(count: int, seed: int) -> Partials:
    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 7, generator=generator(seed), dtype=torch.float64)

    return Partials(uniform(50.0, 7_000.0), uniform(0.0, 1.0), uniform(0.0, 60.0), uniform(0.0, 1.0))


@pytest.mark.parametrize("samples", [1, 127, 128, 5_000])
def test_a_sum_of_partials_is_that_of_a_slow_loop(samples: int) -> None:
    partials = drawn_partials(2, samples)
    modes = Modes(samples, RATE).double()
    sums, slopes = modes.sums(*modes.factors(partials))
    time = np.arange(samples) / RATE
    assert sums.shape[1] > samples
    for row in range(2):
        expected = np.zeros(samples, complex)
        slope = np.zeros(samples, complex)
        for hertz, amplitude, rate, cycles in zip(*(each[row].numpy() for each in partials), strict=True):
            power = 2j * np.pi * hertz - rate
            wave = amplitude * np.exp(power * time + 2j * np.pi * cycles)
            expected, slope = expected + wave, slope + power / RATE * wave
        np.testing.assert_allclose(sums[row, :samples].numpy(), expected.real, atol=1e-9)
        np.testing.assert_allclose(slopes[row, :samples].numpy(), slope.real, atol=1e-9)


def test_single_precision_keeps_the_phase_of_a_long_sound() -> None:
    partials = drawn_partials(3, 1)
    single, double = Modes(8 * RATE, RATE), Modes(8 * RATE, RATE).double()
    exact = double.sums(*double.factors(partials))[0]
    rounded = single.sums(*single.factors(Partials(*(each.float() for each in partials))))[0]
    held = partials.rate.sum(1) > 0
    assert float((rounded - exact)[held].abs().max()) < 0.03 * float(exact.abs().max())


@pytest.mark.parametrize(("hertz", "error"), [(1_000.0, 1e-4), (2_000.0, 1.3e-3), (4_000.0, 0.017)])
def test_reading_between_samples(hertz: float, error: float) -> None:
    at = torch.arange(200, dtype=torch.float64)
    angle = 2.0 * math.pi * hertz / RATE
    place = 150.0 * torch.rand(2, 3, 40, generator=generator(0), dtype=torch.float64)
    sound, slope = torch.sin(angle * at).expand(2, -1), angle * torch.cos(angle * at).expand(2, -1)
    found = read(sound, slope, place.floor().long(), place - place.floor())
    assert found.shape == place.shape
    difference = (found - torch.sin(angle * place)).abs().max()
    assert 0.2 * error < float(difference) < error


# ---- what it is


@pytest.mark.parametrize("stiffness", [-6.0, -4.0, -3.2])
def test_partials_of_a_stiff_body_stand_where_its_stiffness_says(stiffness: float) -> None:
    sound = tone(body__stiffness=stiffness)
    for number in range(1, 13):
        expected = 200.0 * number * math.sqrt(1.0 + 10.0**stiffness * number**2)
        assert frequency(sound, expected) == pytest.approx(expected, abs=0.3)


def test_inharmonic_partials_stand_where_their_steps_say() -> None:
    steps = torch.tensor([0.3, -0.5, 0.8, 0.1])
    knobs = {f"mode_{k}__step": float(step) for k, step in enumerate(steps, start=2)}
    sound = tone(body__inharmonic=20.0, body__spread=1.2, **knobs)
    for ratio in (1.0 + torch.cumsum(torch.exp2(steps), 0)) ** 1.2:
        assert frequency(sound, 200.0 * float(ratio)) == pytest.approx(200.0 * float(ratio), abs=0.3)


@pytest.mark.parametrize(("seconds", "damping"), [(0.6, 0.0), (0.6, 0.5), (2.0, 1.0)])
def test_a_partial_decays_at_its_rate(seconds: float, damping: float) -> None:
    sound = tone(body__decay=math.log2(seconds), body__damping=damping)
    for number in (1, 2, 5):
        curve = 20.0 * np.log10(envelope(sound, 200.0 * number))
        late = slice(1_000, 3_000)
        slope = np.polyfit(np.arange(RATE)[late] / RATE, curve[late], 1)[0]  # dB a second
        assert slope == pytest.approx(-60.0 / seconds * number**damping, rel=0.02)


def test_a_sustained_body_goes_on_until_it_is_let_go() -> None:
    sound = tone(body__sustained=12.0, played__length=0.5, body__release=math.log2(0.2))
    curve = 20.0 * np.log10(envelope(sound, 200.0))
    assert curve[3_500] == pytest.approx(curve[7_000], abs=0.1)
    assert curve[9_000] - curve[10_600] == pytest.approx(0.1 * 60.0 / 0.2, rel=0.02)  # dB within 0.1 s


def test_even_partials_of_a_hollow_body_are_weak() -> None:
    full, hollow = tone(), tone(body__hollow=10.0)

    def ratio(sound: np.ndarray) -> float:
        return decibels(envelope(sound, 400.0)[2_000] / envelope(sound, 200.0)[2_000])

    assert ratio(full) - ratio(hollow) == pytest.approx(30.0, abs=0.3)


def test_a_resonance_lifts_the_partials_that_it_meets_at_any_pitch() -> None:
    lifted = {"resonance_2__centre": math.log2(1_000.0), "resonance_2__width": math.log2(100.0)}
    for pitch, number in ((200.0, 5), (500.0, 2)):

        def level(gain: float, pitch: float = pitch, number: int = number) -> float:
            sound = tone(body__register=math.log2(pitch), resonance_2__gain=gain, **lifted)
            first, met = (envelope(sound, pitch * k)[3_000] for k in (1, number))
            return decibels(met / first)

        below = 18.0 / (1.0 + ((1_000.0 - pitch) / 100.0) ** 2)  # what it lifts the first partial by
        assert level(18.0) - level(0.0) == pytest.approx(18.0 - below, abs=0.2)


def test_no_partial_is_heard_beyond_half_the_sample_rate() -> None:
    sound = tone(body__register=math.log2(900.0), played__pitch=1.0, body__range=14.0, body__sustained=12.0)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(RATE)))
    pitch = 900.0 * 2 ** (14 / 12)
    near = np.abs(np.arange(len(spectrum)) / pitch - np.round(np.arange(len(spectrum)) / pitch)) * pitch < 20.0
    assert spectrum[~near].max() < 1e-3 * spectrum.max()  # a mirrored partial would stand between the others


@pytest.mark.parametrize("level", [-40.0, -10.0])
def test_noise_is_as_loud_as_its_level_against_the_first_moment_of_the_partials(level: float) -> None:
    alike = {"body__noise__decay": math.log2(3.0), "body__decay": math.log2(3.0), "played__hardness": 0.0}
    knobs = patch(BODY, 16, body__noise__level=level, **alike)
    partials, noise = BODY.parts(knobs, torch.arange(16))[..., 500:2_500].square().mean((0, 2)).sqrt().tolist()
    assert decibels(noise / partials) == pytest.approx(level, abs=0.8)


def test_noise_stands_in_its_band_and_decays() -> None:
    knobs = patch(
        BODY,
        30,
        body__noise__level=0.0,
        body__noise__centre=math.log2(2_000.0),
        body__noise__width=0.3,
        body__noise__decay=math.log2(0.5),
    )
    noise = BODY.parts(knobs, torch.arange(30))[:, 1].double()
    power = torch.fft.rfft(noise[:, :4_000]).abs().square().mean(0)  # 4 Hz a bin
    at = {hertz: float(power[hertz // 4 - 8 : hertz // 4 + 9].mean()) for hertz in (2_000, 2_462, 1_625, 4_000)}
    assert 10 * math.log10(at[2_462] / at[2_000]) == pytest.approx(-6.0, abs=1.0)  # 0.3 octaves above, and below
    assert 10 * math.log10(at[1_625] / at[2_000]) == pytest.approx(-6.0, abs=1.0)
    assert at[4_000] < 0.02 * at[2_000]
    early, late = (noise[:, start : start + 1_000].square().mean().sqrt() for start in (1_000, 5_000))
    assert decibels(float(early / late)) == pytest.approx(60.0 / 0.5 * 0.25, abs=1.0)


# ---- how it is played


def test_a_harder_hit_is_brighter_sooner_there_and_noisier() -> None:
    hardness = torch.linspace(-1.0, 1.0, 5)
    knobs = patch(BODY, 5, played__hardness=hardness, body__noise__level=-20.0, body__tilt=-8.0)
    partials, noise = BODY.parts(knobs, 0).unbind(1)
    power = torch.fft.rfft(partials).abs().square()
    centroid = (power * torch.arange(power.shape[1])).sum(1) / power.sum(1)  # Hz
    assert (centroid.diff() > 0).all()
    assert float(centroid[-1]) > 1.5 * float(centroid[0])
    assert (noise.square().mean(1).diff() > 0).all()
    _, _, _, _, *control = BODY.control(BODY.to_units(knobs), torch.zeros(480))
    assert (control[6][:, 0].diff() > 0).all()  # inverse of the attack


def test_it_begins_at_its_onset_and_rises_within_its_attack() -> None:
    knobs = {"body__sustained": 12.0, "body__attack__sustained": math.log2(0.1), "played__onset": 0.25}
    sound = tone(**knobs)
    assert np.abs(sound[:4_000]).max() == 0.0
    curve = envelope(sound, 200.0, 160)
    full = curve[8_000]
    assert curve[4_800] == pytest.approx(0.75 * full, rel=0.02)  # half-way through: 1 - (1 - 1/2)²
    assert curve[5_700] == pytest.approx(full, rel=0.02)


def test_pitch_is_a_place_in_the_range_of_the_body() -> None:
    for place in (-1.0, 0.5):
        expected = 200.0 * 2 ** (place * 6.0 / 12.0)
        assert frequency(tone(body__range=6.0, played__pitch=place), expected) == pytest.approx(expected, abs=0.3)


def test_a_partial_struck_in_its_node_is_weak() -> None:
    sound = tone(played__place=0.25)
    fourth, third = (envelope(sound, 200.0 * number)[2_000] for number in (4, 3))
    assert decibels(fourth / third) < -8.0


def pitches(sound: np.ndarray, hertz: float) -> np.ndarray:
    """Frequency of one partial at every sample, in Hz."""
    turning = np.exp(-2j * np.pi * hertz * np.arange(len(sound)) / RATE)
    window = np.hanning(480)
    phase = np.unwrap(np.angle(np.convolve(sound * turning, window / window.sum(), mode="same")))
    return hertz + np.gradient(phase) * RATE / (2 * np.pi)


def test_vibrato_moves_the_pitch_as_its_knobs_say_and_the_target_does() -> None:
    knobs = {"body__sustained": 12.0, "played__vibrato": 0.4, "played__vibrato__rate": 5.0}
    found = pitches(tone(**knobs), 200.0)[2_000:14_000]
    assert found.max() == pytest.approx(200.0 * 2 ** (0.4 / 12), abs=0.4)
    assert found.max() - found.min() == pytest.approx(2 * 200.0 * (2 ** (0.4 / 12) - 1), abs=0.6)
    target = BODY.targets(patch(**knobs))["f0"].value[0, 2:-1, 0]
    middles = (step_middles(1.0)[2:-1] * RATE).round().long().numpy()
    np.testing.assert_allclose(np.exp2(target.numpy()), pitches(tone(**knobs), 200.0)[middles], atol=0.5)


def test_a_glide_comes_down_to_the_pitch() -> None:
    found = pitches(tone(body__glide=0.5, body__glide__time=math.log2(0.05), body__decay=3.5), 200.0)
    assert found[1_600] == pytest.approx(200.0 * (1.0 + 0.5 * math.exp(-0.1 / 0.05)), abs=1.5)
    assert found[8_000] == pytest.approx(200.0, abs=0.2)


def test_an_onset_between_samples_is_one() -> None:
    early, between, late = (tone(played__onset=0.1 + shift / RATE) for shift in (0.0, 0.5, 1.0))
    inside = slice(2_000, 12_000)
    np.testing.assert_allclose(late[1:][inside], early[:-1][inside], atol=0.02 * np.abs(early).max())
    turning = np.exp(-1j * np.pi * np.fft.rfftfreq(len(early)))  # half a sample later
    moved = np.fft.irfft(np.fft.rfft(early) * turning)
    np.testing.assert_allclose(between[inside], moved[inside], atol=0.02 * np.abs(early).max())


# ---- what it knows


def test_targets_are_those_of_the_knobs() -> None:
    voice = Body(seconds=0.4)
    knobs = voice.draw(70, generator=generator(0), uniform_in="knobs")
    sound, targets = voice.with_targets(knobs, torch.arange(70))
    torch.testing.assert_close(sound, voice(knobs, torch.arange(70)), rtol=0, atol=1e-6)
    assert list(targets) == [spec.name for spec in voice.target_specs]
    names, units = [spec.name for spec in voice.specs], voice.to_units(knobs)

    def unit(name: str) -> Tensor:
        return units[:, names.index(name)]

    for name in ("tilt", "decay", "damping", "stiffness"):
        assert torch.equal(targets[name].value[:, 0], unit(f"body.{name}"))
    assert torch.equal(targets["hardness"].value[:, 0], unit("played.hardness"))
    assert torch.equal(targets["decay"].mask, unit("body.sustained") < 0)
    assert torch.equal(targets["stiffness"].mask, unit("body.inharmonic") < 0)
    assert not targets["f0"].mask[unit("body.inharmonic") > 0].any()
    for spec in voice.target_specs:
        value, mask = targets[spec.name]
        assert value.shape == (70, *((5,) if spec.per == "frame" else ()), spec.size)
        assert value.isfinite().all()
        assert mask.any()
        normal = (value[mask] - spec.centre) / spec.spread
        assert 0.3 < float(normal.square().mean().sqrt()) < 2.0, spec.name


def test_the_share_of_noise_and_the_levels_are_those_of_the_parts() -> None:
    knobs = patch(BODY, 1, body__noise__level=-6.0, body__sustained=12.0, played__onset=0.3)
    partials, noise = BODY.parts(knobs, 3)[0].double()
    targets = BODY.targets(knobs, 3)
    for step in (5, 9):
        middle = round(float(step_middles(1.0)[step]) * RATE)
        near = slice(middle - 640, middle + 640)
        share = float(noise[near].square().mean() / (noise[near].square().mean() + partials[near].square().mean()))
        assert float(targets["noise_share"].value[0, step, 0]) == pytest.approx(share, abs=0.05)
    levels = targets["levels"].value[0]
    assert float((10.0 ** (levels / 10.0)).sum(1).max()) == pytest.approx(1.0, abs=1e-3)  # of the loudest step
    assert float(levels[:3].max()) == pytest.approx(-60.0, abs=0.1)  # nothing before the onset
    assert not targets["noise_share"].mask[0, :3].any()
    assert targets["f0"].mask[0, 6:].all()


def test_a_loud_place_does_not_move_what_is_known() -> None:
    quiet = patch()
    loud = turned(BODY, quiet, place__background__level=0.0, place__room__level=-5.0, place__tilt=-4.0)
    for told, other in zip(BODY.targets(quiet).values(), BODY.targets(loud).values(), strict=True):
        assert torch.equal(told.value, other.value)


def test_groups_say_what_is_this_body_and_what_is_this_time() -> None:
    groups = {spec.name: spec.group for spec in BODY.specs}
    assert groups["body.decay"] == groups["mode_2.step"] == groups["resonance_1.gain"] == "content"
    assert groups["body.inharmonic"] == "kind"
    assert groups["played.hardness"] == groups["played.onset"] == "play"
    assert groups["played.pitch"] == "pitch"
    assert groups["partial_1.phase"] == "phase"
    assert {group for name, group in groups.items() if name.startswith("place.")} == {"room"}
    assert sum(name.startswith("partial_") for name in groups) == PARTIALS
