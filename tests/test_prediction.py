"""Targets: those of scenes against slow loops, and their prediction from an encoder."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from soundalike.core.errors import SoundalikeError
from soundalike.model.recipe import Recipe
from soundalike.nn.encoder import ResNet18
from soundalike.nn.frontend import LogMel
from soundalike.nn.targets import TargetPrediction
from soundalike.synth import Scene, Voice
from soundalike.synth.scene_targets import BANDS, PITCHES, QUIETEST_DB, SPECS
from soundalike.synth.targets import Target, TargetSpec, unknown
from soundalike.train.step import Learner
from soundalike.views import Doppelgangers
from turning import turned


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(events=2, seconds=0.6)


@pytest.fixture(scope="module")
def patch(scene: Scene) -> Tensor:
    return scene.draw(6, generator=torch.Generator().manual_seed(5), uniform_in="knobs")


def slow_targets(scene: Scene, patch: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Spectrum and sources of one scene, frame by frame and band by band, from each event rendered by itself."""
    frames, hop, units = scene.frames, scene.frames.hop, scene.to_units(patch[None])
    keys = scene._noise_keys(torch.tensor([seed]), 1)
    _, events, behind = scene._spectra(patch[None], keys)
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


def test_targets_agree_with_slow_loops(scene: Scene, patch: Tensor) -> None:
    _, targets = scene.with_targets(patch, noise_seed=torch.arange(len(patch)))
    assert targets["spectrum"].value.shape == (6, 7, BANDS)
    assert targets["sources"].value.shape == (6, 7, PITCHES + 2)
    spectrum, sources = slow_targets(scene, patch[2], seed=2)
    torch.testing.assert_close(targets["spectrum"].value[2], spectrum, rtol=0, atol=0.05)
    torch.testing.assert_close(targets["sources"].value[2], sources, rtol=0, atol=2e-3)


def test_the_sound_that_comes_with_targets_is_the_sound(scene: Scene, patch: Tensor) -> None:
    sound, targets = scene.with_targets(patch, noise_seed=7)
    assert torch.equal(sound, scene(patch, noise_seed=7))
    assert [*targets] == [spec.name for spec in SPECS]
    assert all(target.mask.all() for target in targets.values())
    torch.testing.assert_close(targets["sources"].value.sum(2), torch.ones(6, 7))
    assert targets["spectrum"].value.min() >= QUIETEST_DB - 1e-3


def test_the_background_is_not_in_the_spectrum_and_is_a_source(scene: Scene, patch: Tensor) -> None:
    quiet, loud = (turned(scene, patch, background__level=level) for level in (-60.0, 10.0))
    (_, before), (_, after) = scene.with_targets(quiet), scene.with_targets(loud)
    assert (after["sources"].value[..., -1] >= before["sources"].value[..., -1]).all()
    assert after["sources"].value[..., -1].mean() > 0.5
    # the background may raise the peak against which all is measured: the same for every band and step
    was = before["spectrum"].value
    change = (after["spectrum"].value - was)[was > -50.0]
    assert change.numel() > 20
    assert change.max() < 0.1


def test_a_note_has_its_pitch_as_its_source(scene: Scene) -> None:
    patch = torch.full((1, scene.size), 0.5)
    shared = {"event_1.mod_matrix.mod.1.0": 1.0, "event_1.adsr_1.sustain": 1.0, "event_1.keyboard.duration": 4.0}
    shared |= {"event_1.adsr_1.attack": 0.0, "event_1.mixer.level.0": 1.0, "event_1.mixer.level.1": 0.0}
    shared |= {"event_1.mixer.level.2": 0.0, "event_1.vco_1.tuning": 0.0, "event_1.vco_1.mod_depth": 0.0}
    shared |= {"event_1.onset": 0.0, "event_1.level": 0.0, "event_2.level": -30.0, "background.level": -60.0}
    for midi in (42.0, 60.0, 78.0):
        units = {name.replace(".", "__"): value for name, value in shared.items()}
        _, targets = scene.with_targets(turned(scene, patch, **units, event_1__keyboard__midi_f0=midi))
        assert (targets["sources"].value[0, 1:6, int((midi - 24.0) / 3.0)] > 0.9).all(), midi


