"""What is to be heard: the truth of scenes against slow loops, and its prediction from an encoder."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from soundalike.core.errors import SoundalikeError
from soundalike.model.recipe import Recipe
from soundalike.nn.encoder import ResNet18
from soundalike.nn.frontend import LogMel
from soundalike.nn.targets import Prediction
from soundalike.synth import Scene, Voice
from soundalike.synth.truth import BANDS, PITCHES, QUIETEST_DB, SIZE, Truth
from soundalike.train.step import Learner
from soundalike.views import Doppelgangers
from turning import turned


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(events=2, seconds=0.6)


@pytest.fixture(scope="module")
def patch(scene: Scene) -> Tensor:
    return scene.draw(6, generator=torch.Generator().manual_seed(5), uniform_in="knobs")


def slow_truth(scene: Scene, patch: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Spectrum and sources of one scene, frame by frame and band by band, from each event rendered by itself."""
    frames, hop, units = scene.frames, scene.frames.hop, scene.to_units(patch[None])
    keys = scene._noise_keys(torch.tensor([seed]), 1)
    _, events, behind = scene._spectra(patch[None], keys, scene._placed)
    passed, background = scene._layers(units, events, behind)
    sound = frames.sound(torch.view_as_complex(passed.sum(1) + background))[0]
    power = passed[0].double().square().sum(-1)  # (events, frames, bins)
    hertz = torch.arange(hop + 1) * (scene.sample_rate / (2 * hop))
    low, high = math.log2(100.0), math.log2(7500.0)
    width = (high - low) / BANDS
    voice = scene.instrument
    assert isinstance(voice, Voice)
    steps = int(scene.seconds / 0.08 + 1e-6)
    spectrum, sources = torch.zeros(steps, BANDS), torch.zeros(steps, PITCHES + 2)
    onsets = scene.places.read(units)[0][0]
    for step in range(steps):
        near = [f for f in range(frames.count) if abs(f * hop / 16_000 - (0.012 + 0.08 * step)) <= 0.0401]
        for band in range(BANDS):
            middle, total = low + (band + 0.5) * width, 0.0
            for b in range(1, hop + 1):
                weight = max(0.0, 1.0 - abs(math.log2(max(hertz[b].item(), 40.0)) - middle) / width)
                if weight:
                    total += weight * sum(power[:, f, b].sum().item() for f in near) / len(near)
            full = 4.0 * hop**2 * sound.abs().max().item() ** 2
            spectrum[step, band] = 10.0 * math.log10(total / full + 10.0 ** (QUIETEST_DB / 10.0))
        for event in range(scene.events):
            told = voice.sources(scene.patches.knobs(patch[None])[0, event][None])
            for f in near:
                weights = [
                    sum(
                        max(0.0, 1.0 - abs(math.log2(max(h, 40.0)) - (low + (k + 0.5) * width)) / width)
                        for k in range(16)
                    )
                    for h in hertz.tolist()
                ]
                loud = (power[event, f, 1:] * torch.tensor(weights, dtype=torch.float64)[1:]).sum().item()
                since = f * hop / 16_000 - onsets[event].item()
                if since < 0:
                    continue
                point = min(int(since * scene.control_rate), voice.points - 1)
                energy = told.energy[0, :, point]
                for number in range(3):
                    part = loud * (energy[number] / energy.sum().clamp(min=1e-9)).item()
                    if number == 2:
                        sources[step, PITCHES] += part
                        continue
                    place = min(max((told.pitch[0, number, point].item() - 24.0) / 3.0, 0.0), PITCHES - 1.0)
                    below = min(int(place), PITCHES - 2)
                    sources[step, below] += part * (1.0 - (place - below))
                    sources[step, below + 1] += part * (place - below)
        sources[step, PITCHES + 1] = sum(background[0, f].square().sum().item() for f in near)
    return spectrum, sources / sources.sum(1, keepdim=True)


def test_truth_agrees_with_slow_loops(scene: Scene, patch: Tensor) -> None:
    _, truth = scene.told(patch, noise_seed=torch.arange(len(patch)))
    assert truth.spectrum.shape == (6, 7, BANDS)
    assert truth.sources.shape == (6, 7, PITCHES + 2)
    spectrum, sources = slow_truth(scene, patch[2], seed=2)
    torch.testing.assert_close(truth.spectrum[2], spectrum, rtol=0, atol=0.05)
    torch.testing.assert_close(truth.sources[2], sources, rtol=0, atol=2e-3)


