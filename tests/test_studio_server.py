"""The server of `soundalike studio`: pairs are functions of what is asked, mistakes are sentences, recipes load."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

pytest.importorskip("starlette")

from starlette.testclient import TestClient

import soundalike
from soundalike.apps.pages.local_server import POLICY, Guard
from soundalike.apps.pages.spectrogram import BANDS
from soundalike.apps.studio.app import FILES, make_app
from soundalike.apps.studio.query import Query
from soundalike.apps.studio.studio import Studio
from soundalike.model.recipe import Recipe
from soundalike.synth import VOICES
from soundalike.views.view import HELD_OUT

PORT, TOKEN = 8123, "t0ken-of-the-tests"
HOME = f"http://127.0.0.1:{PORT}"
LATE = {"word.onset": 0.9}


class Person(TestClient):
    """A browser at the page."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(Guard(make_app(studio, "mouth"), TOKEN, PORT), base_url=f"{HOME}/{TOKEN}")

    def ask(self, what: str, **question: Any) -> Any:
        return self.get(f"/{what}", params={"q": json.dumps({"voice": "mouth", **question})})

    def told(self, what: str, **question: Any) -> Any:
        answer = self.ask(what, **question)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def sound(self, which: str, **question: Any) -> np.ndarray:
        answer = self.ask(f"{which}.wav", **question)
        assert answer.status_code == 200, answer.text
        return soundfile.read(io.BytesIO(answer.content), dtype="float32")[0]

    def refusal(self, what: str, **question: Any) -> str:
        answer = self.ask(what, **question)
        assert 400 <= answer.status_code < 500
        assert answer.text.endswith((".", "?"))
        assert "\n" not in answer.text
        return answer.text


@pytest.fixture(scope="module")
def model(run: Path) -> Any:
    return soundalike.load(run)


@pytest.fixture
def person(model: Any) -> Person:
    return Person(Studio(model))


# who is let in


def test_the_page_is_behind_the_guard(person: Person) -> None:
    for name in FILES:
        answer = person.get(f"/{name}")
        assert answer.status_code == 200, name
        assert answer.headers["Content-Security-Policy"] == POLICY
    for what in ("pair", "a.wav", "recipe.yaml"):
        assert person.ask(what).status_code == 200
        assert person.get(f"{HOME}/x/{what}").status_code == 403
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert person.get(f"/{what}", params={"q": '{"voice": "mouth"}'}, headers=headers).status_code == 403
    assert person.post("/pair", headers={"Origin": HOME}).status_code == 405


def test_the_page_has_no_script_or_style_of_its_own(person: Person) -> None:
    page = person.get("/").text
    assert "<script>" not in page
    assert "<style" not in page
    assert 'style="' not in page
    assert "innerHTML" not in "".join(person.get(f"/{name}").text for name in FILES if name.endswith(".js"))


# what is refused


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"voice": "mout"}, "did you mean 'mouth'"),
        ({"voice": None}, "voice is None"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"seed": True}, "seed is True"),
        ({"seed": 1 << 32}, "seed is 4294967296"),
        ({"knobs": {"word.onse": 0.5}}, "did you mean word.onset"),
        ({"knobs": {"word.onset": 1.01}}, "knob word.onset is 1.01"),
        ({"knobs": {"word.onset": float("nan")}}, "NaN"),
        ({"knobs": {"word.onset": float("inf")}}, "Infinity"),
        ({"knobs": {"word.onset": "0.5"}}, "knob word.onset is '0.5'"),
        ({"knobs": [0.5]}, "knobs is [0.5]"),
        ({"delta": {"room": 1.5}}, "delta.room is 1.5"),
        ({"delta": {"room": -0.1}}, "delta.room is -0.1"),
        ({"delta": {"room": float("nan")}}, "NaN"),
        ({"delta": {"room": [1]}}, "delta.room is [1]"),
        ({"delta": {"rom": 0.1}}, "did you mean 'room'"),
        ({"delta": dict.fromkeys(("kind", "content", "speaker", "envelope", "room"), 0)}, "delta is 0"),
        ({"knob": {}}, "did you mean 'knobs'"),
    ],
)
def test_a_mistake_is_one_sentence(person: Person, question: dict[str, Any], said: str) -> None:
    assert said in person.refusal("pair", **question)


@pytest.mark.parametrize("what", ["about", "changes", "likeness", "patch.wav", "a.wav", "b.levels", "recipe.yaml"])
def test_every_answer_refuses_mistakes(person: Person, what: str) -> None:
    assert "did you mean 'mouth'" in person.refusal(what, voice="mout")
    if what != "about":
        assert "did you mean word.onset" in person.refusal(what, knobs={"word.onse": 0.5})


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", '{"voice": "mouth", "knobs": {"word.onset": 1e999}}', "[" * 9999]
)
def test_what_is_no_question_is_refused(person: Person, text: str) -> None:
    answer = person.get("/pair", params={"q": text})
    assert answer.status_code == 400
    assert answer.text.endswith(".")


def test_there_is_no_other_sound(person: Person) -> None:
    assert person.ask("c.wav").status_code == 404
    assert person.ask("theta.levels").status_code == 404


# what is heard