def test_only_what_is_known_is_a_target() -> None:
    assert Scene("voice-fm", seconds=0.2).target_specs == ()
    assert Doppelgangers(Voice(seconds=0.2)).target_specs == ()
    with pytest.raises(SoundalikeError, match=r"training\.targets are what a synthesizer knows"):
        Recipe("x", {"training": {"targets": 1.0, "steps": 1}}).build()
    with pytest.raises(SoundalikeError, match=r"--instrument voice, or --targets 0"):
        Recipe.load("scenes-cpu").override({"voice.instrument": "parametric"}).build()
    with pytest.raises(SoundalikeError, match=r"training\.targets names 'spectra': did you mean 'spectrum'"):
        Recipe.load("scenes-cpu").override({"training.targets": {"spectra": 1.0}}).build()
    with pytest.raises(SoundalikeError, match=r"training\.targets is -1"):
        Recipe.load("scenes-cpu").override({"targets": -1.0}).training  # noqa: B018
    with pytest.raises(SoundalikeError, match="frame every 10 ms"):
        TargetPrediction(ResNet18(width=4), LogMel(hop=0.02), SPECS)


def test_a_target_of_weight_0_is_not_predicted() -> None:
    recipe = Recipe.load("scenes-cpu").override({"training.targets": {"sources": 2.0, "spectrum": 0.0}})
    prediction = recipe.build().prediction
    assert prediction is not None
    assert prediction.weights == {"sources": 2.0}
    assert recipe.override({"targets": 0.0}).build().prediction is None
    assert recipe.override({"targets.sources": 0.0}).build().prediction is None


