"""Sounds: against a slow renderer, pure, at every clock, finite in every corner, and differentiable."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from reference_voice import Reference, knob, unit
from seeded import generator
from soundalike.synth import VOICES, Parametric, Synthesizer, Voice, VoiceFM

SHORT = 0.05
each_voice = pytest.mark.parametrize("name", VOICES)


def white(samples: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(samples, generator=generator(seed), dtype=dtype) * 2 - 1


def at(voice: Synthesizer, name: str) -> int:
    return [spec.name for spec in voice.specs].index(name)


def steady(voice: Synthesizer) -> Tensor:
    """A patch of Voice whose pitches and amplitudes hold still, with every level at 0."""
    knobs = {"keyboard.duration": 1.0, "adsr_1.attack": 0.0, "adsr_1.decay": 0.0, "adsr_1.sustain": 1.0}
    routes = {"mod_matrix.mod.1.0": 1.0, "mod_matrix.mod.4.0": 1.0}  # the first envelope to vco_1 and to the noise
    patch = torch.full((voice.size,), 0.5)
    for i, spec in enumerate(voice.specs):
        if spec.group == "level" or spec.name.startswith("mod_matrix"):
            patch[i] = 0.0
    for name, position in (knobs | routes).items():
        patch[at(voice, name)] = position
    return patch


def noise_only(voice: Synthesizer) -> Tensor:
    """`steady` with the noise at its full level."""
    patch = steady(voice)
    patch[at(voice, "mixer.level.2")] = 1.0
    return patch


def slow(voice: Synthesizer, patch: Tensor, noise: Tensor) -> np.ndarray:
    """The reference's rendering of one patch (size,)."""
    units = {spec.name: unit(spec.name, position) for spec, position in zip(voice.specs, patch.tolist(), strict=True)}
    reference = Reference(units, voice.samples, voice.sample_rate, voice.points, voice.control_rate)
    render = reference.voice if isinstance(voice, Voice) else reference.voice_fm
    return render(noise.double().numpy())


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


# ---- against the slow reference


@pytest.mark.parametrize("uniform_in", ["units", "knobs"])
@pytest.mark.parametrize(
    ("sample_rate", "seconds", "count"), [(16_000, 1.0, 12), (22_050, 0.3337, 6), (8_000, 2.5, 6)]
)
def test_voice_is_the_slow_renderer(uniform_in: str, sample_rate: int, seconds: float, count: int) -> None:
    voice = Voice(sample_rate, seconds)
    patch = voice.draw(count, generator=generator(3), uniform_in=uniform_in)
    noise = white(voice.samples, 5)
    for row, sound in zip(patch, voice(patch, noise=noise).double().numpy(), strict=True):
        expected = slow(voice, row, noise)
        assert correlation(sound, expected) > 0.999
        assert np.abs(sound).max() == pytest.approx(np.abs(expected).max(), rel=0.05)


def test_voice_is_the_slow_renderer_at_clipped_patches() -> None:
    """Doppelgängers have knobs at 1e-6 and 1, where ramps are shorter than their own offsets."""
    voice = Voice(seconds=0.5)
    patch = voice.draw(12, generator=generator(6), uniform_in="knobs")
    end = torch.rand(patch.shape, generator=generator(7))
    patch = patch.masked_fill(end < 0.15, 1e-6).masked_fill(end > 0.85, 1.0)
    noise = white(voice.samples, 8)
    errors = []
    for row, sound in zip(patch, voice(patch, noise=noise).double().numpy(), strict=True):
        expected = slow(voice, row, noise)
        errors.append(np.abs(sound - expected).mean() / (np.abs(expected).mean() + 1e-4))
    assert max(errors) < 0.02


def test_lfo_shapes_at_the_bottom_are_still_a_mixture() -> None:
    voice = Voice(seconds=0.2).double()
    patch = voice.draw(1, generator=generator(9), uniform_in="knobs").double()[0]
    for shape in ("sin", "tri", "saw", "rsaw", "sqr"):
        patch[at(voice, f"lfo_1.{shape}")] = 1e-6
    noise = white(voice.samples, 1)
    assert correlation(voice(patch, noise=noise).numpy(), slow(voice, patch, noise)) > 0.999