def test_the_same_question_has_the_same_sound(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soundalike.apps.studio.studio._KEPT", 2)
    person = Person(Studio(model))
    question = {"seed": 7, "knobs": LATE, "delta": {"room": 0.2, "speaker": "new"}}
    first = {which: person.sound(which, **question) for which in ("patch", "a", "b")}
    for seed in range(3):  # so that none of them is kept
        person.told("pair", voice="voice", seed=seed)
    for again in (person, Person(Studio(model))):
        for which, sound in first.items():
            np.testing.assert_array_equal(again.sound(which, **question), sound)
    assert not np.array_equal(first["a"], first["b"])
    assert not np.array_equal(first["a"], person.sound("a", **{**question, "seed": 8}))


def test_a_moved_knob_moves_that_knob_alone(person: Person) -> None:
    before, after = person.told("pair", seed=3), person.told("pair", seed=3, knobs=LATE)
    names = [spec.name for spec in VOICES["mouth"]().specs]
    place = names.index("word.onset")
    assert after["patch"][place] == 0.9
    assert after["words"][place] == "90 %"
    others = [at for at in range(len(names)) if at != place]
    for view in ("patch", "a", "b"):
        assert [after[view][at] for at in others] == [before[view][at] for at in others]


def test_delta_says_what_differs(person: Person) -> None:
    groups = {group["name"]: group for group in person.told("about")["groups"]}
    places = {name: [knob["place"] for knob in group["knobs"]] for name, group in groups.items()}
    pair = person.told("pair", seed=2, delta={"kind": 0, "content": 0.1, "speaker": "new", "envelope": 0, "room": 0})
    assert pair["within"]["kind"] == "the same"
    assert pair["within"]["content"] == "nudged by 0.1"
    assert pair["within"]["speaker"] == "drawn anew"
    for group in ("kind", "room"):
        assert all(
            pair["a"][at] == pair["b"][at] == pytest.approx(pair["patch"][at], abs=2e-4) for at in places[group]
        )
    for group, least in (("content", 0.02), ("speaker", 0.15)):
        assert np.mean([abs(pair["a"][at] - pair["b"][at]) for at in places[group]]) > least
    told = person.told("changes", seed=2, delta={"kind": 0, "content": 0, "speaker": 0, "envelope": 0, "room": "new"})
    assert told["most"] == ["room"]
    assert {each["group"] for each in told["changes"]} == {"room"}
    assert told["changes"] == sorted(told["changes"], key=lambda each: -each["heard"])


@pytest.mark.parametrize("voice", VOICES)
def test_every_voice_is_shown(person: Person, voice: str) -> None:
    about = person.told("about", voice=voice)
    assert sorted(knob["place"] for group in about["groups"] for knob in group["knobs"]) == [*range(about["knobs"])]
    pair = person.told("pair", voice=voice)
    assert all(len(pair[key]) == about["knobs"] for key in ("words", "patch", "a", "b"))
    assert all(pair["words"])
    levels = person.ask("b.levels", voice=voice)
    assert len(levels.content) % BANDS == 0
    assert levels.headers["Seconds"] == "1"
    assert "render;dur=" in levels.headers["Server-Timing"]


def test_likeness_falls_as_delta_grows(person: Person) -> None:
    near, far = (person.told("likeness", delta=dict.fromkeys(GROUPS_OF_MOUTH, delta)) for delta in (0.002, 1.0))
    for close, apart in zip(near, far, strict=True):
        assert close["name"] == apart["name"]
        assert 1.0 >= close["similarity"] > apart["similarity"] >= -1.0
        assert close["similarity"] > 0.5
        assert close["nearer"] > 0.9


GROUPS_OF_MOUTH = ("kind", "content", "speaker", "envelope", "room")


# what is taken away


@pytest.mark.parametrize("voice", ["mouth", "voice", "scene"])
def test_the_recipe_gives_the_same_pair(person: Person, voice: str, tmp_path: Path) -> None:
    question = {"voice": voice, "seed": 11, "delta": {"envelope": "new" if voice == "mouth" else 0.3}}
    answer = person.ask("recipe.yaml", **question)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{voice}-11.yaml"'
    file = tmp_path / f"{voice}-11.yaml"
    file.write_text(answer.text, encoding="utf-8")
    recipe = Recipe.load(file)
    assert recipe.training.seed == 11
    batch = recipe.build().views.batch(11, torch.tensor([HELD_OUT]))  # what `listen --seed 11` shows first
    for which, view in (("a", batch.first), ("b", batch.second)):
        np.testing.assert_allclose(view[0].detach().numpy(), person.sound(which, **question), atol=1e-4)


def test_a_recipe_says_which_knobs_it_cannot_have(person: Person) -> None:
    text = person.ask("recipe.yaml", seed=5, knobs=LATE).text
    assert "#     word.onset: 0.9\n" in text
    assert "listen --recipe mouth-5.yaml --seed 5" in text
    assert "moved" not in person.ask("recipe.yaml", seed=5).text


def test_a_query_is_read_in_any_order() -> None:
    one = Query.parse('{"voice": "mouth", "knobs": {"b": 1, "a": 0.5}, "delta": {"room": 1}}')
    assert one == Query.parse('{"delta": {"room": 1.0}, "knobs": {"a": 0.5, "b": 1.0}, "seed": 0, "voice": "mouth"}')
    assert hash(one) == hash(Query.parse('{"voice": "mouth", "knobs": {"a": 0.5, "b": 1}, "delta": {"room": 1}}'))


@pytest.mark.parametrize(("arguments", "said"), [(("--voice", "mout"), "'mouth'"), (("--port", "70000"), "--port")])
def test_the_command_refuses_what_it_cannot_serve(cli: Any, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = cli("studio", "--no-browser", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
