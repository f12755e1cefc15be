"""The whole evaluation on small made-up recordings: results, report, table and map."""

from __future__ import annotations

import io
import json
import re
import threading
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from soundalike.core.errors import SoundalikeError
from soundalike.data.datasets import read
from soundalike.eval.probe import evaluate, print_table
from soundalike.eval.probe.baseline import LOG_MEL_STATISTICS, UNTRAINED_ENCODER, LogMelStatistics
from soundalike.eval.probe.projection import project
from soundalike.eval.probe.report import summary

RATE = 16_000


class Spectrum:
    """A model that tells tones from noise; counts what it is given."""

    sample_rate = RATE

    def __init__(self) -> None:
        self.heard = 0

    def __call__(self, waveforms):
        self.heard += len(waveforms)
        spectra = [np.abs(np.fft.rfft(waveform, 4096))[:2048] for waveform in waveforms]
        return np.log(np.stack(spectra).reshape(len(spectra), 64, 32).mean(2) + 0.1).astype(np.float32)


class Blind:
    """A baseline that hears nothing."""

    sample_rate = 8_000

    def __call__(self, waveforms):
        return np.ones((len(waveforms), 3), np.float32)


def representations(model="first model"):
    return {model: Spectrum(), LOG_MEL_STATISTICS: LogMelStatistics(), UNTRAINED_ENCODER: Blind()}