def test_fm_is_the_slow_renderer_at_moderate_index() -> None:
    """A high index makes chaos of the last bit of the modulator's phase; a low one must agree sample by sample."""
    voice = VoiceFM()
    patch = voice.draw(8, generator=generator(10), uniform_in="knobs")
    patch[:, at(voice, "vco_4.mod_depth")] = torch.tensor([knob("vco_4.mod_depth", x) for x in np.linspace(-3, 3, 8)])
    patch[:, at(voice, "mixer.level.2")] = 1.0
    noise = white(voice.samples, 11)
    for row, sound in zip(patch, voice(patch, noise=noise).double().numpy(), strict=True):
        assert correlation(sound, slow(voice, row, noise)) > 0.98


def test_phase_does_not_drift() -> None:
    """After four seconds and 50,000 cycles, the highest tone is off by less than a hundredth of a cycle."""
    voice = Voice(sample_rate=32_000, seconds=4.0)
    patch = steady(voice)
    patch[at(voice, "keyboard.midi_f0")] = 1.0
    patch[at(voice, "mixer.level.0")] = 1.0
    sound = voice(patch).double()
    cycles = 440.0 * 2 ** ((127 - 69) / 12) / 32_000 * torch.arange(1, 128_001, dtype=torch.float64)
    pure = torch.cos(2 * torch.pi * (cycles % 1.0))
    assert (sound - pure)[-32_000:-300].abs().max() < 0.1


# ---- purity and noise


@each_voice
@pytest.mark.parametrize(("seconds", "tolerance"), [(1.0, 1e-5), (0.25, 5e-3)])
def test_a_sound_does_not_depend_on_its_batch(name: str, seconds: float, tolerance: float) -> None:
    """At the usual clock to the last bit or nearly; at an odd one vectorised code rounds the last few control points
    of a tensor in its own way, and FM at a high index makes that heard in the third decimal."""
    voice = VOICES[name](seconds=seconds)
    patch = voice.draw(7, generator=generator(0))
    seeds = torch.tensor([5, 0, -3, 2**40, 7, 7, 1])
    together = voice(patch, noise_seed=seeds)
    assert together.shape == (7, voice.samples)
    assert torch.equal(together, voice(patch, noise_seed=seeds))
    backwards = voice(patch.flip(0), noise_seed=seeds.flip(0)).flip(0)
    pairs = torch.cat([voice(patch[i : i + 2], noise_seed=seeds[i : i + 2]) for i in range(0, 7, 2)])
    alone = torch.stack([voice(row, noise_seed=int(seed)) for row, seed in zip(patch, seeds, strict=True)])
    for other in (backwards, pairs, alone):
        assert torch.allclose(other, together, rtol=0, atol=tolerance)


def test_each_sound_has_its_own_noise() -> None:
    voice = Voice(seconds=0.25)
    patch = noise_only(voice).expand(4, -1)
    sounds = voice(patch)
    assert (torch.corrcoef(sounds) - torch.eye(4)).abs().max() < 5 / 4000**0.5
    assert torch.equal(sounds, voice(patch, noise_seed=range(4)))  # the default: sound i has seed i
    assert torch.equal(sounds, voice(patch, noise_seed=torch.arange(4)))
    assert torch.equal(sounds[2], voice(patch[0], noise_seed=2))
    assert torch.equal(sounds[0], voice(patch[0]))
    same = voice(patch, noise_seed=9)
    assert torch.equal(same, same[:1].expand(4, -1))
    assert not torch.equal(same[0], sounds[0])


def test_noise_may_be_given() -> None:
    voice = Voice(seconds=0.25, peak="none")
    patch = noise_only(voice).expand(3, -1)
    noise = torch.stack([white(4000, seed) for seed in range(3)])
    sounds = voice(patch, noise=noise)
    envelope = voice(patch[0], noise=torch.ones(4000))
    assert envelope.min() > 0
    assert torch.allclose(sounds, noise * envelope, atol=1e-6)
    assert torch.equal(voice(patch, noise=noise[1])[0], sounds[1])
    assert torch.equal(voice(patch[0], noise=noise[2]), sounds[2])
    assert torch.equal(voice(patch, noise=noise[:1]), voice(patch, noise=noise[0]))


def test_rendering_changes_neither_patch_nor_global_randomness() -> None:
    voice = Voice(seconds=SHORT)
    patch, before = voice.draw(3, generator=generator(1)), torch.get_rng_state()
    kept = patch.clone()
    voice(patch)
    assert torch.equal(patch, kept)
    assert torch.equal(torch.get_rng_state(), before)


