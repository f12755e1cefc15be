"""The page with pairs to listen to: what it says is so, and a browser can play and show all of it."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from browser import CHROMIUM, Page, opened
from soundalike.apps.pages.difference import differences, in_words, label
from soundalike.apps.pages.listen import CROWD, likeness, listen
from soundalike.cli import main
from soundalike.core.errors import SoundalikeError
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe
from soundalike.synth import VOICES, ParameterSpec, Voice
from soundalike.views.view import HELD_OUT


@pytest.fixture(scope="module")
def small(tiny: Recipe) -> Recipe:
    """``tiny``, twice as wide."""
    return tiny.override({"encoder.width": 8})


@pytest.fixture(scope="module")
def page(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two pairs for an untrained encoder."""
    return listen(small, tmp_path_factory.mktemp("page") / "new folder" / "pairs.html", count=2, seed=3)


def test_players_pictures_and_text(page: Path, small: Recipe) -> None:
    content = Page(page.read_text(encoding="utf-8"))
    assert content.all("html") == [{"lang": "en"}]
    assert len(content.all("title")) == 1
    assert len(content.all("audio")) == len(content.all("img")) == 4
    assert len(content.all("button")) == 2
    assert all(image["alt"] for image in content.all("img"))
    assert len({player["aria-label"] for player in content.all("audio")}) == 4
    for said in (
        "A and B are the same",
        "untrained",
        "nt-xent",
        "pitch nudged by 0.004",
        "log-mel statistics",
        "Pair 2",
    ):
        assert said in re.sub(r"(?<=pitch)(?=nudged)", " ", content.text), said
    outside = [value for _, attributes in content.tags for key, value in attributes.items() if key in ("src", "href")]
    assert all(value is not None and value.startswith("data:") for value in outside)


def test_the_players_hold_the_sounds_of_training(page: Path, small: Recipe) -> None:
    players = Page(page.read_text(encoding="utf-8")).all("audio")
    pair = small.build().views.batch(3, HELD_OUT + torch.arange(2))
    expected = [pair.first[0], pair.second[0], pair.first[1], pair.second[1]]
    for player, sound in zip(players, expected, strict=True):
        data = base64.b64decode(str(player["src"]).removeprefix("data:audio/wav;base64,"))
        wave, rate = soundfile.read(io.BytesIO(data), dtype="float32")
        assert (rate, soundfile.info(io.BytesIO(data)).subtype) == (16_000, "PCM_16")
        np.testing.assert_allclose(wave, sound.numpy(), atol=1e-4)


def test_the_same_page_for_the_same_seed(page: Path, small: Recipe, tmp_path: Path) -> None:
    again = listen(small, tmp_path / "again.html", count=2, seed=3)
    assert again.read_bytes() == page.read_bytes()
    assert listen(small, tmp_path / "other.html", count=2, seed=4).read_bytes() != page.read_bytes()


def test_differences_are_the_knobs_that_moved_and_the_audible_one_first() -> None:
    voice = Voice(seconds=0.3)
    at = voice.table.position
    first = torch.full((voice.size,), 0.5)
    first[at["mixer.level.2"]] = 0.9
    for name in ("adsr_1.attack", "adsr_2.attack"):
        first[at[name]] = 0.1
    second = first.clone()
    second[at["keyboard.midi_f0"]] += 1 / 127  # a semitone
    second[at["mixer.level.2"]] = 0.09  # a tenth of the amplitude
    second[at["lfo_2.initial_phase"]] += 0.25
    changes = differences(voice, first, second)
    assert {c.spec.name for c in changes} == {"keyboard.midi_f0", "mixer.level.2", "lfo_2.initial_phase"}
    assert [label(changes[0].spec, voice.specs), changes[0].words] == ["level of the noise", "quieter by 20.0 dB"]
    assert changes[0].heard > 2 * changes[-1].heard >= 0
    assert changes[0].moved == pytest.approx(0.81)
    words = {c.spec.name: c.words for c in changes}
    assert (
        words["keyboard.midi_f0"] == "1.0 semitones higher (D♯4 → E4)"
        or "semitones higher" in words["keyboard.midi_f0"]
    )
    assert words["lfo_2.initial_phase"] == "turned by 90°"
    assert differences(voice, first, first) == []


