"""The server of `soundalike review`: who is let in, what is served, what labels become."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette")

from starlette.testclient import TestClient

import soundalike
from local_server import refusal
from soundalike.apps.classifier import load_classifier, teach_with_report
from soundalike.apps.classifier.teaching import TrainingFeatures
from soundalike.apps.pages.local_server import POLICY, Guard, listen
from soundalike.apps.pages.spectrogram import BANDS, picture
from soundalike.apps.review.app import FILES, make_app
from soundalike.apps.review.labels import LabelFile
from soundalike.apps.review.project import Project
from soundalike.apps.review.sounds import items_of

SAMPLE = Path(__file__).parents[1] / "data" / "free-spoken-digit-dataset" / "recordings"
PORT, TOKEN = 8123, "t0ken-of-the-tests"
HOME = f"http://127.0.0.1:{PORT}"


class Person(TestClient):
    """A browser at the page of a project."""

    def __init__(self, project: Project) -> None:
        self.project = project
        super().__init__(Guard(make_app(project), TOKEN, PORT), base_url=f"{HOME}/{TOKEN}", headers={"Origin": HOME})

    def queue(self, order: str = "random", **more: object) -> list[dict[str, Any]]:
        answer = self.get("/queue", params={"order": order, "most": 100, **more})
        assert answer.status_code == 200, answer.text
        return list(answer.json())

    def label(self, sound: dict[str, Any], label: str | None, before: str | None = None) -> list[dict[str, Any]]:
        change = {"key": sound["key"], "label": label, "before": before}
        answer = self.post("/labels", json={"changes": [change]})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["kept"])

    def state(self) -> dict[str, Any]:
        return dict(self.get("/state").json())

    def settled(self, labels: int) -> dict[str, Any]:
        """The state once the classifier has learned from so many labels."""
        for _ in range(600):
            state = self.state()
            if state["learned"] == labels and not state["learning"]:
                return state
            time.sleep(0.05)
        raise AssertionError(state)

    def heard(self, sounds: int) -> None:
        """Waits until there are features of so many sounds."""
        for _ in range(600):
            if self.state()["embedded"] == sounds:
                return
            time.sleep(0.05)
        raise AssertionError(self.state())


def digit(sound: dict[str, Any]) -> str:
    return str(Path(sound["name"]).name[0])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty recordings of three digits, and a file that is no audio."""
    monkeypatch.setenv("SOUNDALIKE_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "sounds"
    root.mkdir()
    for number in range(3):
        for file in sorted(SAMPLE.glob(f"{number}_*.wav"))[:10]:
            shutil.copy(file, root / file.name)
    (root / "broken.wav").write_text("no sound")
    return root


@pytest.fixture
def model(run: Path) -> Any:
    return soundalike.load(run)


@pytest.fixture
def person(folder: Path, model: Any) -> Iterator[Person]:
    with opened(folder, model) as person:
        yield person


class opened:
    """A project that works in the background as long as it is needed."""

    def __init__(self, folder: Path, model: Any, **more: Any) -> None:
        items, _ = items_of(folder)
        table = more.pop("table", folder / "labels.csv")
        self.project = Project(items, LabelFile(table), model, folder, folder.parent / "mine.safetensors", **more)

    def __enter__(self) -> Person:
        self.project.start()
        return Person(self.project)

    def __exit__(self, *_: object) -> None:
        self.project.stop()


# who is let in


@pytest.mark.parametrize("path", ["", "state", "queue", "review.js", "sounds/x.wav"])
def test_without_the_token_nothing_is_told(person: Person, path: str) -> None:
    for base in (f"{HOME}/", f"{HOME}/{TOKEN[:-1]}/", f"{HOME}/{TOKEN}x/", f"{HOME}//{TOKEN}/", f"{HOME}/x/../"):
        answer = person.get(base + path)
        assert answer.status_code == 403, base + path
        assert TOKEN not in answer.text
        assert answer.headers["Content-Security-Policy"] == POLICY


@pytest.mark.parametrize(
    "host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}", f"0.0.0.0:{PORT}", ""]
)
def test_another_host_is_refused(person: Person, host: str) -> None:
    assert person.get("/state", headers={"Host": host}).status_code == 421
    assert person.post("/labels", json={"changes": []}, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", f"https://127.0.0.1:{PORT}", "http://127.0.0.1:1"])
def test_another_origin_is_refused(person: Person, origin: str) -> None:
    sound = person.queue()[0]
    for path in ("/labels", "/save", "/state"):
        assert person.post(path, json={"changes": [sound]}, headers={"Origin": origin}).status_code == 403
    assert person.get("/state", headers={"Origin": origin}).status_code == 403
    assert person.state()["labelled"] == 0


def test_what_changes_something_needs_an_origin_and_no_other_site(person: Person) -> None:
    del person.headers["Origin"]
    assert person.get("/state").status_code == 200
    assert person.post("/labels", json={"changes": []}).status_code == 403
    other = {"Sec-Fetch-Site": "cross-site"}
    assert person.get("/state", headers=other | {"Sec-Fetch-Mode": "no-cors"}).status_code == 403
    assert person.get("/", headers=other | {"Sec-Fetch-Mode": "navigate"}).status_code == 200  # a link to the page
    assert person.get("/state", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_localhost_is_the_same_machine(person: Person) -> None:
    here = {"Host": f"localhost:{PORT}", "Origin": f"http://localhost:{PORT}"}
    assert person.post("/labels", json={"changes": []}, headers=here).status_code == 200
    mixed = {"Host": f"localhost:{PORT}", "Origin": HOME}
    assert person.post("/labels", json={"changes": []}, headers=mixed).status_code == 403


# what is served


def test_every_answer_has_the_policy_and_every_text_of_the_page_is_there(person: Person) -> None:
    for name, (_, kind) in FILES.items():
        answer = person.get(f"/{name}")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith(kind)
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        if kind in ("text/html", "image/svg+xml"):
            assert "<script>" not in answer.text
            assert " style=" not in answer.text
            assert " onclick" not in answer.text
    assert person.get("/nothing").headers["Content-Security-Policy"] == POLICY


@pytest.mark.parametrize(
    "path",
    [
        "../labels.csv",
        "..%2f..%2flabels.csv",
        "sounds/..%2flabels.csv.wav",
        "sounds/%2fetc%2fpasswd.wav",
        "labels.csv",
    ],
)
def test_no_path_leads_to_a_file(person: Person, path: str) -> None:
    person.label(person.queue()[0], "a")
    answer = person.get(f"/{path}")
    assert answer.status_code in (403, 404)
    assert "path,start" not in answer.text


def test_a_link_that_leads_out_is_not_served(folder: Path, model: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    shutil.copy(next(SAMPLE.glob("5_*.wav")), secret)
    (folder / "link.wav").symlink_to(secret)
    with opened(folder, model) as person:
        sounds = person.queue()
        assert "link.wav" not in [sound["name"] for sound in sounds]
        # put in the place of a file after the folder was read
        sound = next(each for each in sounds if each["name"] != "broken.wav")
        assert person.get(f"/sounds/{sound['key']}.wav").content[:4] == b"RIFF"
        (folder / sound["name"]).unlink()
        (folder / sound["name"]).symlink_to(secret)
        for kind in ("wav", "levels"):
            assert person.get(f"/sounds/{sound['key']}.{kind}").status_code == 404


def test_a_sound_is_heard_and_seen(person: Person) -> None:
    sound = next(each for each in person.queue() if each["name"] != "broken.wav")
    heard = person.get(f"/sounds/{sound['key']}.wav")
    assert heard.headers["Content-Type"] == "audio/wav"
    levels = person.get(f"/sounds/{sound['key']}.levels")
    assert len(levels.content) % BANDS == 0
    assert max(levels.content) == 255
    assert float(levels.headers["Seconds"]) == pytest.approx((len(heard.content) - 44) / 2 / 44100, abs=1e-3)
    assert person.get("/sounds/0123.wav").status_code == 404


def test_a_picture_has_its_tone_where_it_is_and_is_of_any_length() -> None:
    rate = 22_050
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)
    columns = np.frombuffer(picture(tone, rate), np.uint8).reshape(-1, BANDS)
    loudest = columns.mean(0).argmax()
    mel = np.log1p(np.array([50, 1000, 8000]) / 700)
    assert loudest == pytest.approx((mel[1] - mel[0]) / (mel[2] - mel[0]) * BANDS, abs=2)
    assert len(picture(tone[:1], rate)) % BANDS == 0
    assert len(picture(np.tile(tone, 40), rate)) <= 1000 * BANDS


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ([], 400),
        ({"changes": 3}, 400),
        ({"changes": [{"key": "nothing", "label": "a"}]}, 400),
        ({"changes": [{"label": "a"}]}, 400),
        ({"changes": "abc"}, 400),
    ],
)
def test_what_is_no_label_is_refused(person: Person, body: object, status: int) -> None:
    assert person.post("/labels", json=body).status_code == status
    assert person.post("/labels", content=b"\xff").status_code == 400
    assert person.post("/labels", content=b"x" * (2 << 20)).status_code == 413
    sound = person.queue()[0]
    long = {"changes": [{"key": sound["key"], "label": "x" * 101, "before": None}]}
    assert "101 letters" in person.post("/labels", json=long).text
    assert person.get("/queue?order=best").status_code == 409
    assert person.get("/queue?most=x").status_code == 400
    assert person.state()["labelled"] == 0