@pytest.mark.parametrize("max_time_stride", [4, 8, 16, 32])
def test_outputs_stand_where_their_steps_do(max_time_stride: int) -> None:
    """A click is predicted at the step in which it is, when the layer repeats what the last stage has there."""
    encoder = ResNet18(width=4, max_time_stride=max_time_stride).eval()
    prediction = TargetPrediction(encoder, LogMel(), SPECS).eval()
    last = encoder.stages(torch.rand(2, 1, 96, 64))[-1]
    steps = prediction(last)["spectrum"].shape[1]
    assert steps in (10, 11, 12)
    assert prediction(last)["sources"].shape == (2, steps, PITCHES + 2)
    layer = prediction.frame_layer
    assert layer is not None
    with torch.no_grad():
        layer.weight.zero_()
        # each of an output's steps says which output and which step it is
        layer.bias.copy_(torch.arange(prediction.steps).repeat_interleave(BANDS + PITCHES + 2).float())
        layer.weight[:, 0] = 10.0
        marked = torch.zeros_like(last)
        marked[:, 0, :, 0] = torch.arange(last.shape[2]).float()
    said = prediction(marked)["spectrum"][0, :, 0]
    stride = encoder.strides[-1]
    for step, value in enumerate(said.tolist()):
        output, part = divmod(value, 10.0)
        if stride >= 8:  # an output hears what is around its place; its steps are spread evenly about it
            frame = output * stride + (part - prediction.steps // 2) * 8
            assert frame == 8 * step
        else:
            assert value / 10.0 == 2 * step + 0.5


def test_the_loss_against_a_slow_one() -> None:
    specs = (
        TargetSpec("level", "dB", size=2, centre=-60.0, spread=20.0),
        TargetSpec("share", classes=("a", "b", "c"), shares=True),
        TargetSpec("kind", classes=("d", "e")),
        TargetSpec("speaker", "cm", per="sound", centre=15.0, spread=2.0),
        TargetSpec("material", per="sound", classes=("wood", "steel", "glass")),
    )
    weights = {"level": 1.0, "share": 2.0, "kind": 0.5, "speaker": 3.0, "material": 1.5}
    encoder, generator = ResNet18(width=4, max_time_stride=8), torch.Generator().manual_seed(3)
    prediction = TargetPrediction(encoder, LogMel(), specs, weights)
    last = encoder.stages(torch.rand(6, 1, 56, 64, generator=generator))[-1]
    targets, steps = unknown(specs, 6, 0.56), 7
    for spec in specs:
        value, mask = targets[spec.name]
        value = torch.rand(value.shape, generator=generator) * 30.0 - 60.0
        if spec.shares:
            value = value.softmax(-1)
        elif spec.classes:
            value = torch.randint(len(spec.classes), value.shape, generator=generator)
        targets[spec.name] = Target(value, torch.rand(mask.shape, generator=generator) < 0.6)
    loss, parts = prediction.loss(last, targets)
    predicted, total = prediction(last), 0.0
    for spec in specs:
        losses = []
        for row in range(6):
            for step in range(steps if spec.per == "frame" else 1):
                place = (row, step) if spec.per == "frame" else (row,)
                if not targets[spec.name].mask[place]:
                    continue
                true, said = targets[spec.name].value[place], predicted[spec.name][place]
                if spec.shares:
                    chances = said.softmax(0).tolist()
                    losses.append(-sum(t * math.log(c) for t, c in zip(true.tolist(), chances, strict=True)))
                elif spec.classes:
                    losses.append(-math.log(said.softmax(0)[true]))
                else:
                    wrong = [(s - (t - spec.centre) / spec.spread) ** 2 for s, t in zip(said, true, strict=True)]
                    losses.append(float(sum(wrong)) / len(wrong))
        assert parts[spec.name].item() == pytest.approx(sum(losses) / len(losses), rel=1e-4)
        total += weights[spec.name] * sum(losses) / len(losses)
    assert loss.item() == pytest.approx(total, rel=1e-4)
    nothing, _ = prediction.loss(last, unknown(specs, 6, 0.56))
    assert nothing.item() == 0.0


def test_an_encoder_learns_to_say_what_it_hears() -> None:
    recipe = Recipe.load("scenes-cpu").override(
        {"training.batch_size": 16, "training.steps": 12, "encoder.width": 8, "encoder.max_channels": 8}
    )
    learner = Learner(recipe)
    optimizer = torch.optim.AdamW(learner.parameters(), 0.01)
    losses = []
    for _ in range(12):  # the same pairs every time
        loss, parts = learner.loss(torch.arange(16))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(parts["targets"].item())
    assert losses[-1] < 0.6 * losses[0]
    assert learner.prediction is not None
    assert learner.prediction.frame_layer is not None
    assert learner.prediction.frame_layer.weight.grad is not None
    assert parts["targets"].item() == pytest.approx(3.0 * (parts["spectrum"] + parts["sources"]).item(), rel=1e-4)
    whole = loss.item() - parts["targets"].item()
    assert 0.0 < whole < math.log(2 * 2 * 16 * 3), "what is left is the contrastive loss"


def test_targets_stay_with_their_views_however_a_batch_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = Learner(Recipe.load("scenes-cpu"))
    inputs, _, _, whole, _ = learner.inputs(torch.arange(8))
    monkeypatch.setattr("soundalike.train.step.PAIRS_AT_ONCE", 4)
    again, _, _, parts, _ = learner.inputs(torch.arange(8))
    assert [*whole] == [*parts] == ["spectrum", "sources"]
    torch.testing.assert_close(inputs, again, rtol=1e-4, atol=1e-4)
    for name, target in whole.items():
        torch.testing.assert_close(target.value, parts[name].value, rtol=1e-4, atol=1e-3)


def test_a_sound_is_mixed_in_as_loud_as_asked(scene: Scene) -> None:
    plain, mixed = Doppelgangers(scene, 0.1), Doppelgangers(scene, 0.1, mix=(6.0, 6.0))
    numbers = torch.arange(8)
    before, after = plain.batch(3, numbers), mixed.batch(3, numbers)

    def level(sound: Tensor) -> Tensor:
        return sound / sound.abs().amax(1, keepdim=True).clamp(min=1e-6)

    for first, sounds, step in ((after.first, before.first, 1), (after.second, before.second, 2)):
        expected = level(sounds) + 10.0 ** (-6.0 / 20.0) * level(sounds)[numbers ^ step]
        torch.testing.assert_close(first, expected / expected.abs().amax(1, keepdim=True).clamp(min=1.0))
    known = mixed.batch(3, numbers, targets=True)
    assert torch.equal(known.first, after.first)
    alone = plain.batch(3, numbers, targets=True).targets["spectrum"].value
    assert torch.equal(known.targets["spectrum"].value, alone), "the targets are of the sound alone"


def test_what_is_mixed_in_depends_on_the_index_alone(scene: Scene) -> None:
    views = Doppelgangers(scene, 0.1, mix=(6.0, 36.0))
    whole = views.batch(3, torch.arange(8))
    some = views.batch(3, torch.tensor([5, 2]))  # their neighbours are not in the batch
    torch.testing.assert_close(some.first, whole.first[[5, 2]])
    torch.testing.assert_close(some.second, whole.second[[5, 2]])
    pooled = Doppelgangers(scene, 0.1, mix=(6.0, 36.0), pool=3).batch(3, torch.arange(6))
    torch.testing.assert_close(pooled.first[:3], pooled.first[3:])


@pytest.mark.parametrize("mix", [(36.0, 6.0), (-1.0, 6.0), (1.0, math.inf), (1.0,)])
def test_a_mix_out_of_range_is_refused(scene: Scene, mix: tuple[float, ...]) -> None:
    with pytest.raises(SoundalikeError, match="the lowest and the highest number of decibels"):
        Doppelgangers(scene, 0.1, mix=mix)  # type: ignore[arg-type]
