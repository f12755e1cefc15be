"""Decoded recordings on disk: what is read back, and everything that can go wrong with a cache."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from soundalike.audio import background
from soundalike.audio import read as audio
from soundalike.audio.cache import (
    DamagedCacheWarning,
    Recordings,
    amount,
    build,
    clear,
    list_caches,
    open_cache,
    recordings,
)
from soundalike.audio.cache.index import HEADER, Index, Texts
from soundalike.audio.cache.place import Place
from soundalike.audio.cache.samples import peak_of, quantized, restored
from soundalike.commands import cache as command
from soundalike.core.errors import AudioError, SoundalikeError

RATE = 16000


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the caches of one test."""
    monkeypatch.setenv("SOUNDALIKE_CACHE", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were decoded."""
    names: list[str] = []
    decode_with(monkeypatch, lambda path: names.append(path.name))
    return names


def decode_with(monkeypatch: pytest.MonkeyPatch, before: Callable[[Path], object]) -> None:
    """Does something before each file is decoded."""

    def decode(path: Path, rates: list[int]) -> audio.Decoded:
        before(Path(path))
        return audio.decode(path, rates)

    for module in (background, build, recordings):
        monkeypatch.setattr(module, "decode", decode)


def sounds(folder: Path, count: int, samples: int = 900) -> list[Path]:
    """Noise of different lengths and levels."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03}.wav" for number in range(count)]
    for number, path in enumerate(paths):
        write(path, number, samples + 10 * number)
    return paths


def write(path: Path, seed: int, samples: int = 900, level: float | None = None) -> None:
    noise = np.random.default_rng(seed).uniform(-1, 1, samples)
    soundfile.write(path, noise * ((seed + 1) / 8 if level is None else level), RATE, subtype="FLOAT")


def place() -> Place:
    (found,) = list_caches()
    return found.place


def samples_file() -> Path:
    (found,) = place().path.glob("samples-*.bin")
    return found