# labels


def test_two_pages_at_one_project_and_one_at_another_server(person: Person, folder: Path, model: Any) -> None:
    with opened(folder, model) as other:
        first, second, third = person.queue()[:3]
        assert person.label(first, "a") == []
        assert [each["label"] for each in other.label(first, "b")] == ["a"]  # it was labelled here meanwhile
        assert other.label(second, "b") == []
        assert person.label(second, "c", before="b") == []
        assert other.label(third, "<b>d</b>") == []
        for each in (person, other):
            state = each.state()
            assert state["labelled"] == 3
            assert {one["name"]: one["count"] for one in state["classes"] if one["count"]} == {
                "a": 1,
                "c": 1,
                "<b>d</b>": 1,
            }
            assert [one["name"] for one in each.queue("labelled")] == [
                third["name"],
                second["name"],
                first["name"],
            ]
            assert first["name"] not in [one["name"] for one in each.queue()]


def test_undo_and_a_restart(folder: Path, model: Any) -> None:
    with opened(folder, model) as person:
        person.heard(30)  # or the queue is sorted anew meanwhile
        first, second = person.queue()[:2]
        person.label(first, "a")
        person.label(second, "b")
        person.label(second, None, before="b")
        assert person.queue()[0] | {"guess": []} == second | {"guess": []}
    with opened(folder, model, classes=["z"]) as person:
        state = person.state()
        assert (state["labelled"], [each["name"] for each in state["classes"]]) == (1, ["z", "a", "none"])
        assert first["key"] not in [each["key"] for each in person.queue()]
        assert person.get(f"/sounds/{first['key']}").json()["label"] == "a"


