"""The map of sounds: where points lie, what is inside the page, and that a browser shows and plays it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from browser import CHROMIUM, Page, opened
from soundalike.apps.pages import page_file
from soundalike.apps.pages.map import cluster, cluster_names, folder_groups, layout, sound_map
from soundalike.audio import read
from soundalike.audio.excerpt import Excerpts, excerpt, excerpts
from soundalike.cli import main
from soundalike.core.errors import SoundalikeError

SAMPLE = Path(__file__).parents[1] / "data" / "free-spoken-digit-dataset" / "recordings"
NAMES = ["</script><script>alert(1)</script>.wav", "<!-- <script>.wav", "a'b\"c & d.wav", "😀 שלום.wav", "100%.wav"]


def silent(count: int) -> Excerpts:
    return Excerpts([b""] * count, [None] * count, 3.0, False, [])


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve spoken digits of two speakers, and two files that are no audio."""
    root = tmp_path_factory.mktemp("sounds") / "Töne und mehr"
    for speaker in ("george", "theo"):
        (root / speaker).mkdir(parents=True)
        for file in sorted(SAMPLE.glob(f"*_{speaker}_*.wav"))[:6]:
            shutil.copy(file, root / speaker / file.name)
    (root / "empty.wav").write_bytes(b"")
    (root / "text.wav").write_text("no sound")
    return root


@pytest.fixture(scope="module")
def made(folder: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command's page of ``folder``."""
    out = tmp_path_factory.mktemp("out") / "new folder" / "map.html"
    assert main(["map", str(folder), "--out", str(out), "--model", str(run), "--clusters", "3"]) == 1
    return out


@pytest.mark.parametrize("count", [1, 2, 3, 9, 24])
def test_points_lie_apart_and_the_same_each_time(count: int) -> None:
    vectors = np.random.default_rng(count).normal(size=(count, 12)).astype(np.float32)
    places = layout(vectors, seed=3)
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert np.abs(places - 0.5).max() <= 0.51
    assert len(np.unique(places, axis=0)) == count
    np.testing.assert_array_equal(places, layout(vectors, seed=3))


@pytest.mark.parametrize("count", [2, 3, 30])
def test_identical_sounds_can_each_be_pointed_at(count: int) -> None:
    places = layout(np.ones((count, 5), np.float32))
    assert len(np.unique(places, axis=0)) == count
    assert np.abs(places - 0.5).max() < 0.05
    assert cluster(np.ones((count, 5), np.float32)).tolist() == [0] * count


def test_neighbours_are_neighbours() -> None:
    generator = np.random.default_rng(0)
    kind = np.repeat(np.arange(3), 20)
    vectors = 8 * generator.normal(size=(3, 30))[kind] + generator.normal(size=(60, 30))
    places = layout(vectors.astype(np.float32))
    distance = np.linalg.norm(places[:, None] - places, axis=2) + 9 * np.eye(60)
    assert (kind[distance.argmin(1)] == kind).mean() > 0.95
    labels = cluster(vectors)
    assert len(set(labels.tolist())) == 3  # found, not told
    assert all(len(set(labels[kind == k].tolist())) == 1 for k in range(3))
    assert len(set(cluster(vectors, 5).tolist())) == 5


def test_clusters_are_sorted_by_size_and_as_many_as_asked_for() -> None:
    vectors = np.concatenate([np.zeros((2, 3)), 9 * np.ones((5, 3))]) + np.random.default_rng(0).normal(size=(7, 3))
    assert cluster(vectors, 2).tolist() == [1, 1, 0, 0, 0, 0, 0]
    assert cluster(vectors, 1).tolist() == [0] * 7
    assert len(set(cluster(vectors, 7).tolist())) == 7
    assert cluster(np.array([[0.0], [1.0], [1.0]]), 3).tolist() == [1, 0, 0]  # two sounds that differ
    for wrong in (0, 8):
        with pytest.raises(SoundalikeError, match=f"clusters is {wrong}"):
            cluster(vectors, wrong)


def test_folders_are_told_apart_at_the_level_that_tells_most() -> None:
    plain = [Path("b/1.wav"), Path("a/x/2.wav"), Path("3.wav")]
    assert folder_groups(plain) == (["(not in a folder)", "a", "b"], [2, 1, 0])
    assert folder_groups([Path("all/2/x.wav"), Path("all/10/x.wav")]) == (["all/2", "all/10"], [0, 1])
    many = [Path(f"{i % 2}/{i}/x.wav") for i in range(60)]  # 60 folders in two
    assert folder_groups(many)[0] == ["0", "1"]
    assert folder_groups([Path("x.wav")]) == (["(not in a folder)"], [0])


def test_clusters_are_called_by_what_they_share() -> None:
    inside = [Path(f"{folder}/{name}") for folder, name in (
        ("dog", "a1.wav"), ("dog", "b.wav"), ("dog", "c.wav"), ("x", "kick_1.wav"), ("y", "Kick 2.wav"),
        ("x", "q.wav"), ("y", "w.wav"), ("dog", "d.wav"), ("dog", "e.wav"),
    )]  # fmt: skip
    folders, folder = folder_groups(inside)
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 3, 3])
    assert cluster_names(labels, inside, folders, folder) == ["dog · 1", "kick", "cluster 3", "dog · 2"]
    assert cluster_names(labels, inside, [], folder) == ["cluster 1", "kick", "cluster 3", "cluster 4"]


