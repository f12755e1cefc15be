"""Places: what the equaliser, the echo, the room, the distance, the background and the level do to a sound."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from seeded import generator
from soundalike.core import random
from soundalike.synth.parameter import ParameterTable
from soundalike.synth.place import LOUDNESS, RUN, Place, fast_length

RATE = 16_000
PLAIN = {
    "tilt": 0.0, "low_cut": math.log2(20.0), "high_cut": math.log2(24_000.0), "band_1.gain": 0.0, "band_2.gain": 0.0,
    "echo.level": -40.0, "room.level": -45.0, "distance": -1.0, "background.level": -55.0, "background.tilt": 0.0,
    "level": 0.0,
}  # fmt: skip


def placed(samples: int = RATE) -> tuple[Place, ParameterTable]:
    place = Place(samples, RATE)
    assert place.place(0) == len(place.specs)
    return place, ParameterTable(place.specs)


def at(table: ParameterTable, count: int = 1, **units: float) -> Tensor:
    """Units of a plain place but for these; ``__`` stands for a dot."""
    wanted = PLAIN | {name.replace("__", "."): value for name, value in units.items()}
    middle = table.to_units(torch.full((1, len(table.specs)), 0.5))[0]
    values = [
        wanted.get(spec.name.removeprefix("place."), float(m)) for spec, m in zip(table.specs, middle, strict=True)
    ]
    return torch.tensor([values]).expand(count, -1)


def keys(*seeds: int) -> Tensor:
    return random.noise_keys(torch.tensor(seeds))


def click(samples: int = RATE) -> Tensor:
    sound = torch.zeros(1, samples)
    sound[0, 100] = 1.0
    return sound


def white(seed: int, count: int = 1) -> Tensor:
    return torch.randn(count, RATE, generator=generator(seed))


def decibels(ratio: Tensor) -> float:
    return 10.0 * math.log10(float(ratio))


def band(sound: Tensor, low: float, high: float) -> Tensor:
    """Energy between two frequencies in Hz, of one sound (1, samples)."""
    spectrum = torch.fft.rfft(sound[0]).abs().square()
    hertz = torch.fft.rfftfreq(sound.shape[1], 1 / RATE)
    return spectrum[(hertz >= low) & (hertz < high)].sum()


def test_every_knob_is_of_the_room() -> None:
    place, _ = placed()
    assert {spec.group for spec in place.specs} == {"room"}
    assert {spec.name.split(".")[0] for spec in place.specs} == {"place"}
    assert all(spec.unit for spec in place.specs)


def test_a_plain_place_leaves_a_sound_as_it_is() -> None:
    place, table = placed()
    sound = white(0)
    heard = place(at(table), sound, keys(1))
    assert float(torch.corrcoef(torch.cat((sound, heard)))[0, 1]) > 0.995


@pytest.mark.parametrize("level", [0.0, -24.0])
@pytest.mark.parametrize("knobs", [{}, {"room__level": -5.0, "room__decay": 0.3}, {"tilt": -4.0}, {"distance": 3.0}])
def test_level_is_that_of_the_sound_as_it_is_heard(level: float, knobs: dict[str, float]) -> None:
    place, table = placed()
    for loudness in (1e-3, 1.0, 30.0):
        heard = place(at(table, level=level, **knobs), loudness * white(2), keys(1))
        assert float(heard.square().mean().sqrt()) == pytest.approx(LOUDNESS * 10 ** (level / 20), rel=0.02)


@pytest.mark.parametrize("tilt", [0.0, -6.0, -12.0])
@pytest.mark.parametrize("equaliser", [0.0, -4.0])
def test_background_has_its_level_and_its_slope(tilt: float, equaliser: float) -> None:
    place, table = placed()
    units = at(table, 40, background__level=0.0, background__tilt=tilt, tilt=equaliser)
    heard = place(units, torch.zeros(40, RATE), keys(*range(40)))
    assert float(heard.square().mean().sqrt()) == pytest.approx(LOUDNESS, rel=0.06)
    power = torch.fft.rfft(heard * torch.hann_window(RATE)).abs().square().mean(0)
    octaves = [decibels(power[2 * f : 4 * f].mean() / power[f : 2 * f].mean()) for f in (250, 500, 1000, 2000)]
    assert octaves == pytest.approx([tilt + equaliser] * 4, abs=0.4)


def test_background_is_as_much_quieter_as_its_level_says_however_quiet_the_sound() -> None:
    place, table = placed()
    sound = white(3)
    for level in (0.0, -24.0):
        alone, noisy = (
            place(at(table, level=level, background__level=quieter), sound, keys(1)) for quieter in (-55.0, -10.0)
        )
        assert decibels((noisy - alone).square().sum() / alone.square().sum()) == pytest.approx(-10.0, abs=0.3)


def test_silence_stays_silence_and_each_sound_has_its_own_noise() -> None:
    place, table = placed()
    heard = place(at(table, 2), torch.zeros(2, RATE), keys(1, 2))
    assert float(heard.square().mean().sqrt()) == pytest.approx(LOUDNESS * 10 ** (-55 / 20), rel=0.05)
    assert abs(float(torch.corrcoef(heard)[0, 1])) < 0.05


def rooms(place: Place, units: Tensor) -> Tensor:
    """What comes of a click in several rooms, (n, period)."""
    settings = place.settings(units, keys(*range(len(units))))
    numbers = place.transfer(settings).unflatten(1, (-1, 2))
    return torch.fft.irfft(torch.view_as_complex(numbers), place.period)


@pytest.mark.parametrize("decay", [0.1, 0.25, 0.4])
def test_a_room_decays_by_60_db_in_its_time(decay: float) -> None:
    """Schroeder's backward integration, from -5 to -25 dB, over several rooms."""
    place, table = placed()
    energy = rooms(place, at(table, 100, room__decay=decay, room__level=-5.0, distance=3.0))[:, 2 : place.tail]
    left = energy.square().mean(0).flip(0).cumsum(0).flip(0)
    fall = 10 * torch.log10(left / left[0])
    begin, end = int((fall > -5).sum()), int((fall > -25).sum())
    assert 3 * (end - begin) / RATE == pytest.approx(decay, rel=0.12)


