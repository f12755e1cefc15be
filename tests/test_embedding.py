from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundalike.audio import background
from soundalike.audio.read import load
from soundalike.core.errors import AudioError, SoundalikeError
from soundalike.data.segments import read_sounds
from soundalike.data.table_writer import check_table
from soundalike.data.tables import SUFFIXES
from soundalike.model import embed_files as embedding
from soundalike.model.embed_files import embed_files, save
from soundalike.model.journal import Journal


class Statistics:
    """Two numbers per sound, which tell it from the others."""

    def __init__(self, sample_rate: int = 16000) -> None:
        self.sample_rate = sample_rate
        self.calls: list[int] = []

    def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        self.calls.append(len(waveforms))
        return np.array([[sound.mean(), len(sound)] for sound in waveforms], dtype=np.float32)


def level(number: int) -> float:
    return (number + 1) / 64


def clips(folder: Path, count: int, samples: int = 800) -> list[Path]:
    """Sounds that hardly move, since what is constant is silent: clip n has the mean level(n)."""
    paths = [folder / f"{number:03}.wav" for number in range(count)]
    moving = np.resize([2**-8, -(2**-8)], samples)
    for number, path in enumerate(paths):
        soundfile.write(path, level(number) + moving, 16000, subtype="FLOAT")
    return paths


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (4, 2), (32, 3), (5, 8)])
def test_embeddings_are_in_the_order_of_the_input(tmp_path: Path, batch: int, workers: int) -> None:
    paths = clips(tmp_path, 17)
    order = np.random.default_rng(0).permutation(17)
    embedder = Statistics()
    embedded = embed_files([str(paths[number]) for number in order], {"a": embedder}, batch, workers)
    assert embedded.paths == [paths[number] for number in order]
    assert embedded.rows.tolist() == list(range(17))
    assert embedded.failures == embedded.notes == []
    assert embedded.vectors["a"].dtype == np.float32
    np.testing.assert_allclose(embedded.vectors["a"], [[level(number), 800] for number in order], atol=1e-5)
    assert embedder.calls == [batch] * (17 // batch) + ([17 % batch] if 17 % batch else [])


def test_every_embedder_gets_its_own_sample_rate_from_one_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = clips(tmp_path, 5)
    decoded: list[Path] = []

    def counting(path: Path, rates: Sequence[int]) -> object:
        decoded.append(path)
        return original(path, rates)

    original = background.decode
    monkeypatch.setattr(background, "decode", counting)
    embedded = embed_files(paths, {"a": Statistics(16000), "b": Statistics(8000), "c": Statistics(16000)})
    assert sorted(decoded) == paths
    assert [embedded.vectors[name][0, 1] for name in "abc"] == [800, 400, 800]


def test_broken_files_cost_no_other(tmp_path: Path) -> None:
    paths = clips(tmp_path, 9)
    paths[0].write_text("no sound")
    paths[3].unlink()
    soundfile.write(paths[8], np.array([np.nan] * 100), 16000, subtype="FLOAT")
    paths[5].write_bytes(paths[5].read_bytes()[:2000])
    embedded = embed_files(paths, {"a": Statistics()}, batch=4)
    assert embedded.rows.tolist() == [1, 2, 4, 5, 6, 7]
    assert embedded.paths == [paths[row] for row in embedded.rows]
    np.testing.assert_allclose(embedded.vectors["a"][:, 0], [level(row) for row in embedded.rows], atol=1e-5)
    assert [failure.path for failure in embedded.failures] == [paths[0], paths[3], paths[8]]
    assert [failure.reason.split(" (")[0] for failure in embedded.failures] == [
        "not readable as audio",
        "cannot be opened",
        "holds NaN or infinite samples.",
    ]
    ((note),) = embedded.notes
    assert note.path == paths[5]
    assert note.reason.startswith("seems to be cut short")


def test_sounds_that_an_embedder_refuses_cost_no_other(tmp_path: Path) -> None:
    class Picky(Statistics):
        def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
            if any(abs(sound.mean() - level(4)) < 1e-4 for sound in waveforms):
                raise AudioError("too familiar.")
            result = super().__call__(waveforms)
            result[np.abs(result[:, 0] - level(6)) < 1e-4] = np.inf
            return result

    paths = clips(tmp_path, 10)
    other = Statistics()
    embedded = embed_files(paths, {"picky": Picky(), "other": other}, batch=4)
    assert embedded.rows.tolist() == [0, 1, 2, 3, 5, 7, 8, 9]
    assert [failure.reason for failure in embedded.failures] == [
        "too familiar.",
        "its embedding by 'picky' is not finite.",
    ]
    for vectors in embedded.vectors.values():
        np.testing.assert_allclose(vectors[:, 0], [level(row) for row in embedded.rows], atol=1e-5)


def test_a_fault_of_the_embedder_is_not_hidden(tmp_path: Path) -> None:
    class Faulty(Statistics):
        def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
            raise RuntimeError("out of memory")

    class Flat(Statistics):
        def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
            return np.zeros(len(waveforms))

    paths = clips(tmp_path, 3)
    with pytest.raises(RuntimeError, match="out of memory"):
        embed_files(paths, {"a": Faulty()})
    with pytest.raises(ValueError, match=r"'a' gave shape \(3,\) for 3 sounds"):
        embed_files(paths, {"a": Flat()})


def test_nothing_to_embed(tmp_path: Path) -> None:
    for paths in ([], [tmp_path / "nothing.wav"]):
        embedded = embed_files(paths, {"a": Statistics()})
        assert embedded.paths == []
        assert embedded.rows.shape == (0,)
        assert embedded.vectors["a"].shape == (0, 0)
        assert len(embedded.failures) == len(paths)


def test_arguments_are_checked(tmp_path: Path) -> None:
    with pytest.raises(SoundalikeError, match="batch is 0"):
        embed_files([], {"a": Statistics()}, batch=0)
    with pytest.raises(SoundalikeError, match="workers is -1"):
        embed_files([], {"a": Statistics()}, workers=-1)
    with pytest.raises(SoundalikeError, match="the sample rate is 0"):
        embed_files([], {"a": Statistics(0)})


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_little_room_does_not_stop_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """With room for less than one file, the one that is asked for must still be decoded."""
    monkeypatch.setattr(background, "MOST_WAITING", 500)
    paths = clips(tmp_path, 40)
    results: list[embedding.Embedded] = []
    thread = threading.Thread(
        target=lambda: results.append(embed_files(paths, {"a": Statistics()}, 4, workers)), daemon=True
    )
    thread.start()
    thread.join(20)
    assert results
    assert results[0].paths == paths


def test_only_little_is_decoded_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the embedder is busy, decoding stops at twice the batch, and earlier where the files are long."""
    decoded: list[Path] = []

    def counting(path: Path, rates: Sequence[int]) -> object:
        decoded.append(path)
        return original(path, rates)

    class Slow(Statistics):
        def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
            if not self.calls:
                time.sleep(0.3)
                ahead.append(len(decoded))
            return super().__call__(waveforms)

    original = background.decode
    monkeypatch.setattr(background, "decode", counting)
    paths = clips(tmp_path, 60)
    for samples_waiting, expected in ((10**9, (12, 13)), (1600, (5, 9))):
        ahead: list[int] = []
        decoded.clear()
        monkeypatch.setattr(background, "MOST_WAITING", samples_waiting)
        embed_files(paths, {"a": Slow()}, batch=4)
        assert expected[0] <= ahead[0] <= expected[1]


def test_long_files_make_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "_MOST_IN_BATCH", 2000)
    embedder = Statistics()
    embed_files(clips(tmp_path, 5), {"a": embedder}, batch=32)
    assert embedder.calls == [2, 2, 1]


def test_progress_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embed_files(clips(tmp_path, 3), {"a": Statistics()}, progress=True)
    captured = capsys.readouterr()
    assert "3/3" in captured.err
    assert "files/s" in captured.err
    assert captured.out == ""
    embed_files(clips(tmp_path, 3), {"a": Statistics()})
    assert capsys.readouterr().err == ""


def test_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    clips(tmp_path, 40)
    script = f"""
import time
from pathlib import Path
from soundalike.model.embed_files import embed_files
class Slow:
    sample_rate = 16000
    def __call__(self, waveforms):
        print("busy", flush=True)
        for _ in range(3000):
            time.sleep(0.01)  # not once for long: a signal between this line and the call would wait for its end
embed_files(sorted(Path({str(tmp_path)!r}).glob("*.wav")), {{"a": Slow()}}, batch=2)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"busy\n"
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert time.monotonic() - start < 5
    assert b"KeyboardInterrupt" in stderr


# Going on after an interruption


class Interrupted(Statistics):
    """Breaks off after some files."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def __call__(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().__call__(waveforms)


def test_only_what_is_missing_is_embedded_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = clips(tmp_path, 12)
    paths[1].write_text("no sound")
    paths[2].write_bytes(paths[2].read_bytes()[:2000])
    expected = embed_files(paths, {"a": Statistics()}, batch=3)
    out = tmp_path / "new" / "out.npz"
    with pytest.raises(KeyboardInterrupt):
        embed_files(paths, {"a": Interrupted(2)}, batch=3, journal=Journal(out, "a"))
    assert os.listdir(out.parent) == [".out.npz.partial"]

    rest = Statistics()
    embedded = embed_files(paths, {"a": rest}, batch=3, journal=Journal(out, "a"), progress=True)
    assert "5 of 12 were embedded before; going on.\n" in capsys.readouterr().err
    assert sum(rest.calls) == 6, "the broken one is tried again, but is no sound"
    assert embedded.paths == expected.paths
    np.testing.assert_array_equal(embedded.vectors["a"], expected.vectors["a"])
    assert (embedded.failures, embedded.notes) == (expected.failures, expected.notes)
    assert len(embedded.notes) == 1

    nothing = Statistics()
    embedded = embed_files(paths, {"a": nothing}, journal=Journal(out, "a"))
    assert nothing.calls == []
    np.testing.assert_array_equal(embedded.vectors["a"], expected.vectors["a"])
    Journal(out, "a").remove()
    assert os.listdir(out.parent) == []


def test_what_has_changed_is_embedded_again(tmp_path: Path) -> None:
    paths = clips(tmp_path, 6)
    journal = Journal(tmp_path / "out.npz", "a")
    embed_files(paths, {"a": Statistics()}, batch=2, journal=journal)
    soundfile.write(paths[0], np.full(900, 0.25), 16000, subtype="FLOAT")
    os.utime(paths[3], ns=(0, 0))
    paths[5].unlink()
    assert sorted(journal.found(paths)) == [1, 2, 4]
    assert sorted(journal.found(paths[::-1])) == [1, 3, 4]
    assert Journal(tmp_path / "out.npz", "b").found(paths) == {}, "another model"
    assert Journal(tmp_path / "other.npz", "a").found(paths) == {}, "another output"
    for number, lot in enumerate(sorted(journal.folder.iterdir())):  # of two files each
        lot.write_bytes((b"", lot.read_bytes()[:700], lot.read_bytes())[number])
    embedded = embed_files(paths[:5], {"a": Statistics()}, journal=journal)
    np.testing.assert_allclose(embedded.vectors["a"][:, 0], [0.25, *map(level, range(1, 5))], atol=1e-5)
    assert sorted(journal.found(paths)) == [0, 1, 2, 3, 4]


def test_a_journal_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(stream: object, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(SoundalikeError, match=r"\.out\.npz\.partial: .* \(No space left on device\)"):
        embed_files(clips(tmp_path, 1), {"a": Statistics()}, journal=Journal(tmp_path / "out.npz", "a"))
    assert os.listdir(tmp_path) == ["000.wav"]


# Saving


@pytest.fixture
def embedded(tmp_path: Path) -> embedding.Embedded:
    paths = clips(tmp_path, 3)
    paths[1].write_text("no sound")
    return embed_files(paths, {"a": Statistics(), "b": Statistics(8000)})


def test_save_npz(tmp_path: Path, embedded: embedding.Embedded) -> None:
    save(embedded, tmp_path / "new" / "out.npz", "b")
    with np.load(tmp_path / "new" / "out.npz", allow_pickle=False) as stored:
        assert stored["path"].tolist() == [str(path) for path in embedded.paths]
        np.testing.assert_array_equal(stored["embedding"], embedded.vectors["b"])
        assert stored["embedding"].dtype == np.float32
        assert stored["failed_path"].tolist() == [str(tmp_path / "001.wav")]
        assert stored["failed_reason"].tolist() == [embedded.failures[0].reason]
        assert all(stored[name].dtype.kind == "U" for name in ("path", "failed_path", "failed_reason"))
    assert os.listdir(tmp_path / "new") == ["out.npz"]


def test_save_parquet(tmp_path: Path, embedded: embedding.Embedded) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    save(embedded, tmp_path / "out.parquet", "a")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["path", "embedding"]
    assert str(table.schema.field("embedding").type).startswith("list<")
    assert table["path"].to_pylist() == [str(path) for path in embedded.paths]
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), np.float32), embedded.vectors["a"])
    assert b"001.wav" in table.schema.metadata[b"soundalike.failures"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_save_nothing_and_odd_names(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    odd = Path(os.fsdecode(b"\xff\xfe 'x'.wav"))
    save(embed_files([odd], {"a": Statistics()}), tmp_path / f"none{suffix}", "a")
    (path,) = clips(tmp_path, 1)
    path.rename(tmp_path / odd)
    found = embed_files([tmp_path / odd], {"a": Statistics()})
    assert found.failures == []
    save(found, tmp_path / f"odd{suffix}", "a")
    assert read_sounds(tmp_path / f"odd{suffix}") == [tmp_path / odd]


def test_save_leaves_the_old_file_when_it_fails(
    tmp_path: Path, embedded: embedding.Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(stream: object, *_: object, **__: object) -> None:
        stream.write(b"half")  # type: ignore[attr-defined]
        raise OSError("no space left")

    (tmp_path / "out.npz").write_text("old")
    before = sorted(os.listdir(tmp_path))
    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(SoundalikeError, match=r"cannot be written there \(no space left\)"):
        save(embedded, tmp_path / "out.npz", "a")
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "out.npz").read_text() == "old"


def test_check_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_table(str(tmp_path / "a" / "b.npz")) == tmp_path / "a" / "b.npz"
    assert not (tmp_path / "a").exists()
    for name, said in ((".txt", r"not '\.txt'"), ("", "not 'no suffix'")):
        with pytest.raises(SoundalikeError, match=rf"tables are \.csv, .* \.npz or \.parquet, {said}"):
            check_table(tmp_path / f"out{name}")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(SoundalikeError, match="is a folder"):
        check_table(tmp_path / "folder.npz")
    (tmp_path / "file").touch()
    with pytest.raises(SoundalikeError, match=r"not a folder that can be written to"):
        check_table(tmp_path / "file" / "out.npz")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SoundalikeError, match=r"pip install 'soundalike\[parquet\]'"):
        check_table(tmp_path / "out.parquet")


@pytest.mark.skipif("SOUNDALIKE_DATA" not in os.environ, reason="SOUNDALIKE_DATA is not set")
def test_real_recordings() -> None:
    folder = Path(os.environ["SOUNDALIKE_DATA"]) / "free-spoken-digit-dataset" / "recordings"
    paths = sorted(folder.glob("7_*_1?.wav"))
    embedded = embed_files(paths, {"a": Statistics()})
    assert embedded.paths == paths
    for path, (mean, length) in zip(paths[:10], embedded.vectors["a"][:10], strict=True):
        waveform = load(path)
        assert (mean, length) == (pytest.approx(waveform.mean()), len(waveform))
