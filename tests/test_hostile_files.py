"""Files that are whole and say what is wrong: models, what was taught, and indices."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from tests.hostile import COMPLEX, WHOLE, Change, changed, first, said, setting, tensor

import soundalike
from soundalike.apps.classifier import SoundClassifier, load_classifier, teach
from soundalike.apps.search.store import FORMAT as INDEX_FORMAT
from soundalike.apps.search.store import Broken, Entry, Maker, Store, _checksum, write
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.model.file import sealed
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe
from soundalike.synth import Synthesizer

RATE = 16_000


@pytest.fixture(scope="module")
def made(run: Path) -> Path:
    return run / "model.safetensors"


@pytest.fixture(scope="module")
def taught(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taught")
    for label, hertz in (("low", 200.0), ("high", 2500.0), ("higher", 5000.0)):
        (folder / "in" / label).mkdir(parents=True)
        for number in range(4):
            time = np.arange(RATE // 2) / RATE
            sound = 0.3 * np.sin(2 * np.pi * hertz * (1 + number / 50) * time)
            soundfile.write(folder / "in" / label / f"{number}.wav", sound, RATE)
    teach(folder / "in", soundalike.load(made)).save(folder / "taught.safetensors")
    return folder / "taught.safetensors"


def refused(path: Path, load: Any = soundalike.load) -> str:
    with pytest.raises(SoundalikeError) as error:
        load(path)
    sentence = str(error.value)
    assert sentence.startswith(str(path))
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


# models

HUGE: dict[str, Change] = {
    "width": setting("encoder", width=512),
    "size": setting("encoder", size=10**9),
    "beyond 64 bits": setting("encoder", size=10**30),
    "fft": setting("frontend", fft=1 << 30),
    "bands": setting("frontend", bands=10**6),
    "rate": setting("frontend", sample_rate=10**9, maximum_hz=7500),
    "window": setting("frontend", window=1e6),
    "hop": setting("frontend", hop=1e9),
    "frames": setting("frontend", frames=10**12),
    "classes": lambda header, tensors: header.update(classes=[str(i) for i in range(50_000)]),
    "layers": lambda header, tensors: (
        header["recipe"]["sections"].update(
            head={"name": "classifier", "layers": 10**6}, objective={"name": "supervised"}
        ),
        header.update(classes=["a", "b"]),
    ),
    "head": lambda header, tensors: (
        header["recipe"]["sections"].update(
            head={"name": "classifier", "hidden": 10**6}, objective={"name": "supervised"}
        ),
        header.update(classes=["a", "b"]),
    ),
}


def test_what_a_header_asks_for_is_compared_with_the_tensors_first(made: Path, tmp_path: Path) -> None:
    paths = [changed(made, tmp_path / f"{name}.safetensors", change) for name, change in HUGE.items()]
    code = """
import resource, sys
import soundalike
from soundalike.core.errors import SoundalikeError
soundalike.load(sys.argv[1])  # whole
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000, -1))
for path in sys.argv[2:]:
    try:
        soundalike.load(path)
    except SoundalikeError as error:
        print(error)