def test_it_learns_what_teach_learns_and_the_queue_follows(person: Person, folder: Path, run: Path) -> None:
    sounds = sorted((each for each in person.queue() if each["name"] != "broken.wav"), key=lambda each: each["key"])
    for sound in sounds[:20]:
        person.label(sound, digit(sound))
    state = person.settled(20)
    assert state["problem"] == ""
    expected = teach_with_report(folder / "labels.csv", run)
    assert expected.estimate is not None
    assert state["accuracy"]["value"] == pytest.approx(expected.estimate.accuracy)
    assert state["history"][-1] == [20, pytest.approx(expected.estimate.accuracy)]
    recall = {each["name"]: each["recall"] for each in state["classes"]}
    for row, label in enumerate(expected.classifier.classes):
        tested = sum(expected.estimate.confusion[row])
        assert recall[label] == pytest.approx(expected.estimate.confusion[row][row] / tested)
    left = [sound for sound in person.queue("likely", label="1") if sound["name"] != "broken.wav"]
    assert {sound["key"] for sound in left} == {sound["key"] for sound in sounds[20:]}
    chances = [dict(sound["guess"]).get("1", 0.0) for sound in left]
    assert chances == sorted(chances, reverse=True)
    margin = [sound["guess"][0][1] - sound["guess"][1][1] for sound in person.queue("unsure")]
    assert margin[0] == pytest.approx(min(margin), abs=2e-3)
    assert person.post("/save", json={}).json()["out"] == str(person.project.out)
    saved = load_classifier(person.project.out)
    np.testing.assert_allclose(saved.probe.weights, expected.classifier.probe.weights, atol=2e-4)
    file = folder / sounds[25]["name"]
    assert saved.classify(file).probabilities == pytest.approx(
        expected.classifier.classify(file).probabilities, abs=1e-3
    )
    # it is the beginning of the next round
    with opened(folder, saved, table=folder / "second.csv") as second:
        second.settled(0)
        assert [each["name"] for each in second.state()["classes"]] == ["0", "1", "2", "none"]
        guessed = [sound["guess"][0][0] == digit(sound) for sound in second.queue() if sound["guess"]]
        assert np.mean(guessed) > 0.5
        second.label(sounds[0], digit(sounds[0]))
        assert second.settled(1)["before"] in (0.0, 1.0)
        assert second.state()["by"] == "before"


def test_similar_ones_and_too_few_to_save(person: Person) -> None:
    person.heard(30)
    sounds = person.queue()
    alike = person.get("/alike", params={"key": sounds[0]["key"], "most": 5}).json()
    assert len(alike) == 5
    assert sounds[0]["key"] not in [each["key"] for each in alike]
    person.label(alike[0], "a")
    again = person.get("/alike", params={"key": sounds[0]["key"], "most": 4}).json()
    assert [each["key"] for each in again] == [each["key"] for each in alike[1:]]
    assert "two classes" in person.post("/save", json={}).text
    assert not person.project.out.exists()
    state = person.state()
    assert [failure["name"] for failure in state["failures"]] == ["broken.wav"]
    assert (state["total"], state["left"], state["here"], state["pending"]) == (31, 29, 1, 0)


def test_features_are_kept(folder: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(folder, model) as person:
        person.heard(30)
    monkeypatch.setattr(TrainingFeatures, "__call__", None)  # nothing more can be computed
    with opened(folder, model) as person:
        person.heard(30)
    (folder / "new.wav").write_bytes((folder / "0_george_0.wav").read_bytes())
    monkeypatch.undo()
    monkeypatch.setenv("SOUNDALIKE_CACHE", str(folder.parent / "cache"))
    with opened(folder, model) as person:
        person.heard(31)


def test_a_port_that_is_taken() -> None:
    bound = listen()
    try:
        assert bound.getsockname()[0] == "127.0.0.1"
        bound.listen()
        assert "cannot be had" in refusal(listen, bound.getsockname()[1])
    finally:
        bound.close()
    assert "0 to 65535" in refusal(listen, 1 << 16)