@each_voice
def test_each_sound_is_scaled_by_its_own_peak(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("scene", "place"):  # as they are, scenes and places hardly ever exceed full scale
        monkeypatch.setattr(f"soundalike.synth.{module}.LOUDNESS", 0.5)
    voices = {peak: VOICES[name](seconds=0.25, peak=peak) for peak in ("own", "first", "none")}
    patch = voices["own"].draw(24, generator=generator(4))
    for i, spec in enumerate(voices["own"].specs):
        if spec.group == "level":
            patch[:, i] *= torch.linspace(0.02, 1.0, 24)  # from quiet to loud
        elif spec.name.endswith("attack"):
            patch[:, i] = 0.05
    raw, own, first = (voices[peak](patch) for peak in ("none", "own", "first"))
    peaks = raw.abs().amax(1, keepdim=True)
    assert 2 <= int((peaks > 1).sum()) <= 22  # both kinds are there
    assert torch.allclose(own, raw / peaks.clamp(min=1), atol=1e-6)
    assert own.abs().max() <= 1
    assert torch.equal(own[peaks[:, 0] <= 1], raw[peaks[:, 0] <= 1])
    loud = int(peaks.argmax())
    order = [loud, *(i for i in range(24) if i != loud)]
    assert torch.allclose(voices["first"](patch[order], torch.tensor(order)), raw[order] / peaks[loud], atol=1e-5)
    assert torch.allclose(first, raw / peaks[0].clamp(min=1), atol=1e-6)


# ---- corners, clocks, dtypes


def corners(size: int) -> dict[str, Tensor]:
    bits = torch.rand(6, size, generator=generator(0)).round()
    steps = torch.tensor([0.0, 1e-6, 0.5, 1 - 6e-8, 1.0])
    return {
        "zeros": torch.zeros(1, size),
        "ones": torch.ones(1, size),
        "halves": torch.full((1, size), 0.5),
        "lowest": torch.full((1, size), 1e-6),
        "tiny": torch.full((1, size), 1e-30),
        "bits": bits,
        "loud bits": torch.cat((bits[:, :-8], torch.ones(6, 8)), dim=1),
        "steps": steps[torch.randint(0, 5, (12, size), generator=generator(1))],
    }


@each_voice
@pytest.mark.parametrize("corner", corners(1))
def test_corners_are_finite_with_finite_gradients(name: str, corner: str) -> None:
    voice = VOICES[name](seconds=0.2)
    patch = corners(voice.size)[corner].requires_grad_()
    sound = voice(patch)
    assert sound.isfinite().all()
    assert sound.abs().max() <= 1
    sound.square().sum().backward()
    assert patch.grad is not None
    assert patch.grad.isfinite().all()


@each_voice
@pytest.mark.parametrize("sample_rate", [8_000, 22_050, 44_100])
@pytest.mark.parametrize("seconds", [0.05, 0.3337])
def test_any_clock(name: str, sample_rate: int, seconds: float) -> None:
    voice = VOICES[name](sample_rate=sample_rate, seconds=seconds)
    sound = voice(voice.draw(2, generator=generator(0)))
    assert sound.shape == (2, round(sample_rate * seconds))
    assert sound.isfinite().all()
    assert (sound.abs().amax(1) > 0).all()


@each_voice
@pytest.mark.parametrize("samples", [1, 2, 3, 33, 34, 100])
@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 44_100])
def test_a_sound_may_have_any_number_of_samples(name: str, samples: int, sample_rate: int) -> None:
    voice = VOICES[name](sample_rate=sample_rate, seconds=samples / sample_rate)
    patch = voice.draw(2, generator=generator(0)).requires_grad_()
    sound = voice(patch)
    assert sound.shape == (2, samples)
    sound.sum().backward()
    assert patch.grad is not None
    assert sound.isfinite().all()
    assert patch.grad.isfinite().all()


def test_four_seconds_and_other_control_rates() -> None:
    assert Voice(44_100, 4.0)(torch.full((78,), 0.4)).shape == (176_400,)
    patch = torch.full((2, 78), 0.4)
    for control_rate in (1.0, 50.0, 441.0, 500.0, 8_000.0):
        sound = Voice(8_000, 0.5, control_rate=control_rate)(patch)
        assert sound.shape == (2, 4_000)
        assert sound.isfinite().all()