@pytest.mark.parametrize(("level", "distance"), [(-5.0, 0.0), (-25.0, 0.0), (-25.0, 3.0)])
@pytest.mark.parametrize("decay", [0.05, 0.2])
def test_the_room_is_as_loud_as_level_and_distance_say(level: float, distance: float, decay: float) -> None:
    place, table = placed()
    units, quiet = (
        at(table, 200, room__level=decibel, distance=distance, room__decay=decay) for decibel in (level, -45.0)
    )
    room = (rooms(place, units) - rooms(place, quiet)) / (1.0 - 10 ** ((-45.0 - level) / 20))
    wet = room.square().sum(1).mean() / rooms(place, quiet)[:, :100].square().sum(1).mean()
    assert decibels(wet) == pytest.approx(level + 6.02 * distance, abs=0.6)


def test_each_sound_has_its_own_room() -> None:
    place, table = placed()
    response = rooms(place, at(table, 12, room__level=-5.0, distance=3.0, room__decay=0.4))[:, 700 : place.tail]
    alike = torch.corrcoef(response) - torch.eye(12)
    assert float(alike.abs().median()) < 0.6
    assert float(alike.abs().max()) < 0.98


def test_an_echo_comes_when_it_should() -> None:
    place, table = placed()
    heard = place(at(table, echo__delay=0.025, echo__level=-6.0), click(), keys(1))[0].abs()
    assert int(heard[:300].argmax()) == 100
    assert int(heard[300:].argmax()) + 300 == 100 + 400
    assert float(heard[500] / heard[100]) == pytest.approx(0.5, abs=0.05)


