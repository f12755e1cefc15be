"""Exported models: embeddings as PyTorch gives them, for sounds of any length, and with no PyTorch around."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import soundalike
from soundalike.apps.classifier import NONE, load_classifier, teach
from soundalike.apps.classifier.onnx import largest_difference_of_probabilities
from soundalike.audio import read
from soundalike.cli import main
from soundalike.core.errors import SoundalikeError
from soundalike.model.compact import Compact
from soundalike.model.model import SoundModel
from soundalike.model.onnx import export_onnx, largest_difference
from soundalike.model.onnx_graph import Graph
from soundalike.model.recipe import Recipe
from soundalike.nn.frontend import LogMel

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

ROOT = Path(__file__).resolve().parents[1]
RATE = 16_000
STAGES = {"readout": "stages", "readout.bands": None, "readout.features": True, "readout.quarter_tones": True}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "logmel": ("ears-cpu", {}),
    "logmel, few bands": (
        "ears-cpu",
        {
            **STAGES,
            "readout.bands": 4,
            "readout.quarter_tones": False,
            "encoder.max_time_stride": 32,
            "encoder.max_channels": None,
        },
    ),
    "logmel, as VGGish": ("doppelgangers-cpu", {"frontend.silence_is_zero": False, "frontend.level": "as-is"}),
    "logmel, short steps": (
        "ears-cpu",
        {"readout.bands": 4, "encoder.max_time_stride": 4, "encoder.max_channels": 32},
    ),
    "logmel, pooled, short steps": (
        "doppelgangers-cpu",
        {"readout": "pooled", "frames": 24, "encoder.max_time_stride": 8},
    ),
    "logmel, pooled": ("doppelgangers-cpu", {"readout": "pooled", "frames": 24}),
    "logmel, overlapping": ("doppelgangers-cpu", {"readout": "pooled", "frames": 24, "readout.hop": 0.1}),
    "clar, pooled": ("clar-cpu", {"readout": "pooled", "frontend.seconds": 0.3}),
    "clar": ("clar-cpu", {**STAGES, "frontend.silence_is_zero": True, "frontend.level": "peak"}),
    "clar, in dB": ("clar-cpu", {**STAGES, "frontend.normalise": False, "readout.features": False}),
    "raw, pooled": ("clar-raw", {"readout": "pooled", "frontend.seconds": 0.3}),
    "raw": ("clar-raw", {**STAGES, "frontend.level": "peak"}),
    "raw, short steps": ("clar-raw", {**STAGES, "encoder.max_time_stride": 4, "encoder.max_channels": 8}),
}


def build(recipe: str, settings: dict[str, Any]) -> SoundModel:
    """A small model whose batch normalisations have something to fold."""
    model = SoundModel(Recipe.load(recipe).override({"encoder.width": 8, "encoder.size": 16, **settings}))
    draw = torch.Generator().manual_seed(0)
    for part in model.encoder.modules():
        if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_(0, 0.3, generator=draw)
            part.running_var.uniform_(0.5, 2.0, generator=draw)
            part.weight.data.uniform_(0.5, 1.5, generator=draw)
            part.bias.data.normal_(0, 0.1, generator=draw)
    return model


def sound(samples: int, seed: int = 0) -> np.ndarray:
    """A tone in noise that changes in loudness, so that no band and no moment of it is like another."""
    draw = np.random.default_rng(seed)
    time = np.arange(samples) / RATE
    tone = 0.3 * np.sin(2 * np.pi * (draw.uniform(100, 900) * time + 400 * time**2))
    return ((tone + 0.02 * draw.standard_normal(samples)) * (1.2 + np.sin(9 * time))).astype(np.float32)


def embed(path: Path, waveforms: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["embedding"], {"waveform": waveforms})[0])


def evaluate(graph: Graph, value: str, given: np.ndarray, rank: int) -> np.ndarray:
    """What a value of a graph is for an input called waveform."""
    inputs, outputs = ([f"{kind}{axis}" for axis in range(n)] for kind, n in (("in", given.ndim), ("out", rank)))
    made = graph.finish({"waveform": [*inputs]}, {"value": (value, [*outputs])})
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"waveform": given})[0])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[SoundModel, Path]:
    """A model of the shipped one's kind and its ONNX file."""
    model, path = build("ears-cpu", {}), tmp_path_factory.mktemp("onnx") / "small.onnx"
    export_onnx(model, path)
    return model, path