def test_the_sound_that_is_told_of_is_the_sound(scene: Scene, patch: Tensor) -> None:
    sound, truth = scene.told(patch, noise_seed=7)
    assert torch.equal(sound, scene(patch, noise_seed=7))
    assert torch.equal(Truth.unpack(truth.pack()).sources, truth.sources)
    assert truth.pack().shape[2] == SIZE
    torch.testing.assert_close(truth.sources.sum(2), torch.ones(6, 7))
    assert truth.spectrum.min() >= QUIETEST_DB - 1e-3


def test_the_background_is_not_in_the_spectrum_and_is_a_source(scene: Scene, patch: Tensor) -> None:
    quiet, loud = (turned(scene, patch, background__level=level) for level in (-60.0, 10.0))
    (_, before), (_, after) = scene.told(quiet), scene.told(loud)
    assert (after.sources[..., -1] >= before.sources[..., -1]).all()
    assert after.sources[..., -1].mean() > 0.5
    # the background may raise the peak against which all is measured: the same for every band and step
    change = (after.spectrum - before.spectrum)[before.spectrum > -50.0]
    assert change.numel() > 20
    assert change.max() < 0.1


def test_a_note_is_told_by_its_pitch(scene: Scene) -> None:
    patch = torch.full((1, scene.size), 0.5)
    shared = {"event_1.mod_matrix.mod.1.0": 1.0, "event_1.adsr_1.sustain": 1.0, "event_1.keyboard.duration": 4.0}
    shared |= {"event_1.adsr_1.attack": 0.0, "event_1.mixer.level.0": 1.0, "event_1.mixer.level.1": 0.0}
    shared |= {"event_1.mixer.level.2": 0.0, "event_1.vco_1.tuning": 0.0, "event_1.vco_1.mod_depth": 0.0}
    shared |= {"event_1.onset": 0.0, "event_1.level": 0.0, "event_2.level": -30.0, "background.level": -60.0}
    for midi in (42.0, 60.0, 78.0):
        units = {name.replace(".", "__"): value for name, value in shared.items()}
        _, truth = scene.told(turned(scene, patch, **units, event_1__keyboard__midi_f0=midi))
        assert (truth.sources[0, 1:6, int((midi - 24.0) / 3.0)] > 0.9).all(), midi


def test_only_what_is_known_is_told() -> None:
    with pytest.raises(SoundalikeError, match="only of the instrument 'voice' is known"):
        Scene("voice-fm", seconds=0.2).told(torch.full((1, Scene("voice-fm", seconds=0.2).size), 0.5))
    with pytest.raises(SoundalikeError, match="give --voice scene"):
        Doppelgangers(Voice(seconds=0.2)).told(0, torch.arange(2))
    with pytest.raises(SoundalikeError, match=r"training\.prediction is of what is to be heard in scenes"):
        Recipe("x", {"training": {"prediction": 1.0, "steps": 1}}).build()
    with pytest.raises(SoundalikeError, match=r"--instrument voice .* or --prediction 0"):
        Recipe.load("ears-cpu").override({"voice.instrument": "parametric"}).build()
    with pytest.raises(SoundalikeError, match="weight is 0"):
        Prediction(ResNet18(width=4), LogMel(), weight=0.0)
    with pytest.raises(SoundalikeError, match="frame every 10 ms"):
        Prediction(ResNet18(width=4), LogMel(hop=0.02))