def check(cache: Recordings, paths: list[Path]) -> None:
    """Every path is there, and is what its file says."""
    assert cache.rows.tolist() == list(range(len(paths)))
    assert cache.failures == []
    for clip, path in enumerate(paths):
        expected = audio.load(path, cache.sample_rate)
        assert cache.lengths[clip] == len(expected)
        np.testing.assert_allclose(cache.read(clip), expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


# What is read


@pytest.mark.parametrize("rate", [16000, 8000, 22050])
def test_what_is_read_is_what_is_in_the_file(tmp_path: Path, rate: int) -> None:
    paths = sounds(tmp_path / "in", 12)
    soundfile.write(paths[3], np.zeros(700), RATE)  # silence
    soundfile.write(paths[5], np.random.default_rng(0).normal(size=(5000, 2)), 44100, subtype="PCM_24")
    cache = open_cache(paths, rate, "noise", progress=False)
    assert cache.sample_rate == rate
    assert len(cache) == 12
    check(cache, paths)
    assert not cache.read(3).any()
    assert np.abs(cache.read(11)).max() > 1  # beyond full scale, kept
    assert cache.read(0).dtype == np.float32
    assert cache.size == sum(file.stat().st_size for file in place().path.iterdir())


@given(arrays(np.float32, st.integers(1, 300), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
@settings(max_examples=60, deadline=None)
def test_quantizing_errs_by_less_than_2e_5_of_the_peak(waveform: np.ndarray) -> None:
    peak = peak_of(waveform)
    back = restored(np.concatenate([*quantized(waveform, peak)]), peak)
    largest = np.abs(waveform.astype(np.float64)).max()
    assert np.abs(back.astype(np.float64) - waveform).max() <= max(2e-5 * largest, np.finfo(np.float32).tiny)
    assert (back[waveform == 0] == 0).all()


def test_slices(tmp_path: Path) -> None:
    (path,) = sounds(tmp_path / "in", 1)
    cache = open_cache([path], RATE, "noise", progress=False)
    whole = cache.read(0)
    for start, samples in [(0, 10), (17, 100), (890, 100), (899, None), (900, 5), (5000, 5), (3, 0)]:
        stop = None if samples is None else start + samples
        np.testing.assert_array_equal(cache.read(0, start, samples), whole[start:stop])
    cache.read(0)[:] = 0  # a copy
    np.testing.assert_array_equal(cache.read(0), whole)
    with pytest.raises(IndexError, match="clip 1 of 1"):
        cache.read(1)
    with pytest.raises(IndexError):
        cache.read(-1)
    with pytest.raises(ValueError, match="below 0"):
        cache.read(0, -1)


def test_any_order_twice_the_same_and_none_at_all(tmp_path: Path, decoded: list[str]) -> None:
    paths = sounds(tmp_path / "in", 5)
    mixed = [paths[3], paths[0], paths[3], paths[4]]
    check(open_cache(mixed, RATE, "noise", progress=False), mixed)
    assert sorted(decoded) == ["000.wav", "003.wav", "004.wav"]
    empty = open_cache([], RATE, "nothing", progress=False)
    assert len(empty) == 0
    assert empty.failures == []


def test_a_pickled_one_holds_no_samples(tmp_path: Path) -> None:
    paths = sounds(tmp_path / "in", 3, samples=100_000)
    cache = open_cache(paths, RATE, "noise", progress=False)
    content = pickle.dumps(cache)
    assert len(content) < 20_000
    check(pickle.loads(content), paths)


def test_broken_files_are_named_and_not_tried_again(tmp_path: Path, decoded: list[str]) -> None:
    paths = sounds(tmp_path / "in", 6)
    paths[1].write_bytes(b"")
    paths[2].write_text("no sound at all, only text")
    paths[4].unlink()
    whole = paths[5].read_bytes()
    paths[5].write_bytes(whole[: len(whole) // 2])
    cache = open_cache(paths, RATE, "noise", progress=False)
    assert cache.rows.tolist() == [0, 3, 5]
    assert [failure.path for failure in cache.failures] == [paths[1], paths[2], paths[4]]
    reasons = [failure.reason for failure in cache.failures]
    assert "empty (0 bytes)" in reasons[0]
    assert "not readable as audio" in reasons[1]
    assert "No such file" in reasons[2]
    assert [note.path for note in cache.notes] == [paths[5]]
    assert "cut short" in cache.notes[0].reason
    decoded.clear()
    again = open_cache(paths, RATE, "noise", progress=False)
    assert decoded == []
    assert (again.failures, again.notes) == (cache.failures, cache.notes)
    write(paths[4], 4)
    write(paths[1], 1)
    assert open_cache(paths, RATE, "noise", progress=False).rows.tolist() == [0, 1, 3, 4, 5]
    assert sorted(decoded) == ["001.wav", "004.wav"]


def test_file_names_that_are_no_unicode(tmp_path: Path) -> None:
    (path,) = sounds(tmp_path / "in", 1)
    odd = path.parent / os.fsdecode(b"caf\xe9 \xf0\x9f\x90\x95.wav")
    try:
        path.rename(odd)
    except OSError:
        pytest.skip("this file system knows only Unicode")
    for _ in range(2):
        check(open_cache([odd], RATE, os.fsdecode(b"\xe9"), progress=False), [odd])


@given(st.lists(st.text(st.characters(exclude_categories=[]), max_size=8)))
def test_texts_come_back(words: list[str]) -> None:
    packed = Texts.of(words)
    assert [packed[row] for row in range(len(packed))] == words


# A folder that changes between runs


def test_only_what_is_new_or_changed_is_decoded(tmp_path: Path, decoded: list[str]) -> None:
    folder = tmp_path / "in"
    paths = sounds(folder, 6)
    open_cache(paths, RATE, "noise", progress=False)
    assert len(decoded) == 6
    decoded.clear()
    check(open_cache(paths, RATE, "noise", progress=False), paths)
    assert decoded == []

    write(folder / "new.wav", 77)
    write(paths[1], 78, samples=2000)
    paths[2].unlink()
    paths[3].rename(folder / "other.wav")
    there = sorted(folder.iterdir())
    check(open_cache(there, RATE, "noise", progress=False), there)
    assert sorted(decoded) == ["001.wav", "new.wav", "other.wav"]
    (info,) = list_caches()
    assert info.clips == 6
    decoded.clear()
    check(open_cache(there, RATE, "noise", progress=False), there)
    assert decoded == []


def test_files_of_one_size_and_time_that_change_places(tmp_path: Path) -> None:
    paths = sounds(tmp_path / "in", 2)
    for number, path in enumerate(paths):
        write(path, number)
        os.utime(path, ns=(0, 0))
    check(open_cache(paths, RATE, "noise", progress=False), paths)
    time.sleep(0.02)  # the clock of a file system may tick slowly
    paths[0].rename(tmp_path / "kept")
    paths[1].rename(paths[0])
    (tmp_path / "kept").rename(paths[1])
    check(open_cache(paths, RATE, "noise", progress=False), paths)


def test_parts_of_a_data_set_share_a_cache(tmp_path: Path, decoded: list[str]) -> None:
    paths = sounds(tmp_path / "in", 8)
    for part in (paths[:6], paths[2:], paths[:6], paths):
        check(open_cache(part, RATE, "noise", progress=False), part)
    assert len(decoded) == 8
    assert len(list_caches()) == 1


def test_another_name_rate_or_folder_is_another_cache(tmp_path: Path) -> None:
    paths = sounds(tmp_path / "in", 2)
    open_cache(paths, RATE, "a", progress=False)
    open_cache(paths, RATE, "b", progress=False)
    open_cache(paths, 8000, "a", progress=False)
    open_cache(sounds(tmp_path / "out", 2), RATE, "a", progress=False)
    assert [(info.name, info.sample_rate, Path(info.folder).name) for info in list_caches()] == [
        ("a", 8000, "in"),
        ("a", 16000, "in"),
        ("a", 16000, "out"),
        ("b", 16000, "in"),
    ]


def test_the_folder_given_keeps_a_cache_where_folders_come(tmp_path: Path, decoded: list[str]) -> None:
    first = sounds(tmp_path / "in" / "first", 2)
    open_cache(first, RATE, "noise", progress=False, folder=tmp_path / "in")
    both = first + sounds(tmp_path / "in" / "second", 2)
    check(open_cache(both, RATE, "noise", progress=False, folder=tmp_path / "in"), both)
    assert len(decoded) == 4
    assert len(list_caches()) == 1


def test_samples_out_of_use_are_given_back(tmp_path: Path, decoded: list[str]) -> None:
    paths = sounds(tmp_path / "in", 8, samples=5000)
    first = open_cache(paths, RATE, "noise", progress=False)
    before = samples_file().stat().st_size
    for path in paths[:6]:
        path.unlink()
    decoded.clear()
    after = open_cache(paths[6:], RATE, "noise", progress=False)
    assert decoded == []
    assert samples_file().stat().st_size < before / 2
    check(after, paths[6:])
    if os.name == "posix":  # what was opened before goes on
        np.testing.assert_array_equal(first.read(6), after.read(0))
        assert len(first.read(0)) == 5000


# A folder that changes while it is cached


def test_a_file_that_vanishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sounds(tmp_path / "in", 4)
    decode_with(monkeypatch, lambda path: path.unlink() if path == paths[2] else None)
    cache = open_cache(paths, RATE, "noise", progress=False)
    assert cache.rows.tolist() == [0, 1, 3]
    ((path, reason),) = [(failure.path, failure.reason) for failure in cache.failures]
    assert path == paths[2]
    assert "disappeared" in reason
    monkeypatch.undo()
    monkeypatch.setenv("SOUNDALIKE_CACHE", str(tmp_path / "home"))
    write(paths[2], 2)
    check(open_cache(paths, RATE, "noise", progress=False), paths)


@pytest.mark.parametrize("times", [1, 1000])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    paths = sounds(tmp_path / "in", 4)
    tries: list[int] = []

    def change(path: Path) -> None:
        if path == paths[1] and len(tries) < times:
            tries.append(1)
            write(path, 50 + len(tries), samples=500 + len(tries))

    decode_with(monkeypatch, change)
    cache = open_cache(paths, RATE, "noise", progress=False)
    if times == 1:
        check(cache, paths)
        return
    assert len(tries) == 2
    assert cache.rows.tolist() == [0, 2, 3]
    assert "changed while it was read" in cache.failures[0].reason
    times = 0  # it settles, and is tried again though it has not changed since
    check(open_cache(paths, RATE, "noise", progress=False), paths)


@pytest.mark.parametrize("trouble", [OSError(5, "Input/output error"), MemoryError(), soundfile.LibsndfileError(2)])
def test_a_failure_of_the_machine_is_not_kept_as_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    paths = sounds(tmp_path / "in", 3)
    original = soundfile.SoundFile.read

    def read(self: soundfile.SoundFile, *arguments: object, **more: object) -> object:
        if os.fsdecode(self.name) == str(paths[1]):
            raise trouble
        return original(self, *arguments, **more)

    with monkeypatch.context() as patched:
        patched.setattr(soundfile.SoundFile, "read", read)
        cache = open_cache(paths, RATE, "noise", progress=False)
        assert cache.rows.tolist() == [0, 2]
        ((path, reason),) = [(failure.path, failure.reason) for failure in cache.failures]
        assert path == paths[1]
        assert "could not be read" in reason
    check(open_cache(paths, RATE, "noise", progress=False), paths)


# Damage


def test_damaged_samples_are_decoded_again_and_mended(tmp_path: Path, decoded: list[str]) -> None:
    paths = sounds(tmp_path / "in", 5)
    open_cache(paths, RATE, "noise", progress=False)
    index = Index.load(place().index)
    for row in (1, 3):
        flip(samples_file(), 2 * int(index.clips["offset"][row]) + 101)
    decoded.clear()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        cache = open_cache(paths, RATE, "noise", progress=False)
        for _ in range(2):
            check(cache, paths)
        np.testing.assert_array_equal(cache.read(1, 7, 20), cache.read(1)[7:27])
    assert set(decoded) == {index.paths[1], index.paths[3]}
    (said,) = told
    assert said.category is DamagedCacheWarning
    assert index.paths[1] in str(said.message)
    assert "damaged" in str(said.message)
    decoded.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache = open_cache(paths, RATE, "noise", progress=False)
        assert sorted(decoded) == sorted([index.paths[1], index.paths[3]])
        decoded.clear()
        check(cache, paths)
        check(open_cache(paths, RATE, "noise", progress=False), paths)
    assert decoded == []


def test_damaged_samples_whose_file_is_gone(tmp_path: Path) -> None:
    paths = sounds(tmp_path / "in", 2)
    cache = open_cache(paths, RATE, "noise", progress=False)
    flip(samples_file(), HEADER + 5)
    row = Index.load(place().index).paths[0]
    clip = [path.name for path in paths].index(row)
    cache = open_cache(paths, RATE, "noise", progress=False)
    paths[clip].unlink()
    with pytest.warns(DamagedCacheWarning), pytest.raises(AudioError, match="damaged") as raised:
        cache.read(clip)
    assert row in str(raised.value)


def damage_index(place: Place) -> None:
    flip(place.index, 300)


def shorten_index(place: Place) -> None:
    place.index.write_bytes(place.index.read_bytes()[:200])


def empty_index(place: Place) -> None:
    place.index.write_bytes(b"")


def age_index(place: Place) -> None:
    place.index.write_bytes(place.index.read_bytes().replace(b"recordings 1\n", b"recordings 0\n"))


def damage_header(place: Place) -> None:
    flip(samples_file(), 3)


def remove_samples(place: Place) -> None:
    samples_file().unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (damage_index, "index is damaged"),
        (shorten_index, "index is damaged"),
        (empty_index, "index is damaged"),
        (age_index, "another version"),
        (damage_header, "samples are damaged"),
        (remove_samples, "samples cannot be read"),
    ],
)
def test_a_damaged_cache_is_made_again(
    tmp_path: Path, harm: Callable[[Place], None], said: str, decoded: list[str]
) -> None:
    paths = sounds(tmp_path / "in", 4)
    open_cache(paths, RATE, "noise", progress=False)
    harm(place())
    decoded.clear()
    with pytest.warns(UserWarning, match=said) as told:
        cache = open_cache(paths, RATE, "noise", progress=False)
    assert len(told) == 1
    assert len(decoded) == 4
    check(cache, paths)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(open_cache(paths, RATE, "noise", progress=False), paths)
    assert len(list(place().path.glob("samples-*.bin"))) == 1


def test_samples_that_are_cut_short_lose_only_what_is_cut_off(tmp_path: Path, decoded: list[str]) -> None:
    paths = sounds(tmp_path / "in", 6)
    open_cache(paths, RATE, "noise", progress=False)
    os.truncate(samples_file(), samples_file().stat().st_size - 10)
    decoded.clear()
    with pytest.warns(UserWarning, match="cut short"):
        cache = open_cache(paths, RATE, "noise", progress=False)
    assert len(decoded) == 1
    check(cache, paths)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(open_cache(paths, RATE, "noise", progress=False), paths)


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=40, deadline=None)
def test_no_changed_byte_of_an_index_goes_unseen(position: int, change: int) -> None:
    import tempfile

    from soundalike.audio.cache.build import _Table
    from soundalike.audio.cache.index import Damaged, Entry

    table = _Table()
    for number in range(20):
        table.put(Entry(f"{number}.wav", (number, 2, 3), 32 + number, 1, 0.5, 7, "", ""))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "index")
        table.index("noise", "/in", RATE, "b", 1000).save(path)
        assert [entry.path for entry in Index.load(path)] == [f"{number}.wav" for number in range(20)]
        content = bytearray(path.read_bytes())
        content[position % len(content)] ^= change
        path.write_bytes(content)
        with pytest.raises(Damaged):
            Index.load(path)


# Interruption


def interrupted(monkeypatch: pytest.MonkeyPatch, home: Path, paths: list[Path], at: Path) -> None:
    """A run that ends with Ctrl-C when it comes to a file."""

    def stop(path: Path) -> None:
        if path == at:
            raise KeyboardInterrupt

    decode_with(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        open_cache(paths, RATE, "noise", progress=False)
    monkeypatch.undo()
    monkeypatch.setenv("SOUNDALIKE_CACHE", str(home))


@pytest.mark.parametrize("torn", [False, True])
def test_an_interrupted_run_goes_on(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, torn: bool) -> None:
    paths = sounds(tmp_path / "in", 20)
    paths[3].write_text("no sound")
    interrupted(monkeypatch, home, paths, paths[12])
    (info,) = list_caches()
    assert (info.name, info.clips, info.complete) == ("noise", 11, False)
    if torn:
        journal = info.place.journal
        journal.write_bytes(journal.read_bytes()[:-9])
        os.truncate(samples_file(), samples_file().stat().st_size + 77)
    again: list[str] = []
    decode_with(monkeypatch, lambda path: again.append(path.name))
    cache = open_cache(paths, RATE, "noise", progress=False)
    assert sorted(again) == [path.name for path in paths[11 if torn else 12 :]]
    assert [failure.path for failure in cache.failures] == [paths[3]]
    del paths[3]
    check(open_cache(paths, RATE, "noise", progress=False), paths)
    assert not place().journal.exists()


def test_an_interrupted_update_goes_on_and_spares_who_is_reading(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sounds(tmp_path / "in", 6)
    reading = open_cache(paths[:3], RATE, "noise", progress=False)
    interrupted(monkeypatch, home, paths, paths[5])
    check(reading, paths[:3])
    check(open_cache(paths[:3], RATE, "noise", progress=False), paths[:3])
    write(paths[3], 99)  # decoded by the interrupted run, and changed since
    again: list[str] = []
    decode_with(monkeypatch, lambda path: again.append(path.name))
    check(open_cache(paths, RATE, "noise", progress=False), paths)
    assert sorted(again) == ["003.wav", "005.wav"]
    check(reading, paths[:3])


def test_an_interrupted_copy_goes_on(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sounds(tmp_path / "in", 12)
    open_cache(paths, RATE, "noise", progress=False)
    for path in paths[:8]:
        write(path, 60, samples=700)
    interrupted(monkeypatch, home, paths, paths[7])
    again: list[str] = []
    decode_with(monkeypatch, lambda path: again.append(path.name))
    check(open_cache(paths, RATE, "noise", progress=False), paths)
    assert again == ["007.wav"]
    assert len(list(place().path.glob("samples-*.bin"))) == 1


SCRIPT = """
import json, sys, time
from pathlib import Path
from soundalike.audio import read
from soundalike.audio import background
from soundalike.audio.cache import open_cache
folder, log, gate, pause = *map(Path, sys.argv[1:4]), float(sys.argv[4])
def decode(path, rates):
    with log.open("a") as file:
        file.write(Path(path).name + "\\n")
    time.sleep(pause)
    while not gate.exists():
        time.sleep(0.01)
    return read.decode(path, rates)
background.decode = decode
cache = open_cache(sorted(folder.glob("*.wav")), 16000, "noise", progress=False)
print(json.dumps([float(abs(cache.read(clip)).sum()) for clip in range(len(cache))]))
"""


def start(folder: Path, gate: Path, said: Path, pause: float = 0.0) -> subprocess.Popen[str]:
    """A process that caches a folder, and decodes its files once the gate is there."""
    arguments = [str(folder), str(folder.parent / "log"), str(gate), str(pause)]
    with said.open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True
        )


def wait_for_lines(count: int, *logs: Path) -> None:
    deadline = time.monotonic() + 60
    while sum(len(log.read_text().splitlines()) for log in logs if log.exists()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_processes_at_once_decode_each_file_once(tmp_path: Path) -> None:
    paths = sounds(tmp_path / "in", 10)
    said = [tmp_path / "first.txt", tmp_path / "second.txt"]
    both = [start(tmp_path / "in", tmp_path / "gate", errors) for errors in said]
    wait_for_lines(1, *said)  # one has begun, and the other says that it waits
    (tmp_path / "gate").touch()
    first, second = [json.loads(process.communicate(timeout=100)[0]) for process in both]
    assert sorted((tmp_path / "log").read_text().splitlines()) == [path.name for path in paths]
    assert first == second
    assert len(first) == 10
    (line,) = [line for errors in said for line in errors.read_text().splitlines()]
    assert "waiting for another run that is caching noise" in line


def test_a_killed_process_costs_little(tmp_path: Path) -> None:
    paths = sounds(tmp_path / "in", 40)
    log, gate, said = (tmp_path / name for name in ("log", "gate", "said.txt"))
    gate.touch()
    process = start(tmp_path / "in", gate, said, pause=0.1)
    wait_for_lines(36, log)
    process.kill()
    process.communicate()
    log.unlink()
    process = start(tmp_path / "in", gate, said)
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 0, said.read_text()
    assert len(json.loads(out)) == 40
    assert len(log.read_text().splitlines()) < 35  # a second of work is lost, two threads at 0.1 s a file
    check(open_cache(paths, RATE, "noise", progress=False), paths)


@pytest.mark.parametrize("left", ["samples", "partial", "journal"])
def test_what_a_killed_clean_up_left_is_removed_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str], left: str
) -> None:
    paths = sounds(tmp_path / "in", 8, samples=5000)
    open_cache(paths, RATE, "noise", progress=False)
    for path in paths[:6]:
        path.unlink()
    killed = {"samples": "samples-", "partial": "", "journal": "journal"}[left]
    original = Path.unlink

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if killed and self.name.startswith(killed):
            raise KeyboardInterrupt
        original(self, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", unlink)
        if killed:
            with pytest.raises(KeyboardInterrupt):
                open_cache(paths[6:], RATE, "noise", progress=False)
        else:
            open_cache(paths[6:], RATE, "noise", progress=False)
            (place().path / ".index.part").write_bytes(b"half an index")
    assert len(list(place().path.iterdir())) > 2
    decoded.clear()
    with FileLock(place().path.with_name(f"{place().path.name}.lock")):  # complete: opened beside another run
        check(open_cache(paths[6:], RATE, "noise", progress=False), paths[6:])
    assert len(list(place().path.iterdir())) > 2
    check(open_cache(paths[6:], RATE, "noise", progress=False), paths[6:])
    assert decoded == []
    assert sorted(place().path.iterdir()) == [place().index, samples_file()]
    (info,) = list_caches()
    assert (info.clips, info.complete) == (2, True)


@pytest.mark.parametrize("next_run", ["flutes", "horns"])  # whose cache is complete, or has to be made
def test_what_a_killed_removal_left_is_removed_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, next_run: str
) -> None:
    paths = sounds(tmp_path / "in", 2)
    open_cache(paths, RATE, "drums", progress=False)
    drums = place()

    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("soundalike.audio.cache.listing.shutil.rmtree", kill)
        with pytest.raises(KeyboardInterrupt):
            clear(["drums"])
    assert [path.name[:8] for path in drums.path.iterdir()] == ["samples-"]
    with FileLock(drums.path.with_name(f"{drums.path.name}.lock")):  # somebody makes it anew
        open_cache(paths, RATE, "flutes", progress=False)
    assert drums.path.exists()
    (drums.path.parent / "others").mkdir()
    (drums.path.parent / "others" / "text").write_text("not a cache")
    open_cache(paths, RATE, next_run, progress=False)
    assert not drums.path.exists()
    assert (drums.path.parent / "others" / "text").exists()


# Places that cannot be written to


def test_a_place_that_cannot_be_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sounds(tmp_path / "in", 1)
    monkeypatch.setenv("SOUNDALIKE_CACHE", str(paths[0]))
    with pytest.raises(SoundalikeError, match="SOUNDALIKE_CACHE") as raised:
        open_cache(paths, RATE, "noise", progress=False)
    assert str(paths[0]) in str(raised.value)


def test_a_full_disk_is_said_and_what_was_decoded_is_kept(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sounds(tmp_path / "in", 8)
    original = build.Writer.write

    def full(self: build.Writer, chunk: bytes) -> None:
        if self.end > 9000:
            raise OSError(28, "No space left on device")
        original(self, chunk)

    monkeypatch.setattr(build.Writer, "write", full)
    with pytest.raises(SoundalikeError, match=r"No space left on device.*SOUNDALIKE_CACHE") as raised:
        open_cache(paths, RATE, "noise", progress=False)
    assert str(home) in str(raised.value)
    monkeypatch.undo()
    monkeypatch.setenv("SOUNDALIKE_CACHE", str(home))
    again: list[str] = []
    decode_with(monkeypatch, lambda path: again.append(path.name))
    check(open_cache(paths, RATE, "noise", progress=False), paths)
    assert 0 < len(again) < 8


def test_a_complete_cache_needs_no_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    paths = sounds(tmp_path / "in", 3)
    open_cache(paths, RATE, "noise", progress=False)
    paths[0].unlink()  # so that it is not tidy

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    decoded.clear()
    check(open_cache(paths[1:], RATE, "noise", progress=False), paths[1:])
    assert decoded == []
    write(paths[0], 0)
    with pytest.raises(SoundalikeError, match="Permission denied"):
        open_cache(paths, RATE, "noise", progress=False)


def test_a_damaged_cache_in_a_place_that_may_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sounds(tmp_path / "in", 3)
    open_cache(paths, RATE, "noise", progress=False)
    os.truncate(samples_file(), samples_file().stat().st_size - 10)
    last = [Index.load(place().index).paths[row] for row in range(3)][-1]

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(SoundalikeError, match="Read-only file system"):
        open_cache([path for path in paths if path.name != last], RATE, "noise", progress=False)


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    paths = sounds(tmp_path / "in", 160, samples=32_000)  # 20 MB as float32, of which 64 files may wait
    open_cache(paths[:1], RATE, "warm", progress=False)
    tracemalloc.start()
    try:
        cache = open_cache(paths, RATE, "noise", progress=False)
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
        tracemalloc.reset_peak()
        held = tracemalloc.get_traced_memory()[0]
        for clip in range(len(cache)):
            cache.read(clip)
        assert tracemalloc.get_traced_memory()[1] - held < 1_000_000
    finally:
        tracemalloc.stop()


def test_an_impossible_rate() -> None:
    with pytest.raises(SoundalikeError, match="16 Hz"):
        open_cache([], 16, "noise")


def test_progress_is_shown_while_there_is_something_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = sounds(tmp_path / "in", 3)
    open_cache(paths, RATE, "noise")
    said = capsys.readouterr()
    assert said.out == ""
    assert "decoding" in said.err
    assert "3/3" in said.err
    last = said.err.splitlines()[-1]
    size = sum(file.stat().st_size for file in place().path.iterdir())
    assert last == (
        f"decoded 3 clips; the cache takes {amount(size)} ({place().path}); soundalike cache --clear noise removes it"
    )
    open_cache(paths, RATE, "noise")
    assert capsys.readouterr() == ("", "")


# The command


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def test_the_command_lists(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert capsys.readouterr().out == f"no decoded recordings in {home}\n"
    open_cache(sounds(tmp_path / "in", 2, samples=18_000), RATE, "drums", progress=False)
    (home / "downloads").mkdir()
    (home / "downloads" / "archive.zip").write_bytes(bytes(1234))
    assert run() == 0
    head, row, total, other = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "folder", "Hz", "clips", "hours", "size", "last", "used"]
    assert row.split()[:5] == ["drums", str(tmp_path / "in"), "16000", "2", "0.00"]
    assert time.strftime("%Y-%m-%d") in row
    assert total.split()[:2] == ["total", "2"]
    assert "1.2 kB" in other
    assert run("--where") == 0
    assert capsys.readouterr().out == f"{home}\n"


def test_the_command_clears(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = sounds(tmp_path / "in", 2)
    for name in ("drums", "flutes", "horns"):
        open_cache(paths, RATE, name, progress=False)
    with pytest.raises(SoundalikeError, match="did you mean 'flutes'"):
        run("--clear", "flute")
    assert len(list_caches()) == 3
    assert run("--clear", "drums") == 0
    assert capsys.readouterr().out.startswith("1 cache removed, ")
    assert [info.name for info in list_caches()] == ["flutes", "horns"]
    (home / "downloads").mkdir()
    (home / "downloads" / "archive.zip").write_bytes(bytes(10))
    size = sum(info.size for info in list_caches())
    cleared = clear()
    assert cleared.freed == size > 0
    assert list_caches() == []
    assert (home / "downloads" / "archive.zip").exists()
    with pytest.raises(SoundalikeError, match="there is none"):
        run("--clear", "drums")


def test_a_cache_in_use_is_left_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sounds(tmp_path / "in", 3)
    open_cache(sounds(tmp_path / "out", 1), RATE, "other", progress=False)
    process = start(tmp_path / "in", tmp_path / "gate", tmp_path / "said.txt")
    wait_for_lines(1, tmp_path / "log")
    assert run("--clear") == 1
    said = capsys.readouterr()
    assert said.out.startswith("1 cache removed")
    assert "noise" in said.err
    (tmp_path / "gate").touch()
    assert len(json.loads(process.communicate(timeout=100)[0])) == 3
    assert [info.name for info in list_caches()] == ["noise"]
    assert run("--clear") == 0


def test_a_damaged_cache_can_be_cleared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_cache(sounds(tmp_path / "in", 1), RATE, "noise", progress=False)
    shorten_index(place())
    (info,) = list_caches()
    assert not info.complete
    assert run() == 0
    assert "not complete" in capsys.readouterr().out
    assert run("--clear", info.name) == 0
    assert list_caches() == []


@pytest.mark.parametrize("left", ["nothing", "journal", "cut", "gone"])
def test_complete_is_what_has_all_its_samples_and_no_journal(tmp_path: Path, left: str) -> None:
    open_cache(sounds(tmp_path / "in", 2), RATE, "noise", progress=False)
    if left == "journal":  # of a run that was broken off while it added to it
        place().journal.write_bytes(b"")
    elif left == "cut":
        os.truncate(samples_file(), samples_file().stat().st_size - 2)
    elif left == "gone":
        samples_file().unlink()
    (info,) = list_caches()
    assert (info.name, info.clips, info.complete) == ("noise", 2, left == "nothing")


def test_a_cache_that_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_cache(sounds(tmp_path / "in", 1), RATE, "noise", progress=False)
    path = place().path

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("soundalike.audio.cache.listing.shutil.rmtree", refuse)
    with pytest.raises(SoundalikeError, match=r"cannot be removed \(Read-only file system\)") as raised:
        run("--clear", "noise")
    assert str(raised.value).startswith(f"{path}: ")
    assert "make room" not in str(raised.value)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1234, "1.2 kB"), (640e6, "640 MB"), (2e13, "20.0 TB")]
)
def test_amounts(count: float, text: str) -> None:
    assert amount(count) == text


def test_the_folder_is_that_of_the_platform_where_none_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SOUNDALIKE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        from soundalike.core.files import cache_folder

        assert cache_folder() == tmp_path / "soundalike"