"""
    command = [sys.executable, "-c", code, str(made), *map(str, paths)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    sentences = ended.stdout.splitlines()
    for path, sentence in zip(paths, sentences, strict=True):
        assert sentence.startswith(f"{path}: not a model that this version can load ("), sentence
        assert "memory" not in sentence


@pytest.mark.parametrize(
    "change",
    [
        setting("voice", seconds=1e6),
        lambda header, tensors: header["recipe"]["sections"].update(voice={"name": "scene", "events": 10**6}),
        setting("head", hidden=10**6, size=10**6),
        setting("training", targets=3.0),
    ],
)
def test_what_only_training_needs_is_not_built(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    monkeypatch.setattr(Synthesizer, "__init__", lambda *_, **__: pytest.fail("a voice was built"))
    path = changed(made, tmp_path / "model.safetensors", change)
    sound = np.sin(np.arange(RATE, dtype=np.float32))
    np.testing.assert_array_equal(soundalike.load(path).embed(sound), soundalike.load(made).embed(sound))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (tensor("linear.weight", WHOLE), r"'linear.weight' holds numbers of the kind torch.int32, not torch.float32"),
        (tensor("stem.0.weight", COMPLEX), r"'stem.0.weight' holds numbers of the kind torch.complex64, not torch.f"),
        (tensor("stem.1.num_batches_tracked", lambda t: t.float()), r"of the kind torch.float32, not torch.int64"),
        (tensor("stem.1.num_batches_tracked", lambda t: t.int()), r"of the kind torch.int32, not torch.int64"),
        (tensor("linear.bias", first(float("nan"))), r"'linear.bias' holds numbers that are not finite"),
        (tensor("linear.bias", first(float("inf"))), r"'linear.bias' holds numbers that are not finite"),
        (tensor("linear.bias", lambda t: t[:-1]), r"'linear.bias' has the shape \(15,\), and its recipe says \(16,\)"),
        (lambda header, tensors: tensors.pop("linear.bias"), r"the tensor 'linear.bias' is missing"),
        (lambda header, tensors: tensors.update(more=torch.ones(1)), r"the tensor 'more' is not one of its parts"),
        (lambda header, tensors: tensors.update({"recordings.heard": torch.ones(3)}), r"float32, not torch.int64"),
        (lambda header, tensors: header.update(classes=["a", "b"]), r"it has classes, and no head that tells them"),
        (lambda header, tensors: header.update(classes=["a", "a"]), r"two of its classes have the same name"),
        (lambda header, tensors: header.update(classes={"a": 1}), r"its classes are no names"),
        (lambda header, tensors: header.update(classes=[1, 2]), r"its classes are no names"),
        (lambda header, tensors: header.update(training=[["steps", 1]]), r"what it says of its training is none"),
        (lambda header, tensors: header.update(recipe="[" * 100_000), r"recursion"),
        (lambda header, tensors: header["recipe"].update(sections=[3]), r"sequence"),
    ],
)
def test_models_that_are_inconsistent(made: Path, tmp_path: Path, change: Change, why: str) -> None:
    with pytest.raises(
        SoundalikeError, match=rf"not a model that this version can load \(.*{why}.*\); give another\.$"
    ):
        soundalike.load(changed(made, tmp_path / "model.safetensors", change))


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_lengths_are_taken(made: Path, tmp_path: Path, half: torch.dtype) -> None:
    path = changed(made, tmp_path / "model.safetensors", tensor("linear.weight", lambda t: t.to(half)))
    weight = soundalike.load(path).encoder.linear.weight
    assert weight.dtype == torch.float32
    expected = soundalike.load(made).encoder.linear.weight.to(half).float()
    assert torch.equal(weight, expected)


def test_one_changed_bit_is_noticed(made: Path, tmp_path: Path) -> None:
    whole = made.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    draw = np.random.default_rng(0)
    for place in draw.integers(start, len(whole), 30):
        content = bytearray(whole)
        content[place] ^= 1 << draw.integers(8)
        (tmp_path / "m.safetensors").write_bytes(content)
        assert "damaged, since its checksum is another" in refused(tmp_path / "m.safetensors")


def test_a_model_without_a_checksum_is_of_the_format_before(made: Path, tmp_path: Path) -> None:
    with safe_open(made, "np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = {name: text for name, text in file.metadata().items() if name != "checksum"}
    path = tmp_path / "m.safetensors"
    save_file(tensors, path, header)
    assert "its checksum is another" in refused(path)
    save_file(tensors, path, {**header, "format": "soundalike-1"})
    assert soundalike.load(path).size == soundalike.load(made).size


def test_embeddings_that_are_not_finite_are_no_result(made: Path, tmp_path: Path) -> None:
    change = tensor("stem.1.running_var", first(-5.0))
    model = soundalike.load(changed(made, tmp_path / "model.safetensors", change))
    sound = np.sin(np.arange(RATE, dtype=np.float32))
    with pytest.raises(AudioError, match=r"^its embedding is not finite: the model's weights are no trained model's"):
        model.embed(sound)
    with pytest.raises(AudioError, match=r"^its embedding is not finite \(that of sound 0, and 2 of 2 in all\): "):
        model.embed([sound, sound])
    with pytest.raises(AudioError, match="its embedding is not finite"):
        model.windows(sound)


def test_the_same_model_is_the_same_file(made: Path, tmp_path: Path) -> None:
    code = "import soundalike, sys; soundalike.load(sys.argv[1]).save(sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, str(made), str(tmp_path / "model")], check=True)
    assert (tmp_path / "model").read_bytes() == made.read_bytes()


# what was taught


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (said("classifier", classes=["a"]), r"it has 1 classes of 1 names, and needs two or more"),
        (said("classifier", classes=["a", "a", "b"]), r"it has 2 classes of 3 names"),
        (said("classifier", classes=[]), r"it has 0 classes"),
        (said("classifier", classes={"a": 0, "b": 1, "c": 2}), r"its classes are no names"),
        (said("classifier", classes="abc"), r"its classes are no names"),
        (said("classifier", classes=[1, 2, 3]), r"its classes are no names"),
        (
            said("classifier", classes=["a", "b"]),
            r"weights has the shape \(\d+, 3\), and 2 classes and .* it ",
        ),
        (tensor("beside.classifier.weights", lambda t: t[:, :2]), r"weights has the shape \(\d+, 2\), and 3 classes"),
        (tensor("beside.classifier.weights", lambda t: t[:-1]), r"weights has the shape"),
        (tensor("beside.classifier.bias", lambda t: t[:1]), r"bias has the shape \(1,\)"),
        (tensor("beside.classifier.mean", lambda t: t[:1]), r"mean has the shape \(1,\)"),
        (tensor("beside.classifier.centres", lambda t: t[:1]), r"centres has the shape"),
        (tensor("beside.classifier.axes", lambda t: t[0]), r"axes has the shape"),
        (tensor("beside.classifier.distances", lambda t: t[None]), r"distances has the shape"),
        (tensor("beside.classifier.weights", WHOLE), r"holds numbers of the kind torch.int32"),
        (tensor("beside.classifier.mean", first(float("nan"))), r"'mean' holds numbers that are not finite"),
        (tensor("beside.classifier.distances", lambda t: t.flip(0)), r"its distances are not sorted"),
        (lambda header, tensors: tensors.pop("beside.classifier.bias"), r"classifier.bias"),
        (said("classifier", temperature=0), r"its temperature is 0"),
        (said("classifier", temperature=float("nan")), r"its temperature is nan"),
        (said("classifier", window=-1), r"its window is -1"),
        (said("classifier", quietest="loud"), r"could not convert string to float"),
        (said("classifier", report=[]), r"its report is none"),
        (said("classifier", format=7), r"format 7"),
        (lambda header, tensors: header["classifier"].pop("classes"), r"classes"),
        (lambda header, tensors: header.update(classifier="[" * 100_000), r"recursion"),
        (lambda header, tensors: header.update(classifier="[]"), r"indices"),
        (lambda header, tensors: header.update(classifier="null"), r"NoneType"),
    ],
)
def test_taught_files_that_are_inconsistent(taught: Path, tmp_path: Path, change: Change, why: str) -> None:
    path = changed(taught, tmp_path / "taught.safetensors", change)
    sentence = refused(path, load_classifier)
    assert sentence.endswith("); teach it anew.")
    with pytest.raises(SoundalikeError, match=rf"its classifier is not one that this version can use \(.*{why}.*\); "):
        SoundClassifier.load(path)


def test_a_taught_file_is_found_damaged_too(taught: Path, tmp_path: Path) -> None:
    content = bytearray(taught.read_bytes())
    content[-3] ^= 1  # of the classifier, behind the model
    (tmp_path / "t.safetensors").write_bytes(content)
    assert "its checksum is another" in refused(tmp_path / "t.safetensors", load_classifier)


# indices


def stored(path: Path, **changes: Any) -> Path:
    """An index with something else in it, and the right checksum."""
    contents = {
        "folder": "/sounds",
        "maker": {"model": "m", "fingerprint": "f"},
        "entries": [["a.wav", 1, 2, "d"], ["b/c.wav", 3, 4, "e"]],
        "broken": [["x.wav", 5, 6, "why"]],
    }
    arrays = {
        "vectors": np.ones((2, 3), np.float16),
        "statistics": np.ones((2, 3), np.float32),
        "reference": np.ones((2, 3), np.float32),
    }
    contents |= {name: value for name, value in changes.items() if name in contents}
    arrays |= {name: value for name, value in changes.items() if name in arrays}
    text = changes.get("text", json.dumps(contents))
    arrays["contents"] = np.frombuffer(text.encode(), np.uint8)
    save_file(arrays, path, {"format": INDEX_FORMAT, "checksum": "--------"})
    path.write_bytes(path.read_bytes().replace(b"--------", _checksum(path).encode(), 1))
    return path


def test_an_index_of_the_test_is_one(tmp_path: Path) -> None:
    store = Store(stored(tmp_path / "i"))
    assert store.entries == [Entry("a.wav", 1, 2, "d"), Entry("b/c.wav", 3, 4, "e")]
    assert store.broken == [Broken("x.wav", 5, 6, "why")]


@pytest.mark.parametrize(
    "changes",
    [
        {"entries": [["a.wav", 1, 2, "d"]]},
        {"entries": [["a.wav", 1, 2], ["b.wav", 1, 2]]},
        {"entries": [["a.wav", 1, 2, "d"], [7, 3, 4, "e"]]},
        {"entries": [["a.wav", 1, 2, "d"], ["b.wav", "3", 4, "e"]]},
        {"entries": [["a.wav", 1, 2, "d"], ["b.wav", 3, 4.5, "e"]]},
        {"entries": [["a.wav", 1, 2, "d"], ["b.wav", 3, None, "e"]]},
        {"entries": [["a.wav", 1, 2, "d"], ["b.wav", 3, 4, None]]},
        {"entries": [["a.wav", 1, 2, "d"], ["../b.wav", 3, 4, "e"]]},
        {"entries": [["a.wav", 1, 2, "d"], ["/etc/passwd", 3, 4, "e"]]},
        {"entries": {"a": 1, "b": 2}},
        {"entries": 3},
        {"broken": [["a", 1, 2, 3]]},
        {"broken": None},
        {"folder": 3},
        {"folder": None},
        {"maker": {"model": 1, "fingerprint": "f"}},
        {"maker": {"model": "m"}},
        {"maker": ["m", "f"]},
        {"text": "[]"},
        {"text": "null"},
        {"text": "{"},
        {"text": "[" * 100_000},
        {"vectors": np.ones((2, 4), np.float16)},
        {"vectors": np.ones(6, np.float16)},
        {"vectors": np.ones((2, 3), np.float32)},
        {"vectors": np.ones((2, 3), np.uint16)},
        {"statistics": np.ones((2, 3), np.int32)},
        {"statistics": np.ones((2, 3), np.float64)},
        {"reference": np.ones(3, np.float32)},
        {"reference": np.ones((3, 3), np.float32)},
        {"reference": np.full((2, 3), np.nan, np.float32)},
    ],
)
def test_indices_that_are_inconsistent(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert "not an index, or cut short" in refused(stored(tmp_path / "i", **changes), Store)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_index_with_vectors_that_are_not_finite(tmp_path: Path, value: float) -> None:
    vectors = np.ones((2, 3), np.float16)
    vectors[1, 2] = value
    assert "holds embeddings that are not finite" in refused(stored(tmp_path / "i", vectors=vectors), Store)


def test_one_changed_bit_of_an_index_is_noticed(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    entries = [Entry(f"{n}.wav", n, n, "d") for n in range(5)]
    path = tmp_path / "i"
    write(path, tmp_path, Maker("m", "f"), [], entries, [draw.normal(size=(5, 8))], np.ones((2, 8), np.float32))
    whole = path.read_bytes()
    Store(path)
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 1 << draw.integers(8)
        path.write_bytes(content)
        refused(path, Store)


def test_recipes_whose_sizes_have_no_end() -> None:
    for change, why in (
        ({"voice": "scene", "voice.events": 10**6}, r"events is 1000000: give at most 256\."),
        ({"voice.seconds": 1e6}, r"seconds is 1000000.0 at 16000 Hz: give at most 600 s and 1000000 Hz\."),
        ({"voice": "parametric", "voice.sine": 10**6}, r"give at most 64 in all\."),
        ({"head": "projection", "head.layers": 10**6}, r"projection: layers is 1000000; it must be at most 64\."),
    ):
        with pytest.raises(SoundalikeError, match=why):
            Recipe.load("doppelgangers-cpu").override(change).build()


def test_a_file_of_the_test_is_a_model(made: Path, tmp_path: Path) -> None:
    """What `changed` writes without a change is the file itself."""
    assert changed(made, tmp_path / "m", lambda header, tensors: None).read_bytes() == made.read_bytes()
    assert isinstance(soundalike.load(made), SoundModel)
    assert sealed({}, {"a": "b"}) == sealed({}, {"a": "b", "checksum": "another"})