@pytest.mark.parametrize(
    ("spec", "before", "after", "words"),
    [
        (
            ParameterSpec("keyboard.midi_f0", 0, 127, group="pitch", unit="midi"),
            69,
            69.4,
            "0.40 semitones higher (A4 → A4)",
        ),
        (
            ParameterSpec("keyboard.midi_f0", 0, 127, group="pitch", unit="midi"),
            69,
            57,
            "12 semitones lower (A4 → A3)",
        ),
        (
            ParameterSpec("vco_1.mod_depth", -96, 96, group="pitch", unit="semitones"),
            -3.5,
            4,
            "reversed, −3.5 → 4.0 semitones",
        ),
        (ParameterSpec("lfo_1.mod_depth", -10, 20, group="modulation", unit="Hz"), -8, -2, "less, −8.0 Hz → −2.0 Hz"),
        (ParameterSpec("adsr_1.attack", 0, 2, group="envelope", unit="s"), 0.02, 0.3, "longer, 0.02 s → 0.30 s"),
        (ParameterSpec("adsr_1.attack", 0, 2, group="envelope", unit="s"), 0.02, 0.01, "shorter, 20 ms → 10 ms"),
        (ParameterSpec("event_1.onset", 0, 1, group="envelope", unit="s"), 0.2, 0.1, "earlier, 0.20 s → 0.10 s"),
        (ParameterSpec("lfo_1.frequency", 0, 20, group="modulation", unit="Hz"), 2, 5.25, "faster, 2.0 Hz → 5.2 Hz"),
        (ParameterSpec("filter.cutoff", 0, 8000, unit="Hz"), 1000, 800, "lower, 1000 Hz → 800 Hz"),
        (ParameterSpec("mixer.level.2", 0, 1, group="level"), 0.5, 0.25, "quieter by 6.0 dB"),
        (ParameterSpec("mixer.level.2", 0, 1, group="level"), 0, 0.25, "silent in A"),
        (ParameterSpec("background.level", -80, 0, group="room", unit="dB"), -20, -14, "louder by 6.0 dB"),
        (ParameterSpec("formant_1.centre", 7, 13, unit="log2 Hz"), 9, 10, "higher, 512 Hz → 1024 Hz"),
        (ParameterSpec("formant_1.width", 0, 2, unit="octaves"), 1, 0.5, "narrower by 0.50 octaves"),
        (ParameterSpec("vco_1.initial_phase", -math.pi, math.pi, group="phase", unit="rad"), -3, 3, "turned by 16°"),
        (ParameterSpec("vco_2.shape", 0, 1), 0.3, 0.55, "more, 30 % → 55 %"),
        (ParameterSpec("adsr_1.alpha", 0.1, 6), 1.001, 1.004, "more, 1.001 → 1.004"),
    ],
)
def test_words_for_every_unit(spec: ParameterSpec, before: float, after: float, words: str) -> None:
    assert in_words(spec, before, after) == words