@pytest.mark.parametrize("name", CASES)
def test_embeddings_are_those_of_the_model_whatever_the_length(name: str, tmp_path: Path) -> None:
    model, path = build(*CASES[name]), tmp_path / "model.onnx"
    export_onnx(model, path)
    # with lengths around one window, and around where one more of them begins
    clip = model.frontend.clip_samples
    lengths = [1, 800, clip - 1, clip, clip + clip // 8, clip + clip // 8 + 1, 2 * clip + 5, 40_001]
    sounds = [sound(length, seed) for seed, length in enumerate(lengths)]
    sounds += [np.zeros(0, np.float32), np.zeros(9000, np.float32)]
    assert largest_difference(model, path, sounds) < (1e-3 if "dB" in name else 1e-4)  # 30 times as large
    batch = np.stack([sound(7000, 50), 1e-3 * sound(7000, 51), np.zeros(7000, np.float32)])
    given = embed(path, batch)
    assert given.shape == (3, model.size)
    assert given.dtype == np.float32
    assert np.allclose(given, model(list(batch)), rtol=1e-4, atol=1e-4)
    assert np.abs(given[0] - given[2]).max() > 0.01


def test_a_long_sound_is_heard_as_a_whole(small: tuple[SoundModel, Path]) -> None:
    model, path = small
    long = sound(33 * RATE)  # which the model hears in two chunks
    assert largest_difference(model, path, [long]) < 1e-4


def test_real_recordings(small: tuple[SoundModel, Path]) -> None:
    files = [path for path in sorted((ROOT / "data").rglob("*")) if path.suffix in read.SUFFIXES]
    if not files:
        pytest.skip("the recordings that ship with the repository are not here")
    model, path = small
    sounds = [read.load(file, RATE, seconds) for file, seconds in zip(files[::40], (0.05, 0.3, 1, 5, 2), strict=False)]
    assert largest_difference(model, path, sounds) < 2e-4  # PyTorch's own error in a band without sound is 1e-4


def test_the_difference_tells_another_model(small: tuple[SoundModel, Path]) -> None:
    model, path = small
    assert largest_difference(model, path) < 1e-4
    assert largest_difference(model.untrained(seed=1), path) > 0.01


def test_the_file_says_what_it_is(small: tuple[SoundModel, Path], tmp_path: Path) -> None:
    model, _ = small
    source, path = tmp_path / "model.safetensors", tmp_path / "new" / "model.onnx"
    source.write_bytes(b"abc")
    export_onnx(model, path, source=source)
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, given.type) == ("waveform", ["batch", "samples"], "tensor(float)")
    assert (result.name, result.shape, result.type) == ("embedding", ["batch", model.size], "tensor(float)")
    assert session.get_modelmeta().custom_metadata_map == {
        "sample_rate": "16000",
        "size": str(model.size),
        "recipe": "ears-cpu",
        "version": soundalike.__version__,
        "source_sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }


def test_weights_of_16_bits_stay_so_and_are_exact(small: tuple[SoundModel, Path], tmp_path: Path) -> None:
    model, full = small
    model.save(tmp_path / "half.safetensors", half=True)
    rounded = soundalike.load(tmp_path / "half.safetensors")
    export_onnx(rounded, tmp_path / "rounded.onnx")
    assert largest_difference(rounded, tmp_path / "rounded.onnx") < 1e-4
    export_onnx(model, tmp_path / "half.onnx", half=True)
    weights = sum(p.numel() for name, p in model.encoder.named_parameters() if p.ndim > 1 and "linear" not in name)
    for name in ("rounded.onnx", "half.onnx"):
        saved = full.stat().st_size - (tmp_path / name).stat().st_size
        assert 1.9 * weights < saved < 2 * weights
    assert 1e-4 < largest_difference(model, tmp_path / "half.onnx") < 0.05


def test_the_compact_embedding(small: tuple[SoundModel, Path], tmp_path: Path) -> None:
    model, _ = small
    draw = np.random.default_rng(0)
    made = [draw.standard_normal(model.size), draw.uniform(0.5, 2, model.size), draw.normal(0, 0.1, (12, model.size))]
    with_compact = SoundModel(model.recipe, model.recipe.build(), compact=Compact(*made)).compacted(8)
    export_onnx(with_compact, tmp_path / "compact.onnx")
    assert embed(tmp_path / "compact.onnx", sound(5000)[None]).shape == (1, 8)
    assert largest_difference(with_compact, tmp_path / "compact.onnx") < 1e-4


@pytest.mark.parametrize(("fft", "length", "hop"), [(64, 40, 16), (45, 45, 7), (31, 8, 3)])
def test_fourier(fft: int, length: int, hop: int) -> None:
    given, window = sound(500).reshape(2, 250), np.hanning(length).astype(np.float32)
    bins = np.arange(1, fft // 2 + 1)
    frames = np.lib.stride_tricks.sliding_window_view(given.astype(np.float64), length, axis=1)[:, ::hop] * window
    expected = np.fft.rfft(frames, fft)[..., bins].swapaxes(1, 2)
    for part, wanted in enumerate((expected.real, expected.imag)):
        graph = Graph()
        value = graph.fourier("waveform", window, fft, bins, hop)[part]
        assert np.allclose(evaluate(graph, value, given, 3), wanted, atol=1e-5)


def test_angles_in_every_direction() -> None:
    y, x = (part.ravel() for part in np.meshgrid([-2.0, -1e-9, 0.0, 1e-9, 3.0], [-2.0, -1e-9, 0.0, 1e-9, 3.0]))
    y, x = (part[(x != 0) | (y != 0)].astype(np.float32) for part in (y, x))
    graph = Graph()
    rows = [graph.add("Squeeze", graph.cut("waveform", row, row + 1, 0), graph.whole([0])) for row in (0, 1)]
    angles = evaluate(graph, graph.atan2(*rows), np.stack([y, x]), 1)
    assert np.allclose(angles, np.arctan2(y, x), atol=1e-6)


def test_moments_of_what_is_far_from_zero() -> None:
    given = (3000 + 0.01 * np.random.default_rng(0).standard_normal((2, 3, 400))).astype(np.float32)
    graph = Graph()
    mean, deviation = graph.moments("waveform", 1e-12)
    both = evaluate(graph, graph.add("Concat", mean, deviation, axis=1), given, 2).reshape(2, 2, 3)
    assert np.allclose(both[:, 0], given.astype(np.float64).mean(2), rtol=1e-6)
    assert np.allclose(both[:, 1], given.astype(np.float64).std(2), rtol=0.02)


def test_what_cannot_be_exported_is_said(small: tuple[SoundModel, Path], tmp_path: Path, monkeypatch: Any) -> None:
    class Own(LogMel):
        pass

    model = build("ears-cpu", {})
    with pytest.raises(SoundalikeError, match=r"cannot be written there .*; give another place\.$"):
        export_onnx(model, small[1] / "inside.onnx")
    model.frontend = Own()
    with pytest.raises(SoundalikeError, match=r"^Own: this front end cannot be exported to ONNX; .*\.$"):
        export_onnx(model, tmp_path / "own.onnx")
    model.encoder = type("Net", (type(model.encoder),), {})()
    with pytest.raises(SoundalikeError, match=r"^Net: this encoder cannot be exported"):
        export_onnx(model, tmp_path / "own.onnx")
    anyhow = build("doppelgangers-cpu", {"readout": "pooled"})
    anyhow.frontend.frames = None
    with pytest.raises(SoundalikeError, match="training length"):
        export_onnx(anyhow, tmp_path / "own.onnx")
    anyhow.readout = print  # type: ignore[assignment]
    with pytest.raises(SoundalikeError, match="this read-out cannot be exported"):
        export_onnx(anyhow, tmp_path / "own.onnx")
    for module, act in (("onnxruntime", lambda: largest_difference(*small)), ("onnx", lambda: export_onnx(*small))):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(SoundalikeError, match=rf"\({module}\): pip install 'soundalike\[onnx\]'$"):
            act()
    assert not [*tmp_path.iterdir()]


def test_command(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    out = tmp_path / "out.onnx"
    assert main(["export", str(run), "--onnx", str(out)]) == 0
    said = capsys.readouterr()
    first, second = said.out.splitlines()
    size = soundalike.load(run).size
    expected = (
        rf"{re.escape(str(out))}: \d\.\d MB, waveform \(batch, samples\) at 16,000 Hz in, embedding \(batch, {size}\)"
    )
    assert re.match(expected, first)
    found = re.fullmatch(r"largest difference from the model in onnxruntime: (\S+) of max\(1, \|x\|\)", second)
    assert found
    assert float(found[1]) < 1e-4
    assert said.err == ""
    assert len(embed(out, sound(3000)[None])[0]) == size
    assert main(["export", str(run), "--onnx", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    (tmp_path / "sound.wav").write_bytes(b"precious")
    assert main(["export", str(run), "--onnx", str(tmp_path / "sound.wav")]) == 2
    assert "has to end in .onnx" in capsys.readouterr().err
    assert (tmp_path / "sound.wav").read_bytes() == b"precious"
    assert main(["export", str(run), "--onnx", str(out), "--compact"]) == 2
    assert "compact" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["export", str(run), "--onnx", str(out), "--half"]) == 0
    assert "onnxruntime is not installed" in capsys.readouterr().err


def test_the_example_needs_neither_pytorch_nor_this_package(small: tuple[SoundModel, Path], tmp_path: Path) -> None:
    model, path = small
    files = [tmp_path / "one.wav", tmp_path / "other.wav"]
    for seed, file in enumerate(files):
        left, right = sound(9000, seed), sound(9000, seed + 2)
        soundfile.write(file, np.stack([left, right], 1), 22_050, subtype="FLOAT")
    script = ROOT / "examples" / "embed_without_pytorch.py"
    code = (
        "import runpy, sys\n"
        "sys.modules.update(dict.fromkeys(('torch', 'soundalike', 'onnx', 'librosa')))\n"  # their import fails
        f"sys.argv[1:] = {[str(path), *map(str, files)]!r}\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    one, other = (model.embed(file) for file in files)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    for line, file, embedding in zip(lines[:2], files, (one, other), strict=True):
        head, _, numbers = line.partition("), ")
        assert head == f"{file}: shape ({model.size},"
        assert np.allclose([float(number) for number in numbers.split()[:-1]], embedding[:5], atol=1e-3)
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert lines[2].startswith(f"cosine of {files[0]} and {files[1]}: ")
    assert float(lines[2].split()[-1]) == pytest.approx(cosine, abs=2e-4)


@pytest.mark.parametrize("overlap", [False, True])
def test_a_classifier_gives_the_probabilities_of_classify(tmp_path: Path, cli: Any, overlap: bool) -> None:
    recordings = sorted((ROOT / "data" / "ESC-10" / "audio").glob("*.ogg"))
    if not recordings:
        pytest.skip("the recordings that ship with the repository are not here")
    out = tmp_path / "t.onnx"
    model = build("doppelgangers-cpu", {"readout": "stages"}) if overlap else build(*CASES["logmel, few bands"])
    for file in recordings:
        kind = file.stem.rsplit("-", 1)[1]
        if kind in ("0", "21") and file.name[0] in "23":
            (tmp_path / "in" / kind).mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / "in" / kind / f"{file.stem}.wav", read.load(file, RATE, 1.0), RATE)
    teach(tmp_path / "in", model, overlap=overlap).save(tmp_path / "t.safetensors")
    code, said, err = cli("export", tmp_path / "t.safetensors", "--onnx", out)
    assert (code, err) == (0, "")
    assert "probabilities (batch, 2) and distance (batch,) out" in said
    classifier = load_classifier(tmp_path / "t.safetensors")
    new = [file for file in recordings if file.name[0] == "1"][::5]
    quiet = np.zeros(4000, np.float32)
    sounds = [read.load(file, RATE, 2.0) for file in new]
    sounds += [sound(200), sound(321), np.concatenate([quiet, sound(9000), quiet])]
    assert largest_difference_of_probabilities(classifier, out, sounds) < 1e-4
    assert largest_difference(classifier.model, out, sounds[:2]) < 2e-4
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    for waveform in [*sounds[2:], np.zeros(5000, np.float32)]:
        (distance,) = session.run(["distance"], {"waveform": waveform[None]})[0]
        expected = classifier.predict_many([waveform], none_of_these=0)[0]
        if expected.probabilities:
            assert distance == pytest.approx(expected.distance or 0, rel=1e-3, abs=1e-4)
        else:
            assert distance == np.inf
    script = ROOT / "examples" / "embed_without_pytorch.py"
    run = [sys.executable, script, out, *new[:2]]
    said = subprocess.run(run, capture_output=True, text=True, timeout=120, check=True).stdout
    for file, line in zip(new[:2], said.splitlines()[2:4], strict=True):
        heard = classifier.classify(file).labels
        assert line.startswith(f"{file}: {heard[0] if heard else NONE}")
