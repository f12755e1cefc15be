"""Scenes: frames that add up again, resonances against a slow loop, events where and as loud as their knobs say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seeded import generator
from soundalike.core.errors import SoundalikeError
from soundalike.synth import Scene, Voice
from soundalike.synth.resonance import POINTS, Frames, Resonances
from turning import turned


def steady_hiss(scene: Scene, count: int = 1) -> Tensor:
    """A scene of one event: white noise that starts at once and holds, with flat resonances, over near-silence."""
    patch = torch.full((count, scene.size), 0.5)
    for i, spec in enumerate(scene.specs):
        if spec.name.startswith(("event_1.mod_matrix", "event_1.mixer")) or "lfo" in spec.name:
            patch[:, i] = 0.0
    plain = {"depth": 0.0, "tilt": 0.0, "swing": 0.0, "onset": 0.0, "level": 0.0}
    for number in range(1, 5):
        plain |= {f"formant_{number}.gain": -30.0, f"formant_{number}.reach": 0.0}
    knobs = {"adsr_1.attack": 0.0, "adsr_1.decay": 0.0, "adsr_1.sustain": 1.0, "keyboard.duration": 4.0}
    knobs |= {"mod_matrix.mod.4.0": 1.0, "mixer.level.2": 1.0}  # the first envelope to the noise
    units = {f"event_1.{name}": value for name, value in (plain | knobs).items()}
    return turned(scene, patch, **units, background__level=-60.0, background__tilt=0.0)


@given(samples=st.integers(1, 3_000), rate=st.sampled_from([8_000, 16_000, 22_050]))
@settings(max_examples=25, deadline=None)
def test_frames_add_up_to_the_sound(samples: int, rate: int) -> None:
    sound = torch.randn(2, samples, generator=generator(samples), dtype=torch.float64)
    frames = Frames(samples, rate).double()
    spectra = frames.spectra(sound)
    assert spectra.shape == (2, frames.count, frames.hop + 1)
    torch.testing.assert_close(frames.sound(spectra), sound, rtol=0, atol=1e-6)  # the window is float32


def test_resonances_against_a_slow_loop() -> None:
    scene = Scene(events=2, seconds=0.2).double()
    patch = scene.draw(2, generator=generator(0)).double()
    gains = scene.resonances(scene.to_units(patch))
    frames = scene.frames
    assert gains.shape == (2, 2, frames.count, frames.hop + 1)
    for row, event, frame, index in [(0, 0, 0, 3), (1, 1, 5, 100), (0, 1, frames.count - 1, 256), (1, 0, 7, 0)]:
        units = dict(zip((s.name for s in scene.specs), scene.to_units(patch)[row].tolist(), strict=True))
        own = {
            k.removeprefix(f"event_{event + 1}."): v for k, v in units.items() if k.startswith(f"event_{event + 1}.")
        }

        def contour(name: str, own: dict[str, float] = own, frame: int = frame) -> float:
            points = [own[f"{name}.{i}"] for i in range(POINTS)]
            return float(np.interp(frame / (frames.count - 1), np.linspace(0, 1, POINTS), points))

        octave = math.log2(max(index * 16_000 / 512, 40.0))
        gain = 10 ** (-own["depth"] / 20)
        for number in range(1, 5):
            name = f"formant_{number}"
            centre = own[f"{name}.centre"] + own[f"{name}.reach"] * contour(f"{name}.point")
            gain += 10 ** (own[f"{name}.gain"] / 20) / (1 + ((octave - centre) / own[f"{name}.width"]) ** 2)
        decibels = own["tilt"] * (octave - math.log2(1000)) - own["swing"] * contour("softness")
        expected = gain * 10 ** (decibels / 20)
        assert float(gains[row, event, frame, index]) == pytest.approx(expected, rel=1e-4)


def test_every_event_is_a_sound_of_the_voice() -> None:
    scene, voice = Scene(events=3), Voice()
    assert scene.size == 3 * (voice.size + 2 + 49) + 2
    names = [spec.name for spec in scene.specs]
    assert [name.removeprefix("event_2.") for name in names[78:156]] == [spec.name for spec in voice.specs]
    assert {spec.group for spec in scene.specs if spec.name.startswith("background")} == {"room"}


def test_an_event_begins_where_its_onset_is() -> None:
    scene = Scene(events=1)
    late = turned(scene, steady_hiss(scene), event_1__onset=0.5)
    sound = scene(late, noise_seed=3)[0]
    before, after = sound[:7_700], sound[8_300:]
    assert float(after.square().mean()) > 1e4 * float(before.square().mean())


def test_levels_are_decibels() -> None:
    scene = Scene(events=1, peak="none")
    patch = steady_hiss(scene)
    loud, soft = (scene(turned(scene, patch, event_1__level=level), noise_seed=1)[0] for level in (0.0, -20.0))
    assert 20 * math.log10(float(loud.std() / soft.std())) == pytest.approx(20.0, abs=0.3)
    assert float(loud.square().mean().sqrt()) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("tilt", [0.0, -6.0, -12.0])
def test_the_level_of_a_background_is_its_mean_whatever_its_slope(tilt: float) -> None:
    scene = Scene(events=1, peak="none")
    patch = turned(scene, steady_hiss(scene), event_1__level=-30.0, background__level=0.0, background__tilt=tilt)
    sounds = scene(patch.expand(20, -1), noise_seed=1)
    assert float(sounds.square().mean().sqrt()) == pytest.approx(0.1, rel=0.1)


def test_a_resonance_is_heard_where_it_is() -> None:
    scene = Scene(events=1)
    patch = turned(
        scene,
        steady_hiss(scene),
        event_1__depth=60.0,
        event_1__formant_2__centre=math.log2(1500.0),
        event_1__formant_2__gain=0.0,
        event_1__formant_2__width=0.1,
    )
    spectrum = torch.fft.rfft(scene(patch, noise_seed=2)[0]).abs().square()  # a bin for each Hz
    near, far = spectrum[1400:1600].mean(), spectrum[3300:3500].mean()
    assert float(near) > 100 * float(far)


def test_company_changes_no_scene_and_noise_is_its_own() -> None:
    scene = Scene(seconds=0.3)
    patch, seeds = scene.draw(70, generator=generator(1), uniform_in="knobs"), torch.arange(70)
    together = scene(patch, noise_seed=seeds)
    assert torch.allclose(scene(patch[66:67], noise_seed=seeds[66:67])[0], together[66], atol=1e-5)
    other = scene(patch, noise_seed=seeds + 100)
    assert not torch.allclose(other, together, atol=1e-3)
    given_noise = torch.rand(4_800, generator=generator(2)) * 2 - 1
    assert torch.equal(scene(patch[:2], noise=given_noise), scene(patch[:2], noise=given_noise.expand(2, -1)))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [({"events": 0}, "events"), ({"events": 1.5}, "events"), ({"instrument": "vioce"}, "did you mean 'voice'")],
)
def test_bad_arguments_are_named(arguments: dict[str, object], word: str) -> None:
    with pytest.raises(SoundalikeError, match=word):
        Scene(**arguments)  # type: ignore[arg-type]


def test_any_voice_can_play() -> None:
    scene = Scene(instrument="parametric", events=1, seconds=0.1)
    assert scene.size == 340 + 2 + 49 + 2
    assert isinstance(scene.resonances, Resonances)
    assert scene(scene.draw(2, generator=generator(0))).isfinite().all()
