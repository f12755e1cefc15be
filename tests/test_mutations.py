"""Files of the package's formats, changed at random: each is refused in one sentence, or gives a right result."""

from __future__ import annotations

import contextlib
import copy
import gzip
import io
import json
import os
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

import soundalike
from soundalike.apps.classifier import load_classifier, teach
from soundalike.apps.search.store import Entry, Maker, Store, _checksum, write
from soundalike.core import yaml_text
from soundalike.core.errors import SoundalikeError
from soundalike.data.download.unpack import unpack
from soundalike.model.file import sealed
from soundalike.model.model import SoundModel
from soundalike.model.recipe import Recipe, shipped
from soundalike.train.checkpoint import CHECKPOINT, SafeCheckpoints
from soundalike.train.checkpoint import sealed as sealed_checkpoint
from soundalike.train.pretrain import MODEL, pretrain
from soundalike.train.step import Learner

RAW, REWRITTEN = 1950, 50  # changes of the bytes, and of what they stand for
SOUND = np.sin(np.arange(8000, dtype=np.float32))
ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 3, 0.5, -0.5, 10**6, 2**31, 2**63, -(2**63), 10**30, 10**400, 1e-9, 1e9, 1e308),
    *("", "x", "NaN", "../x", "\x1b[2J", "ä" * 300, [], [1], ["a", "b"], [[]], {}, {"x": 1}, {"name": "raw"}),
]