@pytest.fixture
def sounds(tmp_path):
    """A folder per class with names that would break a careless page, and one broken file."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "sounds"
    for number, label in enumerate(["<b>tone & co", 'noise "white"', "chirp"]):
        (folder / label).mkdir(parents=True)
        for clip in "abcdefgh":
            time = np.arange(3000) / RATE
            frequency = 300 * rng.uniform(0.8, 1.2)
            sound = [np.sin(2 * np.pi * frequency * time), rng.uniform(-1, 1, 3000), np.sin(300 * frequency * time**2)]
            soundfile.write(folder / label / f"{clip}<i>.wav", 0.5 * sound[number], RATE)
    (folder / "chirp" / "z<script>.wav").write_bytes(b"this is no sound")
    return folder


class Balance(HTMLParser):
    """Counts tags and fails where one closes that is not open."""

    VOID = ("meta", "br", "path")

    def __init__(self) -> None:
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_results_and_report(sounds, tmp_path):
    data = read("folder", sounds)
    embedders = representations()
    recipe = {"recipe": "doppelgangers-cpu", "views": {"delta": 0.25, "voice": "voice"}}
    evaluation = evaluate(embedders, [data], tmp_path / "new" / "out", recipe=recipe, progress=False)
    assert embedders["first model"].heard == 24

    results = json.loads((tmp_path / "new" / "out" / "results.json").read_text(encoding="utf-8"))
    task = results["tasks"][0]
    assert results["model"] == "first model"
    assert results["recipe"] == recipe
    assert results["baselines"] == [LOG_MEL_STATISTICS, UNTRAINED_ENCODER]
    assert set(results["versions"]) >= {"soundalike", "python", "torch", "scikit-learn"}
    assert list(task["scores"]) == list(embedders)
    assert task["protocol"] == data.protocol
    assert len(task["clips"]) == 24
    assert task["clips"][0] == "<b>tone & co/a<i>.wav"
    assert [path for path, _ in task["failures"]] == [str(sounds / "chirp" / "z<script>.wav")]
    assert task["scores"]["first model"]["probes"]["linear"]["mean"] == 1.0
    assert task["scores"][UNTRAINED_ENCODER]["probes"]["linear"]["mean"] < 0.5
    assert set(task["seconds"]) == {"embedding", "scoring"}
    assert evaluation.tasks[0].comparison.beats is (task["scores"][LOG_MEL_STATISTICS]["probes"]["linear"]["mean"] < 1)

    page = (tmp_path / "new" / "out" / "report.html").read_text(encoding="utf-8")
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert not {"script", "link", "img", "iframe", "b>tone", "i"} & set(parser.seen)
    assert not re.search(r"https?:|url\(|@import|src=|<i>|<b>tone|<script", page)
    assert "&lt;b&gt;tone &amp; co" in page
    assert "z&lt;script&gt;.wav" in page
    assert "noise &quot;white&quot;" in page
    assert evaluation.tasks[0].comparison.sentence in page
    assert page.count('<use href="#shape') == 24 + 3  # every clip and every class of the legend
    assert "<dt>views</dt><dd>delta: 0.25, voice: voice</dd>" in page


def test_recipe_summary():
    recipe = {"name": "x", "views": {"delta": {"pitch": 0.1, "phase": 0.5}, "noise": None}, "training": {"steps": 3}}
    assert summary(recipe) == [
        ("name", "x"),
        ("views.delta", "pitch: 0.1, phase: 0.5"),
        ("views.noise", "None"),
        ("training", "steps: 3"),
    ]


def test_same_scores_give_the_same_report(sounds, tmp_path):
    data = read("folder", sounds)
    pages = []
    for name in ("one", "two"):
        evaluate(representations(), [data], tmp_path / name, progress=False)
        pages.append((tmp_path / name / "report.html").read_text(encoding="utf-8"))
    assert pages[0] == pages[1]


def test_results_are_not_overwritten_unasked(sounds, tmp_path):
    data = read("folder", sounds)
    (tmp_path / "results.json").write_text("precious")
    embedders = representations()
    with pytest.raises(SoundalikeError, match=r"already holds results\.json"):
        evaluate(embedders, [data], tmp_path, progress=False)
    assert embedders["first model"].heard == 0
    assert (tmp_path / "results.json").read_text() == "precious"
    evaluate(embedders, [data], tmp_path, progress=False, overwrite=True)
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["tasks"]


def test_out_that_is_a_file(sounds, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(SoundalikeError, match="cannot be made a folder"):
        evaluate(representations(), [read("folder", sounds)], tmp_path / "out", progress=False)


def test_nothing_to_evaluate(tmp_path):
    with pytest.raises(SoundalikeError, match="at least one"):
        evaluate(representations(), [], tmp_path / "out")


def test_all_files_broken(sounds, tmp_path):
    data = read("folder", sounds)
    for path in data.paths:
        path.write_bytes(b"gone")
    with pytest.raises(SoundalikeError, match="none of the 25 clips could be embedded; the first one, "):
        evaluate(representations(), [data], tmp_path / "out", progress=False)


def test_two_tasks_of_one_name_are_told_apart(sounds, tmp_path):
    data = read("folder", sounds)
    other = data.select(range(16))
    evaluation = evaluate(representations(), [data, other], tmp_path / "out", progress=False)
    assert [task.task for task in evaluation.tasks] == ["folder (sounds)", "folder (sounds) 2"]


def test_one_probe_and_no_floors(sounds, tmp_path):
    evaluation = evaluate({"m": Spectrum()}, [read("folder", sounds)], tmp_path, probes=["knn"], progress=False)
    assert evaluation.tasks[0].comparison.beats is None
    assert "Confusion matrix of the kNN" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_table_shows_every_number_and_verdict(sounds, tmp_path):
    from rich.console import Console

    model = "[red]model"
    evaluation = evaluate(representations(model), [read("folder", sounds)], tmp_path, progress=False)
    stream = io.StringIO()
    print_table(evaluation, Console(file=stream, width=200))
    text = stream.getvalue()
    assert model in text  # names are no markup
    assert evaluation.tasks[0].comparison.sentence in text
    assert "1 file could not be read" in text
    for score in evaluation.tasks[0].scores.values():
        for probe in score.probes.values():
            assert f"{100 * probe.mean:.1f} ± {100 * probe.std:.1f}" in text
    assert "majority 33.3" in text


def test_evaluation_leaves_no_threads_behind(sounds, tmp_path):
    before = threading.active_count()
    evaluate(representations(), [read("folder", sounds)], tmp_path, progress=False)
    assert threading.active_count() <= before + 1  # rich may keep one


def test_map_keeps_clusters_together():
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    vectors = 10 * rng.standard_normal((3, 20))[labels] + rng.standard_normal((90, 20))
    made = project(vectors)
    points = np.array([made.x, made.y]).T
    assert made.row == list(range(90))
    assert points.min() >= 0
    assert points.max() <= 1
    distance = np.linalg.norm(points[:, None] - points, axis=-1) + 9 * np.eye(90)
    assert (labels[distance.argmin(1)] == labels).mean() > 0.95
    assert project(vectors) == made


def test_map_takes_a_fixed_sample_of_many():
    vectors = np.random.default_rng(0).standard_normal((300, 4))
    rows = project(vectors, most=50).row
    assert len(rows) == len(set(rows)) == 50
    assert rows == sorted(rows)
    assert max(rows) > 60
    assert project(vectors, most=50).row == rows


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10, 11])
@pytest.mark.parametrize("width", [1, 2, 200])
@pytest.mark.parametrize("flat", [False, True])
def test_maps_of_very_little(count, width, flat):
    vectors = np.zeros((count, width)) if flat else np.random.default_rng(0).standard_normal((count, width))
    made = project(vectors)
    assert len(made.row) == len(made.x) == len(made.y) == count
    assert np.isfinite(made.x + made.y).all()
    assert min(made.x + made.y) >= 0
    assert max(made.x + made.y) <= 1
    assert flat or count == 1 or len(set(zip(made.x, made.y, strict=True))) == count