def test_an_excerpt_begins_with_the_sound(tmp_path: Path) -> None:
    wave = np.zeros(8000 * 6, np.float32)
    wave[16000:24000] = 0.5 * np.sin(np.arange(8000) * 0.3)  # from second 2 to 3
    soundfile.write(tmp_path / "late.wav", wave, 8000)
    clip, length = excerpt(tmp_path / "late.wav", 2.0)
    heard, rate = soundfile.read(io.BytesIO(clip))
    assert (rate, heard.ndim, length) == (16000, 1, 6.0)
    assert len(heard) == pytest.approx(32000, abs=3000)
    loud = np.flatnonzero(np.abs(heard) > 0.1)
    assert loud[0] < 0.15 * 16000
    assert loud[-1] == pytest.approx(1.05 * 16000, abs=1500)
    # of the whole file there is more than was asked for; an end is not cut shorter than it is
    clip, _ = excerpt(tmp_path / "late.wav", 5.0)
    assert len(soundfile.read(io.BytesIO(clip))[0]) == pytest.approx(80000, abs=3000)


def test_a_long_file_gives_its_beginning_and_its_whole_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "long.wav", np.full(100 * 4000, 0.1, np.float32), 4000)
    asked = []
    decode = read.decode

    def noted(path: Path, rates: list[int], seconds: float) -> read.Decoded:
        asked.append(seconds)
        return decode(path, rates, seconds)

    monkeypatch.setattr(read, "decode", noted)
    clip, length = excerpt(tmp_path / "long.wav", 1.0)
    assert length == 100.0
    assert asked[0] <= 11.0
    assert len(soundfile.read(io.BytesIO(clip))[0]) < 20000


def test_shorter_excerpts_then_links_where_a_page_would_be_too_large(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soundalike.audio.excerpt._SAMPLE", 6)
    files = sorted(folder.glob("*/*.wav"))
    whole = excerpts(files, 3.0)
    size = sum(len(clip) for clip in whole.clips) * 4 / 3
    # these are shorter than 3 s each, so what is spared is less than what is asked for
    fewer = excerpts(files, 3.0, most_bytes=int(0.6 * size))
    assert (fewer.linked, fewer.seconds) == (False, pytest.approx(1.6, abs=0.11))
    for linked in (excerpts(files, 3.0, most_bytes=int(0.2 * size)), excerpts(files, link=True)):
        assert (linked.linked, linked.clips) == (True, [])
        assert linked.lengths == whole.lengths


def test_no_name_can_leave_its_place(tmp_path: Path) -> None:
    root = tmp_path / "</title><script>x</script>"
    paths = [root / name for name in NAMES] + [Path(os.fsdecode(os.fsencode(root) + b"/\xff.wav"))]
    vectors = np.random.default_rng(0).normal(size=(6, 4))
    page = sound_map(paths, vectors, root, silent(6))
    assert page == sound_map(paths, vectors, root, silent(6))
    page.encode("utf-8")
    parsed = Page(page)
    assert len(parsed.all("script")) == 3
    assert len(parsed.all("title")) == 1
    assert not [tag for tag, attributes in parsed.tags if "src" in attributes or "href" in attributes]
    assert [name.replace("/", "") for name in data_of(page)["name"]][1:5] == NAMES[1:]
    assert data_of(page)["folder"][0] == "</script><script>alert(1)<"  # a slash makes folders of it
    assert data_of(page)["name"][5] == "\ufffd.wav"


def test_links_lead_from_the_page_to_the_files(tmp_path: Path) -> None:
    paths = [tmp_path / "sounds" / name for name in ("a b#?.wav", "ü%.wav")]
    linked = Excerpts([], [1.0, 7230.0], 0.0, True, [])
    page = sound_map(paths, np.eye(2), sounds=linked, beside=tmp_path / "out")
    assert data_of(page)["links"] == ["./../sounds/a%20b%23%3F.wav", "./../sounds/%C3%BC%25.wav"]


def test_folders_keep_their_dots_and_files_may_lie_on_several_drives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / "own" / name / "a.wav" for name in (".kept", "b")] + [tmp_path / "c.wav"]
    page = sound_map(paths, np.eye(3), tmp_path / "own", silent(3))
    assert data_of(page)["folder"] == [".kept", "b", ".."]

    def none(paths: object) -> str:
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr(os.path, "commonpath", none)
    assert data_of(sound_map(paths, np.eye(3), sounds=silent(3)))["name"] == ["a.wav", "a.wav", "c.wav"]