def test_the_same_sound_at_another_sample_rate() -> None:
    """Twice the samples of the same seconds: every second one is nearly the sample of half the rate."""
    patch = torch.full((78,), 0.5)
    for name, position in {"keyboard.midi_f0": 60 / 127, "adsr_1.attack": 0.1, "mixer.level.2": 0.0}.items():
        patch[at(Voice(), name)] = position
    low, high = Voice(16_000, 0.5)(patch), Voice(32_000, 0.5)(patch)
    # phase is a running sum that counts its own sample, so the first value at 16 kHz is the second at 32 kHz
    assert correlation(low.double().numpy(), high[1::2].double().numpy()) > 0.99


@pytest.mark.parametrize(
    ("counts", "size"),
    [((1, 0, 0, 0), 2 + 15 + 8 + 6 + 3 + 2), ((0, 1, 0, 0), 37), ((0, 0, 1, 0), 39), ((0, 0, 0, 1), 40)],
)
def test_parametric_with_one_oscillator(counts: tuple[int, int, int, int], size: int) -> None:
    voice = Parametric(*counts, seconds=0.1)
    assert voice.size == size
    assert voice.specs[0].name == "keyboard.midi_f0" or voice.specs[0].name == "keyboard_1.midi_f0"
    sound = voice(voice.draw(4, generator=generator(0)))
    assert sound.shape == (4, 1600)
    assert sound.isfinite().all()
    assert (sound.abs().amax(1) > 0).any()


def test_parametric_with_many_oscillators() -> None:
    voice = Parametric(3, 0, 0, 2, seconds=0.1)
    # keyboards, envelopes, LFOs, matrix 10 -> 11, three sines, two square-saws, two carriers, mixer of 3 + 2 + noise
    assert voice.size == 5 * 2 + 15 * 5 + 5 * 8 + 110 + 3 * 3 + 2 * 4 + 2 * 3 + 6
    assert voice(voice.draw(2, generator=generator(0))).isfinite().all()


def test_double_precision() -> None:
    patch = Voice().draw(4, generator=generator(0))
    noise = white(16_000, 1)
    single, double = Voice()(patch, noise=noise), Voice().double()(patch.double(), noise=noise)
    assert single.dtype == torch.float32
    assert double.dtype == torch.float64
    for a, b in zip(single.double().numpy(), double.numpy(), strict=True):
        assert correlation(a, b) > 0.999
    mixed = Voice()(patch.double(), noise=noise)  # a double patch alone is enough to ask for it
    assert mixed.dtype == torch.float64


def test_a_voice_has_nothing_to_train_or_to_save() -> None:
    voice = Voice(seconds=SHORT)
    assert not list(voice.parameters())
    assert not voice.state_dict()


# ---- gradients


def statistic(sound: Tensor) -> Tensor:
    """Something smooth of sounds (n, samples): a fixed random weighting of their log spectrogram, (n,)."""
    window = torch.hann_window(512, dtype=sound.dtype)
    power = torch.stft(sound, 512, 128, window=window, return_complex=True).abs().square()
    weight = torch.randn(power.shape[1:], generator=generator(0), dtype=sound.dtype)
    return (torch.log(power + 1e-3) * weight).mean((1, 2))


GRADIENTS = [("voice", 0), ("voice", 1), ("voice-fm", 3), ("parametric", 0), ("body", 0), ("body", 1), ("texture", 1)]


@pytest.mark.parametrize(("name", "seed"), GRADIENTS)
def test_gradients_are_those_of_finite_differences(name: str, seed: int) -> None:
    voice = VOICES[name](seconds=0.25).double()
    noise = white(voice.samples, 1, torch.float64)
    patch = voice.draw(1, generator=generator(seed), uniform_in="knobs").double()[0].requires_grad_()
    (gradient,) = torch.autograd.grad(statistic(voice(patch, noise=noise)[None])[0], patch)
    assert (gradient != 0).float().mean() > 0.7  # most knobs are heard
    step = 1e-7
    with torch.no_grad():
        nudges = step * torch.eye(voice.size, dtype=torch.float64)
        up, down = (statistic(voice(patch + sign * nudges, noise=noise)) for sign in (1, -1))
    difference = (up - down) / (2 * step)
    tolerance = 0.01 * gradient.abs() + 1e-5 * gradient.abs().max()
    wrong = [voice.specs[i].name for i in ((gradient - difference).abs() > tolerance).nonzero()[:, 0].tolist()]
    assert not wrong