def test_the_equaliser_raises_tilts_and_cuts() -> None:
    place, table = placed()
    sound = white(4)

    def change(low: float, high: float, **units: float) -> float:
        flat, other = (place(at(table, **knobs), sound, keys(1)) for knobs in ({}, units))
        reference = band(other, 950, 1050) / band(flat, 950, 1050)  # levels are normalised: against 1 kHz
        return decibels(band(other, low, high) / band(flat, low, high) / reference)

    assert change(3900, 4100, tilt=-3.0) == pytest.approx(-6.0, abs=0.3)
    assert change(240, 260, tilt=-3.0) == pytest.approx(6.0, abs=0.3)
    assert change(3900, 4100, band_1__centre=math.log2(4000.0), band_1__gain=12.0) == pytest.approx(10.8, abs=0.4)
    assert change(95, 105, low_cut=math.log2(400.0)) == pytest.approx(-24.1, abs=0.7)
    assert change(4950, 5050, high_cut=math.log2(2500.0)) == pytest.approx(-24.1, abs=0.7)
    assert change(6900, 7100, distance=3.0) == pytest.approx(-0.5 * 7.5 * (49 - 1) / 64, abs=0.6)  # and a room


@pytest.mark.parametrize("samples", [1, 2, 3, 800, 4_999])
def test_corners_are_finite_with_finite_gradients(samples: int) -> None:
    place, table = placed(samples)
    size = len(place.specs)
    bits = torch.rand(8, size, generator=generator(0)).round()
    patch = torch.cat((torch.zeros(1, size), torch.ones(1, size), torch.full((1, size), 0.5), bits)).requires_grad_()
    sound = torch.randn(11, samples, generator=generator(1))
    sound[:6] = 0.0
    sound.requires_grad_()
    heard = place(table.to_units(patch), sound, keys(*range(11)))
    assert heard.shape == (11, samples)
    assert heard.isfinite().all()
    heard.square().sum().backward()
    for gradient in (patch.grad, sound.grad):
        assert gradient is not None
        assert gradient.isfinite().all()


def test_gradients_are_those_of_finite_differences() -> None:
    place, table = placed(4_000)
    place, table = place.double(), table.double()
    sound = torch.randn(1, 4_000, generator=generator(3), dtype=torch.float64)
    weight = torch.randn(4_000, generator=generator(4), dtype=torch.float64)
    patch = torch.rand(1, len(place.specs), generator=generator(5), dtype=torch.float64).requires_grad_()

    def heard(position: Tensor) -> Tensor:
        return (
            place(table.to_units(position), sound.expand(len(position), -1), keys(1).expand(len(position))) * weight
        ).sum(1)

    (gradient,) = torch.autograd.grad(heard(patch)[0], patch)
    assert (gradient != 0).all()
    step = 1e-6 * torch.eye(len(place.specs), dtype=torch.float64)
    difference = (heard(patch.detach() + step) - heard(patch.detach() - step)) / 2e-6
    np.testing.assert_allclose(
        gradient[0].numpy(), difference.numpy(), rtol=1e-4, atol=1e-6 * float(gradient.abs().max())
    )


def test_company_changes_no_place_and_noise_may_be_given() -> None:
    place, table = placed(4_000)
    patch = torch.rand(5, len(place.specs), generator=generator(6))
    sound, seeds = torch.randn(5, 4_000, generator=generator(7)), keys(*range(5))
    together = place(table.to_units(patch), sound, seeds)
    alone = place(table.to_units(patch[3:4]), sound[3:4], seeds[3:4])
    torch.testing.assert_close(alone[0], together[3], rtol=0, atol=1e-5)
    noise = torch.rand(5, 4_000, generator=generator(8)) * 2 - 1
    given = place(table.to_units(patch), sound, noise)
    assert given.isfinite().all()
    assert not torch.allclose(given, together, atol=1e-3)
    loud = at(table, 5, background__level=0.0)
    heard = place(loud, torch.zeros(5, 4_000), noise)
    assert float(heard.square().mean().sqrt()) == pytest.approx(LOUDNESS, rel=0.06)


def test_lengths_are_fast_and_long_enough() -> None:
    for least in (1, 2, 7, 1_501, 24_001):
        length = fast_length(least)
        assert length >= least
        assert length % RUN == 0
        assert length < max(2 * RUN, 1.5 * least)
