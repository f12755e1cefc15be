"""What all augmentations share: shapes, types, draws that are counted, inputs left alone, names and checked ranges."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from seeded import generator
from soundalike.core import random
from soundalike.core.errors import SoundalikeError
from soundalike.views import augment
from soundalike.views.augment import AUGMENTATIONS, Augmentation, Compose

anything: Any = augment  # for calls that its types forbid
WAVEFORM = [name for name, kind in AUGMENTATIONS.items() if kind.axes == 2]
SPECTROGRAM = [name for name, kind in AUGMENTATIONS.items() if kind.axes == 4]


def batch(name: str, n: int = 6, samples: int = 3000) -> Tensor:
    shape = (n, samples) if AUGMENTATIONS[name].axes == 2 else (n, 2, 50, 64)
    return 0.3 * torch.randn(shape, generator=generator(1))


def counted(member: Augmentation, number: Tensor, seed: int = 0) -> Tensor:
    return random.uniform(random.keys(seed, number, stream=9), member.numbers)


def size(audio: Tensor) -> Any:
    return audio.shape[1] if audio.dim() == 2 else tuple(audio.shape[2:])


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_sound_is_changed_and_the_input_is_not(name: str) -> None:
    audio = batch(name)
    before = audio.clone()
    member = AUGMENTATIONS[name](p=1.0)
    first, second = member(audio, generator=generator()), member(audio, generator=generator(5))
    assert torch.equal(audio, before)
    for changed in (first, second):
        assert changed.shape == audio.shape
        assert changed.dtype == audio.dtype
        assert torch.isfinite(changed).all()
        assert changed.data_ptr() != audio.data_ptr()
        assert (changed != audio).flatten(1).any(1).sum() >= len(audio) - 1
    assert (first != second).flatten(1).any(1).all()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_p_is_the_chance_of_a_change_and_the_rest_is_left_as_it_is(name: str) -> None:
    audio = batch(name)
    never = AUGMENTATIONS[name](p=0.0)
    assert torch.equal(never(audio, generator=generator()), audio)
    member = AUGMENTATIONS[name](p=0.5)
    drawn = member.draw(6, size(audio), generator=generator(2))
    assert 0 < int(drawn["apply"].sum()) < 6
    changed = member.apply(audio, drawn)
    assert torch.equal(changed[~drawn["apply"]], audio[~drawn["apply"]])
    many = member.draw(4000, size(audio), generator=generator())
    assert float(many["apply"].float().mean()) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_what_was_drawn_determines_the_result(name: str) -> None:
    audio = batch(name)
    member = AUGMENTATIONS[name](p=1.0)
    drawn = member.draw(6, size(audio), generator=generator())
    assert all(len(value) == 6 for value in drawn.values())
    assert torch.equal(member.apply(audio, drawn), member.apply(audio, drawn))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_counted_draws_do_not_depend_on_the_batch(name: str) -> None:
    audio = batch(name, 9)
    member = AUGMENTATIONS[name](p=0.8)
    number = torch.arange(100, 109)
    together = member(audio, uniform=counted(member, number))
    for rows in (slice(0, 1), slice(3, 9)):
        apart = member(audio[rows], uniform=counted(member, number[rows]))
        torch.testing.assert_close(apart, together[rows], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_double_and_half_precision(name: str) -> None:
    audio = batch(name)
    member = AUGMENTATIONS[name](p=1.0)
    drawn = member.draw(6, size(audio), generator=generator())
    single = member.apply(audio, drawn)
    double = member.apply(audio.double(), drawn)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, atol=2e-4, rtol=1e-3)
    assert member.apply(audio.half(), drawn).dtype == torch.float16


@pytest.mark.parametrize("name", WAVEFORM)
@pytest.mark.parametrize("samples", [0, 1, 2, 3, 7, 100, 777])
def test_short_sounds(name: str, samples: int) -> None:
    audio = torch.rand(5, samples, generator=generator()) - 0.5
    changed = AUGMENTATIONS[name](p=1.0)(audio, generator=generator())
    assert changed.shape == audio.shape
    assert torch.isfinite(changed).all()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_no_sounds_at_all(name: str) -> None:
    audio = batch(name)[:0]
    assert AUGMENTATIONS[name](p=1.0)(audio, generator=generator()).shape == audio.shape


@pytest.mark.parametrize("name", WAVEFORM)
def test_silence_stays_silent(name: str) -> None:
    assert AUGMENTATIONS[name](p=1.0)(torch.zeros(4, 2000), generator=generator()).abs().max() < 1e-12


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_gradients_flow(name: str) -> None:
    audio = batch(name, 4, 1500).requires_grad_()
    member = AUGMENTATIONS[name](p=1.0)
    drawn = member.draw(4, size(audio), generator=generator())
    changed = member.apply(audio, drawn)
    torch.testing.assert_close(changed.detach(), member.apply(audio.detach(), drawn), atol=1e-5, rtol=1e-4)
    changed.square().sum().backward()
    assert audio.grad is not None
    assert torch.isfinite(audio.grad).all()
    assert (audio.grad.flatten(1).abs().sum(1) > 0).all()


@pytest.mark.parametrize("name", WAVEFORM)
def test_a_view_of_a_larger_tensor_will_do(name: str) -> None:
    member = AUGMENTATIONS[name](p=1.0)
    audio = batch(name)
    drawn = member.draw(6, 3000, generator=generator())
    strided = torch.stack((audio, audio), dim=2)[:, :, 0]
    assert not strided.is_contiguous()
    torch.testing.assert_close(member.apply(strided, drawn), member.apply(audio, drawn), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: anything.PitchShift(p=1.5), "p is 1.5"),
        (lambda: anything.Fade(p=True), "p is True"),
        (lambda: anything.PitchShift(semitones=(5, -5)), "semitones"),
        (lambda: anything.PitchShift(semitones=(-99, 0)), "semitones"),
        (lambda: anything.PitchShift(sample_rate=0), "sample_rate"),
        (lambda: anything.TimeStretch(rate=(0.0, 1.5)), "rate"),
        (lambda: anything.TimeStretch(rate=[0.5, 1.0, 1.5]), "rate"),
        (lambda: anything.Fade(fraction=1.1), "fraction"),
        (lambda: anything.TimeMask(fraction=-0.1), "fraction"),
        (lambda: anything.TimeMask(fill="nois"), "did you mean 'noise'"),
        (lambda: anything.TimeShift(fraction=float("nan")), "fraction"),
        (lambda: anything.NoiseInjection(snr_db=(float("-inf"), 0)), "snr_db"),
        (lambda: anything.NoiseInjection(snr_db="loud"), "snr_db"),
        (lambda: anything.NoiseInjection(colour="pnik"), "did you mean 'pink'"),
        (lambda: anything.LowPass(cutoff=(1200, 9000)), "cutoff"),
        (lambda: anything.HighPass(cutoff=0), "cutoff"),
        (lambda: anything.ImpulseResponse(decay_seconds=0), "decay_seconds"),
        (lambda: anything.ImpulseResponse(responses=[]), "responses"),
        (lambda: anything.ImpulseResponse(responses=[[0.0, 0.0]]), r"responses\[0\]"),
        (lambda: anything.SpecAugment(time_masks=-1), "time_masks"),
        (lambda: anything.SpectrogramMask(band_width=1.5), "band_width"),
        (lambda: anything.Compose(["fade", "pich-shift"]), "did you mean 'pitch-shift'"),
        (lambda: anything.Compose([{"name": "fade", "fracton": 0.1}]), "did you mean 'fraction'"),
        (lambda: anything.Compose([{"name": "fade", "fraction": 2}]), "augmentation 'fade': fraction"),
        (lambda: anything.Compose([{"fraction": 0.2}]), "unknown augmentation"),
        (lambda: anything.Compose(["fade", "spec-augment"]), "two lists"),
        (lambda: anything.Compose("fade"), "a list"),
    ],
)
def test_bad_settings_are_refused_when_it_is_built(make: Any, word: str) -> None:
    with pytest.raises(SoundalikeError, match=word):
        make()


def test_bad_calls_are_refused() -> None:
    member, audio = augment.Fade(), torch.zeros(2, 100)
    with pytest.raises(SoundalikeError, match="give it a generator"):
        member(audio)
    with pytest.raises(SoundalikeError, match="give it a generator"):
        member(audio, generator(), uniform=torch.zeros(2, member.numbers))
    with pytest.raises(SoundalikeError, match="give 4 for each of 2 sounds"):
        member(audio, uniform=torch.zeros(2, 3))
    with pytest.raises(SoundalikeError, match=r"shape \(100,\)"):
        member(audio[0], generator())
    with pytest.raises(SoundalikeError, match="int16"):
        member(audio.short(), generator())


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    Compose(WAVEFORM)(torch.zeros(2, 500), generator=generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_parent_module_still_visits_its_children() -> None:
    seen: list[nn.Module] = []
    chain = Compose(["fade", "time-shift"])
    nn.Sequential(chain).apply(seen.append)
    assert chain in seen
    assert all(member in seen for member in chain.members)


class TestCompose:
    def test_is_one_after_the_other_with_numbers_of_their_own(self) -> None:
        audio = batch("fade")
        chain = Compose([{"name": "time-shift", "p": 1.0}, {"name": "time-shift", "p": 1.0}, augment.Fade(p=1.0)])
        uniform = counted(chain, torch.arange(6))
        expected, column = audio, 0
        for member in chain.members:
            assert isinstance(member, Augmentation)
            expected = member(expected, uniform=uniform[:, column : column + member.numbers])
            column += member.numbers
        assert column == chain.numbers
        assert torch.equal(chain(audio, uniform=uniform), expected)
        drawn = chain.draw(6, 3000, uniform=uniform)
        assert not torch.equal(drawn["0.time-shift.shift"], drawn["1.time-shift.shift"])
        assert torch.equal(chain.apply(audio, drawn), expected)

    def test_of_nothing_changes_nothing(self) -> None:
        audio = batch("fade")
        assert Compose([])(audio, generator=generator()) is audio

    def test_names_take_the_sample_rate(self) -> None:
        chain = Compose(["pitch-shift", {"name": "noise", "sample_rate": 8000}, "fade"], sample_rate=44100)
        assert [getattr(member, "sample_rate", None) for member in chain.members] == [44100, 8000, None]

    def test_of_spectrograms(self) -> None:
        audio = batch("spec-augment")
        assert Compose(SPECTROGRAM)(audio, generator=generator()).shape == audio.shape


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(0, 5),
    samples=st.integers(1, 2500),
    seed=st.integers(0, 2**40),
    names=st.lists(st.sampled_from(WAVEFORM), max_size=3),
)
def test_any_chain_on_any_shape(n: int, samples: int, seed: int, names: list[str]) -> None:
    chain = Compose([{"name": name, "p": 0.7} for name in names])
    audio = torch.rand(n, samples, generator=generator(seed)) - 0.5
    before = audio.clone()
    changed = chain(audio, uniform=counted(chain, torch.arange(n), seed))
    assert changed.shape == audio.shape
    assert torch.isfinite(changed).all()
    assert torch.equal(audio, before)