def test_names_that_people_can_read() -> None:
    names = [
        "event_1.keyboard.midi_f0", "event_1.adsr_2.attack", "event_1.formant_2.centre", "event_1.formant_2.point.0",
        "event_1.depth", "background.level", "a.b.c.2d_knob", "alone",
    ]  # fmt: skip
    specs = [ParameterSpec(name, 0, 1) for name in names]
    assert [label(spec, specs) for spec in specs] == [
        "note, event 1", "attack of envelope 2, event 1", "centre of formant 2, event 1",
        "point 1 of formant 2, event 1", "depth of event 1", "level of background", "2d knob of c, b, a", "alone",
    ]  # fmt: skip
    voice = {spec.name: label(spec, Voice().specs) for spec in Voice().specs}
    assert voice["mod_matrix.mod.0.0"] == "envelope 1 on the pitch of oscillator 1"
    assert voice["mod_matrix.mod.3.2"] == "LFO 1 on the loudness of oscillator 2"
    assert voice["mod_matrix.mod.4.3"] == "LFO 2 on the loudness of the noise"
    assert voice["mixer.level.0"] == "level of source 1"
    assert voice["lfo_1_rate_adsr.decay"] == "decay of the envelope of LFO 1's rate"


@pytest.mark.parametrize("name", sorted(VOICES))
def test_every_knob_of_every_voice_has_a_name_of_its_own(name: str) -> None:
    specs = VOICES[name]().specs
    labels = [label(spec, specs) for spec in specs]
    assert len(set(labels)) == len(specs)
    assert not [text for text in labels if "_" in text or text != text.strip() or ".." in text]


def test_likeness_of_same_and_of_unrelated_sounds() -> None:
    generator = np.random.default_rng(0)
    first = generator.normal(size=(300, 32)) + 5.0  # an offset that a cosine would see as likeness
    second = generator.normal(size=(300, 32)) + 5.0
    second[:4] = first[:4]  # shown pairs 0 to 3 and half of the crowd are the same sound twice
    second[6:153] = first[6:153]
    found = likeness("x", first, second, count=6)
    np.testing.assert_allclose(found.similarity[:4], 1.0)
    assert np.abs(found.similarity[4:]).max() < 0.7
    assert found.closer[:4].tolist() == [0] * 4
    assert found.closer[4:].min() > 0
    assert abs(found.unrelated.mean()) < 0.02
    assert len(found.unrelated) == 294 * 293 // 2
    assert found.found == pytest.approx(0.5, abs=0.02)


def test_identical_views_are_at_one(small: Recipe, tmp_path: Path) -> None:
    still = small.override({"delta": 1e-9, "noise": "pair"})
    content = Page(listen(still, tmp_path / "p.html", count=1).read_text(encoding="utf-8")).text
    assert re.search(r"1\.00untrained encoder.*1\.00log-mel statistics", content)
    assert "78 other knobs moved by less than 5 % of their way." in content
    assert f"nearer than all {CROWD * (CROWD - 1) // 2:,} unrelated pairs" in content
    assert "Hardly anything differs." in content


def test_names_in_a_recipe_are_escaped(small: Recipe, tmp_path: Path) -> None:
    nasty = Recipe('<script>alert("x")</script>&', small.sections)
    text = listen(nasty, tmp_path / "p.html", count=1).read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert len(Page(text).all("script")) == 1
    assert '<script>alert("x")</script>&' in Page(text).text