@pytest.mark.parametrize("slowest", [4, 8, 16, 32])
def test_outputs_stand_where_their_steps_do(slowest: int) -> None:
    """A click is said at the step in which it is heard, when the layer repeats what the last stage has there."""
    encoder = ResNet18(width=4, slowest=slowest).eval()
    prediction = Prediction(encoder, LogMel()).eval()
    last = encoder.stages(torch.rand(2, 1, 96, 64))[-1]
    steps = prediction(last).shape[1]
    assert steps in (10, 11, 12)
    assert prediction(last).shape == (2, steps, SIZE)
    with torch.no_grad():
        prediction.linear.weight.zero_()
        # each of an output's steps says which output and which step it is
        prediction.linear.bias.copy_(torch.arange(prediction.steps).repeat_interleave(SIZE).float())
        prediction.linear.weight[:, 0] = 10.0
        marked = torch.zeros_like(last)
        marked[:, 0, :, 0] = torch.arange(last.shape[2]).float()
    said = prediction(marked)[0, :, 0]
    stride = encoder.strides[-1]
    for step, value in enumerate(said.tolist()):
        output, part = divmod(value, 10.0)
        if stride >= 8:  # an output hears what is around its place; its steps are spread evenly about it
            frame = output * stride + (part - prediction.steps // 2) * 8
            assert frame == 8 * step
        else:
            assert value / 10.0 == 2 * step + 0.5


def test_the_loss_against_a_slow_one(scene: Scene, patch: Tensor) -> None:
    encoder = ResNet18(width=4, slowest=8)
    prediction = Prediction(encoder, LogMel())
    last = encoder.stages(torch.rand(6, 1, 56, 64))[-1]
    truth = scene.told(patch)[1]
    loss, parts = prediction.loss(last, truth)
    answer = prediction(last)
    wrong, surprise = [], []
    for row in range(6):
        for step in range(7):
            for band in range(BANDS):
                true = (truth.spectrum[row, step, band].item() + 60.0) / 20.0
                wrong.append((answer[row, step, band].item() - true) ** 2)
            share = answer[row, step, BANDS:].softmax(0)
            both = zip(truth.sources[row, step].tolist(), share.tolist(), strict=True)
            surprise.append(-sum(true * math.log(said) for true, said in both))
    assert parts["spectrum"].item() == pytest.approx(sum(wrong) / len(wrong), rel=1e-4)
    assert parts["sources"].item() == pytest.approx(sum(surprise) / len(surprise), rel=1e-4)
    assert loss.item() == pytest.approx(sum(part.item() for part in parts.values()), rel=1e-5)


def test_an_encoder_learns_to_say_what_it_hears() -> None:
    recipe = Recipe.load("ears-cpu").override(
        {"training.batch_size": 16, "training.steps": 12, "encoder.width": 8, "encoder.widest": 8}
    )
    learner = Learner(recipe)
    optimizer = torch.optim.AdamW(learner.parameters(), 0.01)
    losses = []
    for _ in range(12):  # the same pairs every time
        loss, parts = learner.loss(torch.arange(16))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(parts["prediction"].item())
    assert losses[-1] < 0.6 * losses[0]
    assert learner.prediction is not None
    assert learner.prediction.linear.weight.grad is not None
    whole = loss.item() - 3.0 * parts["prediction"].item()
    assert 0.0 < whole < math.log(2 * 2 * 16 * 3), "what is left is the contrastive loss"


def test_truth_stays_with_its_views_however_a_batch_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = Learner(Recipe.load("ears-cpu"))
    inputs, _, whole = learner.inputs(torch.arange(8))
    monkeypatch.setattr("soundalike.train.step.PAIRS_AT_ONCE", 4)
    again, _, parts = learner.inputs(torch.arange(8))
    assert whole is not None
    assert parts is not None
    torch.testing.assert_close(inputs, again, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(whole.pack(), parts.pack(), rtol=1e-4, atol=1e-3)


def test_a_sound_is_mixed_in_as_loud_as_asked(scene: Scene) -> None:
    plain, mixed = Doppelgangers(scene, 0.1), Doppelgangers(scene, 0.1, mix=(6.0, 6.0))
    numbers = torch.arange(8)
    before, after = plain.numbered(3, numbers), mixed.numbered(3, numbers)

    def level(sound: Tensor) -> Tensor:
        return sound / sound.abs().amax(1, keepdim=True).clamp(min=1e-6)

    for first, sounds, step in ((after.first, before.first, 1), (after.second, before.second, 2)):
        expected = level(sounds) + 10.0 ** (-6.0 / 20.0) * level(sounds)[numbers ^ step]
        torch.testing.assert_close(first, expected / expected.abs().amax(1, keepdim=True).clamp(min=1.0))
    assert torch.equal(after.first_patch, before.first_patch)
    told, truth = mixed.told(3, numbers)
    assert torch.equal(told.first, after.first)
    assert torch.equal(truth.spectrum, plain.told(3, numbers)[1].spectrum), "the truth is of the sound alone"


def test_what_is_mixed_in_depends_on_the_number_alone(scene: Scene) -> None:
    views = Doppelgangers(scene, 0.1, mix=(6.0, 36.0))
    whole = views.numbered(3, torch.arange(8))
    some = views.numbered(3, torch.tensor([5, 2]))  # their neighbours are not in the batch
    torch.testing.assert_close(some.first, whole.first[[5, 2]])
    torch.testing.assert_close(some.second, whole.second[[5, 2]])
    pooled = Doppelgangers(scene, 0.1, mix=(6.0, 36.0), pool=3).numbered(3, torch.arange(6))
    torch.testing.assert_close(pooled.first[:3], pooled.first[3:])


@pytest.mark.parametrize("mix", [(36.0, 6.0), (-1.0, 6.0), (1.0, math.inf), (1.0,)])
def test_a_mix_out_of_range_is_refused(scene: Scene, mix: tuple[float, ...]) -> None:
    with pytest.raises(SoundalikeError, match="the lowest and the highest number of decibels"):
        Doppelgangers(scene, 0.1, mix=mix)  # type: ignore[arg-type]
