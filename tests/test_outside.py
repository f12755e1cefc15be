"""Embedders of others: ONNX files and functions, alone and beside our models in one evaluation."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.model.outside import FunctionEmbedder, OnnxEmbedder, is_outside, load_outside

Cli = Callable[..., tuple[int, str, str]]
RATE = 16_000
SOUNDS = [np.random.default_rng(row).uniform(-1, 1, 4000 + 100 * row).astype(np.float32) for row in range(3)]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the working folder with functions good and bad."""
    (tmp_path / "theirs_here.py").write_text(
        "import numpy as np\n"
        "def loudness(waveforms):\n"
        "    return [[float(np.abs(w).mean()), float(np.abs(np.diff(w)).mean())] for w in waveforms]\n"
        "def slow(waveforms):\n"
        "    return np.array([[len(w)] for w in waveforms])\n"
        "slow.sample_rate = 8000\n"
        "def one(waveforms):\n"
        "    return np.ones(7)\n"
        "def words(waveforms):\n"
        "    return ['a' for w in waveforms]\n"
        "def broken(waveforms):\n"
        "    raise ValueError('out of\\norder')\n"
        "number = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    yield "theirs_here"
    sys.modules.pop("theirs_here", None)


def onnx_file(path: Path, rank: int = 2, rate: str = "") -> Path:
    """Mean and largest sample, as (batch, 2), or as (batch, frames, 2) of blocks of 1,000 samples."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    source, axis, nodes = "waveform", 1, []
    if rank == 3:
        shape = helper.make_tensor("shape", onnx.TensorProto.INT64, [3], [1, -1, 1000])
        nodes.append(helper.make_node("Constant", [], ["shape"], value=shape))
        nodes.append(helper.make_node("Reshape", ["waveform", "shape"], ["blocks"]))
        source, axis = "blocks", 2
    nodes.append(helper.make_node("ReduceMean", [source], ["mean"], axes=[axis], keepdims=1))
    nodes.append(helper.make_node("ReduceMax", [source], ["max"], axes=[axis], keepdims=1))
    nodes.append(helper.make_node("Concat", ["mean", "max"], ["out"], axis=rank - 1))
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("waveform", kind, ["batch", "samples"])],
        [helper.make_tensor_value_info("out", kind, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if rate:
        helper.set_model_props(model, {"sample_rate": rate})
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("name", "outside"),
    [
        *(("a.onnx", True), ("a/b.ONNX@8000", True), ("package.module:function", True), ("m:f@44100", True)),
        *(("ears", False), ("runs/first", False), ("C:model.safetensors/x", False), ("a:b.c", True), (":f", False)),
        ("m:", False),
    ],
)
def test_names(name: str, outside: bool) -> None:
    assert is_outside(name) is outside


def test_a_path_that_is_there_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run:first").mkdir()
    assert not is_outside("run:first")


def test_a_function_gives_vectors(module: str) -> None:
    embedder = load_outside(f"{module}:loudness")
    assert isinstance(embedder, FunctionEmbedder)
    assert embedder.sample_rate == 16_000
    expected = [[np.abs(w).mean(), np.abs(np.diff(w)).mean()] for w in SOUNDS]
    assert embedder(SOUNDS) == pytest.approx(np.array(expected, np.float32))
    assert load_outside(f"{module}:slow").sample_rate == 8000
    assert load_outside(f"{module}:slow@22050").sample_rate == 22_050


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("one", r"theirs_here:one gave shape \(7,\) for 3 sounds: a row for each is needed"),
        ("words", r"theirs_here:words gave no array of numbers for 3 sounds"),
        ("broken", r"theirs_here:broken failed \(ValueError: out of\)"),
    ],
)
def test_a_function_that_does_not(module: str, function: str, said: str) -> None:
    with pytest.raises(SoundalikeError, match=said):
        load_outside(f"{module}:{function}")(SOUNDS)


def test_what_is_no_function(module: str, tmp_path: Path) -> None:
    for name, said in (
        (f"{module}:nothing", "theirs_here has no 'nothing'"),
        (f"{module}:number", "is no function, but a int"),
        ("not_there_at_all:f", r"cannot import not_there_at_all \(ModuleNotFoundError"),
        ("nowhere.onnx", r"nowhere\.onnx: no such file"),
    ):
        with pytest.raises(SoundalikeError, match=said):
            load_outside(name)
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(SoundalikeError, match=r"text\.onnx: not an ONNX file that can be run"):
        load_outside("text.onnx")


def test_an_onnx_file(tmp_path: Path) -> None:
    embedder = load_outside(str(onnx_file(tmp_path / "a.onnx", rate="22050")))
    assert isinstance(embedder, OnnxEmbedder)
    assert embedder.sample_rate == 22_050
    expected = np.array([[w.mean(), w.max()] for w in SOUNDS])
    assert embedder(SOUNDS) == pytest.approx(expected, abs=1e-6)
    frames = OnnxEmbedder(onnx_file(tmp_path / "b.onnx", rank=3))
    assert frames.sample_rate == 16_000
    blocks = SOUNDS[0].reshape(4, 1000)
    assert frames(SOUNDS[:1])[0] == pytest.approx([blocks.mean(), blocks.max(1).mean()], abs=1e-6)
    with pytest.raises(AudioError, match=r"b\.onnx cannot embed it"):
        frames(SOUNDS[1:])


def test_models_side_by_side(run: Path, module: str, tmp_path: Path, cli: Cli) -> None:
    rng = np.random.default_rng(0)
    for label, scale in (("soft", 0.01), ("loud", 0.5)):
        for name in "abcdef":
            path = tmp_path / "sounds" / label / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, scale * rng.uniform(-1, 1, 4000), RATE)
    outside = onnx_file(tmp_path / "theirs.onnx")
    where = ("--task", "folder", "--data", tmp_path / "sounds", "--out", tmp_path / "out", "--probe", "knn")
    code, printed, err = cli("evaluate", run, outside, f"{module}:loudness", *where)
    assert code == 0, err
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    names = [run.name, "theirs.onnx", "theirs_here:loudness"]
    assert results["representations"] == [*names, "log-mel statistics", "untrained encoder"]
    assert results["baselines"] == ["log-mel statistics", "untrained encoder"]
    assert list(results["recipe"]) == names
    (task,) = results["tasks"]
    assert list(task["comparisons"]) == names
    assert task["scores"]["theirs_here:loudness"]["dimensions"] == 2
    assert task["scores"]["theirs_here:loudness"]["probes"]["knn"]["mean"] == 1.0
    assert re.search(r"folder, theirs\.onnx: (Beats|Does not beat)", printed)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("<b>folder</b>, ") == 3
    # an outside embedder alone has the statistics to beat
    assert cli("evaluate", f"{module}:loudness", *where)[0] == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert results["representations"] == ["model", "log-mel statistics"]
    code, _, err = cli("evaluate", run, run, *where)
    assert (code, err.count("\n")) == (2, 1)
    assert "is given twice; give each model once" in err
    code, _, err = cli("evaluate", f"{module}:broken", *where)
    assert (code, "theirs_here:broken failed (ValueError: out of)" in err) == (2, True)
