"""An index of a folder: what is kept, embedded again or dropped, what an interruption costs, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors import safe_open
from safetensors.numpy import save_file

from soundalike.apps.search import Updated, similarity
from soundalike.apps.search import update as updating
from soundalike.apps.search.similarity import Standardised
from soundalike.apps.search.store import Broken, Entry, Maker, Store, _checksum, write
from soundalike.apps.search.update import update
from soundalike.core.errors import SoundalikeError

RATE = 8000
MAKER = Maker("made up", "1234")


class Bands:
    """Eight numbers for each sound: the level in eight bands."""

    sample_rate = RATE

    def __init__(self, stop_after: int | None = None) -> None:
        self.heard, self.stop_after = 0, stop_after

    def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        if self.stop_after is not None and self.heard >= self.stop_after:
            raise KeyboardInterrupt
        self.heard += len(waveforms)
        spectra = [np.abs(np.fft.rfft(waveform, 1024)) for waveform in waveforms]
        return np.array([np.log1p(spectrum[:512].reshape(8, 64).mean(1)) for spectrum in spectra], np.float32)


def sound(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    return (0.5 * rng.random() + 0.1) * np.sin(np.arange(800) * rng.uniform(0.05, 3)) + 0.01 * rng.normal(size=800)


def put(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(os.fsencode(path), sound(number), RATE, subtype="FLOAT", format="WAV")
    return path


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few reference sounds and small lots."""
    monkeypatch.setattr(similarity, "REFERENCE", 4)
    monkeypatch.setattr(updating, "_LOT", 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven sounds, some with names that need care."""
    folder = tmp_path / "my söunds"
    names = ["a.wav", "b b.wav", "ü/ß 音.wav", "ü/d.wav", "ü/x/e.wav", "f.WAV", os.fsdecode(b"no unicode \xff.wav")]
    for number, name in enumerate(names):
        put(folder / name, number)
    return folder


def counts(updated: Updated) -> tuple[int, int, int, int]:
    return updated.new, updated.changed, updated.gone, updated.kept


def vectors(out: Path) -> dict[str, np.ndarray]:
    store = Store(out)
    rows = np.concatenate([piece for _, piece in store.pieces()])
    return {entry.name: row for entry, row in zip(store.entries, rows, strict=True)}


def assert_true_to(folder: Path, out: Path) -> None:
    """The index holds what the folder's files give, and their statistics."""
    held = vectors(out)
    for name, vector in held.items():
        expected = Bands()([soundfile.read(os.fsencode(folder / name), dtype="float32")[0]])[0]
        np.testing.assert_allclose(vector, expected, rtol=2e-3, atol=1e-4)
    table = np.stack(list(held.values())).astype(np.float64)
    np.testing.assert_allclose(Store(out).statistics, [table.mean(0), table.std(0)], rtol=1e-4, atol=1e-6)


def test_only_what_is_new_or_changed_is_embedded(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "place" / "sounds.index"
    embedder = Bands()
    assert counts(update(folder, out, embedder, MAKER)) == (7, 0, 0, 0)
    assert_true_to(folder, out)
    assert embedder.heard == 7 + 4  # and the reference
    before = out.read_bytes()
    assert counts(update(folder, out, embedder, MAKER)) == (0, 0, 0, 7)
    assert embedder.heard == 11
    assert out.read_bytes() == before

    put(folder / "a.wav", 20)
    os.utime(folder / "b b.wav", ns=(1, 1))  # another time, the same contents
    (folder / "ü" / "d.wav").unlink()
    put(folder / "new.wav", 21)
    (folder / "f.WAV").rename(folder / "ü" / "moved.wav")
    assert counts(update(folder, out, embedder, MAKER)) == (2, 1, 2, 4)
    assert embedder.heard == 13  # what was only moved has its vector already
    assert set(vectors(out)) == {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert_true_to(folder, out)
    assert counts(update(folder, out, embedder, MAKER)) == (0, 0, 0, 7)
    assert embedder.heard == 13


def test_broken_files_are_named_and_tried_again_only_when_changed(folder: Path, tmp_path: Path) -> None:
    out, embedder = tmp_path / "i", Bands()
    (folder / "böse datei.wav").write_text("no sound")
    (folder / "empty.wav").touch()
    (folder / "gone.wav").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe.wav")
    updated = update(folder, out, embedder, MAKER)
    assert counts(updated) == (7, 0, 0, 0)
    reasons = {failure.path.name: failure.reason.partition(" (")[0] for failure in updated.failures}
    assert reasons == {
        "böse datei.wav": "not readable as audio",
        "empty.wav": "the file is empty",
        "gone.wav": "cannot be opened",
        "pipe.wav": "is not a regular file.",
    }
    again = update(folder, out, embedder, MAKER)
    assert again.failures == updated.failures
    assert counts(again) == (0, 0, 0, 7)
    put(folder / "böse datei.wav", 30)  # repaired
    (folder / "a.wav").write_text("broken now")
    (folder / "empty.wav").unlink()
    put(folder / "nothing", 31)
    last = update(folder, out, embedder, MAKER)
    assert counts(last) == (2, 0, 0, 6)
    assert [failure.path.name for failure in last.failures] == ["a.wav", "pipe.wav"]
    assert "a.wav" not in vectors(out)
    assert_true_to(folder, out)


def test_a_file_cut_short_is_used_and_noted(folder: Path, tmp_path: Path) -> None:
    path = folder / "a.wav"
    path.write_bytes(path.read_bytes()[:2000])
    updated = update(folder, tmp_path / "i", Bands(), MAKER)
    assert counts(updated) == (7, 0, 0, 0)
    assert [note.path for note in updated.notes] == [path]


@pytest.mark.parametrize("stop_after", [4, 7, 10])  # 4 of them are the reference
def test_an_interrupted_update_goes_on(folder: Path, tmp_path: Path, stop_after: int) -> None:
    out = tmp_path / "i"
    interrupted = Bands(stop_after)
    with pytest.raises(KeyboardInterrupt):
        update(folder, out, interrupted, MAKER)
    done = len(Store(out)) if out.exists() else 0
    assert done == stop_after - 4
    rest = Bands()
    assert counts(update(folder, out, rest, MAKER)) == (7 - done, 0, 0, done)
    assert rest.heard == 7 - done + (0 if done else 4)
    assert_true_to(folder, out)


def test_an_update_that_is_interrupted_forgets_nothing(folder: Path, tmp_path: Path) -> None:
    """What is gone or changed is dropped no earlier than there is something in its place."""
    out = tmp_path / "i"
    update(folder, out, Bands(), MAKER)
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        put(path, 40 + number)
    (folder / "a.wav").unlink()
    with pytest.raises(KeyboardInterrupt):
        update(folder, out, Bands(stop_after=3), MAKER)
    assert len(Store(out)) == 7
    assert counts(update(folder, out, Bands(), MAKER)) == (0, 3, 1, 3)
    assert_true_to(folder, out)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_index
from soundalike.apps.search import similarity, update as updating
similarity.REFERENCE, updating._LOT, updating.SAVE_EVERY = 4, 3, 0.0
class Killed(test_index.Bands):
    def __call__(self, waveforms):
        if self.heard >= 10:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(waveforms)
time = updating.time.monotonic
updating.time.monotonic = lambda ticks=iter(range(10**6)): 100.0 * next(ticks) ** 2  # saving is quick beside the work
updating.update(sys.argv[2], sys.argv[3], Killed(), test_index.MAKER)
"""


def test_a_killed_update_goes_on(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "i"
    program = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(folder), str(out)]
    killed = subprocess.run(program, capture_output=True, timeout=100, check=False)
    assert killed.returncode == -9, killed.stderr
    done = len(Store(out))
    assert done in (3, 6)
    rest = Bands()
    assert counts(update(folder, out, rest, MAKER)) == (7 - done, 0, 0, done)
    assert rest.heard == 7 - done
    assert sorted(path.name for path in tmp_path.iterdir()) == [".i.lock", "i", "my söunds"]


def test_a_moved_folder_is_known_again(folder: Path, tmp_path: Path) -> None:
    out, embedder = tmp_path / "i", Bands()
    update(folder, out, embedder, MAKER)
    moved = folder.rename(tmp_path / "elsewhere")
    assert counts(update(moved, out, embedder, MAKER)) == (0, 0, 0, 7)
    assert embedder.heard == 11
    assert Store(out).folder == moved


def test_the_index_of_another_folder_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "i"
    update(folder, out, Bands(), MAKER)
    put(tmp_path / "other" / "z.wav", 3)
    with pytest.raises(SoundalikeError, match=r"is the index of .*my söunds; give another --out"):
        update(tmp_path / "other", out, Bands(), MAKER)
    update(folder.parent / "other" / ".." / folder.name, out, Bands(), MAKER)  # the same by another name
    with pytest.raises(SoundalikeError, match=r"was made with another model \(made up\)"):
        update(folder, out, Bands(), replace(MAKER, fingerprint="5678"))
    assert len(Store(out)) == 7


def test_two_updates_at_once(folder: Path, tmp_path: Path) -> None:
    class Second(Bands):
        def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
            with pytest.raises(SoundalikeError, match="another run is writing this index"):
                update(folder, tmp_path / "i", Bands(), MAKER)
            return super().__call__(waveforms)

    assert counts(update(folder, tmp_path / "i", Second(), MAKER)) == (7, 0, 0, 0)


def spoil(out: Path, how: str) -> None:
    if how == "text":
        out.write_text("hello")
    elif how == "empty":
        out.touch()
    elif how == "tensors":
        save_file({"a": np.zeros(3)}, out)
    elif how == "newer":
        save_file({"a": np.zeros(3)}, out, {"format": "soundalike-index-9"})
    elif how == "lacking":
        save_file({"a": np.zeros(3)}, out, {"format": "soundalike-index-2"})
    else:
        out.mkdir()


@pytest.mark.parametrize("how", ["text", "empty", "tensors", "newer", "lacking", "folder"])
def test_another_file_is_not_overwritten(folder: Path, tmp_path: Path, how: str) -> None:
    out = tmp_path / "i"
    spoil(out, how)
    before = out.read_bytes() if out.is_file() else None
    with pytest.raises(SoundalikeError, match=r"(not an index|of format|is a folder).*; give") as raised:
        update(folder, out, Bands(), MAKER)
    assert str(raised.value).count(";") == 1
    with pytest.raises(SoundalikeError, match=r"(not an index|of format|is a folder).*; (give|update)"):
        Store(out)
    assert before is None or out.read_bytes() == before


def test_an_index_that_is_cut_short_is_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "i"
    update(folder, out, Bands(), MAKER)
    whole = out.read_bytes()
    for length in (4, 100, len(whole) // 2, len(whole) - 1):
        out.write_bytes(whole[:length])
        with pytest.raises(SoundalikeError, match="not an index, or cut short"):
            Store(out)


def seal(out: Path) -> None:
    """Puts the right checksum into an index that was changed."""
    with safe_open(out, "np") as file:
        said = file.metadata()["checksum"]
    out.write_bytes(out.read_bytes().replace(said.encode(), _checksum(out, said).encode(), 1))


def test_an_index_whose_parts_do_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "i"
    update(folder, out, Bands(), MAKER)
    with safe_open(out, "np") as file:
        parts = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        told = file.metadata()
    for name, rows in (("vectors", 3), ("statistics", 1)):
        save_file({**parts, name: parts[name][:rows].copy()}, out, told)
        seal(out)
        with pytest.raises(SoundalikeError, match="not an index, or cut short"):
            Store(out)


def test_folders_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.wav").touch()
    for name, said in (("missing", "no such folder"), ("empty", "holds no audio"), ("file.wav", "not a folder")):
        with pytest.raises(SoundalikeError, match=said):
            update(tmp_path / name, tmp_path / "i", Bands(), MAKER)
        assert not (tmp_path / "i").exists()


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    entries = [Entry(os.fsdecode(b"\xff %d" % n), n, -n, f"{n:x}") for n in range(5)]
    broken = [Broken("ü", 3, 4, "what\nfor"), Broken("b", 0, -1, "")]
    table = rng.normal(size=(5, 3)) * [1, 1e4, 1e9]  # the last is beyond 16 bits
    table[:, 1] += 3e4
    reference = rng.random((2, 3)).astype(np.float32)
    write(tmp_path / "i", tmp_path / os.fsdecode(b"f\xff"), MAKER, broken, entries, np.split(table, [0, 2]), reference)
    store = Store(tmp_path / "i")
    assert (store.entries, store.broken, store.maker) == (entries, broken, MAKER)
    assert store.folder == tmp_path / os.fsdecode(b"f\xff")
    ((start, piece),) = store.pieces()
    assert (start, piece.dtype) == (0, np.float16)
    assert np.isfinite(piece).all()
    np.testing.assert_allclose(piece[:, :2], table[:, :2], rtol=1e-3)
    np.testing.assert_array_equal(store.vector(3), piece[3])
    exact = piece.astype(np.float64)
    np.testing.assert_allclose(store.statistics, [exact.mean(0), exact.std(0)], rtol=1e-5)
    np.testing.assert_array_equal(store.reference, reference)
    with safe_open(tmp_path / "i", "np") as file:  # any reader of such files reads it
        assert sorted(file.keys()) == ["contents", "reference", "statistics", "vectors"]


def test_an_empty_index_can_be_stored(tmp_path: Path) -> None:
    write(tmp_path / "i", tmp_path, MAKER, [], [], [], np.ones((2, 3), np.float32))
    store = Store(tmp_path / "i")
    assert len(store) == 0
    assert list(store.pieces()) == []


def test_a_full_disk_is_one_sentence_and_leaves_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pieces() -> Sequence[np.ndarray]:
        raise OSError(28, "No space left on device")

    (tmp_path / "i").write_text("before")
    lazy: Callable[[], Sequence[np.ndarray]] = pieces
    with pytest.raises(SoundalikeError, match="cannot be written there \\(No space left on device\\)"):
        write(tmp_path / "i", tmp_path, MAKER, [], [], (lazy() for _ in range(1)), np.ones((2, 3)))  # type: ignore[misc]
    assert [path.name for path in tmp_path.iterdir()] == ["i"]
    assert (tmp_path / "i").read_text() == "before"


def test_standardised_vectors_against_the_formula() -> None:
    """Large indexes: z scores of their own. Small ones: those of a mixture with twenty reference sounds."""
    rng = np.random.default_rng(1)
    reference = rng.normal(size=(20, 6)) * 3 + 1
    for count in (2, 20, 20_000):
        own = rng.normal(size=(count, 6)) * [1, 2, 3, 4, 5, 1e-9] + [0, 5, 0, -5, 0, 100]
        own[:, 5], reference[:, 5] = 100, 100  # tells nothing
        mixture = np.concatenate([np.repeat(own, 1, 0), reference])
        expected = np.clip((own - mixture.mean(0))[:, :5] / mixture.std(0)[:5], -3, 3)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        statistics, of_reference = (np.stack((table.mean(0), table.std(0))) for table in (own, reference))
        units = Standardised(statistics, count, of_reference)(own)
        np.testing.assert_allclose(units[:, :5], expected, atol=1e-4)
        np.testing.assert_array_equal(units[:, 5], 0)
    np.testing.assert_allclose(Standardised(statistics, 20_000, of_reference).mean[:5], own.mean(0)[:5], atol=0.01)