def test_a_trained_model_brings_its_recipe_and_its_encoder(
    small: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = SoundModel(small, training={"pairs": 7200}).untrained(seed=5)  # weights that the recipe's seed has not
    other.training["pairs"] = 7200
    other.save(tmp_path / "run" / "model.safetensors")
    out = tmp_path / "p.html"
    options = ["--out", str(out), "--count", "1", "--delta.pitch", "0.2", "--delta.other=0.05"]
    assert main(["listen", "--model", str(tmp_path / "run"), *options]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    text = Page(out.read_text(encoding="utf-8")).text
    assert "was trained on 7,200 pairs with the recipe doppelgangers-cpu" in text
    assert "untrained" not in text
    assert re.search(r"pitch ?nudged by 0\.2 ?5", text)
    assert re.search(r"level ?nudged by 0\.05 ?3", text)
    views = small.override({"delta.pitch": 0.2, "delta.other": 0.05}).build().views
    pair = views.batch(0, HELD_OUT + torch.arange(1 + CROWD))
    first, second = (other.embed(sounds.numpy()) for sounds in (pair.first, pair.second))
    similarity = likeness("", first, second, count=1).similarity[0]
    assert f"{similarity:.2f}trained encoder".replace("-", "−") in text
    assert main(["listen", "--recipe", "doppelgangers", "--model", str(tmp_path / "run"), *options[:4]]) == 0
    text = Page(out.read_text(encoding="utf-8")).text
    assert "Soundalikes of doppelgangers " in text
    assert re.search(r"pitch ?nudged by 0\.25 ?5", text)


def test_command_line_in_a_process(small: Recipe, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(small.to_yaml(), encoding="utf-8")
    command = [sys.executable, "-m", "soundalike", "listen", "--recipe", str(tmp_path / "tiny.yaml")]
    answer = subprocess.run(
        [*command, "--out", str(tmp_path / "p.html"), "--count", "2", "--voice", "voice-fm"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, f"{tmp_path / 'p.html'}\n", "")
    assert "voice-fm" in (tmp_path / "p.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.html", "tiny.yaml"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--recipe", "doppelganger-cpu"], "doppelgangers-cpu"),
        (["--out", "."], "is a folder"),
        (["--out", "/dev/null/x/p.html"], "/dev/null"),
        (["--out", "/proc/p.html"], "/proc"),
        (["--count", "0"], "count is 0"),
        (["--count", "1000000"], "count is 1000000"),
        (["--seed", "-1"], "-1"),
        (["--model", "nowhere"], "nowhere"),
        (["--voise", "voice"], "voice"),
        (["--recipe", "scenes-cpu", "--delta", "7"], "delta is 7"),
        (["--delta"], "listen --help"),
        (["p.html"], "p.html"),
    ],
)
def test_mistakes_are_one_sentence(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.html"
    assert main(["listen", "--out", str(out), *options]) == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("soundalike: ")
    assert said in answer.err
    assert not out.exists()


def test_seed_out_of_range_in_the_library(small: Recipe, tmp_path: Path) -> None:
    with pytest.raises(SoundalikeError, match="seed is -1"):
        listen(small, tmp_path / "p.html", seed=-1)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
def test_a_browser_plays_and_shows_everything(page: Path, tmp_path: Path) -> None:
    # Presses the first button, plays another sound over B, and notes which sounds play and how many at once. Image
    # after image keeps the page loading, and so the browser waiting, until all is over.
    pressed = """<script>
    var log = [], started = Date.now(), all = Array.from(document.querySelectorAll("audio"));
    function note(what) { log.push(what); document.documentElement.dataset.log = JSON.stringify(log); }
    all.forEach(function (player, i) {
      player.addEventListener("playing", function () {
        note([i, all.filter(function (other) { return !other.paused; }).length]);
        if (i === 1) all[2].play();
      });
      player.addEventListener("ended", function () { note("end " + i); });
    });
    function wait() {
      if (log.length >= 5 || Date.now() - started > 20000) return;
      var image = new Image();
      image.onload = wait;
      image.src = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' id='" + Math.random() + "'/>";
    }
    wait();
    document.querySelector("button").click();
    </script></body>"""
    copy = tmp_path / "pressed.html"
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", pressed), encoding="utf-8")
    content = opened(copy, tmp_path / "profile")
    html = content.all("html")[0]
    assert "data-error" not in html
    assert [float(player["data-duration"] or 0) for player in content.all("audio")] == pytest.approx([0.3] * 4)
    assert all(int(image["data-width"] or 0) > 20 for image in content.all("img"))
    assert not [button for button in content.all("button") if "hidden" in button]
    log = json.loads(html.get("data-log") or "[]")
    assert log[:2] == [[0, 1], "end 0"]
    assert [entry for entry in log if isinstance(entry, list)] == [[0, 1], [1, 1], [2, 1]]
    assert log[-1] in ("end 1", "end 2")  # where much else goes on, B is over before it is paused