def test_mistakes_in_the_library(tmp_path: Path) -> None:
    for wrong, said in (
        ({"vectors": np.zeros((2, 3))}, "shape"),
        ({"vectors": np.full((1, 3), np.nan)}, "finite"),
        ({"colour": "red"}, "colour is 'red'"),
        ({"seed": -1}, "seed is -1"),
        ({"clusters": 2}, "clusters is 2"),
        ({"paths": [], "vectors": np.zeros((0, 3))}, "no sound"),
    ):
        given = {"paths": [tmp_path / "a.wav"], "vectors": np.zeros((1, 3)), "sounds": silent(1), **wrong}
        with pytest.raises(SoundalikeError, match=said):
            sound_map(**given)  # type: ignore[arg-type]


def test_the_command_makes_a_page_and_names_what_is_broken(
    made: Path, folder: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [file.name for file in made.parent.iterdir()] == ["map.html"]
    data = data_of(made.read_text(encoding="utf-8"))
    assert len(data["x"]) == 12
    assert [each["name"] for each in data["colourings"]] == ["folder", "cluster"]
    assert data["colourings"][0]["groups"] == ["george", "theo"]
    assert len(data["colourings"][1]["groups"]) == 3
    embeddings = tmp_path / "e.npz"
    assert main(["embed", str(folder), "--model", str(run), "--out", str(embeddings)]) == 1
    capsys.readouterr()
    again = ["map", str(folder), "--out", str(tmp_path / "again.html"), "--embeddings", str(embeddings)]
    assert main([*again, "--clusters", "3"]) == 1
    assert (tmp_path / "again.html").read_bytes() == made.read_bytes()  # nothing is embedded again, all is the same
    answer = capsys.readouterr()
    assert "again.html: 12 sounds, " in answer.out
    assert "empty.wav: the file is empty" in answer.err
    assert "text.wav: not readable" in answer.err
    assert main([*again, "--link", "--colour", "cluster"]) == 1
    data = data_of((tmp_path / "again.html").read_text(encoding="utf-8"))
    assert len(data["links"]) == 12
    assert data["colourings"][data["colour"]]["name"] == "cluster"
    capsys.readouterr()
    assert main(["map", str(folder / "theo"), *again[2:]]) == 0
    for source, said in (
        (tmp_path / "again.html", ".npz or .parquet, not '.html'"),
        (tmp_path / "no.npz", "no such file"),
    ):
        assert main([*again[:-1], str(source)]) == 2
        assert said in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(folder / "theo" / sorted(os.listdir(folder / "theo"))[0], other)
    assert main(["map", str(other), *again[2:]]) == 2
    assert "has no embedding of a file in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["{empty}"], "holds no audio"),
        (["{folder}/empty.wav"], "is a file; give the folder"),
        (["{folder}", "--out", "{empty}"], "is a folder"),
        (["{folder}", "--out", "map.txt"], "ends in .html"),
        (["{folder}", "--out", "/proc/map.html"], "/proc"),
        (["{folder}", "--seconds", "0"], "--seconds is 0"),
        (["{folder}", "--seconds", "nan"], "--seconds is nan"),
        (["{folder}", "--clusters", "99"], "--clusters is 99"),
        (["{folder}", "--clusters", "0"], "--clusters is 0"),
        (["{folder}", "--colour", "red"], "red"),
        (["{folder}", "--model", "nowhere"], "nowhere"),
        (["{folder}", "--model", "a", "--embeddings", "b"], "give one of them"),
    ],
)
def test_mistakes_are_one_sentence(
    options: list[str], said: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    out = ["--out", str(tmp_path / "map.html")] if "--out" not in options else []
    filled = [option.format(folder=folder, empty=tmp_path / "empty") for option in options]
    assert main(["map", *filled, *out]) == 2
    answer = capsys.readouterr()
    assert (answer.out, answer.err.count("\n")) == ("", 1)
    assert answer.err.startswith("soundalike: ")
    assert said in answer.err
    assert not (tmp_path / "map.html").exists()


def test_a_folder_of_broken_files_is_no_map(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    assert main(["map", str(tmp_path), "--model", str(run), "--out", str(tmp_path / "map.html")]) == 2
    assert "holds no audio file that can be used (1 found)" in capsys.readouterr().err
    assert not (tmp_path / "map.html").exists()


def test_an_interrupted_page_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "map.html"
    page_file.write("before", out)

    def broken_off(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("soundalike.apps.pages.map.os.replace", broken_off)
    with pytest.raises(KeyboardInterrupt):
        page_file.write("after", out)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("map.html", "before")]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
def test_a_browser_shows_plays_and_filters(made: Path, tmp_path: Path) -> None:
    # Clicks the second point and, when it plays, clicks it again; then goes on by keys, searches, opens the list and
    # plays from there. Image after image keeps the page loading, and so the browser waiting, until all is over.
    pressed = """<script>
    var log = {}, started = Date.now(), over = false, byId = function (id) { return document.getElementById(id); };
    var canvas = byId("canvas"), player = byId("player"), html = document.documentElement;
    function pointer(type, i) {
      var box = canvas.getBoundingClientRect(), at = soundMap.place(i);
      canvas.dispatchEvent(new PointerEvent(type, { clientX: box.x + at[0], clientY: box.y + at[1], button: 0,
        pointerId: 1, pointerType: "mouse", isPrimary: true, bubbles: true }));
    }
    function click(i) { pointer("pointermove", i); pointer("pointerdown", i); pointer("pointerup", i); }
    function key(key) { canvas.dispatchEvent(new KeyboardEvent("keydown", { key: key, bubbles: true })); }
    function done() { over = true; html.dataset.log = JSON.stringify(log); }
    function wait() {
      if (over || Date.now() - started > 20000) { if (!over) done(); return; }
      var image = new Image();
      image.onload = wait;
      image.src = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' id='" + Math.random() + "'/>";
    }
    function heard(then) {
      if (!player.paused && player.currentTime > 0) then();
      else if (!over) setTimeout(function () { heard(then); }, 20);
    }
    wait();
    setTimeout(function () {
      var pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      log.painted = pixels.some(function (value) { return value > 0; });
      click(1);
      heard(function () {
        log.now = byId("now").textContent;
        log.tip = byId("tip").hidden ? "" : byId("tip").textContent;
        click(1);
        log.stopped = player.paused;
        key("ArrowRight");
        key("ArrowLeft");
        log.moved = byId("now").textContent;
        key("Enter");
        heard(function () {
          log.entered = true;
          byId("search").value = "GEORGE";
          byId("search").dispatchEvent(new Event("input"));
          log.found = html.dataset.shown;
          byId("as-list").click();
          log.rows = byId("rows").children.length;
          byId("rows").querySelectorAll("button")[2].click();
          heard(function () {
            log.listed = byId("rows").children[2].className;
            byId("legend").querySelector("button").click();
            log.toggled = html.dataset.shown;
            done();
          });
        });
      });
    }, 100);
    </script></body>"""
    copy = tmp_path / "pressed.html"
    text = made.read_text(encoding="utf-8").replace("default-src 'none'", "default-src 'none'; img-src data:")
    copy.write_text(text.replace("</body>", pressed), encoding="utf-8")
    content = opened(copy, tmp_path / "profile")
    html = content.all("html")[0]
    assert "data-error" not in html
    assert html["data-points"] == "12"
    names = data_of(made.read_text(encoding="utf-8"))["name"]
    log = json.loads(html["data-log"] or "{}")
    assert log["painted"] is True
    assert log["now"].startswith(f"▶ {names[1]}")
    assert names[1] in log["tip"]
    assert log["stopped"] is True
    assert any(log["moved"].startswith(name) for name in names)
    assert log["entered"] is True
    assert (log["found"], log["rows"], log["listed"], log["toggled"]) == ("6", 6, "playing", "0")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
def test_a_browser_takes_odd_names_as_names(tmp_path: Path) -> None:
    paths = [tmp_path / "x" / name.replace("/", "∕") for name in NAMES]
    page = tmp_path / "map.html"
    page_file.write(sound_map(paths, np.random.default_rng(0).normal(size=(5, 4)), sounds=silent(5)), page)
    page.write_text(
        page.read_text(encoding="utf-8").replace(
            "</body>", "<script>byId = document.getElementById('as-list').click()</script></body>"
        ),
        encoding="utf-8",
    )
    content = opened(page, tmp_path / "profile")
    html = content.all("html")[0]
    assert "data-error" not in html
    assert html["data-shown"] == "5"
    assert len(content.all("tr")) == 6
    for path in paths:
        assert path.name in content.text
