"""Mouths: formants, pitch, noise and timing where their knobs say, measured on the sound; smooth curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from seeded import generator
from soundalike.core.errors import SoundalikeError
from soundalike.synth import Mouth
from soundalike.synth.gestures import Gestures
from soundalike.synth.glottis import melody, pulses
from soundalike.synth.segments import FRICATIVE, GLIDE, KINDS, NASAL, SILENCE, STOP, VOWEL, Utterance
from soundalike.synth.tract import Tract
from speaking import CONSONANTS, RATE, VOWELS, decibels, formants, peak, pitch, power, word
from turning import turned

MOUTH = Mouth()
LONG = {"segment_2__length": 0.28, "speaker__rate": -0.5}  # a vowel of 396 ms


TIME = torch.arange(1000) / 1000.0


def said(patch: Tensor) -> Utterance:
    """What is said without chance."""
    return MOUTH.utterance(MOUTH.to_units(patch), torch.zeros(len(patch), 4 * MOUTH.count))


# ---- knobs


def test_every_knob_has_the_group_of_what_it_is_about() -> None:
    groups = {"word.segments": "kind", "word.onset": "envelope", "speaker": "speaker", "place": "room"}
    for spec in MOUTH.specs:
        module, _, knob = spec.name.partition(".")
        expected = groups.get(spec.name, groups.get(module, "kind" if knob == "kind" else "content"))
        assert spec.group == expected, spec.name
    assert MOUTH.size == 2 + 6 * 10 + 17 + len(MOUTH.place.specs)  # type: ignore[union-attr]
    assert Mouth(segments=2).size == MOUTH.size - 40


@pytest.mark.parametrize("segments", [0, -1, 1.5, True, "six"])
def test_bad_numbers_of_segments_are_named(segments: object) -> None:
    with pytest.raises(SoundalikeError, match=f"^segments is {segments!r}: give a whole number of at least 1.$"):
        Mouth(segments=segments)  # type: ignore[arg-type]


def test_odd_segments_are_consonants_and_even_ones_vowels() -> None:
    patch = torch.rand(4000, MOUTH.size, generator=generator(0))
    units = MOUTH.to_units(patch)
    kind = MOUTH.segments.kinds(units)
    odd, even = kind[:, ::2].flatten(), kind[:, 1::2].flatten()
    shares = [float((odd == each).float().mean()) for each in (SILENCE, FRICATIVE, STOP, NASAL, GLIDE)]
    assert shares == pytest.approx([0.2, 0.26, 0.24, 0.15, 0.15], abs=0.02)
    assert float((even == VOWEL).float().mean()) == pytest.approx(0.9, abs=0.02)
    assert not (odd == VOWEL).any()
    names = ("none", "fricative", "stop", "nasal", "glide")
    for name, index in zip(names, (SILENCE, FRICATIVE, STOP, NASAL, GLIDE), strict=True):
        assert int(MOUTH.segments.kinds(MOUTH.to_units(word(MOUTH, name)))[0, 0]) == index
    assert set(CONSONANTS) == set(names)
    assert [int(MOUTH.segments.kinds(MOUTH.to_units(word(MOUTH, "none", name)))[0, 1]) for name in VOWELS] == [
        SILENCE,
        VOWEL,
    ]


# ---- what is heard


@pytest.mark.parametrize(("f1", "front"), [(300, 1.0), (300, 0.0), (500, 0.5), (800, 0.4), (800, 0.1), (650, 0.9)])
def test_formants_of_a_vowel_are_found_by_linear_prediction(f1: float, front: float) -> None:
    patch = word(MOUTH, "none", "vowel", segment_2__f1=math.log2(f1), segment_2__front=front, **LONG)
    opened = (f1 - 250.0) / 600.0
    f2 = (700.0 + 400.0 * opened) ** (1.0 - front) * (2350.0 - 600.0 * opened) ** front
    f3 = max(2510.0, f2 + 300.0)
    assert formants(MOUTH(patch)[0], 0.08, 0.32)[:4] == pytest.approx([f1, f2, f3, 3500.0], rel=0.03)


@pytest.mark.parametrize("f1", [300.0, 500.0, 800.0])
def test_a_formant_is_a_peak_of_the_spectrum_where_its_knob_says(f1: float) -> None:
    patch = word(MOUTH, "none", "vowel", segment_2__f1=math.log2(f1), segment_2__front=0.9, **LONG)
    whispered = turned(MOUTH, patch, speaker__whisper=1.0, segment_2__f3=math.log2(3000.0)).expand(12, -1)
    sounds = MOUTH(whispered, noise_seed=range(12))
    assert peak(sounds, 0.08, 0.32, 150.0, 1100.0) == pytest.approx(f1, rel=0.1)
    assert peak(sounds, 0.08, 0.32, 2700.0, 3250.0) == pytest.approx(3000.0, rel=0.04)


def test_speakers_share_formants_up_to_the_length_of_their_tracts() -> None:
    short, long = (
        formants(
            MOUTH(word(MOUTH, "none", "vowel", speaker__tract=tract, speaker__pitch=semitones, **LONG))[0], 0.08, 0.32
        )
        for tract, semitones in ((14.0, -10.0), (20.0, 0.0))
    )
    ratio = np.array(short[:3]) / np.array(long[:3])
    assert ratio == pytest.approx(20.0 / 14.0, rel=0.05)


@pytest.mark.parametrize(("tract", "semitones"), [(17.5, 0.0), (17.5, 7.0), (14.0, 0.0), (20.0, -3.0)])
def test_the_pitch_is_found_by_autocorrelation(tract: float, semitones: float) -> None:
    sound = MOUTH(word(MOUTH, "none", "vowel", speaker__tract=tract, speaker__pitch=semitones, **LONG))[0]
    expected = 110.0 * (17.5 / tract) ** 3 * 2 ** (semitones / 12)
    assert pitch(sound, 0.08, 0.32) == pytest.approx(expected, rel=0.005)


def test_the_melody_falls_and_waves() -> None:
    patch = word(MOUTH, "none", "vowel", speaker__slope=-8.0, **LONG)
    early, late = (pitch(MOUTH(patch)[0], start, start + 0.08) for start in (0.05, 0.27))
    assert 12 * math.log2(late / early) == pytest.approx(-8.0 * 0.22, abs=0.3)
    waving = turned(MOUTH, patch, speaker__slope=0.0, speaker__wave__depth=4.0, speaker__wave__rate=math.log2(2.0))
    wave = melody(MOUTH.speaker.manner(MOUTH.to_units(waving)), torch.arange(0, 1, 0.01), 1.0)[0]
    assert float(wave.max() - wave.min()) == pytest.approx(8.0, abs=0.05)
    assert float(wave[:50].mean()) == pytest.approx(45.0, abs=0.1)  # a whole wave is half a second long


@pytest.mark.parametrize("centre", [1500.0, 3000.0, 6000.0])
@pytest.mark.parametrize("tract", [17.5, 14.0])
def test_the_noise_of_a_fricative_stands_where_its_knob_says(centre: float, tract: float) -> None:
    patch = word(
        MOUTH, "fricative", segment_1__noise__centre=math.log2(centre), segment_1__noise__width=math.log2(400.0),
        segment_1__voicing=0.0, segment_1__length=0.28, speaker__rate=-0.5, speaker__tract=tract,
    )  # fmt: skip
    sounds = MOUTH(patch.expand(16, -1), noise_seed=range(16))
    expected = centre * (17.5 / tract) ** 0.5
    assert peak(sounds, 0.05, 0.2, 500.0, 7900.0) == pytest.approx(expected, rel=0.04)
    hertz, spectrum = power(sounds, 0.05, 0.2)
    half = hertz[spectrum > 0.25 * spectrum.max()]  # of the amplitude, where |f - centre| is half of the width
    assert half.max() - half.min() == pytest.approx(400.0, rel=0.35)


def test_a_voiced_fricative_has_voice_and_noise() -> None:
    patch = word(MOUTH, "fricative", segment_1__length=0.28, speaker__rate=-0.5, segment_1__noise__level=-6.0)
    patch = turned(MOUTH, patch, segment_1__noise__centre=math.log2(5000.0))
    voiced, voiceless = (MOUTH(turned(MOUTH, patch, segment_1__voicing=voicing)) for voicing in (1.0, 0.0))
    ratios = []
    for sound in (voiced, voiceless):
        hertz, spectrum = power(sound, 0.05, 0.2)
        ratios.append(spectrum[hertz < 400].sum() / spectrum[hertz > 3500].sum())
    assert ratios[0] > 0.1
    assert ratios[1] < 0.01
    assert pitch(voiced[0], 0.05, 0.2) == pytest.approx(110.0, rel=0.02)


def test_a_stop_is_closed_and_bursts() -> None:
    length = 0.28 * 0.5 * 2**0.5  # 198 ms; it opens after 119 ms
    knobs = {"segment_1__length": 0.28, "speaker__rate": -0.5, "segment_1__noise__level": 0.0}
    voiceless = MOUTH(word(MOUTH, "stop", "vowel", segment_1__voicing=0.0, **knobs))[0]
    voiced = MOUTH(word(MOUTH, "stop", "vowel", segment_1__voicing=1.0, **knobs))[0]
    opens = 0.6 * length
    closed = decibels(voiceless, 0.02, opens - 0.015)
    assert decibels(voiceless, opens, opens + 0.012) > closed + 25.0  # the burst
    assert decibels(voiceless, opens - 0.012, opens - 0.003) < decibels(voiceless, opens, opens + 0.012) - 12.0
    assert decibels(voiceless, length + 0.03, length + 0.1) > closed + 35.0  # the vowel
    bar = decibels(voiced, 0.03, opens - 0.02)
    assert closed + 8.0 < bar < decibels(voiced, length + 0.03, length + 0.1) - 18.0  # voice behind closed lips
    assert pitch(voiced, opens + 0.01, length) == pytest.approx(110.0, rel=0.03)  # and as soon as they open


def test_a_nose_takes_away_above_its_first_formant() -> None:
    nasal, vowel = (
        power(
            MOUTH(word(MOUTH, *kinds, segment_1__length=0.28, segment_2__f1=8.0, speaker__rate=-0.5, **front)),
            0.05,
            0.15,
        )
        for kinds, front in (
            (("nasal", "none"), {"segment_1__front": 0.5}),
            (("none", "vowel"), {"segment_2__front": 0.5}),
        )
    )
    tilt = [
        spectrum[(hertz > 600) & (hertz < 1300)].sum() / spectrum[hertz < 400].sum()
        for hertz, spectrum in (nasal, vowel)
    ]
    assert tilt[0] < 0.35 * tilt[1]


def test_tilt_breath_and_damping_are_heard() -> None:
    patch = word(MOUTH, "none", "vowel", **LONG)

    def bands(**knobs: float) -> tuple[float, float]:
        hertz, spectrum = power(MOUTH(turned(MOUTH, patch, **knobs)), 0.08, 0.32)
        return spectrum[hertz < 1000].sum(), spectrum[(hertz > 3000) & (hertz < 4000)].sum()

    (low, high), (dull_low, dull_high) = bands(), bands(speaker__brightness=math.log2(800.0))
    assert dull_high / dull_low < 0.2 * high / low
    breathy = MOUTH(turned(MOUTH, patch, speaker__breath=-8.0))[0]
    plain = MOUTH(patch)[0]

    def periodic(sound: Tensor) -> float:  # how alike it is to itself a cycle later
        part = sound[2000:4800]
        return float(torch.corrcoef(torch.stack((part, sound[2000 + 145 : 4800 + 145])))[0, 1])

    assert periodic(plain) > 0.97
    assert periodic(breathy) < periodic(plain) - 0.03


# ---- time


def test_segments_follow_one_another_and_take_their_time() -> None:
    patch = word(MOUTH, "fricative", "vowel", "stop", "vowel", speaker__rate=0.0, word__onset=1.0)
    for i, length in enumerate((0.1, 0.2, 0.12, 0.16), start=1):
        patch = turned(MOUTH, patch, **{f"segment_{i}__length": length})
    utterance = said(patch)
    lengths = torch.tensor([0.1 * 0.65, 0.2, 0.12 * 0.5, 0.16, 0.0, 0.0])
    torch.testing.assert_close((utterance.end - utterance.start)[0], lengths, rtol=0, atol=1e-5)
    torch.testing.assert_close(utterance.start[0, 1:], utterance.end[0, :-1])
    assert float(utterance.end[0, -1]) == pytest.approx(0.98, abs=1e-5)  # the latest onset
    faster = said(turned(MOUTH, patch, speaker__rate=math.log2(1.25), word__onset=0.0))
    torch.testing.assert_close((faster.end - faster.start)[0], lengths / 1.25, rtol=0, atol=1e-5)
    assert float(faster.start[0, 0]) == pytest.approx(0.0, abs=1e-6)


def test_of_two_segments_one_ends_when_the_next_begins() -> None:
    """To the last bit: at a moment that rounding gave to both, two kinds were said at once."""
    words = said(torch.rand(20_000, MOUTH.size, generator=generator(9)))
    assert torch.equal(words.start[:, 1:], words.end[:, :-1])
    assert bool((words.start <= words.end).all())


def test_what_is_too_long_is_said_faster() -> None:
    patch = word(MOUTH, *["fricative", "vowel"] * 3, speaker__rate=-0.5)
    for i in range(1, 7):
        patch = turned(MOUTH, patch, **{f"segment_{i}__length": 0.28})
    utterance = said(patch)
    assert float(utterance.end[0, -1] - utterance.start[0, 0]) == pytest.approx(0.95, abs=1e-4)


def test_formants_move_smoothly_from_target_to_target() -> None:
    patch = word(
        MOUTH, "none", "vowel", "none", "vowel", segment_2__f1=8.1, segment_2__front=1.0, segment_2__length=0.25,
        segment_4__f1=9.6, segment_4__front=0.1, segment_4__length=0.25, speaker__overlap=0.05,
    )  # fmt: skip
    utterance = said(patch)
    curves = Gestures.of(utterance).tongue(TIME, torch.tensor([[0.05]]))[0]  # (3, ms)
    first, second = utterance.formants[0, :, 1], utterance.formants[0, :, 3]
    torch.testing.assert_close(curves[:, 100], first, rtol=0, atol=1e-3)
    torch.testing.assert_close(curves[:, 400], second, rtol=0, atol=1e-3)
    torch.testing.assert_close(curves[:, 250], 0.5 * (first + second), rtol=0, atol=2e-3)
    steepest = 0.75 * (second - first).abs() / 0.05 * 0.001  # of a smooth step of 100 ms, for each millisecond
    assert (curves.diff(dim=1).abs() <= 1.01 * steepest[:, None] + 1e-6).all()
    moving = curves[0].diff()[220:280]
    assert (moving > 0).all()  # the whole way, and never back
    heard = formants(MOUTH(patch)[0], 0.235, 0.265)  # half way, on the sound
    assert heard[0] == pytest.approx(2 ** float(curves[0, 250]), rel=0.08)


def test_curves_against_a_slow_loop() -> None:
    patch = torch.rand(3, MOUTH.size, generator=generator(4))
    utterance = said(patch)
    gestures = Gestures.of(utterance)
    voice, aspiration, noise = gestures.amplitudes(TIME)
    lips, nose, half = gestures.lips(TIME), gestures.nose(TIME), 0.04
    curves, (centre, width) = gestures.tongue(TIME, torch.full((3, 1), half)), gestures.passage(TIME)

    def step(at: float, middle: float, reach: float) -> float:
        x = min(1.0, max(-1.0, (at - middle) / reach))
        return 0.5 + 0.75 * x - 0.25 * x**3

    loud = {VOWEL: 0.0, FRICATIVE: -16.0, STOP: 0.0, NASAL: -9.0, GLIDE: -4.0}
    for row in range(3):
        own = [getattr(utterance, name)[row].tolist() for name in ("kind", "start", "end", "voiced", "level", "noise")]
        for ms in range(0, 1000, 37):
            now = float(TIME[ms])
            expected = dict.fromkeys(("voice", "aspiration", "noise", "nose", "closed"), 0.0)
            weights, near = [], []
            inside = min(max(now, own[1][0]), own[2][-1])
            for kind, start, end, voiced, level, hiss in zip(*own, strict=True):
                weights.append(step(inside, start, half) - step(inside, end, half))
                beside = max(0.0, abs(now - 0.5 * (start + end)) - 0.5 * (end - start))
                near.append(1e-4 + (kind in (FRICATIVE, STOP)) / (1 + (beside / 0.02) ** 2) ** 2)
                if kind == SILENCE:
                    continue
                opens = start + 0.6 * (end - start)
                on, half_way, off = (step(now, border, 0.012) for border in (start, opens, end))
                amplitude = 10 ** ((level + loud[kind]) / 20)
                released = 10 ** ((level - 3.0) / 20) if kind == STOP else amplitude
                expected["voice"] += voiced * (amplitude * (on - half_way) + released * (half_way - off))
                if kind == STOP:
                    expected["aspiration"] += (1 - voiced) * 10 ** ((level - 14.0) / 20) * (half_way - off)
                    x = (now - opens - 0.006) / 0.006
                    expected["noise"] += 10 ** ((level + hiss) / 20) * max(0.0, 1 - x * x) ** 2
                    expected["closed"] += on - step(now, opens, 0.002)
                elif kind == FRICATIVE:
                    expected["noise"] += 10 ** ((level + hiss - 6.0) / 20) * (on - off)
                elif kind == NASAL:
                    expected["nose"] += step(now, start, 0.025) - step(now, end, 0.025)
            found = {"voice": voice, "aspiration": aspiration, "noise": noise, "nose": nose}
            for name, curve in found.items():
                assert float(curve[row, ms]) == pytest.approx(expected[name], abs=1e-4), name
            assert float(lips[row, ms]) == pytest.approx(1 - expected["closed"] * (1 - 10 ** (-24 / 20)), abs=1e-4)
            targets, rest = utterance.formants[row].numpy(), np.log2([500.0, 1500.0, 2500.0])
            mean = rest + (targets - rest[:, None]) @ np.array(weights) / (sum(weights) + 1e-4)
            assert curves[row, :, ms].numpy() == pytest.approx(mean, abs=1e-3)
            assert float(centre[row, ms]) == pytest.approx(
                float(np.average(utterance.centre[row].numpy(), weights=near)), abs=1e-3
            )
            assert float(width[row, ms]) == pytest.approx(
                float(np.average(utterance.width[row].numpy(), weights=near)), abs=1e-3
            )


# ---- the parts


def test_pulses_are_the_change_of_rosenbergs_flow() -> None:
    """Summed over a cycle they are a flow that rises, falls faster and rests; their mean square is 1."""
    patch = turned(MOUTH, word(MOUTH, "none", "vowel"), speaker__open=0.6, speaker__closing=0.25)
    cycles = torch.arange(16_000) / 16_000  # one cycle
    manner = MOUTH.speaker.manner(MOUTH.to_units(patch))
    pulse, opened = pulses(manner, cycles[None, None], torch.full((1, 1, 16_000), 16_000.0))
    flow = pulse[0, 0].double().cumsum(0)
    flow = flow / flow.max()
    up = 0.6 * 0.75
    x = cycles.double()
    rise, fall = 3 * (x / up) ** 2 - 2 * (x / up) ** 3, 1 - ((x - up) / (0.6 - up)) ** 2
    expected = torch.where(x < up, rise, torch.where(x < 0.6, fall, torch.zeros_like(x)))
    torch.testing.assert_close(flow, expected, rtol=0, atol=1e-3)
    assert float(pulse.square().mean()) == pytest.approx(1.0, rel=1e-3)
    assert torch.equal(opened[0, 0] > 0, cycles < 0.6)


def test_partials_above_the_highest_frequency_do_not_fold_back() -> None:
    """Between its partials, a high voice is at least 30 dB below them up to 3.4 kHz; as it comes, only 12 dB."""
    patch = word(MOUTH, "none", "vowel", speaker__tract=13.0, speaker__pitch=10.0, **LONG)
    manner = MOUTH.speaker.manner(MOUTH.to_units(patch))
    hertz = 483.0
    cycles = (hertz * torch.arange(16_000, dtype=torch.float64) / RATE).remainder(1.0).float()
    pulse, _ = pulses(manner, cycles[None, None], torch.full((1, 1, 16_000), RATE / hertz))
    spectrum = torch.fft.rfft(pulse[0, 0] * torch.hann_window(16_000)).abs().square()
    partials = hertz * torch.arange(2, 8)
    for partial in partials.round().long().tolist():
        between = spectrum[partial + 60 : partial + 400].max()
        assert float(spectrum[partial - 2 : partial + 3].max() / between) > 10**3.0, partial


def test_gains_of_a_tract_against_a_slow_loop() -> None:
    mouth = Mouth(seconds=0.1).double()
    tract: Tract = mouth.tract
    n, frames = 2, mouth.frames.count
    random = generator(5)
    moving = torch.log2(torch.tensor([600.0, 1400.0, 2600.0], dtype=torch.float64))[:, None] + 0.2 * torch.rand(
        n, 3, frames, generator=random, dtype=torch.float64
    )
    nose = torch.rand(n, frames, generator=random, dtype=torch.float64)
    noise = tuple(
        scale * torch.rand(n, frames, generator=random, dtype=torch.float64) + offset
        for scale, offset in ((1.0, 0.0), (2.0, 10.0), (2.0, 8.5))
    )
    shorter, damping, bright = (
        torch.tensor([[a], [b]], dtype=torch.float64) for a, b in ((0.2, -0.1), (0.5, -0.4), (9.0, 12.0))
    )
    still = tract.still(shorter, damping, bright)
    shape = tract.shape(moving, nose, noise, shorter, damping)  # type: ignore[arg-type]
    one = torch.ones(n, frames, 2 * mouth.frames.hop + 2, dtype=torch.float64)
    throat = tract.passed(one, torch.zeros_like(one), still, shape)
    passage = tract.passed(torch.zeros_like(one), one, still, shape) / math.sqrt(3.0)
    for row, frame, index in [(0, 0, 3), (1, 2, 40), (0, frames - 1, 170), (1, 5, 250)]:
        f = index * 16_000 / 512
        factor, wider = 2.0 ** float(shorter[row]), 2.0 ** float(damping[row])
        centres = [2.0 ** float(moving[row, i, frame]) * factor for i in range(3)]
        centres += [(number + 0.5) * 1000.0 * factor for number in range(3, 11)]
        gain = 1 / math.hypot(1.0, f / 2.0 ** float(bright[row]))
        for centre in centres:
            width = 60.0 * (1 + (centre / 2000.0) ** 2) * wider
            gain *= abs(centre**2 / complex(centre**2 - f**2, f * width))
        gain *= 1 - 0.75 * float(nose[row, frame]) / (1 + ((f - 900.0) / 500.0) ** 2)
        assert throat[row, frame, 2 * index : 2 * index + 2].numpy() == pytest.approx(gain, rel=1e-5)
        middle = min(2.0 ** float(noise[1][row, frame]) * factor**0.5, 7600.0)
        width = 2.0 ** float(noise[2][row, frame])
        band = abs(complex(0, f * width) / complex(middle**2 - f**2, f * width)) ** 2
        level = float(noise[0][row, frame]) * math.sqrt(8000.0 / (math.pi / 4 * width))
        assert passage[row, frame, 2 * index] == pytest.approx(level * band, rel=1e-5)


# ---- chance, purity, gradients


def test_chance_changes_each_take_and_only_where_the_speaker_varies() -> None:
    patch = word(MOUTH, "none", "vowel", "none", "vowel")
    still = [MOUTH(patch, noise_seed=seed)[0] for seed in (1, 2)]
    assert [round(pitch(sound, 0.05, 0.25), 1) for sound in still] == [110.0, 110.0]
    vary = turned(MOUTH, patch, speaker__variability=1.0).expand(40, -1)
    units = MOUTH.to_units(vary)
    drawn = MOUTH._drawn(MOUTH._noise_keys(None, 40))[:, : 4 * MOUTH.count]
    spread = MOUTH.utterance(units, drawn)
    assert float(spread.formants[:, 0, 1].std()) == pytest.approx(0.08 / 3**0.5, rel=0.3)
    assert float((spread.end - spread.start)[:, 1].log().std()) == pytest.approx(0.18 / 3**0.5, rel=0.3)
    jittery = MOUTH(turned(MOUTH, patch, speaker__jitter=1.0, speaker__shimmer=4.0), noise_seed=[3])[0]
    cycle = 145
    alike = [
        float(torch.corrcoef(torch.stack((s[1600:3200], s[1600 + cycle : 3200 + cycle])))[0, 1])
        for s in (still[0], jittery)
    ]
    assert alike[1] < alike[0] - 0.01


def test_noise_may_be_given() -> None:
    mouth = Mouth(seconds=0.3)
    patch = mouth.draw(3, generator=generator(6), uniform_in="knobs")
    noise = torch.rand(3, mouth.samples, generator=generator(7)) * 2 - 1
    together = mouth(patch, noise=noise)
    torch.testing.assert_close(mouth(patch[1], noise=noise[1]), together[1], rtol=0, atol=1e-5)
    loud = word(mouth, "fricative", segment_1__voicing=0.0, segment_1__length=0.28, speaker__rate=-0.5)
    levels = [
        float(mouth(loud, **source)[0, 1600:3000].square().mean())
        for source in ({"noise_seed": 1}, {"noise": noise[:1]})
    ]
    assert levels[0] == pytest.approx(levels[1], rel=0.6)


def test_gradients_are_those_of_finite_differences() -> None:
    mouth = Mouth(seconds=0.25).double()
    noise = torch.rand(mouth.samples, generator=generator(8), dtype=torch.float64) * 2 - 1
    window = torch.hann_window(512, dtype=torch.float64)

    def statistic(patch: Tensor) -> Tensor:
        spectra = torch.stft(mouth(patch, noise=noise), 512, 128, window=window, return_complex=True)
        power = torch.log(spectra.abs().square() + 1e-3)
        return (power * torch.randn(power.shape[1:], generator=generator(0), dtype=power.dtype)).mean((1, 2))

    patch = word(mouth, "stop", "vowel", "fricative", "vowel", "nasal", "vowel").double()
    patch = (patch + 0.05 * torch.randn(patch.shape, generator=generator(9), dtype=patch.dtype)).clamp(0.05, 0.95)
    (gradient,) = torch.autograd.grad(statistic(patch.requires_grad_())[0], patch)
    assert (gradient != 0).float().mean() > 0.7
    step = 1e-7 * torch.eye(mouth.size, dtype=torch.float64)
    with torch.no_grad():
        difference = ((statistic(patch + step) - statistic(patch - step)) / 2e-7)[None]
    tolerance = 0.01 * gradient.abs() + 1e-4 * gradient.abs().max()
    wrong = [mouth.specs[i].name for i in ((gradient - difference).abs() > tolerance)[0].nonzero()[:, 0].tolist()]
    assert not wrong


def test_nothing_to_say_is_silence_and_a_place() -> None:
    sound = MOUTH(word(MOUTH, "none", "none"))
    assert sound.isfinite().all()
    assert decibels(sound[0], 0.0, 1.0) < -60.0
    assert len(KINDS) == 6