def mutated(content: bytes, draw: np.random.Generator) -> bytes:
    """Bytes with one to three changes: bits, bytes, and stretches put in, taken out, doubled or cut off."""
    data = bytearray(content)
    for _ in range(draw.integers(1, 4)):
        place = int(draw.integers(len(data) + 1))
        length = int(draw.integers(1, 9)) if draw.random() < 0.8 else int(draw.integers(1, 1 + len(data) // 2))
        kind = int(draw.integers(7))
        if kind == 0 and place < len(data):
            data[place] ^= 1 << draw.integers(8)
        elif kind == 1 and place < len(data):
            data[place] = draw.integers(256)
        elif kind == 2:
            data[place:place] = draw.bytes(length)
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            data[place:place] = data[place : place + length]
        elif kind == 5:
            data[place : place + length] = bytes(length)
        elif draw.random() < 0.3:
            del data[place:]
        if not data:
            break
    return bytes(data)


def rewritten(tree: Any, draw: np.random.Generator) -> Any:
    """Plain data with one to three changes: an entry is another, is gone, or is there under another name."""
    tree = copy.deepcopy(tree)
    for _ in range(draw.integers(1, 4)):
        spots = list(_spots(tree))
        if not spots:
            return ODD[draw.integers(len(ODD))]
        holder, key = spots[draw.integers(len(spots))]
        kind = int(draw.integers(8))
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder["other"] = holder.pop(key)
        elif kind == 2:
            other, name = spots[draw.integers(len(spots))]
            holder[key] = copy.deepcopy(other[name])
        elif kind == 3:
            holder[key] = [holder[key]]
        else:
            holder[key] = copy.deepcopy(ODD[draw.integers(len(ODD))])
    return tree


def _spots(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of plain data that holds a value."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from _spots(tree[key])


def retyped(tensors: dict[str, Tensor], draw: np.random.Generator) -> dict[str, Tensor]:
    """Tensors of which one has other shapes, numbers or a name, or is gone."""
    tensors = dict(tensors)
    name = list(tensors)[draw.integers(len(tensors))]
    tensor = tensors[name]
    changes: list[Callable[[Tensor], Tensor | None]] = [
        lambda t: None,
        lambda t: t.to(torch.complex64),
        lambda t: t.to(torch.int32),
        lambda t: t.to(torch.float64),
        lambda t: t.half(),
        lambda t: t[None],
        lambda t: t.reshape(-1),
        lambda t: t.reshape(-1)[: t.numel() // 2],
        lambda t: t.float() * float("nan"),
        lambda t: torch.zeros(0),
        lambda t: torch.zeros(t.shape, dtype=t.dtype) - 1,
        lambda t: t.float() * 1e30,
    ]
    changed = changes[draw.integers(len(changes))](tensor)
    if changed is None:
        tensors["other"] = tensors.pop(name)
    else:
        tensors[name] = changed.contiguous()
    return tensors


class Tally:
    """Counts how often a file was refused and how often it was taken, and makes sure of the sentences."""

    def __init__(self) -> None:
        self.refused = self.taken = 0

    def attempt(self, path: Path, load: Callable[[Path], Any]) -> Any:
        """What comes of a file; None where it was refused."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = load(path)
        except SoundalikeError as error:
            self.refused += 1
            sentence = str(error)
            assert str(path) in sentence or sentence.startswith("recipe ")
            assert "\n" not in sentence
            assert len(sentence) < 3000
            return None
        self.taken += 1
        return result


def stored(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header, parsed, and tensors of a model's file."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = {name: json.loads(text) if text[:1] in "{[" else text for name, text in file.metadata().items()}
    return header, tensors


def resealed(header: Any, tensors: dict[str, Tensor]) -> bytes:
    """A file with the right checksum."""
    texts = {
        str(name): value if isinstance(value, str) else json.dumps(value)
        for name, value in (header if isinstance(header, dict) else {"header": header}).items()
    }
    return sealed(tensors, texts)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, in memory where there is one: thousands of files are written, and a disk takes its time."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def small(tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a recipe as small as one can be."""
    out = tmp_path_factory.mktemp("small") / "run"
    sizes = {"encoder.width": 1, "encoder.size": 4, "head.hidden": 4, "head.size": 4, "batch_size": 4, "steps": 2}
    sizes |= {"optimizer": "sgd", "momentum": 0.9}
    pretrain(tiny.override(sizes), out, device="cpu", quiet=True)
    return out


@pytest.fixture(scope="module")
def taught(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taught")
    for label, hertz in (("low", 200.0), ("high", 2500.0)):
        (folder / "in" / label).mkdir(parents=True)
        for number in range(4):
            sound = 0.3 * np.sin(2 * np.pi * hertz * (1 + number / 50) * np.arange(8000) / 16_000)
            soundfile.write(folder / "in" / label / f"{number}.wav", sound, 16_000)
    teach(folder / "in", soundalike.load(small)).save(folder / "taught.safetensors")
    return folder / "taught.safetensors"


def test_models(small: Path, place: Path) -> None:
    whole, path, draw, tally = (
        (small / MODEL).read_bytes(),
        place / "m.safetensors",
        np.random.default_rng(0),
        Tally(),
    )
    expected = soundalike.load(small).embed(SOUND)
    for _ in range(RAW):
        path.write_bytes(mutated(whole, draw))
        model = tally.attempt(path, soundalike.load)
        if model is not None:
            np.testing.assert_array_equal(model.embed(SOUND), expected)
    assert tally.refused > 0.9 * RAW
    header, tensors = stored(small / MODEL)
    for number in range(REWRITTEN):
        if number % 3:
            path.write_bytes(resealed(rewritten(header, draw), tensors))
        else:
            path.write_bytes(resealed(header, retyped(tensors, draw)))
        model = tally.attempt(path, soundalike.load)
        if model is not None and number % 2 == 0:
            _check_embedding(model)
    assert tally.taken > 5


def _check_embedding(model: SoundModel) -> None:
    """An embedding is finite, or is refused."""
    try:
        vector = model.embed(SOUND, 16_000)
    except SoundalikeError:
        return
    assert vector.shape == (model.size,)
    assert np.isfinite(vector).all()


def test_what_was_taught(taught: Path, place: Path) -> None:
    whole, path, draw, tally = taught.read_bytes(), place / "t.safetensors", np.random.default_rng(1), Tally()
    expected = load_classifier(taught).classify(SOUND)
    for _ in range(RAW):
        path.write_bytes(mutated(whole, draw))
        classifier = tally.attempt(path, load_classifier)
        if classifier is not None:
            assert classifier.classify(SOUND) == expected
    assert tally.refused > 0.9 * RAW
    header, tensors = stored(taught)
    of_classifier = {name: tensor for name, tensor in tensors.items() if name.startswith("beside.")}
    for number in range(REWRITTEN):
        if number % 3:
            header_now = {**header, "classifier": rewritten(header["classifier"], draw)}
            path.write_bytes(resealed(header_now, tensors))
        else:
            others = {name: tensor for name, tensor in tensors.items() if name not in of_classifier}
            path.write_bytes(resealed(header, others | retyped(of_classifier, draw)))
        classifier = tally.attempt(path, load_classifier)
        if classifier is not None and number % 2 == 0:
            prediction = classifier.classify(SOUND)
            assert all(0 <= value <= 1 for value in prediction.probabilities.values())
    assert tally.taken > 5


def test_indices(place: Path) -> None:
    path, draw, tally = place / "i", np.random.default_rng(2), Tally()
    entries = [Entry(f"{number}.wav", number, number, f"{number:032x}") for number in range(6)]
    vectors = draw.normal(size=(6, 5)).astype(np.float32)
    write(path, place, Maker("m", "f"), [], entries, [vectors], np.ones((2, 5), np.float32))
    whole = path.read_bytes()
    ((_, expected),) = Store(path).pieces()
    for _ in range(RAW):
        path.write_bytes(mutated(whole, draw))
        store = tally.attempt(path, Store)
        if store is not None:
            np.testing.assert_array_equal(next(store.pieces())[1], expected)
            assert store.entries == entries
    assert tally.refused > 0.9 * RAW
    path.write_bytes(whole)
    with safe_open(path, "np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    contents = json.loads(arrays["contents"].tobytes())
    for number in range(REWRITTEN):
        now = dict(arrays)
        if number % 3:
            text = json.dumps(rewritten(contents, draw)).encode()
            now["contents"] = np.frombuffer(text, np.uint8)
        else:
            tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
            now = {name: tensor.numpy() for name, tensor in retyped(tensors, draw).items()}
        save_file(now, path, {"format": "soundalike-index-2", "checksum": "--------"})
        path.write_bytes(path.read_bytes().replace(b"--------", _checksum(path).encode(), 1))
        store = tally.attempt(path, Store)
        if store is not None:
            assert all(np.isfinite(piece).all() for _, piece in store.pieces())
            assert all(isinstance(entry.name, str) and isinstance(entry.size, int) for entry in store.entries)
    assert tally.taken > 5


def test_checkpoints(small: Path, place: Path) -> None:
    checkpoints = SafeCheckpoints(Learner(Recipe.load(small / "recipe.yaml")))
    whole, path, draw, tally = (small / CHECKPOINT).read_bytes(), place / "c", np.random.default_rng(3), Tally()

    def load(path: Path) -> Any:
        return checkpoints.load_checkpoint(path, weights_only=True)

    expected = load(small / CHECKPOINT)
    for _ in range(RAW):
        path.write_bytes(mutated(whole, draw))
        checkpoint = tally.attempt(path, load)
        if checkpoint is not None:
            assert checkpoint["global_step"] == 2
            weights = checkpoint["state_dict"]
            assert all(torch.equal(weights[name], value) for name, value in expected["state_dict"].items())
    assert tally.refused > 0.9 * RAW
    for number in range(REWRITTEN):
        changed = dict(expected)
        if number % 3 == 0:
            changed["state_dict"] = retyped(dict(expected["state_dict"]), draw)
        else:
            kept = ("state_dict", "optimizer_states") if number % 3 == 1 else ("state_dict",)
            parts = {name: value for name, value in expected.items() if name not in kept}
            changed = rewritten(parts, draw)
            if isinstance(changed, dict):
                changed |= {name: expected[name] for name in kept if name not in changed}
        path.write_bytes(sealed_checkpoint(changed) if isinstance(changed, dict) else whole[:100])
        tally.attempt(path, load)
    assert tally.taken > 5


TEXT = """name: mine
voice:
  name: scene
  events: 2
  seconds: 0.5
views: {delta: 0.25, augment: [gain, {name: fade, least: 0.1}]}
encoder: {width: 16, max_time_stride: 8}
head: {layers: 2, loss: clip}
training:
  steps: 10
  learning_rate: 1e-3
  milestones: [0.5, 0.75]
  targets: {pitch: 0.5}
"""


def test_recipes(place: Path) -> None:
    draw, tally, path = np.random.default_rng(4), Tally(), place / "r.yaml"
    recipes = [Recipe.load(name) for name in shipped()]
    for number in range(RAW + REWRITTEN):
        if number % 2:
            path.write_bytes(mutated(TEXT.encode(), draw))
        else:
            sections = recipes[number % len(recipes)].sections
            some = draw.choice(list(sections), 3, replace=False)
            content = {"training": sections["training"], **{name: sections[name] for name in some.tolist()}}
            path.write_text(yaml_text.to_text(rewritten(content, draw)), encoding="utf-8")
        loaded = tally.attempt(path, Recipe.load)
        if loaded is not None:
            assert Recipe.from_dict(json.loads(json.dumps(loaded.to_dict()))) == loaded
            if number % 20 < 2:
                _build(loaded)
    assert tally.taken > 100
    assert tally.refused > 500


def _build(recipe: Recipe) -> None:
    """A recipe that can be read can be built, or says why not."""
    with contextlib.suppress(SoundalikeError):
        recipe.training.total_steps()
        recipe.build_model(weights=False)


def test_archives(place: Path) -> None:
    good = {"top/meta/list.csv": b"a,b\n" * 50, "top/audio/one.wav": bytes(range(256)) * 4, "top/empty": b""}
    in_tar, in_zip = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=in_tar, mode="w", format=tarfile.PAX_FORMAT) as as_tar:
        for name, body in good.items():
            header = tarfile.TarInfo(name)
            header.size, header.pax_headers = len(body), {"comment": "ä"}
            as_tar.addfile(header, io.BytesIO(body))
    with zipfile.ZipFile(in_zip, "w", zipfile.ZIP_DEFLATED) as as_zip:
        for name, body in good.items():
            as_zip.writestr(name, body)
    plain, draw, tally = in_tar.getvalue(), np.random.default_rng(5), Tally()
    (place / "in").mkdir()
    archive, folder = place / "in" / "archive", place / "in" / "folder"
    for number in range(RAW + REWRITTEN):
        kind = number % 4
        if kind == 0:
            archive.write_bytes(mutated(gzip.compress(plain, 1), draw))
        elif kind == 1:  # what is in it, so that no checksum tells
            archive.write_bytes(gzip.compress(mutated(plain[: 512 * 14], draw), 1))
        else:
            archive.write_bytes(mutated(in_zip.getvalue(), draw))
        count = tally.attempt(archive, lambda path: unpack(path, folder, 1_000_000, 1000))
        if count is not None:
            found = [path for path in folder.rglob("*") if path.is_file()]
            assert len(found) == count
            if kind != 1:  # checksums are there
                assert sorted(path.read_bytes() for path in found) in (
                    sorted(good.values()),
                    sorted(body for name, body in good.items() if name != "top/empty"),
                ) or count < len(good)
            _remove(folder)
        assert [path.name for path in (place / "in").iterdir()] == ["archive"]
        assert [path.name for path in place.iterdir()] == ["in"]
    assert tally.taken > 5


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
