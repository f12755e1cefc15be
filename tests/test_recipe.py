"""Recipes: what they hold, how they are overridden, what they refuse, and that they survive being written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import soundalike.model.recipe
from soundalike.cli import main
from soundalike.core.errors import SoundalikeError
from soundalike.model.parts import SECTIONS
from soundalike.model.recipe import LENGTHS, Recipe, shipped
from soundalike.model.settings import OPTIMIZERS, SCHEDULES
from soundalike.synth import Parametric

FOLDER = Path(soundalike.model.recipe.__file__).parent / "recipes"


def refused(recipe: Recipe, **override: Any) -> str:
    """What a person is told who overrides a recipe with something it cannot hold."""
    with pytest.raises(SoundalikeError) as error:
        recipe.override({key.replace("__", "."): value for key, value in override.items()}).build()
    sentence = str(error.value)
    assert "\n" not in sentence
    assert sentence.endswith((".", "?"))
    return sentence


def test_these_recipes_are_shipped() -> None:
    assert {"doppelgangers", "doppelgangers-cpu", "ears", "ears-cpu"} <= set(shipped())


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_build(name: str) -> None:
    recipe = Recipe.load(name)
    parts = recipe.build()
    if recipe.recordings is not None:  # only what embeds can be built before they are opened
        assert parts.views is None
        assert (parts.head is None) == parts.objective.needs_labels
        return
    with torch.no_grad():
        pair = parts.views.batch(0, torch.arange(2))
        features = parts.frontend(torch.cat((pair.first, pair.second)))
        loss = parts.objective(*parts.head(parts.encoder(features)).chunk(2)).loss
    assert torch.isfinite(loss)
    assert parts.views.voices
    assert all(voice.sample_rate == parts.frontend.sample_rate for voice in parts.views.voices)


@pytest.mark.parametrize("name", shipped())
def test_every_key_of_a_shipped_recipe_has_a_comment(name: str) -> None:
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    keys = [line for line in lines if re.match(r" +\w+:", line)]
    assert len(keys) > 20
    assert [line for line in keys if not re.search(r"\S # \S| {2,}# \S", line)] == []
    assert lines[0].startswith("# ")


def test_the_paper_s_run_to_the_letter() -> None:
    sections = Recipe.load("doppelgangers").sections
    assert sections["voice"]["name"] == "voice"
    assert sections["views"] | {"delta": 0.25, "uniform_in": "units"} == sections["views"]
    assert sections["encoder"] | {"name": "resnet18", "size": 512} == sections["encoder"]
    assert sections["head"] == {"name": "identity", "loss": "clip"}
    assert sections["objective"]["name"] == "align-uniform"
    assert sections["readout"]["name"] == "pooled"
    training = Recipe.load("doppelgangers").training
    assert (training.batch_size, training.optimizer, training.pairs) == (768, "sgd", 200 * 90_000)
    assert training.rate(0.0) == pytest.approx(0.36)
    assert [round(200 * milestone) for milestone in training.milestones] == [155, 170, 185]


def test_the_laptop_s_run_reads_stages() -> None:
    assert Recipe.load("doppelgangers-cpu").sections["readout"]["name"] == "stages"


# overriding


def test_short_and_long_keys(tiny: Recipe) -> None:
    changed = tiny.override({"batch-size": 16, "training.seed": 3, "voice": "voice-fm", "objective.temperature": 0.3})
    assert changed.training.batch_size == 16
    assert changed.training.seed == 3
    assert changed.sections["voice"]["name"] == "voice-fm"
    assert changed.sections["objective"]["temperature"] == 0.3
    assert tiny.training.batch_size == 8, "the recipe itself stays as it is"
    assert tiny.override({}) == tiny


def test_keys_of_a_mapping_that_was_not_given() -> None:
    keys = {"views": "mixed", "views.synthetic.delta": 0.1, "views.recorded.pair": "jitter"}
    views = Recipe.load("doppelgangers").override(keys).sections["views"]
    # what the recipe said of its synthetic pairs stays, but for what was given
    assert views["synthetic"] == {"delta": 0.1, "uniform_in": "units", "noise": "fixed", "takes": 2}
    assert views["recorded"] == {"pair": "jitter"}


def test_a_file_with_a_source_that_its_views_do_not_hear(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("recordings: {task: esc10, data: here}\ntraining: {steps: 2}\n", encoding="utf-8")
    with pytest.raises(
        SoundalikeError, match=r"mine\.yaml: this recipe has no recordings, because its views are 'doppel"
    ):
        Recipe.load(path)


def test_delta_of_a_group() -> None:
    paper = Recipe.load("doppelgangers").override({"delta.pitch": 0.01})
    assert paper.sections["views"]["delta"] == {"other": 0.25, "pitch": 0.01}
    groups = paper.override({"delta.level": 0.5, "views.delta.pitch": 0.02}).sections["views"]["delta"]
    assert groups == {"other": 0.25, "pitch": 0.02, "level": 0.5}
    assert paper.override({"delta": 0.1}).sections["views"]["delta"] == 0.1
    voice = paper.build().voice
    deltas = paper.build().views.deltas
    for spec, delta in zip(voice.specs, deltas.tolist(), strict=True):
        assert delta == pytest.approx(0.01 if spec.group == "pitch" else 0.25)


def test_another_part_brings_its_own_keys() -> None:
    paper = Recipe.load("doppelgangers")
    changed = paper.override({"objective": "nt-xent", "temperature": 0.2, "readout.name": "stages"})
    assert changed.sections["objective"] == {"name": "nt-xent", "temperature": 0.2}
    assert set(changed.sections["readout"]) == {"name", "bands", "features", "quarter_tones", "chunk"}
    # what both parts take stays as it was set
    longer = paper.override({"seconds": 0.5}).override({"voice": "parametric", "sine": 3})
    assert longer.sections["voice"]["seconds"] == 0.5
    assert longer.build().voice.size == Parametric(sine=3).size
    # the order on the command line does not matter
    assert paper.override({"temperature": 0.2, "objective": "nt-xent"}) == paper.override(
        {"objective": "nt-xent", "temperature": 0.2}
    )


def test_the_same_part_again_keeps_its_keys(tiny: Recipe) -> None:
    assert tiny.override({"encoder": "resnet18"}) == tiny


@pytest.mark.parametrize("key", LENGTHS)
def test_lengths_replace_each_other(key: str) -> None:
    for recipe in (Recipe.load("doppelgangers"), Recipe.load("doppelgangers-cpu")):
        training = recipe.override({key: 5}).training
        assert {name: getattr(training, name) for name in LENGTHS} == {
            name: 5 if name == key else None for name in LENGTHS
        }


def test_two_lengths_may_be_given_together(tiny: Recipe) -> None:
    training = tiny.override({"steps": 100, "minutes": 0.5}).training
    assert (training.steps, training.minutes, training.pairs) == (100, 0.5, None)


# refusing


def test_unknown_names_are_answered_with_the_nearest(tiny: Recipe) -> None:
    assert "unknown voice 'vioce': did you mean 'voice' or 'voice-fm'?" in refused(tiny, voice="vioce")
    assert "did you mean 'nt-xent'? Known: align-uniform, joint, multi-positive, nt-xent, supervised." in refused(
        tiny, objective="ntxent"
    )
    assert "Known: pooled, stages." in refused(tiny, readout="zzz")
    assert "did you mean batch_size" in refused(tiny, batchsize=3)
    assert "did you mean 'width'?" in refused(tiny, encoder__widht=3)
    assert "--print-recipe shows every key" in refused(tiny, qqq=3)
    assert "did you mean 'pitch'?" in refused(tiny, delta__pich=0.1)
    assert "did you mean 'sgd'?" in refused(tiny, optimizer="sdg")
    with pytest.raises(SoundalikeError, match=r"did you mean 'doppelgangers'.*ends in \.yaml\.$"):
        Recipe.load("dopelgangers")


@pytest.mark.parametrize("name", ["", "/", "..", "recipes/doppelgangers"])
def test_what_is_no_name_of_a_recipe(name: str) -> None:
    with pytest.raises(SoundalikeError, match="unknown recipe"):
        Recipe.load(name)


def test_a_key_of_a_part_that_is_not_chosen(tiny: Recipe) -> None:
    assert "has no key 'sine'" in refused(tiny, sine=3)
    assert "has no key 'alpha'" in refused(tiny, alpha=3)


@pytest.mark.parametrize("key", ["voice.sample_rate", "encoder.channels", "views.voice", "head.size_in"])
def test_what_one_part_takes_from_another_cannot_be_set(tiny: Recipe, key: str) -> None:
    assert "has no key" in refused(tiny, **{key.replace(".", "__"): 3})


def test_the_voice_follows_the_front_end(tiny: Recipe) -> None:
    parts = tiny.override({"sample_rate": 20_000}).build()
    assert parts.voice.sample_rate == parts.frontend.sample_rate == 20_000


def test_ambiguous_keys(tiny: Recipe) -> None:
    assert "write encoder.size or head.size." in refused(tiny, size=3)
    assert refused(tiny, name="voice").startswith("unknown recipe key 'name'")
    # with the paper's head only the encoder has a size, until another head is chosen
    paper = Recipe.load("doppelgangers")
    assert paper.override({"size": 3}).sections["encoder"]["size"] == 3
    assert "write encoder.size or head.size." in refused(paper, head="projection", size=3)


def test_keys_below_a_single_value(tiny: Recipe) -> None:
    assert refused(tiny, encoder__width__x=3) == "recipe key encoder.width holds one value: it has no key 'x'."
    assert "views.delta.pitch holds one value" in refused(tiny, delta__pitch__x=3)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("batch_size", 2.5, "give a whole number"),
        ("batch_size", True, "give a whole number"),
        ("batch_size", None, "give a whole number"),
        ("steps", "many", "give a whole number or null"),
        ("learning_rate", "nan", "give a number"),
        ("learning_rate", float("nan"), "give a number"),
        ("minutes", float("inf"), "give a number or null"),
        ("learning_rate", 10**400, "give a number"),
        ("delta", "abc", "give a number or keys and values"),
        ("delta", None, "give a number or keys and values"),
        ("milestones", 0.5, "give a list"),
        ("milestones", [0.5, "x"], "give a list"),
        ("augment", "fade", "give a list of names, or of keys and values or null"),
        ("pool", 2.5, "give a whole number or null"),
        ("pool", 1, "give a whole number from 2"),
        ("peak", 3, "give a name"),
        ("voice", ["voice"], "Known: body, mouth, parametric, scene, texture, voice, voice-fm."),
        ("voice", None, "Known: body, mouth, parametric, scene, texture, voice, voice-fm."),
        ("delta.pitch", "abc", "give a number from 0 to 1"),
    ],
)
def test_wrong_kinds(tiny: Recipe, key: str, value: Any, said: str) -> None:
    sentence = refused(tiny, **{key.replace(".", "__"): value})
    assert said in sentence
    assert key in sentence


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("delta", value) for value in (0, 1.5, -1, -0.0)),
        *(("delta.pitch", value) for value in (-0.1, 1.1)),
        *(("batch_size", value) for value in (1, 0, -8, 2**63)),
        *(("steps", value) for value in (0, -5)),
        *(("minutes", value) for value in (0, -1)),
        *(("seed", value) for value in (-1, 2**63)),
        ("pairs", 0),
        ("learning_rate", 0),
        ("learning_rate", -1),
        ("momentum", -0.1),
        ("weight_decay", -1),
        ("warmup", 1),
        ("warmup", -0.1),
        ("milestones", [1.5]),
        ("validation_pairs", 1),
        ("validate_every", -1),
        ("checkpoint_every", -1),
        ("schedule", "linear"),
        ("precision", "fp16"),
        ("seconds", 0),
        ("encoder.width", 0),
        ("encoder.dimensions", 1),
        ("encoder.dimensions", 3),
        ("temperature", 0),
        ("head.layers", 0),
        ("readout.bands", 0),
        ("frontend.hop", 0),
        ("peak", "loudest"),
        ("noise", "none"),
        ("uniform_in", "unit"),
    ],
)
def test_values_out_of_range(tiny: Recipe, key: str, value: Any) -> None:
    assert key.split(".")[-1] in refused(tiny, **{key.replace(".", "__"): value})


def test_delta_of_0_everywhere(tiny: Recipe) -> None:
    nothing = {"delta": {"other": 0}}
    assert "both views would be the same sound" in refused(tiny, **nothing)


def test_a_run_needs_a_length(tiny: Recipe) -> None:
    with pytest.raises(SoundalikeError, match=r"training\.steps, training\.pairs or training\.epochs\.$"):
        _ = tiny.override({"steps": None}).training


# files


@pytest.mark.parametrize("name", [*shipped(), "tiny"])
def test_round_trips(name: str, tiny: Recipe, tmp_path: Path) -> None:
    recipe = tiny if name == "tiny" else Recipe.load(name)
    path = tmp_path / "other.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert Recipe.load(path) == recipe
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert recipe.name == ("doppelgangers-cpu" if name == "tiny" else name)


@settings(max_examples=25, deadline=None)
@given(
    batch_size=st.integers(2, 4096),
    seed=st.integers(0, 2**63 - 1),
    learning_rate=st.floats(1e-9, 1e9),
    delta=st.one_of(
        st.floats(1e-6, 1), st.dictionaries(st.sampled_from(["pitch", "phase", "other"]), st.floats(0.1, 1))
    ),
    optimizer=st.sampled_from(OPTIMIZERS),
    schedule=st.sampled_from(SCHEDULES),
    milestones=st.lists(st.floats(0, 1), max_size=4),
)
def test_any_setting_survives_yaml_and_json(tmp_path_factory: pytest.TempPathFactory, **chosen: Any) -> None:
    recipe = Recipe.load("doppelgangers").override(chosen)
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert Recipe.load(path) == recipe
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    "augment", [["fade"], ["high-pass", {"name": "noise", "snr_db": [5, 40], "p": 0.5}], [{"name": "fade"}], [], None]
)
def test_augmentations_survive_yaml_and_json_and_are_built(tiny: Recipe, tmp_path: Path, augment: Any) -> None:
    recipe = tiny.override({"views.augment": augment, "pool": 100})
    path = tmp_path / "mine.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert Recipe.load(path).sections == recipe.sections
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    views = Recipe.load(path).build().views
    assert views.pool == 100
    assert len(views.augmentation.members if views.augmentation else []) == len(augment or [])


def test_augmentations_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    def augment(value: str) -> Any:
        assert main(["pretrain", "--recipe", "scenes-cpu", "--print-recipe", "--views.augment", value]) == 0
        return yaml.safe_load(capsys.readouterr().out)["views"]["augment"]

    assert augment("[fade, noise]") == ["fade", "noise"]
    assert augment("[fade, {name: high-pass, cutoff: [20, 800]}]") == [
        "fade",
        {"name": "high-pass", "cutoff": [20, 800]},
    ]
    assert augment("null") is None
    assert main(["pretrain", "--recipe", "scenes-cpu", "--print-recipe", "--augment", "[fads]"]) == 2
    assert "unknown augmentation 'fads': did you mean 'fade'?" in capsys.readouterr().err


def test_a_recipe_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text("voice: {name: voice-fm, seconds: 0.5}\ntraining: {steps: 3}\nhead:\n", encoding="utf-8")
    recipe = Recipe.load(path)
    assert recipe.name == "mine"
    assert set(recipe.sections) == set(SECTIONS) - {"recordings"}, "synthetic sounds need none"
    assert recipe.build().voice.samples == 8000
    assert recipe.training.steps == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("views: {delta: [1", r"mine\.yaml: not a recipe that can be read \(line [12]: .*\); mend its YAML\.$"),
        ("a: 1\na: 2\n", r"not a recipe that can be read \(line 2: found duplicate key a\)"),
        ("- 1\n- 2\n", r"mine\.yaml: not a recipe; give it sections such as voice"),
        ("just words", r"mine\.yaml: not a recipe; give it sections such as voice"),
        ("\x00\x01", r"mine\.yaml: not a recipe that can be read"),
        ("voices: {name: voice}", r"recipe mine: unknown section 'voices': did you mean 'voice' or 'views'\?"),
        ("3: {name: voice}", r"recipe mine: unknown section 3: Known: "),
        ("voice: voice-fm", r"recipe mine: voice is 'voice-fm': give keys and values below it\.$"),
        ("voice: {3: 4}", r"recipe mine: voice has no key 3: Known: "),
        ("voice: {name: [voice]}", r"recipe mine: unknown voice \['voice'\]"),
        ("voice: {seconds: ${nowhere}}", r"mine\.yaml: not a recipe that can be read"),
        ("voice: {seconds: '???'}", r"recipe mine: voice\.seconds is '\?\?\?': give a number\.$"),
    ],
)
def test_files_that_are_no_recipes(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SoundalikeError, match=said) as error:
        Recipe.load(path)
    assert "\n" not in str(error.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(SoundalikeError, match=r"nothing\.yaml: no such recipe file\.$"):
        Recipe.load(tmp_path / "nothing.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(SoundalikeError, match=r"folder\.yaml: not a recipe that can be read"):
        Recipe.load(tmp_path / "folder.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(SoundalikeError, match=r"bytes\.yaml: not a recipe that can be read"):
        Recipe.load(tmp_path / "bytes.yaml")


# building


def test_the_seed_fixes_the_weights(tiny: Recipe) -> None:
    def weights(recipe: Recipe, seed: int | None = None) -> torch.Tensor:
        parts = recipe.build(seed)
        parameters = [*parts.encoder.parameters(), *parts.head.parameters()]
        return torch.cat([parameter.detach().flatten() for parameter in parameters])

    assert torch.equal(weights(tiny), weights(tiny))
    assert torch.equal(weights(tiny.override({"seed": 5})), weights(tiny, seed=5))
    assert not torch.equal(weights(tiny), weights(tiny, seed=5))


def test_building_leaves_the_global_random_state_alone(tiny: Recipe) -> None:
    before = torch.random.get_rng_state()
    tiny.build()
    Recipe.load("doppelgangers").build(seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
