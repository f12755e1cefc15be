"""Textures: grains against a slow loop, and their statistics as one would count and measure them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from seeded import generator
from soundalike.synth import Texture
from soundalike.synth.grains import Grains, Process
from soundalike.synth.grid import Grid
from turning import turned

RATE = 16_000
TEXTURE = Texture()


def patch(voice: Texture = TEXTURE, count: int = 1, **units: float | Tensor) -> Tensor:
    """Tones of 2 kHz that come 20 times a second as they like, all alike, over a bed that is hardly heard."""
    plain: dict[str, float | Tensor] = {
        "grains__tonal": 16.0,
        "grains__regularity": -12.0,
        "grains__rate": math.log2(20.0),
        "grains__length": math.log2(0.004),
        "grains__rise": 0.02,
        "grains__centre": math.log2(2_000.0),
        "grains__sweep": 0.0,
        "grains__harmonics": 0.0,
        "grains__depth": 0.0,
        "grains__spread": 0.0,
        "grains__swell": 0.0,
        "bed__level": -45.0,
        "bed__peak": 0.0,
        "bed__swell": 0.0,
        "played__faster": 0.0,
        "played__higher": 0.0,
    }
    return turned(voice, torch.full((count, voice.size), 0.5), **plain | units)


def tones(count: int = 1, voice: Texture = TEXTURE, **units: float | Tensor) -> np.ndarray:
    """The tones of several takes of one texture, (count, samples)."""
    return voice.parts(patch(voice, count, **units), torch.arange(count))[:, 0].double().numpy()


def noise(count: int = 1, voice: Texture = TEXTURE, **units: float | Tensor) -> np.ndarray:
    """The noise of several takes of one texture, (count, samples)."""
    return voice.parts(patch(voice, count, **units), torch.arange(count))[:, 1].double().numpy()


def begun(seed: int = 0, **units: float | Tensor) -> list[int]:
    """Samples at which the grains of a take begin that begin within its first half."""
    keys = TEXTURE._noise_keys(seed, 1)
    found = TEXTURE.fallen(TEXTURE.to_units(patch(TEXTURE, 1, **units)), keys).onset[0].tolist()
    return [math.ceil(each) for each in found if 0 < each < RATE / 2]


def onsets(sound: np.ndarray) -> np.ndarray:
    """Samples at which a sound begins after at least 2 ms of silence."""
    loud = np.abs(sound) > 1e-2 * np.abs(sound).max()
    last = np.maximum.accumulate(np.where(loud, np.arange(len(sound)), -32))
    before = np.concatenate(([-32], last[:-1]))
    return np.flatnonzero(loud & (np.arange(len(sound)) - before >= 32))


# ---- where grains fall


@pytest.mark.parametrize("rate", [4.0, 25.0])
def test_regular_grains_come_at_their_rate(rate: float) -> None:
    for sound in tones(6, grains__regularity=8.0, grains__rate=math.log2(rate)):
        found = onsets(sound)
        assert abs(len(found) - rate) <= 1
        np.testing.assert_allclose(np.diff(found), RATE / rate, rtol=0.02)


def test_irregular_grains_come_like_a_poisson_process() -> None:
    counts = np.array([len(onsets(sound)) for sound in tones(150, grains__rate=math.log2(12.0))])
    assert counts.mean() == pytest.approx(12.0, rel=0.1)  # a few that overlap count as one
    assert counts.var() / counts.mean() == pytest.approx(0.9, abs=0.3)
    units = TEXTURE.to_units(patch(TEXTURE, 2_000, grains__rate=math.log2(12.0)))
    onset = TEXTURE.fallen(units, TEXTURE._noise_keys(None, 2_000)).onset
    exact = ((onset >= 0) & (onset < RATE)).sum(1).double()
    assert float(exact.mean()) == pytest.approx(12.0, abs=0.25)
    assert float(exact.var() / exact.mean()) == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize(("knob", "regularity"), [(-12.0, 0.0), (0.0, 0.5), (2.2, 0.9), (8.0, 1.0)])
def test_gaps_deviate_from_their_mean_as_regularity_says(knob: float, regularity: float) -> None:
    voice = Texture(seconds=4.0)
    units = voice.to_units(patch(voice, 60, grains__regularity=knob, grains__rate=math.log2(100.0)))
    gaps = voice.fallen(units, voice._noise_keys(None, 60)).onset.double().diff(dim=1) / RATE
    assert float(gaps.mean()) == pytest.approx(1.0 / 100.0, rel=0.02)
    assert float(gaps.std() / gaps.mean()) == pytest.approx(1.0 - regularity, abs=0.02)


@pytest.mark.parametrize("rate", [1.5, 6.0, 250.0])
@pytest.mark.parametrize("regularity", [-12.0, 8.0])
def test_grains_fill_the_sound_and_one_at_least_begins_within_it(rate: float, regularity: float) -> None:
    knobs = patch(TEXTURE, 1000, grains__regularity=regularity, grains__rate=math.log2(rate), played__faster=0.25)
    grains = TEXTURE.fallen(TEXTURE.to_units(knobs), TEXTURE._noise_keys(None, 1000))
    begins = grains.onset / RATE
    assert ((begins >= 0) & (begins < 1.0)).any(1).all()
    assert float((begins[:, -1] > 1.0).float().mean()) > 0.99
    assert float((begins[:, 0] < 0.0).float().mean()) > 0.99
    inside = ((begins >= 0) & (begins < 1.0)).sum(1).float().mean()
    if rate > 2.0:  # rarer ones come more often than their rate says, as one at least does
        assert float(inside) == pytest.approx(rate * 2**0.25, rel=0.05)


def test_another_seed_is_another_take_with_the_same_statistics() -> None:
    knobs = patch(TEXTURE, 2, grains__rate=math.log2(100.0), grains__length=math.log2(0.02))
    first, second = TEXTURE.parts(knobs, torch.tensor([1, 2]))[:, 0]
    assert abs(float(torch.corrcoef(torch.stack((first, second)))[0, 1])) < 0.2
    assert float(first.std()) == pytest.approx(float(second.std()), rel=0.3)
    assert torch.equal(TEXTURE.parts(knobs[:1], 1)[0, 0], first)


def test_a_take_may_be_a_little_faster_and_higher() -> None:
    (sound,) = tones(grains__regularity=8.0, played__faster=0.25, played__higher=0.1)
    assert np.diff(onsets(sound)).mean() == pytest.approx(RATE / (20.0 * 2**0.25), rel=0.01)
    spectrum = np.abs(np.fft.rfft(sound))
    assert (spectrum**2 @ np.arange(len(spectrum))) / (spectrum**2).sum() == pytest.approx(2_000 * 2**0.1, rel=0.02)


# ---- what a grain is


def slow(grains: Grains, length: float, rise: float, sweep: float, samples: int) -> np.ndarray:
    """Every grain of one sound, one after the other: tones of the first three harmonics."""
    sound = np.zeros(samples)
    numbers = zip(*(each.double().numpy() for each in grains), strict=True)
    for onset, amplitude, _, step, second, third in numbers:
        age = np.arange(samples) - onset
        through = age / length
        falling = np.clip((1.0 - through) / (1.0 - rise), 0.0, 1.0) ** 3
        envelope = np.clip(through / rise, 0.0, 1.0) * falling
        angle = 2 * np.pi * step * age * (1.0 + 0.5 * (2.0**sweep - 1.0) * through)
        wave = np.sin(angle) + second * np.cos(2 * angle) + third * np.sin(3 * angle)
        sound += amplitude * envelope * wave
    return sound


@pytest.mark.parametrize("sweep", [0.0, -1.0, 0.7])
def test_grains_are_those_of_a_slow_loop(sweep: float) -> None:
    samples, length, rise = 4_000, 300.0, 0.3
    grid = Grid(samples, 120, RATE)
    process = Process(grid, 60.0).double()
    drawn = torch.rand(2, process.draws, generator=generator(0), dtype=torch.float64)
    ones = torch.ones(2, 1, dtype=torch.float64)
    onset, first, second = process.fall(drawn, 60.0 * ones, 0.6 * ones)
    tones = process.tones(9.0 + 2.0 * second, sweep * ones, 0.5 * ones)
    grains = Grains(onset, first, 9.0 + 2.0 * second, *tones)
    shape = (ones / (length * (1 - rise)), ones / (length * rise), 0.5 * (2.0**sweep - 1.0) / length * ones)
    played, amplitudes = process.play(process.played(grains), *shape)
    for row in range(2):
        expected = slow(Grains(*(each[row] for each in grains)), length, rise, sweep, samples)
        found = grid.waveform(played)[row].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert float(amplitudes.min()) >= 0.0


def test_a_grain_that_is_cut_off_fades() -> None:
    (sound,) = tones(
        grains__rate=math.log2(200.0), grains__length=math.log2(0.4), grains__rise=0.6, grains__centre=math.log2(200.0)
    )
    assert np.abs(np.diff(sound)).max() < 0.2 * np.abs(sound).max()  # a click would be a jump of its whole height


def test_a_grain_is_as_long_as_its_length() -> None:
    knobs = {"grains__regularity": 8.0, "grains__rate": math.log2(4.0), "grains__length": math.log2(0.1)}
    (sound,), begin = tones(**knobs), begun(**knobs)[0]
    assert np.abs(sound[begin + 1_620 : begin + 3_900]).max() == 0.0
    assert np.abs(sound[begin + 1_500 : begin + 1_600]).max() > 0.0
    early, late = (np.abs(sound[begin + at - 8 : begin + at + 8]).max() for at in (400, 1_200))
    assert late / early == pytest.approx((0.25 / 0.75) ** 3, rel=0.05)


@pytest.mark.parametrize("sweep", [-1.0, 1.0])
def test_a_tone_sweeps(sweep: float) -> None:
    knobs = {"grains__regularity": 8.0, "grains__rate": math.log2(3.0), "grains__length": math.log2(0.2)}
    knobs |= {"grains__sweep": sweep, "grains__rise": 0.6}
    (sound,), begin = tones(**knobs), begun(**knobs)[0]
    for through in (0.2, 0.6):
        middle = begin + round(through * 3_200)
        piece = sound[middle - 250 : middle + 250] * np.hanning(500)
        peak = np.abs(np.fft.rfft(piece, RATE)).argmax()
        assert peak == pytest.approx(2_000 * (1.0 + (2.0**sweep - 1.0) * through), rel=0.03)


def test_no_grain_passes_half_the_sample_rate() -> None:
    (sound,) = tones(grains__centre=math.log2(6_500.0), grains__sweep=1.5, grains__harmonics=0.9, grains__length=-2.0)
    spectrum = np.abs(np.fft.rfft(sound))
    assert spectrum[7_600:].max() < 0.05 * spectrum.max()
    assert spectrum[:1_000].max() < 0.05 * spectrum.max()  # where what passed it would be mirrored to


def test_noise_of_grains_stands_in_their_band() -> None:
    knobs = {"grains__tonal": -20.0, "grains__rate": math.log2(200.0), "grains__length": math.log2(0.05)}
    sounds = noise(40, **knobs, grains__width=math.log2(0.3))
    power = (np.abs(np.fft.rfft(sounds)) ** 2).mean(0)

    def at(hertz: float) -> float:
        return 10 * math.log10(power[round(hertz) - 25 : round(hertz) + 26].mean())

    assert at(2_000 * 2**0.3) - at(2_000) == pytest.approx(-6.0, abs=0.7)
    assert at(2_000 / 2**0.3) - at(2_000) == pytest.approx(-6.0, abs=0.7)
    assert at(500) - at(2_000) < -25.0


def test_noise_moves_with_its_sweep() -> None:
    knobs = {"grains__tonal": -20.0, "grains__regularity": 8.0, "grains__rate": math.log2(2.0), "grains__rise": 0.3}
    knobs |= {"grains__length": math.log2(0.4), "grains__sweep": -1.0, "grains__width": math.log2(0.1)}
    power = np.zeros((2, 4_500))
    for seed, sound in enumerate(noise(20, **knobs)):
        begin = begun(seed, **knobs)[0]
        for row, through in zip(power, (0.1, 0.6), strict=True):
            piece = sound[begin + round(through * 6_400) :][:1_000] * np.hanning(1_000)
            row += np.abs(np.fft.rfft(piece, RATE)[:4_500]) ** 2
    early, late = power @ np.arange(4_500) / power.sum(1)
    # octaves move evenly with time: by 0.18 of the sweep at the middle of the first piece, 0.68 at that of the second
    assert math.log2(early / 2_000) == pytest.approx(-0.18, abs=0.1)
    assert math.log2(late / 2_000) == pytest.approx(-0.68, abs=0.1)


def test_depth_and_spread_are_those_of_the_grains() -> None:
    knobs = patch(TEXTURE, 40, grains__depth=20.0, grains__spread=0.5, grains__rate=math.log2(200.0))
    grains = TEXTURE.fallen(TEXTURE.to_units(knobs), TEXTURE._noise_keys(None, 40))
    decibels = 20.0 * grains.amplitude.log10()
    assert float(decibels.min()) == pytest.approx(-20.0, abs=0.1)
    assert float(decibels.mean()) == pytest.approx(-10.0, abs=0.3)
    apart = grains.octave - math.log2(2_000.0)
    assert float(apart.abs().max()) == pytest.approx(0.5, abs=0.01)
    assert float(apart.mean()) == pytest.approx(0.0, abs=0.02)


# ---- the bed, and levels


@pytest.mark.parametrize("tilt", [-12.0, -6.0, 0.0, 3.0])
def test_the_bed_has_its_slope(tilt: float) -> None:
    sounds = noise(60, bed__level=10.0, bed__tilt=tilt)
    # a window, since the low end of a steep slope would leak over its high end
    power = (np.abs(np.fft.rfft(sounds * np.hanning(sounds.shape[1]))) ** 2).mean(0)
    middles = 2.0 ** np.arange(7.5, 12.6, 0.5)
    levels = [10 * math.log10(power[round(m / 1.1) : round(m * 1.1)].mean()) for m in middles]
    assert np.polyfit(np.log2(middles), levels, 1)[0] == pytest.approx(tilt, abs=0.25)


def test_the_bed_may_have_a_peak() -> None:
    sounds = noise(60, bed__level=10.0, bed__tilt=0.0, bed__peak=20.0, bed__centre=10.0, bed__width=math.log2(0.5))
    power = (np.abs(np.fft.rfft(sounds)) ** 2).mean(0)
    assert 10 * math.log10(power[1_000:1_050].mean() / power[6_000:7_000].mean()) == pytest.approx(20.0, abs=1.2)


@pytest.mark.parametrize("tonal", [16.0, -20.0])
@pytest.mark.parametrize(("rate", "length", "depth"), [(200.0, 0.01, 0.0), (60.0, 0.02, 30.0)])
def test_the_level_of_the_bed_is_against_the_grains(tonal: float, rate: float, length: float, depth: float) -> None:
    knobs = patch(
        TEXTURE,
        60,
        grains__tonal=tonal,
        grains__rate=math.log2(rate),
        grains__length=math.log2(length),
        grains__depth=depth,
        grains__regularity=8.0,
        grains__harmonics=0.6,
        grains__centre=math.log2(1_000.0),
    )
    seeds = torch.arange(60)
    grains = TEXTURE.parts(knobs, seeds).sum(1)
    both = TEXTURE.parts(turned(TEXTURE, knobs, bed__level=0.0), seeds).sum(1)
    bed = (both - grains).square().mean().sqrt()  # all but what is of the bed at -45 dB
    assert 20 * math.log10(float(bed / grains.square().mean().sqrt())) == pytest.approx(0.0, abs=1.0)


def test_both_swell() -> None:
    knobs = {"bed__swell__rate": 2.0, "played__swell": 0.0}
    swelling = noise(20, bed__level=10.0, bed__swell=20.0, bed__tilt=0.0, **knobs)
    power = np.sqrt(np.square(swelling).reshape(20, 40, 400).mean((0, 2)))
    assert 20 * math.log10(power.max() / power.min()) == pytest.approx(20.0, abs=1.5)
    turning = np.abs(np.fft.rfft(np.log(power)))
    assert turning[1:].argmax() + 1 == 4
    (grains,) = tones(grains__rate=math.log2(200.0), grains__regularity=8.0, grains__swell=20.0, **knobs)
    peaks = np.abs(grains).reshape(40, 400).max(1)
    assert 20 * math.log10(peaks.max() / peaks.min()) == pytest.approx(20.0, abs=2.0)


# ---- what it knows


def test_targets_are_the_statistics_as_they_are_played() -> None:
    voice = Texture(seconds=0.4)
    knobs = voice.draw(70, generator=generator(0), uniform_in="knobs")
    sound, targets = voice.with_targets(knobs, torch.arange(70))
    torch.testing.assert_close(sound, voice(knobs, torch.arange(70)), rtol=0, atol=1e-6)
    assert list(targets) == [spec.name for spec in voice.target_specs]
    names, units = [spec.name for spec in voice.specs], voice.to_units(knobs)

    def unit(name: str) -> Tensor:
        return units[:, names.index(name)]

    torch.testing.assert_close(targets["rate"].value[:, 0], unit("grains.rate") + unit("played.faster"))
    torch.testing.assert_close(targets["centre"].value[:, 0], unit("grains.centre") + unit("played.higher"))
    torch.testing.assert_close(targets["regularity"].value[:, 0], torch.sigmoid(unit("grains.regularity")))
    assert torch.equal(targets["width"].mask, unit("grains.tonal") < 0)
    assert (targets["length"].value[:, 0] <= unit("grains.length") + 1e-5).all()
    few = 2 ** targets["rate"].value[:, 0] * 0.4 < 3
    assert torch.equal(targets["regularity"].mask, ~few)
    for spec in voice.target_specs:
        value, mask = targets[spec.name]
        assert value.shape == (70, *((5,) if spec.per == "frame" else ()), spec.size)
        assert value.isfinite().all()
        normal = (value[mask] - spec.centre) / spec.spread
        assert 0.3 < float(normal.square().mean().sqrt()) < 2.0, spec.name


def test_the_share_of_noise_follows_grains_and_bed() -> None:
    quiet, loud = (TEXTURE.targets(patch(TEXTURE, 1, bed__level=level), 0)["noise_share"] for level in (-45.0, 10.0))
    assert float(loud.value.min()) > 0.5
    assert float(quiet.value[quiet.mask].min()) < 0.01  # where a tone sounds
    hissing = TEXTURE.targets(patch(TEXTURE, 1, grains__tonal=-20.0), 0)["noise_share"]
    assert float(hissing.value.min()) > 0.99


def test_groups_say_what_are_its_statistics_and_what_is_this_time() -> None:
    groups = {spec.name: spec.group for spec in TEXTURE.specs}
    assert groups["grains.rate"] == groups["bed.tilt"] == "content"
    assert groups["grains.tonal"] == groups["grains.regularity"] == "kind"
    assert groups["played.faster"] == groups["played.higher"] == "play"
    assert groups["played.swell"] == "phase"
